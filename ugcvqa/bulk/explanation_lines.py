"""An explanation as lines of text, and its pictures as files."""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from ugcvqa.files import write_atomic
from ugcvqa.scoring.explanation import PART_NAMES, Explanation, Moment, Timeline
from ugcvqa.scoring.found_artefacts import Artefact
from ugcvqa.scoring.result import Score

_BLOCKS = "▁▂▃▄▅▆▇█"
_UNKNOWN = "·"
_MOST_BLOCKS = 60
_SMALLEST_SPAN = 0.5  # MOS units that the heights cover at least, so that a steady video looks steady
_MOST_PARTS = 5
_NOISE = 0.1  # MOS units, as in reports: a fortieth of the scale
_LONGEST_NAME = 150  # bytes; file systems allow 255


def explanation_lines(score: Score) -> list[str]:
    """Returns what was requested, as a few indented lines: timeline, worst and best second, and parts."""
    if score.timeline is None:
        return []
    lines = [_timeline_line(score.timeline)]
    if score.explanation is not None:
        lines += _lines_of(score.explanation, low_stretches(score.timeline, score.mos))
    return [f"    {line}" for line in lines]


def sparkline(mos: Sequence[float], most: int = _MOST_BLOCKS) -> str:
    """Draws scores as a line of at most `most` block characters of eight heights, with a dot where a score is missing.

    The heights go from the lowest to the highest score, but cover half a MOS unit at least. More scores than blocks are
    averaged.
    """
    groups = np.array_split(np.array(mos), min(most, len(mos)) or 1)
    means = [float(group[np.isfinite(group)].mean()) if np.isfinite(group).any() else math.nan for group in groups]
    known = [mean for mean in means if not math.isnan(mean)]
    if not known:
        return _UNKNOWN * len(means)
    middle, span = (min(known) + max(known)) / 2, max(max(known) - min(known), _SMALLEST_SPAN)
    heights = [(mean - middle) / span + 0.5 for mean in means]
    return "".join(_UNKNOWN if math.isnan(height) else _BLOCKS[min(int(8 * height), 7)] for height in heights)


def low_stretches(timeline: Timeline, mos: float, drop: float = 0.25) -> list[tuple[float, float, float]]:
    """Finds the seconds that pull a score down: stretches whose entries all lie below it by more than `drop`.

    Args:
        timeline: the score second by second.
        mos: score of the whole video.
        drop: MOS units.

    Returns:
        Start and stop in seconds, and the mean score, of each stretch; the lowest first.
    """
    stretches = []
    is_low = [score < mos - drop for score in timeline.mos]  # NaN is not
    for low, run in groupby(range(len(is_low)), key=is_low.__getitem__):
        entries = list(run)
        if low:
            mean = float(np.mean([timeline.mos[entry] for entry in entries]))
            stretches.append((timeline.start_s[entries[0]], timeline.stop_s[entries[-1]], mean))
    return sorted(stretches, key=lambda stretch: stretch[2])


def write_pictures(score: Score, folder: Path) -> list[Path]:
    """Writes the worst and the best second of a video as PNG files; named as the video.

    Raises:
        StoreError: if a file cannot be written.
    """
    if score.explanation is None:
        return []
    moments = {"worst": score.explanation.worst, "best": score.explanation.best}
    return [_written(folder, score.path, kind, moment) for kind, moment in moments.items() if moment is not None]


def _written(folder: Path, video: str, kind: str, moment: Moment) -> Path:
    from ugcvqa.media.encode import png_bytes

    path = folder / f"{_file_name(video)}.{kind}.png"
    write_atomic(path, png_bytes(moment.frame))
    return path


def _file_name(video: str) -> str:
    """The name of a video without its folder; a checksum of the path distinguishes videos of the same name."""
    name = video.replace("\\", "/").rpartition("/")[2] or "video"
    data = name.encode(errors="surrogateescape")
    if name == video and len(data) <= _LONGEST_NAME:
        return name
    checksum = zlib.crc32(video.encode(errors="surrogateescape"))
    return f"{data[-_LONGEST_NAME:].decode(errors='ignore')}.{checksum:08x}"


def _timeline_line(timeline: Timeline) -> str:
    known = [mos for mos in timeline.mos if not math.isnan(mos)]
    entries = "1 entry" if len(timeline) == 1 else f"{len(timeline)} entries"
    between = f"{min(known):.2f} to {max(known):.2f}" if known else "no second has a score"
    return f"timeline {sparkline(timeline.mos)} {between}, {entries} in {_clock(timeline.stop_s[-1])}"


def _lines_of(explanation: Explanation, stretches: Sequence[tuple[float, float, float]]) -> Iterator[str]:
    if stretches:
        listed = (f"{_clock(start)} to {_clock(stop)} ({mos:.2f})" for start, stop, mos in stretches[:_MOST_PARTS])
        yield f"seconds that pull down: {', '.join(listed)}"
    worst, best = explanation.worst, explanation.best
    if worst is not None and best is not None and best.mos - worst.mos <= _NOISE:
        yield f"worst and best second differ by noise only: {worst.mos:.2f} and {best.mos:.2f}"
    else:
        for kind, moment in (("worst", worst), ("best", best)):
            if moment is not None:
                yield f"{kind} second {moment.mos:.2f} at {_clock(moment.start_s)}"
    if explanation.artefacts:
        yield f"likely artefacts: {'; '.join(map(_artefact, explanation.artefacts))}"
    lowers = {name: value for name, value in explanation.contributions.items() if value < 0}
    lifts = {name: value for name, value in explanation.contributions.items() if value > 0}
    for verb, parts in (("pull down", lowers), ("lift", lifts)):
        if parts:
            yield f"parts that {verb}: {_listed(parts)}"
    if not explanation.contributions:
        yield f"parts: {explanation.method}"


def _artefact(artefact: Artefact) -> str:
    stretches = [f"{_clock(start)} to {_clock(stop)}" for start, stop in artefact.stretches]
    more = ", …" if len(stretches) > _MOST_PARTS else ""
    return f"{artefact.sentence} ({', '.join(stretches[:_MOST_PARTS])}{more})"


def _listed(parts: Mapping[str, float]) -> str:
    largest = sorted(parts.items(), key=lambda part: -abs(part[1]))[:_MOST_PARTS]
    return ", ".join(f"{PART_NAMES.get(name, name)} {value:+.2f}" for name, value in largest)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes)}:{rest:04.1f}"
