"""A Gaussian process of fixed size: learned inducing points in place of the training videos, for released models.

It predicts with uncertainties and intervals, detects inputs outside the training distribution, and says what each group
of columns contributes. NumPy does all of it.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.errors import CheckpointError
from ugcvqa.heads.fitted import Interval, check_width
from ugcvqa.heads.kernels import JITTER, Kernel, squared_distances
from ugcvqa.heads.motion import lost_motion
from ugcvqa.heads.novelty import allowed_novelty, beyond_range, residual, unlike_training
from ugcvqa.heads.parts import GPPart
from ugcvqa.heads.scaling import apply_scaling
from ugcvqa.heads.sparse_state import SparseGPState

_MOTION = "motion"  # what it is called in contributions
_BLOCK_ROWS = 2048  # videos whose scaled columns are in memory at a time


class Reference(NamedTuple):
    """What new videos are compared with: inducing points of each term, and the inverses of two Cholesky factors."""

    places: list[Array]
    prior: Array
    posterior: Array
    weights: Array


class FittedSparseGP(SparseGPState):
    """A fitted process with its scaling; keeps no training video."""

    kind: ClassVar[str] = "sparse_gp"
    title: ClassVar[str] = "sparse GP"
    has_interval: ClassVar[bool] = True

    def predict(self, features: npt.NDArray[Any]) -> Array:
        """Predicts MOS; features are taken in single precision."""
        return self._mean(self._covariance(self.points(features)), features)

    def _mean(self, covariance: Array, features: npt.NDArray[Any]) -> Array:
        return covariance @ self.reference.weights * self.mos_deviation + self.mos_mean - self._lost(features)

    def _lost(self, features: npt.NDArray[Any]) -> Array:
        if self.motion < 0:
            return np.zeros(len(features))
        return lost_motion(features[:, self.motion].astype(np.float64))

    def predict_with_std(self, features: npt.NDArray[Any]) -> tuple[Array, Array]:
        """Predicts MOS as `predict` does, and the standard deviation of a newly measured MOS about it, both (N,)."""
        interval = self.predict_interval(features)
        return interval.mean, interval.deviation

    def predict_interval(self, features: npt.NDArray[Any]) -> Interval:
        """Predicts MOS with its standard deviation and the interval of a newly measured MOS.

        Source: Titsias (2009), equation 6; the intervals' width is conformal (Lei et al., 2018, section 5.2).
        """
        covariance = self._covariance(self.points(features))
        explained = self.reference.prior @ covariance.T
        doubt = self.reference.posterior @ explained
        variance = self.kernel.variance - np.sum(explained**2, axis=0) + np.sum(doubt**2, axis=0)
        deviation = np.sqrt(np.maximum(variance, 0) + self.noise) * self.mos_deviation
        if self.spread.size:
            deviation *= np.exp(self.spread @ explained / 2)
        mean = self._mean(covariance, features)
        return Interval(mean, deviation, mean - self.width * deviation, mean + self.width * deviation)

    @property
    def base(self) -> float:
        """Mean prediction of the training videos, on the MOS scale; what `contributions` are relative to."""
        constant = self.kernel.constant * float(self.reference.weights.sum())
        return (constant + float(self.means.sum())) * self.mos_deviation + self.mos_mean

    def contributions(self, features: npt.NDArray[Any]) -> dict[str, Array]:
        """Splits predictions into what the groups of columns contribute.

        Returns:
            Group -> (N,) MOS units relative to the training mean: with `base` they add up to `predict`.
        """
        points, own = self.points(features), self.reference
        found = {
            group: (term(self.kernel, index, points[index], own.places[index]) @ own.weights - self.means[index])
            * self.mos_deviation
            for index, group in enumerate(self.groups)
        }
        return found if self.motion < 0 else {**found, _MOTION: -self._lost(features)}

    def warnings(self, features: npt.NDArray[Any], n_seconds: int | None = None) -> list[tuple[str, ...]]:
        """Says in plain sentences why videos lie outside the training distribution; nothing for those within it.

        Args:
            features: (N, D) numbers.
            n_seconds: how many seconds each vector is the mean of, if they are few: these vary more.

        Returns:
            N tuples of sentences.
        """
        novelty = self._novelties(features)
        usual = allowed_novelty(self.novelty, n_seconds)
        found: list[list[str]] = [[] for _ in features]
        for part in self.parts:
            if part.name in self.ranges:
                low, high = self.ranges[part.name]
                for row, value in enumerate(features[:, part.start].tolist()):
                    if not low <= value <= high:
                        found[row].append(beyond_range(part.name, value, low, high))
        for index, group in enumerate(self.groups):
            if not self._is_of_facts(group):
                for row in np.flatnonzero(novelty[index] > usual[index]).tolist():
                    found[row].append(unlike_training(group))
        return [tuple(sentences) for sentences in found]

    def _novelties(self, features: npt.NDArray[Any]) -> list[Array]:
        """What `novelty` is compared with, term by term: (N,) each."""
        terms = range(len(self.groups))
        if self.is_of_points:
            points = self.points(features)
            return [self.openness(points, index) for index in terms]
        blocks = scaled_blocks(features, self.parts, self.tables, self.scales, self.groups)
        return [residual(block, axes.astype(np.float64)) for block, axes in zip(blocks, self.axes, strict=True)]

    def _is_of_facts(self, group: str) -> bool:
        return all(part.name in self.ranges for part in self.parts if part.group == group)

    def openness(self, points: Sequence[Array], index: int) -> Array:
        """Share of a term's variance (N,) that the inducing points leave open, 0..1."""
        covariance = term(self.kernel, index, points[index], self.reference.places[index])
        explained = self._own_factors[index] @ covariance.T
        share: Array = 1 - np.sum(explained**2, axis=0) / self.kernel.amplitudes[index]
        return share

    @cached_property
    def reference(self) -> Reference:
        """What new videos are compared with, computed once."""
        places = np.split(self.inducing.astype("float64"), np.cumsum([a.shape[1] for a in self.axes])[:-1], axis=1)
        prior = inverse_factor(self.kernel([squared_distances(place, place) for place in places]))
        posterior = _inverse(np.tril(self.factor.astype(np.float64)))
        return Reference(places, prior, posterior, prior.T @ self.whitened)

    @cached_property
    def _own_factors(self) -> list[Array]:
        """Inverse Cholesky factor of each term's covariance of its inducing points."""
        places = enumerate(self.reference.places)
        return [inverse_factor(term(self.kernel, index, place, place)) for index, place in places]

    def points(self, features: npt.NDArray[Any]) -> list[Array]:
        """Projects videos into the space of each term of the kernel: (N, d_t) float64 each.

        Raises:
            LabelError: if `features` is not a table of D columns.
        """
        n_columns = max(part.stop for part in self.parts)
        check_width(features, n_columns)
        axes = [table.astype(np.float64) for table in self.axes]
        found = []
        for start in range(0, max(1, len(features)), _BLOCK_ROWS):
            rows = features[start : start + _BLOCK_ROWS]
            blocks = scaled_blocks(rows, self.parts, self.tables, self.scales, self.groups)
            found.append([block @ table for block, table in zip(blocks, axes, strict=True)])
        return [np.concatenate(blocks) for blocks in zip(*found, strict=True)]

    def _covariance(self, points: Sequence[Array]) -> Array:
        pairs = zip(points, self.reference.places, strict=True)
        return self.kernel([squared_distances(new, known) for new, known in pairs])


