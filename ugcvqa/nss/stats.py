"""Sums of maps as torch, on any device and in both precisions; `fits.py` makes the 34 statistics of them."""

import torch
from torch import Tensor

from ugcvqa.nss.constants import DEFICIT, LINE, WINDOW
from ugcvqa.nss.filters import add_scaled, direct_sum, fill_border, pad

_REACH_PX = 3
_SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))  # circular shifts (rows down, columns right) of the products


def map_sums(maps: Tensor) -> Tensor:
    """Sums what the 34 statistics of each map need.

    float64 repeats the order of MATLAB's operations, so that even the residue on flat areas agrees. float32 uses
    differences from the centre pixel, which do not cancel, and leaves that residue as window deficit * value.

    Args:
        maps: (N, H, W) float32 or float64, any range.

    Returns:
        (N, fits.N_SUMS) float64.
    """
    at_once = 1 if maps.device.type == "cpu" else len(maps)  # a CPU's memory would grow for nothing
    return torch.cat([_sums(part) for part in maps.split(at_once)])


def _sums(x: Tensor) -> Tensor:
    count, height, width = x.shape
    mscn, log_mscn = (x.new_empty(count, height + 2, width + 2) for _ in range(2))
    deviation = _fill_mscn(x, mscn, log_mscn)
    fill_border(mscn, "wrap", 1, 1, 1, 1)
    fill_border(log_mscn, "wrap", 1, 1, 1, 1)
    products = _total(_product_terms(mscn))
    derivatives = _total(_derivative_terms(log_mscn))
    # the two 3 x 3 filters see a repeated edge where the circular differences see the opposite side
    fill_border(log_mscn, "replicate", 1, 1, 1, 1)
    crosses = _total(_cross_terms(log_mscn))
    marginal, pairs = products[:2], products[2:].view(4, 6, count)
    positive, negative, positive_square, negative_square, signs, nonzero = pairs.unbind(1)
    pairs = torch.stack((positive - negative, positive_square, negative_square, (nonzero - signs) / 2, nonzero), dim=1)
    return torch.cat((deviation, marginal, pairs.flatten(0, 1), derivatives, crosses)).T


def _fill_mscn(x: Tensor, mscn: Tensor, log_mscn: Tensor) -> Tensor:
    """Fills the interior of two maps padded by one sample; returns the sums (3, N) of the deviation."""
    window = _window_float64 if x.dtype == torch.float64 else _window_float32
    difference, deviation = window(pad(x, "replicate", _REACH_PX, _REACH_PX, _REACH_PX, _REACH_PX))
    inner = (slice(None), slice(1, -1), slice(1, -1))
    coefficients = torch.div(difference, deviation + 1, out=mscn[inner])
    torch.log(torch.abs(coefficients, out=difference).add_(0.1), out=log_mscn[inner])
    shift = deviation[:, :1].mean(-1, keepdim=True)
    deviation.sub_(shift)  # sums about a typical value, so that the variance does not cancel
    return torch.stack((shift.double().flatten(), *_total([deviation.sum(-1), (deviation * deviation).sum(-1)])))


def _window_float64(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sample minus local mean, and local deviation, of maps with their border of 3, summed as MATLAB sums."""
    centre = x[..., _REACH_PX:-_REACH_PX, _REACH_PX:-_REACH_PX]
    mean = direct_sum(x, WINDOW)
    deviation = direct_sum(x * x, WINDOW).sub_(mean * mean).abs_().sqrt_()
    return torch.sub(centre, mean, out=mean), deviation


def _window_float32(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sample minus local mean, and local deviation, of maps with their border of 3, free of cancellation.

    The variance in the window is the mean variance within its rows plus the variance of the row means; each is
    taken about the centre sample.
    """
    across, within = _line_moments(x, -1)
    row_mean = x[..., _REACH_PX:-_REACH_PX] + across
    down, variance = _line_moments(row_mean, -2)
    for offset, weight in enumerate(LINE):
        add_scaled(variance, within.narrow(-2, offset, down.shape[-2]), weight)
    deviation = variance.sqrt_()
    # centre minus mean, plus the share of the centre that MATLAB's window leaves out
    difference = across[..., _REACH_PX:-_REACH_PX, :].add_(down).neg_()
    difference.add_(x[..., _REACH_PX:-_REACH_PX, _REACH_PX:-_REACH_PX], alpha=DEFICIT)
    return difference, deviation


def _line_moments(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Weighted mean minus centre sample, and weighted variance, over 7 samples along one axis."""
    size = x.shape[axis] - 2 * _REACH_PX
    centre = x.narrow(axis, _REACH_PX, size)
    first = x.narrow(axis, 0, size) - centre
    shift = first * LINE[0]
    squares = first.mul_(first).mul_(LINE[0])
    for offset in (1, 2, 4, 5, 6):
        difference = x.narrow(axis, offset, size) - centre
        add_scaled(shift, difference, LINE[offset])
        squares.addcmul_(difference, difference, value=LINE[offset])
    return shift, squares.addcmul_(shift, shift, value=-1).clamp_(min=0)


def _total(row_sums: list[Tensor]) -> Tensor:
    """Adds up K sums (N, H) of rows, in float64 -> (K, N)."""
    return torch.stack(row_sums).double().sum(-1)


def _absolute_and_square(x: Tensor) -> list[Tensor]:
    return [x.abs().sum(-1), (x * x).sum(-1)]


def _product_terms(mscn: Tensor) -> list[Tensor]:
    """Row sums for the fits of the MSCN coefficients and of their four products."""
    height, width = mscn.shape[-2] - 2, mscn.shape[-1] - 2
    # signs are multiplied apart: tiny products underflow in float32, yet count as positive or negative
    sign = mscn.sign().float()
    centre, centre_sign = mscn[..., 1:-1, 1:-1], sign[..., 1:-1, 1:-1]
    sums = _absolute_and_square(centre)
    for down, right in _SHIFTS:
        rows, columns = slice(1 - down, 1 - down + height), slice(1 - right, 1 - right + width)
        product = centre * mscn[..., rows, columns]
        positive = product.clamp(min=0)
        negative = product.clamp_(max=0)
        signs = centre_sign * sign[..., rows, columns]
        sums += [positive.sum(-1), negative.sum(-1)]
        sums += [positive.mul_(positive).sum(-1), negative.mul_(negative).sum(-1)]
        sums += [signs.sum(-1), signs.abs_().sum(-1)]
    return sums


def _derivative_terms(j: Tensor) -> list[Tensor]:
    """Row sums of the five log-derivatives made of circular shifts."""
    centre = j[..., 1:-1, 1:-1]
    horizontal = j[..., :-1, 1:-1] - j[..., :-1, :-2]
    differences = (
        horizontal[..., 1:, :],
        centre - j[..., :-2, 1:-1],
        centre - j[..., :-2, :-2],
        centre - j[..., 2:, :-2],
        horizontal[..., 1:, :] - horizontal[..., :-1, :],
    )
    return [total for difference in differences for total in _absolute_and_square(difference)]


def _cross_terms(j: Tensor) -> list[Tensor]:
    """Row sums of the two log-derivatives made of 3 x 3 filters."""
    cross = (j[..., :-2, 1:-1] - j[..., 1:-1, :-2]).add_(j[..., 2:, 1:-1]).sub_(j[..., 1:-1, 2:])
    apart = j[..., :-2] - j[..., 2:]
    return _absolute_and_square(cross) + _absolute_and_square(apart[..., :-2, :] - apart[..., 2:, :])
