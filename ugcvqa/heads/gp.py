"""The Gaussian-process head: a kernel that treats the parts of a row for what they are, with an uncertainty.

Fitting and prediction need numpy and scipy only.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from ugcvqa import untrusted
from ugcvqa.arrays import Array
from ugcvqa.errors import CheckpointError, LabelError
from ugcvqa.evaluation.metrics import Logistic, fit_logistic
from ugcvqa.features.rows import DIMENSIONS, OF_BACKBONE, ROWS, dimension
from ugcvqa.heads.fitted import FittedHead, Parts
from ugcvqa.heads.kernels import Kernel, Mask, ParameterPosterior, factorised, solved, squared_distances
from ugcvqa.heads.scaling import Scaling, apply_scaling, check_scaling, fit_scaling
from ugcvqa.settings.heads import GPSettings

logger = logging.getLogger(__name__)


MIN_VIDEOS = 10
"""Fewer training videos than this tell nothing about a dozen kernel parameters."""

BLOCK_VALUES = 4_000_000
"""Largest number of float64 values in one temporary array of a prediction (32 MB)."""

_MOST_PARTS, _MOST_COLUMNS = 100, 1_000_000  # of a stored head


@dataclass(frozen=True)
class GPPart:
    """Columns of a row that share one distance.

    Attributes:
        name: shown in reports; what stands before a slash is the group, whose parts share a kernel of their own.
        start: first column.
        stop: column after the last.
        scaling: how the columns are scaled, see `scaling.apply_scaling`.
    """

    name: str
    start: int
    stop: int
    scaling: Scaling

    @property
    def group(self) -> str:
        """The name up to its first slash."""
        return self.name.split("/", maxsplit=1)[0]


_FAMILY_PARTS: dict[str, tuple[tuple[str, int, int | None, Scaling], ...]] = {
    "nss": (
        ("nss/mean", 0, 680, "rank"),
        ("nss/difference", 680, 1360, "rank"),
        ("nss/temporal", 1360, None, "rank"),
    ),
    "cnn": (("cnn", 0, None, "root"),),
    "saliency": (("saliency", 0, None, "standard"),),
    "uvq": (("uvq", 0, None, "rank"),),
    "uvq15": (("uvq15", 0, None, "rank"),),
    "container": (
        ("container/height", 0, 1, "log"),
        ("container/width", 1, 2, "log"),
        ("container/rate", 2, 3, "log"),
    ),
    "pixels": (("pixels/lines", 1, 2, "log"),),  # not the rate of frames, which `motion` counts
}


def gp_parts(row: str, n_columns: int) -> tuple[GPPart, ...]:
    """Derives the parts of a feature row.

    Args:
        row: name in `rows.ROWS`; columns of any other row are one part in rank scaling.
        n_columns: columns of the row, which tell the width of a deep family with another backbone than the paper's.

    Raises:
        LabelError: if the row cannot have that many columns.
    """
    if row not in ROWS:
        return (GPPart("features", 0, n_columns, "rank"),)
    surplus = n_columns - dimension(row)
    deep = [DIMENSIONS[part.family] for part in ROWS[row] if part.family in OF_BACKBONE]  # one at most
    if surplus and (not deep or deep[0] + surplus < 1):
        raise LabelError(f"{n_columns} columns, but row {row} has {dimension(row)}")
    parts, offset = [], 0
    for family, start, stop in ROWS[row]:
        width = DIMENSIONS[family] + (surplus if family in OF_BACKBONE else 0)
        first, last, _ = slice(start, stop).indices(width)
        for name, low, high, scaling in _family_parts(family, width):
            begin, end = max(low, first), min(high, last)
            if begin < end:
                parts.append(GPPart(name, offset + begin - first, offset + end - first, scaling))
        offset += last - first
    return tuple(parts)


def _family_parts(family: str, width: int) -> Iterator[tuple[str, int, int, Scaling]]:
    if family not in _FAMILY_PARTS:  # means, then standard deviations, of a network's channels
        scaling: Scaling = "rank" if family == "stages" else "root"  # which differ in size from stage to stage
        yield f"{family}/mean", 0, width // 2, scaling
        yield f"{family}/deviation", width // 2, width, scaling
        return
    for name, start, stop, scaling in _FAMILY_PARTS[family]:
        yield name, start, width if stop is None else stop, scaling


class _Reference(NamedTuple):
    """What new videos are compared with: scaled training values of each part, and the factor of their covariance."""

    values: list[Array]
    factor: Array


@dataclass(frozen=True, eq=False)
class FittedGP(FittedHead):
    """A fitted Gaussian process with its scaling; maps video features to predicted MOS and its uncertainty.

    Attributes:
        parts: columns and their scaling.
        tables: per part, what its scaling learned.
        values: (N, D) float32, scaled features of the training videos; columns of no part are left out.
        unit_distances: (P,) divisor of each part's squared distances.
        kernel: covariance in units of `mos_deviation` squared.
        noise: variance of a label about the process, same unit.
        coefficients: (N,) float64, (K + noise)^-1 times the standardised MOS.
        mos_mean: mean of the training MOS.
        mos_deviation: standard deviation of the training MOS.
        logistic: map of predictions to MOS, fitted to the leave-one-out predictions of the training videos;
            `predict` does not apply it.
    """

    kind: ClassVar[str] = "gp"
    title: ClassVar[str] = "GP"

    parts: tuple[GPPart, ...]
    tables: tuple[npt.NDArray[np.float32], ...]
    values: npt.NDArray[np.float32]
    unit_distances: Array
    kernel: Kernel
    noise: float
    coefficients: Array
    mos_mean: float
    mos_deviation: float
    logistic: Logistic

    def predict(self, features: npt.NDArray[Any]) -> Array:
        """Predicts MOS, before the logistic map.

        Works through the rows in blocks: memory beyond the arguments and the result does not grow with N.

        Args:
            features: (N, D) numbers, same columns as in training; taken in single precision.

        Returns:
            (N,) float64, nominally on the MOS scale but not clipped to it.

        Raises:
            LabelError: if `features` is not a table of D columns.
        """
        blocks = [covariance @ self.coefficients for covariance in self._covariances(features)]
        return np.concatenate([np.empty(0), *blocks]) * self.mos_deviation + self.mos_mean

    def predict_with_std(self, features: npt.NDArray[Any]) -> tuple[Array, Array]:
        """Predicts MOS as `predict` does, and the standard deviation of a newly measured MOS about it.

        The deviation holds both what the head does not know and the noise of a label, so that a measured MOS lies
        within one deviation of the prediction in about 68 % of videos like those of the training.

        Args:
            features: (N, D) numbers, same columns as in training.

        Returns:
            Prediction and standard deviation, both (N,) float64, MOS scale.

        Raises:
            LabelError: if `features` is not a table of D columns.
        """
        means, variances = [np.empty(0)], [np.empty(0)]
        for covariance in self._covariances(features):
            explained = solve_triangular(self._reference.factor, covariance.T, lower=True, check_finite=False)
            means.append(covariance @ self.coefficients)
            variances.append(self.kernel.variance + self.noise - np.sum(explained**2, axis=0))
        deviation = np.sqrt(np.maximum(np.concatenate(variances), self.noise))
        return np.concatenate(means) * self.mos_deviation + self.mos_mean, deviation * self.mos_deviation

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of parts of each term of the kernel."""
        return tuple(
            next(part.group for part, weight in zip(self.parts, row, strict=True) if weight)
            for row in self.kernel.weights
        )

    @property
    def base(self) -> float:
        """Mean prediction of the training videos, on the MOS scale; what `contributions` are relative to."""
        constant = self.kernel.constant * float(self.coefficients.sum())
        return (constant + float(self._term_means.sum())) * self.mos_deviation + self.mos_mean

    def contributions(self, features: npt.NDArray[Any]) -> dict[str, Array]:
        """Splits predictions into what the groups of parts contribute.

        Args:
            features: (N, D) numbers, same columns as in training.

        Returns:
            Group -> (N,) MOS units relative to the training mean: with `base` they add up to `predict`.

        Raises:
            LabelError: if `features` is not a table of D columns.
        """
        blocks = [np.empty((len(self.groups), 0)), *(self._term_values(block) for block in self._distances(features))]
        relative = np.concatenate(blocks, axis=1) - self._term_means[:, None]
        return dict(zip(self.groups, relative * self.mos_deviation, strict=True))

    def _term_values(self, distances: Sequence[Array]) -> Array:
        """What each term says (T, N) in standard units."""
        return np.stack([term(distances) @ self.coefficients for term in self.kernel.terms()])

    @cached_property
    def _term_means(self) -> Array:
        """Mean of what each term says about the training videos (T,)."""
        pairs = zip(self._reference.values, self.unit_distances, strict=True)
        mean: Array = self._term_values([squared_distances(x, x) / unit for x, unit in pairs]).mean(axis=1)
        return mean

    @cached_property
    def _reference(self) -> _Reference:
        stops = np.cumsum([part.stop - part.start for part in self.parts])[:-1]
        values = [part.astype(np.float64) for part in np.split(self.values, stops, axis=1)]
        distances = [squared_distances(x, x) / unit for x, unit in zip(values, self.unit_distances, strict=True)]
        return _Reference(values, _factor(self.kernel(distances), self.noise))

    def _covariances(self, features: npt.NDArray[Any]) -> Iterator[Array]:
        """Yields the covariance of blocks of videos with the training videos."""
        yield from (self.kernel(distances) for distances in self._distances(features))

    def _distances(self, features: npt.NDArray[Any]) -> Iterator[list[Array]]:
        """Yields the squared distances of blocks of videos to the training videos, part by part."""
        n_columns = max(part.stop for part in self.parts)
        if features.ndim != 2 or features.shape[1] != n_columns:
            raise LabelError(f"features of shape {features.shape} do not fit a head trained on {n_columns} columns")
        step = max(1, BLOCK_VALUES // (len(self.parts) * len(self.values) + n_columns))
        for start in range(0, len(features), step):
            scaled = _scaled(features[start : start + step], self.parts, self.tables)
            pairs = zip(scaled, self._reference.values, self.unit_distances, strict=True)
            yield [squared_distances(new, known) / unit for new, known, unit in pairs]

    def _parts(self) -> Parts:
        arrays: dict[str, npt.NDArray[Any]] = {
            "values": self.values,
            "unit_distances": self.unit_distances,
            "coefficients": self.coefficients,
            "amplitudes": self.kernel.amplitudes,
            "mixtures": self.kernel.mixtures,
            "weights": self.kernel.weights,
            **{f"table{index}": table for index, table in enumerate(self.tables) if table.size},
        }
        values: dict[str, Any] = {
            "parts": [asdict(part) for part in self.parts],
            "constant": self.kernel.constant,
            "noise": self.noise,
            "mos_mean": self.mos_mean,
            "mos_deviation": self.mos_deviation,
        }
        return arrays, values

    @classmethod
    def _from_parts(cls, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any]) -> Self:
        parts = parts_from(values["parts"])
        head = cls(
            parts=parts,
            tables=tuple(_table(arrays, index, part) for index, part in enumerate(parts)),
            values=np.asarray(arrays["values"]),
            unit_distances=np.asarray(arrays["unit_distances"]),
            kernel=Kernel(
                untrusted.number(values["constant"], "constant", 0),
                *(np.asarray(arrays[name]) for name in ("amplitudes", "mixtures", "weights")),
            ),
            noise=untrusted.number(values["noise"], "noise", 0),
            coefficients=np.asarray(arrays["coefficients"]),
            mos_mean=untrusted.number(values["mos_mean"], "mos_mean"),
            mos_deviation=untrusted.number(values["mos_deviation"], "mos_deviation", 0),
            logistic=Logistic.from_list(untrusted.some_numbers(values["logistic"], "logistic", 4)),
        )
        head._check()
        return head

    def _check(self) -> None:
        widths = [part.stop - part.start for part in self.parts]
        if not self.parts or min(widths) < 1 or any(part.start < 0 for part in self.parts):
            raise ValueError("its parts hold no columns")
        for part, table, width in zip(self.parts, self.tables, widths, strict=True):
            check_scaling(part.scaling, table, width)
        n_videos, n_terms, n_parts = len(self.coefficients), len(self.kernel.amplitudes), len(self.parts)
        shapes: dict[str, tuple[npt.NDArray[Any], tuple[int, ...], type]] = {
            "values": (self.values, (n_videos, sum(widths)), np.float32),
            "unit_distances": (self.unit_distances, (n_parts,), np.float64),
            "coefficients": (self.coefficients, (n_videos,), np.float64),
            "amplitudes": (self.kernel.amplitudes, (n_terms,), np.float64),
            "mixtures": (self.kernel.mixtures, (n_terms,), np.float64),
            "weights": (self.kernel.weights, (n_terms, n_parts), np.float64),
        }
        for name, (array, shape, dtype) in shapes.items():
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"{name} is {array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}")
            if not untrusted.is_bounded(array):
                raise ValueError(f"{name} holds something other than finite numbers")
        if not self.kernel.weights.any(axis=1).all():
            raise ValueError("a term of its kernel has no part")
        positive = [self.noise, self.mos_deviation, *self.unit_distances, *self.kernel.mixtures]
        others = [self.kernel.constant, *self.kernel.amplitudes, *self.kernel.weights.flat]
        if min(positive) <= 0 or min(others) < 0:
            raise ValueError("a variance, scale or weight is not a finite number of its range")


