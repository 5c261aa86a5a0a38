"""Scores as rows of a file, as CSV or as JSON, written and read back."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, cast

from ugcvqa.cell_texts import cells_of_row, text_of
from ugcvqa.errors import StoreError
from ugcvqa.files import error_reason
from ugcvqa.scoring.result import Score
from ugcvqa.scoring.scorers import Scorer

NUMBERS = ("mos", "pred", "std", "low", "high")
"""Columns with a number of every model; the model's own parts follow."""

FACTS = ("duration_s", "width", "height", "file_bytes")
"""Columns with numbers of the video, in seconds, pixels and bytes."""

TEXTS = ("model", "model_sha256", "warnings", "error_code", "error")
"""Columns with texts; `error` is the last of all."""

_T = TypeVar("_T")
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}  # a name's bytes come out as they are on disk


def column_names(part_names: Sequence[str]) -> list[str]:
    """Names of all columns of a table of scores."""
    return ["video", *NUMBERS, *part_names, *FACTS, *TEXTS]


def cells_of(score: Score, part_names: Sequence[str], meaning: Mapping[str, Any]) -> list[str | float]:
    """The cells of one row, in the order of `column_names`; empty where a value is unknown."""
    numbers = (*(getattr(score, name) for name in NUMBERS), *(score.parts.get(name, math.nan) for name in part_names))
    known = ["" if math.isnan(number) else float(number) for number in numbers]
    facts = ["" if value is None or value != value else value for value in (getattr(score, name) for name in FACTS)]
    texts = (meaning["model"], meaning["model_sha256"], "; ".join(score.warnings), score.error_code, score.reason)
    return [score.path, *known, *facts, *texts]


def about(scorer: Scorer) -> dict[str, Any]:
    """Meaning of the scores of a scorer: label and scale, and name, SHA-256 and training data of the model."""
    return {
        "label": scorer.label,
        "scale": list(scorer.scale),
        "model": scorer.name,
        "model_sha256": scorer.fingerprint,
        "trained_on": scorer.trained_on,
        **scorer.facts,
    }


@dataclass(frozen=True)
class Row:
    """A row that an output holds.

    Attributes:
        video: the file as it was given.
        reason: why it has no score; empty if it has one.
        data: its bytes with the line end.
    """

    video: str
    reason: str
    data: bytes

    @property
    def is_failed(self) -> bool:
        """Whether it has a reason in place of a score."""
        return bool(self.reason)


class RowFormat(Protocol):
    """How scores are written as bytes, one row each, and read back."""

    def header(self) -> bytes:
        """The bytes before the first row."""

    def encode(self, score: Score) -> bytes:
        """A row with its line end."""

    def is_whole(self, data: bytes) -> bool:
        """Whether bytes from the start of a row up to some line end are a complete row."""

    def decode(self, data: bytes) -> Row:
        """Reads a complete row; raises ValueError, LookupError or csv.Error if it cannot be read."""


class CSVRows:
    """Rows of a CSV file with a header; to write them, the meaning of scores is needed, see `about`."""

    def __init__(self, part_names: Sequence[str], meaning: Mapping[str, Any] = {}) -> None:
        self._part_names, self._meaning = part_names, meaning
        self._columns = column_names(part_names)

    def header(self) -> bytes:
        """The names of the columns."""
        return _csv_line(self._columns)

    def encode(self, score: Score) -> bytes:
        """A row with its line end."""
        return _csv_line(cells_of_row(cells_of(score, self._part_names, self._meaning)))

    def is_whole(self, data: bytes) -> bool:
        """Whether no quote is open at the end: quoted names and reasons may hold line ends."""
        return data.endswith(b"\n") and data.count(b'"') % 2 == 0

    def decode(self, data: bytes) -> Row:
        """Reads a complete row."""
        (cells,) = csv.reader(io.StringIO(data.decode(**_ENCODING), newline=""), strict=True)
        if len(cells) != len(self._columns):
            raise ValueError(f"{len(cells)} cells in place of {len(self._columns)}")
        return Row(text_of(cells[0]), text_of(cells[-1]), data)


class JSONRows:
    """One JSON object per line; to write them, the meaning of scores is needed, see `about`."""

    def __init__(self, meaning: Mapping[str, Any] = {}) -> None:
        self._meaning = meaning

    def header(self) -> bytes:
        """Nothing."""
        return b""

    def encode(self, score: Score) -> bytes:
        """A row with its line end; bytes of a name that are not text become lone surrogates, as Python has them."""
        return json.dumps({**score.as_dict(), **self._meaning}, allow_nan=False).encode() + b"\n"

    def is_whole(self, data: bytes) -> bool:
        """Whether the line is complete."""
        return data.endswith(b"\n")

    def decode(self, data: bytes) -> Row:
        """Reads a complete row."""
        record = json.loads(data)
        return Row(str(record["video"]), str(record["error"] or ""), data)


def _csv_line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # both characters, so that a name with either is quoted
    return text.getvalue().removesuffix("\r\n").encode(**_ENCODING) + b"\n"


def read_rows(file: BinaryIO, rows: RowFormat, path: Path) -> Iterator[Row]:
    """Yields the complete rows of an output after its header; a torn last row, left by a killed job, is skipped.

    Raises:
        StoreError: if it holds something else.
    """
    number, pending, header = 0, b"", rows.header()
    for line in file:
        number, pending = number + 1, pending + line
        if not rows.is_whole(pending):
            continue
        data, pending = pending, b""
        if header and data == header:
            header = b""
            continue
        try:
            if header:
                raise ValueError("the header is not the one of this model")
            row = rows.decode(data)
        except (ValueError, LookupError, TypeError, csv.Error) as error:
            raise StoreError(
                f"{path}, line {number}: is not a row of this run ({error_reason(error)}); delete the file or give "
                "another --output"
            ) from error
        yield row


def in_turn(shards: Sequence[Iterator[_T]]) -> Iterator[_T]:
    """The first of each, the second of each, and so on: reverses the division into shards."""
    missing = object()
    for group in zip_longest(*shards, fillvalue=missing):
        yield from (cast(_T, one) for one in group if one is not missing)
