"""Text tables as spreadsheets save them: encodings, separators and number formats, read with line numbers."""

import codecs
import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ugcvqa.errors import LabelError

Row = tuple[int, list[str]]
"""Line number and stripped cells."""

_SEPARATORS = ",;\t"
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATOR_LINE = re.compile(r"\ufeff?\"?sep=(.)\"?\s*", re.IGNORECASE)  # what Excel writes and hides
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_LONGEST_LINE = 1 << 20


def read_cells(path: Path) -> list[Row]:
    """Reads a text table separated by commas, semicolons or tabs, whichever splits its first row most often.

    Args:
        path: UTF-8 text with or without byte order mark, or UTF-16 as Windows programs write it; any line ends. A line
            `sep=;` before the table names the separator, as Excel has it.

    Returns:
        (line number, stripped cells) of each row that is not blank; all rows have as many cells as the first. Empty
        cells behind the last of the first row are dropped, and so are rows that repeat a header.

    Raises:
        LabelError: if the file is missing, empty, not text of that kind, or if a row has another length.
    """
    text = _read_text(path)
    separator, n_skipped = separator_of(path, io.StringIO(text, newline=None))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[Row] = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if reader.line_num <= n_skipped or not any(stripped):
                continue
            first = rows[0][1] if rows else stripped
            if not rows or stripped != first or not is_header(first):
                rows.append((reader.line_num, _fitted(path, reader.line_num, stripped, first, separator)))
    except csv.Error as error:
        raise LabelError(f"{path}, line {reader.line_num}: cannot be read as CSV ({error})") from error
    if not rows:
        raise LabelError(f"{path}: the file is empty")
    return rows


def _fitted(path: Path, line: int, cells: list[str], first: Sequence[str], separator: str) -> list[str]:
    """The cells of a row, as many as the first row has."""
    if len(cells) > len(first) and not any(cells[len(first) :]):
        return cells[: len(first)]
    if len(cells) == len(first):
        return cells
    cure = ""
    if separator == "," and len(cells) > len(first) and cells[-1].isdigit():
        cure = "; if numbers have decimal commas here, separate the cells by semicolons or write decimal points"
    raise LabelError(f"{path}, line {line}: {len(cells)} cells, but the first row has {len(first)}{cure}")


def separator_of(path: Path, lines: Iterable[str]) -> tuple[str, int]:
    """Finds the separator of a text table.

    Returns:
        The comma, semicolon or tab that splits the first row most often, and 0; or what a line `sep=;` names, and
        the number of lines that end with it.

    Raises:
        LabelError: if the first row cannot be read.
    """
    for number, line in enumerate(lines, start=1):
        if named := _SEPARATOR_LINE.fullmatch(line):
            return named[1], number
        if line.strip():
            try:
                first = line[:_LONGEST_LINE].rstrip("\r\n")
                return max(_SEPARATORS, key=lambda one: len(next(csv.reader([first], delimiter=one), []))), 0
            except csv.Error as error:
                raise LabelError(f"{path}, line {number}: cannot be read as CSV ({error})") from error
    return ",", 0


def is_header(cells: Sequence[str]) -> bool:
    """Whether a row holds names of columns: no cell is a number."""
    return all(number(cell) is None for cell in cells)


def number(cell: str) -> float | None:
    """Reads a number with a decimal point or comma, NaN and infinity too; None if it is not a number."""
    text = cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def finite_number(path: Path, line: int, name: str, cell: str) -> float:
    """Reads a finite number of a column.

    Raises:
        LabelError: if it is not a finite number; the message says what to do.
    """
    value = number(cell)
    if value is not None and math.isfinite(value):
        return value
    cure = "write a number, or take the row out"
    if cell.endswith("%"):
        cure = "write the column as plain numbers, without percent signs"
    raise LabelError(f"{path}, line {line}: {name} {cell!r} is not a finite number; {cure}")


def plain_name(cell: str) -> str:
    """A column name in lower case without spaces and punctuation."""
    return re.sub(r"[^a-z0-9]", "", cell.lower())


def encoding_of(start: bytes) -> str:
    """Encoding of a text by its first bytes: by its byte order mark, by the zeros of UTF-16, else UTF-8."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return encoding
    sample = start[:200]
    for zeros, encoding in ((sample[1::2], "utf-16-le"), (sample[::2], "utf-16-be")):
        if len(sample) > 3 and zeros.count(0) > 0.9 * len(zeros) and sample.count(0) < 0.6 * len(sample):
            return encoding
    return "utf-8"


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabelError(f"{path}: cannot be read ({error.strerror})") from error
    if data.startswith(b"PK\x03\x04"):
        raise LabelError(f"{path}: is an Excel workbook; save the sheet that holds the MOS as CSV")
    encoding = encoding_of(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise LabelError(f"{path}: is damaged {encoding.upper()} text; save the file as UTF-8 CSV") from error
        line = data.count(b"\n", 0, error.start) + 1
        raise LabelError(f"{path}, line {line}: is not UTF-8 text; save the file as UTF-8 CSV") from error
