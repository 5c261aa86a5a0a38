"""The saliency feature: mean of a video's maps, its column profile, and frames brightened by their maps."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from ugcvqa.deep.scorecam import SaliencyMaps

_KNOWN_FRAMES = 32  # 200 KiB each


class KnownMaps:
    """The maps of the last different frames, so that a frame that comes again is not computed again.

    Frames come again where a picture stands still, where slides return, and where two rows look at the same frame.
    Each frame is computed alone, so that its map is the same to the last bit whatever was seen before or beside it.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, bytes], SaliencyMaps] = OrderedDict()

    def __call__(self, cam: Callable[[Tensor], SaliencyMaps], frames: Tensor) -> SaliencyMaps:
        """Returns the maps of frames, computing those that are not known.

        Args:
            cam: computes the maps of frames; the same one in every call.
            frames: (T, 3, H, W) float32, ImageNet-normalised.
        """
        found = []
        for frame, pixels in zip(frames.split(1), frames.cpu().contiguous().numpy(), strict=True):
            key = str(frame.device), hashlib.sha256(pixels).digest()
            if key not in self._known:
                self._known[key] = cam(frame)
            self._known.move_to_end(key)
            found.append(self._known[key])
            if len(self._known) > _KNOWN_FRAMES:
                self._known.popitem(last=False)
        names = [field.name for field in fields(SaliencyMaps)]
        return SaliencyMaps(**{name: torch.cat([getattr(one, name) for one in found]) for name in names})

    def forget(self) -> None:
        """Forgets all maps, as who measures speed needs."""
        self._known.clear()


def column_profile(mean_map: Tensor) -> Tensor:
    """Averages a map over its rows; one value per column, left to right.

    Source: public code of the VSFACNN + saliency paper (SALIENCY row): vertical position is averaged away.

    Args:
        mean_map: (H, W) float, mean saliency of a video, 0..1.

    Returns:
        (W,) float64, 0..1.

    Raises:
        ValueError: if the map is not two-dimensional.
    """
    if mean_map.ndim != 2 or mean_map.numel() == 0:
        raise ValueError(f"a mean map must be (H, W), got {tuple(mean_map.shape)}")
    return mean_map.double().mean(0)


class MapMean:
    """Mean of a video's saliency maps, taken in as they come; the sum does not depend on how they are grouped."""

    def __init__(self) -> None:
        self.n_maps = 0
        self.n_empty = 0
        self._total: Tensor | None = None

    def add(self, maps: Tensor, is_empty: Tensor) -> None:
        """Adds maps in time order.

        Args:
            maps: (T, H, W) float32, 0..1; an empty one is all zeros and counts as zeros in the mean.
            is_empty: (T,) bool, true where a frame has no map.

        Raises:
            ValueError: if the maps are not three-dimensional, not finite or not of the earlier maps' size.
        """
        maps, is_empty = maps.cpu(), is_empty.cpu()
        if maps.ndim != 3 or is_empty.shape != maps.shape[:1] or not maps.isfinite().all():
            raise ValueError(f"maps must be (T, H, W) and finite, with T flags, got {tuple(maps.shape)}")
        if self._total is not None and maps.shape[1:] != self._total.shape:
            raise ValueError(f"maps of {tuple(maps.shape[1:])} follow maps of {tuple(self._total.shape)}")
        for one in maps.double():
            # one by one: a sum over a group would round differently
            self._total = one.clone() if self._total is None else self._total + one
            self.n_maps += 1
        self.n_empty += int(is_empty.sum())

    def mean_map(self) -> Tensor:
        """Returns the mean map (H, W) float64.

        Raises:
            ValueError: if no map was added.
        """
        if self._total is None:
            raise ValueError("no saliency map was added, so there is no mean")
        return self._total / self.n_maps

    def result(self) -> Tensor:
        """Returns the column profile (W,) float64 of the mean map."""
        return column_profile(self.mean_map())


def add_map(normalised: Tensor, maps: Tensor) -> Tensor:
    """Brightens normalised frames by their saliency maps: the same map is added to each channel.

    Source: public code of the VSFACNN + saliency paper (VSFACNN_SALIENCY row).

    Args:
        normalised: (T, 3, H, W) float32, ImageNet-normalised.
        maps: (T, H, W) float32, 0..1.

    Returns:
        (T, 3, H, W) float32.

    Raises:
        ValueError: if frames and maps do not match.
    """
    if normalised.ndim != 4 or maps.shape != torch.Size((normalised.shape[0], *normalised.shape[2:])):
        raise ValueError(f"maps {tuple(maps.shape)} do not match frames {tuple(normalised.shape)}")
    return normalised + maps[:, None]
