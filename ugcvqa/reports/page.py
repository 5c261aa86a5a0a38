"""The page of a report: one video, several videos or versions of one, or a folder."""

import itertools
import math
from collections.abc import Iterator
from string import ascii_uppercase

import numpy as np

from ugcvqa import __version__
from ugcvqa.display.charts import RatePoint, histogram, rate_chart, time_chart, time_text
from ugcvqa.display.html import escaped, facts, number, page, picture, table
from ugcvqa.display.images import shrunk
from ugcvqa.reports.contents import MOST_PICTURED, MOST_PROBED, N_WORST, SMALL_PX, Comparison, Entry, Report
from ugcvqa.reports.overview import Failures
from ugcvqa.reports.parts import (
    bar,
    base_name,
    coarse,
    common_folder,
    contributions_section,
    facts_section,
    frames_section,
    hero,
    interval_text,
    line_of,
    name_html,
    shape_class,
    time_section,
    warnings_html,
    word_html,
)

_CROP_WIDTH_PX = 280
_ROW_PX = 96
_BIN = 0.25
_COLUMNS = ("video", "score", "", "90 % interval", "in words", "kbit/s", "size", "fps", "codec", "MB")
_NUMERIC = frozenset({1, 3, 5, 6, 7, 9})


def report_html(report: Report) -> str:
    """Draws a report as one page that needs no other file."""
    n_videos = report.overview.n_videos
    if report.is_folder:
        title, body = f"{n_videos:,} videos", _folder(report)
    elif n_videos == 1:
        title, body = base_name(report.entries[0].score.path), _single(report, report.entries[0])
    else:
        title, body = _several_title(report), _several(report)
    return page(f"{title} – video quality", [_header(report, title), *(part for part in body if part), _footer(report)])


def _header(report: Report, title: str) -> str:
    about, (low, high) = report.about, report.about.scale
    folder = common_folder(report.entries)
    where = f'<p class="about">{escaped(folder)}</p>' if folder not in ("", ".") else ""
    text = f"{about.label} from {low:g} to {high:g}, higher is better, predicted by {about.name}, trained on "
    return (
        f'<header><p class="kicker">Video quality report</p><h1>{escaped(title)}</h1>'
        f'{where}<p class="about">{escaped(text + about.trained_on)}</p></header>'
    )


def _footer(report: Report) -> str:
    grades = ", ".join(f"{k} {word}" for k, word in enumerate(report.words, start=1))
    words = f" The word is that of the nearest grade: {grades}." if grades else ""
    reach = "Intervals hold a newly measured label in 90 % of cases on videos like those of the training. "
    known = reach if any(not math.isnan(entry.score.low) for entry in report.entries) else ""
    text = f"{known}No reference was used: the scores are estimates of what people would say.{words}"
    return f"<footer><p>{escaped(text)}</p><p>ugcvqa {__version__}</p></footer>"


def _single(report: Report, entry: Entry) -> Iterator[str]:
    yield warnings_html([entry])
    yield hero(report, entry)
    yield _section(time_section(report, entry))
    yield _section(frames_section(report, entry))
    yield _columns(contributions_section(entry), facts_section(entry))


def _several_title(report: Report) -> str:
    n_videos = report.overview.n_videos
    return f"{n_videos} versions of one video" if report.comparison else f"{n_videos} videos"


def _several(report: Report) -> Iterator[str]:
    yield warnings_html(report.entries)
    yield _section(_scores_table(report))
    yield _columns(_rates(report) if report.comparison else "", _timelines(report))
    if report.comparison:
        yield _section(_same_moment(report, report.comparison))
    yield _section(f"<h2>Each video</h2>{''.join(_details(report, k) for k in range(len(report.entries)))}")


def _key(place: int) -> str:
    return f'<span class="key s{place % 6}">{ascii_uppercase[place]}</span>'


def _scores_table(report: Report) -> str:
    common = common_folder(report.entries)
    rows = [_score_row(report, entry, place, common) for place, entry in enumerate(report.entries)]
    return "<h2>Scores</h2>" + table(_COLUMNS, rows, _sort_note(report), "sortable", _NUMERIC)


def _sort_note(report: Report) -> str:
    failed = f", {report.overview.n_failed} failed" if report.overview.n_failed else ""
    return f"{report.overview.n_videos:,} videos{failed}; headings sort"