def parts_from(values: Any) -> tuple[GPPart, ...]:  # noqa: ANN401 (anything JSON knows)
    """Rebuilds the parts of a head.

    Raises:
        CheckpointError: if they are none, or are not as this package writes them.
    """
    parts = [_part(untrusted.mapping(value, "a part")) for value in untrusted.sequence(values, "parts", _MOST_PARTS)]
    if len({part.name for part in parts}) < max(1, len(parts)):
        raise CheckpointError("parts have the same name, or there are none")
    return tuple(parts)


def _part(value: Mapping[str, Any]) -> GPPart:
    start = untrusted.whole(value["start"], "start of a part", 0, _MOST_COLUMNS)
    stop = untrusted.whole(value["stop"], "stop of a part", start + 1, _MOST_COLUMNS)
    scaling: Any = untrusted.text(value["scaling"], "scaling of a part")  # checked with its table
    return GPPart(untrusted.text(value["name"], "name of a part"), start, stop, scaling)


def _table(arrays: Mapping[str, npt.NDArray[Any]], index: int, part: GPPart) -> npt.NDArray[np.float32]:
    if part.scaling == "root":  # has no table, and safetensors keeps no empty array
        return np.empty((0, part.stop - part.start), dtype=np.float32)
    return np.asarray(arrays[f"table{index}"])


