"""Scores as a Parquet table, made from finished rows of JSON."""

import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ugcvqa.bulk.journal import Journal, record_path_of
from ugcvqa.bulk.retries import is_passing
from ugcvqa.bulk.rows import FACTS, NUMBERS, TEXTS, JSONRows, Row, about, column_names, in_turn
from ugcvqa.errors import ConfigError, StoreError
from ugcvqa.files import error_reason, written_atomically
from ugcvqa.scoring.result import Score
from ugcvqa.scoring.scorers import Scorer

_GROUP = 10_000  # rows held at once


def need_pyarrow() -> None:
    """Checks that Parquet can be written.

    Raises:
        ConfigError: if pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigError("--output FILE.parquet needs pyarrow: pip install pyarrow, or give .csv or .jsonl")


class ParquetJournal(Journal):
    """Rows of JSON that become a table once all are written; until then `TABLE.rows.jsonl` holds them.

    The table has the columns of the CSV, and `video_bytes`, which holds a name that is not UTF-8 text, and is null
    otherwise. Numbers are float64, null where unknown. Its metadata `ugcvqa` says what they are, as JSON.
    """

    def __init__(self, table: Path, scorer: Scorer, record: Mapping[str, Any]) -> None:
        rows = table.with_name(f"{table.name}.rows.jsonl")
        self._table, self._parts, self._about = table, scorer.part_names, about(scorer)
        super().__init__(rows, JSONRows(self._about), record, record_path_of(table))
        self._is_complete = False

    def continue_after(self, names: Iterator[str]) -> None:
        """Goes through the existing rows, see `journal.Journal.continue_after`; opens a table with some to retry."""
        is_table = self._table.exists() and not super().has_rows()
        if is_table and any(is_passing(row) for row in read_parquet(self._table)):
            self._open_table()
        super().continue_after(names)
        if not self.tally.rows and self._table.exists():
            self._is_complete = True
            for row in read_parquet(self._table):
                self.take(row, next(names, None))

    def write(self, score: Score) -> None:
        """Appends a row, see `journal.Journal.write`."""
        if self._is_complete:
            raise ConfigError(f"{self._table}: is complete for a shorter list; give another --output")
        super().write(score)

    def complete(self, inputs: Mapping[str, Any]) -> None:
        """Makes the table of the rows."""
        if self._is_complete:
            return
        self.finish_rows()
        with self.path.open("rb") as file:
            _write_table(
                self._table, (_cells(json.loads(line), self._parts) for line in file), self._parts, self._about
            )
        super().complete(inputs)
        self.path.unlink()

    def _open_table(self) -> None:
        """Brings the rows of a finished table back."""
        with written_atomically(self.path) as file:
            for cells in read_cells(self._table):
                parts = {part: cells[part] for part in self._parts if cells[part] is not None}
                record = {
                    "video": _name(cells),
                    **{name: cells[name] for name in (*NUMBERS, *FACTS, "model", "model_sha256", "error_code")},
                    "parts": parts,
                    "warnings": [cells["warnings"]] if cells["warnings"] else [],
                    "error": cells["error"],
                }
                file.write(json.dumps(record).encode() + b"\n")

    def has_rows(self) -> bool:
        """Whether rows of some run are there."""
        return super().has_rows() or self._table.exists()


def read_parquet(path: Path) -> Iterator[Row]:
    """Yields the rows of a table that `score` wrote; their bytes are not kept.

    Raises:
        StoreError: if it is not such a table.
    """
    for cells in read_cells(path, ["video", "video_bytes", "error"]):
        yield Row(_name(cells), cells["error"] or "", b"")


def _name(cells: Mapping[str, Any]) -> str:
    return str(cells["video"] if cells["video_bytes"] is None else os.fsdecode(cells["video_bytes"]))


def merge_parquet(path: Path, shards: Sequence[Path], record: Mapping[str, Any]) -> None:
    """Joins tables in turn: the first row of each, the second row of each, and so on.

    Raises:
        StoreError: if one cannot be read, or the result cannot be written.
    """
    _write_table(path, in_turn([read_cells(shard) for shard in shards]), record["parts"], record["model"])


def read_cells(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yields the rows of a table that `score` wrote as mappings from column to value.

    Raises:
        StoreError: if it is not such a table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(_GROUP, columns=columns):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path}: cannot be read as a table of scores ({error_reason(error)})") from error


def _write_table(
    path: Path, rows: Iterable[dict[str, Any]], part_names: Sequence[str], meaning: Mapping[str, Any]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = dict.fromkeys(("video", *TEXTS), pa.string())
    columns = [(name, texts.get(name, pa.float64())) for name in column_names(part_names)]
    schema = pa.schema([*columns, ("video_bytes", pa.binary())]).with_metadata({"ugcvqa": json.dumps(meaning)})
    remaining = iter(rows)
    with written_atomically(path) as file, pq.ParquetWriter(pa.PythonFile(file, "w"), schema) as writer:
        while group := list(islice(remaining, _GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema))


def _cells(record: Mapping[str, Any], part_names: Sequence[str]) -> dict[str, Any]:
    """A row of JSON as the cells of a table."""
    name, parts = str(record["video"]), record.get("parts", {})
    return {
        "video": _text(name),
        **{number: record[number] for number in NUMBERS},
        **{part: parts.get(part) for part in part_names},
        **{name: record[name] for name in (*FACTS, "model", "model_sha256", "error_code")},
        "warnings": "; ".join(record["warnings"]) or None,
        "error": _text(record["error"]) if record["error"] else None,
        "video_bytes": None if _text(name) == name else os.fsencode(name),
    }


def _text(text: str) -> str:
    """Text that is valid UTF-8: bytes that are none are written as escapes."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")
