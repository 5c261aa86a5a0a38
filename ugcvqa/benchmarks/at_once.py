"""The GRU head in the benchmark: many splits of a data set are trained at once, on a GPU where there is one."""

import logging
import time
from collections.abc import Sequence

import numpy as np
import torch

from ugcvqa.benchmarks.protocol import Entry, Fit, Indexes, Problem, Rules, choice_rmse, scored
from ugcvqa.benchmarks.results import SplitResult
from ugcvqa.errors import UgcvqaError
from ugcvqa.evaluation.metrics import IDENTITY, fit_logistic
from ugcvqa.evaluation.splits import Split
from ugcvqa.training.gru_splits import RowSplit, TrainedSplit, bytes_per_split, train_gru_splits

log = logging.getLogger(__name__)


def number_at_once(problem: Problem, entry: Entry, rules: Rules, asked: int) -> int:
    """Number of splits to train at once.

    Args:
        problem: with the frame features.
        entry: what to train.
        rules: how.
        asked: what the user asked for; 0 for as many as half of the free memory of the GPU holds beside the features,
            and one on a CPU.
    """
    if asked or not torch.cuda.is_available():
        return asked or 1
    table = problem.sequences[entry.row]
    free, _ = torch.cuda.mem_get_info()
    held = table.frames.nbytes if table.frames.nbytes < free // 2 else 0
    return max(1, (free - held) // 2 // bytes_per_split(table, rules.gru))


def run_at_once(
    problem: Problem, entry: Entry, splits: Sequence[tuple[int, Split]], rules: Rules
) -> list[list[SplitResult]]:
    """Trains and tests a GRU head on several splits in one computation.

    `train` of a split trains, `val` chooses the epoch; nothing is refitted to both.

    Args:
        problem: labels and frame features.
        entry: what to train.
        splits: numbered splits whose parts are of one size.
        rules: how.

    Returns:
        Per split its results, one per mapping.

    Raises:
        UgcvqaError: if the head cannot be trained; the message names the data set.
    """
    start = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    table = problem.sequences[entry.row]
    if device.type == "cuda" and table.frames.nbytes < torch.cuda.mem_get_info(device)[0] // 2:
        table = table.to(device)
    parts = [Indexes.of(problem, split) for _, split in splits]
    rows = [RowSplit(part.inner_train, part.inner_val, part.test) for part in parts]
    log.info("%s, %s: %d splits at once on %s", problem.data, entry, len(splits), device)
    try:
        trained = train_gru_splits(table, problem.mos, rows, rules.gru, device)
    except UgcvqaError as error:
        raise type(error)(f"{problem.data}: {error}") from error
    seconds = (time.perf_counter() - start) / len(splits)
    results = []
    for (index, split), part, one in zip(splits, rows, trained, strict=True):
        fit = _fit(problem, part, one, rules)
        results.append([scored(problem, entry, index, split, one.pred, m, fit, seconds) for m in rules.mappings])
    return results


def _fit(problem: Problem, part: RowSplit, one: TrainedSplit, rules: Rules) -> Fit:
    is_mapped = "train" in rules.mappings
    logistic = fit_logistic(one.pred_train, problem.mos[part.train]) if is_mapped else IDENTITY
    choice = choice_rmse(one.pred, problem.mos[part.test]) if rules.nonfinite == "mean" else np.nan
    return Fit(
        one.pred, logistic, counts={"undefined validation SRCC": int(np.isnan(one.val_srcc))}, choice_rmse=choice
    )
