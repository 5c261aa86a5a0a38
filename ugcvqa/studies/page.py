"""A page of text, tables and figures as Markdown and as one HTML file that needs no other."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ugcvqa.display.text_tables import Table

_LARGEST_VIDEO_BYTES = 8 << 20  # larger ones are linked: a page that embeds them would not open
_TYPES = {".png": "image/png", ".mp4": "video/mp4"}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h3 { font-size: 1.05rem; margin-bottom: .3rem; } li { margin: .3rem 0; }
h2 { font-size: 1.2rem; margin-top: 2rem; border-bottom: 1px solid #ddd; }
.warning { background: #b00020; color: #fff; padding: .6rem 1rem; font-weight: 600; }
figure { margin: 1.2rem 0; } figcaption, .notes { font-size: .85rem; color: #444; }
img, video { max-width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; margin: .8rem 0; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
"""


@dataclass(frozen=True)
class Exhibit:
    """A picture or video with its caption.

    Attributes:
        file: path below the page's folder, .png or .mp4.
        caption: what it shows.
    """

    file: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading.
        tables: numbers.
        exhibits: pictures, below the tables.
    """

    title: str
    tables: tuple[Table, ...]
    exhibits: tuple[Exhibit, ...]


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: its heading.
        warnings: what must be read before anything else.
        conclusions: question -> its answers, one paragraph each.
        sections: what they rest on.
        notes: how it was made.
    """

    title: str
    warnings: tuple[str, ...]
    conclusions: Mapping[str, Sequence[str]]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """The page as Markdown, with links to its pictures."""
        lines = [f"# {_escaped(self.title)}", ""]
        lines += [line for warning in self.warnings for line in (f"> **{_escaped(warning)}**", "")]
        for question, answers in self.conclusions.items():
            lines += [f"**{_escaped(question)}**", "", *(f"- {_escaped(answer)}" for answer in answers), ""]
        for section in self.sections:
            lines += [f"## {_escaped(section.title)}", ""]
            lines += [line for table in section.tables for line in (table.markdown(), "")]
            for exhibit in section.exhibits:
                name = _escaped(Path(exhibit.file).name)
                mark = "!" if exhibit.file.endswith(".png") else ""
                lines += [f"{mark}[{name}](<{exhibit.file}>)", "", f"*{_escaped(exhibit.caption)}*", ""]
        return "\n".join([*lines, "## How it was made", "", *(f"- {_escaped(note)}" for note in self.notes)]) + "\n"

    def html(self, folder: Path) -> str:
        """The page as HTML with its pictures inside; videos beyond some megabytes are links.

        Args:
            folder: folder below which the pictures lie.
        """
        title = html.escape(self.title)
        parts = [
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>",
            *(f'<p class="warning">{html.escape(warning)}</p>' for warning in self.warnings),
            *(_answers_html(question, answers) for question, answers in self.conclusions.items()),
            *(part for section in self.sections for part in _section_html(section, folder)),
            '<h2>How it was made</h2>\n<ul class="notes">',
            *(f"<li>{html.escape(note)}</li>" for note in self.notes),
            "</ul>\n</body>\n</html>",
        ]
        return "\n".join(parts) + "\n"


def _answers_html(question: str, answers: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(answer)}</li>\n" for answer in answers)
    return f"<h3>{html.escape(question)}</h3>\n<ul>\n{items}</ul>"


def _section_html(section: Section, folder: Path) -> list[str]:
    return [
        f"<h2>{html.escape(section.title)}</h2>",
        *(_table_html(table) for table in section.tables),
        *(_exhibit_html(exhibit, folder) for exhibit in section.exhibits),
    ]


def _table_html(table: Table) -> str:
    heads = "".join(f"<th>{html.escape(title)}</th>" for title in table.columns)
    rows = [
        "<tr>" + "".join(f"<td>{html.escape(cell.text)}</td>" for cell in row) + "</tr>"
        for part in table.sections
        for row in part.rows
    ]
    notes = "".join(f'<p class="notes">{html.escape(note)}</p>' for note in table.notes)
    body = "\n".join(rows)
    caption = html.escape(table.caption)
    inner = f"<table><caption>{caption}</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    return f'<div class="scroll">{inner}</div>{notes}'


def _exhibit_html(exhibit: Exhibit, folder: Path) -> str:
    path = folder / exhibit.file
    data, caption = path.read_bytes(), html.escape(exhibit.caption)
    name = html.escape(exhibit.file)
    source = f"data:{_TYPES[path.suffix]};base64,{base64.b64encode(data).decode()}"
    if path.suffix == ".png":
        inner = f'<img src="{source}" alt="{caption}">'
    elif len(data) <= _LARGEST_VIDEO_BYTES:
        inner = f'<video controls muted src="{source}"></video>'
    else:
        inner = f'<a href="{name}">{name}</a>'
    return f"<figure>{inner}<figcaption>{caption} <code>{name}</code></figcaption></figure>"


def _escaped(text: str) -> str:
    """Escapes what Markdown would take for markup."""
    return re.sub(r"([\\`*|\[\]<>]|(?<!\w)_|_(?!\w))", r"\\\1", text)
