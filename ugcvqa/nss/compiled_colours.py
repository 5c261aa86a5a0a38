"""Compiled conversions of colours, pixel by pixel: YUV to RGB, and RGB to luma and the three pairs of opponent colours.

See `maps.py` for what they are. What is rounded to 8 bits is computed in float64, so that it is the same in every
precision; the rest is float32.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.kernels import inlined, kernel
from ugcvqa.nss.compiled_resize import mirrored
from ugcvqa.nss.constants import (
    BLUR_3,
    BT601,
    GREY,
    LAB_KNEE,
    LAB_MATRIX,
    LAB_SLOPE,
    LAB_WHITE,
    OPPONENT,
    linear_levels,
    log_levels,
)

Plane8 = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Double = npt.NDArray[np.float64]

_f32 = np.float32
_TWO = _f32(2)
_MATRIX = np.array(BT601)
_OPPONENT = np.array(OPPONENT, np.float32)
_GREY0, _GREY1, _GREY2 = GREY
_BLUR0, _BLUR1 = BLUR_3[1], BLUR_3[2]
_LOGS, _LINEAR = log_levels(), linear_levels()
_LAB = np.array(LAB_MATRIX) / np.array(LAB_WHITE)[:, None]
_KNEE, _SLOPE = LAB_KNEE, LAB_SLOPE
_GUESS_STEPS = 2048
_GUESSES = ((np.arange(1.1 * _GUESS_STEPS) + 0.5) / _GUESS_STEPS) ** (-1 / 3)  # t^(-1/3), t in 0..1.1
_ONE_BY_ROOT6, _ONE_BY_ROOT2 = _f32(1 / math.sqrt(6)), _f32(1 / math.sqrt(2))


@kernel(n_rows=3, dtype="int32")
def to_rgb(y: Plane8, u: Plane8, v: Plane8, is_limited: int, rgb: Plane8, work: Ints) -> None:
    """Converts one frame, see `maps.yuv_to_rgb`: (H, W), (ceil(H/2), ceil(W/2)) twice -> (3, H, W)."""
    height = y.shape[0]
    column, us, vs = work[0], work[1], work[2]
    for i in range(height):
        _upsample(u, i, column, us)
        _upsample(v, i, column, vs)
        if is_limited:
            _limited(y[i], us, vs, rgb[:, i])
        else:
            _full(y[i], us, vs, rgb[:, i])


@inlined
def _upsample(plane: Plane8, row: int, column: Ints, out: Ints) -> None:
    """One row of a plane enlarged by 2, in units of 1/16384: all weights are multiples of 1/128."""
    height, width = plane.shape
    odd = row % 2
    a, b = mirrored(row // 2 - 2 + odd, height), mirrored(row // 2 - 1 + odd, height)
    c, d = mirrored(row // 2 + odd, height), mirrored(row // 2 + 1 + odd, height)
    near, far = (29, 111) if odd == 0 else (111, 29)
    edge, end = (-3, -9) if odd == 0 else (-9, -3)
    for k in range(width):
        inner = near * np.int32(plane[b, k]) + far * np.int32(plane[c, k])
        column[k + 2] = inner + edge * np.int32(plane[a, k]) + end * np.int32(plane[d, k])
    for k in (-2, -1, width, width + 1):
        column[k + 2] = column[mirrored(k, width) + 2]
    for k in range(width):
        out[2 * k] = -3 * column[k] + 29 * column[k + 1] + 111 * column[k + 2] - 9 * column[k + 3]
        out[2 * k + 1] = -9 * column[k + 1] + 111 * column[k + 2] + 29 * column[k + 3] - 3 * column[k + 4]


@inlined
def _to_level(x: float) -> Any:  # noqa: ANN401 (a uint8 for Numba)
    """Rounds half up and clamps to 0..255."""
    return np.uint8(np.int32(min(max(x + 0.5, 0.0), 255.0)))


@inlined
def _limited(y: Plane8, us: Ints, vs: Ints, rgb: Plane8) -> None:
    """BT.601 limited range, chroma rounded to 8 bits first."""
    for k in range(y.shape[0]):
        us[k] = min(max((us[k] + 8192) >> 14, 0), 255)
        vs[k] = min(max((vs[k] + 8192) >> 14, 0), 255)
    for c in range(3):
        a, b, d, offset = _MATRIX[c, 0], _MATRIX[c, 1], _MATRIX[c, 2], _MATRIX[c, 3]
        for k in range(y.shape[0]):
            rgb[c, k] = _to_level(a * y[k] + b * us[k] + d * vs[k] - offset)


@inlined
def _full(y: Plane8, us: Ints, vs: Ints, rgb: Plane8) -> None:
    """Full range with an offset of 127, chroma not rounded."""
    for k in range(y.shape[0]):
        u, v = us[k] / 16384 - 127, vs[k] / 16384 - 127
        rgb[0, k] = _to_level(y[k] + 1.4022 * v)
        rgb[1, k] = _to_level(y[k] - 0.3456 * u - 0.7145 * v)
        rgb[2, k] = _to_level(y[k] + 1.7710 * u)


@kernel()
def grey(rgb: Plane8, out: Plane) -> None:
    """Luma of (3, H, W) levels, rounded to 8 bits."""
    for i in range(out.shape[0]):
        for k in range(out.shape[1]):
            total = _GREY0 * rgb[0, i, k] + _GREY1 * rgb[1, i, k] + _GREY2 * rgb[2, i, k]
            out[i, k] = _f32(np.int32(min(max(total + 0.5, 0.0), 255.0)))


@kernel()
def opponent(rgb: Plane8, out: Plane) -> None:
    """O1 and O2 of (3, H, W) levels -> (2, H, W)."""
    for c in range(2):
        a, b, d = _OPPONENT[c]
        for i in range(out.shape[1]):
            for k in range(out.shape[2]):
                out[c, i, k] = a * _f32(rgb[0, i, k]) + b * _f32(rgb[1, i, k]) + d * _f32(rgb[2, i, k])


@kernel()
def count_levels(rgb: Plane8, counts: npt.NDArray[np.int64]) -> None:
    """Number of samples of each level in each channel: (3, H, W) -> (3, 256)."""
    counts[:] = 0
    for c in range(3):
        for i in range(rgb.shape[1]):
            for k in range(rgb.shape[2]):
                counts[c, rgb[c, i, k]] += 1


def log_opponent(rgb: Plane8, out: Plane) -> None:
    """BY and RG of (3, H, W) levels -> (2, H, W): logarithms less their mean over the frame."""
    counts = np.empty((3, 256), np.int64)
    count_levels(rgb, counts)
    means = (counts * _LOGS).sum(axis=1, keepdims=True) / (rgb.shape[1] * rgb.shape[2])
    log_differences(rgb, (_LOGS - means).astype(np.float32), out)


@kernel()
def log_differences(rgb: Plane8, logs: Plane, out: Plane) -> None:
    """BY and RG of (3, H, W) levels by the (3, 256) logarithms of the levels."""
    for i in range(rgb.shape[1]):
        for k in range(rgb.shape[2]):
            r, g, b = logs[0, rgb[0, i, k]], logs[1, rgb[1, i, k]], logs[2, rgb[2, i, k]]
            out[0, i, k] = (r + g - _TWO * b) * _ONE_BY_ROOT6
            out[1, i, k] = (r - g) * _ONE_BY_ROOT2


@kernel(n_rows=10, dtype="float64")
def lab(rgb: Plane8, out: Plane, work: Double) -> None:
    """8-bit coded a* and b* of (3, H, W) levels after a 3 x 3 blur -> (2, H, W)."""
    width = rgb.shape[2]
    row, levels, xyz, guesses = work[0], work[1:4], work[4:7], work[7:]
    for i in range(rgb.shape[1]):
        _blurred(rgb, i, row, levels)
        for k in range(width):
            r, g, b = _linear(levels[0, k]), _linear(levels[1, k]), _linear(levels[2, k])
            for c in range(3):
                t = _LAB[c, 0] * r + _LAB[c, 1] * g + _LAB[c, 2] * b
                xyz[c, k] = t
                guesses[c, k] = _GUESSES[np.int32(max(t, _KNEE) * _GUESS_STEPS)]
        for c in range(3):
            for k in range(width):
                xyz[c, k] = _lab_curve(xyz[c, k], guesses[c, k])
        for k in range(width):
            out[0, i, k] = _code(500 * (xyz[0, k] - xyz[1, k]))
        for k in range(width):
            out[1, i, k] = _code(200 * (xyz[1, k] - xyz[2, k]))


@inlined
def _linear(level: float) -> Any:  # noqa: ANN401 (a float64 for Numba)
    return _LINEAR[np.int32(level)]


@inlined
def _blurred(rgb: Plane8, i: int, row: Double, levels: Double) -> None:
    """One row of each channel after the 3 x 3 blur, rounded to 8 bits."""
    width, above, below = rgb.shape[2], max(i - 1, 0), min(i + 1, rgb.shape[1] - 1)
    for c in range(3):
        for k in range(width):
            row[k + 1] = _BLUR0 * rgb[c, i, k] + _BLUR1 * (np.int32(rgb[c, above, k]) + np.int32(rgb[c, below, k]))
        row[0], row[width + 1] = row[1], row[width]
        for k in range(width):
            total = _BLUR0 * row[k + 1] + _BLUR1 * (row[k] + row[k + 2])
            levels[c, k] = np.int32(min(max(total + 0.5, 0.0), 255.0))


@inlined
def _lab_curve(t: float, guess: float) -> float:
    """Cube root, continued below the knee by its tangent: t y^2 with y = t^(-1/3) by Newton's method."""
    inner = max(t, _KNEE)
    third = inner / 3.0
    y = guess
    for _ in range(3):
        y = y * (4.0 / 3.0 - third * y * y * y)
    return inner * y * y + (min(t, _KNEE) - _KNEE) * _SLOPE


@inlined
def _code(x: float) -> Any:  # noqa: ANN401 (a float32 for Numba)
    """8-bit code of a* or b*, through the 16-bit code with 8 fractional bits."""
    return _f32(math.floor(min(max(math.floor((x + 128) * 256 + 0.5) / 256 + 0.5, 0.0), 255.0)))
