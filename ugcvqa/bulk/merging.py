"""The files of all shards of an output, checked and joined in the order of the list."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ugcvqa.bulk.journal import Tally, check_same_run, read_record, record_path_of, write_record
from ugcvqa.bulk.parquet import merge_parquet, read_parquet
from ugcvqa.bulk.rows import CSVRows, JSONRows, Row, RowFormat, in_turn, read_rows
from ugcvqa.bulk.scoring import check_output
from ugcvqa.bulk.shards import shard_files
from ugcvqa.errors import ConfigError
from ugcvqa.files import written_atomically

_OPEN_FILES = 64  # of this process besides those it merges


def _allow_open_files(count: int) -> None:
    """Raises this process's limit of open files as far as allowed, where that many more would exceed it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OPEN_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def merge(output: Path) -> Tally:
    """Joins the files of all shards of an output, in the order of the list.

    Raises:
        ConfigError: if shards are missing, unfinished or of different runs, or the output is there and is another's.
        StoreError: if a shard is damaged, or the output cannot be written.
    """
    check_output(output)
    shards = shard_files(output)
    _allow_open_files(len(shards))
    records = [read_record(shard) for shard in shards]
    merged = {**records[0], "shard": "1/1"}
    _check_shards(shards, records, merged)
    if output.exists():
        if not record_path_of(output).is_file():
            raise ConfigError(f"{output}: exists already and was not written by `ugcvqa score`; delete it first")
        check_same_run(output, merged, read_record(output))
    tally = Tally()
    for shard, record in zip(shards, records, strict=True):
        found = Tally()
        for row in _rows_of(shard, record):
            found.add(row.is_failed)
            tally.add(row.is_failed)
        if found.rows != record["complete"]["rows"]:
            raise ConfigError(f"{shard}: holds {found.rows} of {record['complete']['rows']} rows; run it again")
    if output.suffix == ".parquet":
        merge_parquet(output, shards, merged)
    else:
        with written_atomically(output) as file:
            file.write(_format_of(output, merged).header())
            for row in in_turn([_rows_of(shard, record) for shard, record in zip(shards, records, strict=True)]):
                file.write(row.data)
    write_record(record_path_of(output), {**merged, "complete": {**merged["complete"], **vars(tally)}})
    return tally


def _check_shards(shards: list[Path], records: list[dict[str, Any]], merged: Mapping[str, Any]) -> None:
    for shard, record in zip(shards, records, strict=True):
        check_same_run(shard, merged, {**record, "shard": "1/1"})
        if "complete" not in record:
            raise ConfigError(f"{shard}: is not finished; run its command again, then merge")
        mine, first = record["complete"], records[0]["complete"]
        if (mine["videos"], mine["sha256"]) != (first["videos"], first["sha256"]):
            raise ConfigError(f"{shard}: was given another list of videos than {shards[0]}; score it again")


def _format_of(path: Path, record: Mapping[str, Any]) -> RowFormat:
    return CSVRows(record["parts"]) if path.suffix == ".csv" else JSONRows()


def _rows_of(path: Path, record: Mapping[str, Any]) -> Iterator[Row]:
    if path.suffix == ".parquet":
        yield from read_parquet(path)
        return
    with path.open("rb") as file:
        yield from read_rows(file, _format_of(path, record), path)
