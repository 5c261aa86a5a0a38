"""The benchmark's protocol: what is done with all rows on one split."""

import hashlib
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.benchmarks.feature_tables import row_columns
from ugcvqa.benchmarks.results import SplitResult
from ugcvqa.datasets.names import places_of
from ugcvqa.errors import ConfigError, UgcvqaError
from ugcvqa.evaluation.metrics import IDENTITY, Logistic, fit_logistic, krcc, plcc, rmse, srcc
from ugcvqa.evaluation.splits import Split
from ugcvqa.features.rows import Part
from ugcvqa.files import file_sha256
from ugcvqa.heads.fitted import Interval
from ugcvqa.heads.kinds import fit_process
from ugcvqa.heads.svr_rows import RowFit, fit_rows
from ugcvqa.settings.heads import GPSettings, SparseGPSettings, SVRSettings
from ugcvqa.settings.training import GRUSettings

if TYPE_CHECKING:  # torch takes seconds to import, and workers need none
    from ugcvqa.samples.sequences import SequenceTable

Rows = npt.NDArray[np.int64]
MappingName = Literal["test", "train", "none"]

_SETTINGS = {"errors", "settings"}
"""Modules that decide no number: the settings of a result are among its facts."""

_LIBRARIES = ("numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Entry:
    """One line of the benchmark's table.

    Attributes:
        row: feature row, or the name of one's own table or predictions.
        head: `svr`, `gp`, `sparse_gp`, `gru`; `none` for predictions that are not trained here.
    """

    row: str
    head: str = "svr"

    def __str__(self) -> str:
        return self.row if self.head in ("svr", "none") else f"{self.row}+{self.head}"


@dataclass(frozen=True, eq=False)
class Problem:
    """Labels and features of one data set.

    Attributes:
        data: name of the data set.
        ids: N video ids in the order that the splits shuffle.
        mos: (N,) subjective scores.
        blocks: name -> (N, D) columns; may hold NaN and infinity.
        layouts: row -> its columns; `Part.family` is the name of a block.
        predictions: row -> (N,) finished predictions.
        checksums: block, or entry of a head that takes sequences -> SHA-256 of its values.
        sequences: row -> frame features of the N videos, for heads that take sequences.
    """

    data: str
    ids: tuple[str, ...]
    mos: Array
    blocks: Mapping[str, npt.NDArray[Any]]
    layouts: Mapping[str, tuple[Part, ...]]
    predictions: Mapping[str, Array] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    sequences: Mapping[str, "SequenceTable"] = field(default_factory=dict)

    @cached_property
    def labels_sha256(self) -> str:
        """Checksum of ids and MOS in their order."""
        return _digest([*self.ids, *(repr(float(value)) for value in self.mos)])

    def rows(self, ids: Iterable[str]) -> Rows:
        """Row numbers of videos by their ids."""
        return np.array(places_of(ids, self.ids), dtype=np.int64)


@dataclass(frozen=True)
class Rules:
    """What differs between the benchmark's modes.

    Attributes:
        nonfinite: what NaN and infinite features become: `zero`; or `mean`, the column's mean over the finite values
            of each part of the split by itself.
        mappings: where the logistic before PLCC and RMSE is fitted; each gives a result of its own.
        svr: settings of the SVR head.
        gp: settings of the Gaussian process.
        sparse_gp: settings of the sparse Gaussian process.
        gru: settings of the GRU head.
    """

    nonfinite: Literal["zero", "mean"] = "zero"
    mappings: tuple[MappingName, ...] = ("test",)
    svr: SVRSettings = field(default_factory=SVRSettings)
    gp: GPSettings = field(default_factory=GPSettings)
    sparse_gp: SparseGPSettings = field(default_factory=SparseGPSettings)
    gru: GRUSettings = field(default_factory=GRUSettings)

    def of_process(self, entry: Entry) -> GPSettings | SparseGPSettings:
        """Settings of an entry whose head is a Gaussian process."""
        return self.sparse_gp if entry.head == "sparse_gp" else self.gp

    def of(self, entry: Entry) -> SVRSettings | GPSettings | SparseGPSettings | GRUSettings:
        """Settings of an entry."""
        if entry.head == "gru":
            return self.gru
        return self.svr if entry.head == "svr" else self.of_process(entry)


@dataclass(frozen=True, eq=False)
class Fit:
    """What a head gave on one split; the logistic is that of its training part, where the mode needs one."""

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

    Args:
        problem: labels and features.
        index: number of the split, for the record.
        split: which videos train, choose and test.
        entries: what to train, in any order.
        rules: how.

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
    """Does `run_split` in a worker, for a problem whose blocks travel apart from it so that workers can share them.

    Raises:
        ConfigError: if this process computes with other code than the one that sent the task (`code`: head ->
            checksum), as a worker on another machine may.
        UgcvqaError: what `run_split` raises.
    """
    if any(code_sha256(head) != checksum for head, checksum in code.items()):
        raise ConfigError(
            "a worker has another version of ugcvqa, numpy, scipy or scikit-learn; start all from one installation"
        )
    return run_split(replace(problem, blocks=dict(zip(names, arrays, strict=True))), index, split, entries, rules)


@dataclass(frozen=True, eq=False)
class Indexes:
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
    for row, fit in _svr_fits(problem, problem.blocks, rows, indexes, rules.svr, rules.nonfinite):
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


def _svr_fits(
    problem: Problem,
    blocks: Mapping[str, npt.NDArray[Any]],
    rows: Mapping[str, tuple[str, ...]],
    at: Indexes,
    settings: SVRSettings,
    nonfinite: Literal["zero", "mean"],
) -> Iterable[tuple[str, RowFit]]:
    if not rows:
        return ()
    return fit_rows(
        blocks, rows, problem.mos, at.inner_train, at.inner_val, at.outer_train, at.test, settings, nonfinite
    )


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
    ((_, again),) = _svr_fits(problem, zeroed, {row: names}, at, chosen, "mean")
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
        fit: what the head said; None for predictions that were not trained here.
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


def facts(
    problem: Problem, index: int, split: Split, entry: Entry, mapping: MappingName, rules: Rules
) -> dict[str, Any]:
    """Everything that one result depends on, as plain JSON values."""
    settings = asdict(rules.of(entry))
    for name in ("ladders", "pairs"):
        if settings.get(name):
            settings[name] = file_sha256(Path(settings[name]))
    return {
        "code": code_sha256(entry.head),
        "data": problem.data,
        "labels": problem.labels_sha256,
        "row": entry.row,
        "columns": _columns(problem, entry),
        "head": entry.head,
        "settings": {name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()},
        "nonfinite": rules.nonfinite,
        "mapping": mapping,
        "index": index,
        "split": _digest([*split.train, "", *split.val, "", *split.outer_train, "", *split.test]),
    }


def _columns(problem: Problem, entry: Entry) -> list[list[Any]]:
    """What an entry is computed from, as checksums."""
    if entry.head == "gru":
        return [[problem.checksums[str(entry)]]]
    return [[problem.checksums[part.family], part.start, part.stop] for part in problem.layouts[entry.row]]


_FITTED_BY = {
    "svr": "heads.svr_rows",
    "gp": "heads.gp_fit",
    "sparse_gp": "heads.sparse_fit",
    "gru": "training.gru_splits",
}
"""Head -> module that fits it."""


@cache
def code_sha256(head: str) -> str:
    """Checksum of the code that decides a head's numbers, and of the versions of what it calls."""
    waiting = [_FITTED_BY[head], "evaluation.metrics", "evaluation.splits"]
    plumbing = ["benchmarks.protocol", *(["benchmarks.gru_entries"] if head == "gru" else [])]
    texts = {name: _source(name) for name in plumbing}
    while waiting:
        name = waiting.pop()
        if name not in texts and name.split(".")[0] not in _SETTINGS:
            texts[name] = _source(name)
            waiting += re.findall(r"^from ugcvqa\.([\w.]+) import", texts[name], re.MULTILINE)  # not types
    versions = [f"{name} {version(name)}" for name in _LIBRARIES + (("torch",) if head == "gru" else ())]
    return _digest([*(part for item in sorted(texts.items()) for part in item), *versions])


def _source(module: str) -> str:
    package = Path(__file__).parent.parent
    return package.joinpath(module.replace(".", "/") + ".py").read_text(encoding="utf-8")


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()
