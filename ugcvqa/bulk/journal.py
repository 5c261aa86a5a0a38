"""Outputs that grow row by row, survive `kill -9`, and are resumed by the same command."""

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ugcvqa.bulk.rows import Row, RowFormat, read_rows
from ugcvqa.errors import ConfigError, StoreError
from ugcvqa.files import error_reason, locked, write_atomic, written_atomically
from ugcvqa.leftovers import sweep
from ugcvqa.scoring.result import Score

_SYNC_S = 2.0  # rows of this many seconds may be lost when the power fails; none when a process dies


@dataclass
class Tally:
    """How many videos have a row, and how many of these have a reason in place of a score."""

    rows: int = 0
    failed: int = 0

    def add(self, is_failed: bool) -> None:
        """Counts one row."""
        self.rows += 1
        self.failed += is_failed


class Journal:
    """A file of rows to which one job at a time appends, with a record beside it of what made the rows.

    Used as a context manager. A row that was written is safe when the process is killed, and two seconds later when
    the machine fails. Nothing is written before the first row.

    Args:
        path: the file of rows.
        rows: their format.
        record: what made them, as JSON values; rows of another record are never mixed in.
        record_path: file of the record; `PATH.run.json` if left out.

    Raises:
        StoreError: if the file cannot be opened, or another job is writing it.
        ConfigError: if it holds rows of another run.
    """

    def __init__(self, path: Path, rows: RowFormat, record: Mapping[str, Any], record_path: Path | None = None) -> None:
        self.path, self.tally = path, Tally()
        self._rows, self._record = rows, dict(record)
        self.record_path = record_path or record_path_of(path)
        self._length = 0  # bytes of whole rows
        self._file: int | None = None
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        sweep(self.path.parent)
        with ExitStack() as held:
            held.enter_context(locked(self.path.with_name(f"{self.path.name}.lock"), self.path))
            if self.has_rows():
                if not self.record_path.is_file():
                    raise ConfigError(
                        f"{self.path}: exists already and was not written by `ugcvqa score`; give another --output or "
                        "delete it"
                    )
                check_same_run(self.path, self._record, read_record(self.path, self.record_path))
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            if self._file is not None:
                with contextlib.suppress(OSError):  # what can be said of a failing disk was said when a row was written
                    os.fsync(self._file)
                os.close(self._file)

    def continue_after(self, names: Iterator[str]) -> None:
        """Goes through the existing rows and takes as many names, which must match them.

        Raises:
            ConfigError: if the rows are of other videos.
            StoreError: if the file holds something else.
        """
        length = len(self._rows.header())
        for row in self.rows():
            self.take(row, next(names, None))
            length += len(row.data)
            self._length = length

    def rows(self) -> Iterator[Row]:
        """Yields the whole rows that are there.

        Raises:
            StoreError: if the file holds something else.
        """
        if self.path.exists():
            with self.path.open("rb") as file:
                yield from read_rows(file, self._rows, self.path)

    def beside(self, word: str) -> "Journal":
        """A file beside this one, of rows of the same kind."""
        return Journal(self.path.with_name(f"{self.path.name}.{word}"), self._rows, self._record)

    def replace(self, rows: Iterable[Row]) -> None:
        """Replaces the existing rows by others of the same videos, before the first new row is written.

        Raises:
            StoreError: if they cannot be written; then the old ones stay.
        """
        self.tally = Tally()
        with written_atomically(self.path) as file:
            file.write(self._rows.header())
            for row in rows:
                file.write(row.data)
                self.tally.add(row.is_failed)
            self._length = file.tell()

    def remove(self) -> None:
        """Removes the file and its record."""
        for path in (self.path, self.record_path):
            path.unlink(missing_ok=True)

    def take(self, row: Row, name: str | None) -> None:
        """Counts a row that is there already.

        Raises:
            ConfigError: if it is not of the video named.
        """
        if name is None:
            raise ConfigError(f"{self.path}: has more rows than videos are given; give another --output")
        if row.video != name:
            raise ConfigError(
                f"{self.path}: row {self.tally.rows + 1} is of {row.video}, but the list has {name} in that place; "
                "give another --output for another list"
            )
        self.tally.add(row.is_failed)

    def write(self, score: Score) -> None:
        """Appends a row.

        Raises:
            StoreError: if it cannot be written; the rows before it stay.
        """
        try:
            file = self._opened()
            self._append(file, self._rows.encode(score))
            if time.monotonic() - self._synced > _SYNC_S:
                os.fsync(file)
                self._synced = time.monotonic()
        except OSError as error:
            if self._file is not None:
                os.ftruncate(self._file, self._length)
            raise StoreError(
                f"{self.path}: cannot be written: {error.strerror or error}; its {self.tally.rows} rows are kept, "
                "and the same command resumes"
            ) from error
        self.tally.add(bool(score.reason))

    def complete(self, inputs: Mapping[str, Any]) -> None:
        """Records that every video has its row, and what the list of videos was."""
        self.finish_rows()
        write_record(self.record_path, {**self._record, "complete": {**vars(self.tally), **inputs}})

    def finish_rows(self) -> None:
        """Makes sure that the file holds whole rows only, and that they are on the disk."""
        os.fsync(self._opened())

    def has_rows(self) -> bool:
        """Whether rows of some run are there."""
        return self.path.exists() and self.path.stat().st_size > 0

    def _opened(self) -> int:
        """The file, of which only whole rows are left, with the record beside it."""
        if self._file is None:
            write_record(self.record_path, self._record)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            os.ftruncate(self._file, self._length)
            os.lseek(self._file, self._length, os.SEEK_SET)
            if self._length == 0:
                self._append(self._file, self._rows.header())
        return self._file

    def _append(self, file: int, data: bytes) -> None:
        remaining = memoryview(data)
        while remaining:
            remaining = remaining[os.write(file, remaining) :]
        self._length += len(data)


def record_path_of(path: Path) -> Path:
    """File that records what made the rows of an output."""
    return path.with_name(f"{path.name}.run.json")


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Writes what made the rows of an output.

    Raises:
        StoreError: if it cannot be written.
    """
    write_atomic(path, json.dumps(record, indent=1).encode() + b"\n")


def read_record(path: Path, record_path: Path | None = None) -> dict[str, Any]:
    """Reads what made the rows of an output.

    Raises:
        ConfigError: if it is missing or damaged.
    """
    file = record_path or record_path_of(path)
    try:
        record = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read ({error_reason(error)}); score again to another --output") from error
    if not isinstance(record, dict):
        raise ConfigError(f"{file}: is not a record of a run; score again to another --output")
    return record


def check_same_run(path: Path, record: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Compares two records, except for what they say about completion.

    Raises:
        ConfigError: if they differ, naming the first difference.
    """
    wanted: Any = json.loads(json.dumps(record))
    for name in sorted((set(wanted) | set(other)) - {"complete"}):
        mine, its = wanted.get(name), other.get(name)
        if isinstance(mine, dict) and isinstance(its, dict):
            inner = next((key for key in sorted(set(mine) | set(its)) if mine.get(key) != its.get(key)), "")
            name, mine, its = (f"{name} {inner}", mine.get(inner), its.get(inner)) if inner else (name, 0, 0)
        if mine != its:
            raise ConfigError(f"{path}: has rows of another run ({name} {its}, now {mine}); give another --output")
