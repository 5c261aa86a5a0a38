"""The distortion suite: does a model put versions of a clip that cannot look better below the clip?"""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ugcvqa.demo.versions import Expectation, versions
from ugcvqa.errors import VideoError
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import probe, read_frames
from ugcvqa.scoring.scorers import Scorer

SECONDS = 2.05
"""Length of the versions: two chunks of the NSS features."""

_START_S = 1.0  # the first second is often a fade
_MOST_ABOVE, _LARGEST_CHANGE = 0.05, 0.1  # MOS


class Judged(NamedTuple):
    """Verdict of a model on one version.

    Attributes:
        clip: name of the clip.
        kind: what was done to it.
        expectation: `worse` or `same`.
        mos: its score; NaN if the model refuses it, as one that stands still.
        change: `mos` minus the score of the clip.
        is_wrong: more than 0.05 above the clip where it is worse, more than 0.1 off where it is the same.
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
    info = probe(path)
    count = min(info.n_frames, math.ceil(seconds * info.rate))
    start = min(round(_START_S * float(info.rate)), info.n_frames - count)
    frames = np.stack([image.transpose(1, 2, 0) for _, _, image in read_frames(path, range(start, start + count))])
    frames = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
    own = math.nan
    for version in versions(frames, Fraction(info.rate).limit_denominator(1001)):
        file = folder / f"{version.kind or 'clip'}.mp4"
        write_video(file, version.frames, version.rate, options=version.options)
        (score,) = model.score_many([file])
        file.unlink()
        if not version.kind:
            own = score.mos
            if score.reason:
                raise VideoError(score.reason)
            continue
        change = score.mos - own
        is_wrong = change > _MOST_ABOVE if version.expectation == "worse" else not abs(change) <= _LARGEST_CHANGE
        yield Judged(path.stem, version.kind, version.expectation, score.mos, change, is_wrong)


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
