"""The SVR protocol of one split for several feature rows, which share the distances of their blocks of columns."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.errors import LabelError
from ugcvqa.heads.labelled import check_mos, check_shapes
from ugcvqa.heads.svr import column_range, zeroed
from ugcvqa.heads.svr_fit import Rows, check_columns, scaled_distances, with_final
from ugcvqa.heads.svr_grid import Distances, GridReport, fit_libsvm, kernel_of, one_blas_thread, search_grid
from ugcvqa.settings.heads import SVRSettings

Nonfinite = Literal["zero", "mean"]


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
        check_columns(np.concatenate([block.span for block in used]), any(b.has_finite for b in used), f"row {row}: ")
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
        replaced = zeroed if nonfinite == "zero" else _averaged
        train, val, outer, test = (replaced(block[part]) for part in parts)
        with one_blas_thread():
            search, final = scaled_distances(train, val), scaled_distances(outer, test)
        n_nonfinite = int(block.size - is_finite.sum())
        return cls(search, final, column_range(outer)[1], bool(is_finite[parts.outer_train].any()), n_nonfinite)


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
    report = with_final(report, model.is_converged)
    return RowFit(c_exponent, gamma_exponent, pred_train, pred_test, report)


def _averaged(features: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sets NaN and infinite values to the mean of the column's finite values, or 0 if it has none."""
    values = features.astype(np.float64)
    is_finite = np.isfinite(values)
    values[~is_finite] = 0
    mean = values.sum(axis=0) / np.maximum(is_finite.sum(axis=0), 1)
    return np.where(is_finite, values, mean)


def _sum_of(distances: Sequence[Distances]) -> Distances:
    first, *others = distances
    if not others:
        return first
    fitted, new = first.fitted + others[0].fitted, first.new + others[0].new
    for other in others[1:]:
        fitted += other.fitted
        new += other.new
    return Distances(fitted, new)
