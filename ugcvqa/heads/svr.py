"""The SVR head: grid search, final fit, prediction from plain arrays.

Only fitting imports scikit-learn; a fitted head needs numpy alone, so a saved one is free of pickle and of
scikit-learn's version.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ugcvqa import untrusted
from ugcvqa.arrays import Array
from ugcvqa.errors import CheckpointError, LabelError
from ugcvqa.evaluation.metrics import IDENTITY, Logistic, fit_logistic
from ugcvqa.heads.fitted import FittedHead, Parts, check_width
from ugcvqa.heads.labelled import check_mos, check_shapes
from ugcvqa.heads.svr_grid import Distances, GridReport, fit_libsvm, kernel_of, one_blas_thread, search_grid
from ugcvqa.settings.heads import SVRSettings

logger = logging.getLogger(__name__)

Rows = Sequence[int] | npt.NDArray[np.integer[Any]]
Nonfinite = Literal["zero", "mean"]

BLOCK_VALUES = 4_000_000
"""Largest number of float64 values in one temporary array of a prediction (32 MB)."""


@dataclass(frozen=True, eq=False)
class FittedSVR(FittedHead):
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

    kind: ClassVar[str] = "svr"
    title: ClassVar[str] = "SVR"

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
        check_width(features, n_columns)
        support = _scaled(self.support_vectors, self.minimum, self.span)
        step = max(1, BLOCK_VALUES // max(n_columns, len(support), 1))
        pred = np.empty(len(features))
        for start in range(0, len(features), step):
            block = _scaled(_zeroed(features[start : start + step]), self.minimum, self.span)
            kernel = np.exp(-self.gamma * _squared_distances(block, support))
            pred[start : start + step] = kernel @ self.dual_coef + self.intercept
        return pred

    def typical(self) -> npt.NDArray[Any]:
        """The mean of the support vectors, the training videos that the head keeps."""
        vectors = self.support_vectors
        return vectors.mean(axis=0, dtype=np.float64) if len(vectors) else self.minimum

    def _parts(self) -> Parts:
        names = ("minimum", "span", "support_vectors", "dual_coef")
        return {name: getattr(self, name) for name in names}, {
            "intercept": self.intercept,
            "gamma": self.gamma,
            "C": self.C,
        }

    @classmethod
    def _from_parts(cls, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any], logistic: Logistic) -> Self:
        head = cls(
            minimum=np.asarray(arrays["minimum"], dtype=np.float64),
            span=np.asarray(arrays["span"], dtype=np.float64),
            support_vectors=np.asarray(arrays["support_vectors"]),
            dual_coef=np.asarray(arrays["dual_coef"], dtype=np.float64),
            intercept=untrusted.number(values["intercept"], "intercept"),
            gamma=untrusted.number(values["gamma"], "gamma", 0),
            C=untrusted.number(values["C"], "C", 0),
            logistic=logistic,
        )
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
                raise CheckpointError(f"{name} has shape {array.shape} instead of {shape}")
            if array.dtype.kind != "f" or not untrusted.is_bounded(array):
                raise CheckpointError(f"{name} holds something other than finite numbers")
        if self.span.min() < 0:
            raise CheckpointError("span holds a negative number")


def fit_svr(
    features: npt.NDArray[Any],
    mos: npt.ArrayLike,
    inner_train: Rows,
    inner_val: Rows,
    settings: SVRSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[FittedSVR, GridReport]:
    """Chooses C and gamma on an inner hold-out and fits the head to all given videos.

    Source: section 4 of the paper and its public code. Each candidate is fitted to the inner training part
    and scored by its RMSE on the inner validation part after the logistic map fitted there; scaling is fitted
    to the inner training part, and again to all videos for the final fit. The smallest RMSE wins; among
    equals the smallest C, then the smallest gamma. Unlike the public code, the candidates share one matrix of
    squared distances and are solved by `ugcvqa.heads.solver`, each from its neighbour; a candidate is not solved when
    the one with smaller C has no coefficient at its bound, for then a larger C cannot change the solution; no
    logistic is fitted where even the best monotone map would lose. The candidates within the tolerance of the
    best are solved again by libsvm, which decides among them and makes the final fit: choice and predictions
    are those of the public code.

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
    check_shapes(features, scores)
    check_mos(scores, "an SVR")
    finite = _zeroed(features)
    _check_columns(_column_range(finite)[1], bool(np.isfinite(features).any()))
    if len(inner_train) == 0 or len(inner_val) == 0:
        raise LabelError(
            f"the grid search has {len(inner_train)} training and {len(inner_val)} validation videos: "
            "both parts need some"
        )
    n_nonfinite = int(features.size - np.isfinite(features).sum())
    fitted, held_out = np.asarray(inner_train), np.asarray(inner_val)
    with one_blas_thread():
        distances = _distances(finite[fitted], finite[held_out])
        report = search_grid(distances, scores[fitted], scores[held_out], settings, n_nonfinite, progress)
        head, is_converged = _fit_head(finite, scores, *report.best, settings)
    return head, _with_final(report, is_converged)


