"""Outputs of `score` by a stub that fails on request, and readers of them that are not ours."""

import csv
import json
import multiprocessing
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.stub_scorer import main
from ugcvqa.cell_texts import text_of

REPO = Path(__file__).resolve().parents[2]
STUB = REPO / "tests" / "support" / "stub_scorer.py"
needs_pyarrow = pytest.mark.skipif(not find_spec("pyarrow"), reason="Parquet needs the extra `parquet`")
FORMATS = ["csv", "jsonl", pytest.param("parquet", marks=needs_pyarrow)]
LINE_ENDS = ["new\nline.mp4", "carriage\rreturn.mp4"]
ODD = ["a b.mp4", '"q".mp4', *LINE_ENDS, "odd,;ü.mp4", os.fsdecode(b"bad\xff\xc3.mp4"), "fail.mp4", "bare.mp4"]
NAMES = [*ODD, *(f"{number}.mp4" for number in range(20)), ODD[0]]


def listed(folder, names=NAMES):
    path = folder / "list.txt"
    path.write_bytes(b"\0".join(map(os.fsencode, names)) + b"\0" * bool(names))
    return ["--list", str(path), "--null"]


def run(folder, *more, names=NAMES, output="out.csv", workers=0, **options):
    return main([*listed(folder, names), "--output", str(folder / output), "--workers", str(workers), *more], **options)


def table(path):
    """The rows of an output as mappings with the CSV's columns, by a reader that is not ours."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = [{key: value or None for key, value in row.items()} for row in csv.DictReader(file)]
        return [
            {**row, "video": text_of(row["video"]), "error": row["error"] and text_of(row["error"])} for row in rows
        ]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(path).to_pylist()
    return [{**row, "video": os.fsdecode(row["video_bytes"] or row["video"].encode())} for row in rows]


def started(arguments, **options):
    """Starts the verb on the stub in a process of its own, by a fork, which needs no imports."""
    process = multiprocessing.get_context("fork").Process(target=exiting, args=(arguments, options))
    process.start()
    return process


def exiting(arguments, options):
    os._exit(main(arguments, **options))


def size(path):
    return path.stat().st_size if path.exists() else 0
