"""One table, three forms: Markdown for reading, LaTeX for papers, CSV with full precision for programs."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ugcvqa.cell_texts import csv_text, one_line

Value = str | int | float
Mark = Literal["", "best", "second"]

NOTHING = "–"
"""Text of a cell without a number."""

_AT_MOST_A_LINE = r"\ifdim\width>\linewidth\linewidth\else\width\fi"
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
}


class Cell(NamedTuple):
    """Text of a cell, and whether it is the best or second best of its column."""

    text: str
    mark: Mark = ""


@dataclass(frozen=True)
class Section:
    """Lines of a table under a common title, which may be empty."""

    title: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Table:
    """A table to be read, with the numbers behind it.

    Attributes:
        caption: what it shows.
        columns: titles of the columns.
        sections: the lines, as many cells each as there are columns.
        notes: footnotes.
        records: the same content in full precision: one mapping of column to value for each line of the CSV file;
            all have the keys of the first, in its order.
    """

    caption: str
    columns: tuple[str, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    records: tuple[Mapping[str, Value], ...]

    def markdown(self) -> str:
        """Markdown, best in bold and second best in italics."""
        lines = [f"**{_markdown(self.caption)}**"]
        for section in self.sections:
            if section.title:
                lines += ["", f"### {_markdown(section.title)}"]
            lines += ["", _line(_markdown(title) for title in self.columns)]
            lines.append(_line(["---", *["---:"] * (len(self.columns) - 1)]))
            lines += [_line(_markdown_cell(cell) for cell in row) for row in section.rows]
        if self.notes:
            lines += ["", *(f"- {_markdown(note)}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def latex(self, label: str = "") -> str:
        r"""LaTeX for the packages booktabs and graphicx, best in bold and second best underlined.

        Args:
            label: makes a float for a paper that `\ref{label}` refers to, no wider than a line; the footnotes become
                comments above it.
        """
        width = len(self.columns)
        marks = {cell.mark for section in self.sections for row in section.rows for cell in row}
        explained = ". Best in bold, second best underlined." if label and "second" in marks else ""
        size = _AT_MOST_A_LINE if label else r"\linewidth"
        lines = [
            *(f"% {one_line(note)}" for note in self.notes if label),
            r"% needs \usepackage{booktabs} and \usepackage{graphicx}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(self.caption + explained)}}}",
            *([rf"\label{{{label}}}"] if label else ()),
            rf"\resizebox{{{size}}}{{!}}{{%",
            rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
            r"\toprule",
            _latex_line(_latex(title) for title in self.columns),
        ]
        for section in self.sections:
            lines.append(r"\midrule")
            if section.title:
                lines += [rf"\multicolumn{{{width}}}{{l}}{{\textbf{{{_latex(section.title)}}}}} \\", r"\midrule"]
            lines += [_latex_line(_latex_cell(cell) for cell in row) for row in section.rows]
        lines += [r"\bottomrule", r"\end{tabular}}"]
        lines += [rf"\par\footnotesize {_latex(note)}" for note in self.notes if not label]
        return "\n".join([*lines, r"\end{table}"]) + "\n"

    def csv(self) -> str:
        """CSV of the records; numbers in full precision, NaN as an empty cell."""
        columns = list(self.records[0]) if self.records else []
        header = [columns] if columns else []
        return csv_text([*header, *([record[column] for column in columns] for record in self.records)])


def number_text(value: float) -> str:
    """Four digits behind the point; a dash for NaN."""
    return NOTHING if math.isnan(value) else f"{value:.4f}"


def signed_text(value: float) -> str:
    """The same with its sign."""
    return NOTHING if math.isnan(value) else f"{value:+.4f}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    """Escapes what Markdown would take for markup."""
    text = one_line(text)
    return re.sub(r"([\\`*|\[\]]|<(?=[a-zA-Z/!?])|(?<!\w)_|_(?!\w))", r"\\\1", text)


def _markdown_cell(cell: Cell) -> str:
    around = {"": "", "best": "**", "second": "*"}[cell.mark]
    return f"{around}{_markdown(cell.text)}{around}"


def _latex_line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _latex(text: str) -> str:
    """Escapes what LaTeX would take for a command; a minus sign is set as one."""
    escaped = "".join(_LATEX.get(char, char) for char in one_line(text))
    return re.sub(r"(?<![\w-])-(?=[\d.])", "$-$", escaped)


def _latex_cell(cell: Cell) -> str:
    text = _latex(cell.text)
    return {"": text, "best": f"\\textbf{{{text}}}", "second": f"\\underline{{{text}}}"}[cell.mark]
