"""The benchmark's protocol: what is done with all rows on one split."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.benchmarks.dependencies import code_sha256
from ugcvqa.benchmarks.feature_blocks import row_columns
from ugcvqa.benchmarks.problem import Entry, MappingName, Problem, Rows, Rules
from ugcvqa.benchmarks.results import SplitResult
from ugcvqa.errors import ConfigError, UgcvqaError
from ugcvqa.evaluation.metrics import IDENTITY, Logistic, fit_logistic, krcc, plcc, rmse, srcc
from ugcvqa.evaluation.splits import Split
from ugcvqa.heads.fitted import Interval
from ugcvqa.heads.kinds import fit_process
from ugcvqa.heads.svr_rows import RowFit, fit_rows
from ugcvqa.settings.heads import SVRSettings


@dataclass(frozen=True, eq=False)
class Fit:
    """What a head gave on one split, with the logistic of its training part where the mode needs one."""

    pred: Array
    logistic: Logistic = IDENTITY
    c: float = math.nan
    gamma: float = math.nan
    counts: Mapping[str, int] = field(default_factory=dict)
    choice_rmse: float = math.nan
    interval: Interval | None = None


def run_split(problem: Problem, index: int, split: Split, entries: Sequence[Entry], rules: Rules) -> list[SplitResult]:
    """Trains and tests all entries on one split.

    Source: section 4 of the paper and its public code; with `Rules(nonfinite="mean", mappings=("train",))` the second
    program of that code, which made the per-resolution tables and scatter plots.

    Returns:
        One result per entry and mapping, in the order of the entries.

    Raises:
        UgcvqaError: if a row cannot be trained; the message names data set and split.
    """
    found: dict[Entry, list[SplitResult]] = {}
    try:
        start = time.perf_counter()
        for entry, fit in _fits(problem, Indexes.of(problem, split), entries, rules):
            seconds = time.perf_counter() - start
            found[entry] = [
                scored(problem, entry, index, split, fit.pred, mapping, fit, seconds) for mapping in rules.mappings
            ]
            start = time.perf_counter()
    except UgcvqaError as error:
        raise type(error)(f"{problem.data}, split {index}: {error}") from error
    return [result for entry in entries for result in found[entry]]


def run_unit(
    problem: Problem,
    index: int,
    split: Split,
    entries: Sequence[Entry],
    rules: Rules,
    code: Mapping[str, str],
    names: Sequence[str],
    *arrays: npt.NDArray[Any],
) -> list[SplitResult]:
    """Does `run_split` in a worker, for a problem whose blocks travel separately so that workers can share them.

    Raises:
        ConfigError: if this process runs different code from the one that sent the task (`code`: head -> checksum), as
            a worker on another machine may.
        UgcvqaError: what `run_split` raises.
    """
    if any(code_sha256(head) != checksum for head, checksum in code.items()):
        raise ConfigError(
            "a worker has another version of ugcvqa, numpy, scipy or scikit-learn; start all from one installation"
        )
    return run_split(replace(problem, blocks=dict(zip(names, arrays, strict=True))), index, split, entries, rules)


class Indexes(NamedTuple):
    """A split as row numbers."""

    inner_train: Rows
    inner_val: Rows
    outer_train: Rows
    test: Rows

    @classmethod
    def of(cls, problem: Problem, split: Split) -> "Indexes":
        """Finds the rows of a split's videos."""
        return cls(*map(problem.rows, (split.train, split.val, split.outer_train, split.test)))


def _fits(problem: Problem, indexes: Indexes, entries: Sequence[Entry], rules: Rules) -> Iterator[tuple[Entry, Fit]]:
    rows = {
        entry.row: tuple(dict.fromkeys(part.family for part in problem.layouts[entry.row]))
        for entry in entries
        if entry.head == "svr"
    }
    if rows:
        for row, fit in fit_rows(problem.blocks, rows, problem.mos, *indexes, rules.svr, rules.nonfinite):
            yield Entry(row), _svr_result(problem, row, rows[row], fit, indexes, rules)
    for entry in entries:
        if entry.head in ("gp", "sparse_gp"):
            yield entry, _gp_result(problem, entry, indexes, rules)


