"""Pictures that are in memory as a video: what `video.py` makes of files, without a file."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange

from ugcvqa.errors import VideoError
from ugcvqa.media.convert import Converter
from ugcvqa.media.decode import Frame
from ugcvqa.media.marks import mark_of, state_range
from ugcvqa.media.video import VideoInfo

NAME = "frames in memory"
"""Stands for the file name."""

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
    """States what a video of so many pictures holds; times are evenly spaced.

    Args:
        n_frames: number of pictures.
        height: rows of a picture as it is.
        width: columns of it.
        rate: frames per second.
        first: the first of them as a decoded frame; None for RGB pictures.
        full_range: the source of RGB pictures or planes is full-range video.
    """
    frame = first or av.VideoFrame(2, 2, "rgb24")
    orientation = mark_of(frame).orientation
    is_upright = orientation.quarter_turns % 2 == 0
    return VideoInfo(
        path=NAME,
        container="",
        codec="rawvideo",
        pix_fmt=frame.format.name,
        height=height if is_upright else width,
        width=width if is_upright else height,
        rotation=90 * orientation.quarter_turns,
        is_mirrored=orientation.is_mirrored,
        is_rgb_of_full_range=full_range,
        n_frames=n_frames,
        rate=rate,
        duration_s=float(n_frames / rate),
        bit_depth=max(component.bits for component in frame.format.components),
        colour_range=state_range(frame) if first else "pc",
        is_interlaced=frame.interlaced_frame,
        is_variable_rate=False,
        has_audio=False,
        file_bytes=0,
        times_s=np.arange(n_frames) / float(rate),
    )


def frames_of(pictures: Iterable["Picture | Planes | Frame"], full_range: bool = False) -> Iterator[Frame]:
    """Wraps pictures as decoded frames.

    RGB (H, W, 3) uint8 takes the way of a losslessly coded RGB file from here on: features that want YUV get BT.601 at
    4:2:0, features that want RGB get the pictures as they are. Planes and decoded frames take the way of a file that
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
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, values in zip(frame.planes, planes, strict=True):
        if values.shape != (plane.height, plane.width):
            raise VideoError(f"{NAME}: a plane is {values.shape}, not {(plane.height, plane.width)} as 4:2:0 wants")
        padded = np.zeros((plane.height, plane.line_size), np.uint8)
        padded[:, : plane.width] = values
        plane.update(padded.tobytes())
    frame.color_range = int(ColorRange.JPEG if full_range else ColorRange.MPEG)
    return frame