@dataclass(frozen=True)
class GPReport:
    """What the training videos made of the parts.

    Attributes:
        log_marginal_likelihood: of the standardised training MOS, at the learned parameters.
        signal: group -> prior standard deviation of what it contributes, MOS scale.
        weights: group -> part -> share of the group's mean squared distance, 0..1; they add up to 1.
        noise: standard deviation of a label about the process, MOS scale.
        n_evaluations: of the posterior density and its gradient.
        is_converged: whether the search ended by itself and not by the bound on evaluations.
        n_nonfinite: NaN and infinite feature values.
    """

    log_marginal_likelihood: float
    signal: dict[str, float]
    weights: dict[str, dict[str, float]]
    noise: float
    n_evaluations: int
    is_converged: bool
    n_nonfinite: int


def fit_gp(
    features: npt.NDArray[Any],
    mos: npt.ArrayLike,
    parts: Sequence[GPPart],
    settings: GPSettings | None = None,
) -> tuple[FittedGP, GPReport]:
    """Fits the head to all given videos; parameters by marginal likelihood and a weak prior, nothing is held out.

    Source: own; Gaussian-process regression after Rasmussen and Williams (2006), sections 2.2, 5.4.1 and 5.4.2. Each
    group of parts (statistics, network, file facts) has one term of the kernel, over the weighted sum of its parts'
    distances, so that the prediction is a sum of what the groups say. All variances, mixtures and weights are found
    from one fixed start: the result is deterministic. This form, the weak prior and the scalings were chosen on
    YouTube-UGC by the density that heads fitted to the inner training parts of the first ten benchmark splits give the
    inner validation parts. A term over all parts instead of, or besides, one per group was no better.

    Args:
        features: (N, D) numbers of the training videos, taken in single precision; NaN and infinite values as
            `scaling.apply_scaling` says.
        mos: (N,) subjective scores.
        parts: columns and their scaling, see `gp_parts`.
        settings: bounds of the search.

    Returns:
        The head and what was learned.

    Raises:
        LabelError: if there are fewer than ten videos, the tables do not match, a MOS is not finite, all MOS are
            equal, or the features are all non-finite or all constant.
    """
    settings = settings or GPSettings()
    scores = np.asarray(mos, dtype=np.float64)
    check_training(features, scores, parts)
    tables = tuple(fit_scaling(features[:, part.start : part.stop], part.scaling) for part in parts)
    scaled = _scaled(features, parts, tables)
    distances, units = _unit_distances(scaled)
    if not any(distance.any() for distance in distances):
        raise LabelError(f"all {features.shape[1]} feature columns are constant: there is nothing to learn from")
    mean, deviation = float(scores.mean()), float(scores.std())
    standardised = (scores - mean) / deviation
    terms = _terms(parts, distances)
    posterior = ParameterPosterior(distances, standardised, np.array([*terms.values()]))
    learned = posterior.maximise(settings.max_evaluations, settings.tolerance)
    kernel, noise = learned.kernel, learned.noise
    coefficients, inverse = solved(_factor(kernel(distances), noise), standardised)
    # Rasmussen and Williams (2006), equation 5.12.
    left_out = standardised - coefficients / np.diag(inverse)
    head = FittedGP(
        parts=tuple(parts),
        tables=tables,
        values=np.concatenate(scaled, axis=1).astype(np.float32),
        unit_distances=units,
        kernel=kernel,
        noise=noise,
        coefficients=coefficients,
        mos_mean=mean,
        mos_deviation=deviation,
        logistic=fit_logistic(left_out * deviation + mean, scores),
    )
    if not learned.is_converged:
        logger.warning("the GP's search stopped after %d evaluations without converging", learned.n_evaluations)
    return head, GPReport(
        log_marginal_likelihood=learned.log_likelihood,
        signal={name: float(np.sqrt(value)) * deviation for name, value in zip(terms, kernel.amplitudes, strict=True)},
        weights={
            name: {part.name: float(share) for part, share in zip(parts, row / row.sum(), strict=True) if share}
            for name, row in zip(terms, kernel.weights, strict=True)
        },
        noise=float(np.sqrt(noise)) * deviation,
        n_evaluations=learned.n_evaluations,
        is_converged=learned.is_converged,
        n_nonfinite=int(features.size - np.isfinite(features).sum()),
    )


