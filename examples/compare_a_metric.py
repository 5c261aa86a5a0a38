"""Compares a new metric with rows of the benchmark, on the same test videos of the same splits.

    python examples/compare_a_metric.py konvid_1k LABELS FEATURES --videos VIDEOS

LABELS and FEATURES are folders with the label file and with feature files of other rows (see docs/benchmark.md). Here
the metric is the mean gradient of the luma: put your own in its place.
"""

import argparse
from pathlib import Path

import numpy as np

from ugcvqa.benchmark import benchmark
from ugcvqa.datamodules import VideoDataModule
from ugcvqa.media.video import read_frames
from ugcvqa.settings.heads import SVRSettings


def sharpness(path: str) -> float:
    """The metric: mean absolute gradient of the luma, over all frames."""
    values = [
        np.mean([np.abs(np.diff(luma.astype(np.float64), axis=axis)).mean() for axis in (0, 1)])
        for _, _, luma in read_frames(path, form="y")
    ]
    return float(np.mean(values))


def main() -> None:
    """Measures all videos and runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="konvid_1k, youtube_ugc, or a name for own labels")
    parser.add_argument("labels")
    parser.add_argument("features")
    parser.add_argument("--videos", required=True)
    parser.add_argument("--rows", nargs="+", default=["NSS"], help="rows to compare with")
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="a small grid search of the SVR")
    parser.add_argument("--out", default="benchmarks")
    arguments = parser.parse_args()

    labels = Path(arguments.labels) / f"{arguments.data}.csv"
    data = VideoDataModule(arguments.videos, labels, name=arguments.data)
    table = Path(arguments.out) / "sharpness.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{task.video_id},{sharpness(task.path)!r}\n" for task in data.tasks]
    table.write_text("video,sharpness\n" + "".join(rows))
    benchmark(
        data=arguments.data,
        labels=arguments.labels,
        features=arguments.features,
        rows=[*arguments.rows, "SHARPNESS"],
        tables={"SHARPNESS": {"predictions": str(table.resolve())}},
        splits=arguments.splits,
        svr=SVRSettings((1, 3), (-4, -2)) if arguments.quick else SVRSettings(),
        out=arguments.out,
    )


if __name__ == "__main__":
    main()