@dataclass(frozen=True, eq=False)
class RowFit:
    """What the protocol gives for one feature row on one split.

    Attributes:
        c_exponent: C = 2^c_exponent was chosen.
        gamma_exponent: gamma = 2^gamma_exponent was chosen.
        pred_train: (n_outer,) float64, predictions of the outer training videos by the final model, before a logistic.
        pred_test: (n_test,) float64, the same of the test videos.
        grid: how the candidates fared.
    """

    c_exponent: int
    gamma_exponent: int
    pred_train: Array
    pred_test: Array
    grid: GridReport


def fit_rows(
    blocks: Mapping[str, npt.NDArray[Any]],
    rows: Mapping[str, Sequence[str]],
    mos: npt.ArrayLike,
    inner_train: Rows,
    inner_val: Rows,
    outer_train: Rows,
    test: Rows,
    settings: SVRSettings | None = None,
    nonfinite: Nonfinite = "zero",
) -> Iterator[tuple[str, RowFit]]:
    """Runs the protocol of one split for several feature rows that share blocks of columns.

    Source: section 4 of the paper and its public code, as in `fit_svr`. Squared distances add over columns: those of
    each block are computed once, however many rows contain it, and kept until the last of them is done.

    Args:
        blocks: block name -> (N, D) numbers of the whole data set.
        rows: row name -> names of its blocks; their order does not matter.
        mos: (N,) subjective scores.
        inner_train: row numbers that fit the candidates.
        inner_val: row numbers that score them.
        outer_train: row numbers that fit the final model, usually those of both inner parts; the solver's result
            depends on their order within its tolerance.
        test: row numbers to predict; may be empty.
        settings: grid and solver settings; the paper's by default.
        nonfinite: NaN and infinite values count as 0 (`zero`, Table 1 of the paper), or as the mean of the finite
            values of their column, taken over each of the four parts by itself (`mean`, the second public program).

    Yields:
        Row name and result, in the order of `rows`.

    Raises:
        LabelError: if a part is too small or empty, tables do not match, a training MOS is not finite, all are equal,
            or a row's training features are all non-finite or all constant.
    """
    settings = settings or SVRSettings()
    scores = np.asarray(mos, dtype=np.float64)
    parts = _Parts(*(np.asarray(part, dtype=np.intp) for part in (inner_train, inner_val, outer_train, test)))
    for block in blocks.values():
        check_shapes(block, scores)
    for part, what in ((parts.inner_train, "inner training"), (parts.inner_val, "inner validation")):
        if not part.size:
            raise LabelError(f"the {what} part of the split is empty")
    check_mos(scores[np.unique(np.concatenate(parts[:3]))], "an SVR")
    check_mos(scores[parts.outer_train], "an SVR")
    kept: dict[str, _Block] = {}
    waiting = Counter(name for names in rows.values() for name in set(names))
    for row, names in rows.items():
        for name in names:
            if name not in kept:
                kept[name] = _Block.of(blocks[name], parts, nonfinite)
        used = [kept[name] for name in names]
        _check_columns(np.concatenate([block.span for block in used]), any(b.has_finite for b in used), f"row {row}: ")
        waiting.subtract(set(names))
        kept = {name: block for name, block in kept.items() if waiting[name]}
        yield row, _fit_row(used, scores, parts, settings)


class _Parts(NamedTuple):
    inner_train: npt.NDArray[np.intp]
    inner_val: npt.NDArray[np.intp]
    outer_train: npt.NDArray[np.intp]
    test: npt.NDArray[np.intp]


class _Block(NamedTuple):
    """What the rows need of one block of columns."""

    search: Distances
    final: Distances
    span: Array
    has_finite: bool
    n_nonfinite: int

    @classmethod
    def of(cls, block: npt.NDArray[Any], parts: _Parts, nonfinite: Nonfinite) -> Self:
        is_finite = np.isfinite(block)
        replaced = _zeroed if nonfinite == "zero" else _averaged
        train, val, outer, test = (replaced(block[part]) for part in parts)
        with one_blas_thread():
            search, final = _distances(train, val), _distances(outer, test)
        n_nonfinite = int(block.size - is_finite.sum())
        return cls(search, final, _column_range(outer)[1], bool(is_finite[parts.outer_train].any()), n_nonfinite)


