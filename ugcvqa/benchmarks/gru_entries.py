"""The GRU head in the benchmark: one split after another, on a GPU where there is one."""

import time

import numpy as np
import torch

from ugcvqa.benchmarks.problem import Entry, Problem, Rules
from ugcvqa.benchmarks.protocol import Fit, Indexes, choice_rmse, scored
from ugcvqa.benchmarks.results import SplitResult
from ugcvqa.errors import UgcvqaError
from ugcvqa.evaluation.metrics import IDENTITY, fit_logistic
from ugcvqa.evaluation.splits import Split
from ugcvqa.samples.sequences import SequenceTable
from ugcvqa.training.gru_splits import RowSplit, TrainedSplit, train_gru_split


def placed(table: SequenceTable) -> SequenceTable:
    """The features on a GPU, if there is one and they fill less than half of its free memory."""
    is_room = torch.cuda.is_available() and table.frames.nbytes < torch.cuda.mem_get_info()[0] // 2
    return table.to(torch.device("cuda")) if is_room else table


def run_gru(
    problem: Problem, table: SequenceTable, entry: Entry, index: int, split: Split, rules: Rules
) -> list[SplitResult]:
    """Trains and tests a GRU head on a split.

    `train` of the split trains, `val` chooses the epoch; nothing is refitted to both.

    Returns:
        One result per mapping.

    Raises:
        UgcvqaError: if the head cannot be trained; the message names the data set.
    """
    start = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    part = Indexes.of(problem, split)
    rows = RowSplit(part.inner_train, part.inner_val, part.test)
    try:
        trained = train_gru_split(table, problem.mos, rows, rules.gru, device)
    except UgcvqaError as error:
        raise type(error)(f"{problem.data}: {error}") from error
    fit, seconds = _fit(problem, rows, trained, rules), time.perf_counter() - start
    return [scored(problem, entry, index, split, trained.pred, m, fit, seconds) for m in rules.mappings]


def _fit(problem: Problem, part: RowSplit, one: TrainedSplit, rules: Rules) -> Fit:
    is_mapped = "train" in rules.mappings
    logistic = fit_logistic(one.pred_train, problem.mos[part.train]) if is_mapped else IDENTITY
    choice = choice_rmse(one.pred, problem.mos[part.test]) if rules.nonfinite == "mean" else np.nan
    return Fit(
        one.pred, logistic, counts={"undefined validation SRCC": int(np.isnan(one.val_srcc))}, choice_rmse=choice
    )
