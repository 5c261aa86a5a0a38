"""What a video file holds, and which of it makes a score doubtful."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from ugcvqa.media.clock import Break
from ugcvqa.media.damage import DamageLog
from ugcvqa.media.sampling import Seconds


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds, measured and not taken from its header.

    Attributes:
        path: the file, as given.
        container: name of the container format, such as "mov,mp4,m4a,3gp,3g2,mj2".
        codec: canonical codec name, such as "h264".
        pix_fmt: pixel format of the decoded frames, before any conversion.
        height: rows after rotation.
        width: columns after rotation.
        rotation: degrees by which frames are turned counter-clockwise for display: 0, 90, 180 or 270. It is
            applied to all frames handed out.
        n_frames: frames that decoding yields.
        rate: frames per second, where frames are.
        duration_s: n_frames / rate in seconds, where the rate varies the time from the first frame to the end of the
            last, with breaks closed up.
        bit_depth: bits of the deepest component.
        colour_range: "tv" (limited), "pc" (full) or "" (not stated).
        is_interlaced: the first frame is marked as two fields; frames are handed out as decoded.
        is_variable_rate: counting frames would misplace some by half a second, or held frames hide the rate; `seconds`
            then replaces seconds that are counted in frames.
        has_audio: the file has an audio track too.
        file_bytes: size of the file.
        container_s: length in seconds that the container states for all its tracks, None if it states none.
        times_s: (n_frames,) float64, times of the frames in seconds from the first on, ascending, breaks closed up.
        start_s: time stamp of the first frame in seconds.
        has_stamps: the file holds time stamps; else `rate` is what its header states, or 25.
        seconds: the seconds of time where the rate varies, else None.
        breaks: where time stamps do not go on as before.
        damage: what was noticed of damage that cost no frame, see `damage.py`; that of the pictures is known after
            decoding only.
    """

    path: str
    container: str
    codec: str
    pix_fmt: str
    height: int
    width: int
    rotation: int
    n_frames: int
    rate: Fraction
    duration_s: float
    bit_depth: int
    colour_range: str
    is_interlaced: bool
    is_variable_rate: bool
    has_audio: bool
    file_bytes: int
    container_s: float | None = None
    times_s: np.ndarray = field(default_factory=lambda: np.empty(0), compare=False, repr=False)
    start_s: float = 0.0
    has_stamps: bool = True
    seconds: Seconds | None = field(default=None, repr=False)
    breaks: tuple[Break, ...] = field(default=(), repr=False)
    damage: tuple[str, ...] = ()

    @property
    def end_s(self) -> float:
        """End of the last frame, seconds from the first frame."""
        return float(self.times_s[-1]) + float(1 / self.rate) if self.seconds is None else self.duration_s

    def with_findings(self, findings: "Findings") -> "VideoInfo":
        """The same facts with what decoding found."""
        return replace(self, damage=tuple(dict.fromkeys((*self.damage, *findings.damage.lines(self.times_s)))))


@dataclass
class Findings:
    """What is known of a video only after it has been decoded; the decode pass fills it.

    Attributes:
        damage: what the decoder noticed of damage that cost no frame.
    """

    damage: DamageLog = field(default_factory=DamageLog)


def doubts_of(info: VideoInfo | None) -> tuple[str, ...]:
    """Says which facts of a video make its score doubtful.

    Args:
        info: the video, with what decoding found; None if it could not be measured.

    Returns:
        One plain sentence each, without "; ", which separates them in tables.
    """
    return () if info is None else tuple(sentence.replace("; ", ", ") for sentence in _doubts(info))


def _doubts(info: VideoInfo) -> Iterator[str]:
    yield from (f"the file is damaged: {line}" for line in info.damage)
    if info.is_interlaced:
        yield "the video is interlaced and is scored as it is coded, so the lines of its two fields count as detail"
