"""Converts feature tables between .npz, .csv and .mat, and moves them into and out of a feature store.

    python -m ugcvqa.convert_features convert INPUT OUTPUT [--ids-from LABELS] [--dataset NAME] [--subset PART]
    python -m ugcvqa.convert_features import INPUT STORE --family NAME [--ids-from LABELS] ...
    python -m ugcvqa.convert_features export STORE/FAMILY-FOLDER OUTPUT

A bare matrix, such as `feats_mat` in the .mat files of VIDEVAL, RAPIQUE and RVS-resize, has no ids. Its rows
follow the data set in benchmark order (`--dataset konvid_1k`, `youtube_ugc` or `combined`), or, without
`--dataset`, the rows of the label file as they stand.

Tables say who made their features (`made_by`: an array in .npz and .mat, a column in .csv): those exported from a
store have its spec, published ones are recognised, and `--made-by` says it of others.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ugcvqa.cli import run_converter
from ugcvqa.datasets.catalogue import load_dataset
from ugcvqa.datasets.tables import FeatureTable, read_table, write_table
from ugcvqa.errors import ConfigError
from ugcvqa.features.provenance import UNKNOWN, checked_name, provenance_of
from ugcvqa.features.store import FeatureSpec, FeatureStore, table_of_folder
from ugcvqa.files import file_sha256


def convert(arguments: argparse.Namespace) -> str:
    """Reads one table and writes it in the format that the name of the target asks for."""
    table = read_source(arguments)
    write_table(arguments.target, table)
    return f"{arguments.target}: {summary(table)}"


def import_table(arguments: argparse.Namespace) -> str:
    """Puts the rows of a table into a store, under a spec that names the file by its checksum."""
    table = read_source(arguments)
    source = file_sha256(arguments.source)
    spec = FeatureSpec(arguments.family, version=0, settings={"made_by": table.made_by}, source=source)
    store = FeatureStore(arguments.target)
    for video_id, vector in zip(table.ids, table.values, strict=True):
        content = hashlib.sha256(f"{source} {video_id}".encode()).hexdigest()
        store.put(spec, content, {"video": vector}, {"imported_from": arguments.source.name})
        store.put_name(spec, video_id, content)
    return f"{store.root / spec.key}: {summary(table)}"


def export_table(arguments: argparse.Namespace) -> str:
    """Writes what one family's folder of a store holds by name."""
    table = table_of_folder(arguments.source)
    write_table(arguments.target, table)
    return f"{arguments.target}: {summary(table)}"


def read_source(arguments: argparse.Namespace) -> FeatureTable:
    """Reads a table, with ids from a label file where it has none.

    Raises:
        UgcvqaError: if the arguments do not fit together, or a file cannot be used.
    """
    ids = None
    if arguments.ids_from is not None:
        videos = load_dataset(arguments.dataset or "csv", arguments.ids_from, subset=arguments.subset).videos
        # In file order the rows may come from any data set, so their ids stay bare.
        ids = [video.video_id if arguments.dataset else video.video_id.split("/", 1)[1] for video in videos]
    elif arguments.dataset is not None or arguments.subset is not None:
        raise ConfigError("--dataset and --subset say how to read a label file; give it with --ids-from")
    table = read_table(arguments.source, ids)
    stated, where = arguments.made_by or "", str(arguments.source)
    maker, _ = provenance_of(
        "", table.ids, table.values, table.made_by, stated and checked_name(stated, "--made-by"), where
    )
    return table if table.made_by or maker == UNKNOWN else replace(table, made_by=maker)


def summary(table: FeatureTable) -> str:
    """Numbers of videos and features in words."""
    return f"{table.values.shape[0]} videos, {table.values.shape[1]} features"


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser with its subcommands."""
    parser = argparse.ArgumentParser("convert_features", description="Converts feature tables.")
    commands = parser.add_subparsers(required=True)
    for name, function, purpose in (
        ("convert", convert, "convert between .npz, .csv and .mat"),
        ("import", import_table, "put a table into a feature store"),
        ("export", export_table, "write a table from a feature store"),
    ):
        command = commands.add_parser(name, help=purpose)
        command.set_defaults(function=function)
        command.add_argument("source", type=Path, help="table to read, or a family's folder in a store")
        command.add_argument("target", type=Path, help="table to write (its ending chooses the format), or store")
        if function is not export_table:
            command.add_argument("--ids-from", type=Path, help="label file that gives the ids of a bare matrix")
            command.add_argument("--dataset", help="data set in whose benchmark order the rows are (default: file)")
            command.add_argument("--made-by", help="network or program that made the features, where no file says so")
            command.add_argument("--subset", help="part of youtube_ugc: 360P, 480P, 720P, 1080P or all")
        if function is import_table:
            command.add_argument("--family", required=True, help="name for the features, such as nss_published")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns the exit code: 0, or 2 for a mistake in the input."""
    return run_converter(lambda arguments: str(arguments.function(arguments)), build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
