"""From the sums of a map to its 34 statistics: moments and generalised Gaussian fits, in float64."""

import math
from functools import cache

import numpy as np

from ugcvqa.arrays import Array
from ugcvqa.nss.constants import EPS

N_STATISTICS = 34
N_SUMS = 39
"""Sums of one map, in order: a typical local deviation, sums of (deviation - typical) and of its square; |v| and v^2 of
the MSCN coefficients; for each of their four products |v|, v^2 of v > 0, v^2 of v < 0, the numbers of v < 0 and of v
other than 0; |v| and v^2 of the seven log-derivatives."""

_UNBOUNDED = 1e10  # MATLAB leaves 1e21..1e27 or Inf where the deviation is zero but for round-off


def statistics(sums: Array, n_pixels: Array) -> Array:
    """Computes the 34 statistics of maps.

    Source: RAPIQUE (Tu et al., 2021), section III, and its public code; MSCN of Mittal et al. (2012) with a
    7 x 7 window and C = 1. Values per map, in order: shape and scale of the MSCN coefficients; mean and squared
    mean-to-deviation ratio of the local deviation; (alpha, eta, left, right) for four products of neighbouring
    coefficients; (shape, scale) for seven log-derivatives. A deviation that is zero up to round-off gives +Inf.

    Args:
        sums: (K, N_SUMS) float64, see `N_SUMS`.
        n_pixels: (K,) pixels of each map.

    Returns:
        (K, 34) float64; NaN and Inf mark undefined values.
    """
    n = np.asarray(n_pixels, np.float64)
    products = sums[:, 5:25].reshape(-1, 4, 5)
    derivatives = sums[:, 25:].reshape(-1, 7, 2) / n[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        parts = (
            fit_ggd(sums[:, 3] / n, sums[:, 4] / n),
            _mean_and_ratio(sums[:, :3], n),
            fit_aggd(products, n[:, None]).reshape(-1, 16),
            fit_ggd(derivatives[..., 0], derivatives[..., 1]).reshape(-1, 14),
        )
    return np.concatenate(parts, axis=1)


def _mean_and_ratio(sums: Array, n: Array) -> Array:
    """Mean and (mean / standard deviation)^2 of samples whose sums were taken about a typical value."""
    typical, total, squares = sums.T
    mean = typical + total / n + EPS
    variance = np.maximum(squares - total * total / n, 0) / np.maximum(n - 1, 1)
    ratio = mean * mean / variance
    return np.stack((mean, np.where(ratio > _UNBOUNDED, np.inf, ratio)), axis=1)


@cache
def _tables() -> tuple[Array, Array, Array, Array]:
    """Grid of gamma, midpoints of the GGD ratio (ascending) and of the AGGD ratio, and G(2/g)/sqrt(G(1/g)G(3/g))."""
    gamma = np.arange(100, 6001) / 1000
    first, second, third = (np.array([math.lgamma(k / g) for g in gamma.tolist()]) for k in (1, 2, 3))
    ratio = np.exp(first + third - 2 * second)
    inverse = np.exp(2 * second - first - third)
    descending = (ratio[1:] + ratio[:-1]) / 2
    return gamma, descending[::-1].copy(), (inverse[1:] + inverse[:-1]) / 2, np.exp(second - (first + third) / 2)


def fit_ggd(mean_abs: Array, mean_square: Array) -> Array:
    """Fits zero-mean generalised Gaussians by moment matching on a grid of shapes 0.1, 0.101, ..., 6.

    Source: Sharifi and Leon-Garcia (1995), as in the public code of RAPIQUE.

    Args:
        mean_abs: (...) float64, mean absolute value of each sample.
        mean_square: (...) float64, mean square.

    Returns:
        (..., 2) float64: shape and scale (root mean square); (0.1, 0) where all values were zero.
    """
    gamma, midpoints, _, _ = _tables()
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = mean_square / (mean_abs * mean_abs)
    # the ratio falls with gamma; the smaller gamma wins a tie, and an undefined ratio gives the first one
    index = np.where(np.isnan(rho), 0, len(midpoints) - np.searchsorted(midpoints, rho, side="right"))
    return np.stack((gamma[index], np.sqrt(mean_square)), axis=-1)


def fit_aggd(sums: Array, n_pixels: Array) -> Array:
    """Fits asymmetric generalised Gaussians by moment matching on the grid of `fit_ggd`.

    Source: Lasmar et al. (2009), as in the public code of RAPIQUE.

    Args:
        sums: (..., 5) float64 over the values v of each sample: |v|, v^2 of v > 0, v^2 of v < 0, the number of
            v < 0, the number of v other than 0.
        n_pixels: number of all values, of a shape that broadcasts.

    Returns:
        (..., 4) float64: shape, mean, left and right deviation; NaN where a side has no value.
    """
    total, positive, negative, n_negative, n_nonzero = np.moveaxis(sums, -1, 0)
    gamma, _, midpoints, spread = _tables()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        left = np.sqrt(negative / n_negative)
        right = np.sqrt(positive / (n_nonzero - n_negative))
        skew = left / right
        ratio = total * total / (n_pixels * (positive + negative))
        target = ratio * (skew**3 + 1) * (skew + 1) / np.square(skew**2 + 1)
        # with eta's factors written as one table: G(2/a)/G(1/a) * sqrt(G(1/a)/G(3/a))
        index = np.where(np.isnan(target), 0, np.searchsorted(midpoints, target))
        return np.stack((gamma[index], (right - left) * spread[index], left, right), axis=-1)
