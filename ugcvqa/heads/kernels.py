"""Kernels over the parts of a feature row, and the likelihood that their parameters are learned by.

Distances and scores are in standard units here: squared distances of a part have a mean of 2, scores a mean of 0 and a
variance of 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array

Mask = npt.NDArray[np.bool_]

CONSTANT = 4.0
"""Prior variance of the unknown mean of the scores."""

JITTER = 1e-6
"""Added to the diagonal of inducing points' covariance, so that it has a Cholesky factor."""

_START_SIGNAL, _START_NOISE = 0.6, 0.3  # variances
_RANGE = 8.0  # natural logarithms that a parameter may move from its start, either way
_SMALLEST_NOISE = 1e-4  # keeps every covariance positive definite within rounding
_NO_LIKELIHOOD = 1e10
_GRADIENT_TOLERANCE = 1e-3
_PRIOR_PRECISION = 0.5  # of the parameters' logarithms about their start: a factor of 4 either way is likely


@dataclass(frozen=True, eq=False)
class Kernel:
    """A constant plus T rational-quadratic terms, each over a weighted sum of the squared distances of P parts.

    k = constant + sum_t amplitude_t (1 + r_t / (2 mixture_t))^-mixture_t with r_t = sum_p weight_tp distance_p.

    Source: Rasmussen and Williams (2006), equation 4.19 for one term.

    Attributes:
        constant: variance of the unknown mean.
        amplitudes: (T,) variance of each term, at least 0.
        mixtures: (T,) positive; large values come near to a squared-exponential term.
        weights: (T, P), at least 0; 0 where a part does not belong to a term.
    """

    constant: float
    amplitudes: Array
    mixtures: Array
    weights: Array

    def __call__(self, distances: Sequence[Array]) -> Array:
        """Computes covariances (A, B) from the squared distances (A, B) of each part."""
        total = np.full(distances[0].shape, self.constant)
        for amplitude, mixture, weights in zip(self.amplitudes, self.mixtures, self.weights, strict=True):
            total += amplitude * np.exp(-mixture * np.log1p(_weighted(distances, weights) / (2 * mixture)))
        return total

    def terms(self) -> "list[Kernel]":
        """Each term as a kernel of its own, without the constant."""
        each = zip(self.amplitudes, self.mixtures, self.weights, strict=True)
        return [Kernel(0.0, np.array([a]), np.array([m]), w[None]) for a, m, w in each]

    @property
    def variance(self) -> float:
        """Covariance of a video with itself."""
        return self.constant + float(self.amplitudes.sum())


class Learned(NamedTuple):
    """What the search for the most likely parameters found.

    Attributes:
        kernel: the covariance of the process.
        noise: variance of a score about the process.
        log_likelihood: log marginal likelihood of the scores.
        n_evaluations: of the posterior density and its gradient.
        is_converged: whether the search ended by itself and not by the bound on evaluations.
    """

    kernel: Kernel
    noise: float
    log_likelihood: float
    n_evaluations: int
    is_converged: bool


