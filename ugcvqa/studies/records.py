"""What was measured on each video as lines of the study's files: of frames, of videos, of curves."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ugcvqa.arrays import Array
from ugcvqa.studies.measures import ORDERS, VideoMeasures

_OF_A_FRAME = ("cosine", "permuted", "is_empty", "is_grey", "centre", "half_area", "entropy")


class FrameRow(NamedTuple):
    """One frame, as a line of frames.csv, numbered from 1 as in the pictures; see `VideoMeasures.arrays`."""

    data: str
    video_id: str
    frame: int
    cosine: float
    permuted: float
    is_empty: bool
    is_grey: bool
    centre: float
    half_area: float
    entropy: float


class VideoRow(NamedTuple):
    """One video, as a line of videos.csv: means over its frames that have a map, and facts of the file."""

    data: str
    video_id: str
    n_frames: int
    n_without_map: int
    n_grey: int
    is_short: bool
    cosine: float
    permuted: float
    width: int
    height: int
    fps: float
    duration_s: float


class CurveRow(NamedTuple):
    """Deletion and insertion of one frame, numbered from 1, in one order, as a line of curves.csv."""

    data: str
    video_id: str
    frame: int
    order: str
    class_index: int
    deletion_auc: float
    insertion_auc: float
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]


def frame_rows(measures: VideoMeasures) -> Iterator[FrameRow]:
    """The sampled frames of a video."""
    arrays = measures.arrays
    columns = [arrays[key].tolist() for key in _OF_A_FRAME]
    for frame, *values in zip(arrays["frame_index"].tolist(), *columns, strict=True):
        yield FrameRow(measures.data, measures.video_id, frame + 1, *values)


def video_row(measures: VideoMeasures) -> VideoRow:
    """A video, from its measures."""
    arrays, facts = measures.arrays, measures.facts
    has_value = ~np.isnan(arrays["cosine"])
    return VideoRow(
        measures.data,
        measures.video_id,
        len(has_value),
        int(arrays["is_empty"].sum()),
        int(arrays["is_grey"].sum()),
        bool(facts["is_short"]),
        mean(arrays["cosine"][has_value]),
        mean(arrays["permuted"][has_value]),
        facts["width"],
        facts["height"],
        facts["fps"],
        facts["duration_s"],
    )


def curve_rows(measures: VideoMeasures) -> Iterator[CurveRow]:
    """The frames of a video that have curves, in each order of `ORDERS`."""
    arrays = measures.arrays
    frames = (arrays["frame_index"][arrays["curve_place"]] + 1).tolist()
    for frame, index, orders in zip(frames, arrays["curve_class"].tolist(), arrays["curves"], strict=True):
        for order, (deletion, insertion) in zip(ORDERS, orders, strict=True):
            area, other_area = (float(np.trapezoid(curve, dx=1 / (len(curve) - 1))) for curve in (deletion, insertion))
            lines = (tuple(deletion.tolist()), tuple(insertion.tolist()))
            yield CurveRow(measures.data, measures.video_id, frame, order, index, area, other_area, *lines)


def mean(values: Array) -> float:
    """Mean; NaN without values."""
    return float(np.mean(values)) if len(values) else math.nan
