"""Parts of a report's page about one video: score, warnings, timeline, frames, contributions, facts of the file."""

import math
from collections.abc import Iterator, Sequence
from pathlib import PurePath

import numpy as np

from ugcvqa.display.charts import Line, scale_bar, signed_bar, small_bar, time_chart, time_text
from ugcvqa.display.html import escaped, facts, number, picture, table
from ugcvqa.display.images import Image, enlarged_map
from ugcvqa.display.maps import overlay
from ugcvqa.media.video import VideoInfo
from ugcvqa.reports.contents import Entry, Report
from ugcvqa.reports.thumbnails import Shot
from ugcvqa.scoring.explanation import Timeline

_MOST_ENTRIES = 600
_TALL = 0.8  # width over height below which frames stand in narrower columns


def base_name(path: str) -> str:
    """The file's own name, without folders."""
    return PurePath(path).name or path


def common_folder(entries: Sequence[Entry]) -> str:
    """The folder that holds all videos, empty if they have none in common."""
    folders = {str(PurePath(entry.score.path).parent) for entry in entries}
    return folders.pop() if len(folders) == 1 else ""


def name_html(path: str, common: str) -> str:
    """A file's name, with its folder in small letters below unless all share it."""
    name, folder = base_name(path), str(PurePath(path).parent)
    below = f'<span class="path">{escaped(folder)}</span>' if folder not in (".", common) else ""
    return f"{escaped(name)}{below}"


def word_html(report: Report, mos: float) -> str:
    """The word for a score with its colour; nothing for scales without words."""
    grade = report.grade(mos)
    return f'<span class="dot r{grade}"></span>{escaped(report.words[grade - 1])}' if grade else ""


def interval_text(entry: Entry) -> str:
    """The interval of a score; a dash where it is unknown."""
    score = entry.score
    return f"{number(score.low)} – {number(score.high)}" if not math.isnan(score.low + score.high) else number(math.nan)


def bar(report: Report, entry: Entry) -> str:
    """The score of a video as a bar for a table."""
    score = entry.score
    return small_bar(score.mos, score.low, score.high, report.about.scale, f"r{report.grade(score.mos)}")


def hero(report: Report, entry: Entry) -> str:
    """The score of one video in large letters, on its scale."""
    score, (low, high) = entry.score, report.about.scale
    if score.reason:
        return f'<section><h2>No score</h2><p class="failed">{escaped(score.reason)}</p></section>'
    word = word_html(report, score.mos)
    lines = [f'<p class="score">{number(score.mos)}</p>']
    lines += [f'<p class="word">{word}</p>'] if word else []
    if not math.isnan(score.low + score.high):
        lines.append(f'<p class="note">90 % interval of a new measurement: {interval_text(entry)}</p>')
    chart = scale_bar(score.mos, score.low, score.high, (low, high), report.words, f"r{report.grade(score.mos)}")
    return f'<section class="hero"><div>{"".join(lines)}</div><div>{chart}</div></section>'


