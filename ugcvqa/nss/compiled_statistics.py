"""Compiled sums of a map in float32, from which `fits.py` computes the 34 statistics; see `stats.py` for the formulas.

A map is read once, row by row: the working set of a few rows stays in the first-level cache. Sums of a row are float32,
sums over rows float64. Each inner loop touches few arrays, since compilers vectorise no others.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.kernels import inlined, kernel
from ugcvqa.nss.constants import DEFICIT, LINE

Row = npt.NDArray[np.float32]
Sums = npt.NDArray[np.float64]
_f32 = np.float32

_ZERO, _ONE, _TENTH, _HALF = _f32(0), _f32(1), _f32(0.1), _f32(0.5)
_W0, _W1, _W2, _W3 = (_f32(weight) for weight in LINE[3:])
_DEFICIT = _f32(DEFICIT)
# Logarithm of Cephes' logf: polynomial on [sqrt(1/2), sqrt(2)), ln 2 in two parts.
_P0, _P1, _P2, _P3, _P4, _P5, _P6, _P7, _P8 = (
    *(_f32(7.0376836292e-2), _f32(-1.1514610310e-1), _f32(1.1676998740e-1)),
    *(_f32(-1.2420140846e-1), _f32(1.4249322787e-1), _f32(-1.6668057665e-1)),
    *(_f32(2.0000714765e-1), _f32(-2.4999993993e-1), _f32(3.3333331174e-1)),
)
_LN2_HIGH, _LN2_LOW, _ROOT_HALF = _f32(0.693359375), _f32(-2.12194440e-4), _f32(0.70710678118654752)


@inlined
def log32(x: Any) -> Any:  # noqa: ANN401 (a float32 for Numba, a float for mypy)
    """Natural logarithm of a normal positive float32, to 5e-7."""
    bits = _f32(x).view(np.int32)
    low = np.int32(np.int32(bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000))
    half, exponent = np.int32(low).view(np.float32), _f32(np.int32(bits >> np.int32(23)) - np.int32(126))
    is_low = half < _ROOT_HALF
    f = (half + half if is_low else half) - _ONE
    exponent = exponent - _ONE if is_low else exponent
    y = (((_P0 * f + _P1) * f + _P2) * f + _P3) * f + _P4
    y = (((y * f + _P5) * f + _P6) * f + _P7) * f + _P8
    square = f * f
    return f + (y * f * square + _LN2_LOW * exponent - _HALF * square) + _LN2_HIGH * exponent


@kernel(n_rows=34)
def map_sums(x: Row, sums: Sums, work: Row) -> None:
    """Sums what the 34 statistics of a map need.

    Args:
        x: (H, W) float32, both sides at least 7.
        sums: (fits.N_SUMS,) float64, overwritten; in the order of `fits.statistics`.
        work: see `kernels.kernel`.
    """
    height, width = x.shape
    padded, mean, within, across = work[0], work[1:8], work[8:15], work[15:22]
    shift, square, deviation = work[22][:width], work[23][:width], work[24][:width]
    # three rows in turn, then the first one, which follows the last; the last column stands in front of the first too
    m, j, zeros = work[25:29], work[29:33], work[33]
    sums[:] = 0
    for row in range(3):
        _moments_across(x, row, padded, mean, within, across)
    for row in range(height):
        if row + 3 < height:
            _moments_across(x, row + 3, padded, mean, within, across)
        _moments_down(row, height, mean, shift, square)
        _deviation(row, height, within, shift, square, deviation)
        if row == 0:
            sums[0] = _mean(deviation)
        here, before, earlier = row % 3, (row - 1) % 3, (row - 2) % 3
        _coefficients(x, row, across, shift, deviation, square, sums)
        zeros[here] = _store(square, here, m, j, sums)
        if row == 0:
            for k in range(width + 1):  # an assignment of rows would make a copy on its way
                m[3, k], j[3, k] = m[0, k], j[0, k]
            zeros[3] = zeros[0]
        else:
            _products(m, width, before, here, zeros[before] + zeros[here] > 0, sums)
            _differences(j, width, before, here, sums)
            _crosses(j, width, before if row == 1 else earlier, before, here, sums)
    last, before = (height - 1) % 3, (height - 2) % 3
    _crosses(j, width, before, last, last, sums)
    _products(m, width, last, 3, zeros[last] + zeros[3] > 0, sums)
    _differences(j, width, last, 3, sums)


@inlined
def _mean(row: Row) -> Any:  # noqa: ANN401 (a float32 for Numba)
    total = _ZERO
    for k in range(row.shape[0]):
        total += row[k]
    return total / _f32(row.shape[0])


@inlined
def _moments_across(x: Row, row: int, padded: Row, mean: Row, within: Row, across: Row) -> None:
    """Weighted mean, variance and mean minus centre over 7 columns of a row, into its place of 7; edges repeated."""
    width, place = x.shape[1], row % 7
    for k in range(width):
        padded[k + 3] = x[row, k]
    for k in range(3):
        padded[k], padded[width + 3 + k] = x[row, 0], x[row, width - 1]
    for k in range(width):
        c = padded[k + 3]
        a0, a1, a2 = padded[k] - c, padded[k + 1] - c, padded[k + 2] - c
        a4, a5, a6 = padded[k + 4] - c, padded[k + 5] - c, padded[k + 6] - c
        s = _W3 * (a0 + a6) + _W2 * (a1 + a5) + _W1 * (a2 + a4)
        q = _W3 * (a0 * a0 + a6 * a6) + _W2 * (a1 * a1 + a5 * a5) + _W1 * (a2 * a2 + a4 * a4)
        across[place, k] = s
        mean[place, k] = c + s
        within[place, k] = max(q - s * s, _ZERO)


@inlined
def _moments_down(row: int, height: int, mean: Row, shift: Row, square: Row) -> None:
    """Weighted mean minus centre, and mean square about the centre, over 7 row means; edges repeated."""
    width, here = shift.shape[0], row % 7
    shift[:] = _ZERO
    square[:] = _ZERO
    for distance in range(1, 4):
        above, below = max(row - distance, 0) % 7, min(row + distance, height - 1) % 7
        weight = _W1 if distance == 1 else (_W2 if distance == 2 else _W3)
        for k in range(width):
            c = mean[here, k]
            a, b = mean[above, k] - c, mean[below, k] - c
            shift[k] += weight * (a + b)
            square[k] += weight * (a * a + b * b)


@inlined
def _deviation(row: int, height: int, within: Row, shift: Row, square: Row, deviation: Row) -> None:
    """Local deviation: variance between the row means plus mean variance within the rows."""
    width, here = shift.shape[0], row % 7
    u1, u2, u3 = max(row - 1, 0) % 7, max(row - 2, 0) % 7, max(row - 3, 0) % 7
    d1, d2, d3 = min(row + 1, height - 1) % 7, min(row + 2, height - 1) % 7, min(row + 3, height - 1) % 7
    for k in range(width):
        near = _W0 * within[here, k] + _W1 * (within[u1, k] + within[d1, k])
        far = _W2 * (within[u2, k] + within[d2, k]) + _W3 * (within[u3, k] + within[d3, k])
        deviation[k] = near + far
    for k in range(width):
        deviation[k] = math.sqrt(max(square[k] - shift[k] * shift[k], _ZERO) + deviation[k])


@inlined
def _coefficients(x: Row, row: int, across: Row, shift: Row, deviation: Row, mscn: Row, sums: Sums) -> None:
    """MSCN coefficients of a row, and the sums of its deviations about the typical one."""
    place, typical, total, squares = row % 7, _f32(sums[0]), _ZERO, _ZERO
    for k in range(shift.shape[0]):
        # the share of the centre is what MATLAB's window leaves out
        mscn[k] = (_DEFICIT * x[row, k] - across[place, k] - shift[k]) / (deviation[k] + _ONE)
    for k in range(shift.shape[0]):
        difference = deviation[k] - typical
        total += difference
        squares += difference * difference
    sums[1] += total
    sums[2] += squares


@inlined
def _store(mscn: Row, here: int, m: Row, j: Row, sums: Sums) -> int:
    """Stores a row of coefficients and their logarithms with a column in front; returns how many are zero."""
    width, n_zeros, total, squares = mscn.shape[0], 0, _ZERO, _ZERO
    for k in range(width):
        v = mscn[k]
        m[here, k + 1] = v
        n_zeros += v == _ZERO
        total += abs(v)
        squares += v * v
    for k in range(width):
        j[here, k + 1] = log32(abs(mscn[k]) + _TENTH)
    m[here, 0], j[here, 0] = m[here, width], j[here, width]
    sums[3] += total
    sums[4] += squares
    return n_zeros


@inlined
def _products(m: Row, width: int, before: int, here: int, has_zeros: bool, sums: Sums) -> None:
    """Products of coefficients with their left, upper, upper left and lower left neighbours."""
    _product(m, width, here, 1, here, 0, has_zeros, sums[5:])
    _product(m, width, here, 1, before, 1, has_zeros, sums[10:])
    _product(m, width, here, 1, before, 0, has_zeros, sums[15:])
    _product(m, width, before, 1, here, 0, has_zeros, sums[20:])


@inlined
def _product(
    m: Row, width: int, row: int, column: int, other_row: int, other: int, has_zeros: bool, sums: Sums
) -> None:
    """Adds |v|, v^2 of v > 0, v^2 of v < 0, the number of v < 0, and of v other than 0."""
    total, positive, negative, n_negative, n_nonzero = _ZERO, _ZERO, _ZERO, 0, width
    for k in range(width):
        a, b = m[row, k + column], m[other_row, k + other]
        v = a * b
        low, high = min(v, _ZERO), max(v, _ZERO)
        total += abs(v)
        positive += high * high
        negative += low * low
        # by the signs of the factors: tiny products underflow, yet count as positive or negative
        n_negative += bool((_f32(a).view(np.int32) ^ _f32(b).view(np.int32)) < 0)
    if has_zeros:
        n_negative = n_nonzero = 0
        for k in range(width):
            a, b = m[row, k + column], m[other_row, k + other]
            n_nonzero += (a != _ZERO) & (b != _ZERO)
            n_negative += ((a < _ZERO) & (b > _ZERO)) | ((a > _ZERO) & (b < _ZERO))
    sums[0] += total
    sums[1] += positive
    sums[2] += negative
    sums[3] += n_negative
    sums[4] += n_nonzero


@inlined
def _differences(j: Row, width: int, before: int, here: int, sums: Sums) -> None:
    """Log-derivatives to the left, upwards, to the upper left, to the lower left, and the mixed second one."""
    a1 = b1 = a2 = b2 = a3 = b3 = a4 = b4 = a5 = b5 = _ZERO
    for k in range(width):
        centre, left, up, corner = j[here, k + 1], j[here, k], j[before, k + 1], j[before, k]
        d1, d2, d3, d4 = centre - left, centre - up, centre - corner, up - left
        d5 = d1 - (up - corner)
        a1, b1 = a1 + abs(d1), b1 + d1 * d1
        a2, b2 = a2 + abs(d2), b2 + d2 * d2
        a3, b3 = a3 + abs(d3), b3 + d3 * d3
        a4, b4 = a4 + abs(d4), b4 + d4 * d4
        a5, b5 = a5 + abs(d5), b5 + d5 * d5
    for place, value in enumerate((a1, b1, a2, b2, a3, b3, a4, b4, a5, b5)):
        sums[25 + place] += value


@inlined
def _crosses(j: Row, width: int, above: int, here: int, below: int, sums: Sums) -> None:
    """The two 3 x 3 log-derivatives of a row; edges repeated."""
    a1, b1, a2, b2 = _ZERO, _ZERO, _ZERO, _ZERO
    for k in range(1, width - 1):
        cross = j[above, k + 1] - j[here, k] - j[here, k + 2] + j[below, k + 1]
        saddle = (j[above, k] - j[above, k + 2]) - (j[below, k] - j[below, k + 2])
        a1, b1, a2, b2 = a1 + abs(cross), b1 + cross * cross, a2 + abs(saddle), b2 + saddle * saddle
    for k in (0, width - 1):
        left, right = max(k - 1, 0) + 1, min(k + 1, width - 1) + 1
        cross = j[above, k + 1] - j[here, left] - j[here, right] + j[below, k + 1]
        saddle = (j[above, left] - j[above, right]) - (j[below, left] - j[below, right])
        a1, b1, a2, b2 = a1 + abs(cross), b1 + cross * cross, a2 + abs(saddle), b2 + saddle * saddle
    for place, value in enumerate((a1, b1, a2, b2)):
        sums[35 + place] += value
