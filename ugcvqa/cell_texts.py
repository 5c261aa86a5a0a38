r"""Names and reasons as cells of CSV files that people open in spreadsheets and terminals; one rule for all of them.

A control or direction character is written as `\x1b` or `\u202e`, and a text that a spreadsheet would take for a
formula (it begins with = + - @ or their wide forms, and is not a number) gets an apostrophe before it. `text_of` undoes
both, so that rows still join by name.
"""

import csv
import io
import re
from collections.abc import Iterable

_ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4})")
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_FORMULA = re.compile(r"'*[=+\-@＝＋－＠]")


def cell_of(text: str) -> str:
    """Writes a text as a cell that no spreadsheet computes and no terminal obeys."""
    literal = _ESCAPED.sub(r"\\x5c\1", text)  # what looks escaped already stays what it is
    plain = _STEERING.sub(lambda found: _escape(found[0]), literal)
    return f"'{plain}" if _FORMULA.match(plain) and not _is_number(plain) else plain


def printable(text: str) -> str:
    """A text on one line that shows what it holds: control and direction characters and stray bytes are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def one_line(text: str) -> str:
    """A text for a table that people read, with control and direction characters made visible."""
    return _STEERING.sub(lambda found: _escape(found[0]), text)


def text_of(cell: str) -> str:
    """The text that `cell_of` made a cell of."""
    plain = cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
    return _ESCAPED.sub(_unescape, plain)


def cells_of_row(values: Iterable[object]) -> list[object]:
    """The cells of a row, with its texts escaped by `cell_of`."""
    return [cell_of(value) if isinstance(value, str) else value for value in values]


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows, header first, as CSV with line feeds: texts escaped by `cell_of`, true and false as 1 and 0, NaN empty."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(cells_of_row(map(_number_cell, row)) for row in rows)
    return text.getvalue()


def _escape(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"


def _unescape(found: re.Match[str]) -> str:
    """The character that `cell_of` escaped; anything else is the name of a folder after a backslash."""
    char = chr(int(found[1][1:], 16))
    return char if char == "\\" or _STEERING.match(char) else found[0]


def _number_cell(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    return "" if value != value else value  # NaN


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
