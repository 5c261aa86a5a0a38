"""Pieces of HTML, and a page that needs no other file and runs nothing but its own script."""

import base64
import hashlib
import html
import math
from collections.abc import Iterable, Sequence
from importlib.resources import files

from ugcvqa.display.images import Image, data_uri


def printable(text: str) -> str:
    """A text on one line that shows what it holds: control and direction characters and stray bytes are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def escaped(text: str) -> str:
    """A text as it may stand in HTML, between tags and in quoted attributes."""
    return html.escape(printable(text), quote=True)


def number(value: float, digits: int = 2) -> str:
    """A rounded number with its full value for programs; a dash where there is none.

    Args:
        value: the number; NaN is shown as a dash.
        digits: decimals shown.
    """
    if math.isnan(value):
        return '<span class="none">–</span>'
    return f'<data value="{float(value)!r}">{value:.{digits}f}</data>'


def picture(image: Image, text: str, is_exact: bool = False, width: int | None = None) -> str:
    """A picture inside the page.

    Args:
        image: (H, W, 3) uint8.
        text: what it shows, for those who cannot see it.
        is_exact: keep every pixel as it is.
        width: columns on the page, in pixels, those of the picture by default; it shrinks with the page.
    """
    height = image.shape[0] if width is None else round(image.shape[0] * width / image.shape[1])
    size = f'width="{width or image.shape[1]}" height="{height}"'
    return f'<img src="{data_uri(image, is_exact)}" alt="{escaped(text)}" {size} loading="lazy" decoding="async">'


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str,
    kind: str = "",
    numeric: frozenset[int] = frozenset(),
) -> str:
    """A table that scrolls sideways where the page is too narrow for it.

    Args:
        columns: headings, plain text.
        rows: cells, already HTML; the first of each row is its heading.
        caption: what the table shows, plain text.
        kind: further classes, such as `sortable`.
        numeric: places of the columns that are numbers, which stand at the right.
    """
    marks = ['class="number"' if place in numeric else "" for place in range(len(columns))]
    heads = "".join(f'<th scope="col" {mark}>{escaped(name)}</th>' for name, mark in zip(columns, marks, strict=True))
    lines = []
    for first, *rest in rows:
        cells = "".join(f"<td {mark}>{cell}</td>" for cell, mark in zip(rest, marks[1:], strict=True))
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    body = "\n".join(lines)
    return (
        f'<p class="note">{escaped(caption)}</p><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{escaped(caption)}">\n<table class="{kind}">\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of names (plain text) and values (already HTML)."""
    items = "".join(f"<div><dt>{escaped(name)}</dt><dd>{value}</dd></div>" for name, value in pairs)
    return f'<dl class="facts">{items}</dl>'


def page(title: str, body: Iterable[str]) -> str:
    """A whole page with its style and script inside.

    Its policy forbids everything from elsewhere and every script but this one, by checksum.

    Args:
        title: plain text.
        body: parts of the page, already HTML.
    """
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_checksum(style)}; script-src {_checksum(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escaped(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>",
            *body,
            f"</main>\n<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


def _asset(name: str) -> str:
    return (files("ugcvqa.display") / name).read_text(encoding="utf-8")


def _checksum(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