def _gp_result(problem: Problem, entry: Entry, at: Indexes, rules: Rules) -> Fit:
    features = row_columns(problem.blocks, problem.layouts[entry.row])
    head, report = fit_process(
        features[at.outer_train], problem.mos[at.outer_train], entry.row, rules.of_process(entry)
    )
    pred = head.predict(features[at.test])
    interval = head.predict_interval(features[at.test]) if head.has_interval else None
    choice = choice_rmse(pred, problem.mos[at.test]) if rules.nonfinite == "mean" else math.nan
    counts = {"unconverged": int(not report.is_converged)}
    return Fit(pred, head.logistic, counts=counts, choice_rmse=choice, interval=interval)


def choice_rmse(pred: Array, mos: Array) -> float:
    """The figure by which the single-split program finds its median split: RMSE after a logistic of the test part."""
    return rmse(mos, fit_logistic(pred, mos)(pred))


def _svr_result(problem: Problem, row: str, names: tuple[str, ...], fit: RowFit, at: Indexes, rules: Rules) -> Fit:
    is_mapped = "train" in rules.mappings
    logistic = fit_logistic(fit.pred_train, problem.mos[at.outer_train]) if is_mapped else IDENTITY
    pred, choice = fit.pred_test, math.nan
    if rules.nonfinite == "mean":
        choice = choice_rmse(pred, problem.mos[at.test])
        pred = _pred_of_zeroed_test(problem, row, names, fit, at, rules.svr)
    counts = {"unconverged": fit.grid.n_unconverged, "unmapped candidates": fit.grid.n_unmapped}
    return Fit(pred, logistic, 2.0**fit.c_exponent, 2.0**fit.gamma_exponent, counts, choice)


def _pred_of_zeroed_test(
    problem: Problem, row: str, names: tuple[str, ...], fit: RowFit, at: Indexes, settings: SVRSettings
) -> Array:
    """Applies the model as the public code does for its stored scores: there, non-finite test values are 0.

    While it searches, the same program fills the test part with its own means.
    """
    blocks = {name: problem.blocks[name] for name in names}
    if all(np.isfinite(block[at.test]).all() for block in blocks.values()):
        return fit.pred_test
    zeroed = {}
    for name, block in blocks.items():
        zeroed[name] = np.array(block)
        part = block[at.test]
        zeroed[name][at.test] = np.where(np.isfinite(part), part, 0)
    chosen = replace(settings, c_exponents=(fit.c_exponent,), gamma_exponents=(fit.gamma_exponent,))
    ((_, again),) = fit_rows(zeroed, {row: names}, problem.mos, *at, chosen, "mean")
    return again.pred_test


def scored(
    problem: Problem,
    entry: Entry,
    index: int,
    split: Split,
    pred: Array,
    mapping: MappingName,
    fit: Fit | None = None,
    seconds: float = 0.0,
) -> SplitResult:
    """Computes the figures of predictions of the test part.

    Source: the public code of the paper: SRCC and KRCC of the plain predictions, PLCC and RMSE after a logistic that
    is fitted to the test part (Table 1), or all four after the one of the training part (its second program).

    Args:
        problem: labels.
        entry: what predicted.
        index: number of the split, 0 for all videos.
        split: the split.
        pred: (n_test,) predictions in the order of the test part.
        mapping: where the logistic is fitted.
        fit: what the head gave; None for predictions that were not trained here.
        seconds: how long it took.
    """
    mos = problem.mos[problem.rows(split.test)]
    fit = fit or Fit(pred)
    logistic = fit_logistic(pred, mos) if mapping == "test" else fit.logistic if mapping == "train" else IDENTITY
    mapped = logistic(pred)
    ranked = mapped if mapping == "train" else pred
    is_constant = bool(np.all(pred == pred[0]))
    failed = mapping != "none" and logistic.is_identity
    return SplitResult(
        data=problem.data,
        row=entry.row,
        head=entry.head,
        mapping=mapping,
        split=index,
        n_train=0 if entry.head == "none" else len(split.outer_train),
        srcc=srcc(mos, ranked),
        krcc=krcc(mos, ranked),
        plcc=plcc(mos, mapped),
        rmse=rmse(mos, mapped),
        is_mapped=not logistic.is_identity,
        c=fit.c,
        gamma=fit.gamma,
        counts={**fit.counts, "constant": int(is_constant), "logistic failed": int(failed and not is_constant)},
        seconds=seconds,
        video_ids=split.test,
        mos=mos,
        pred=pred,
        pred_mapped=mapped,
        choice_rmse=fit.choice_rmse,
        std=fit.interval.deviation if fit.interval else None,
        low=fit.interval.low if fit.interval else None,
        high=fit.interval.high if fit.interval else None,
    )