def warnings_html(entries: Sequence[Entry]) -> str:
    """The warnings of some videos; those that several share are told once."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for warning in entry.score.warnings:
            found.setdefault(warning, []).append(base_name(entry.score.path))
    if not found:
        return ""
    items = []
    for warning, names in found.items():
        which = f" ({escaped(', '.join(names[:3]))}{', …' if len(names) > 3 else ''})" if len(entries) > 1 else ""
        items.append(f"<li>{escaped(warning)}{which}</li>")
    return f'<div class="warnings" role="note"><b>Warning</b><ul>{"".join(items)}</ul></div>'


def time_section(report: Report, entry: Entry) -> str:
    """The score of one video along time, with its numbers below."""
    timeline = entry.timeline
    if timeline is None or not np.isfinite(timeline.mos).any():
        return ""
    shown, merged = coarse(timeline)
    places = [entry.extreme(is_worst) for is_worst in (True, False)]
    starts = [shown.start_s[place // merged] if place is not None else math.nan for place in places]
    chart = time_chart([line_of(entry, shown)], report.about.scale, entry.score.mos, *starts)
    note = "dashed: the whole video" + (f"; each point is the mean of {merged} entries" if merged > 1 else "")
    return f"<h2>Along time</h2>{chart}<p class='note'>{note}</p>{_time_table(shown)}"


def line_of(entry: Entry, timeline: Timeline, name: str = "", style: int = 0) -> Line:
    """The timeline of a video as a line of a chart."""
    return Line(name or base_name(entry.score.path), timeline.start_s, timeline.stop_s, timeline.mos, style)


def coarse(timeline: Timeline) -> tuple[Timeline, int]:
    """A timeline of at most some hundred entries, each the mean of as many of the old ones as the second value says."""
    step = math.ceil(len(timeline) / _MOST_ENTRIES)
    if step <= 1:
        return timeline, 1
    starts = range(0, len(timeline), step)
    groups = [[value for value in timeline.mos[k : k + step] if not math.isnan(value)] for k in starts]
    mos = tuple(sum(group) / len(group) if group else math.nan for group in groups)
    stops = tuple(timeline.stop_s[min(k + step, len(timeline)) - 1] for k in starts)
    return Timeline(timeline.start_s[::step], stops, mos), step


def _time_table(timeline: Timeline) -> str:
    rows = [
        (f"{number(start, 1)} – {number(stop, 1)} s", number(mos))
        for start, stop, mos in zip(timeline.start_s, timeline.stop_s, timeline.mos, strict=True)
    ]
    return f"<details><summary>Numbers</summary>{table(('time', 'score'), rows, 'scores along time')}</details>"


def frames_section(report: Report, entry: Entry) -> str:
    """Frames of a video along time, the worst and the best second marked."""
    if entry.note:
        return f'<h2>Frames</h2><p class="note">No frames: {escaped(entry.note)}</p>'
    if not entry.shots:
        return ""
    marks = entry.marks()
    figures = [_shot_html(entry, shot, marks.get(k, "")) for k, shot in enumerate(entry.shots)]
    maps = _maps_html(entry.shots, report.saliency)
    return f'<h2>Frames</h2><div class="frames{shape_class(entry.shots[0].image)}">{"".join(figures)}</div>{maps}'


def shape_class(image: Image) -> str:
    """The class of columns that suit pictures of a shape."""
    return " tall" if image.shape[1] < _TALL * image.shape[0] else ""


def _shot_html(entry: Entry, shot: Shot, mark: str) -> str:
    value = _mos_at(entry.timeline, shot.time_s)
    score = "" if math.isnan(value) else f" · <b>{value:.2f}</b>"
    tag = f' · <span class="tag">{mark}</span>' if mark else ""
    text = f"frame at {time_text(shot.time_s)}{', the ' + mark + ' second' if mark else ''}"
    kind = f' class="{mark}"' if mark else ""
    caption = f"<figcaption>{time_text(shot.time_s)}{score}{tag}</figcaption>"
    return f"<figure{kind}>{picture(shot.image, text)}{caption}</figure>"


def _mos_at(timeline: Timeline | None, time_s: float) -> float:
    if timeline is None:
        return math.nan
    inside = (start <= time_s + 1e-6 < stop for start, stop in zip(timeline.start_s, timeline.stop_s, strict=True))
    place = next((k for k, is_inside in enumerate(inside) if is_inside), None)
    return math.nan if place is None else timeline.mos[place]


def map_pictures(shots: Sequence[Shot]) -> list[tuple[str, Image]]:
    """Caption and picture of each saliency map, laid over its frame."""
    found = []
    for shot in shots:
        if shot.saliency is not None:
            height, width = shot.image.shape[:2]
            missing = "" if shot.saliency.max() > 0 else ", no map"
            image = overlay(shot.image, enlarged_map(shot.saliency, width, height))
            found.append((f"{time_text(shot.time_s)}{missing}", image))
    return found


def map_note(text: str) -> str:
    """What made the maps, and what their colours mean."""
    return f"{text}; standardised for display, yellow is salient."


def _maps_html(shots: Sequence[Shot], text: str) -> str:
    figures = [
        f"<figure>{picture(image, f'saliency at {caption}')}<figcaption>{caption}</figcaption></figure>"
        for caption, image in map_pictures(shots)
    ]
    if not figures:
        return ""
    body = f'<div class="frames{shape_class(shots[0].image)}">{"".join(figures)}</div>'
    return f'<h3>Saliency</h3>{body}<p class="note">{escaped(map_note(text))}</p>'


def contributions_section(entry: Entry) -> str:
    """What each part adds to the score, and the numbers that the score is made of."""
    parts = []
    explanation = entry.score.explanation
    if explanation and explanation.contributions:
        values = explanation.contributions
        largest = max(abs(value) for value in values.values())
        ordered = sorted(values.items(), key=lambda item: item[1])
        rows = [(escaped(name), signed_bar(value, largest), _signed(value)) for name, value in ordered]
        caption = "against the average training video; to the left lowers the score, to the right lifts it"
        body = table(("part", "", "adds"), rows, caption, "contributions", frozenset({2}))
        note = f'<p class="note">{escaped(explanation.method)}</p>' if explanation.method else ""
        parts.append(f"<h2>What makes the score</h2>{body}{note}")
    if entry.score.parts:
        pairs = [(escaped(name), number(value, 3)) for name, value in entry.score.parts.items()]
        parts.append(
            f"<h2>Parts of the score</h2>{table(('part', 'value'), pairs, 'each on its own scale', '', frozenset({1}))}"
        )
    return "".join(parts)


def _signed(value: float) -> str:
    return f'<data value="{value!r}">{value:+.2f}</data>'


def facts_section(entry: Entry) -> str:
    """What is known of the file."""
    return "" if entry.info is None else f"<h2>The file</h2>{facts(_facts(entry, entry.info))}"


def _facts(entry: Entry, info: VideoInfo) -> Iterator[tuple[str, str]]:
    variable = ", where frames are; it varies" if info.is_variable_rate else ""
    yield "size", f"{info.width} × {info.height}"
    yield "frame rate", f"{float(info.rate):.5g} fps{variable}"
    yield "duration", f"{number(info.duration_s)} s, {info.n_frames} frames"
    yield "codec", escaped(f"{info.codec}, {info.bit_depth} bit, {info.pix_fmt}")
    yield (
        "bit rate",
        f"{number(entry.kbps, 0)} kbit/s, with audio" if info.has_audio else f"{number(entry.kbps, 0)} kbit/s",
    )
    yield "file", f"{number(info.file_bytes / 1e6)} MB"
    yield "container", escaped(info.container.split(",")[0])
    if info.is_interlaced:
        yield "scan", "interlaced"
    if info.rotation or info.is_mirrored:
        yield "orientation", f"turned by {info.rotation}°{' after mirroring' if info.is_mirrored else ''}, applied"
    if info.pixel_aspect != 1:
        yield "shape of a pixel", f"{info.pixel_aspect.numerator}:{info.pixel_aspect.denominator}, shown square"
    if info.shown_part:
        yield "shown part", f"{info.shown_part[3]} × {info.shown_part[2]}"
