"""Scores along time as SVG: one line for each video, and the pointer shows the values of a second."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ugcvqa.display.html import escaped
from ugcvqa.display.svg import MOST_TICKS, Scale, chart, levels, per_cent, rect, text_at, y_of

_TIME_STEPS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
_LINE_PX = 190


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
    parts = [*levels(scale, _LINE_PX), *_time_ticks(end)]
    if not math.isnan(mean):
        y = y_of(mean, scale, _LINE_PX)
        parts.append(f'<line class="mean" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
    parts.append(f'<svg width="100%" height="{_LINE_PX}" viewBox="0 0 1000 {_LINE_PX}" preserveAspectRatio="none">')
    for line in lines:
        parts += _paths(line, scale, end, has_area=len(lines) == 1)
    parts.append("</svg>")
    for kind, start_s in (("worst", worst_s), ("best", best_s)):
        parts += [_mark(line, kind, start_s, scale, end) for line in lines[:1] if start_s in line.start_s]
    parts += _hits(lines, end)
    names = "" if len(lines) == 1 else f" of {len(lines)} videos"
    return chart(f"score along time{names}", _LINE_PX, parts)


def _paths(line: Line, scale: Scale, end: float, has_area: bool) -> Iterator[str]:
    """The pieces of a line between gaps; a piece of one point is a dot."""
    style = f"s{line.style % 6}{' dashed' if line.style >= 6 else ''}"
    for run in _runs(line):
        points = [
            (500 * (line.start_s[k] + line.stop_s[k]) / end, y_of(line.mos[k], scale, _LINE_PX))  # 1000 is the end
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
            place = (start + stop) / 2 / end
            anchor = "start" if place < 0.15 else "end" if place > 0.85 else "middle"
            title, tip = escaped(text), text_at(place, -8, text, anchor)
        else:
            title, tip = "\n".join(escaped(v) for v in (moment, *(f"{n}  {_shown(m)}" for n, m in values))), ""
        column = rect(start / end, stop / end, 0, _LINE_PX, "")
        yield f'<g class="hit"><title>{title}</title>{column}{tip}</g>'


def _shown(mos: float) -> str:
    return "no score" if math.isnan(mos) else f"{mos:.2f}"


def _mark(line: Line, kind: str, start_s: float, scale: Scale, end: float) -> str:
    k = line.start_s.index(start_s)
    x, y = per_cent((line.start_s[k] + line.stop_s[k]) / 2 / end), y_of(line.mos[k], scale, _LINE_PX)
    return f'<circle class="{kind}" cx="{x}" cy="{y:.1f}" r="6"/>'


def _time_ticks(end: float) -> Iterator[str]:
    step = next((step for step in _TIME_STEPS_S if end / step <= MOST_TICKS), end / MOST_TICKS)
    for k in range(math.floor(end / step + 1e-9) + 1):
        yield text_at(k * step / end, _LINE_PX + 18, time_text(k * step))


def time_text(seconds: float) -> str:
    """A moment of a video: `7 s`, `1:05`, `1:00:05`."""
    if seconds < 60:
        return f"{round(seconds, 1):g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
