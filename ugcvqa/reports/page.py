"""The page of a report: what its template shows of one video, several videos or versions of one, or a folder."""

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from string import ascii_uppercase
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from ugcvqa import __version__
from ugcvqa.display.charts import RatePoint, histogram, rate_chart, scale_bar, signed_bar, small_bar
from ugcvqa.display.html import number, render
from ugcvqa.display.images import Image, enlarged_map, shrunk
from ugcvqa.display.maps import marked, overlay
from ugcvqa.display.time_charts import Line, time_chart, time_text
from ugcvqa.media.video import VideoInfo
from ugcvqa.reports.contents import Entry, Report
from ugcvqa.reports.gathering import MOST_PICTURED, MOST_PROBED, N_WORST, SMALL_PX
from ugcvqa.reports.thumbnails import Shot
from ugcvqa.scoring.explanation import PART_NAMES, Timeline
from ugcvqa.scoring.found_artefacts import EVERYWHERE, Artefact

_BIN = 0.25
_MOST_ENTRIES = 600
_MOST_STRETCHES = 3
_TALL = 0.8  # width over height below which frames stand in narrower columns


def report_html(report: Report) -> str:
    """Draws a report as one page that needs no other file."""
    return render(
        "reports/report.html.jinja",
        report=report,
        overview=report.overview,
        about=report.about,
        title=_title(report),
        folder=common_folder(report.entries),
        keys=ascii_uppercase,
        version=__version__,
        worst=[entry for entry in report.entries[:N_WORST] if not entry.score.reason],
        notes=_notes(report),
        **{function.__name__.removeprefix("_"): function for function in _OF_TEMPLATE},
    )


class TimelineView(NamedTuple):
    """A chart of scores along time with what stands below it."""

    chart: Markup
    merged: int
    shown: Timeline


class ShotView(NamedTuple):
    """A frame with its caption."""

    shot: Shot
    mark: str
    mos: float


class ArtefactView(NamedTuple):
    """An artefact with the frame that shows it best, and when it is there."""

    artefact: Artefact
    image: Image | None
    when: str


def _title(report: Report) -> str:
    n_videos = report.overview.n_videos
    if n_videos == 1:
        return base_name(report.entries[0].score.path)
    return f"{n_videos} versions of one video" if report.comparison else f"{n_videos:,} videos"


def base_name(path: str) -> str:
    """The file's own name, without folders."""
    return PurePath(path).name or path


def folder_of(path: str) -> str:
    """The folder of a file; a dot if its name has none."""
    return str(PurePath(path).parent)


def common_folder(entries: Sequence[Entry]) -> str:
    """The folder that holds all videos, empty if they have none in common."""
    folders = {folder_of(entry.score.path) for entry in entries} - {"."}
    return folders.pop() if len(folders) == 1 and len(entries) else ""


def shape_class(image: Image) -> str:
    """The class of columns that suit pictures of a shape."""
    return " tall" if image.shape[1] < _TALL * image.shape[0] else ""


def _thumbnail(report: Report, entry: Entry) -> Image | None:
    """A small frame for the row of a folder's table, if the folder is small enough for pictures."""
    has_room = entry.shots and report.overview.n_videos <= MOST_PICTURED
    return shrunk(entry.shots[0].image, SMALL_PX) if has_room else None


def _bar(report: Report, entry: Entry) -> Markup:
    score = entry.score
    return small_bar(score.mos, score.low, score.high, report.about.scale, f"r{report.grade(score.mos)}")


def _hero_bar(report: Report, entry: Entry) -> Markup:
    score = entry.score
    kind = f"r{report.grade(score.mos)}"
    return scale_bar(score.mos, score.low, score.high, report.about.scale, report.words, kind)


