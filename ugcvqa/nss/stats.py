"""The 34 natural-scene statistics of one map: MSCN, log-derivatives and their generalised Gaussian fits."""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from ugcvqa.nss.filters import add_scaled, direct_sum, fill_border, map_groups, normalised, pad, tiles

N_STATISTICS = 34

# 7 x 7 Gaussian of sigma 7/6, rows from the border to the centre. The exact bits matter: MATLAB normalises the window
# twice, so that it sums to 1 - 2^-52, and flat areas keep that residue.
_WINDOW_QUADRANT = (
    (0.0001577586358082699, 0.0009900950389243662, 0.0029804862989742742, 0.004303520521060793),
    (0.0009900950389243662, 0.0062138480158640775, 0.01870556678610541, 0.027008944999942323),
    (0.0029804862989742742, 0.01870556678610541, 0.05630942821519818, 0.08130511451661487),
    (0.004303520521060793, 0.027008944999942323, 0.08130511451661487, 0.11739635539001349),
)
_WINDOW = tuple(tuple(_WINDOW_QUADRANT[3 - abs(y)][3 - abs(x)] for x in range(-3, 4)) for y in range(-3, 4))
_LINE = normalised(math.exp(-(x**2) / (2 * (7 / 6) ** 2)) for x in range(-3, 4))  # the same window, one axis
_WINDOW_DEFICIT = 2.0**-52
_REACH_PX = 3
_EPS = 2.0**-52
_SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))  # circular shifts (rows down, columns right) of the products
_UNBOUNDED = 1e10  # MATLAB leaves 1e21..1e27 or Inf where the deviation is zero but for round-off


def map_statistics(maps: Tensor) -> Tensor:
    """Computes the 34 statistics of each map.

    Source: RAPIQUE (Tu et al., 2021), section III, and its public code; MSCN of Mittal et al. (2012) with a
    7 x 7 window and C = 1. Values per map, in order: shape and scale of the MSCN coefficients; mean and squared
    mean-to-deviation ratio of the local deviation; (alpha, eta, left, right) for four products of neighbouring
    coefficients; (shape, scale) for seven log-derivatives. A deviation that is zero up to round-off gives +Inf.

    float64 repeats the order of MATLAB's operations, so that even the residue on flat areas agrees. float32 uses
    differences from the centre pixel, which do not cancel, and leaves that residue as window deficit * value.

    Args:
        maps: (N, H, W) float32 or float64, any range.

    Returns:
        (N, 34) float64; NaN and Inf mark undefined values.
    """
    return torch.cat([_statistics(maps[group]) for group in map_groups(maps)])


def _statistics(x: Tensor) -> Tensor:
    count, height, width = x.shape
    mscn, log_mscn = (x.new_empty(count, height + 2, width + 2) for _ in range(2))
    deviation = _fill_mscn(x, mscn, log_mscn)
    fill_border(mscn, "wrap", 1, 1, 1, 1)
    fill_border(log_mscn, "wrap", 1, 1, 1, 1)
    products = _row_sums(_product_terms, mscn, height, width)
    gaussian = _row_sums(_derivative_terms, log_mscn, height, width)
    # the two 3 x 3 filters see a repeated edge where the circular differences see the opposite side
    fill_border(log_mscn, "replicate", 1, 1, 1, 1)
    gaussian = torch.cat((gaussian, _row_sums(_cross_terms, log_mscn, height, width)))
    n_pixels = height * width
    fits = fit_ggd(*(gaussian.view(-1, 2, count) / n_pixels).unbind(1))
    marginal = fit_ggd(*(products[:2] / n_pixels))
    skewed = fit_aggd(products[2:].view(4, 6, count), n_pixels)
    parts = (marginal, deviation, skewed.transpose(0, 1).flatten(1), fits.transpose(0, 1).flatten(1))
    return torch.cat(parts, dim=1)


def _fill_mscn(x: Tensor, mscn: Tensor, log_mscn: Tensor) -> Tensor:
    """Fills the interior of two maps padded by one sample; returns (N, 2), statistics 2 and 3."""
    height, width = x.shape[-2:]
    halo = 2 * _REACH_PX
    window = _window_float64 if x.dtype == torch.float64 else _window_float32
    padded = pad(x, "replicate", _REACH_PX, _REACH_PX, _REACH_PX, _REACH_PX)
    shift = x.new_zeros(())
    sums: list[Tensor] = []
    for top, bottom, left, right in tiles(x, height, width, halo):
        difference, deviation = window(padded[:, top : bottom + halo, left : right + halo])
        inner = (slice(None), slice(top + 1, bottom + 1), slice(left + 1, right + 1))
        coefficients = torch.div(difference, deviation + 1, out=mscn[inner])
        torch.log(torch.abs(coefficients, out=difference).add_(0.1), out=log_mscn[inner])
        if not sums:
            shift = deviation.mean((-2, -1), keepdim=True)
        deviation.sub_(shift)  # sums about a typical value, so that the variance does not cancel
        sums.append(torch.stack((deviation.sum(-1), (deviation * deviation).sum(-1))))
    total, squares = torch.cat(sums, -1).double().sum(-1)
    return _mean_and_ratio(shift.double().flatten(), total, squares, height * width)


def _mean_and_ratio(shift: Tensor, total: Tensor, squares: Tensor, n_pixels: int) -> Tensor:
    """Mean and (mean / standard deviation)^2 of samples whose sums were taken about `shift`."""
    mean = shift + total / n_pixels + _EPS
    variance = (squares - total * total / n_pixels).clamp(min=0) / max(n_pixels - 1, 1)
    ratio = mean * mean / variance
    return torch.stack((mean, ratio.masked_fill(ratio > _UNBOUNDED, math.inf)), dim=1)


