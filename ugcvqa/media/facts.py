"""What a video file holds, and which of it makes a score doubtful."""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np


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
        rate: frames per second.
        duration_s: n_frames / rate, in seconds.
        bit_depth: bits of the deepest component.
        colour_range: "tv" (limited), "pc" (full) or "" (not stated).
        is_interlaced: the first frame is marked as two fields; frames are handed out as decoded.
        is_variable_rate: the steps between frame times differ by more than rounding explains.
        has_audio: the file has an audio track too.
        file_bytes: size of the file.
        container_s: length in seconds that the container states for all its tracks, None if it states none.
        times_s: (n_frames,) float64, times of the frames in seconds from the first on, ascending.
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
