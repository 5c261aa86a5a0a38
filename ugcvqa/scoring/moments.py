"""The worst and the best second of a video as pictures."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ugcvqa.errors import VideoError
from ugcvqa.media.video import VideoInfo, picture_at
from ugcvqa.scoring.explanation import Moment, Timeline
from ugcvqa.settings.data import DecodeLimits

LONG_SIDE_PX = 640
"""Longest side of a picture."""

Picture = Callable[[int, VideoInfo], tuple[float, npt.NDArray[np.uint8]]]
"""Function of a frame index and the video's measurements giving the time of that frame and its (H, W, 3) picture."""


def file_picture(path: str, limits: DecodeLimits | None) -> Picture:
    """Reads single frames of a file by seeking."""

    def picture(index: int, info: VideoInfo) -> tuple[float, npt.NDArray[np.uint8]]:
        return picture_at(path, index, info, limits or DecodeLimits())

    return picture


def worst_and_best(timeline: Timeline, info: VideoInfo, picture: Picture) -> tuple[Moment | None, Moment | None]:
    """Takes a picture in the middle of the entries of lowest and of highest score; of equal ones the first.

    Args:
        timeline: the score second by second.
        info: the video.
        picture: reads one frame.

    Returns:
        Worst and best; None where no entry has a score, or the file cannot be read any more.
    """
    scores = np.array(timeline.mos)
    if not np.isfinite(scores).any():
        return None, None
    try:
        worst, best = (_moment(timeline, int(pick(scores)), info, picture) for pick in (np.nanargmin, np.nanargmax))
    except VideoError:
        return None, None
    return worst, best


def _moment(timeline: Timeline, entry: int, info: VideoInfo, picture: Picture) -> Moment:
    from ugcvqa.display.images import shrunk

    middle_s = (timeline.start_s[entry] + timeline.stop_s[entry]) / 2
    index = int(np.searchsorted(info.times_s, middle_s, side="right")) - 1
    time_s, frame = picture(min(max(index, 0), info.n_frames - 1), info)
    return Moment(
        timeline.start_s[entry], timeline.mos[entry], time_s, np.ascontiguousarray(shrunk(frame, LONG_SIDE_PX))
    )
