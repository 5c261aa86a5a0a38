"""The SVR head: grid search, final fit, prediction from plain arrays.

Only fitting imports scikit-learn; a fitted head needs numpy alone, so a saved one is free of pickle and of
scikit-learn's version.
"""

import logging
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ugcvqa.errors import CheckpointError, LabelError
from ugcvqa.metrics import IDENTITY, Logistic, fit_logistic, rmse
from ugcvqa.settings import SVRSettings

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]
Rows = Sequence[int] | npt.NDArray[np.integer[Any]]

MIN_VIDEOS = 10
"""Fewer training videos than this leave one or two to choose among a hundred candidates."""

MAX_ITERATIONS = 10_000_000
"""Bound on the solver steps of one fit; the hardest published fits take some hundred thousand."""

BLOCK_VALUES = 4_000_000
"""Largest number of float64 values in one temporary array of a prediction (32 MB)."""


@dataclass(frozen=True, eq=False)
class SVRHead:
    """A fitted epsilon-SVR with its scaling; maps video features to predicted MOS.

    Non-finite features count as 0, columns are min-max scaled by the training videos' range, columns that
    were constant in training are 0, and scaled values outside 0..1 stay as they are.

    Attributes:
        minimum: (D,) float64, smallest training value of each feature.
        span: (D,) float64, largest minus smallest training value; 0 for a constant column.
        support_vectors: (n, D) finite floats, unscaled features of the training videos that have a weight, in
            the type the features came in: a float32 table gives an exact file of half the size.
        dual_coef: (n,) float64, their weights, within -C..C.
        intercept: constant term, MOS scale.
        gamma: kernel parameter.
        C: penalty that was chosen; kept for the record.
        logistic: map of predictions to MOS, fitted to the training videos; `predict` does not apply it.
    """

    minimum: Array
    span: Array
    support_vectors: npt.NDArray[np.floating[Any]]
    dual_coef: Array
    intercept: float
    gamma: float
    C: float
    logistic: Logistic

    def predict(self, features: npt.NDArray[Any]) -> Array:
        """Predicts MOS, before the logistic map.

        Works through the rows in blocks: memory beyond the arguments and the result does not grow with N.

        Args:
            features: (N, D) numbers, same columns as in training.

        Returns:
            (N,) float64, nominally on the MOS scale but not clipped to it.

        Raises:
            LabelError: if `features` is not a table of D columns.
        """
        n_columns = self.minimum.size
        if features.ndim != 2 or features.shape[1] != n_columns:
            raise LabelError(f"features of shape {features.shape} do not fit a head trained on {n_columns} columns")
        support = _scaled(self.support_vectors, self.minimum, self.span)
        step = max(1, BLOCK_VALUES // max(n_columns, len(support), 1))
        pred = np.empty(len(features))
        for start in range(0, len(features), step):
            block = _scaled(_finite(features[start : start + step]), self.minimum, self.span)
            kernel = np.exp(-self.gamma * _squared_distances(block, support))
            pred[start : start + step] = kernel @ self.dual_coef + self.intercept
        return pred

    def to_arrays(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Takes the head apart for saving: (contiguous arrays, plain JSON values)."""
        arrays = {
            "minimum": self.minimum,
            "span": self.span,
            "support_vectors": self.support_vectors,
            "dual_coef": self.dual_coef,
        }
        values = {
            "intercept": self.intercept,
            "gamma": self.gamma,
            "C": self.C,
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
            head = cls(
                minimum=np.asarray(arrays["minimum"], dtype=np.float64),
                span=np.asarray(arrays["span"], dtype=np.float64),
                support_vectors=np.asarray(arrays["support_vectors"]),
                dual_coef=np.asarray(arrays["dual_coef"], dtype=np.float64),
                intercept=float(values["intercept"]),
                gamma=float(values["gamma"]),
                C=float(values["C"]),
                logistic=Logistic.from_list(values["logistic"]),
            )
        except KeyError as error:
            raise CheckpointError(f"the SVR head lacks its part {error}") from error
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"the SVR head cannot be read: {error}") from error
        head._check()
        return head

    def _check(self) -> None:
        n_vectors, n_columns = self.dual_coef.size, self.minimum.size
        shapes = {
            "minimum": (self.minimum, (n_columns,)),
            "span": (self.span, (n_columns,)),
            "support_vectors": (self.support_vectors, (n_vectors, n_columns)),
            "dual_coef": (self.dual_coef, (n_vectors,)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise CheckpointError(f"the SVR head's {name} has shape {array.shape} instead of {shape}")
            if array.dtype.kind != "f" or not np.isfinite(array).all():
                raise CheckpointError(f"the SVR head's {name} holds something other than finite numbers")
        if not np.isfinite([self.intercept, self.gamma, self.C]).all():
            raise CheckpointError("the SVR head's intercept, gamma or C is not a finite number")


@dataclass(frozen=True, eq=False)
class GridReport:
    """How the candidates of one grid search fared.

    Attributes:
        c_exponents: of the rows of `rmse`.
        gamma_exponents: of the columns of `rmse`.
        rmse: (n_C, n_gamma) RMSE of each candidate on the inner validation part after the logistic map.
        n_solved: candidates that were solved; the others provably equal one with smaller C.
        n_unconverged: fits, the final one included, that hit the bound on solver steps; used as they are.
        n_unmapped: solved candidates whose logistic fit failed; their plain predictions were scored.
        n_nonfinite: NaN and infinite feature values that were set to 0.
    """

    c_exponents: tuple[int, ...]
    gamma_exponents: tuple[int, ...]
    rmse: Array
    n_solved: int
    n_unconverged: int
    n_unmapped: int
    n_nonfinite: int


def fit_svr(
    features: npt.NDArray[Any],
    mos: npt.ArrayLike,
    inner_train: Rows,
    inner_val: Rows,
    settings: SVRSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[SVRHead, GridReport]:
    """Chooses C and gamma on an inner hold-out and fits the head to all given videos.

    Source: section 4 of the paper and its public code. Each candidate is fitted to the inner training part
    and scored by its RMSE on the inner validation part after the logistic map fitted there; scaling is fitted
    to the inner training part, and again to all videos for the final fit. The smallest RMSE wins; among
    equals the smallest C, then the smallest gamma. Unlike the public code, the candidates share one matrix of
    squared distances, and a candidate is not solved when the one with smaller C has no coefficient at its
    bound, for then a larger C cannot change the solution.

    Args:
        features: (N, D) numbers of the outer training videos; the solver's result depends on the row order
            within its tolerance. NaN and infinite values count as 0.
        mos: (N,) subjective scores.
        inner_train: rows that fit the candidates.
        inner_val: rows that score them.
        settings: grid and solver settings; the paper's by default.
        progress: called with (candidates done, candidates in all) after each.

    Returns:
        The head and the table of candidates.

    Raises:
        LabelError: if there are fewer than ten videos, the tables do not match, a MOS is not finite, all MOS
            are equal, the features are all non-finite or all constant, or an inner part is empty.
    """
    settings = settings or SVRSettings()
    scores = np.asarray(mos, dtype=np.float64)
    _check_tables(features, scores)
    if len(inner_train) == 0 or len(inner_val) == 0:
        raise LabelError(
            f"the grid search has {len(inner_train)} training and {len(inner_val)} validation videos: "
            "both parts need some"
        )
    n_nonfinite = int(features.size - np.isfinite(features).sum())
    finite = _finite(features)
    fitted, held_out = np.asarray(inner_train), np.asarray(inner_val)
    table, counts = _search(finite[fitted], scores[fitted], finite[held_out], scores[held_out], settings, progress)
    row, column = np.unravel_index(np.argmin(table), table.shape)
    c, gamma = 2.0 ** settings.c_exponents[row], 2.0 ** settings.gamma_exponents[column]
    head = _fit_head(finite, scores, c, gamma, settings, counts)
    if counts["unconverged"]:
        logger.warning("%d SVR fits stopped at %d steps without converging", counts["unconverged"], MAX_ITERATIONS)
    report = GridReport(
        c_exponents=settings.c_exponents,
        gamma_exponents=settings.gamma_exponents,
        rmse=table,
        n_solved=counts["solved"],
        n_unconverged=counts["unconverged"],
        n_unmapped=counts["unmapped"],
        n_nonfinite=n_nonfinite,
    )
    return head, report


def _search(
    train: npt.NDArray[Any],
    mos: Array,
    val: npt.NDArray[Any],
    mos_val: Array,
    settings: SVRSettings,
    progress: Callable[[int, int], None] | None,
) -> tuple[Array, Counter[str]]:
    """Scores all candidates: RMSE (n_C, n_gamma), and counts of what happened."""
    minimum, span = _column_range(train)
    x = _scaled(train, minimum, span)
    distances = _squared_distances(x, x)
    distances_val = _squared_distances(_scaled(val, minimum, span), x)
    n_rows, n_columns = len(settings.c_exponents), len(settings.gamma_exponents)
    table = np.empty((n_rows, n_columns))
    counts: Counter[str] = Counter()
    for column, exponent in enumerate(settings.gamma_exponents):
        kernel, kernel_val = np.exp(-(2.0**exponent) * distances), np.exp(-(2.0**exponent) * distances_val)
        for row, score in enumerate(_along_c(kernel, mos, kernel_val, mos_val, settings, counts)):
            table[row, column] = score
            if progress:
                progress(column * n_rows + row + 1, table.size)
    return table, counts


def _along_c(
    kernel: Array, mos: Array, kernel_val: Array, mos_val: Array, settings: SVRSettings, counts: Counter[str]
) -> Iterator[float]:
    """Yields the validation RMSE for growing C at one gamma."""
    score, is_final = math.nan, False
    for exponent in settings.c_exponents:
        if not is_final:
            c = 2.0**exponent
            model = _solved(kernel, mos, settings, counts, C=c, kernel="precomputed")
            coef = model.dual_coef_[0]
            pred = kernel_val[:, model.support_] @ coef + model.intercept_[0]
            logistic = fit_logistic(pred, mos_val)
            score = rmse(mos_val, logistic(pred))
            counts["solved"] += 1
            counts["unmapped"] += logistic.is_identity
            # Where no coefficient is at its bound, raising the bound cannot change the optimum.
            is_final = not np.any(np.abs(coef) >= c)
        yield score


def _fit_head(
    features: npt.NDArray[Any],
    mos: Array,
    c: float,
    gamma: float,
    settings: SVRSettings,
    counts: Counter[str],
) -> SVRHead:
    """Fits one model, its scaling and its logistic to all given videos."""
    minimum, span = _column_range(features)
    model = _solved(_scaled(features, minimum, span), mos, settings, counts, C=c, kernel="rbf", gamma=gamma)
    head = SVRHead(
        minimum=minimum,
        span=span,
        support_vectors=features[model.support_],
        dual_coef=model.dual_coef_[0],
        intercept=float(model.intercept_[0]),
        gamma=gamma,
        C=c,
        logistic=IDENTITY,
    )
    return replace(head, logistic=fit_logistic(head.predict(features), mos))


def _solved(x: Array, mos: Array, settings: SVRSettings, counts: Counter[str], **kernel: Any) -> Any:  # noqa: ANN401  scikit-learn has no types
    from sklearn.exceptions import ConvergenceWarning  # here because the import takes seconds
    from sklearn.svm import SVR

    model = SVR(epsilon=settings.epsilon, tol=settings.tolerance, max_iter=MAX_ITERATIONS, **kernel)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted instead
        model.fit(x, mos)
    counts["unconverged"] += model.fit_status_
    return model


def _check_tables(features: npt.NDArray[Any], mos: Array) -> None:
    if features.ndim != 2 or mos.ndim != 1 or len(features) != len(mos):
        raise LabelError(f"features of shape {features.shape} do not match MOS of shape {mos.shape}")
    if len(mos) < MIN_VIDEOS:
        raise LabelError(f"{len(mos)} videos are too few to fit an SVR: at least {MIN_VIDEOS} are needed")
    n_bad = mos.size - int(np.isfinite(mos).sum())
    if n_bad:
        raise LabelError(f"{n_bad} of {mos.size} MOS are NaN or infinite: correct or remove these videos")
    if np.all(mos == mos[0]):
        raise LabelError(f"all {mos.size} MOS equal {mos[0]:g}: there is nothing to learn")
    if not np.isfinite(features).any():
        raise LabelError(f"the features of shape {features.shape} hold no finite value")
    _, span = _column_range(_finite(features))
    if not np.isfinite(span).all():
        raise LabelError(f"feature column {int(np.argmax(~np.isfinite(span)))} spans more than float64 can hold")
    if not span.any():
        raise LabelError(f"all {features.shape[1]} feature columns are constant: there is nothing to learn from")


def _finite(features: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sets NaN and infinite values to 0, as the paper's code does, and keeps a float type as it is."""
    values = features if features.dtype.kind == "f" else features.astype(np.float64)
    return np.where(np.isfinite(values), values, values.dtype.type(0))


def _column_range(features: npt.NDArray[Any]) -> tuple[Array, Array]:
    """Smallest value and span of each column, in float64 because published features reach 1e26."""
    minimum = features.min(axis=0).astype(np.float64)
    with np.errstate(over="ignore"):
        return minimum, features.max(axis=0).astype(np.float64) - minimum


def _scaled(features: npt.NDArray[Any], minimum: Array, span: Array) -> Array:
    """Min-max scales each column; columns without span become 0."""
    with np.errstate(over="ignore"):
        scaled = features.astype(np.float64) - minimum
        np.divide(scaled, span, out=scaled, where=span > 0)
    scaled[:, span == 0] = 0
    return scaled


def _squared_distances(a: Array, b: Array) -> Array:
    """Squared Euclidean distances (len(a), len(b)); rows too far apart for float64 are infinitely far."""
    with np.errstate(over="ignore", invalid="ignore"):
        squared: Array = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1) - 2 * (a @ b.T)
    squared[np.isnan(squared)] = np.inf
    return np.maximum(squared, 0, out=squared)
