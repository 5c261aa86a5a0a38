"""Pictures that are in memory as a video: what `video.py` makes of files, without a file."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

from ugcvqa.media.decode import Frame
from ugcvqa.media.video import VideoInfo

NAME = "frames in memory"
"""Stands for the file name."""

Picture = npt.NDArray[np.uint8]


def memory_info(n_frames: int, height: int, width: int, rate: Fraction) -> VideoInfo:
    """States what a video of so many RGB pictures holds; times are evenly spaced.

    Args:
        n_frames: number of pictures.
        height: rows.
        width: columns.
        rate: frames per second.
    """
    return VideoInfo(
        path=NAME,
        container="",
        codec="rawvideo",
        pix_fmt="rgb24",
        height=height,
        width=width,
        rotation=0,
        n_frames=n_frames,
        rate=rate,
        duration_s=float(n_frames / rate),
        bit_depth=8,
        colour_range="pc",
        is_interlaced=False,
        is_variable_rate=False,
        has_audio=False,
        file_bytes=0,
        times_s=np.arange(n_frames) / float(rate),
    )


def frames_of(pictures: Iterable[Picture]) -> Iterator[Frame]:
    """Wraps (H, W, 3) uint8 RGB pictures as decoded frames.

    From here on they take the way of a losslessly coded RGB file: features that want YUV get BT.601 limited range at
    4:2:0, features that want RGB get the pictures as they are.
    """
    for picture in pictures:
        yield av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
