"""Reads what a report shows from the video files, as far as they are still there: facts, frames, maps, a comparison."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ugcvqa.display.images import Image, shrunk
from ugcvqa.errors import UgcvqaError
from ugcvqa.media.video import VideoInfo, probe
from ugcvqa.reports.comparison import are_versions, most_different, most_different_part
from ugcvqa.reports.contents import Comparison, Entry, Report
from ugcvqa.reports.overview import MOST_DETAILED, Overview
from ugcvqa.reports.thumbnails import Shot, even_times, read_shots
from ugcvqa.scoring.about import About
from ugcvqa.scoring.found_artefacts import Artefact
from ugcvqa.scoring.result import Score
from ugcvqa.settings.data import DecodeLimits

logger = logging.getLogger(__name__)

N_WORST = 10
"""Videos of a folder that are shown with a picture."""

MOST_PROBED = 1000
"""Rows of a folder whose files are looked into for size and rate."""

SHOT_PX, SMALL_PX = 360, 192
"""Longer side of thumbnails."""

MOST_PICTURED = 60
"""A folder of at most so many videos has a picture in every row."""

_N_SHOTS = 6
_CROP_PX = (280, 210)
_PART_PX = 960  # longer side of the frames that are searched for differences


@dataclass(frozen=True)
class SaliencyMaps:
    """Computes saliency maps of frames.

    Attributes:
        text: which network with which weights, for the reader.
        maps: function from squashed frames (3, 224, 224) uint8 to their maps (224, 224) float32, 0..1.
    """

    text: str
    maps: Callable[[Sequence[Image]], Sequence[np.ndarray]]


def gather(
    overview: Overview, about: About, limits: DecodeLimits, saliency: SaliencyMaps | None = None, made: str = ""
) -> Report:
    """Reads what a report shows from the files, as far as they are still there."""
    scores = overview.shown()
    if overview.n_videos > MOST_DETAILED:
        return Report(
            about, overview, tuple(_folder_entries(scores, overview.n_videos <= MOST_PICTURED, limits)), made=made
        )
    entries = tuple(_entry(score, limits, saliency) for score in scores)
    return Report(about, overview, entries, _comparison(entries, limits), saliency.text if saliency else "", made)


def _folder_entries(scores: Sequence[Score], is_pictured: bool, limits: DecodeLimits) -> list[Entry]:
    entries = []
    for place, score in enumerate(scores):
        entry = Entry(score, _info(score.path, limits)[0] if place < MOST_PROBED else None)
        if entry.info and not score.reason and (is_pictured or place < N_WORST):
            times = (entry.info.duration_s / 2,)
            entry = _with_shots(entry, times, SHOT_PX if place < N_WORST else SMALL_PX, limits)
        entries.append(entry)
    return entries


def _entry(score: Score, limits: DecodeLimits, saliency: SaliencyMaps | None) -> Entry:
    info, note = _info(score.path, limits)
    entry = Entry(score, info, note=note)
    if info is None:
        return entry
    if score.reason:
        return replace(entry, note="")
    extremes = [time_s for time_s in (entry.moment(True), entry.moment(False)) if not math.isnan(time_s)]
    times = [*even_times(info.duration_s, _N_SHOTS), *extremes]
    found = score.explanation.artefacts if score.explanation else ()
    entry = _with_shots(entry, [*times, *(one.time_s for one in found)], SHOT_PX, limits, squash=saliency is not None)
    entry = _with_artefacts(entry, times, found)
    return entry if saliency is None or not entry.shots else _with_maps(entry, saliency)


def _with_artefacts(entry: Entry, times: Sequence[float], found: Sequence[Artefact]) -> Entry:
    """Gives each artefact its frame, and keeps as shots only the frames of the moments that were wanted anyway."""

    def shown_at(time_s: float) -> Shot | None:
        return max(
            (shot for shot in entry.shots if shot.time_s <= time_s + 1e-6), key=lambda one: one.time_s, default=None
        )

    kept = {id(shown_at(time_s)) for time_s in times}
    shots = tuple(shot for shot in entry.shots if id(shot) in kept)
    return replace(entry, shots=shots, artefacts=tuple((one, shown_at(one.time_s)) for one in found))


def _with_maps(entry: Entry, saliency: SaliencyMaps) -> Entry:
    """Adds saliency maps to the middle frame and to those of the worst and the best second."""
    wanted = {len(entry.shots) // 2, *entry.marks()}
    chosen = {k: shot.squashed for k, shot in enumerate(entry.shots) if k in wanted and shot.squashed is not None}
    maps = dict(zip(chosen, saliency.maps(list(chosen.values())), strict=True))
    if entry.info is not None:
        maps = {k: entry.info.cut_to_shown(values) for k, values in maps.items()}
    return replace(entry, shots=tuple(replace(shot, saliency=maps.get(k)) for k, shot in enumerate(entry.shots)))


def _info(path: str, limits: DecodeLimits) -> tuple[VideoInfo | None, str]:
    try:
        return probe(path, limits), ""
    except (UgcvqaError, OSError) as error:  # the file may have gone or changed since it was scored
        return None, str(error)


def _with_shots(
    entry: Entry, times: Sequence[float], long_side_px: int, limits: DecodeLimits, squash: bool = False
) -> Entry:
    if entry.info is None:
        return entry
    try:
        return replace(entry, shots=tuple(read_shots(entry.info, times, limits, long_side_px, squash)))
    except (UgcvqaError, OSError) as error:
        logger.warning("%s: no pictures of it in the report: %s", entry.score.path, error)
        return replace(entry, note=str(error))


def _comparison(entries: Sequence[Entry], limits: DecodeLimits) -> Comparison | None:
    """Compares the videos that have a score, if they are versions of one."""
    scored = [entry for entry in entries if entry.info and entry.shots and not entry.score.reason]
    infos = [entry.info for entry in scored if entry.info]
    if len(scored) < 2 or len(scored) < sum(not entry.score.reason for entry in entries):
        return None
    even = [_evenly(entry) for entry in scored]
    durations = [info.duration_s for info in infos]
    if not are_versions(durations, even):
        return None
    time_s, reason = _worst_spread(scored)
    if math.isnan(time_s):
        time_s = even_times(durations[0], len(even[0]))[most_different(even)]
        reason = "of the moments shown, the one at which the pictures differ most"
    sizes = tuple(info.shown_size[::-1] for info in infos)
    try:
        frames = [read_shots(info, [time_s], limits, _PART_PX)[0].image for info in infos]
        part = most_different_part(frames, sizes, *_CROP_PX)
        # Read once more: a dozen frames of 4K in memory at once would be too many.
        crops = tuple(part.cut(read_shots(info, [time_s], limits)[0].image) for info in infos)
    except (UgcvqaError, OSError) as error:
        logger.warning("the versions are not compared in the report: %s", error)
        return None
    return Comparison(time_s, reason, tuple(shrunk(frame, SHOT_PX) for frame in frames), sizes, crops)


def _evenly(entry: Entry) -> list[Image]:
    """The frames of an entry at the evenly spaced moments."""
    if entry.info is None:
        return []
    times = np.array([shot.time_s for shot in entry.shots])
    wanted = even_times(entry.info.duration_s, _N_SHOTS)
    return [entry.shots[int(np.abs(times - time_s).argmin())].image for time_s in wanted]


def _worst_spread(entries: Sequence[Entry]) -> tuple[float, str]:
    """The middle of the second in which the versions' scores differ most; NaN without timelines of one length."""
    timelines = [entry.timeline for entry in entries]
    lengths = {len(timeline) if timeline else 0 for timeline in timelines}
    if len(lengths) != 1 or 0 in lengths:
        return math.nan, ""
    values = np.array([timeline.mos for timeline in timelines if timeline])
    spread = values.max(0) - values.min(0)
    first = timelines[0]
    if first is None or not np.isfinite(spread).any() or np.nanmax(spread) <= 0:
        return math.nan, ""
    place = int(np.nanargmax(spread))
    return (first.start_s[place] + first.stop_s[place]) / 2, "the second in which their scores differ most"
