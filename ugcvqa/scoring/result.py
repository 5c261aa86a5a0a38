"""The score of one video: what a model says about it, and why it has none."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ugcvqa.errors import VideoError
from ugcvqa.media.facts import VideoInfo
from ugcvqa.scoring.explanation import Explanation, Timeline
from ugcvqa.scoring.failures import error_code


@dataclass(frozen=True)
class Score:
    """What a model says about one video.

    Attributes:
        path: the file as it was given.
        mos: predicted score on the label scale, clipped to it; higher is better. NaN if the video failed.
        pred: the head's output before clipping, same unit.
        reason: why the video has no score, empty if it has one.
        std: standard deviation of a measured label about `pred`, same unit; NaN where the head knows none.
        parts: numbers that the score is made of, by name.
        details: what else the model says about the video, by name: lists and mappings of numbers.
        low: lower end of the 90 % interval of a newly measured label, same unit; NaN where unknown.
        high: upper end of it.
        warnings: why the score may not hold for this video, one plain sentence each: facts of the file, then what the
            model says. A failed video has those found until then.
        timeline: the score second by second; None unless asked for.
        explanation: which parts and seconds make the score; None unless asked for.
        duration_s: length of the video in seconds, as it was decoded; NaN where it was not measured.
        width: columns of its frames after rotation, None where they were not measured.
        height: rows of its frames.
        file_bytes: size of the file.
    """

    path: str
    mos: float
    pred: float
    reason: str = ""
    std: float = math.nan
    parts: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    low: float = math.nan
    high: float = math.nan
    warnings: tuple[str, ...] = ()
    timeline: Timeline | None = None
    explanation: Explanation | None = None
    duration_s: float = math.nan
    width: int | None = None
    height: int | None = None
    file_bytes: int | None = None

    @property
    def error_code(self) -> str:
        """What kind of failure `reason` describes, one of `failures.MEANINGS`; empty if the video has a score."""
        return error_code(self.reason, self.path)

    def of_file(self, info: VideoInfo | None) -> "Score":
        """The same with the length and size of the video, as far as it was measured."""
        if info is None:
            return self
        seconds = float(info.duration_s)
        return replace(self, duration_s=seconds, width=info.width, height=info.height, file_bytes=info.file_bytes)

    def as_dict(self) -> dict[str, Any]:
        """Returns the score as plain numbers, texts, lists and mappings, as JSON wants them.

        What is not known is None. Pictures are left out, and so is what was not asked for.
        """
        record = {
            "video": self.path,
            "mos": self.mos,
            "pred": self.pred,
            "std": self.std,
            "low": self.low,
            "high": self.high,
            "warnings": list(self.warnings),
            "error": self.reason or None,
            "error_code": self.error_code or None,
            "duration_s": self.duration_s,
            "width": self.width,
            "height": self.height,
            "file_bytes": self.file_bytes,
            **({"parts": dict(self.parts)} if self.parts else {}),
            **self.details,
        }
        for name, asked in (("timeline", self.timeline), ("explanation", self.explanation)):
            record |= {name: asked.as_dict()} if asked is not None else {}
        plain: dict[str, Any] = _known(record)
        return plain


def _known(value: Any) -> Any:  # noqa: ANN401 (anything JSON knows)
    """None in place of NaN and infinities, which JSON does not know."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _known(inner) for key, inner in value.items()}
    return [_known(inner) for inner in value] if isinstance(value, list | tuple) else value


def only(scores: Iterator[Score]) -> Score:
    """Takes the score of a single video.

    Raises:
        VideoError: if the video failed.
    """
    (score,) = scores
    if score.reason:
        raise VideoError(score.reason)
    return score