def _factor(covariance: Array, noise: float) -> Array:
    factor = factorised(covariance, noise)
    if factor is None:
        raise CheckpointError("the GP head's covariance is not positive definite; train it again")
    return factor


def _groups(parts: Sequence[GPPart]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.group for part in parts))


def _terms(parts: Sequence[GPPart], distances: Sequence[Array]) -> dict[str, Mask]:
    """Group -> which parts its term uses (P,); groups of constant columns are left out."""
    is_useful = np.array([distance.any() for distance in distances])
    groups = {group: is_useful & np.array([part.group == group for part in parts]) for group in _groups(parts)}
    return {group: mask for group, mask in groups.items() if mask.any()}


def _scaled(
    features: npt.NDArray[Any], parts: Sequence[GPPart], tables: Sequence[npt.NDArray[np.float32]]
) -> list[Array]:
    """Columns of each part, scaled to single precision, in double."""
    return [
        apply_scaling(features[:, part.start : part.stop], part.scaling, table).astype(np.float64)
        for part, table in zip(parts, tables, strict=True)
    ]


def _unit_distances(scaled: Sequence[Array]) -> tuple[list[Array], Array]:
    """Squared distances (N, N) of each part with a mean of 2, and what they were divided by."""
    distances = [squared_distances(x, x) for x in scaled]
    units = np.array([distance.mean() / 2 for distance in distances])
    # Constant columns leave nothing but rounding.
    units[[np.ptp(x, axis=0).max() == 0 for x in scaled]] = 0
    for distance, unit in zip(distances, units, strict=True):
        if unit:
            distance /= unit
        else:
            distance[:] = 0
    return distances, np.where(units > 0, units, 1.0)


def check_training(features: npt.NDArray[Any], mos: Array, parts: Sequence[GPPart]) -> None:
    """Checks what a process shall be fitted to.

    Raises:
        LabelError: as `fit_gp` says.
    """
    if features.ndim != 2 or mos.ndim != 1 or len(features) != len(mos):
        raise LabelError(f"features of shape {features.shape} do not match MOS of shape {mos.shape}")
    if not parts or max(part.stop for part in parts) != features.shape[1]:
        raise LabelError(f"features of shape {features.shape} do not match parts up to column {[*parts][-1:]}")
    if len(mos) < MIN_VIDEOS:
        raise LabelError(f"{len(mos)} videos are too few to fit a Gaussian process: at least {MIN_VIDEOS} are needed")
    n_bad = mos.size - int(np.isfinite(mos).sum())
    if n_bad:
        raise LabelError(f"{n_bad} of {mos.size} MOS are NaN or infinite: correct or remove these videos")
    if np.all(mos == mos[0]):
        raise LabelError(f"all {mos.size} MOS equal {mos[0]:g}: there is nothing to learn")
    if not np.isfinite(features).any():
        raise LabelError(f"the features of shape {features.shape} hold no finite value")
