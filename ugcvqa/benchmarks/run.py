"""Runs a benchmark: all rows of all data sets on all splits, in parallel, going on where an earlier run stopped."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ugcvqa.benchmarks.dependencies import code_sha256, dependencies
from ugcvqa.benchmarks.labelled_features import Gathered
from ugcvqa.benchmarks.parallel import run_tasks
from ugcvqa.benchmarks.parts import Parts
from ugcvqa.benchmarks.problem import Entry, MappingName, Problem, Rules
from ugcvqa.benchmarks.protocol import Fit, choice_rmse, run_unit, scored
from ugcvqa.benchmarks.results import Results, SplitResult
from ugcvqa.errors import LabelError
from ugcvqa.evaluation.metrics import fit_logistic
from ugcvqa.evaluation.splits import Split, protocol_split
from ugcvqa.files import check_writable
from ugcvqa.progress import progress_bar
from ugcvqa.settings.benchmark import BenchmarkSettings

log = logging.getLogger(__name__)

KEPT = "kept (median test RMSE)"
"""Count that marks the split which the single-split program keeps."""

MIN_VIDEOS = 13
"""Fewer leave less than ten to train on when a fifth is held out."""

_MAPPINGS: dict[str, tuple[MappingName, ...]] = {
    "protocol": ("test",),
    "single_split": ("train",),
    "cross": ("train", "none", "test"),
}

Splits = Mapping[str, list[tuple[int, Split]]]
"""Data set -> its splits with their numbers."""


def rules_of(asked: BenchmarkSettings) -> Rules:
    """The rules of a mode, with the settings of the heads."""
    mappings = _MAPPINGS[asked.mode]
    nonfinite: Literal["zero", "mean"] = "mean" if asked.mode == "single_split" else "zero"
    return Rules(nonfinite, mappings, asked.svr, asked.gp, asked.sparse_gp, asked.gru)


def make_splits(gathered: Gathered, settings: BenchmarkSettings) -> list[tuple[int, Split]]:
    """Makes the numbered splits of a data set.

    Raises:
        LabelError: if there are too few videos.
    """
    ids, n_train = gathered.problem.ids, gathered.n_train
    n_split = len(ids) if n_train is None else n_train
    if n_split < MIN_VIDEOS:
        raise LabelError(f"{gathered.problem.data}: {n_split} videos to split; at least {MIN_VIDEOS} are needed")
    try:
        if n_train is None:
            return [(index, protocol_split(ids, index)) for index in settings.indexes()]
        splits = [(index, protocol_split(ids[:n_train], index)) for index in settings.indexes()]
    except LabelError as error:
        raise LabelError(f"{gathered.problem.data}: {error}") from error
    if len(ids) == n_train:
        raise LabelError(f"{gathered.problem.data}: no video to test on has the features of every row")
    return [(index, replace(split, test=ids[n_train:])) for index, split in splits]


def run(
    data: Sequence[Gathered],
    splits: Splits,
    rules: Rules,
    folder: Path,
    jobs: int = 0,
    backend: str = "loky",
    scheduler: str | None = None,
) -> Results:
    """Computes what is not there yet and gives all results in order.

    `jobs`, `backend` and `scheduler` are those of `run_tasks`.

    Raises:
        UgcvqaError: if a row cannot be trained or a part cannot be written.
    """
    parts = Parts(folder)
    check_writable(folder)
    units = [
        _Unit(parts, one.problem, index, split, one.entries, rules)
        for one in data
        for index, split in splits[one.problem.data]
    ]
    by_key = {(unit.problem.data, unit.index): unit for unit in units}
    n_all = sum(len(unit.entries) for unit in units)
    n_left = sum(len(unit.left) for unit in units)
    if n_left < n_all:
        log.info("%d of %d fits are there already", n_all - n_left, n_all)
    tasks = (unit.task() for unit in units if unit.for_workers)
    with progress_bar(n_left, "fit", "benchmark") as bar:
        for results in run_tasks(run_unit, tasks, jobs, backend, scheduler):
            unit = by_key[results[0].data, results[0].split]
            unit.keep(results)
            bar.update(len(unit.for_workers))
        for unit, results in _gru_results(units):
            unit.keep(results)
            bar.update(1)
    return _in_order(data, splits, rules, by_key)


def _gru_results(units: "Sequence[_Unit]") -> "Iterator[tuple[_Unit, list[SplitResult]]]":
    """Trains the GRU heads that are left, in this process, with the features of one entry at a time on a GPU."""
    left: dict[tuple[str, Entry], list[_Unit]] = {}
    for unit in units:
        for entry in unit.left:
            if entry.head == "gru":
                left.setdefault((unit.problem.data, entry), []).append(unit)
    for (_, entry), waiting in left.items():
        from ugcvqa.benchmarks.gru_entries import placed, run_gru  # torch takes seconds to import

        table = placed(waiting[0].problem.sequences[entry.row])
        for unit in waiting:
            yield unit, run_gru(unit.problem, table, entry, unit.index, unit.split, unit.rules)


class _Unit:
    """One split of one data set: what an earlier run has done, and what is left."""

    def __init__(
        self, parts: Parts, problem: Problem, index: int, split: Split, entries: Sequence[Entry], rules: Rules
    ) -> None:
        self.parts, self.problem, self.index, self.split, self.rules = parts, problem, index, split, rules
        self.entries = [entry for entry in entries if entry.head != "none"]
        self.left: list[Entry] = []
        self.done: dict[tuple[Entry, str], SplitResult] = {}
        for entry in self.entries:
            for mapping in rules.mappings:
                result = parts.read(*self._part(entry, mapping))
                if result is None:
                    self.left.append(entry)
                    break
                self.done[entry, mapping] = result

    @property
    def for_workers(self) -> list[Entry]:
        """Entries left for the worker processes, each of which does one split."""
        return [entry for entry in self.left if entry.head != "gru"]

    def _part(self, entry: Entry, mapping: Any) -> tuple[Path, dict[str, Any]]:  # noqa: ANN401
        """Path and dependencies of one result."""
        known = dependencies(self.problem, self.index, self.split, entry, mapping, self.rules)
        return self.parts.path(self.problem.data, str(entry), self.index, mapping, known), known

    def task(self) -> tuple[Any, ...]:
        """Arguments of `run_unit`; arrays are separate arguments, so that a backend can send each once."""
        rows = {entry.row for entry in self.for_workers}
        names = sorted({part.family for row in rows for part in self.problem.layouts[row]})
        layouts = {row: self.problem.layouts[row] for row in rows}
        bare = replace(self.problem, blocks={}, predictions={}, sequences={}, layouts=layouts)
        code = {head: code_sha256(head) for head in sorted({entry.head for entry in self.for_workers})}
        arrays = [self.problem.blocks[name] for name in names]
        return bare, self.index, self.split, self.for_workers, self.rules, code, names, *arrays

    def keep(self, results: Sequence[SplitResult]) -> None:
        """Writes new results."""
        for result in results:
            entry = Entry(result.row, result.head)
            self.parts.write(*self._part(entry, result.mapping), result)
            self.done[entry, result.mapping] = result


def _in_order(
    data: Sequence[Gathered], splits: Splits, rules: Rules, units: Mapping[tuple[str, int], _Unit]
) -> Results:
    results: Results = []
    for one in data:
        name = one.problem.data
        for entry in one.entries:
            if entry.head == "none":
                results.extend(_finished(one.problem, entry, splits[name], rules))
                continue
            for mapping in rules.mappings:
                found = [units[name, index].done[entry, mapping] for index, _ in splits[name]]
                results.extend(_with_choice(found) if rules.mappings == ("train",) else found)
    return results


def _finished(
    problem: Problem, entry: Entry, splits: Sequence[tuple[int, Split]], rules: Rules
) -> Iterator[SplitResult]:
    """Figures of predictions that were not trained here: on all videos, and on each test part as any other row."""
    pred = problem.predictions[entry.row]
    whole = splits[0][1].test if len(rules.mappings) > 1 else problem.ids
    for mapping in ("none", "test"):
        yield scored(problem, entry, 0, Split((), (), whole), pred[problem.rows(whole)], mapping)
    results = []
    for index, split in splits:
        test = problem.rows(split.test)
        values, fit = pred[test], None
        if rules.mappings[0] == "train":
            train = problem.rows(split.outer_train)
            logistic = fit_logistic(pred[train], problem.mos[train])
            fit = Fit(values, logistic, choice_rmse=choice_rmse(values, problem.mos[test]))
        results.append(scored(problem, entry, index, split, values, rules.mappings[0], fit))
    yield from _with_choice(results) if rules.mappings == ("train",) else results


def _with_choice(results: Sequence[SplitResult]) -> list[SplitResult]:
    """Marks the split of median test RMSE, which the single-split program keeps."""
    order = np.argsort([result.choice_rmse for result in results], kind="stable")
    kept = int(order[len(results) // 2])
    return [
        replace(result, counts={**result.counts, KEPT: int(number == kept)}) for number, result in enumerate(results)
    ]