def _warnings(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Warning -> names of the videos that carry it."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for warning in entry.score.warnings:
            found.setdefault(warning, []).append(base_name(entry.score.path))
    return found


def _notes(report: Report) -> str:
    """What the table of a folder leaves out."""
    n_videos, shown = report.overview.n_videos, len(report.entries)
    notes = ["lowest score first"] if report.is_folder else []
    if shown < n_videos:
        notes.append(f"{shown:,} rows: the lowest scores and the first failures; the CSV or JSON output has all")
    if shown > MOST_PROBED:
        notes.append(f"size and rate of the first {MOST_PROBED:,} only")
    if n_videos > max(N_WORST, MOST_PICTURED):
        notes.append(f"pictures of the {N_WORST} lowest only")
    failed = f", {report.overview.n_failed} failed" if report.overview.n_failed else ""
    return "; ".join([f"{n_videos:,} videos{failed}; headings sort", *notes])


def _summary(report: Report) -> Iterator[tuple[str, str]]:
    mos = report.overview.mos
    low, median, high = (float(value) for value in np.percentile(mos, (5, 50, 95)))
    yield "videos", f"{report.overview.n_videos:,}"
    yield "with a score", f"{mos.size:,}"
    yield "failed", f"{report.overview.n_failed:,}"
    yield "median score", number(median)
    yield "5 % are below", number(low)
    yield "5 % are above", number(high)


def _score_histogram(report: Report) -> Markup:
    low, high = report.about.scale
    step = _BIN if report.words else (high - low) / 16
    edges = [low + k * step for k in range(round((high - low) / step) + 1)]
    counts, _ = np.histogram(np.clip(report.overview.mos, low, high), edges)
    kinds = [f"r{report.grade((one + two) / 2)}" for one, two in itertools.pairwise(edges)]
    return histogram([int(count) for count in counts], edges, kinds)


def _rates(report: Report) -> Markup:
    """Scores of versions against bit rate; empty with fewer than two of them."""
    points = [
        RatePoint(
            ascii_uppercase[k], entry.kbps, entry.score.mos, entry.score.low, entry.score.high,
            entry.info.codec if entry.info else "", k,
        )
        for k, entry in enumerate(report.entries)
        if not entry.score.reason and entry.kbps > 0
    ]  # fmt: skip
    return rate_chart(points, report.about.scale) if len(points) > 1 and report.comparison else Markup()


def _several_timelines(report: Report) -> tuple[Markup, list[int]]:
    """Scores of several videos along time, and the places of those that have them."""
    shown = {k: coarse(entry.timeline)[0] for k, entry in enumerate(report.entries) if entry.timeline}
    lines = [line_of(report.entries[k], one, ascii_uppercase[k], k) for k, one in shown.items()]
    return time_chart(lines, report.about.scale), list(shown)


def _timeline(report: Report, entry: Entry) -> TimelineView | None:
    """The score of one video along time; None where it has none."""
    timeline = entry.timeline
    if timeline is None or not np.isfinite(timeline.mos).any():
        return None
    shown, merged = coarse(timeline)
    places = [entry.extreme(is_worst, report.noise) for is_worst in (True, False)]
    starts = [shown.start_s[place // merged] if place is not None else math.nan for place in places]
    chart = time_chart([line_of(entry, shown)], report.about.scale, entry.score.mos, *starts)
    return TimelineView(chart, merged, shown)


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


def _shots(report: Report, entry: Entry) -> Iterator[ShotView]:
    """The frames of a video, the worst and the best second marked."""
    marks = entry.marks(report.noise)
    for place, shot in enumerate(entry.shots):
        yield ShotView(shot, marks.get(place, ""), _mos_at(entry.timeline, shot.time_s))


def _mos_at(timeline: Timeline | None, time_s: float) -> float:
    if timeline is None:
        return math.nan
    inside = (start <= time_s + 1e-6 < stop for start, stop in zip(timeline.start_s, timeline.stop_s, strict=True))
    place = next((k for k, is_inside in enumerate(inside) if is_inside), None)
    return math.nan if place is None else timeline.mos[place]


def _maps(entry: Entry) -> Iterator[tuple[str, Image]]:
    """Caption and picture of each saliency map, laid over its frame."""
    for shot in entry.shots:
        if shot.saliency is not None:
            height, width = shot.image.shape[:2]
            missing = "" if shot.saliency.max() > 0 else ", no map"
            yield f"{time_text(shot.time_s)}{missing}", overlay(shot.image, enlarged_map(shot.saliency, width, height))


def _artefacts(entry: Entry) -> Iterator[ArtefactView]:
    """The likely artefacts of a video, each with a frame on which its place is marked."""
    for artefact, shot in entry.artefacts:
        image = None if shot is None else shot.image
        if shot is not None and artefact.cells.size and artefact.where != EVERYWHERE:
            height, width = shot.image.shape[:2]
            image = marked(shot.image, enlarged_map(artefact.cells, width, height))
        stretches = [f"{time_text(start)} to {time_text(stop)}" for start, stop in artefact.stretches[:_MOST_STRETCHES]]
        more = ", …" if len(artefact.stretches) > _MOST_STRETCHES else ""
        yield ArtefactView(artefact, image, ", ".join(stretches) + more)


def _contributions(entry: Entry) -> tuple[float, list[tuple[str, float]]]:
    """The largest absolute contribution, and what each part adds, the lowest first."""
    explanation = entry.score.explanation
    values = explanation.contributions if explanation else {}
    named = [(PART_NAMES.get(name, name), value) for name, value in values.items()]
    return max((abs(value) for value in values.values()), default=0.0), sorted(named, key=lambda item: item[1])


def _facts_of(entry: Entry, info: VideoInfo) -> Iterator[tuple[str, str]]:
    """What is known of the file."""
    kinds, ending = info.container.split(","), PurePath(entry.score.path).suffix.lower().removeprefix(".")
    yield "size", f"{info.width} × {info.height}"
    variable = ", where frames are; it varies" if info.is_variable_rate else ""
    yield "frame rate", f"{float(info.rate):.5g} fps{variable}"
    yield "duration", f"{info.duration_s:.2f} s, {info.n_frames} frames"
    yield "codec", f"{info.codec}, {info.bit_depth} bit, {info.pix_fmt}"
    yield "bit rate", f"{entry.kbps:.0f} kbit/s{', with audio' if info.has_audio else ''}"
    yield "file", file_size(info.file_bytes)
    yield "file format", ending if ending in kinds else kinds[0]
    if info.is_interlaced:
        yield "scan", "interlaced"
    if info.rotation or info.is_mirrored:
        yield "orientation", f"turned by {info.rotation}°{' after mirroring' if info.is_mirrored else ''}, applied"
    if info.pixel_aspect != 1:
        yield "shape of a pixel", f"{info.pixel_aspect.numerator}:{info.pixel_aspect.denominator}, shown square"
    if info.shown_part:
        yield "shown part", f"{info.shown_part[3]} × {info.shown_part[2]}"


def file_size(n_bytes: int) -> str:
    """A size in units that give it three digits: `7.34 MB`, `12.1 kB`."""
    unit, factor = next(((u, f) for u, f in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if n_bytes >= f), ("bytes", 1))
    return f"{n_bytes / factor:.3g} {unit}"


_OF_TEMPLATE = (
    *(_bar, _hero_bar, _summary, _score_histogram, _rates, _several_timelines, _timeline, _shots, _maps, _artefacts),
    *(_contributions, _facts_of, _warnings, _thumbnail, shape_class, signed_bar, time_text, base_name, folder_of),
)
"""What the template of the page calls, by its name without an underscore before it."""
