"""Borders and weighted sums shared by the NSS maps and statistics.

Samples are computed each by itself, and sums run over one row: results do not depend on the number of threads.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

Border = Literal["replicate", "zero", "wrap"]
Kernel = tuple[tuple[float, ...], ...]


def pad(x: Tensor, border: Border, top: int, bottom: int, left: int, right: int) -> Tensor:
    """Extends (..., H, W) maps at their four sides.

    Args:
        x: (..., H, W) maps of any dtype, at least 1 x 1.
        border: "replicate" repeats the edge sample, "wrap" continues at the opposite side (at most one sample
            per side), "zero" fills with zeros.
        top: rows added above; `bottom`, `left` and `right` likewise.
        bottom: rows added below.
        left: columns added on the left.
        right: columns added on the right.

    Returns:
        (..., top + H + bottom, left + W + right), same dtype.
    """
    height, width = x.shape[-2:]
    out = x.new_empty(*x.shape[:-2], top + height + bottom, left + width + right)
    out[..., top : top + height, left : left + width] = x
    fill_border(out, border, top, bottom, left, right)
    return out


def fill_border(out: Tensor, border: Border, top: int, bottom: int, left: int, right: int) -> None:
    """Fills the border of a padded map in place from its interior; arguments as in `pad`."""
    bottom_edge, right_edge = out.shape[-2] - bottom, out.shape[-1] - right
    inner = out[..., top:bottom_edge, :]
    # columns first, so that the rows copied afterwards bring the corners along
    sides = ((inner[..., :left], left, right_edge - 1), (inner[..., right_edge:], right_edge - 1, left))
    for side, near, far in sides:
        _fill(side, inner, border, -1, near, far)
    ends = ((out[..., :top, :], top, bottom_edge - 1), (out[..., bottom_edge:, :], bottom_edge - 1, top))
    for end, near, far in ends:
        _fill(end, out, border, -2, near, far)


def _fill(side: Tensor, source: Tensor, border: Border, axis: int, near: int, far: int) -> None:
    if border == "zero":
        side.zero_()
    else:
        side.copy_(source.narrow(axis, near if border == "replicate" else far, 1).expand_as(side))


def filter_maps(kernel: Callable[[Tensor], Tensor], x: Tensor, border: Border, before: int, after: int) -> Tensor:
    """Applies a local operation to (..., H, W) maps.

    Args:
        kernel: maps (..., before + H + after, before + W + after) to (..., H, W).
        x: (..., H, W) maps.
        border: how samples beyond the map are made, see `pad`.
        before: rows above and columns on the left of a sample that the operation needs.
        after: rows below and columns on the right.

    Returns:
        (..., H, W).
    """
    return kernel(pad(x, border, before, after, before, after))


def add_scaled(total: Tensor, x: Tensor, weight: float) -> Tensor:
    """Adds weight * x to `total` in place.

    In float64 the product is rounded before it is added, as in MATLAB: a fused multiply-add would leave another
    residue on flat areas. In float32 the faster fused form is used.
    """
    if total.dtype == torch.float64:
        return total.add_(x * weight)
    return total.add_(x, alpha=weight)


def weighted_sum(x: Tensor, axis: int, weights: Sequence[float]) -> Tensor:
    """Correlates one axis with a short kernel; the output is len(weights) - 1 samples shorter."""
    size = x.shape[axis] - len(weights) + 1
    total = x.narrow(axis, 0, size) * weights[0]
    for offset, weight in enumerate(weights[1:], start=1):
        add_scaled(total, x.narrow(axis, offset, size), weight)
    return total


def mean_shift(x: Tensor, axis: int, weights: Sequence[float], centre: int) -> Tensor:
    """Weighted mean along one axis minus the sample at offset `centre`; exactly zero on flat areas.

    The weights must sum to 1. The output is len(weights) - 1 samples shorter.
    """
    size = x.shape[axis] - len(weights) + 1
    middle = x.narrow(axis, centre, size)
    total = (x.narrow(axis, 0, size) - middle).mul_(weights[0])
    for offset, weight in enumerate(weights[1:], start=1):
        if offset != centre:
            add_scaled(total, x.narrow(axis, offset, size) - middle, weight)
    return total


def direct_sum(x: Tensor, kernel: Kernel) -> Tensor:
    """Correlates (..., H, W) with a small 2-D kernel, tap by tap in column-major order.

    In float64 this repeats MATLAB's order of operations, which decides the residue on flat areas; taps of equal weight
    share their products. In float32 products are added in fused form.

    Returns:
        (..., H - rows + 1, W - columns + 1), dtype of `x`.
    """
    size = (*x.shape[:-2], x.shape[-2] - len(kernel) + 1, x.shape[-1] - len(kernel[0]) + 1)
    total = x.new_zeros(size)
    products = {weight: x * weight for row in kernel for weight in row} if x.dtype == torch.float64 else {}
    for column in range(len(kernel[0])):
        for row, weights in enumerate(kernel):
            window = (..., slice(row, row + size[-2]), slice(column, column + size[-1]))
            if products:
                total.add_(products[weights[column]][window])
            else:
                total.add_(x[window], alpha=weights[column])
    return total