def _fit_row(blocks: Sequence[_Block], mos: Array, parts: _Parts, settings: SVRSettings) -> RowFit:
    fitted, held_out = mos[parts.inner_train], mos[parts.inner_val]
    with one_blas_thread():
        search = _sum_of([block.search for block in blocks])
        report = search_grid(search, fitted, held_out, settings, sum(block.n_nonfinite for block in blocks))
        c_exponent, gamma_exponent = report.best
        final = _sum_of([block.final for block in blocks])
        kernel, kernel_test = (kernel_of(distances, gamma_exponent) for distances in final)
        model = fit_libsvm(kernel, mos[parts.outer_train], 2.0**c_exponent, settings)
        pred_train, pred_test = model.predict(kernel), model.predict(kernel_test)
    report = _with_final(report, model.is_converged)
    return RowFit(c_exponent, gamma_exponent, pred_train, pred_test, report)


def _distances(fitted: npt.NDArray[Any], new: npt.NDArray[Any]) -> Distances:
    minimum, span = _column_range(fitted)
    x = _scaled(fitted, minimum, span)
    return Distances(_squared_distances(x, x), _squared_distances(_scaled(new, minimum, span), x))


def _sum_of(distances: Sequence[Distances]) -> Distances:
    first, *others = distances
    if not others:
        return first
    fitted, new = first.fitted + others[0].fitted, first.new + others[0].new
    for other in others[1:]:
        fitted += other.fitted
        new += other.new
    return Distances(fitted, new)


def _with_final(report: GridReport, is_converged: bool) -> GridReport:
    n_unconverged = report.n_unconverged + (not is_converged)
    if n_unconverged:
        logger.warning("%d SVR fits stopped at the bound on solver steps without converging", n_unconverged)
    return replace(report, n_unconverged=n_unconverged)


def _fit_head(
    features: npt.NDArray[Any], mos: Array, c_exponent: int, gamma_exponent: int, settings: SVRSettings
) -> tuple[FittedSVR, bool]:
    """Fits one model, its scaling and its logistic to all given videos; says whether the solver converged."""
    minimum, span = _column_range(features)
    x = _scaled(features, minimum, span)
    kernel = kernel_of(_squared_distances(x, x), gamma_exponent)
    model = fit_libsvm(kernel, mos, 2.0**c_exponent, settings)
    head = FittedSVR(
        minimum=minimum,
        span=span,
        support_vectors=features[model.support],
        dual_coef=model.coef,
        intercept=model.intercept,
        gamma=2.0**gamma_exponent,
        C=2.0**c_exponent,
        logistic=IDENTITY,
    )
    return replace(head, logistic=fit_logistic(head.predict(features), mos)), model.is_converged


def _check_columns(span: Array, has_finite: bool, where: str = "") -> None:
    """Checks the training videos' columns."""
    if not has_finite:
        raise LabelError(f"{where}the {span.size} feature columns hold no finite value")
    if not np.isfinite(span).all():
        column = int(np.argmax(~np.isfinite(span)))
        raise LabelError(f"{where}feature column {column} spans more than float64 can hold")
    if not span.any():
        raise LabelError(f"{where}all {span.size} feature columns are constant: there is nothing to learn from")


def _zeroed(features: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sets NaN and infinite values to 0, as the paper's code does, and keeps a float type as it is."""
    values = features if features.dtype.kind == "f" else features.astype(np.float64)
    is_finite = np.isfinite(values)
    return values if is_finite.all() else np.where(is_finite, values, values.dtype.type(0))


def _averaged(features: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sets NaN and infinite values to the mean of the column's finite values, or 0 if it has none."""
    values = features.astype(np.float64)
    is_finite = np.isfinite(values)
    values[~is_finite] = 0
    mean = values.sum(axis=0) / np.maximum(is_finite.sum(axis=0), 1)
    return np.where(is_finite, values, mean)


def _column_range(features: npt.NDArray[Any]) -> tuple[Array, Array]:
    """Smallest value and span of each column, in float64 because published features reach 1e26."""
    minimum = features.min(axis=0).astype(np.float64)
    with np.errstate(over="ignore"):
        return minimum, features.max(axis=0).astype(np.float64) - minimum


def _scaled(features: npt.NDArray[Any], minimum: Array, span: Array) -> Array:
    """Min-max scales each column; columns without span become 0."""
    with np.errstate(over="ignore"):
        scaled: Array = np.subtract(features, minimum, dtype=np.float64)
        scaled /= np.where(span > 0, span, np.inf)
    return scaled


def _squared_distances(a: Array, b: Array) -> Array:
    """Squared Euclidean distances (len(a), len(b)); rows too far apart for float64 are infinitely far."""
    with np.errstate(over="ignore", invalid="ignore"):
        squared: Array = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)
        product = a @ b.T
        product *= 2
        squared -= product
    squared[np.isnan(squared)] = np.inf
    np.maximum(squared, 0, out=squared)
    if a is b:
        # Rounding would leave traces here, which libsvm's path to the solution amplifies.
        np.fill_diagonal(squared, 0)
    return squared
