"""Shows how good each head is when it is trained on 50, 100, 200, ... labelled videos: a table, and a figure of it.

    python tools/learning_curve.py NAME LABELS FEATURES... --output docs/learning_curve.csv [--figure FILE.svg]

NAME is that of the data set, as for `ugcvqa fit --data.name`; FEATURES are its tables, side by side. In each of the
benchmark's splits a fifth of the videos is held out, and the heads train on the first N of the others, with their
default settings. Nothing is chosen in sight of the results.
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ugcvqa.cli import exit_code_of
from ugcvqa.datasets.catalogue import load_dataset
from ugcvqa.datasets.tables import align, read_table
from ugcvqa.display.figures import picture_bytes
from ugcvqa.evaluation.metrics import evaluate
from ugcvqa.evaluation.splits import protocol_split
from ugcvqa.heads.estimators import GPHead, Head, SparseGPHead, SVRHead

HEADS: dict[str, type[Head]] = {"svr": SVRHead, "gp": GPHead, "sparse_gp": SparseGPHead}
SIZES = (50, 100, 200, 400, 800)
COLUMNS = ("head", "videos", "split", "srcc", "plcc", "rmse", "fit_cpu_s")

Row = tuple[str, int, int, float, float, float, float]


def curve(
    features: npt.NDArray[np.float64], mos: npt.NDArray[np.float64], ids: Sequence[str], splits: int
) -> Iterator[Row]:
    """Yields the figures of each head, size and split on the held-out videos, values as `COLUMNS`."""
    place = {video_id: row for row, video_id in enumerate(ids)}
    for split in range(1, splits + 1):
        parts = protocol_split(ids, split)
        outer, test = ([place[video_id] for video_id in part] for part in (parts.outer_train, parts.test))
        for size in sorted({min(size, len(outer)) for size in SIZES}):
            for name, made in HEADS.items():
                start = time.process_time()
                head = made().fit(features[outer[:size]], mos[outer[:size]])
                seconds = time.process_time() - start
                found = evaluate(mos[test], head.predict(features[test]))
                yield name, size, split, found.srcc, found.plcc, found.rmse, seconds


def summary(rows: Sequence[Row]) -> str:
    """Medians over the splits as Markdown: SRCC with its standard deviation, and seconds of a fit."""
    lines = [f"| labelled videos | {' | '.join(HEADS)} | CPU seconds of a fit |", f"|---:|{'---|' * (len(HEADS) + 1)}"]
    for size in sorted({row[1] for row in rows}):
        own = {name: np.array([row[3:] for row in rows if row[:2] == (name, size)]) for name in HEADS}
        cells = [f"{np.median(table[:, 0]):.3f} ({table[:, 0].std():.3f})" for table in own.values()]
        seconds = ", ".join(f"{np.median(table[:, 3]):.1f}" for table in own.values())
        lines.append(f"| {size} | {' | '.join(cells)} | {seconds} |")
    return "\n".join(lines)


def drawn(rows: Sequence[Row], suffix: str) -> bytes:
    """The curve as a picture: median SRCC over the splits with its standard deviation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for shift, name in enumerate(HEADS):
        sizes = sorted({row[1] for row in rows})
        values = [[row[3] for row in rows if row[:2] == (name, size)] for size in sizes]
        at, middle = np.array(sizes) * 1.02**shift, [float(np.median(each)) for each in values]
        axes.errorbar(at, middle, [float(np.std(each)) for each in values], marker="o", capsize=3, label=name)
    axes.set(xscale="log", xlabel="labelled videos", ylabel="SRCC on held-out videos")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.legend()
    axes.grid(alpha=0.3)
    return picture_bytes(figure, suffix)


def main() -> int:
    """Runs the tool and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("labels", type=Path)
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--splits", type=int, default=5)
    arguments = parser.parse_args()
    videos = load_dataset(arguments.name, arguments.labels).videos
    ids, mos = [video.video_id for video in videos], np.array([video.mos for video in videos])
    features = np.column_stack([align(read_table(path), ids, allow_extra=True) for path in arguments.features])
    rows = []
    for row in curve(features, mos, ids, arguments.splits):
        rows.append(row)
        with arguments.output.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows([*own[:3], *(f"{value:.4f}" for value in own[3:])] for own in rows)
    if arguments.figure is not None:
        arguments.figure.write_bytes(drawn(rows, arguments.figure.suffix))
    sys.stdout.write(f"{summary(rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main, "learning_curve"))
