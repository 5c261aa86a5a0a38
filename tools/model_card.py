"""Prints the tables of `checkpoints/README.md` from the folder of a benchmark.

    python tools/model_card.py BENCHMARK LABELS.csv

Held-out figures of every line of the benchmark: medians over the splits, the same within each resolution class, and
how many of the measured MOS lie in the 90 % intervals.
"""

import argparse
import csv
import gzip
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.evaluation.metrics import evaluate

Array = npt.NDArray[np.float64]
Line = dict[str, str]

SCALE = (1.0, 5.0)
_SHOWN = ("srcc", "krcc", "plcc", "rmse")


def main() -> int:
    """Runs the tool and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("labels", type=Path)
    arguments = parser.parse_args()
    with arguments.labels.open(newline="", encoding="utf-8") as file:
        classes = {row["video"]: row["resolution"] for row in csv.DictReader(file)}
    with gzip.open(arguments.benchmark / "predictions.csv.gz", "rt", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    for row, head in dict.fromkeys((line["row"], line["head"]) for line in lines):
        own = [line for line in lines if (line["row"], line["head"]) == (row, head)]
        sys.stdout.write(
            f"{row}+{head}\n\n"
            + "\n".join(_tables(own, lambda line: classes[line["video_id"].rpartition("/")[2]]))
            + "\n\n"
        )
    return 0


def _tables(lines: Sequence[Line], resolution: Callable[[Line], str]) -> Iterable[str]:
    yield "| videos | SRCC | KRCC | PLCC | RMSE | MOS in the interval |"
    yield "|---|---|---|---|---|---|"
    yield _figures("all", lines)
    for name in sorted({resolution(line) for line in lines}, key=lambda text: int(text.rstrip("P"))):
        yield _figures(name, [line for line in lines if resolution(line) == name])
    if not lines[0]["std"]:
        return
    yield ""
    yield "| predicted standard deviation | MOS in the interval | RMSE of the plain score |"
    yield "|---|---|---|"
    std = np.array([float(line["std"]) for line in lines])
    ends = np.quantile(std, (0, 0.25, 0.5, 0.75, 1))
    quarter = np.searchsorted(ends[1:-1], std)
    for index in range(4):
        own = [line for line, place in zip(lines, quarter.tolist(), strict=True) if place == index]
        error = np.sqrt(np.mean((_column(own, "mos") - np.clip(_column(own, "pred"), *SCALE)) ** 2))
        yield f"| {ends[index]:.3f} .. {ends[index + 1]:.3f} | {_coverage(own)} | {error:.3f} |"


def _figures(name: str, lines: Sequence[Line]) -> str:
    """One line: median and deviation over the splits."""
    by_split: dict[str, list[Line]] = {}
    for line in lines:
        by_split.setdefault(line["split"], []).append(line)
    found: list[Any] = [evaluate(_column(own, "mos"), _column(own, "pred")) for own in by_split.values()]
    cells = []
    for metric in _SHOWN:
        values = np.array([getattr(one, metric) for one in found])
        cells.append(f"{np.nanmedian(values):.4f} ({np.nanstd(values):.4f})")
    return f"| {name} | {' | '.join(cells)} | {_coverage(lines)} |"


def _coverage(lines: Sequence[Line]) -> str:
    if not lines[0]["low"]:
        return ""
    low, mos, high = (_column(lines, name) for name in ("low", "mos", "high"))
    return f"{100 * np.mean((np.clip(low, *SCALE) <= mos) & (mos <= np.clip(high, *SCALE))):.1f} %"


def _column(lines: Sequence[Line], name: str) -> Array:
    return np.array([float(line[name]) for line in lines])


if __name__ == "__main__":
    sys.exit(main())
