"""A few frames of a video file: read in one pass that ends at the last of them, in long files by seeking."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ugcvqa.display.images import Image, shrunk
from ugcvqa.media.sampling import Piece
from ugcvqa.media.video import VideoInfo, picture_at, read_clips
from ugcvqa.settings.data import DecodeLimits

_LONG = 300  # frames for each that is wanted, beyond which seeking is quicker than decoding all


@dataclass(frozen=True)
class Shot:
    """One frame of a video.

    Attributes:
        time_s: presentation time, seconds from the first frame.
        image: (H, W, 3) uint8 RGB.
        squashed: (3, 224, 224) uint8 RGB, as the saliency network sees the frame; None unless asked for.
        saliency: (h, w) float32, 0..1, its saliency map, of the part that is shown; None unless computed.
    """

    time_s: float
    image: Image = field(repr=False, compare=False)
    squashed: Image | None = field(default=None, repr=False, compare=False)
    saliency: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)


def even_times(duration_s: float, count: int) -> tuple[float, ...]:
    """The middles of `count` equal parts of a video, seconds."""
    return tuple(duration_s * (k + 0.5) / count for k in range(count))


def read_shots(
    info: VideoInfo,
    times_s: Sequence[float],
    limits: DecodeLimits,
    long_side_px: int | None = None,
    squash: bool = False,
) -> list[Shot]:
    """Reads the frames that are shown at given moments.

    Only one frame at full size is in memory at a time, unless full size is asked for.

    Args:
        info: measurements of the file.
        times_s: moments in seconds from the first frame, in any order; moments of the same frame give it once.
        limits: bounds on what is decoded.
        long_side_px: longer side of the images, which are made smaller if need be; None keeps the size.
        squash: add the frames as the saliency network sees them.

    Returns:
        The frames in order of time.

    Raises:
        VideoError: if the file cannot be read or decoded so far.
    """
    indices = sorted({_frame_at(info, time_s) for time_s in times_s})
    if not squash and info.n_frames > _LONG * len(indices):
        images = (picture_at(info.path, index, info, limits)[1] for index in indices)
        return [
            Shot(float(info.times_s[index]), _sized(image, long_side_px))
            for index, image in zip(indices, images, strict=True)
        ]
    forms = ("shown", "rgb224") if squash else ("shown",)

    def plan(_: VideoInfo) -> Iterator[Piece]:
        for index in indices:
            yield Piece({form: (index,) for form in forms})

    shots: list[Shot] = []
    for clip in read_clips(Path(info.path), {"shots": plan}, limits, info=info):
        image = np.ascontiguousarray(clip.frames["shown"][0].transpose(1, 2, 0))
        squashed = np.array(clip.frames["rgb224"][0]) if squash else None
        shots.append(Shot(float(info.times_s[indices[len(shots)]]), _sized(image, long_side_px), squashed))
        if len(shots) == len(indices):
            break
    return shots


def _sized(image: Image, long_side_px: int | None) -> Image:
    return np.ascontiguousarray(image if long_side_px is None else shrunk(image, long_side_px))


def _frame_at(info: VideoInfo, time_s: float) -> int:
    """The frame on the screen at a moment."""
    place = int(np.searchsorted(info.times_s, time_s + 1e-6, side="right")) - 1
    return min(max(place, 0), info.n_frames - 1)
