"""Inducing points: a few learned locations that summarise all training videos of a Gaussian process.

Everything is in the units of `kernels`; videos are points in one low-dimensional space per term of the kernel.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from ugcvqa.arrays import Array
from ugcvqa.heads.kernels import JITTER, Kernel, squared_distances

_POWER_STEPS = 4
_SURPLUS = 16  # columns of the random start beyond those that are kept
_LLOYD_STEPS = 15
_FEWEST = 4  # training videos that the start of an inducing point is the mean of


def principal_axes(points: Array, count: int) -> npt.NDArray[np.float16]:
    """Finds the directions in which points differ most; projections onto them nearly keep their distances.

    Source: Halko, Martinsson and Tropp (2011), algorithm 4.4, from a fixed start.

    Args:
        points: (N, D).
        count: number of directions; all D axes where D is not larger.

    Returns:
        (D, min(D, count)) float16, orthonormal to its rounding.
    """
    n_columns = points.shape[1]
    if n_columns <= count:
        return np.eye(n_columns, dtype=np.float16)
    centred = points - points.mean(axis=0)
    axes = np.random.default_rng(0).normal(size=(n_columns, min(n_columns, count + _SURPLUS)))
    for _ in range(_POWER_STEPS):
        axes, _ = np.linalg.qr(centred.T @ (centred @ axes))
    _, order = np.linalg.eigh(axes.T @ (centred.T @ (centred @ axes)))
    kept: npt.NDArray[np.float16] = (axes @ order[:, ::-1][:, :count]).astype(np.float16)
    return kept


def cluster_means(points: Array, count: int) -> Array:
    """Clusters points by k-means; a cluster of fewer than four points takes the mean of the four nearest.

    Source: Arthur and Vassilvitskii (2007) for the start; deterministic.

    Args:
        points: (N, D).
        count: number of means, at most N.

    Returns:
        (count, D).
    """
    rng = np.random.default_rng(0)
    means = points[[int(rng.integers(len(points)))]]
    nearest = squared_distances(points, means)[:, 0]
    while len(means) < count:
        share = nearest / nearest.sum() if nearest.any() else None
        means = np.concatenate((means, points[[int(rng.choice(len(points), p=share))]]))
        nearest = np.minimum(nearest, squared_distances(points, means[-1:])[:, 0])
    for _ in range(_LLOYD_STEPS):
        owner = squared_distances(points, means).argmin(axis=1)
        for index in np.unique(owner):
            means[index] = points[owner == index].mean(axis=0)
    distances, sizes = squared_distances(means, points), np.bincount(owner, minlength=count)
    for index in np.flatnonzero(sizes < _FEWEST):
        means[index] = points[np.argsort(distances[index], kind="stable")[:_FEWEST]].mean(axis=0)
    return means


def placed(points: Sequence[Array], scores: Array, kernel: Kernel, noise: float, start: Array, steps: int) -> Array:
    """Optimises the locations of inducing points.

    Source: Titsias (2009), equation 9: the lower bound of the marginal likelihood, by L-BFGS-B.

    Args:
        points: per term of the kernel, (N, d_t) training videos.
        scores: (N,) in standard units.
        kernel: covariance, each term of which uses one distance.
        noise: variance of a score about the process.
        start: (M, sum of d_t).
        steps: bound on evaluations.

    Returns:
        (M, sum of d_t).
    """
    from scipy.optimize import minimize  # here because the import takes a noticeable part of a second

    found = minimize(
        negative_bound,
        start.ravel(),
        args=(points, scores, kernel, noise),
        jac=True,
        method="L-BFGS-B",
        options={"maxfun": steps, "maxiter": steps},
    )
    return np.asarray(found.x).reshape(start.shape)


def by_term(inducing: Array, points: Sequence[Array]) -> list[Array]:
    """Columns of inducing points, term by term."""
    return np.split(inducing, np.cumsum([block.shape[1] for block in points])[:-1], axis=1)


def negative_bound(
    flat: Array, points: Sequence[Array], scores: Array, kernel: Kernel, noise: float
) -> tuple[float, Array]:
    """Negative lower bound of the log marginal likelihood, and its gradient by the inducing points."""
    places = by_term(flat.reshape(-1, sum(block.shape[1] for block in points)), points)
    count, n_videos = len(places[0]), len(scores)
    own, own_slopes = _with_slopes(kernel, places, places)
    cross, slopes = _with_slopes(kernel, points, places)
    own.flat[:: count + 1] += JITTER
    prior, posterior = cho_factor(own), cho_factor(noise * own + cross.T @ cross)
    rest = (scores - cross @ cho_solve(posterior, cross.T @ scores)) / noise
    weights = cho_solve(prior, cross.T)
    missing = n_videos * kernel.variance - float(np.sum(weights * cross.T))
    determinant = _log_determinant(posterior) - _log_determinant(prior) + (n_videos - count) * np.log(noise)
    value = 0.5 * (scores @ rest + determinant + n_videos * np.log(2 * np.pi) + missing / noise)

    # Derivative by the approximate covariance of all pairs, times the weights; then by both covariances it is made of.
    of_pairs = 0.5 * np.outer(rest, weights @ rest) + (0.5 / noise) * cross @ cho_solve(posterior, cross.T @ weights.T)
    of_cross, of_own = 2 * of_pairs, -weights @ of_pairs
    gradient = []
    for block, place, slope, own_slope in zip(points, places, slopes, own_slopes, strict=True):
        pull, push = of_cross * slope, of_own * own_slope
        push += push.T
        gradient.append(
            2 * (pull.sum(axis=0)[:, None] * place - pull.T @ block)
            + 2 * (push.sum(axis=0)[:, None] * place - push @ place)
        )
    return float(value), -np.concatenate(gradient, axis=1).ravel()


def _with_slopes(kernel: Kernel, a: Sequence[Array], b: Sequence[Array]) -> tuple[Array, list[Array]]:
    """Covariances (A, B), and per term their derivative by the squared distance."""
    total = np.full((len(a[0]), len(b[0])), kernel.constant)
    slopes = []
    for amplitude, mixture, one, other in zip(kernel.amplitudes, kernel.mixtures, a, b, strict=True):
        base = 1 + squared_distances(one, other) / (2 * mixture)
        values = amplitude * base**-mixture
        total += values
        slopes.append(-0.5 * values / base)
    return total, slopes


def _log_determinant(factor: tuple[Array, bool]) -> float:
    return 2 * float(np.log(np.diag(factor[0])).sum())
