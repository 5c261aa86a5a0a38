"""The score of a video second by second, from the features of each second alone.

Definition: an entry's score is what the model says of a video that is that second and no more. Its features are pooled
over the second's own frames or chunks as those of a whole video are: a second is one chunk of the NSS features, so its
vector holds that chunk's mean, difference and temporal blocks, as the package gives a video of one chunk. Facts of the
file are the same in every second. So a video that never changes has a flat timeline equal to its score. Elsewhere the
mean of the timeline is near the score but not equal to it, because heads are not linear. Keeping the whole video's
difference block, or leaving one second out, was tried on clips with a spoiled middle third: these show the drop no
better, and a score without one second depends on the video's length.

Networks over frames give each frame's share in the score instead, whose mean over frames is the score itself.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.features.by_second import Grid, SecondFeatures
from ugcvqa.features.extraction import VideoResult
from ugcvqa.features.rows import assemble_row
from ugcvqa.heads.fitted import FittedHead
from ugcvqa.media.facts import VideoInfo
from ugcvqa.scoring.explanation import Timeline

_BLOCK = 64  # entries whose vectors are in memory at once

Scale = tuple[float, float]


def timeline_of(
    head: FittedHead, row: str, scale: Scale, features: npt.NDArray[Any], result: VideoResult, info: VideoInfo
) -> Timeline:
    """Makes the timeline of a video with any head.

    Args:
        head: the head.
        row: feature row that it was trained on.
        scale: (lowest, highest) value of the label.
        features: what the head takes of the whole video.
        result: features of the video with those of its seconds.
        info: the video.

    Returns:
        An entry per second, see `by_second.Grid`; for an end-to-end network one per sampled frame, each for
        an equal part of the video.
    """
    frame_scores = head.frame_scores(features)
    if frame_scores is None:
        return vector_timeline(head.predict, row, scale, result, info)
    if head.kind == "end_to_end":
        return even_timeline(frame_scores, scale, info)
    (family,) = result.seconds
    return frame_timeline(frame_scores, scale, result.seconds[family], info)


def vector_timeline(
    predict: Callable[[Any], Array], row: str, scale: Scale, result: VideoResult, info: VideoInfo
) -> Timeline:
    """Scores each second's video vector with a head on vectors.

    Args:
        predict: maps vectors (N, D) to scores (N,).
        row: feature row of the head.
        scale: (lowest, highest) value of the label.
        result: features of a video with those of its seconds. A second in which a family has no frame (such
            as at the end of a video, for saliency) takes that family's features of the second before.
        info: the video.

    Returns:
        A second each; NaN where no feature can be computed.
    """
    grid = _grid(info)
    scores = np.full(grid.n_entries, np.nan)
    for start in range(0, grid.n_entries, _BLOCK):
        block = scores[start : start + _BLOCK]
        vectors = {
            name: result.seconds[name].spread(grid.n_entries, start, len(block))
            if name in result.seconds
            else np.repeat(arrays["video"][None], len(block), axis=0)
            for name, arrays in result.features.items()
        }
        table = assemble_row(row, vectors)
        known = np.isfinite(table).any(axis=1)
        if known.any():
            block[known] = predict(table[known])
    return _timeline(grid.times_s(info), scores, scale)


def frame_timeline(frame_scores: Array, scale: Scale, seconds: SecondFeatures, info: VideoInfo) -> Timeline:
    """Averages each frame's share in a score over seconds.

    Args:
        frame_scores: (T,) MOS units, their mean is the score.
        scale: (lowest, highest) value of the label.
        seconds: the features of these frames, second by second.
        info: the video.
    """
    grid = _grid(info)
    starts = np.concatenate([[0], np.cumsum(seconds.counts)[:-1]])
    means = np.add.reduceat(frame_scores, starts) / seconds.counts
    return _timeline(grid.times_s(info), means[seconds.sources(grid.n_entries)], scale)


def even_timeline(scores: Array, scale: Scale, info: VideoInfo, step_s: float | None = None) -> Timeline:
    """Makes a timeline of scores at even distances.

    Args:
        scores: (S,) MOS units, in time order.
        scale: (lowest, highest) value of the label.
        info: the video.
        step_s: seconds that each covers; None for equal parts of the video. Shorter steps than a second are
            averaged over seconds. What lies behind the end of the video is left out.
    """
    end_s = info.end_s
    if step_s is None:
        step_s = end_s / len(scores)
    elif step_s < 1:
        second = np.floor(np.arange(len(scores)) * step_s + 1e-9).astype(int)
        scores, step_s = np.bincount(second, scores) / np.bincount(second), 1.0
    starts = [start for start in (np.arange(len(scores)) * step_s).tolist() if start < end_s]
    return _timeline((tuple(starts), (*starts[1:], end_s)), scores[: len(starts)], scale)


def _timeline(times_s: tuple[tuple[float, ...], tuple[float, ...]], scores: Array, scale: Scale) -> Timeline:
    return Timeline(*times_s, tuple(np.clip(scores, *scale).tolist()))


def _grid(info: VideoInfo) -> Grid:
    return Grid.of(info.n_frames, info.rate, info.seconds)
