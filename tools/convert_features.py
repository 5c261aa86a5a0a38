"""Converts feature tables between .npz, .csv and .mat.

    python tools/convert_features.py convert INPUT OUTPUT [--ids-from LABELS] [--dataset NAME] [--subset PART]

A bare matrix, such as `feats_mat` in the .mat files of VIDEVAL, RAPIQUE and RVS-resize, has no ids. Its rows
follow the data set in benchmark order (`--dataset konvid_1k`, `youtube_ugc` or `combined`), or, without
`--dataset`, the rows of the label file as they stand.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ugcvqa.datasets import load_dataset
from ugcvqa.errors import ConfigError, UgcvqaError
from ugcvqa.tables import read_table, write_table


def convert(
    source: Path, target: Path, ids_from: Path | None, dataset: str | None, subset: str | None
) -> tuple[int, int]:
    """Reads one table and writes it in the format that the name of the target asks for.

    Args:
        source: table to read.
        target: table to write; replaced if it exists.
        ids_from: label file that gives the ids of a bare matrix.
        dataset: name of the data set whose row order the matrix has; None for the order of the label file.
        subset: part of YouTube-UGC that the matrix holds.

    Returns:
        Numbers of videos and features.

    Raises:
        UgcvqaError: if the arguments do not fit together, or a file cannot be used.
    """
    ids = None
    if ids_from is not None:
        videos = load_dataset(dataset or "csv", ids_from, subset=subset).videos
        # In file order the rows may come from any data set, so their ids stay bare.
        ids = [video.video_id if dataset else video.video_id.split("/", 1)[1] for video in videos]
    elif dataset is not None or subset is not None:
        raise ConfigError("--dataset and --subset say how to read a label file; give it with --ids-from")
    table = read_table(source, ids)
    write_table(target, table)
    return table.values.shape


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser with its subcommands."""
    parser = argparse.ArgumentParser(description="Converts feature tables.")
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser("convert", help="convert between .npz, .csv and .mat")
    table.add_argument("source", type=Path, help="table to read")
    table.add_argument("target", type=Path, help="table to write; its ending chooses the format")
    table.add_argument("--ids-from", type=Path, help="label file that gives the ids of a bare matrix")
    table.add_argument("--dataset", help="data set whose benchmark order the rows have (default: file order)")
    table.add_argument("--subset", help="part of youtube_ugc: 360P, 480P, 720P, 1080P or all")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns the exit code: 0, or 2 for a mistake in the input."""
    arguments = build_parser().parse_args(argv)
    try:
        shape = convert(arguments.source, arguments.target, arguments.ids_from, arguments.dataset, arguments.subset)
    except UgcvqaError as error:
        print(f"convert_features: error: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.target}: {shape[0]} videos, {shape[1]} features")
    return 0


if __name__ == "__main__":
    sys.exit(main())
