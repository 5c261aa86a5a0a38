"""Charts as SVG inside HTML. Text keeps its size whatever the width of the page, and nothing needs a script.

Places along x are in per cent of the width, places along y in pixels. Colours are classes of the page's style, so that
they follow its light and dark versions. Texts are escaped here.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ugcvqa.display.html import escaped
from ugcvqa.display.svg import (
    MOST_TICKS,
    Scale,
    anchor_of,
    chart,
    levels,
    per_cent,
    rect,
    share_of,
    text_at,
    vertical,
    whole_scores,
    y_of,
)

_RATE_PX = 240
_BINS_PX = 150


@dataclass(frozen=True)
class RatePoint:
    """One version in a plot of score against bit rate.

    Attributes:
        key: short name.
        kbps: bit rate in kilobits per second.
        mos: score.
        low: lower end of its interval, NaN if unknown.
        high: upper end.
        group: points of one group, such as a codec, are joined by a line.
        style: number of its colour.
    """

    key: str
    kbps: float
    mos: float
    low: float
    high: float
    group: str
    style: int


def scale_bar(mos: float, low: float, high: float, scale: Scale, words: Sequence[str], kind: str) -> Markup:
    """A score with its interval on its scale, with the words of the scale below.

    Args:
        mos: the score.
        low: lower end of its interval, NaN if unknown.
        high: upper end.
        scale: lowest and highest score.
        words: of whole scores from the lowest on; empty for scales without words.
        kind: class of the colour of each band, or of the whole bar.
    """
    parts = []
    if words:
        edges = [scale[0], *(scale[0] + k + 0.5 for k in range(len(words) - 1)), scale[1]]
        bands = enumerate(itertools.pairwise(edges), start=1)
        parts += [rect(share_of(start, scale), share_of(stop, scale), 16, 12, f"r{k}") for k, (start, stop) in bands]
    else:
        parts.append(rect(0, 1, 16, 12, kind))
    if not math.isnan(low + high):
        parts += _whisker(share_of(low, scale), share_of(high, scale), 8)
    parts.append(f'<circle class="needle" cx="{per_cent(share_of(mos, scale))}" cy="22" r="9"/>')
    for k in range(max(len(words), 2)):
        value = scale[0] + k * (1 if words else scale[1] - scale[0])
        place = share_of(value, scale)
        parts.append(text_at(place, 56, f"{value:g}", anchor_of(place), "strong"))
        if words:
            parts.append(text_at(place, 71, words[k], anchor_of(place)))
    reach = "" if math.isnan(low + high) else f", interval {low:.2f} to {high:.2f}"
    return chart(f"score {mos:.2f} on the scale {scale[0]:g} to {scale[1]:g}{reach}", 78, parts, has_axes=False)


def small_bar(mos: float, low: float, high: float, scale: Scale, kind: str) -> Markup:
    """A score with its interval as a bar for a table; nothing for NaN."""
    if math.isnan(mos):
        return Markup()
    parts = [rect(0, 1, 7, 4, "track")]
    if not math.isnan(low + high):
        parts += _whisker(share_of(low, scale), share_of(high, scale), 9)
    parts.append(f'<circle class="dot {kind}" cx="{per_cent(share_of(mos, scale))}" cy="9" r="5.5"/>')
    return Markup(f'<svg class="chart" height="18" aria-hidden="true">{"".join(parts)}</svg>')


def signed_bar(value: float, largest: float) -> Markup:
    """A bar to the right of the middle for what lifts, to the left for what lowers.

    Args:
        value: what it adds.
        largest: the absolute value that fills half of the width.
    """
    reach = 0.5 * min(1.0, abs(value) / largest) if largest > 0 else 0.0
    left, right = (0.5, 0.5 + reach) if value > 0 else (0.5 - reach, 0.5)
    bar = rect(left, right, 2, 14, "up" if value > 0 else "down")
    return Markup(f'<svg class="chart" height="18" aria-hidden="true">{vertical(0.5, 0, 18)}{bar}</svg>')


def rate_chart(points: Sequence[RatePoint], scale: Scale) -> Markup:
    """Scores against bit rate on a logarithmic axis, with intervals; points of one group are joined."""
    rates = [math.log10(point.kbps) for point in points]
    if not rates:
        return Markup()
    span = max(max(rates) - min(rates), 0.3)
    middle = (max(rates) + min(rates)) / 2
    reach = (middle - 0.6 * span, middle + 0.6 * span)
    parts = levels(scale, _RATE_PX)
    for kbps in rate_ticks(reach):
        x = share_of(math.log10(kbps), reach)
        parts += [vertical(x, 0, _RATE_PX), text_at(x, _RATE_PX + 18, f"{kbps:g}")]
    for group in dict.fromkeys(point.group for point in points):
        joined = sorted((point for point in points if point.group == group), key=lambda point: point.kbps)
        for one, other in itertools.pairwise(joined):
            ends = [(per_cent(share_of(math.log10(p.kbps), reach)), y_of(p.mos, scale, _RATE_PX)) for p in (one, other)]
            (x1, y1), (x2, y2) = ends
            parts.append(f'<line class="mean" x1="{x1}" y1="{y1:.1f}" x2="{x2}" y2="{y2:.1f}"/>')
    for point in points:
        parts += _rate_point(point, share_of(math.log10(point.kbps), reach), scale)
    return chart("score against bit rate", _RATE_PX, parts)


def histogram(counts: Sequence[int], edges: Sequence[float], kinds: Sequence[str]) -> Markup:
    """Numbers of videos by score.

    Args:
        counts: (N,) videos of each bin.
        edges: (N + 1,) limits of the bins.
        kinds: (N,) class of the colour of each bar.
    """
    scale, largest = (edges[0], edges[-1]), max([*counts, 1])
    parts = [f'<line class="grid" x1="0" x2="100%" y1="{_BINS_PX}" y2="{_BINS_PX}"/>']
    gap = 0.0015
    for count, low, high, kind in zip(counts, edges, edges[1:], kinds, strict=False):
        left, right = share_of(low, scale) + gap, share_of(high, scale) - gap
        height = _BINS_PX * count / largest
        bar = rect(left, right, _BINS_PX - height, height, kind)
        text = text_at((left + right) / 2, _BINS_PX - height - 5, str(count), kind="strong count") if count else ""
        parts.append(f"<g><title>{escaped(f'{low:g} to {high:g}: {count}')}</title>{bar}{text}</g>")
    parts += [text_at(share_of(value, scale), _BINS_PX + 18, f"{value:g}") for value in whole_scores(scale)]
    return chart("numbers of videos by score", _BINS_PX, parts)


def _whisker(left: float, right: float, y: float) -> list[str]:
    """A horizontal line with caps."""
    ends = [per_cent(place) for place in (left, right)]
    caps = [f'<line class="whisker" x1="{x}" x2="{x}" y1="{y - 4:g}" y2="{y + 4:g}"/>' for x in ends]
    return [f'<line class="whisker" x1="{ends[0]}" x2="{ends[1]}" y1="{y:g}" y2="{y:g}"/>', *caps]


def _rate_point(point: RatePoint, x: float, scale: Scale) -> Iterator[str]:
    y, style = y_of(point.mos, scale, _RATE_PX), f"s{point.style % 6}"
    at = per_cent(x)
    if not math.isnan(point.low + point.high):
        top, bottom = (y_of(value, scale, _RATE_PX) for value in (point.high, point.low))
        yield f'<line class="line {style}" x1="{at}" x2="{at}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
    title = f"{point.key}: {point.mos:.2f} at {point.kbps:.0f} kbit/s"
    yield f'<circle class="{style}" cx="{at}" cy="{y:.1f}" r="5.5"><title>{escaped(title)}</title></circle>'
    yield f'<text class="strong" x="{at}" dx="9" y="{y + 4:.1f}">{escaped(point.key)}</text>'


def rate_ticks(reach: Scale) -> list[float]:
    """Round numbers for a logarithmic axis between two powers of ten, given by their exponents."""
    decades = range(math.floor(reach[0]), math.ceil(reach[1]) + 1)
    ticks = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
    inside = [tick for tick in ticks if reach[0] <= math.log10(tick) <= reach[1]]
    return inside if len(inside) <= MOST_TICKS else inside[:: math.ceil(len(inside) / MOST_TICKS)]
