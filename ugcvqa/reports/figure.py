"""The report as one picture for papers and slides: the same figures as on the page."""

import math
import warnings
from collections.abc import Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING

import numpy as np

from ugcvqa.display.charts import rate_ticks, time_text
from ugcvqa.display.figures import PALETTE, picture_bytes
from ugcvqa.display.html import printable
from ugcvqa.display.images import Image
from ugcvqa.reports.contents import N_WORST, Entry, Report
from ugcvqa.reports.parts import base_name, coarse, map_note, map_pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_GRADES = ("#b5402b", "#cb7330", "#ab8c22", "#4a91c2", "#2a6db0")
_PLAIN, _GREY = "#0b5fa5", "#555555"
_WIDTH, _MAPS_HEIGHT = 9.0, 1.8  # inches
_MOST_NAME = 60  # characters


def report_figure(report: Report, suffix: str) -> bytes:
    """Draws a report as a picture.

    Args:
        report: what is shown.
        suffix: .png, .svg or .pdf.
    """
    if report.is_folder:
        figure = _folder(report)
    elif report.overview.n_videos == 1:
        figure = _single(report, report.entries[0])
    else:
        figure = _several(report)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that the font lacks are drawn as boxes
        return picture_bytes(figure, suffix)


def _rows(report: Report, title: str, heights: Sequence[float]) -> "tuple[Figure, list[SubFigure]]":
    """A figure of rows with heights in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, sum(heights) + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    about, (low, high) = report.about, report.about.scale
    text = f"{about.label} {low:g} to {high:g}, higher is better; {about.name}, trained on {about.trained_on}"
    figure.suptitle(f"{_plain(title)}", fontsize=13, fontweight="bold")
    warned = report.overview.n_warned
    told = sorted({warning for entry in report.entries for warning in entry.score.warnings})
    shown = told[0] if len(told) == 1 and not report.is_folder else f"{warned} of {report.overview.n_videos} videos"
    below = f"\nWarning: {_plain(shown, 140)}" if warned else ""
    figure.supxlabel(_plain(text, 140) + below, fontsize=8, color=_GREY)
    rows = figure.subfigures(len(heights), 1, height_ratios=list(heights), squeeze=False)
    return figure, [row[0] for row in rows]


def _single(report: Report, entry: Entry) -> "Figure":
    score = entry.score
    explanation = score.explanation
    values = dict(sorted(explanation.contributions.items(), key=lambda item: -item[1])) if explanation else {}
    maps = map_pictures(entry.shots)
    heights = [1.1, *([2.0] if _has_timeline(entry) else []), *([_strip_height(entry)] if entry.shots else [])]
    heights += [_MAPS_HEIGHT] if maps else []
    heights += [0.6 + 0.26 * len(values)] if values else []
    figure, rows = _rows(report, base_name(score.path), heights)
    left = iter(rows)
    _scores(next(left).subplots(), report, [entry], [""])
    if _has_timeline(entry):
        axes = next(left).subplots()
        _lines(axes, report, [entry], [""])
        axes.axhline(score.mos, color=_GREY, linestyle="--", linewidth=1)
    if entry.shots:
        _strip(next(left), [shot.image for shot in entry.shots], [time_text(shot.time_s) for shot in entry.shots])
    if maps:
        row = next(left)
        _strip(row, [image for _, image in maps], [f"saliency at {caption}" for caption, _ in maps])
        row.supxlabel(_plain(map_note(report.saliency), 140), fontsize=8, color=_GREY)
    if values:
        axes = next(left).subplots()
        colours = [_GRADES[-1] if value > 0 else _GRADES[0] for value in values.values()]
        axes.barh([_plain(name) for name in values], list(values.values()), color=colours)
        axes.axvline(0, color=_GREY, linewidth=0.8)
        axes.set_xlabel("what each part adds, against the average training video", fontsize=8)
        _quiet(axes)
    return figure


def _several(report: Report) -> "Figure":
    entries, comparison = report.entries, report.comparison
    scored = [entry for entry in entries if not entry.score.reason]
    keys = [ascii_uppercase[k] for k, entry in enumerate(entries) if not entry.score.reason]
    has_lines = any(_has_timeline(entry) for entry in scored)
    has_rates = comparison is not None and sum(entry.kbps > 0 for entry in scored) > 1
    heights = [0.7 + 0.3 * len(entries), *([2.7] if has_lines or has_rates else []), *([2.0] if comparison else [])]
    title = f"{len(entries)} versions of one video" if comparison else f"{len(entries)} videos"
    figure, rows = _rows(report, title, heights)
    _scores(rows[0].subplots(), report, entries, ascii_uppercase[: len(entries)])
    if has_lines or has_rates:
        panels = iter(rows[1].subplots(1, has_lines + has_rates, squeeze=False)[0])
        if has_rates:
            _rates(next(panels), report, scored, keys)
        if has_lines:
            _lines(next(panels), report, scored, keys)
    if comparison:
        _strip(rows[-1], [crop.image for crop in comparison.crops], keys)
        rows[-1].supxlabel(f"the part that differs most at {time_text(comparison.time_s)}", fontsize=8)
    return figure


def _folder(report: Report) -> "Figure":
    mos, (low, high) = report.overview.mos, report.about.scale
    worst = [entry for entry in report.entries[:N_WORST] if entry.shots]
    figure, rows = _rows(report, f"{report.overview.n_videos:,} videos", [3.0, *([1.6] if worst else [])])
    axes = rows[0].subplots()
    counts, edges = np.histogram(np.clip(mos, low, high), np.linspace(low, high, 17))
    colours = [_colour(report, middle) for middle in (edges[:-1] + edges[1:]) / 2]
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=colours, edgecolor="white")
    median = f", median {np.median(mos):.2f}" if mos.size else ""
    axes.set_xlabel(
        f"{report.about.label} of {mos.size:,} videos{median}; {report.overview.n_failed:,} failed", fontsize=9
    )
    axes.set_ylabel("videos", fontsize=9)
    axes.set_xlim(low, high)
    axes.locator_params(axis="y", integer=True)
    _quiet(axes)
    if worst:
        _strip(rows[1], [entry.shots[0].image for entry in worst], [f"{entry.score.mos:.2f}" for entry in worst])
        rows[1].supxlabel("the lowest scores", fontsize=8)
    return figure


def _scores(axes: "Axes", report: Report, entries: Sequence[Entry], keys: Sequence[str]) -> None:
    """Scores with their intervals on the scale, one line each, from the top."""
    (low, high), words = report.about.scale, report.words
    for k in range(len(words)):
        band = (max(low, low + k - 0.5), min(high, low + k + 0.5))
        axes.axvspan(*band, color=_GRADES[k], alpha=0.16, linewidth=0)
    for place, entry in enumerate(entries):
        score = entry.score
        if score.reason:
            axes.text(low + 0.02 * (high - low), place, "failed", va="center", fontsize=8, color=_GRADES[0])
            continue
        if not math.isnan(score.low + score.high):
            axes.plot([score.low, score.high], [place, place], "|-", color="black", linewidth=1.2, markersize=7)
        axes.plot([score.mos], [place], "o", color=_colour(report, score.mos), markeredgecolor="black", markersize=8)
        axes.annotate(
            f"{score.mos:.2f}", (score.mos, place), (0, 7), textcoords="offset points", ha="center", fontsize=8
        )
    names = [
        f"{key}  {_plain(base_name(e.score.path), 40)}" if key else "" for key, e in zip(keys, entries, strict=True)
    ]
    axes.set_yticks(range(len(entries)), names)
    axes.set(xlim=(low, high), ylim=(len(entries) - 0.4, -0.75))
    if words:
        axes.set_xticks([low + k for k in range(len(words))], [f"{low + k:g}\n{word}" for k, word in enumerate(words)])
    _quiet(axes)


def _lines(axes: "Axes", report: Report, entries: Sequence[Entry], keys: Sequence[str]) -> None:
    for key, entry in zip(keys, entries, strict=True):
        if entry.timeline is None:
            continue
        timeline, _ = coarse(entry.timeline)
        k = ascii_uppercase.index(key or "A")
        middles = (np.array(timeline.start_s) + np.array(timeline.stop_s)) / 2
        colour, style = PALETTE[k % len(PALETTE)], "o-" if k < len(PALETTE) else "o--"
        axes.plot(middles, timeline.mos, style, markersize=3, label=key, color=colour)
    axes.set(ylim=report.about.scale, ylabel=report.about.label)
    axes.set_xlabel("seconds", fontsize=8)
    _whole(axes, report)
    axes.grid(alpha=0.25)
    if len(entries) > 1:
        axes.legend(fontsize=7, ncols=4, frameon=False, loc="best")
    _quiet(axes)


def _rates(axes: "Axes", report: Report, entries: Sequence[Entry], keys: Sequence[str]) -> None:
    for key, entry in zip(keys, entries, strict=True):
        if not entry.kbps > 0:
            continue
        score, colour = entry.score, PALETTE[ascii_uppercase.index(key) % len(PALETTE)]
        if not math.isnan(score.low + score.high):
            axes.plot([entry.kbps] * 2, [score.low, score.high], color=colour, linewidth=1.5)
        axes.plot([entry.kbps], [score.mos], "o", color=colour)
        axes.annotate(key, (entry.kbps, score.mos), (6, -3), textcoords="offset points", fontsize=8, fontweight="bold")
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = rate_ticks((math.log10(low), math.log10(high)))
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(ylim=report.about.scale, ylabel=report.about.label)
    axes.set_xlabel("kbit/s", fontsize=8)
    _whole(axes, report)
    axes.grid(alpha=0.25)
    _quiet(axes)


def _strip(row: "SubFigure", images: Sequence[Image], titles: Sequence[str]) -> None:
    for axes, image, title in zip(row.subplots(1, len(images), squeeze=False)[0], images, titles, strict=True):
        axes.imshow(image, interpolation="antialiased")
        axes.set_title(title, fontsize=8, pad=2)
        axes.axis("off")


def _strip_height(entry: Entry) -> float:
    """Room for the frames of a video beside each other, in inches."""
    height, width = entry.shots[0].image.shape[:2]
    return float(min(3.0, 0.4 + _WIDTH / len(entry.shots) * height / width))


def _has_timeline(entry: Entry) -> bool:
    return entry.timeline is not None and bool(np.isfinite(entry.timeline.mos).any())


def _colour(report: Report, mos: float) -> str:
    grade = report.grade(mos)
    return _GRADES[grade - 1] if grade else _PLAIN


def _plain(text: str, longest: int = _MOST_NAME) -> str:
    """A name as matplotlib may draw it: no formulas, no control characters, not too long."""
    shown = printable(text).replace("$", r"\$")
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _whole(axes: "Axes", report: Report) -> None:
    """Whole grades only on the axis of the scores."""
    if report.words:
        axes.set_yticks(range(1, len(report.words) + 1))


def _quiet(axes: "Axes") -> None:
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
