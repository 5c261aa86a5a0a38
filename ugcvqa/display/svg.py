"""Parts of charts as SVG: places along x are shares of the width, places along y are pixels; texts are escaped here."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from ugcvqa.display.html import escaped

Scale = tuple[float, float]
"""Lowest and highest value."""

MOST_TICKS = 6
"""Numbers along an axis, at most."""


def levels(scale: Scale, height: float) -> list[str]:
    """Horizontal lines at whole scores, with their numbers."""
    parts = []
    for value in whole_scores(scale):
        y = y_of(value, scale, height)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="0" dx="-8" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    return parts


def whole_scores(scale: Scale) -> list[float]:
    """Round numbers on a scale, from its lowest on."""
    low, high = scale
    step = 1 if high - low <= 10 else 10.0 ** math.floor(math.log10((high - low) / 3))
    return [low + k * step for k in range(math.floor((high - low) / step + 1e-9) + 1)]


def chart(label: str, height: float, parts: Sequence[str], has_axes: bool = True) -> Markup:
    """A chart of its parts; with axes, there is room around it for their numbers."""
    svg = f'<svg class="chart" role="img" aria-label="{escaped(label)}" height="{height:g}">{"".join(parts)}</svg>'
    return Markup(f'<div class="axes">{svg}</div>' if has_axes else svg)


def share_of(value: float, scale: Scale) -> float:
    """Place of a value between the ends of a scale, 0..1."""
    return min(1.0, max(0.0, (value - scale[0]) / (scale[1] - scale[0])))


def y_of(value: float, scale: Scale, height: float) -> float:
    """Place of a value from the top of a chart of some height, pixels."""
    return height * (1 - share_of(value, scale))


def rect(left: float, right: float, top: float, height: float, kind: str) -> str:
    """A rectangle of a class."""
    place = f'x="{per_cent(left)}" width="{per_cent(max(0.0, right - left))}" y="{top:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {place}/>' if kind else f"<rect {place}/>"


def vertical(x: float, top: float, bottom: float) -> str:
    """A line from top to bottom."""
    return f'<line class="grid" x1="{per_cent(x)}" x2="{per_cent(x)}" y1="{top:g}" y2="{bottom:g}"/>'


def text_at(x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> str:
    """A text at a place."""
    mark = f' class="{kind}"' if kind else ""
    return f'<text{mark} x="{per_cent(x)}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'


def anchor_of(place: float) -> str:
    """Which end of a text is at a place, so that the text stays within the chart."""
    return "start" if place <= 0 else "end" if place >= 1 else "middle"


def per_cent(place: float) -> str:
    """A share of the width as an attribute."""
    return f"{100 * place:.2f}%"
