"""Pages from templates: self-contained files that run only their own script. Jinja's only door."""

import base64
import hashlib
import html
import math
import re
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ugcvqa.cell_texts import printable
from ugcvqa.display.images import Image, data_uri


def escaped(text: str) -> str:
    """A text as it may stand in HTML, between tags and in quoted attributes."""
    return html.escape(printable(text), quote=True)


def render(template: str, **values: Any) -> str:  # noqa: ANN401 (whatever the template shows)
    """Fills a template of this package; every text is escaped unless it is `Markup`.

    Pages that extend `display/page.html.jinja` forbid everything from elsewhere and every script but their own, by
    checksum.
    """
    page = _environment().get_template(template).render(values)
    return re.sub(r">\s*\n\s*<", ">\n<", page) + "\n" if template.endswith(".html.jinja") else page


def number(value: float, digits: int = 2, sign: str = "") -> Markup:
    """A rounded number with its full value for programs; a dash where there is none.

    Args:
        value: the number; NaN is shown as a dash.
        digits: decimals shown.
        sign: `+` to show the sign of positive numbers too.
    """
    if math.isnan(value):
        return Markup('<span class="none">–</span>')
    return Markup(f'<data value="{float(value)!r}">{value:{sign}.{digits}f}</data>')


def picture(image: Image, text: str, is_exact: bool = False, width: int | None = None) -> Markup:
    """A picture inside the page.

    Args:
        image: (H, W, 3) uint8.
        text: what it shows, for readers who cannot see it.
        is_exact: keep every pixel as it is.
        width: width on the page in pixels, by default that of the picture; it shrinks with the page.
    """
    height = image.shape[0] if width is None else round(image.shape[0] * width / image.shape[1])
    size = f'width="{width or image.shape[1]}" height="{height}"'
    source = data_uri(image, is_exact)
    return Markup(f'<img src="{source}" alt="{escaped(text)}" {size} loading="lazy" decoding="async">')


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ugcvqa", ""),
        autoescape=lambda name: name is None or not name.endswith(".md.jinja"),
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"number": number, "picture": picture}
    style, script = (Markup((files("ugcvqa.display") / name).read_text("utf-8")) for name in ("page.css", "page.js"))
    environment.globals |= {"style": style, "script": script, "checksum": _checksum}
    return environment


def _checksum(text: str) -> Markup:
    return Markup(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
