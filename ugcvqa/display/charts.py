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

_TIME_STEPS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
_MOST_TICKS = 6
_LINE_PX = 190
_RATE_PX = 240
_BINS_PX = 150

Scale = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One score along time.

    Attributes:
        name: of the video.
        start_s: (N,) first moment of each entry, ascending.
        stop_s: (N,) end of each entry.
        mos: (N,) score of each entry; NaN where there is none.
        style: number of its colour.
    """

    name: str
    start_s: tuple[float, ...]
    stop_s: tuple[float, ...]
    mos: tuple[float, ...]
    style: int = 0


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
        parts += [_rect(_x(start, scale), _x(stop, scale), 16, 12, f"r{k}") for k, (start, stop) in bands]
    else:
        parts.append(_rect(0, 1, 16, 12, kind))
    if not math.isnan(low + high):
        parts += _whisker(_x(low, scale), _x(high, scale), 8)
    parts.append(f'<circle class="needle" cx="{_per_cent(_x(mos, scale))}" cy="22" r="9"/>')
    for k in range(max(len(words), 2)):
        value = scale[0] + k * (1 if words else scale[1] - scale[0])
        place = _x(value, scale)
        parts.append(_text(place, 56, f"{value:g}", _anchor(place), "strong"))
        if words:
            parts.append(_text(place, 71, words[k], _anchor(place)))
    reach = "" if math.isnan(low + high) else f", interval {low:.2f} to {high:.2f}"
    return _chart(f"score {mos:.2f} on the scale {scale[0]:g} to {scale[1]:g}{reach}", 78, parts)


def small_bar(mos: float, low: float, high: float, scale: Scale, kind: str) -> Markup:
    """A score with its interval as a bar for a table; nothing for NaN."""
    if math.isnan(mos):
        return Markup()
    parts = [_rect(0, 1, 7, 4, "track")]
    if not math.isnan(low + high):
        parts += _whisker(_x(low, scale), _x(high, scale), 9)
    parts.append(f'<circle class="dot {kind}" cx="{_per_cent(_x(mos, scale))}" cy="9" r="5.5"/>')
    return Markup(f'<svg class="chart" height="18" aria-hidden="true">{"".join(parts)}</svg>')


def signed_bar(value: float, largest: float) -> Markup:
    """A bar to the right of the middle for what lifts, to the left for what lowers.

    Args:
        value: what it adds.
        largest: the absolute value that fills half of the width.
    """
    reach = 0.5 * min(1.0, abs(value) / largest) if largest > 0 else 0.0
    left, right = (0.5, 0.5 + reach) if value > 0 else (0.5 - reach, 0.5)
    bar = _rect(left, right, 2, 14, "up" if value > 0 else "down")
    return Markup(f'<svg class="chart" height="18" aria-hidden="true">{_vertical(0.5, 0, 18)}{bar}</svg>')


def time_chart(
    lines: Sequence[Line],
    scale: Scale,
    mean: float = math.nan,
    worst_s: float = math.nan,
    best_s: float = math.nan,
) -> Markup:
    """Scores along time; the pointer shows the values of a second.

    Args:
        lines: one for each video.
        scale: lowest and highest score.
        mean: drawn as a dashed level, such as the score of the whole video; NaN for none.
        worst_s: first moment of an entry that is marked as the worst; NaN for none.
        best_s: as the best.
    """
    end = max((line.stop_s[-1] for line in lines if line.stop_s), default=0.0)
    if end <= 0:
        return Markup()
    parts = [*_levels(scale, _LINE_PX), *_time_ticks(end)]
    if not math.isnan(mean):
        y = _y(mean, scale, _LINE_PX)
        parts.append(f'<line class="mean" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
    parts.append(f'<svg width="100%" height="{_LINE_PX}" viewBox="0 0 1000 {_LINE_PX}" preserveAspectRatio="none">')
    for line in lines:
        parts += _paths(line, scale, end, has_area=len(lines) == 1)
    parts.append("</svg>")
    for kind, start_s in (("worst", worst_s), ("best", best_s)):
        parts += [_mark(line, kind, start_s, scale, end) for line in lines[:1] if start_s in line.start_s]
    parts += _hits(lines, end)
    names = "" if len(lines) == 1 else f" of {len(lines)} videos"
    return Markup(f'<div class="axes">{_chart(f"score along time{names}", _LINE_PX, parts)}</div>')


def rate_chart(points: Sequence[RatePoint], scale: Scale) -> Markup:
    """Scores against bit rate on a logarithmic axis, with intervals; points of one group are joined."""
    rates = [math.log10(point.kbps) for point in points]
    if not rates:
        return Markup()
    span = max(max(rates) - min(rates), 0.3)
    middle = (max(rates) + min(rates)) / 2
    reach = (middle - 0.6 * span, middle + 0.6 * span)
    parts = _levels(scale, _RATE_PX)
    for kbps in rate_ticks(reach):
        x = _x(math.log10(kbps), reach)
        parts += [_vertical(x, 0, _RATE_PX), _text(x, _RATE_PX + 18, f"{kbps:g}")]
    for group in dict.fromkeys(point.group for point in points):
        joined = sorted((point for point in points if point.group == group), key=lambda point: point.kbps)
        for one, other in itertools.pairwise(joined):
            ends = [(_per_cent(_x(math.log10(p.kbps), reach)), _y(p.mos, scale, _RATE_PX)) for p in (one, other)]
            (x1, y1), (x2, y2) = ends
            parts.append(f'<line class="mean" x1="{x1}" y1="{y1:.1f}" x2="{x2}" y2="{y2:.1f}"/>')
    for point in points:
        parts += _rate_point(point, _x(math.log10(point.kbps), reach), scale)
    return Markup(f'<div class="axes">{_chart("score against bit rate", _RATE_PX, parts)}</div>')


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
        left, right = _x(low, scale) + gap, _x(high, scale) - gap
        height = _BINS_PX * count / largest
        bar = _rect(left, right, _BINS_PX - height, height, kind)
        text = _text((left + right) / 2, _BINS_PX - height - 5, str(count), kind="strong count") if count else ""
        parts.append(f"<g><title>{escaped(f'{low:g} to {high:g}: {count}')}</title>{bar}{text}</g>")
    parts += [_text(_x(value, scale), _BINS_PX + 18, f"{value:g}") for value in _whole_scores(scale)]
    return Markup(f'<div class="axes">{_chart("numbers of videos by score", _BINS_PX, parts)}</div>')


def _paths(line: Line, scale: Scale, end: float, has_area: bool) -> Iterator[str]:
    """The pieces of a line between gaps; a piece of one point is a dot."""
    style = f"s{line.style % 6}{' dashed' if line.style >= 6 else ''}"
    for run in _runs(line):
        points = [
            (500 * (line.start_s[k] + line.stop_s[k]) / end, _y(line.mos[k], scale, _LINE_PX))  # 1000 is the end
            for k in run
        ]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + ("h0" if len(points) == 1 else "")
        if has_area:
            (first, _), (last, _) = points[0], points[-1]
            yield f'<path class="area" d="{path}L{last:.1f} {_LINE_PX}L{first:.1f} {_LINE_PX}Z"/>'
        yield f'<path class="line {style}" vector-effect="non-scaling-stroke" d="{path}"/>'


def _runs(line: Line) -> Iterator[list[int]]:
    run: list[int] = []
    for k, value in enumerate(line.mos):
        if not math.isnan(value):
            run.append(k)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _hits(lines: Sequence[Line], end: float) -> Iterator[str]:
    """One invisible column for each entry of the longest line, with its values."""
    longest = max(lines, key=lambda line: len(line.mos))
    for k, (start, stop) in enumerate(zip(longest.start_s, longest.stop_s, strict=True)):
        moment = f"{round(start, 1):g}–{round(stop, 1):g} s"
        values = [(line.name, line.mos[k]) for line in lines if k < len(line.mos)]
        if len(lines) == 1:
            text = f"{moment}: {_shown(values[0][1])}"
            title, tip = escaped(text), _text(_tip_place(start, stop, end), -8, text, _anchor_near(start, stop, end))
        else:
            title, tip = "\n".join(escaped(v) for v in (moment, *(f"{n}  {_shown(m)}" for n, m in values))), ""
        column = _rect(start / end, stop / end, 0, _LINE_PX, "")
        yield f'<g class="hit"><title>{title}</title>{column}{tip}</g>'


def _tip_place(start: float, stop: float, end: float) -> float:
    return (start + stop) / 2 / end


def _anchor_near(start: float, stop: float, end: float) -> str:
    place = _tip_place(start, stop, end)
    return "start" if place < 0.15 else "end" if place > 0.85 else "middle"


def _shown(mos: float) -> str:
    return "no score" if math.isnan(mos) else f"{mos:.2f}"


def _mark(line: Line, kind: str, start_s: float, scale: Scale, end: float) -> str:
    k = line.start_s.index(start_s)
    x, y = _per_cent((line.start_s[k] + line.stop_s[k]) / 2 / end), _y(line.mos[k], scale, _LINE_PX)
    return f'<circle class="{kind}" cx="{x}" cy="{y:.1f}" r="6"/>'


def _rate_point(point: RatePoint, x: float, scale: Scale) -> Iterator[str]:
    y, style = _y(point.mos, scale, _RATE_PX), f"s{point.style % 6}"
    at = _per_cent(x)
    if not math.isnan(point.low + point.high):
        top, bottom = (_y(value, scale, _RATE_PX) for value in (point.high, point.low))
        yield f'<line class="line {style}" x1="{at}" x2="{at}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
    title = f"{point.key}: {point.mos:.2f} at {point.kbps:.0f} kbit/s"
    yield f'<circle class="{style}" cx="{at}" cy="{y:.1f}" r="5.5"><title>{escaped(title)}</title></circle>'
    yield f'<text class="strong" x="{at}" dx="9" y="{y + 4:.1f}">{escaped(point.key)}</text>'


def _levels(scale: Scale, height: float) -> list[str]:
    """Horizontal lines at whole scores, with their numbers."""
    parts = []
    for value in _whole_scores(scale):
        y = _y(value, scale, height)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="0" dx="-8" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    return parts


def _whole_scores(scale: Scale) -> list[float]:
    low, high = scale
    step = 1 if high - low <= 10 else 10.0 ** math.floor(math.log10((high - low) / 3))
    return [low + k * step for k in range(math.floor((high - low) / step + 1e-9) + 1)]


def _time_ticks(end: float) -> Iterator[str]:
    step = next((step for step in _TIME_STEPS_S if end / step <= _MOST_TICKS), end / _MOST_TICKS)
    for k in range(math.floor(end / step + 1e-9) + 1):
        yield _text(k * step / end, _LINE_PX + 18, time_text(k * step))


def time_text(seconds: float) -> str:
    """A moment of a video: `7 s`, `1:05`, `1:00:05`."""
    if seconds < 60:
        return f"{round(seconds, 1):g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def rate_ticks(reach: Scale) -> list[float]:
    """Round numbers for a logarithmic axis between two powers of ten, given by their exponents."""
    decades = range(math.floor(reach[0]), math.ceil(reach[1]) + 1)
    ticks = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
    inside = [tick for tick in ticks if reach[0] <= math.log10(tick) <= reach[1]]
    return inside if len(inside) <= _MOST_TICKS else inside[:: math.ceil(len(inside) / _MOST_TICKS)]


def _chart(label: str, height: float, parts: Sequence[str]) -> Markup:
    inner = "".join(parts)
    return Markup(f'<svg class="chart" role="img" aria-label="{escaped(label)}" height="{height:g}">{inner}</svg>')


def _x(value: float, scale: Scale) -> float:
    """Place of a value on the width, 0..1."""
    return min(1.0, max(0.0, (value - scale[0]) / (scale[1] - scale[0])))


def _y(value: float, scale: Scale, height: float) -> float:
    return height * (1 - _x(value, scale))


def _rect(left: float, right: float, top: float, height: float, kind: str) -> str:
    place = f'x="{_per_cent(left)}" width="{_per_cent(max(0.0, right - left))}" y="{top:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {place}/>' if kind else f"<rect {place}/>"


def _whisker(left: float, right: float, y: float) -> list[str]:
    """A horizontal line with caps."""
    ends = [_per_cent(place) for place in (left, right)]
    caps = [f'<line class="whisker" x1="{x}" x2="{x}" y1="{y - 4:g}" y2="{y + 4:g}"/>' for x in ends]
    return [f'<line class="whisker" x1="{ends[0]}" x2="{ends[1]}" y1="{y:g}" y2="{y:g}"/>', *caps]


def _vertical(x: float, top: float, bottom: float) -> str:
    return f'<line class="grid" x1="{_per_cent(x)}" x2="{_per_cent(x)}" y1="{top:g}" y2="{bottom:g}"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    return f'<text{mark} x="{_per_cent(x)}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'


def _anchor(place: float) -> str:
    return "start" if place <= 0 else "end" if place >= 1 else "middle"


def _per_cent(place: float) -> str:
    return f"{100 * place:.2f}%"
