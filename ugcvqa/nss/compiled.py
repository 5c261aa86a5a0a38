"""The vector of one chunk by compiled kernels, float32 on one core, without torch; `features.NSS` is easier to read."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.nss import compiled_colours as colours
from ugcvqa.nss import compiled_filters as filters
from ugcvqa.nss.chunks import check_chunk, working_ratio
from ugcvqa.nss.compiled_resize import Shrink, halve
from ugcvqa.nss.compiled_statistics import map_sums
from ugcvqa.nss.constants import N_BANDS, N_FULL_SCALE, N_MAPS, N_SLOTS
from ugcvqa.nss.fits import N_SUMS, statistics

Levels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]


class _Buffers(threading.local):
    """Work areas of this thread, kept from chunk to chunk: fresh memory would cost more time than the sums."""

    def __init__(self) -> None:
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def get(self, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> npt.NDArray[Any]:  # noqa: ANN401
        """An array with arbitrary content; one of this name with another shape is dropped."""
        if name not in self._arrays or self._arrays[name].shape != shape:
            self._arrays[name] = np.empty(shape, dtype)
        return self._arrays[name]


_buffers = _Buffers()


class _Sums:
    """The sums of maps one after the other, each at the requested scales."""

    def __init__(self, n_maps: int, shape: tuple[int, int]) -> None:
        self._sums, self._pixels, self._n = np.empty((n_maps, N_SUMS)), np.empty(n_maps), 0
        self._half = _buffers.get("half", ((shape[0] + 1) // 2, (shape[1] + 1) // 2))

    def add(self, single: Plane, with_full: bool) -> None:
        """Takes the next (H, W) map."""
        halve(single, self._half)
        for scaled in (single, self._half) if with_full else (self._half,):
            map_sums(scaled, self._sums[self._n])
            self._pixels[self._n] = scaled.size
            self._n += 1

    def statistics(self) -> Array:
        """(34 * maps,) float64."""
        return statistics(self._sums, self._pixels).ravel()


def chunk(y: Levels, u: Levels, v: Levels, colour: str, min_side: int, whole_side: int | None = None) -> Array:
    """Computes the (1836,) float64 vector of one chunk.

    Args:
        y: (2 + T, H, W) uint8, and so on as `features.NSS.forward` takes them.
        u: (2, ceil(H/2), ceil(W/2)) uint8.
        v: (2, ceil(H/2), ceil(W/2)) uint8.
        colour: see `features.NSS`.
        min_side: see `features.NSS`.
        whole_side: see `features.NSS.forward`.

    Raises:
        ValueError: as `features.NSS.forward`.
    """
    check_chunk(y, u, v)
    ratio = working_ratio(y.shape[1:], min_side, whole_side)
    first, second = (spatial(rgb) for rgb in rgb_frames(y[:2], u, v, colour, ratio))
    with np.errstate(invalid="ignore"):  # both infinite
        mean = np.where(np.isnan(first), second, np.where(np.isnan(second), first, (first + second) / 2))
        difference = np.abs(first - second)
    return np.concatenate((mean, difference, temporal(y[2:], ratio)))


def rgb_frames(y: Levels, u: Levels, v: Levels, colour: str, ratio: float) -> Levels:
    """Converts (N, H, W) planes with their chroma to (N, 3, h, w) levels at their working size."""
    rgb = _buffers.get("rgb", (3, *y.shape[1:]), np.uint8)
    shrink = Shrink.of(*y.shape[1:], ratio) if ratio < 1 else None
    frames = np.empty((len(y), 3, *(shrink.shape if shrink else y.shape[1:])), np.uint8)
    for frame, *planes in zip(frames, y, u, v, strict=True):
        luma, blue, red = map(np.ascontiguousarray, planes)
        colours.to_rgb(luma, blue, red, colour == "bt601", rgb)
        for out, levels in zip(frame, rgb, strict=True):
            out[:] = shrink.levels(levels) if shrink else levels
    return frames


def spatial(rgb: Levels) -> Array:
    """The (680,) float64 statistics of a (3, H, W) frame at its working size."""
    height, width = rgb.shape[1:]
    sums = _Sums(N_MAPS + N_FULL_SCALE, (height, width))
    single, pair = _buffers.get("single", (height, width)), _buffers.get("pair", (2, height, width))
    length = filters.row_length(width)
    bordered = _buffers.get("edges", (height + 8, length))
    colours.grey(rgb, single)
    sums.add(single, with_full=True)
    filters.repeat_edges(single, bordered)
    for filtered in (filters.sobel, filters.laplacian, filters.gaussian_difference):
        filtered(bordered, single)
        sums.add(single, with_full=True)
    bordered = _buffers.get("zeros", (height + 10, length))
    bordered.fill(0)
    for convert in (colours.opponent, colours.log_opponent, colours.lab):
        convert(rgb, pair)
        for channel in pair:
            sums.add(channel, with_full=False)
        for channel in pair:
            filters.gradient(channel, bordered, single)
            sums.add(single, with_full=False)
    return sums.statistics()


def temporal(luma: Levels, ratio: float) -> Array:
    """The (476,) float64 statistics of (T, H, W) luma frames, T <= 8; missing frames count as zero."""
    shrink = Shrink.of(*luma.shape[1:], ratio) if ratio < 1 else None
    shape = shrink.shape if shrink else luma.shape[1:]
    frames = _buffers.get("frames", (N_SLOTS, *shape))
    frames[len(luma) :] = 0
    for out, levels in zip(frames, luma, strict=False):
        if shrink:
            shrink.real(levels, out)
        else:
            out[:] = levels
    bands = _buffers.get("bands", (N_BANDS, *shape))
    filters.temporal_bands(frames, bands)
    again = Shrink.of(*shape, ratio) if shrink else None  # a second time, as in the public code
    sums = _Sums(2 * N_BANDS, again.shape if again else shape)
    single = _buffers.get("band", again.shape if again else shape)
    for band in bands:
        if again:
            again.real(band, single)
        sums.add(single if again else band, with_full=True)
    return sums.statistics()
