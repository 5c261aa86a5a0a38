"""Results of a benchmark: one record per data set, row, head and split, and the tidy files made of them."""

import csv
import gzip
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ugcvqa.arrays import Array
from ugcvqa.cell_texts import csv_text
from ugcvqa.errors import LabelError
from ugcvqa.evaluation.published import METRICS
from ugcvqa.evaluation.splits import Split
from ugcvqa.files import error_reason

_COLUMNS = (
    *("data", "row", "head", "mapping", "split", "n_train", "n_test"),
    *(*METRICS, "is_mapped", "c", "gamma", "note"),
)


@dataclass(frozen=True, eq=False)
class SplitResult:
    """Result of one row with one head on the test part of one split.

    Attributes:
        data: name of the data set; `A_to_B` where A trains and B tests.
        row: feature row, or the name of a table or predictions of your own.
        head: `svr`, `gp`, `sparse_gp`, `gru`; `none` for predictions that were not trained here.
        mapping: where the logistic map is fitted before PLCC and RMSE: `test`, `train`, or `none` for no map.
        split: number of the split, from 1; 0 for all videos at once.
        n_train: videos that trained the head.
        srcc: Spearman rank correlation, NaN for a constant prediction.
        krcc: Kendall's tau-b, NaN for a constant prediction.
        plcc: Pearson correlation after the map, NaN for a constant prediction.
        rmse: root mean square error after the map, MOS scale.
        is_mapped: whether a logistic was fitted and applied.
        c: penalty that was chosen; NaN for another head.
        gamma: kernel parameter that was chosen; NaN for another head.
        counts: what a reader should know, such as fits that did not converge -> how often it happened.
        seconds: wall time of this row in its split; the first row of a split also pays what all rows share.
        video_ids: the test videos in the order of the split.
        mos: (n,) their MOS.
        pred: (n,) predictions before the map.
        pred_mapped: (n,) predictions after the map.
        choice_rmse: RMSE after a logistic fitted to the test part, by which the single-split program chooses the split
            that it keeps; NaN elsewhere.
        std: (n,) standard deviations of a newly measured MOS, None where the head gives no interval.
        low: (n,) lower ends of the 90 % intervals, not clipped.
        high: (n,) upper ends.
    """

    data: str
    row: str
    head: str
    mapping: str
    split: int
    n_train: int
    srcc: float
    krcc: float
    plcc: float
    rmse: float
    is_mapped: bool
    c: float
    gamma: float
    counts: Mapping[str, int]
    seconds: float
    video_ids: tuple[str, ...]
    mos: Array
    pred: Array
    pred_mapped: Array
    choice_rmse: float = math.nan
    std: Array | None = None
    low: Array | None = None
    high: Array | None = None

    @property
    def n_test(self) -> int:
        """Number of test videos."""
        return len(self.video_ids)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Data set, row, head and mapping: what is the same for all splits of one line of a table."""
        return self.data, self.row, self.head, self.mapping

    @property
    def note(self) -> str:
        """The counts as text."""
        return "; ".join(f"{name} {count}" for name, count in sorted(self.counts.items()) if count)


Results = list[SplitResult]
"""All results of a benchmark, in the order of its data sets, rows and splits."""


def line_title(row: str, head: str) -> str:
    """Title of a line of a table: the row, with its head unless that is the usual one or there is none."""
    return row if head in ("svr", "none") else f"{row}+{head}"


def read_splits(folder: Path, columns: Iterable[str]) -> list[tuple[int, dict[str, str]]]:
    """Reads the lines of a benchmark's `splits.csv`, with their numbers in the file.

    Raises:
        LabelError: if the file is missing or lacks a column.
    """
    path = folder / "splits.csv"
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise LabelError(f"{path}: has no column {missing[0]}; give the folder of a finished benchmark")
            return list(enumerate(reader, start=2))
    except (OSError, csv.Error) as error:
        inside = [str(one.parent) for one in sorted(folder.glob("*/splits.csv"))]
        advice = f", as {' or '.join(inside)}" if inside else ""
        raise LabelError(
            f"{path}: cannot be read ({error_reason(error)}); give the folder of a benchmark{advice}"
        ) from error


def splits_csv(results: Iterable[SplitResult]) -> bytes:
    """Every figure and choice of every split; numbers have all digits, empty cells are NaN."""
    return _csv(_COLUMNS, ([getattr(item, name) for name in _COLUMNS] for item in results))


def seconds_csv(results: Iterable[SplitResult]) -> bytes:
    """Wall time of every row and split, apart from the other figures since no two runs agree in it."""
    names = ("data", "row", "head", "mapping", "split")
    lines = ([*(getattr(item, name) for name in names), f"{item.seconds:.3f}"] for item in results)
    return _csv((*names, "seconds"), lines)


def predictions_csv_gz(results: Iterable[SplitResult]) -> bytes:
    """Every test prediction, compressed; the same predictions give the same bytes."""
    names = ("data", "row", "head", "mapping", "split", "video_id", "mos", "pred", "pred_mapped", "std", "low", "high")
    return gzip.compress(_csv(names, _prediction_lines(results)), compresslevel=6, mtime=0)


def splits_json(splits: Mapping[str, Sequence[tuple[int, Split]]]) -> bytes:
    """The splits as video ids in their order: data set -> list of index, train, val, test and outer_train.

    The final model is fitted to `outer_train`, which is train and val together in the order of the outer split.
    """
    record = {
        data: [
            {
                "index": index,
                "train": list(split.train),
                "val": list(split.val),
                "test": list(split.test),
                "outer_train": list(split.outer_train),
            }
            for index, split in numbered
        ]
        for data, numbered in splits.items()
    }
    return (json.dumps(record, separators=(",", ":")) + "\n").encode()


def _prediction_lines(results: Iterable[SplitResult]) -> Iterator[list[object]]:
    for item in results:
        head = [item.data, item.row, item.head, item.mapping, item.split]
        ends = ([""] * item.n_test if column is None else column.tolist() for column in (item.std, item.low, item.high))
        columns = (item.mos.tolist(), item.pred.tolist(), item.pred_mapped.tolist(), *ends)
        for video_id, *values in zip(item.video_ids, *columns, strict=True):
            yield [*head, video_id, *map(str, values)]


def _csv(header: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    return csv_text(chain([header], lines)).encode("utf-8", "surrogateescape")
