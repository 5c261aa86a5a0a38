"""What a video file holds, and which of these facts make a score doubtful."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.media.clock import KINDS, Break
from ugcvqa.media.damage import DamageLog
from ugcvqa.media.levels import Levels
from ugcvqa.media.marks import Marks
from ugcvqa.media.orientation import Orientation, Rectangle
from ugcvqa.media.sampling import Seconds

_NARROWEST = Fraction(1, 5)  # a stranger pixel aspect is taken for a mistake when pictures are shown
_FEW_FRAMES, _SHORT_S = 16, 1.5  # below, features see one second at most
_MOST_PLACES = 3
_AS_CODED = "features are of the frames as coded, only end-to-end networks see them as displayed"


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
        is_mirrored: left and right are exchanged before that turn.
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
        breaks: where time stamps do not continue as before.
        pixel_aspect: width of a displayed pixel divided by its height; only the form "shown" has square pixels.
        is_turned_oddly: the file asks for another angle than a multiple of 90 degrees, or for a sheared picture.
        is_rgb_of_full_range: RGB frames were made from full-range YUV, to which features that want YUV take them back.
        shown_part: first row, first column, rows and columns that the container asks to show of a frame after rotation,
            None for all of it; only the form "shown" is cut to it.
        transfer: name of a colour transfer other than standard video's, empty if there is none.
        levels: what the pictures are like as a whole, known after decoding only.
        other_videos: video streams that are not read, such as "640x360 h264"; attached pictures do not count.
        marks: marks of stream and frames that make a score doubtful; those of frames are known after decoding.
        damage: signs of damage that cost no frame, see `damage.py`; those in the pictures are known after decoding
            only.
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
    pixel_aspect: Fraction = Fraction(1)
    is_mirrored: bool = False
    is_turned_oddly: bool = False
    is_rgb_of_full_range: bool = False
    shown_part: Rectangle | None = None
    transfer: str = ""
    levels: str = ""
    other_videos: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()

    @property
    def orientation(self) -> Orientation:
        """How decoded frames are mirrored and turned."""
        return Orientation(self.rotation // 90 % 4, self.is_mirrored)

    @property
    def shown_size(self) -> tuple[int, int]:
        """(height, width) of the part that is shown, with square pixels: the side along which they are longer grows."""
        _, _, height, width = self.shown_part or (0, 0, self.height, self.width)
        aspect = self.pixel_aspect if _NARROWEST <= self.pixel_aspect <= 1 / _NARROWEST else Fraction(1)
        return (height, round(width * aspect)) if aspect >= 1 else (round(height / aspect), width)

    def cut_to_shown(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The shown part of a whole picture (h, w) or (h, w, C) after rotation, of any size, as a view."""
        if self.shown_part is None:
            return image
        top, left, rows, columns = self.shown_part
        y, x = image.shape[0] / self.height, image.shape[1] / self.width
        return image[int(top * y) : math.ceil((top + rows) * y), int(left * x) : math.ceil((left + columns) * x)]

    @property
    def end_s(self) -> float:
        """End of the last frame, seconds from the first frame."""
        return float(self.times_s[-1]) + float(1 / self.rate) if self.seconds is None else self.duration_s

    def with_findings(self, findings: "Findings") -> "VideoInfo":
        """The same facts with what decoding found."""
        damage = tuple(dict.fromkeys((*self.damage, *findings.damage.lines(self.times_s))))
        marks = tuple(dict.fromkeys((*self.marks, *findings.marks.sentences(self.times_s))))
        return replace(self, damage=damage, levels=findings.levels.summary(), marks=marks)


@dataclass
class Findings:
    """What is known of a video only after it has been decoded; the decode pass fills it.

    Attributes:
        damage: what the decoder noticed of damage that cost no frame.
        levels: what the pictures are like as a whole.
        marks: what frames say of themselves.
    """

    damage: DamageLog = field(default_factory=DamageLog)
    levels: Levels = field(default_factory=Levels)
    marks: Marks = field(default_factory=Marks)


def doubts_of(info: VideoInfo | None) -> tuple[str, ...]:
    """Lists the facts of a video that make its score doubtful.

    Args:
        info: the video, with what decoding found; None if it could not be measured.

    Returns:
        One plain sentence each, without "; ", which separates them in tables.
    """
    return () if info is None else tuple(sentence.replace("; ", ", ") for sentence in _doubts(info))


def _doubts(info: VideoInfo) -> Iterator[str]:
    yield from (f"the file may be damaged: {line}" for line in info.damage)
    yield from _clock_doubts(info)
    if info.levels:
        yield info.levels
    if info.n_frames < _FEW_FRAMES or info.duration_s < _SHORT_S:
        yield f"the video has only {info.n_frames} frames in {info.duration_s:.2g} s, so the score rests on very little"
    if info.transfer:
        yield f"the video is coded for {info.transfer}, but is scored as standard (SDR) video"
    if info.pixel_aspect != 1:
        ratio = f"{info.pixel_aspect.numerator}:{info.pixel_aspect.denominator}"
        yield f"its pixels are not square ({ratio}), {_AS_CODED}"
    if info.shown_part:
        yield (
            f"the file asks to show only {info.shown_part[3]}x{info.shown_part[2]} of its {info.width}x{info.height} "
            f"pixels, {_AS_CODED}"
        )
    if info.is_turned_oddly:
        yield "the file asks for a turn by an odd angle, and is scored at the nearest right angle"
    yield from info.marks
    if info.other_videos:
        others, used = ", ".join(info.other_videos), f"{info.width}x{info.height} {info.codec}"
        yield f"the file holds other video too ({others}), only its main stream ({used}) is scored"
    if info.is_interlaced:
        yield "the video is interlaced and is scored as it is coded, so the lines of its two fields count as detail"


def _clock_doubts(info: VideoInfo) -> Iterator[str]:
    """What the time stamps say."""
    if not info.has_stamps:
        yield f"the file holds no time stamps, so {float(info.rate):.5g} frames per second are assumed"
    if info.is_variable_rate:
        yield "the frame rate varies, so seconds are counted in time and not in frames"
    restarts, pauses, gaps = ([each for each in info.breaks if each.kind == kind] for kind in KINDS)
    if restarts:
        yield f"time stamps start again {_places(restarts)}, as in joined recordings, and are joined end to end"
    if pauses:
        lost_s = sum(each.length_s for each in pauses)
        yield f"{lost_s:.1f} s without frames are left out of all times {_places(pauses)}"
    if gaps:
        longest = max(gaps, key=lambda each: each.length_s)
        more = f", and {len(gaps) - 1} more times" if len(gaps) > 1 else ""
        yield f"no frames come for {longest.length_s:.1f} s after {longest.at_s:.1f} s{more}: held, or lost"


def _places(breaks: Sequence[Break]) -> str:
    """Where the first breaks are."""
    places = ", ".join(f"{each.at_s:.1f}" for each in breaks[:_MOST_PLACES])
    return f"after {places}{', ...' if len(breaks) > _MOST_PLACES else ''} s"
