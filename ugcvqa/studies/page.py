"""A page of text, tables and figures as Markdown and as one self-contained HTML file."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from markupsafe import Markup

from ugcvqa import __version__
from ugcvqa.display.html import render
from ugcvqa.display.text_tables import Table

_LARGEST_VIDEO_BYTES = 8 << 20  # larger ones are linked: a page that embeds them would not open
_TYPES = {".png": "image/png", ".mp4": "video/mp4"}


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
    """A part of the page: tables, and pictures below them."""

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
        """The page as HTML with its pictures inside; videos beyond some megabytes are links."""
        source = partial(_source, folder=folder)
        return render("studies/conclusions.html.jinja", page=self, source=source, version=__version__)


def _source(exhibit: Exhibit, folder: Path) -> Markup:
    """A picture or short video as a `data:` address; empty for videos beyond some megabytes."""
    data = (folder / exhibit.file).read_bytes()
    is_video = not exhibit.file.endswith(".png")
    if is_video and len(data) > _LARGEST_VIDEO_BYTES:
        return Markup()
    return Markup(f"data:{_TYPES[Path(exhibit.file).suffix]};base64,{base64.b64encode(data).decode()}")


def _escaped(text: str) -> str:
    """Escapes what Markdown would take for markup."""
    return re.sub(r"([\\`*|\[\]<>]|(?<!\w)_|_(?!\w))", r"\\\1", text)
