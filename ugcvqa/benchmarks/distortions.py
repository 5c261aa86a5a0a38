"""The distortion suite: does a model put versions of a clip that cannot look better below the clip?"""

import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ugcvqa.demo.scene import Frames
from ugcvqa.demo.versions import NEARLY_LOSSLESS, Expectation, halved, versions
from ugcvqa.errors import VideoError
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import probe, read_frames
from ugcvqa.scoring.scorers import Scorer

SECONDS = 2.05
"""Length of the versions: two chunks of the NSS features."""

_START_S = 1.0  # the first second is often a fade
_MOST_ABOVE, _LARGEST_CHANGE = 0.05, 0.1  # MOS

_LADDERS = {
    "x264": ("libx264", {"preset": "veryfast", "mbtree": "0"}),
    "x265": ("libx265", {"preset": "ultrafast"}),
}
_RATE_FACTORS = (18, 24, 30, 36, 42, 48)
_HALVED = 720  # lines of the shorter side from which half the size is plain to see


class Judged(NamedTuple):
    """Verdict of a model on one version.

    Attributes:
        clip: name of the clip.
        kind: what was done to it.
        expectation: `worse` or `same`.
        mos: its score; NaN if the model refuses it, as one that stands still.
        change: `mos` minus the score of the clip.
        is_wrong: more than 0.05 above the clip where it is worse, more than 0.1 off where it is the same; above it at
            all where it is a rung of a ladder or half as large.
    """

    clip: str
    kind: str
    expectation: Expectation
    mos: float
    change: float
    is_wrong: bool


def judged(model: Scorer, path: Path, folder: Path, seconds: float = SECONDS) -> Iterator[Judged]:
    """Writes the versions of a clip one after the other, scores and deletes them.

    Args:
        model: what scores.
        path: the clip.
        folder: for the versions.
        seconds: their length; they begin one second into the clip, earlier where it is too short.

    Raises:
        VideoError: if the clip, or its copy, cannot be scored.
    """
    frames, rate = _excerpt(path, seconds)
    own = math.nan
    for version in versions(frames, rate):
        file = folder / f"{version.kind or 'clip'}.mp4"
        write_video(file, version.frames, version.rate, options=version.options)
        mos = _scored(model, file, may_be_refused=bool(version.kind))
        if not version.kind:
            own = mos
            continue
        change = mos - own
        is_wrong = change > _MOST_ABOVE if version.expectation == "worse" else not abs(change) <= _LARGEST_CHANGE
        yield Judged(path.stem, version.kind, version.expectation, mos, change, is_wrong)


def judged_encodings(model: Scorer, path: Path, folder: Path, seconds: float = SECONDS) -> Iterator[Judged]:
    """Scores two encoding ladders of a clip, and a copy of half its size where it has 720 lines or more.

    Every two rungs of a ladder are compared, 15 pairs a codec: `change` is the heavier minus the lighter one.

    Args:
        model: what scores.
        path: the clip.
        folder: for the versions.
        seconds: their length, as for `judged`.

    Raises:
        VideoError: if a version cannot be scored.
    """
    frames, rate = _excerpt(path, seconds)
    for codec, (encoder, options) in _LADDERS.items():
        scores = []
        for factor in _RATE_FACTORS:
            write_video(folder / "rung.mp4", frames, rate, encoder, options={**options, "crf": str(factor)})
            scores.append(_scored(model, folder / "rung.mp4"))
        for lighter, heavier in itertools.combinations(scores, 2):
            yield Judged(path.stem, f"{codec} ladder", "worse", heavier, heavier - lighter, heavier > lighter)
    if min(frames.shape[1:3]) >= _HALVED:
        both = []
        for version in (frames, halved(frames)[:, : frames.shape[1] // 4 * 2, : frames.shape[2] // 4 * 2]):
            write_video(folder / "size.mp4", version, rate, options=NEARLY_LOSSLESS)
            both.append(_scored(model, folder / "size.mp4"))
        yield Judged(path.stem, "half size", "worse", both[1], both[1] - both[0], both[1] > both[0])


def _excerpt(path: Path, seconds: float) -> tuple[Frames, Fraction]:
    """Some seconds of a clip, with even sides, and its frame rate."""
    info = probe(path)
    count = min(info.n_frames, math.ceil(seconds * info.rate))
    start = min(round(_START_S * float(info.rate)), info.n_frames - count)
    frames = np.stack([image.transpose(1, 2, 0) for _, _, image in read_frames(path, range(start, start + count))])
    even = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
    return even, Fraction(info.rate).limit_denominator(1001)


def _scored(model: Scorer, file: Path, may_be_refused: bool = False) -> float:
    """MOS of a version, which is deleted; NaN if the model refuses it."""
    (score,) = model.score_many([file])
    file.unlink()
    if score.reason and not may_be_refused:
        raise VideoError(score.reason)
    return score.mos


def suite_table(found: Sequence[Judged]) -> str:
    """Kinds as rows with their mean effect and wrong orders, and the sum, as Markdown."""
    lines = ["| version | must be | mean change | largest | wrong |", "|---|---|---:|---:|---:|"]
    for kind in dict.fromkeys(one.kind for one in found):
        own = [one for one in found if one.kind == kind]
        changes = [one.change for one in own if math.isfinite(one.change)]
        effect = f"{np.mean(changes):+.2f}" if changes else "no score"
        largest = f"{max(changes):+.2f}" if changes else ""
        n_wrong = sum(one.is_wrong for one in own)
        lines.append(f"| {kind} | {own[0].expectation} | {effect} | {largest} | {n_wrong} of {len(own)} |")
    lines.append(f"| all | | | | {sum(one.is_wrong for one in found)} of {len(found)} |")
    return "\n".join(lines)
