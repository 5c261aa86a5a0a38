"""Compiled versions of `media.imresize`: planes of 8 bits exactly as there, real planes in float32."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ugcvqa.media.bicubic import taps
from ugcvqa.nss.compiler import inlined, jit

Plane8 = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]

_f32 = np.float32
_ZERO = _f32(0)
_T0, _T1, _T2, _T3 = _f32(111 / 256), _f32(29 / 256), _f32(-9 / 256), _f32(-3 / 256)  # of scale 0.5, from the centre
_ROUND_UP = 0.5 + 1e-9  # exact .5 ties occur; without the offset round-off would decide them


@dataclass(frozen=True)
class Shrink:
    """The sources and weights of a resize of (H, W) planes by one factor.

    Attributes:
        shape: (height, width) of the result.
        rows: (height, taps) int64 source rows; `row_weights` float64 likewise.
        columns: (width, taps) int64 source columns; `column_weights` float64 likewise.
    """

    shape: tuple[int, int]
    rows: Index
    row_weights: Weights
    columns: Index
    column_weights: Weights

    @classmethod
    @lru_cache(maxsize=16)
    def of(cls, height: int, width: int, scale: float) -> "Shrink":
        """Plans the resize of planes of (height, width)."""
        shape = math.ceil(scale * height), math.ceil(scale * width)
        (rows, row_weights), (columns, column_weights) = (
            (np.ascontiguousarray(sources.T), np.ascontiguousarray(weights.T))
            for sources, weights in (taps(height, scale, shape[0]), taps(width, scale, shape[1]))
        )
        return cls(shape, rows, row_weights, columns, column_weights)

    def levels(self, x: Plane8) -> Plane8:
        """Resizes an (H, W) uint8 plane, rounded after each pass."""
        out = np.empty(self.shape, np.uint8)
        _resize_levels(x, self.rows, self.row_weights, self.columns, self.column_weights, out)
        return out

    def real(self, x: Plane8 | Plane, out: Plane) -> None:
        """Resizes an (H, W) uint8 or float32 plane into a float32 one, without rounding."""
        _resize_real(x, self.rows, self.row_weights, self.columns, self.column_weights, out)


@jit
def _resize_levels(
    x: Plane8, rows: Index, row_weights: Weights, columns: Index, column_weights: Weights, out: Plane8
) -> None:
    """Rows first; columns for 8 rows at once, which vector code needs side by side."""
    height, width = out.shape
    total, block = np.empty(max(x.shape[1], 8)), np.zeros((x.shape[1], 8))
    for start in range(0, height, 8):
        n = min(8, height - start)
        for b in range(n):
            total[:] = _ROUND_UP
            for t in range(rows.shape[1]):
                source, weight = rows[start + b, t], row_weights[start + b, t]
                for k in range(x.shape[1]):
                    total[k] += weight * x[source, k]
            for k in range(x.shape[1]):
                block[k, b] = np.int32(min(max(total[k], 0.0), 255.0))
        for column in range(width):
            total[:8] = _ROUND_UP
            for t in range(columns.shape[1]):
                source, weight = columns[column, t], column_weights[column, t]
                for b in range(8):
                    total[b] += weight * block[source, b]
            for b in range(n):
                out[start + b, column] = np.uint8(np.int32(min(max(total[b], 0.0), 255.0)))


@jit
def _resize_real(
    x: Plane8 | Plane, rows: Index, row_weights: Weights, columns: Index, column_weights: Weights, out: Plane
) -> None:
    """As `_resize_levels`, in float32, 16 rows at once."""
    height, width = out.shape
    total, block = np.empty(max(x.shape[1], 16), np.float32), np.zeros((x.shape[1], 16), np.float32)
    for start in range(0, height, 16):
        n = min(16, height - start)
        for b in range(n):
            total[:] = _ZERO
            for t in range(rows.shape[1]):
                source, weight = rows[start + b, t], _f32(row_weights[start + b, t])
                for k in range(x.shape[1]):
                    total[k] += weight * _f32(x[source, k])
            for k in range(x.shape[1]):
                block[k, b] = total[k]
        for column in range(width):
            total[:16] = _ZERO
            for t in range(columns.shape[1]):
                source, weight = columns[column, t], _f32(column_weights[column, t])
                for b in range(16):
                    total[b] += weight * block[source, b]
            for b in range(n):
                out[start + b, column] = total[b]


@inlined
def mirrored(index: int, n: int) -> int:
    """Folds an index into 0..n-1, the edge repeated: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    index = index % (2 * n)
    return index if index < n else 2 * n - 1 - index


@jit
def halve(x: Plane, out: Plane) -> None:
    """Resizes an (H, W) float32 plane by 0.5 to (ceil(H / 2), ceil(W / 2))."""
    height, width = x.shape
    row = np.empty(width, np.float32)
    even, odd = np.empty(out.shape[1] + 4, np.float32), np.empty(out.shape[1] + 4, np.float32)
    for i in range(out.shape[0]):
        a, b = mirrored(2 * i, height), mirrored(2 * i + 1, height)
        c, d = mirrored(2 * i - 1, height), mirrored(2 * i + 2, height)
        for k in range(width):
            row[k] = _T0 * (x[a, k] + x[b, k]) + _T1 * (x[c, k] + x[d, k])
        a, b = mirrored(2 * i - 2, height), mirrored(2 * i + 3, height)
        c, d = mirrored(2 * i - 3, height), mirrored(2 * i + 4, height)
        for k in range(width):
            row[k] += _T2 * (x[a, k] + x[b, k]) + _T3 * (x[c, k] + x[d, k])
        _parted(row, even, odd)
        for k in range(out.shape[1]):
            near = _T0 * (even[k + 2] + odd[k + 2]) + _T1 * (odd[k + 1] + even[k + 3])
            out[i, k] = near + _T2 * (even[k + 1] + odd[k + 3]) + _T3 * (odd[k] + even[k + 4])


@inlined
def _parted(row: Plane, even: Plane, odd: Plane) -> None:
    """Samples 2 (k - 2) and 2 (k - 2) + 1 of a row, mirrored at its ends."""
    width, inner = row.shape[0], row.shape[0] // 2
    for k in range(inner):
        even[k + 2], odd[k + 2] = row[2 * k], row[2 * k + 1]
    for k in range(-2, even.shape[0] - 2):
        if k < 0 or k >= inner:
            even[k + 2], odd[k + 2] = row[mirrored(2 * k, width)], row[mirrored(2 * k + 1, width)]