def scaled_blocks(
    features: npt.NDArray[Any],
    parts: Sequence[GPPart],
    tables: Sequence[npt.NDArray[np.float32]],
    scales: Array,
    groups: Sequence[str],
) -> list[Array]:
    """Scaled columns of each group, weighted so that their distance is that of the kernel."""
    blocks: dict[str, list[Array]] = {group: [] for group in groups}
    for part, table, scale in zip(parts, tables, scales, strict=True):
        if part.group in blocks:
            columns = features[:, part.start : part.stop]
            blocks[part.group].append(apply_scaling(columns, part.scaling, table) * scale)
    return [np.concatenate(block, axis=1) for block in blocks.values()]


def term(kernel: Kernel, index: int, a: Array, b: Array) -> Array:
    """One term of the covariance (A, B)."""
    mixture = kernel.mixtures[index]
    values: Array = kernel.amplitudes[index] * (1 + squared_distances(a, b) / (2 * mixture)) ** -mixture
    return values


def inverse_factor(covariance: Array) -> Array:
    """Inverse of the lower Cholesky factor of a covariance (M, M) of inducing points; the jitter keeps it accurate.

    Raises:
        CheckpointError: if it has none.
    """
    noisy = covariance.copy()
    noisy.flat[:: len(noisy) + 1] += JITTER
    try:
        return _inverse(np.asarray(np.linalg.cholesky(noisy), np.float64))
    except np.linalg.LinAlgError as error:
        raise CheckpointError("the sparse GP head's covariance is not positive definite; train it again") from error


def _inverse(factor: Array) -> Array:
    try:
        return np.asarray(np.linalg.inv(factor), np.float64)
    except np.linalg.LinAlgError as error:
        raise CheckpointError("a factor of the sparse GP head is singular; train it again") from error
