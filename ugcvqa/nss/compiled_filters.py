"""Compiled filters of planes, and the temporal bands of eight frames, float32; see `maps.py` for what they are.

Rows that a filter reads are in a bordered copy whose rows are a multiple of 64 samples long, so that vector code treats
all samples alike: a flat area stays exactly flat.
"""

import math

import numpy as np
import numpy.typing as npt

from ugcvqa.kernels import inlined, kernel
from ugcvqa.nss.constants import BAND_SIGNS, BELL_8, EPS, SMOOTH_11, laplacian_kernel

Plane = npt.NDArray[np.float32]

_f32 = np.float32
_ZERO, _TWO, _EPS = _f32(0), _f32(2), _f32(EPS)
_SIGNS = np.array(BAND_SIGNS, np.float32)
_LAPLACIAN = np.array(laplacian_kernel(), np.float32)[4:, 4:].copy()
_B0, _B1, _B2, _B3 = (_f32(weight) for weight in BELL_8[4:])
_E0, _E1, _E2, _E3, _E4, _E5 = (_f32(weight) for weight in SMOOTH_11[5:])
_D1, _D2, _D3, _D4, _D5 = _E1, _f32(2) * _E2, _f32(3) * _E3, _f32(4) * _E4, _f32(5) * _E5


def row_length(width: int) -> int:
    """Length of the rows of a bordered copy of a plane of so many columns."""
    return -(-(width + 10) // 64) * 64


@kernel()
def repeat_edges(x: Plane, out: Plane) -> None:
    """Copies (H, W) into (H + 8, row_length) at (4, 4), edges repeated."""
    height, width = x.shape
    for i in range(out.shape[0]):
        source = min(max(i - 4, 0), height - 1)
        out[i, :4] = x[source, 0]
        out[i, 4 + width :] = x[source, width - 1]
        for k in range(width):
            out[i, k + 4] = x[source, k]


@kernel(n_rows=2)
def sobel(bordered: Plane, out: Plane, work: Plane) -> None:
    """Gradient magnitude of a plane bordered by `repeat_edges`."""
    smooth, step = work[0], work[1]
    for i in range(out.shape[0]):
        for k in range(bordered.shape[1]):
            smooth[k] = bordered[i + 3, k] + _TWO * bordered[i + 4, k] + bordered[i + 5, k]
            step[k] = bordered[i + 5, k] - bordered[i + 3, k]
        for k in range(out.shape[1]):
            across, down = smooth[k + 5] - smooth[k + 3], step[k + 3] + _TWO * step[k + 4] + step[k + 5]
            out[i, k] = math.sqrt(across * across + down * down)


@kernel(n_rows=2)
def laplacian(bordered: Plane, out: Plane, work: Plane) -> None:
    """Absolute 9 x 9 Laplacian of Gaussian of a plane bordered by `repeat_edges`; taps of equal weight are paired."""
    length = bordered.shape[1]
    folded, total = work[0], work[1]
    for i in range(out.shape[0]):
        total[:] = _ZERO
        for d in range(5):
            w0, w1, w2, w3, w4 = _LAPLACIAN[d]
            for k in range(length):
                folded[k] = bordered[i + 4 - d, k] + bordered[i + 4 + d, k] if d else bordered[i + 4, k]
            for k in range(length - 8):
                near = w0 * folded[k + 4] + w1 * (folded[k + 3] + folded[k + 5]) + w2 * (folded[k + 2] + folded[k + 6])
                total[k] += near + w3 * (folded[k + 1] + folded[k + 7]) + w4 * (folded[k] + folded[k + 8])
        for k in range(out.shape[1]):
            out[i, k] = abs(total[k])


@kernel(n_rows=2)
def gaussian_difference(bordered: Plane, out: Plane, work: Plane) -> None:
    """Plane minus its 8 x 8 blur, in differences from the centre; the plane is bordered by `repeat_edges`."""
    length = bordered.shape[1]
    down, row = work[0], work[1]
    for i in range(out.shape[0]):
        for k in range(length):
            c = bordered[i + 4, k]
            down[k] = _B0 * (bordered[i + 5, k] - c) + _B1 * ((bordered[i + 3, k] - c) + (bordered[i + 6, k] - c))
        for k in range(length):
            c = bordered[i + 4, k]
            far = _B3 * ((bordered[i + 1, k] - c) + (bordered[i + 8, k] - c))
            down[k] += _B2 * ((bordered[i + 2, k] - c) + (bordered[i + 7, k] - c)) + far
            row[k] = c + down[k]
        for k in range(out.shape[1]):
            c = row[k + 4]
            near = _B0 * (row[k + 5] - c) + _B1 * ((row[k + 3] - c) + (row[k + 6] - c))
            far = _B2 * ((row[k + 2] - c) + (row[k + 7] - c)) + _B3 * ((row[k + 1] - c) + (row[k + 8] - c))
            out[i, k] = -(down[k + 4] + near + far)


@kernel(n_rows=3)
def gradient(x: Plane, bordered: Plane, out: Plane, work: Plane) -> None:
    """Magnitude of the 11 x 11 Gaussian derivative plus eps; exactly eps on flat areas.

    `bordered` is a work area of (H + 10, row_length), zero outside of its middle (H, W).
    """
    height, width = x.shape
    length = bordered.shape[1]
    smooth, step, row = work[0][:length], work[1][:length], work[2]
    for i in range(height):
        for k in range(width):
            bordered[i + 5, k + 5] = x[i, k]
    for i in range(height):
        _smooth_and_step(bordered[i : i + 11], smooth, step)
        for k in range(length - 10):
            near = _D1 * (smooth[k + 4] - smooth[k + 6]) + _D2 * (smooth[k + 3] - smooth[k + 7])
            far = _D4 * (smooth[k + 1] - smooth[k + 9]) + _D5 * (smooth[k] - smooth[k + 10])
            across = near + _D3 * (smooth[k + 2] - smooth[k + 8]) + far
            near = _E0 * step[k + 5] + _E1 * (step[k + 4] + step[k + 6]) + _E2 * (step[k + 3] + step[k + 7])
            far = _E4 * (step[k + 1] + step[k + 9]) + _E5 * (step[k] + step[k + 10])
            down = near + _E3 * (step[k + 2] + step[k + 8]) + far
            row[k] = math.sqrt(across * across + down * down)
        for k in range(width):
            out[i, k] = row[k] + _EPS


@inlined
def _smooth_and_step(rows: Plane, smooth: Plane, step: Plane) -> None:
    """Gaussian sum and Gaussian derivative down 11 rows, in pairs."""
    for k in range(smooth.shape[0]):
        near = _E1 * (rows[4, k] + rows[6, k])
        smooth[k] = _E0 * rows[5, k] + near + _E2 * (rows[3, k] + rows[7, k])
    for k in range(smooth.shape[0]):
        smooth[k] += _E3 * (rows[2, k] + rows[8, k]) + _E4 * (rows[1, k] + rows[9, k])
    for k in range(smooth.shape[0]):
        smooth[k] += _E5 * (rows[0, k] + rows[10, k])
    for k in range(smooth.shape[0]):
        near = _D1 * (rows[4, k] - rows[6, k])
        step[k] = near + _D2 * (rows[3, k] - rows[7, k]) + _D3 * (rows[2, k] - rows[8, k])
    for k in range(smooth.shape[0]):
        step[k] += _D4 * (rows[1, k] - rows[9, k]) + _D5 * (rows[0, k] - rows[10, k])


@kernel()
def temporal_bands(frames: Plane, out: Plane) -> None:
    """The seven band-pass maps of eight frames: (8, H, W) -> (7, H, W)."""
    for i in range(out.shape[1]):
        for band in range(out.shape[0]):
            s1, s2, s3 = _SIGNS[band, 1], _SIGNS[band, 2], _SIGNS[band, 3]
            s4, s5, s6, s7 = _SIGNS[band, 4], _SIGNS[band, 5], _SIGNS[band, 6], _SIGNS[band, 7]
            for k in range(out.shape[2]):
                first = frames[0, i, k] + s1 * frames[1, i, k] + s2 * frames[2, i, k] + s3 * frames[3, i, k]
                out[band, i, k] = first
            for k in range(out.shape[2]):
                second = s4 * frames[4, i, k] + s5 * frames[5, i, k] + s6 * frames[6, i, k] + s7 * frames[7, i, k]
                out[band, i, k] += second