def _score_row(report: Report, entry: Entry, place: int | None, common: str) -> tuple[str, ...]:
    """One line of a table of scores; its first number is that of the CSV."""
    score, info = entry.score, entry.info
    name = name_html(score.path, common)
    if place is not None:
        name = f'<div class="keyed">{_key(place)}<div>{name}</div></div>'
    elif entry.shots and report.overview.n_videos <= MOST_PICTURED:
        image = picture(shrunk(entry.shots[0].image, SMALL_PX), "", width=_ROW_PX)
        name = f'<div class="keyed">{image}<div>{name}</div></div>'
    middle = f'<span class="failed">{escaped(score.reason)}</span>' if score.reason else bar(report, entry)
    cells = (name, number(score.mos), middle, interval_text(entry), word_html(report, score.mos))
    if info is None:
        return (*cells, *[number(math.nan)] * 5)
    size = f'<data value="{info.width * info.height}">{info.width} × {info.height}</data>'
    file_mb = number(info.file_bytes / 1e6)
    return (*cells, number(entry.kbps, 0), size, number(float(info.rate), 2), escaped(info.codec), file_mb)


def _rates(report: Report) -> str:
    points = [
        RatePoint(
            ascii_uppercase[k], entry.kbps, entry.score.mos, entry.score.low, entry.score.high,
            entry.info.codec if entry.info else "", k,
        )
        for k, entry in enumerate(report.entries)
        if not entry.score.reason and entry.kbps > 0
    ]  # fmt: skip
    if len(points) < 2:
        return ""
    note = "kbit/s of the whole file on a logarithmic axis; dashed lines join versions of one codec"
    return f'<h2>Score against bit rate</h2>{rate_chart(points, report.about.scale)}<p class="note">{note}</p>'


def _timelines(report: Report) -> str:
    shown = {k: coarse(entry.timeline) for k, entry in enumerate(report.entries) if entry.timeline}
    if not shown:
        return ""
    lines = [line_of(report.entries[k], one, ascii_uppercase[k], k) for k, (one, _) in shown.items()]
    chart = time_chart(lines, report.about.scale)
    keys = " ".join(_key(k) for k in shown)
    return f'<h2>Scores along time</h2>{chart}<p class="note">{keys}</p>' if chart else ""


def _same_moment(report: Report, comparison: Comparison) -> str:
    shown = [(k, entry) for k, entry in enumerate(report.entries) if not entry.score.reason]
    frames, crops = [], []
    for place, (k, entry) in enumerate(shown):
        name, (width, height) = base_name(entry.score.path), comparison.sizes[place]
        caption = f"{_key(k)}<b>{number(entry.score.mos)}</b>"
        image = picture(comparison.frames[place], f"{name} at {time_text(comparison.time_s)}")
        frames.append(f"<figure>{image}<figcaption>{caption} {width} × {height}</figcaption></figure>")
        crop = comparison.crops[place]
        size = f"{crop.image.shape[1]} × {crop.image.shape[0]} px from ({crop.position[0]}, {crop.position[1]})"
        image = picture(crop.image, f"part of {name}", is_exact=True, width=_CROP_WIDTH_PX)
        crops.append(f"<figure>{image}<figcaption>{caption} {size}</figcaption></figure>")
    tall = shape_class(comparison.frames[0])
    return (
        f"<h2>The same moment, {time_text(comparison.time_s)}</h2>"
        f'<p class="note">{escaped(comparison.reason)}</p><div class="frames{tall}">{"".join(frames)}</div>'
        "<h3>The part of the picture that differs most</h3>"
        '<p class="note">Cut out at each version\'s own resolution, without loss; smaller versions are enlarged to the '
        f'same width.</p><div class="frames large">{"".join(crops)}</div>'
    )


def _details(report: Report, place: int) -> str:
    entry = report.entries[place]
    score = number(entry.score.mos) if not entry.score.reason else '<span class="failed">failed</span>'
    failed = f'<p class="failed">{escaped(entry.score.reason)}</p>' if entry.score.reason else ""
    inside = [failed, time_section(report, entry), frames_section(report, entry), contributions_section(entry)]
    body = "".join([*inside, facts_section(entry)])
    summary = f"{_key(place)}{escaped(base_name(entry.score.path))}: {score}"
    return f'<details class="version"><summary>{summary}</summary>{body}</details>'


