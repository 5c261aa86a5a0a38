"""Compiled sums and counts over the pixels of frames: whole numbers, equal to the ones of `counts`."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.kernels import inlined, kernel

Levels = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


@kernel(n_rows=1, dtype="uint16")
def block_sums(frame: Levels, sums: npt.NDArray[np.uint16], work: npt.NDArray[np.uint16]) -> None:
    """Sums of the 4 x 4 blocks of an (H, W) frame -> (H // 4, W // 4)."""
    column = work[0]
    for i in range(sums.shape[0]):
        for k in range(frame.shape[1]):
            upper = np.uint16(frame[4 * i, k]) + np.uint16(frame[4 * i + 1, k])
            column[k] = upper + np.uint16(frame[4 * i + 2, k]) + np.uint16(frame[4 * i + 3, k])
        for k in range(sums.shape[1]):
            sums[i, k] = column[4 * k] + column[4 * k + 1] + column[4 * k + 2] + column[4 * k + 3]


@kernel()
def line_sums(frame: Levels, top: int, sums: Ints) -> None:
    """Adds runs of 16 pixels along lines: (H, W), lines from `top` on -> added to (lines, W // 16)."""
    for i in range(sums.shape[0]):
        for run in range(sums.shape[1]):
            total = 0
            for k in range(16):
                total += frame[top + i, 16 * run + k]
            sums[i, run] += total


@kernel()
def column_sums(frame: Levels, top: int, sums: Ints) -> None:
    """Adds runs of 16 pixels along columns: (H, W), lines from `top` on -> added to (lines // 16, W)."""
    for run in range(sums.shape[0]):
        for i in range(top + 16 * run, top + 16 * (run + 1)):
            for k in range(sums.shape[1]):
                sums[run, k] += frame[i, k]


@kernel()
def tally(picture: Levels, dark: int, bright: int, comb: int, counts: Ints, details: Ints, pairs: Ints) -> None:
    """Counts in an (H, W) picture what `counts.Tally` holds.

    Args:
        picture: uint8, at least 3 x 3.
        dark: level up to which a pixel is nearly black.
        bright: level from which on it is nearly white.
        comb: levels by which it stands out.
        counts: (4,) int64: dark and bright pixels, those that stand out from the lines and from the columns beside.
        details: (1021,) int64: number of second differences along lines of each size.
        pairs: (5,) int64: sums of pixels and right neighbours, of their squares, of their products.
    """
    height, width = picture.shape
    counts[:], details[:], pairs[:] = 0, 0, 0
    for i in range(height):
        n_dark, n_bright, n_across, n_down = 0, 0, 0, 0
        for k in range(width):
            n_dark += picture[i, k] <= dark
            n_bright += picture[i, k] >= bright
        for k in range(1, width - 1):
            n_across += _stands_out(picture[i, k - 1], picture[i, k], picture[i, k + 1], comb)
        if 0 < i < height - 1:
            for k in range(width):
                n_down += _stands_out(picture[i - 1, k], picture[i, k], picture[i + 1, k], comb)
        for place, number in enumerate((n_dark, n_bright, n_down, n_across)):
            counts[place] += number
        for k in range(1, width - 1):
            details[abs(np.int64(picture[i, k - 1]) - 2 * np.int64(picture[i, k]) + np.int64(picture[i, k + 1]))] += 1
        _add_pairs(picture[i], pairs)


@inlined
def _stands_out(before: Any, level: Any, after: Any, comb: int) -> Any:  # noqa: ANN401 (whole numbers for Numba)
    low, high = min(np.int32(before), np.int32(after)), max(np.int32(before), np.int32(after))
    return (np.int32(level) > np.int32(high + comb)) | (np.int32(level) < np.int32(low - comb))


@inlined
def _add_pairs(line: Levels, pairs: Ints) -> None:
    """Adds the sums over a line, whole numbers that a float64 holds exactly."""
    left, right, left_squares, right_squares, products = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(line.shape[0] - 1):
        a, b = float(line[k]), float(line[k + 1])
        left += a
        right += b
        left_squares += a * a
        right_squares += b * b
        products += a * b
    for place, number in enumerate((left, right, left_squares, right_squares, products)):
        pairs[place] += np.int64(number)
