"""Sums and counts over the pixels of frames, which all pixel facts start from: whole numbers, exact.

They are compiled where Numba is installed, else computed by NumPy in small pieces, which stay in a processor's cache.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array

try:
    from ugcvqa.pixels import compiled_counts as compiled
except ImportError:
    compiled = None  # type: ignore[assignment]

Levels = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

BLOCK, RUN = 4, 16  # pixels that are added, so that noise counts little
_ALL_LANES = np.uint64(0x0001000100010001)  # times four lanes of 16 bits: the highest lane holds their sum
_DARK, _BRIGHT = 40, 234  # luma levels as coded
_COMB = 12  # levels by which a line stands out from both neighbours
_STRIP = 16  # lines


def block_sums(frame: Levels) -> npt.NDArray[np.uint16]:
    """Sums of the 4 x 4 blocks of an (H, W) frame -> (H // 4, W // 4)."""
    height, width = (side // BLOCK for side in frame.shape)
    if compiled:
        sums = np.empty((height, width), np.uint16)
        compiled.block_sums(np.ascontiguousarray(frame), sums)
        return sums
    lines = frame[0 : height * BLOCK : BLOCK, : width * BLOCK].astype(np.uint16, order="C")
    for k in range(1, BLOCK):
        lines += frame[k : height * BLOCK : BLOCK, : width * BLOCK]
    return ((lines.view(np.uint64) * _ALL_LANES) >> np.uint64(48)).astype(np.uint16)


def line_means(frames: Sequence[Levels] | Levels, top: int, bottom: int) -> Array:
    """Mean levels of runs of 16 pixels along the lines of (H, W) frames, over all frames.

    Returns:
        (bottom - top, W // 16) float64; where a line is shorter, one run is all of it.
    """
    length = min(RUN, frames[0].shape[1])
    count = frames[0].shape[1] // length
    sums = np.zeros((bottom - top, count), np.int64)
    for frame in frames:
        if compiled and length == RUN:
            compiled.line_sums(np.ascontiguousarray(frame), top, sums)
        else:
            sums += frame[top:bottom, : count * length].reshape(len(sums), count, length).sum(axis=2, dtype=np.int64)
    return np.asarray(sums / (len(frames) * length))


def column_means(frames: Sequence[Levels] | Levels, top: int, bottom: int) -> Array:
    """Mean levels of runs of 16 pixels along the columns of (H, W) frames, between two lines, over all frames.

    Returns:
        (W, (bottom - top) // 16) float64; where a column is shorter, one run is all of it.
    """
    length = min(RUN, bottom - top)
    count = (bottom - top) // length
    sums = np.zeros((count, frames[0].shape[1]), np.int64)
    for frame in frames:
        if compiled and length == RUN:
            compiled.column_sums(np.ascontiguousarray(frame), top, sums)
        else:
            sums += frame[top : top + count * length].reshape(count, length, -1).sum(axis=1, dtype=np.int64)
    return np.asarray(sums.T / (len(frames) * length))


class Tally(NamedTuple):
    """What is counted in one picture.

    Attributes:
        dark: number of nearly black pixels.
        bright: number of nearly white ones.
        row_combs: number of pixels that stand out from the lines above and below in the same direction.
        column_combs: the same for columns.
        details: (1021,) number of second differences along lines of each size.
        pairs: number of pixels with a right neighbour, then sums over them: pixel, neighbour, their squares, product.
    """

    dark: int
    bright: int
    row_combs: int
    column_combs: int
    details: Ints
    pairs: tuple[int, ...]

    def likeness(self) -> float:
        """Correlation of pixels with their right neighbours; 1 where nothing varies."""
        count, left, right, left_squares, right_squares, products = self.pairs
        scale = (count * left_squares - left**2) * (count * right_squares - right**2)
        return (count * products - left * right) / scale**0.5 if scale else 1.0


def tallied(picture: Levels) -> Tally:
    """Counts in an (H, W) picture."""
    counts, details, pairs = np.zeros(4, np.int64), np.zeros(4 * 255 + 1, np.int64), np.zeros(5, np.int64)
    if compiled:
        compiled.tally(np.ascontiguousarray(picture), _DARK, _BRIGHT, _COMB, counts, details, pairs)
    else:
        for start in range(0, len(picture), _STRIP):
            strip = picture[start : start + _STRIP]
            lines = picture[max(start - 1, 0) : start + _STRIP + 1]
            counts += (
                int(np.count_nonzero(strip <= _DARK)),
                int(np.count_nonzero(strip >= _BRIGHT)),
                _combs(lines[:-2], lines[1:-1], lines[2:]),
                _combs(strip[:, :-2], strip[:, 1:-1], strip[:, 2:]),
            )
            levels = strip.astype(np.int16)
            details += np.bincount(np.abs(np.diff(levels, 2, axis=1)).ravel(), minlength=len(details))
            left, right = (part.ravel() for part in (strip[:, :-1].astype(float), strip[:, 1:].astype(float)))
            sums = np.array((left.sum(), right.sum(), left @ left, right @ right, left @ right))  # whole, exact
            pairs += sums.astype(np.int64)
    n_pairs = picture.shape[0] * (picture.shape[1] - 1)
    dark, bright, row_combs, column_combs = counts.tolist()
    return Tally(dark, bright, row_combs, column_combs, details, (n_pairs, *pairs.tolist()))


def _combs(above: Levels, levels: Levels, below: Levels) -> int:
    """Number of pixels that stand out from both neighbours in the same direction."""
    # bounds within 0..255, so that bytes suffice: no level lies above 255 or below 0
    is_bright = levels > np.minimum(np.maximum(above, below), 255 - _COMB) + np.uint8(_COMB)
    is_dark = levels < np.maximum(np.minimum(above, below), _COMB) - np.uint8(_COMB)
    return int(np.count_nonzero(is_bright | is_dark))