def _folder(report: Report) -> Iterator[str]:
    overview = report.overview
    if overview.n_warned:
        text = f"{overview.n_warned:,} of {overview.n_videos:,} videos carry a warning; the table says which."
        yield f'<div class="warnings" role="note"><b>Warning</b> {text}</div>'
    if overview.mos.size:
        yield _section(_summary(report))
        yield _section(f"<h2>Scores</h2>{_histogram(report)}")
        yield _section(_worst(report))
    yield _section(_failures(report))
    yield _section(_folder_table(report))


def _summary(report: Report) -> str:
    mos = report.overview.mos
    low, median, high = (float(value) for value in np.percentile(mos, (5, 50, 95)))
    values = [
        ("videos", f"{report.overview.n_videos:,}"),
        ("with a score", f"{mos.size:,}"),
        ("failed", f"{report.overview.n_failed:,}"),
        ("median score", number(median)),
        ("5 % are below", number(low)),
        ("5 % are above", number(high)),
    ]
    return f'<h2>In short</h2><div class="big">{facts(values)}</div>'


def _histogram(report: Report) -> str:
    low, high = report.about.scale
    step = _BIN if report.words else (high - low) / 16
    edges = [low + k * step for k in range(round((high - low) / step) + 1)]
    counts, _ = np.histogram(np.clip(report.overview.mos, low, high), edges)
    kinds = [f"r{report.grade((one + two) / 2)}" for one, two in itertools.pairwise(edges)]
    return histogram([int(count) for count in counts], edges, kinds)


def _worst(report: Report) -> str:
    figures = []
    for entry in report.entries[:N_WORST]:
        if entry.score.reason:
            continue
        name = base_name(entry.score.path)
        image = picture(entry.shots[0].image, f"frame of {name}") if entry.shots else ""
        missing = f'<p class="note">No frame: {escaped(entry.note)}</p>' if entry.note else ""
        word = word_html(report, entry.score.mos)
        text = f"<b>{number(entry.score.mos)}</b> {word}<br>{escaped(name)}"
        figures.append(f"<figure>{image}{missing}<figcaption>{text}</figcaption></figure>")
    return f'<h2>The lowest scores</h2><div class="frames mixed">{"".join(figures)}</div>'


def _failures(report: Report) -> str:
    if not report.overview.failures:
        return ""
    common = common_folder(report.entries)
    ordered = sorted(report.overview.failures.values(), key=lambda one: -one.count)
    rows = [(escaped(one.reason), number(one.count, 0), _examples(one, common)) for one in ordered]
    caption = "numbers in a reason are those of the first video"
    return f"<h2>Failures by reason</h2>{table(('reason', 'videos', 'such as'), rows, caption, '', frozenset({1}))}"


def _examples(failures: Failures, common: str) -> str:
    names = [escaped(name.removeprefix(f"{common}/")) for name in failures.examples]
    return "<br>".join(names) + ("<br>…" if failures.count > len(names) else "")


def _folder_table(report: Report) -> str:
    common = common_folder(report.entries)
    rows = [
        (*_score_row(report, entry, None, common), "<br>".join(escaped(warning) for warning in entry.score.warnings))
        for entry in report.entries
    ]
    notes = [_sort_note(report), "lowest score first"]
    if len(report.entries) < report.overview.n_videos:
        notes.append(
            f"{len(report.entries):,} rows: the lowest scores and the first failures; the CSV or JSON output has all"
        )
    if len(report.entries) > MOST_PROBED:
        notes.append(f"size and rate of the first {MOST_PROBED:,} only")
    if report.overview.n_videos > N_WORST and not any(entry.shots for entry in report.entries[N_WORST:]):
        notes.append(f"pictures of the {N_WORST} lowest only")
    return f"<h2>All videos</h2>{table((*_COLUMNS, 'warnings'), rows, '; '.join(notes), 'sortable', _NUMERIC)}"


def _section(body: str) -> str:
    return f"<section>{body}</section>" if body else ""


def _columns(*bodies: str) -> str:
    sections = [_section(body) for body in bodies if body]
    return f'<div class="columns">{"".join(sections)}</div>' if sections else ""
