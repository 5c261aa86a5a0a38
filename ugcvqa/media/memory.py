"""Pictures that are in memory as a video: what `video.py` makes of files, without a file."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange

from ugcvqa.errors import VideoError
from ugcvqa.media.convert import Converter, frame_of_planes
from ugcvqa.media.decode import Frame
from ugcvqa.media.marks import frame_facts
from ugcvqa.media.video import VideoInfo

NAME = "frames in memory"
"""What is shown in place of a file name."""

Picture = npt.NDArray[np.uint8]
Planes: TypeAlias = tuple[Picture, Picture, Picture]
"""Y (H, W), U and V (ceil(H/2), ceil(W/2)), uint8."""


def memory_info(
    n_frames: int,
    height: int,
    width: int,
    rate: Fraction,
    first: Frame | None = None,
    full_range: bool = False,
) -> VideoInfo:
    """States what a video of `n_frames` pictures holds; times are evenly spaced.

    Args:
        n_frames: number of pictures.
        height: rows of a picture as it is.
        width: columns of it.
        rate: frames per second.
        first: the first of them as a decoded frame; None for RGB pictures.
        full_range: the source of RGB pictures or planes is full-range video.
    """
    facts = frame_facts(first or av.VideoFrame(2, 2, "rgb24"), height, width)
    return VideoInfo(
        path=NAME,
        container="",
        codec="rawvideo",
        **(facts if first else {**facts, "colour_range": "pc"}),
        is_rgb_of_full_range=full_range,
        n_frames=n_frames,
        rate=rate,
        duration_s=float(n_frames / rate),
        is_variable_rate=False,
        has_audio=False,
        file_bytes=0,
        times_s=np.arange(n_frames) / float(rate),
    )


def frames_of(pictures: Iterable["Picture | Planes | Frame"], full_range: bool = False) -> Iterator[Frame]:
    """Wraps pictures as decoded frames.

    RGB (H, W, 3) uint8 is treated as a losslessly coded RGB file from here on: features that want YUV get BT.601 at
    4:2:0, features that want RGB get the pictures as they are. Planes and decoded frames are treated as a file that
    decodes to them.
    """
    for picture in pictures:
        if isinstance(picture, Frame):
            yield picture
        elif isinstance(picture, tuple):
            yield _frame_of_planes(picture, full_range)
        else:
            yield av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")


def shown(picture: "Picture | Planes | Frame", info: VideoInfo) -> Picture:
    """One picture as (H, W, 3) uint8 RGB, as displayed."""
    (frame,) = frames_of([picture], info.is_rgb_of_full_range)
    return Converter(info)(frame, {"shown"})["shown"].copy()


def _frame_of_planes(planes: Planes, full_range: bool) -> Frame:
    try:
        frame = frame_of_planes(planes)
    except ValueError as error:
        raise VideoError(f"{NAME}: {error}") from error
    frame.color_range = int(ColorRange.JPEG if full_range else ColorRange.MPEG)
    return frame
