"""A Gaussian process of fixed size: learned inducing points in place of the training videos, for released models.

It predicts with an uncertainty and an interval, tells inputs that lie outside the training, and says what each group of
columns contributes. Numpy and scipy only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from ugcvqa import untrusted
from ugcvqa.errors import CheckpointError, LabelError
from ugcvqa.evaluation.metrics import Logistic, fit_logistic
from ugcvqa.heads.gp import GPPart, GPReport, fit_gp, parts_from
from ugcvqa.heads.inducing import JITTER, by_term, cluster_means, placed, principal_axes
from ugcvqa.heads.kernels import Kernel, squared_distances
from ugcvqa.heads.ladders import Ladders, read_ladders
from ugcvqa.heads.scaling import apply_scaling, check_scaling, fit_scaling
from ugcvqa.settings import GPSettings, SparseGPSettings

Array = npt.NDArray[np.float64]

COVERAGE = 0.9
"""Share of newly measured MOS that intervals are made to hold."""

_USUAL = 0.995  # share of the training videos that are not novel; of held-out ones it is about 98 %
_ROUNDS = 4


class Interval(NamedTuple):
    """Predictions with their uncertainty, each (N,) float64 on the MOS scale, not clipped.

    Attributes:
        mean: prediction.
        deviation: standard deviation of a newly measured MOS about it.
        low: lower end of the interval that holds a newly measured MOS in 90 % of videos like those of the training.
        high: its upper end.
    """

    mean: Array
    deviation: Array
    low: Array
    high: Array


class _Reference(NamedTuple):
    """What new videos are compared with."""

    places: list[Array]
    prior: Array
    posterior: Array
    weights: Array
    own: list[Array]


@dataclass(frozen=True, eq=False)
class SparseGPHead:
    """A fitted process with its scaling; keeps no training video.

    Attributes:
        parts: columns and their scaling.
        tables: per part, what its scaling learned.
        scales: (P,) factor of each part's scaled columns.
        axes: per term of the kernel, (columns of its parts, d_t) float16, see `inducing.principal_axes`.
        groups: name of each term, the group of its parts.
        inducing: (M, sum of d_t) float32, learned places in the space of projected columns.
        kernel: covariance in units of `mos_deviation` squared; its terms stand over one distance each.
        noise: variance of a label about the process, same unit.
        whitened: (M,) mean of the process, in the basis where the inducing points are independent.
        factor: (M, M) float32, lower Cholesky factor of the inverse posterior covariance in that basis.
        mos_mean: mean of the training MOS.
        mos_deviation: standard deviation of the training MOS.
        means: (T,) mean of what each term says about the training videos, standard units.
        width: half of an interval in standard deviations, from left-out predictions of the training videos.
        novelty: (T,) share of a term's variance that the inducing points leave open in 99.5 % of training videos.
        ranges: part -> smallest and largest value in training, of parts in log scaling.
        logistic: map of predictions to MOS, fitted to left-out predictions of the training videos; `predict` does not
            apply it.
    """

    kind: ClassVar[str] = "sparse_gp"

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

    def predict(self, features: npt.NDArray[Any]) -> Array:
        """Predicts MOS, before the logistic map.

        Args:
            features: (N, D) numbers, same columns as in training; taken in single precision.

        Returns:
            (N,) float64, nominally on the MOS scale but not clipped to it.

        Raises:
            LabelError: if `features` is not a table of D columns.
        """
        covariance = self._covariance(self._points(features))
        return covariance @ self._reference.weights * self.mos_deviation + self.mos_mean

    def predict_with_std(self, features: npt.NDArray[Any]) -> tuple[Array, Array]:
        """Predicts MOS as `predict` does, and the standard deviation of a newly measured MOS about it, both (N,)."""
        interval = self.predict_interval(features)
        return interval.mean, interval.deviation

    def predict_interval(self, features: npt.NDArray[Any]) -> Interval:
        """Predicts MOS with its standard deviation and the interval of a newly measured MOS.

        Source: Titsias (2009), equation 6; the intervals' width is conformal (Lei et al., 2018, section 5.2).
        """
        covariance = self._covariance(self._points(features))
        explained = solve_triangular(self._reference.prior, covariance.T, lower=True, check_finite=False)
        doubt = solve_triangular(self._reference.posterior, explained, lower=True, check_finite=False)
        variance = self.kernel.variance - np.sum(explained**2, axis=0) + np.sum(doubt**2, axis=0)
        deviation = np.sqrt(np.maximum(variance, 0) + self.noise) * self.mos_deviation
        mean = covariance @ self._reference.weights * self.mos_deviation + self.mos_mean
        return Interval(mean, deviation, mean - self.width * deviation, mean + self.width * deviation)

    @property
    def base(self) -> float:
        """Mean prediction of the training videos, on the MOS scale; what `contributions` are relative to."""
        constant = self.kernel.constant * float(self._reference.weights.sum())
        return (constant + float(self.means.sum())) * self.mos_deviation + self.mos_mean

    def contributions(self, features: npt.NDArray[Any]) -> dict[str, Array]:
        """Splits predictions into what the groups of columns contribute.

        Returns:
            Group -> (N,) MOS units relative to the training mean: with `base` they add up to `predict`.
        """
        points, own = self._points(features), self._reference
        return {
            group: (_term(self.kernel, index, points[index], own.places[index]) @ own.weights - self.means[index])
            * self.mos_deviation
            for index, group in enumerate(self.groups)
        }

    def warnings(self, features: npt.NDArray[Any]) -> list[tuple[str, ...]]:
        """Says in plain sentences why videos lie outside the training distribution; nothing for those within it.

        Returns:
            N tuples of sentences.
        """
        points = self._points(features)
        found: list[list[str]] = [[] for _ in features]
        for part in self.parts:
            if part.name in self.ranges:
                low, high = self.ranges[part.name]
                for row, value in enumerate(features[:, part.start].tolist()):
                    if not low <= value <= high:
                        found[row].append(_beyond(part.name, value, low, high))
        for index, group in enumerate(self.groups):
            if not self._is_of_facts(group):
                for row in np.flatnonzero(self._novelty(points, index) > self.novelty[index]).tolist():
                    found[row].append(
                        f"the {group} features are unlike those of nearly all training videos, so the score is a guess"
                    )
        return [tuple(sentences) for sentences in found]

    def _is_of_facts(self, group: str) -> bool:
        return all(part.name in self.ranges for part in self.parts if part.group == group)

    def _novelty(self, points: Sequence[Array], index: int) -> Array:
        """Share of a term's variance (N,) that the inducing points leave open, 0..1."""
        covariance = _term(self.kernel, index, points[index], self._reference.places[index])
        explained = solve_triangular(self._reference.own[index], covariance.T, lower=True, check_finite=False)
        share: Array = 1 - np.sum(explained**2, axis=0) / self.kernel.amplitudes[index]
        return share

    @cached_property
    def _reference(self) -> _Reference:
        places = np.split(self.inducing.astype(np.float64), np.cumsum([a.shape[1] for a in self.axes])[:-1], axis=1)
        prior = _factor(self.kernel([squared_distances(place, place) for place in places]))
        posterior = np.tril(self.factor.astype(np.float64))
        weights = solve_triangular(prior, self.whitened, lower=True, trans="T", check_finite=False)
        own = [_factor(_term(self.kernel, index, place, place)) for index, place in enumerate(places)]
        return _Reference(places, prior, posterior, weights, own)

    def _points(self, features: npt.NDArray[Any]) -> list[Array]:
        n_columns = max(part.stop for part in self.parts)
        if features.ndim != 2 or features.shape[1] != n_columns:
            raise LabelError(f"features of shape {features.shape} do not fit a head trained on {n_columns} columns")
        blocks = _blocks(features, self.parts, self.tables, self.scales, self.groups)
        return [block @ axes.astype(np.float64) for block, axes in zip(blocks, self.axes, strict=True)]

    def _covariance(self, points: Sequence[Array]) -> Array:
        pairs = zip(points, self._reference.places, strict=True)
        return self.kernel([squared_distances(new, known) for new, known in pairs])

    def to_arrays(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Takes the head apart for saving: (contiguous arrays, plain JSON values)."""
        arrays = {
            "inducing": self.inducing,
            "whitened": self.whitened,
            "factor": self.factor,
            **{f"table{index}": table for index, table in enumerate(self.tables) if table.size},
            **{f"axes{index}": axes for index, axes in enumerate(self.axes)},
        }
        values = {
            "parts": [asdict(part) for part in self.parts],
            "groups": list(self.groups),
            **{name: getattr(self, name).tolist() for name in _LISTS},
            **{name: getattr(self.kernel, name).tolist() for name in ("amplitudes", "mixtures")},
            "constant": self.kernel.constant,
            **{name: getattr(self, name) for name in _NUMBERS},
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            "logistic": self.logistic.to_list(),
        }
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, values

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any]) -> Self:
        """Rebuilds a head from what `to_arrays` gave.

        Raises:
            CheckpointError: if a part is missing, has the wrong shape or holds a non-finite number.
        """
        try:
            parts = parts_from(values["parts"])
            groups = tuple(
                untrusted.text(name, "a group") for name in untrusted.sequence(values["groups"], "groups", 100)
            )
            amplitudes, mixtures = (
                untrusted.numbers(values[name], name, len(groups), 0) for name in ("amplitudes", "mixtures")
            )
            head = cls(
                parts=parts,
                tables=tuple(
                    np.asarray(arrays[f"table{index}"])
                    if part.scaling != "root"  # has no table, and safetensors keeps no empty array
                    else np.empty((0, part.stop - part.start), dtype=np.float32)
                    for index, part in enumerate(parts)
                ),
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
                logistic=Logistic.from_list(untrusted.some_numbers(values["logistic"], "logistic", 4)),
            )
            head._check()
        except KeyError as error:
            raise CheckpointError(f"the sparse GP head lacks its part {error}") from error
        except (CheckpointError, TypeError, ValueError, LabelError) as error:
            raise CheckpointError(f"the sparse GP head cannot be read: {error}") from error
        return head

    def _check(self) -> None:
        widths = {
            group: sum(part.stop - part.start for part in self.parts if part.group == group) for group in self.groups
        }
        known = {part.group for part in self.parts}  # those of constant columns have no term
        if not self.groups or not known.issuperset(self.groups) or len(set(self.groups)) < len(self.groups):
            raise ValueError("its groups are not those of its parts")
        for part, table in zip(self.parts, self.tables, strict=True):
            check_scaling(part.scaling, table, part.stop - part.start)
        if any(axes.ndim != 2 for axes in self.axes):
            raise ValueError("its axes are no tables")
        count, terms = len(self.whitened), (len(self.groups),)
        shapes: list[tuple[str, npt.NDArray[Any], tuple[int, ...], type]] = [
            ("inducing", self.inducing, (count, sum(axes.shape[1] for axes in self.axes)), np.float32),
            ("whitened", self.whitened, (count,), np.float64),
            ("factor", self.factor, (count, count), np.float32),
            ("scales", self.scales, (len(self.parts),), np.float64),
            *((name, getattr(self, name), terms, np.float64) for name in ("means", "novelty")),
            *((name, getattr(self.kernel, name), terms, np.float64) for name in ("amplitudes", "mixtures")),
            *(
                (f"axes of {group}", axes, (widths[group], *axes.shape[1:]), np.float16)
                for group, axes in zip(self.groups, self.axes, strict=True)
            ),
        ]
        for name, array, shape, dtype in shapes:
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"{name} is {array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}")
            if not untrusted.is_bounded(array):
                raise ValueError(f"{name} holds something other than finite numbers")
        positive = [self.noise, self.mos_deviation, self.width, *self.kernel.amplitudes, *self.kernel.mixtures]
        if min(positive) <= 0:
            raise ValueError("a variance, scale or width is not a positive finite number")
        if np.diag(self.factor).min() <= 0:
            raise ValueError("its factor is not one of a covariance")


_LISTS = ("scales", "means", "novelty")
_NUMBERS = ("noise", "mos_mean", "mos_deviation", "width")


def fit_sparse_gp(
    features: npt.NDArray[Any],
    mos: npt.ArrayLike,
    parts: Sequence[GPPart],
    settings: SparseGPSettings | None = None,
) -> tuple[SparseGPHead, GPReport]:
    """Fits the head to all given videos; deterministic, nothing is held out.

    Source: own; parameters of the exact process (`gp.fit_gp`), inducing points after Titsias (2009). What the head
    learns from ladders is a penalty on pairs whose heavier video is not predicted worse by a margin; the penalty's
    margin and strength, and the number of dimensions and points, were chosen on inner validation parts of the first
    benchmark splits.

    Args:
        features: (N, D) numbers of the training videos, as `gp.fit_gp` takes them.
        mos: (N,) subjective scores.
        parts: columns and their scaling, see `gp.gp_parts`.
        settings: sizes, and the file of the ladders.

    Returns:
        The head and what the exact process learned.

    Raises:
        LabelError: as `gp.fit_gp`, or if the ladders cannot be read or have other columns.
    """
    settings = settings or SparseGPSettings()
    ladders = _ladders(settings, features)
    exact, report = fit_gp(features, mos, parts, GPSettings(settings.max_evaluations, settings.tolerance))
    used = [bool(column.any()) for column in exact.kernel.weights.T]
    parts = tuple(parts)
    scales = np.sqrt(exact.kernel.weights.sum(axis=0) / exact.unit_distances)
    groups = tuple(dict.fromkeys(part.group for part, is_used in zip(parts, used, strict=True) if is_used))
    tables = tuple(fit_scaling(features[:, part.start : part.stop], part.scaling, settings.quantiles) for part in parts)
    blocks, rungs = (_blocks(table, parts, tables, scales, groups) for table in (features, ladders.features))
    axes = tuple(principal_axes(np.concatenate(pair), settings.dimensions) for pair in zip(blocks, rungs, strict=True))
    points, rungs = ([block @ a.astype(np.float64) for block, a in zip(b, axes, strict=True)] for b in (blocks, rungs))
    kernel = Kernel(exact.kernel.constant, exact.kernel.amplitudes, exact.kernel.mixtures, np.eye(len(groups)))
    scores = np.asarray(mos, dtype=np.float64)
    problem = _Problem(points, (scores - exact.mos_mean) / exact.mos_deviation, rungs, ladders, kernel, exact.noise)
    inducing = _inducing(problem, settings)
    solution = _solve(problem, inducing, settings, exact.mos_deviation)
    head = SparseGPHead(
        parts=parts,
        tables=tables,
        scales=scales,
        axes=axes,
        groups=groups,
        inducing=inducing,
        kernel=kernel,
        noise=exact.noise,
        whitened=solution.whitened,
        factor=solution.factor.astype(np.float32),
        mos_mean=exact.mos_mean,
        mos_deviation=exact.mos_deviation,
        means=np.zeros(len(groups)),
        width=solution.width,
        novelty=np.ones(len(groups)),
        ranges={part.name: _range(features[:, part.start]) for part in parts if part.scaling == "log"},
        logistic=fit_logistic(solution.left_out * exact.mos_deviation + exact.mos_mean, scores),
    )
    return _described(head, points), report


class _Problem(NamedTuple):
    """Training in standard units."""

    points: list[Array]
    scores: Array
    rungs: list[Array]
    ladders: Ladders
    kernel: Kernel
    noise: float


class _Solution(NamedTuple):
    whitened: Array
    factor: Array
    left_out: Array
    width: float


def _ladders(settings: SparseGPSettings, features: npt.NDArray[Any]) -> Ladders:
    if settings.ladders is None:
        none = np.empty(0, dtype=np.int64)
        return Ladders(np.empty((0, features.shape[1])), none, none, none)
    ladders = read_ladders(Path(settings.ladders))
    if ladders.features.shape[1] != features.shape[1]:
        raise LabelError(
            f"{settings.ladders}: {ladders.features.shape[1]} columns, the training features have {features.shape[1]}; "
            "make it for the same row with tools/make_ladders.py"
        )
    return ladders


def _blocks(
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


def _inducing(problem: _Problem, settings: SparseGPSettings) -> npt.NDArray[np.float32]:
    """Places of the inducing points: moved among the training videos, means of the ladders besides."""
    together = np.concatenate(problem.points, axis=1)
    start = cluster_means(together, min(settings.inducing, len(together)))
    found = [placed(problem.points, problem.scores, problem.kernel, problem.noise, start, settings.steps)]
    if problem.ladders.light.size:
        rungs = np.concatenate(problem.rungs, axis=1)
        found.append(cluster_means(rungs, min(settings.ladder_inducing, len(rungs))))
    return np.concatenate(found).astype(np.float32)


def _solve(problem: _Problem, inducing: npt.NDArray[np.float32], settings: SparseGPSettings, unit: float) -> _Solution:
    """Finds the process at the inducing points, and what it says of each training video without that video."""
    places = by_term(inducing.astype(np.float64), problem.points)

    def whitened(points: Sequence[Array]) -> Array:
        pairs = zip(points, places, strict=True)
        covariance = problem.kernel([squared_distances(one, other) for one, other in pairs])
        explained: Array = solve_triangular(prior, covariance.T, lower=True, check_finite=False)
        return explained

    prior = _factor(problem.kernel([squared_distances(place, place) for place in places]))
    explained, rungs = whitened(problem.points), whitened(problem.rungs)
    steps = (rungs[:, problem.ladders.light] - rungs[:, problem.ladders.heavy]).T
    margin, precision = settings.margin / unit * problem.ladders.steps, (unit / settings.tolerated) ** 2
    evidence = np.eye(len(inducing)) + explained @ explained.T / problem.noise
    target = explained @ problem.scores / problem.noise
    mean = np.linalg.solve(evidence, target)
    posterior = evidence
    for _ in range(_ROUNDS if len(steps) else 0):
        broken = steps @ mean < margin
        posterior = evidence + precision * steps[broken].T @ steps[broken]
        mean = np.linalg.solve(posterior, target + precision * steps[broken].T @ margin[broken])
    factor: Array = cholesky(posterior, lower=True).astype(np.float64)
    doubt = np.sum(solve_triangular(factor, explained, lower=True) ** 2, axis=0)
    leverage = doubt / problem.noise
    # Rasmussen and Williams (2006), section 5.4.2, for a model that is linear in the inducing points.
    residual = (problem.scores - mean @ explained) / (1 - leverage)
    variance = problem.kernel.variance - np.sum(explained**2, axis=0) + doubt / (1 - leverage) + problem.noise
    ratio = np.sort(np.abs(residual) / np.sqrt(variance))
    width = float(ratio[min(len(ratio) - 1, int(np.ceil(COVERAGE * (len(ratio) + 1))) - 1)])
    return _Solution(np.asarray(mean, dtype=np.float64), factor, problem.scores - residual, width)


def _numbers(values: Mapping[str, Any], n_parts: int, n_groups: int) -> dict[str, Any]:
    lengths = {"scales": n_parts, "means": n_groups, "novelty": n_groups}
    lists = {name: untrusted.numbers(values[name], name, lengths[name]) for name in _LISTS}
    return {**lists, **{name: untrusted.number(values[name], name) for name in _NUMBERS}}


def _ranges(values: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Part -> ends; infinite ones are those of a column without a finite value."""
    ranges = {}
    for name, ends in values.items():
        low, high = untrusted.sequence(ends, f"range of {name[:20]!r}", 2)
        if (low, high) != (-math.inf, math.inf):
            low, high = untrusted.number(low, "start of a range"), untrusted.number(high, "end of a range")
        ranges[untrusted.text(name, "name of a range")] = (float(low), float(high))
    return ranges


def _described(head: SparseGPHead, points: Sequence[Array]) -> SparseGPHead:
    """Adds what the finished head says about the training videos."""
    own = head._reference
    terms = range(len(head.groups))
    means = [float(np.mean(_term(head.kernel, t, points[t], own.places[t]) @ own.weights)) for t in terms]
    novelty = [float(np.quantile(head._novelty(points, t), _USUAL)) for t in terms]
    return replace(head, means=np.array(means), novelty=np.array(novelty))


def _term(kernel: Kernel, index: int, a: Array, b: Array) -> Array:
    """One term of the covariance (A, B)."""
    mixture = kernel.mixtures[index]
    values: Array = kernel.amplitudes[index] * (1 + squared_distances(a, b) / (2 * mixture)) ** -mixture
    return values


def _factor(covariance: Array) -> Array:
    noisy = covariance.copy()
    noisy.flat[:: len(noisy) + 1] += JITTER
    try:
        factor: Array = cholesky(noisy, lower=True)
    except (LinAlgError, ValueError) as error:
        raise CheckpointError("the sparse GP head's covariance is not positive definite; train it again") from error
    return factor


def _range(column: npt.NDArray[Any]) -> tuple[float, float]:
    known = column[np.isfinite(column)]
    return (float(known.min()), float(known.max())) if known.size else (-np.inf, np.inf)


def _beyond(name: str, value: float, low: float, high: float) -> str:
    what = {"container/rate": "frame rate"}.get(name, "frame " + name.rpartition("/")[2])
    side = "beyond" if value > high else "below"
    return f"{what} {value:g} is {side} the training videos ({low:g}..{high:g})"
