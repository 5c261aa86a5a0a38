"""A Gaussian process of fixed size: learned inducing points in place of the training videos, for released models.

It predicts with uncertainties and intervals, detects inputs outside the training distribution, and says what each group
of columns contributes. NumPy does all of it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ugcvqa import untrusted
from ugcvqa.arrays import Array
from ugcvqa.errors import CheckpointError
from ugcvqa.evaluation.metrics import Logistic
from ugcvqa.heads.fitted import FittedHead, Interval, Parts, check_width
from ugcvqa.heads.kernels import JITTER, Kernel, squared_distances
from ugcvqa.heads.motion import lost_motion
from ugcvqa.heads.novelty import allowed_novelty, beyond_range, residual, unlike_training
from ugcvqa.heads.parts import GPPart, parts_from, stored_tables
from ugcvqa.heads.scaling import apply_scaling, check_scaling

_MOTION = "motion"  # what it is called in contributions
_BLOCK_ROWS = 2048  # videos whose scaled columns are in memory at a time


class Reference(NamedTuple):
    """What new videos are compared with: inducing points of each term, and the inverses of two Cholesky factors."""

    places: list[Array]
    prior: Array
    posterior: Array
    weights: Array


@dataclass(frozen=True, eq=False)
class FittedSparseGP(FittedHead):
    """A fitted process with its scaling; keeps no training video.

    Attributes:
        parts: columns and their scaling.
        tables: per part, what its scaling learned.
        scales: (P,) factor of each part's scaled columns.
        axes: per term of the kernel, (columns of its parts, d_t) float16, see `inducing.principal_axes`.
        groups: name of each term, the group of its parts.
        inducing: (M, sum of d_t) float32, learned places in the space of projected columns.
        kernel: covariance in units of `mos_deviation` squared, each term of which uses one distance.
        noise: variance of a label about the process, same unit.
        whitened: (M,) mean of the process, in the basis where the inducing points are independent.
        factor: (M, M) float32, lower Cholesky factor of the inverse posterior covariance in that basis.
        mos_mean: mean of the training MOS.
        mos_deviation: standard deviation of the training MOS.
        means: (T,) mean of what each term says about the training videos, standard units.
        width: half of an interval in standard deviations, from left-out predictions of the training videos.
        novelty: (T,) what is left of a term's scaled columns, as a squared length, outside their first 64 principal
            axes in 99 % of held-out videos. Where `is_of_points`, the share of a term's variance that the inducing
            points leave open in 99.5 % of training videos.
        ranges: part -> smallest and largest usual value in training, of parts in log scaling.
        logistic: map of predictions to MOS, fitted to left-out predictions of the training videos; `predict` does not
            apply it.
        is_of_points: what `novelty` is, as in older models.
        motion: column with the number of new frames per second, see `motion.lost_motion`; -1 for none.
        spread: (M,) logarithm of the variance of a label about its prediction, relative to what the process says, as a
            linear function in the basis of `whitened`; empty where it is the same everywhere.
    """

    kind: ClassVar[str] = "sparse_gp"
    title: ClassVar[str] = "sparse GP"
    has_interval: ClassVar[bool] = True

    parts: tuple[GPPart, ...]
    tables: tuple[npt.NDArray[np.float32], ...]
    scales: Array
    axes: tuple[npt.NDArray[np.float16], ...]
    groups: tuple[str, ...]
    inducing: npt.NDArray[np.float32]
    kernel: Kernel
    noise: float
    whitened: Array
    factor: npt.NDArray[np.float32]
    mos_mean: float
    mos_deviation: float
    means: Array
    width: float
    novelty: Array
    ranges: Mapping[str, tuple[float, float]]
    logistic: Logistic
    is_of_points: bool = False
    motion: int = -1
    spread: Array = field(default_factory=lambda: np.zeros(0))

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

    def _parts(self) -> Parts:
        arrays: dict[str, npt.NDArray[Any]] = {
            "inducing": self.inducing,
            "whitened": self.whitened,
            "factor": self.factor,
            **({"spread": self.spread} if self.spread.size else {}),
            **{f"table{index}": table for index, table in enumerate(self.tables) if table.size},
            **{f"axes{index}": axes for index, axes in enumerate(self.axes)},
        }
        values: dict[str, Any] = {
            "parts": [asdict(part) for part in self.parts],
            "groups": list(self.groups),
            **{name: getattr(self, name).tolist() for name in _LISTS},
            **{name: getattr(self.kernel, name).tolist() for name in ("amplitudes", "mixtures")},
            "constant": self.kernel.constant,
            **{name: getattr(self, name) for name in _NUMBERS},
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            "is_of_points": self.is_of_points,
            "motion": self.motion,
        }
        return arrays, values

    @classmethod
    def _from_parts(cls, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any], logistic: Logistic) -> Self:
        parts = parts_from(values["parts"])
        groups = tuple(untrusted.text(name, "a group") for name in untrusted.sequence(values["groups"], "groups", 100))
        amplitudes, mixtures = (
            untrusted.numbers(values[name], name, len(groups), 0) for name in ("amplitudes", "mixtures")
        )
        head = cls(
            parts=parts,
            tables=stored_tables(arrays, parts),
            axes=tuple(np.asarray(arrays[f"axes{index}"]) for index in range(len(groups))),
            groups=groups,
            inducing=np.asarray(arrays["inducing"]),
            kernel=Kernel(
                untrusted.number(values["constant"], "constant", 0), amplitudes, mixtures, np.eye(len(groups))
            ),
            whitened=np.asarray(arrays["whitened"]),
            factor=np.asarray(arrays["factor"]),
            **_numbers(values, len(parts), len(groups)),
            ranges=_ranges(untrusted.mapping(values["ranges"], "ranges")),
            logistic=logistic,
            spread=np.asarray(arrays.get("spread", np.zeros(0))),
            is_of_points=values.get("is_of_points", True) is True,
            motion=untrusted.whole(values.get("motion", -1), "motion", -1, max(part.stop for part in parts) - 1),
        )
        head._check()
        return head

    def _check(self) -> None:
        widths = {
            group: sum(part.stop - part.start for part in self.parts if part.group == group) for group in self.groups
        }
        known = {part.group for part in self.parts}  # groups of constant columns have no term
        if not self.groups or not known.issuperset(self.groups) or len(set(self.groups)) < len(self.groups):
            raise ValueError("its groups are not those of its parts")
        for part, table in zip(self.parts, self.tables, strict=True):
            check_scaling(part.scaling, table, part.stop - part.start)
        if any(axes.ndim != 2 for axes in self.axes):
            raise ValueError("its axes are no tables")
        count, terms = len(self.whitened), (len(self.groups),)
        shapes: list[tuple[str, npt.NDArray[Any], tuple[int, ...], str]] = [
            ("inducing", self.inducing, (count, sum(axes.shape[1] for axes in self.axes)), "float32"),
            ("whitened", self.whitened, (count,), "float64"),
            ("factor", self.factor, (count, count), "float32"),
            *([("spread", self.spread, (count,), "float64")] if self.spread.size else []),
            ("scales", self.scales, (len(self.parts),), "float64"),
            *((name, getattr(self, name), terms, "float64") for name in ("means", "novelty")),
            *((name, getattr(self.kernel, name), terms, "float64") for name in ("amplitudes", "mixtures")),
            *(
                (f"axes of {group}", axes, (widths[group], *axes.shape[1:]), "float16")
                for group, axes in zip(self.groups, self.axes, strict=True)
            ),
        ]
        for name, array, shape, dtype in shapes:
            untrusted.check_array(name, array, shape, dtype)
        positive = [self.noise, self.mos_deviation, self.width, *self.kernel.amplitudes, *self.kernel.mixtures]
        if min(positive) <= 0:
            raise ValueError("a variance, scale or width is not a positive finite number")
        if np.diag(self.factor).min() <= 0:
            raise ValueError("its factor is not one of a covariance")


_LISTS = ("scales", "means", "novelty")
_NUMBERS = ("noise", "mos_mean", "mos_deviation", "width")


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


def _numbers(values: Mapping[str, Any], n_parts: int, n_groups: int) -> dict[str, Any]:
    lengths = {"scales": n_parts, "means": n_groups, "novelty": n_groups}
    lists = {name: untrusted.numbers(values[name], name, lengths[name]) for name in _LISTS}
    return {**lists, **{name: untrusted.number(values[name], name) for name in _NUMBERS}}


def _ranges(values: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Part -> ends; infinite for a column without a finite value."""
    ranges = {}
    for name, ends in values.items():
        low, high = untrusted.sequence(ends, f"range of {name[:20]!r}", 2)
        if (low, high) != (-math.inf, math.inf):
            low, high = untrusted.number(low, "start of a range"), untrusted.number(high, "end of a range")
        ranges[untrusted.text(name, "name of a range")] = (float(low), float(high))
    return ranges


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