class ParameterPosterior:
    """How likely the natural logarithms of all kernel parameters are after scores have been seen.

    This is the marginal likelihood of the scores times a weak Gaussian prior of the logarithms about fixed values: with
    a dozen weights the likelihood alone picks extreme ones, which took twice the steps and predicted unseen videos
    slightly worse.

    Parameters, in order: amplitudes (T,), mixtures (T,), noise, the weights in use row by row.

    Args:
        distances: P squared distances (N, N) in standard units.
        scores: (N,) in standard units.
        is_used: (T, P) whether a part belongs to a term; at least one part in each.
    """

    def __init__(self, distances: Sequence[Array], scores: Array, is_used: Mask) -> None:
        # Everything is symmetric: the pairs below the diagonal tell all, and the diagonal is known.
        self._lower = np.tril_indices(len(scores), k=-1)
        self._pairs = [distance[self._lower] for distance in distances]
        self.scores, self.is_used = scores, is_used
        self.n_terms = len(is_used)
        amplitudes = np.full(self.n_terms, np.log(_START_SIGNAL / self.n_terms))
        weights = np.repeat(-np.log(is_used.sum(axis=1)), is_used.sum(axis=1))
        self.start: Array = np.concatenate((amplitudes, np.zeros(self.n_terms), [np.log(_START_NOISE)], weights))

    def maximise(self, max_evaluations: int, tolerance: float) -> Learned:
        """Searches by L-BFGS-B from the prior's centre, so that the result is deterministic.

        Args:
            max_evaluations: bound on the evaluations.
            tolerance: relative change of the density's logarithm that ends the search.
        """
        lowest = self.start - _RANGE
        lowest[2 * self.n_terms] = np.log(_SMALLEST_NOISE)
        from scipy.optimize import minimize  # here because the import takes a noticeable part of a second

        result = minimize(
            self.negative_log,
            self.start,
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack((lowest, self.start + _RANGE), axis=1).tolist(),
            options={
                "maxfun": max_evaluations,
                "maxiter": max_evaluations,
                "ftol": tolerance,
                "gtol": _GRADIENT_TOLERANCE,
            },
        )
        likelihood = self._negative_log_prior(result.x)[0] - float(result.fun)
        return Learned(*self.unpacked(result.x), likelihood, int(result.nfev), bool(result.success))

    def unpacked(self, parameters: Array) -> tuple[Kernel, float]:
        """Kernel and noise of a parameter vector."""
        values = np.exp(parameters)
        weights = np.zeros(self.is_used.shape)
        weights[self.is_used] = values[2 * self.n_terms + 1 :]
        amplitudes, mixtures = values[: self.n_terms], values[self.n_terms : 2 * self.n_terms]
        return Kernel(CONSTANT, amplitudes, mixtures, weights), float(values[2 * self.n_terms])

    def negative_log(self, parameters: Array) -> tuple[float, Array]:
        """Negative logarithm of the density, without the prior's normalisation, and its gradient.

        Source: Rasmussen and Williams (2006), equations 5.8 and 5.9.
        """
        kernel, noise = self.unpacked(parameters)
        count = len(self.scores)
        pairs = np.full(self._pairs[0].shape, kernel.constant)
        terms = []
        for amplitude, mixture, weights in zip(kernel.amplitudes, kernel.mixtures, kernel.weights, strict=True):
            ratio = _weighted(self._pairs, weights / (2 * mixture))
            logarithm = np.log1p(ratio)
            values = amplitude * np.exp(-mixture * logarithm)
            pairs += values
            terms.append((values, ratio, logarithm))
        covariance = np.zeros((count, count), order="F")
        covariance[self._lower] = pairs
        covariance.flat[:: count + 1] = kernel.variance
        factor = factorised(covariance, noise)
        if factor is None:
            return _NO_LIKELIHOOD, np.zeros_like(parameters)
        coefficients, inverse = solved(factor, self.scores)
        half_determinant = np.log(np.diag(factor)).sum()
        value = 0.5 * self.scores @ coefficients + half_determinant + 0.5 * count * np.log(2 * np.pi)
        # Derivative of the value by the covariance of each pair, counted for both of its places, and by the diagonal.
        rows, columns = self._lower
        slope = inverse[self._lower] - coefficients[rows] * coefficients[columns]
        diagonal = 0.5 * float(np.sum(np.diag(inverse) - coefficients**2))

        gradient = np.empty_like(parameters)
        gradient[2 * self.n_terms] = noise * diagonal
        of_weights = np.zeros(self.is_used.shape)
        for index, (values, ratio, logarithm) in enumerate(terms):
            values *= slope
            gradient[index] = values.sum() + kernel.amplitudes[index] * diagonal
            ratio += 1
            values /= ratio
            logarithm *= ratio
            ratio -= logarithm + 1
            gradient[self.n_terms + index] = kernel.mixtures[index] * np.vdot(values, ratio)
            for part in np.flatnonzero(self.is_used[index]).tolist():
                product = np.vdot(values, self._pairs[part])
                of_weights[index, part] = -0.5 * kernel.weights[index, part] * product
        gradient[2 * self.n_terms + 1 :] = of_weights[self.is_used]
        prior, of_prior = self._negative_log_prior(parameters)
        return float(value) + prior, gradient + of_prior

    def _negative_log_prior(self, parameters: Array) -> tuple[float, Array]:
        offset = parameters - self.start
        return 0.5 * _PRIOR_PRECISION * float(offset @ offset), _PRIOR_PRECISION * offset


def factorised(covariance: Array, noise: float) -> Array | None:
    """Lower Cholesky factor of a covariance (N, N) plus noise on its diagonal; None where there is none."""
    from scipy.linalg import lapack  # here because the import takes a noticeable part of a second

    noisy = covariance.copy()
    noisy.flat[:: len(noisy) + 1] += noise
    factor, status = lapack.dpotrf(noisy, lower=1, clean=1)
    return None if status else np.asarray(factor)


def solved(factor: Array, scores: Array) -> tuple[Array, Array]:
    """Solves for the scores: (K + noise)^-1 scores (N,), and (K + noise)^-1 (N, N), filled in its lower half only."""
    from scipy.linalg import cho_solve, lapack

    coefficients: Array = cho_solve((factor, True), scores, check_finite=False)
    inverse, _ = lapack.dpotri(factor, lower=1)
    return coefficients, np.asarray(inverse)


def squared_distances(a: Array, b: Array) -> Array:
    """Squared Euclidean distances (len(a), len(b)) of rows."""
    squared: Array = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1) - 2 * (a @ b.T)
    return np.maximum(squared, 0, out=squared)


def _weighted(distances: Sequence[Array], weights: Array) -> Array:
    """Sum of distances times weights, parts of weight 0 left out."""
    total = np.zeros(distances[0].shape)
    for distance, weight in zip(distances, weights.tolist(), strict=True):
        if weight:
            total += weight * distance
    return total
