"""Compiled versions of `media.imresize`: planes of 8 bits exactly as there, real planes in float32."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.kernels import inlined, kernel
from ugcvqa.media.bicubic import taps

Plane8 = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]

_f32 = np.float32
_ZERO = _f32(0)
_T0, _T1, _T2, _T3 = _f32(111 / 256), _f32(29 / 256), _f32(-9 / 256), _f32(-3 / 256)  # of scale 0.5, from the centre
_BLOCK = 32  # rows
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
            (_padded(sources.T), _padded(weights.T))
            for sources, weights in (taps(height, scale, shape[0]), taps(width, scale, shape[1]))
        )
        return cls(shape, rows, row_weights, columns, column_weights)

    def levels(self, x: Plane8) -> Plane8:
        """Resizes an (H, W) uint8 plane, rounded after each pass."""
        out, across = np.empty(self.shape, np.uint8), np.empty((x.shape[1], _BLOCK), np.float32)
        _resize_levels(
            np.ascontiguousarray(x), self.rows, self.row_weights, self.columns, self.column_weights, across, out
        )
        return out

    def real(self, x: Plane8 | Plane, out: Plane) -> None:
        """Resizes an (H, W) uint8 or float32 plane into a float32 one, without rounding."""
        across = np.empty((x.shape[1], _BLOCK), np.float32)
        _resize_real(
            np.ascontiguousarray(x), self.rows, self.row_weights, self.columns, self.column_weights, across, out
        )


def _padded(table: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Adds columns of zeros, taps without weight, so that taps can be taken three at a time."""
    return np.pad(np.ascontiguousarray(table), ((0, 0), (0, -table.shape[1] % 3)))


@inlined
def _three(table: Any, row: int, t: int) -> tuple[Any, Any, Any]:  # noqa: ANN401 (indices or weights)
    return table[row, t], table[row, t + 1], table[row, t + 2]


@kernel(n_rows=_BLOCK + 1, dtype="float64")
def _resize_levels(
    x: Plane8,
    rows: Index,
    row_weights: Weights,
    columns: Index,
    column_weights: Weights,
    across: Weights,
    out: Plane8,
    work: Weights,
) -> None:
    """Rows first; then columns of a block of rows at once, which vector code needs side by side."""
    for start in range(0, out.shape[0], _BLOCK):
        n, total = min(_BLOCK, out.shape[0] - start), work[_BLOCK]
        for b in range(n):
            down = work[b]
            down[:] = _ROUND_UP
            for t in range(0, rows.shape[1], 3):
                (s0, s1, s2), (w0, w1, w2) = _three(rows, start + b, t), _three(row_weights, start + b, t)
                for k in range(x.shape[1]):
                    down[k] += w0 * x[s0, k] + w1 * x[s1, k] + w2 * x[s2, k]
            for k in range(x.shape[1]):
                down[k] = np.int32(min(max(down[k], 0.0), 255.0))
        _turn(work, n, across)
        for column in range(out.shape[1]):
            total[:_BLOCK] = _ROUND_UP
            for t in range(0, columns.shape[1], 3):
                (s0, s1, s2), (w0, w1, w2) = _three(columns, column, t), _three(column_weights, column, t)
                for b in range(_BLOCK):
                    total[b] += w0 * across[s0, b] + w1 * across[s1, b] + w2 * across[s2, b]
            for b in range(n):
                out[start + b, column] = np.uint8(np.int32(min(max(total[b], 0.0), 255.0)))


@kernel(n_rows=_BLOCK + 1)
def _resize_real(
    x: Plane8 | Plane,
    rows: Index,
    row_weights: Weights,
    columns: Index,
    column_weights: Weights,
    across: Plane,
    out: Plane,
    work: Plane,
) -> None:
    """As `_resize_levels`, in float32 and without rounding."""
    for start in range(0, out.shape[0], _BLOCK):
        n, total = min(_BLOCK, out.shape[0] - start), work[_BLOCK]
        for b in range(n):
            down = work[b]
            down[:] = _ZERO
            for t in range(0, rows.shape[1], 3):
                (s0, s1, s2), (w0, w1, w2) = _three(rows, start + b, t), _three(row_weights, start + b, t)
                w0, w1, w2 = _f32(w0), _f32(w1), _f32(w2)
                for k in range(x.shape[1]):
                    down[k] += w0 * _f32(x[s0, k]) + w1 * _f32(x[s1, k]) + w2 * _f32(x[s2, k])
        _turn(work, n, across)
        for column in range(out.shape[1]):
            total[:_BLOCK] = _ZERO
            for t in range(0, columns.shape[1], 3):
                (s0, s1, s2), (w0, w1, w2) = _three(columns, column, t), _three(column_weights, column, t)
                w0, w1, w2 = _f32(w0), _f32(w1), _f32(w2)
                for b in range(_BLOCK):
                    total[b] += w0 * across[s0, b] + w1 * across[s1, b] + w2 * across[s2, b]
            for b in range(n):
                out[start + b, column] = total[b]


@inlined
def _turn(rows: Any, n: int, columns: Any) -> None:  # noqa: ANN401 (float32 or float64)
    """Stores n rows as the columns of a (width, _BLOCK) array, in tiles that stay in the cache."""
    width = columns.shape[0]
    for start in range(0, width, 16):
        for b in range(n):
            for k in range(start, min(start + 16, width)):
                columns[k, b] = rows[b, k]


@inlined
def mirrored(index: int, n: int) -> int:
    """Folds an index into 0..n-1, the edge repeated: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    index = index % (2 * n)
    return index if index < n else 2 * n - 1 - index


@kernel(n_rows=3)
def halve(x: Plane, out: Plane, work: Plane) -> None:
    """Resizes an (H, W) float32 plane by 0.5 to (ceil(H / 2), ceil(W / 2))."""
    height, width = x.shape
    row, even, odd = work[0][:width], work[1][: out.shape[1] + 4], work[2]
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
