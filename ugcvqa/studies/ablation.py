"""What saliency adds to quality prediction: pairs of rows of a finished benchmark, compared over the same splits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ugcvqa.benchmarks.results import read_splits
from ugcvqa.errors import LabelError
from ugcvqa.evaluation.published import METRICS
from ugcvqa.evaluation.significance import corrected_t_test, holm


class Pair(NamedTuple):
    """Two rows that differ by saliency.

    Attributes:
        without: row without it.
        with_saliency: row with it.
        is_fair: nothing else differs between them.
        text: what the comparison is.
    """

    without: str
    with_saliency: str
    is_fair: bool
    text: str


PAIRS = (
    Pair("VSFACNN_224", "VSFACNN_SALIENCY", True, "map added to the network's input; same frames, same size"),
    Pair("VSFACNN", "VSFACNN_SALIENCY", False, "the paper's comparison: fewer and smaller frames as well"),
    Pair("CNN", "CNN_SALIENCY", True, "224-vector appended"),
    Pair("NSS", "NSS_SALIENCY", True, "224-vector appended"),
    Pair("NSS_CNN", "NSS_CNN_SALIENCY", True, "224-vector appended"),
    Pair("NSS_VSFACNN", "NSS_VSFACNN_SALIENCY", False, "the paper's comparison: fewer and smaller frames as well"),
)
"""Pairs that are looked for, the control that the paper lacks first."""

_NEEDED = ("data", "row", "head", "split", "n_train", "n_test", *METRICS)


@dataclass(frozen=True)
class Ablation:
    """One figure of one pair on one data set with one head.

    Attributes:
        n_splits: splits in which both rows have it.
        without: its mean without saliency.
        with_saliency: its mean with saliency.
        difference: mean over splits, with minus without.
        low: lower end of the difference's 95 % confidence interval.
        high: upper end.
        p: corrected resampled t-test.
        p_adjusted: by Holm's method, for the pairs of this data set, head and figure.
    """

    data: str
    head: str
    pair: Pair
    metric: str
    n_splits: int
    without: float
    with_saliency: float
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float


Figures = dict[int, Mapping[str, float]]
"""Split number -> its figures and sizes."""


def read_ablations(folder: Path) -> list[Ablation]:
    """Compares all pairs of `PAIRS` that a benchmark holds.

    Raises:
        LabelError: if the file is missing, lacks a column or holds no pair.
    """
    lines = _read(folder)
    found = [
        ablation
        for data, head in dict.fromkeys((data, head) for data, _, head in lines)
        for metric in METRICS
        for ablation in _compared(lines, data, head, metric)
    ]
    if not found:
        rows = ", ".join(dict.fromkeys(row for _, row, _ in lines)) or "none"
        pairs = "; ".join(f"{pair.without} and {pair.with_saliency}" for pair in PAIRS[:3])
        raise LabelError(f"{folder}/splits.csv: its rows ({rows}) hold no pair with and without saliency, as {pairs}")
    return found


def _read(folder: Path) -> dict[tuple[str, str, str], Figures]:
    """(data set, row, head) -> its splits. Of several mappings the one fitted on the test part counts."""
    found: dict[tuple[str, str, str], Figures] = {}
    for number, line in read_splits(folder, _NEEDED):
        if (line.get("mapping") or "test") != "test":
            continue
        try:
            values = {name: float(line[name]) if line[name] else math.nan for name in ("n_train", "n_test", *METRICS)}
            found.setdefault((line["data"], line["row"], line["head"]), {})[int(line["split"])] = values
        except (TypeError, ValueError) as error:
            raise LabelError(
                f"{folder}/splits.csv: line {number} is damaged ({error}); run the benchmark again"
            ) from error
    return found


def _compared(lines: Mapping[tuple[str, str, str], Figures], data: str, head: str, metric: str) -> list[Ablation]:
    pairs = [pair for pair in PAIRS if all((data, row, head) in lines for row in (pair.without, pair.with_saliency))]
    found = []
    for pair in pairs:
        without, with_saliency = (lines[data, row, head] for row in (pair.without, pair.with_saliency))
        common = sorted(without.keys() & with_saliency.keys())
        before, after = (np.array([figures[k][metric] for k in common]) for figures in (without, with_saliency))
        sizes = [float(np.median([without[k][name] for k in common])) for name in ("n_train", "n_test")]
        if not common or not sizes[0] > 0:  # predictions that were not trained here
            continue
        result = corrected_t_test(after, before, *sizes)
        interval = result.difference
        means = (float(np.nanmean(before)), float(np.nanmean(after)))
        numbers = (interval.n_splits, *means, interval.centre, interval.low, interval.high)
        found.append((pair, numbers, result.p))
    adjusted = holm([p for _, _, p in found]).tolist()
    return [
        Ablation(data, head, pair, metric, *numbers, p, holm_p)
        for (pair, numbers, p), holm_p in zip(found, adjusted, strict=True)
    ]
