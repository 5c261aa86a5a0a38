"""Versions of a clip that cannot look better than it, or that look the same: unrated, but everybody would agree.

They test a model, and heads may learn from them that damage never helps.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ugcvqa.demo.paint import Random, lines_of_text
from ugcvqa.demo.scene import Frames
from ugcvqa.media.imresize import imresize, imresize_to

Picture = NDArray[np.uint8]
Expectation = Literal["worse", "same", ""]

NEARLY_LOSSLESS: Mapping[str, str] = MappingProxyType({"crf": "12", "preset": "veryfast", "mbtree": "0"})
"""Options of x264 for every version but the encodings."""

_CRFS = (30, 38, 46)
_BAR, _HELD = 0.14, 6  # share of the height under each bar, frames that one is shown for


@dataclass(frozen=True, eq=False)
class Version:
    """One version of a clip.

    Attributes:
        kind: what was done to it; empty for the clip itself.
        expectation: `worse` must not score higher than the clip, `same` must score alike.
        frames: (T, H, W, 3) uint8 RGB.
        rate: frames per second.
        options: of the x264 encoder.
    """

    kind: str
    expectation: Expectation
    frames: Frames
    rate: Fraction
    options: Mapping[str, str] = field(default_factory=lambda: NEARLY_LOSSLESS)


def versions(frames: Frames, rate: Fraction, seed: int = 0) -> Iterator[Version]:
    """Makes all versions of a clip, the clip itself first; each is made when it is asked for.

    Source: our own.

    Args:
        frames: (T, H, W, 3) uint8 RGB, even sides.
        rate: frames per second.
        seed: of noise and captions.
    """
    yield Version("", "", frames, rate)
    for kind, change in _PICTURE_CHANGES.items():
        rng = np.random.default_rng(seed)
        yield Version(kind, "same" if kind in _HARMLESS else "worse", change(frames, rng), rate)
    n_frames = len(frames)
    yield Version("frozen", "worse", frames[np.zeros(n_frames, int)], rate)
    yield Version("stutter", "worse", frames[np.arange(n_frames) // _HELD * _HELD], rate)
    yield Version("duplicated", "worse", frames[np.arange(2 * n_frames) // 2], 2 * rate)
    for crf in _CRFS:
        yield Version(f"x264_{crf}", "worse", frames, rate, {**NEARLY_LOSSLESS, "crf": str(crf)})


Change = Callable[[Frames, Random], Frames]


def picture_changes() -> dict[str, Change]:
    """Kind -> change of single pictures, of all versions that need no encoder and keep every frame."""
    return dict(_PICTURE_CHANGES)


def noisy(sigma: float) -> Change:
    """Gaussian noise of a deviation in levels, new in every frame and channel."""

    def change(frames: Frames, rng: Random) -> Frames:
        return np.stack([_levels(frame + sigma * rng.standard_normal(frame.shape, np.float32)) for frame in frames])

    return change


def smoothed(frames: Frames, sigma: float) -> Frames:
    """Gaussian blur of a deviation in pixels."""
    return np.stack([_levels(gaussian_filter(frame.astype(np.float32), (sigma, sigma, 0))) for frame in frames])


def unsharp(frames: Frames, amount: float) -> Frames:
    """Unsharp masking: adds so much of the difference to a blurred copy; cheap players add 2.5 times."""
    return np.stack([_levels((1 + amount) * frame - amount * _soft(frame)) for frame in frames])


def _soft(frame: Picture) -> NDArray[np.float32]:
    soft: NDArray[np.float32] = gaussian_filter(frame.astype(np.float32), (1.2, 1.2, 0))
    return soft


def darkened(frames: Frames, factor: float) -> Frames:
    """All levels times a factor, which may be above 1: then highlights are cut off."""
    return np.stack([_levels(frame * np.float32(factor)) for frame in frames])


def doubled(frames: Frames) -> Frames:
    """Bicubic enlargement to twice the size."""
    return np.stack([_picture(imresize(_planes(frame), 2.0)) for frame in frames])


def halved(frames: Frames) -> Frames:
    """Bicubic reduction to half the size, without aliasing."""
    return np.stack([_picture(imresize(_planes(frame), 0.5)) for frame in frames])


def shrunk_and_back(frames: Frames, factor: int) -> Frames:
    """Reduction by a factor and back to the old size."""
    height, width = frames.shape[1:3]
    small = (imresize_to(_planes(frame), height // factor, width // factor) for frame in frames)
    return np.stack([_picture(imresize_to(planes, height, width)) for planes in small])


def _levels(values: NDArray[np.float32]) -> Picture:
    levels: Picture = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels


def _planes(frame: Picture) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))


def _picture(planes: torch.Tensor) -> Picture:
    return np.ascontiguousarray(planes.numpy().transpose(1, 2, 0))


def _letterboxed(frames: Frames, rng: Random) -> Frames:
    bar, out = int(frames.shape[1] * _BAR), frames.copy()
    out[:, :bar] = out[:, -bar:] = 0
    return out


def captioned(top: float, left: float, rows: float, columns: float) -> Change:
    """A box of white text on black, the same in all frames; place and size in shares of the picture's sides."""

    def change(frames: Frames, rng: Random) -> Frames:
        height, width = frames.shape[1:3]
        box = _text(rng, round(height * rows), round(width * columns))
        out, y, x = frames.copy(), round(height * top), round(width * left)
        out[:, y : y + box.shape[0], x : x + box.shape[1]] = box
        return out

    return change


def _text(rng: Random, rows: int, columns: int) -> Picture:
    scale = max(1, rows // 24)
    text = lines_of_text(rng, -(-rows // scale), -(-columns // scale), 255.0, 0.0).astype(np.uint8)
    return text.repeat(scale, axis=0).repeat(scale, axis=1)[:rows, :columns]


_PICTURE_CHANGES: dict[str, Change] = {
    "noise_12": noisy(12),
    "noise_30": noisy(30),
    "upscaled_2x": lambda frames, rng: doubled(frames),
    "half_and_back": lambda frames, rng: shrunk_and_back(frames, 2),
    "blur_1.5": lambda frames, rng: smoothed(frames, 1.5),
    "blur_3": lambda frames, rng: smoothed(frames, 3),
    "dark": lambda frames, rng: darkened(frames, 0.25),
    "overexposed": lambda frames, rng: darkened(frames, 2),
    "posterised": lambda frames, rng: (frames // 32 * 32 + 16).astype(np.uint8),
    "sharpened": lambda frames, rng: unsharp(frames, 2.5),
    "letterbox": _letterboxed,
    "captions": captioned(0.82, 0.15, 0.11, 0.7),
}
_HARMLESS = ("letterbox", "captions")
