"""Figures 1, 5 and 6 of the saliency study: frames with their maps, and activations, as figures and animations."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ugcvqa.display.images import Image
from ugcvqa.display.maps import coloured, overlay
from ugcvqa.studies.activations import LayerActivation
from ugcvqa.studies.figures import grid_figure
from ugcvqa.studies.frames import spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TILE_PX = 112
_GAP_PX = 18  # room for the channel's number above its tile
_COLUMNS = 8
_VIDEO_HEIGHT_PX = 320

MOST_GRID_FRAMES = 16
"""Frames that are drawn of a video in Figure 1, at most."""


class Picture(NamedTuple):
    """One sampled frame of a video.

    Attributes:
        number: of the decoded frame, from 1.
        time_s: of the frame.
        frame: (224, 224, 3) uint8.
        saliency: (224, 224) float32, 0..1; all zeros where there is no map.
    """

    number: int
    time_s: float
    frame: Image
    saliency: npt.NDArray[np.float32]

    @property
    def has_map(self) -> bool:
        """Whether Score-CAM found a map."""
        return bool(self.saliency.max() > 0)


def saliency_grid(pictures: Sequence[Picture], title: str, aspect: float) -> "Figure":
    """Draws sampled frames with the overlay of the map below each, as the paper's Figure 1.

    Args:
        pictures: sampled frames; at most `MOST_GRID_FRAMES` are drawn, evenly spread.
        title: the video.
        aspect: width over height of the video.
    """
    shown = [pictures[place] for place in spread(len(pictures), MOST_GRID_FRAMES)]
    n_columns = min(4, len(shown))
    n_lines = math.ceil(len(shown) / n_columns)
    width = 2.6 if aspect >= 1 else 1.9
    figure, grid = grid_figure(n_columns * width, n_lines * (2 * width / aspect + 0.3) + 0.3, 2 * n_lines, n_columns)
    for axes in grid.flat:
        axes.axis("off")
    for place, picture in enumerate(shown):
        line, column = divmod(place, n_columns)
        above, below = grid[2 * line][column], grid[2 * line + 1][column]
        extent = (0.0, aspect, 1.0, 0.0)
        above.imshow(picture.frame, extent=extent)
        below.imshow(overlay(picture.frame, picture.saliency), extent=extent)
        above.set_title(f"frame {picture.number}, {picture.time_s:.1f} s", fontsize=8, pad=3)
        if not picture.has_map:
            below.text(aspect / 2, 0.5, "no map", ha="center", va="center", color="white", backgroundcolor="black")
    figure.suptitle(title, fontsize=10)
    return figure


def video_frames(pictures: Sequence[Picture], aspect: float) -> Iterator[Image]:
    """Yields, for each sampled frame, the frame, its map and the overlay side by side, (H, W, 3) uint8.

    Args:
        pictures: sampled frames.
        aspect: width over height of the video.
    """
    width = 2 * round(min(3.0, max(0.25, aspect)) * _VIDEO_HEIGHT_PX / 2)
    for picture in pictures:
        parts = (picture.frame, coloured(picture.saliency), overlay(picture.frame, picture.saliency))
        yield np.concatenate([_resized(part, _VIDEO_HEIGHT_PX, width) for part in parts], axis=1)


def strongest_channels(layers: Sequence[LayerActivation], frame: Image, title: str) -> "Figure":
    """Draws the channel of the largest mean of every convolution, as the paper's Figure 5.

    Args:
        layers: the convolutions in network order.
        frame: (H, W, 3) uint8, the input, drawn first.
        title: the network and the frame.
    """
    n_columns = 7
    n_lines = math.ceil((len(layers) + 1) / n_columns)
    figure, grid = grid_figure(n_columns * 1.45, n_lines * 1.85 + 0.4, n_lines, n_columns)
    for axes in grid.flat:
        axes.axis("off")
    grid.flat[0].imshow(frame)
    grid.flat[0].set_title("input", fontsize=7, pad=3)
    for axes, layer in zip(grid.flat[1:], layers, strict=False):
        axes.imshow(layer.strongest_map.numpy(), cmap="viridis")
        axes.set_title(f"{layer.layer}\nchannel {layer.strongest + 1} of {layer.n_channels}", fontsize=6, pad=3)
    figure.suptitle(title, fontsize=10)
    return figure


def channel_frames(
    layers: Sequence[Sequence[LayerActivation]], pictures: Sequence[Picture], network: str
) -> Iterator[Image]:
    """Yields the pictures of the paper's Figure 6: layer by layer in network order, the first channels of each.

    Args:
        layers: of each frame, the convolutions in network order.
        pictures: those frames.
        network: name of the network.

    Yields:
        (H, W, 3) uint8 of even sizes: all frames of the first convolution, then of the next, and so on.
    """
    for position in range(len(layers[0])):
        canvas = _ChannelCanvas(layers[0][position], network)
        for found, picture in zip(layers, pictures, strict=True):
            yield canvas.draw(found[position].first_maps, picture)


class _ChannelCanvas:
    """A sheet of channels, drawn once per layer and filled for each frame."""

    def __init__(self, layer: LayerActivation, network: str) -> None:
        step = _TILE_PX + _GAP_PX
        side, head = _COLUMNS * step + _GAP_PX, 130
        self._figure, grid = grid_figure(side / 100, (side + head) / 100, 1, 1, layout=None)
        axes = grid[0][0]
        axes.set_position((0, 0, 1, side / (side + head)))
        axes.set(xlim=(0, side), ylim=(side, 0))
        axes.axis("off")
        self._image = axes.imshow(np.full((side, side, 3), 255, np.uint8), extent=(0, side, side, 0))
        for channel in range(len(layer.first_maps)):
            y, x = divmod(channel, _COLUMNS)
            axes.text(_GAP_PX + x * step, (y + 1) * step - _TILE_PX - 4, f"{channel + 1}", fontsize=7, va="bottom")
        shown = f"channels 1 to {len(layer.first_maps)} of {layer.n_channels}"
        values = "after the activation" if layer.is_after_activation else "of the convolution"
        self._figure.text(0.02, 0.965, f"{network}, layer {layer.layer}", fontsize=13, va="top")
        self._figure.text(0.02, 0.935, f"{shown}, values {values}, each on its own scale", fontsize=9, va="top")
        self._text = self._figure.text(0.02, 0.912, "", fontsize=9, va="top")
        thumb = self._figure.add_axes((1 - 0.115, 1 - 0.105, 0.1, 0.1 * side / (side + head)))
        thumb.axis("off")
        self._thumb = thumb.imshow(np.zeros((2, 2, 3), np.uint8))
        self._step, self._side = step, side

    def draw(self, maps: Tensor, picture: Picture) -> Image:
        """Fills the sheet with the maps (c, h, w) of one frame."""
        sheet = np.full((self._side, self._side, 3), 255, np.uint8)
        low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
        tiles = (maps - low) / torch.where(high > low, high - low, torch.ones_like(high))
        is_large = maps.shape[-1] > _TILE_PX
        mode: dict[str, Any] = {"mode": "area"} if is_large else {"mode": "nearest"}
        for channel, tile in enumerate(functional.interpolate(tiles[:, None], size=(_TILE_PX, _TILE_PX), **mode)[:, 0]):
            y, x = divmod(channel, _COLUMNS)
            top, left = (y + 1) * self._step - _TILE_PX, _GAP_PX + x * self._step
            sheet[top : top + _TILE_PX, left : left + _TILE_PX] = coloured(tile.numpy())
        self._image.set_data(sheet)
        self._thumb.set_data(picture.frame)
        self._text.set_text(f"frame {picture.number}, {picture.time_s:.1f} s")
        self._figure.canvas.draw()
        pixels = np.asarray(self._figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
        return np.ascontiguousarray(pixels[: len(pixels) // 2 * 2, : pixels.shape[1] // 2 * 2])


def _resized(image: Image, height: int, width: int) -> Image:
    planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    sized = functional.interpolate(planes, size=(height, width), mode="bilinear", antialias=True)[0]
    return sized.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
