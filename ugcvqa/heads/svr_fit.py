"""Fits the SVR head by the benchmark's protocol: grid search on an inner hold-out, then all videos."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.errors import LabelError
from ugcvqa.evaluation.metrics import IDENTITY, fit_logistic
from ugcvqa.heads.labelled import check_mos, check_shapes
from ugcvqa.heads.svr import FittedSVR, column_range, scaled, squared_distances, zeroed
from ugcvqa.heads.svr_grid import Distances, GridReport, fit_libsvm, kernel_of, one_blas_thread, search_grid
from ugcvqa.settings.heads import SVRSettings

logger = logging.getLogger(__name__)

Rows = Sequence[int] | npt.NDArray[np.integer[Any]]


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
    finite = zeroed(features)
    check_columns(column_range(finite)[1], bool(np.isfinite(features).any()))
    if len(inner_train) == 0 or len(inner_val) == 0:
        raise LabelError(
            f"the grid search has {len(inner_train)} training and {len(inner_val)} validation videos: "
            "both parts need some"
        )
    n_nonfinite = int(features.size - np.isfinite(features).sum())
    fitted, held_out = np.asarray(inner_train), np.asarray(inner_val)
    with one_blas_thread():
        distances = scaled_distances(finite[fitted], finite[held_out])
        report = search_grid(distances, scores[fitted], scores[held_out], settings, n_nonfinite, progress)
        head, is_converged = _fit_head(finite, scores, *report.best, settings)
    return head, with_final(report, is_converged)


def _fit_head(
    features: npt.NDArray[Any], mos: Array, c_exponent: int, gamma_exponent: int, settings: SVRSettings
) -> tuple[FittedSVR, bool]:
    """Fits one model, its scaling and its logistic to all given videos; says whether the solver converged."""
    minimum, span = column_range(features)
    x = scaled(features, minimum, span)
    kernel = kernel_of(squared_distances(x, x), gamma_exponent)
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


def scaled_distances(fitted: npt.NDArray[Any], new: npt.NDArray[Any]) -> Distances:
    """Squared distances of videos that are fitted, (n, D), and of new ones, (m, D), scaled by the former."""
    minimum, span = column_range(fitted)
    x = scaled(fitted, minimum, span)
    return Distances(squared_distances(x, x), squared_distances(scaled(new, minimum, span), x))


def check_columns(span: Array, has_finite: bool, where: str = "") -> None:
    """Checks the training videos' columns."""
    if not has_finite:
        raise LabelError(f"{where}the {span.size} feature columns hold no finite value")
    if not np.isfinite(span).all():
        column = int(np.argmax(~np.isfinite(span)))
        raise LabelError(f"{where}feature column {column} spans more than float64 can hold")
    if not span.any():
        raise LabelError(f"{where}all {span.size} feature columns are constant: there is nothing to learn from")


def with_final(report: GridReport, is_converged: bool) -> GridReport:
    """Adds the final fit to a report, and warns where fits have not converged."""
    n_unconverged = report.n_unconverged + (not is_converged)
    if n_unconverged:
        logger.warning("%d SVR fits stopped at the bound on solver steps without converging", n_unconverged)
    return replace(report, n_unconverged=n_unconverged)