def _window_float64(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sample minus local mean, and local deviation, of a tile with its border of 3, summed as MATLAB sums."""
    centre = x[..., _REACH_PX:-_REACH_PX, _REACH_PX:-_REACH_PX]
    mean = direct_sum(x, _WINDOW)
    deviation = direct_sum(x * x, _WINDOW).sub_(mean * mean).abs_().sqrt_()
    return torch.sub(centre, mean, out=mean), deviation


def _window_float32(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sample minus local mean, and local deviation, of a tile with its border of 3, free of cancellation.

    The variance in the window is the mean variance within its rows plus the variance of the row means; each is
    taken about the centre sample.
    """
    across, within = _line_moments(x, -1)
    row_mean = x[..., _REACH_PX:-_REACH_PX] + across
    down, variance = _line_moments(row_mean, -2)
    for offset, weight in enumerate(_LINE):
        add_scaled(variance, within.narrow(-2, offset, down.shape[-2]), weight)
    deviation = variance.sqrt_()
    # centre minus mean, plus the share of the centre that MATLAB's window leaves out
    difference = across[..., _REACH_PX:-_REACH_PX, :].add_(down).neg_()
    difference.add_(x[..., _REACH_PX:-_REACH_PX, _REACH_PX:-_REACH_PX], alpha=_WINDOW_DEFICIT)
    return difference, deviation


def _line_moments(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Weighted mean minus centre sample, and weighted variance, over 7 samples along one axis."""
    size = x.shape[axis] - 2 * _REACH_PX
    centre = x.narrow(axis, _REACH_PX, size)
    first = x.narrow(axis, 0, size) - centre
    shift = first * _LINE[0]
    squares = first.mul_(first).mul_(_LINE[0])
    for offset in (1, 2, 4, 5, 6):
        difference = x.narrow(axis, offset, size) - centre
        add_scaled(shift, difference, _LINE[offset])
        squares.addcmul_(difference, difference, value=_LINE[offset])
    return shift, squares.addcmul_(shift, shift, value=-1).clamp_(min=0)


def _row_sums(terms: Callable[[Tensor], list[Tensor]], padded: Tensor, height: int, width: int) -> Tensor:
    """Sums (K, N) over maps padded by one sample: rows in the maps' precision, then float64."""
    sums = []
    for top, bottom, left, right in tiles(padded, height, width, 2):
        sums.append(torch.stack(terms(padded[:, top : bottom + 2, left : right + 2])))
    return torch.cat(sums, -1).double().sum(-1)


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


@lru_cache(maxsize=8)
def _fit_tables(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Grid of gamma, midpoints of the GGD ratio (ascending) and of the AGGD ratio, and G(2/g)/sqrt(G(1/g)G(3/g))."""
    gamma = torch.arange(100, 6001, dtype=torch.float64) / 1000
    first, second, third = (torch.lgamma(k / gamma) for k in (1, 2, 3))
    ratio = torch.exp(first + third - 2 * second)
    inverse = torch.exp(2 * second - first - third)
    spread = torch.exp(second - (first + third) / 2)
    descending = (ratio[1:] + ratio[:-1]) / 2
    tables = (gamma, descending.flip(0), (inverse[1:] + inverse[:-1]) / 2, spread)
    gamma, *others = (table.to(device) for table in tables)
    return gamma, others[0], others[1], others[2]


def fit_ggd(mean_abs: Tensor, mean_square: Tensor) -> Tensor:
    """Fits zero-mean generalised Gaussians by moment matching on a grid of shapes 0.1, 0.101, ..., 6.

    Source: Sharifi and Leon-Garcia (1995), as in the public code of RAPIQUE.

    Args:
        mean_abs: (...) float64, mean absolute value of each sample.
        mean_square: (...) float64, mean square.

    Returns:
        (..., 2) float64: shape and scale (root mean square); (0.1, 0) where all values were zero.
    """
    gamma, midpoints, _, _ = _fit_tables(mean_abs.device)
    rho = mean_square / (mean_abs * mean_abs)
    # the ratio falls with gamma; the smaller gamma wins a tie, and an undefined ratio gives the first one
    index = len(midpoints) - torch.searchsorted(midpoints, rho, right=True)
    index = index.masked_fill(rho.isnan(), 0)
    return torch.stack((gamma[index], mean_square.sqrt()), dim=-1)


def fit_aggd(sums: Tensor, n_pixels: int) -> Tensor:
    """Fits asymmetric generalised Gaussians by moment matching on the grid of `fit_ggd`.

    Source: Lasmar et al. (2009), as in the public code of RAPIQUE.

    Args:
        sums: (K, 6, N) float64 over the values v of each sample: sum of v > 0, sum of v < 0, sum of squares of
            v > 0, sum of squares of v < 0, count of v > 0 minus count of v < 0, count of v other than 0.
        n_pixels: number of all values.

    Returns:
        (K, N, 4) float64: shape, mean, left and right deviation; NaN where a side has no value.
    """
    positive, negative, positive_square, negative_square, signs, nonzero = sums.unbind(1)
    gamma, _, midpoints, spread = _fit_tables(sums.device)
    left = (negative_square / ((nonzero - signs) / 2)).sqrt()
    right = (positive_square / ((nonzero + signs) / 2)).sqrt()
    skew = left / right
    ratio = (positive - negative).square() / (n_pixels * (positive_square + negative_square))
    target = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1).square()
    index = torch.searchsorted(midpoints, target).masked_fill(target.isnan(), 0)
    # with eta's factors written as one table: G(2/a)/G(1/a) * sqrt(G(1/a)/G(3/a))
    eta = (right - left) * spread[index]
    return torch.stack((gamma[index], eta, left, right), dim=-1)
