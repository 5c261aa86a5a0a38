"""Black bars: rows and columns at the edges that never show any picture."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.pixels.counts import column_means, line_means

Levels = npt.NDArray[np.uint8]

_DARKEST = 30  # levels as coded: black is 16 or 0, and coding rings about it
_SEEN = 80  # percentile of a line's levels: captions and channel logos lie on bars
_EVEN = 5.0  # levels by which the lines of a bar, and the pixels of a line, differ
_EDGE = 10.0  # levels by which the picture stands out from the bar
_NARROWEST, _WIDEST = 0.015, 0.42  # share of the side that one bar takes
_ALIKE = 0.75  # of the width of one bar that the other has at least
_SMALLEST_PX = 64  # side of a picture between bars


class Box(NamedTuple):
    """The part of frames between their bars: first row, row after the last, first column, column after the last."""

    top: int
    bottom: int
    left: int
    right: int


def content_box(frames: Sequence[Levels] | Levels) -> Box:
    """Finds the part of frames that is not covered by black bars, even if there is text on the bars.

    A bar is a run of black lines from an edge, the same in every frame, beside which the picture begins at once and
    which has its like at the other edge; dark scenery seldom has that. Everything is even, as chroma needs it.

    Args:
        frames: (H, W) uint8 luma levels each, as coded.

    Returns:
        The whole frame where there are no bars, or nothing between them.
    """
    height, width = frames[0].shape
    top, bottom = _bars(line_means(frames, 0, height))
    left, right = _bars(column_means(frames, top, height - bottom))
    if min(height - top - bottom, width - left - right) < _SMALLEST_PX:
        return Box(0, height, 0, width)
    return Box(top, height - bottom, left, width - right)


def _bars(means: Array) -> tuple[int, int]:
    """Lines under the bar at the start and at the end of the first axis, given the mean levels of runs along them."""
    ordered = np.sort(means, axis=1)
    dark, bright = _percentile(ordered, 100 - _SEEN), _percentile(ordered, _SEEN)
    (one, is_edge), (other, is_other_edge) = _bar(dark, bright), _bar(dark[::-1], bright[::-1])
    widest = max(one * is_edge, other * is_other_edge)
    if not widest or min(one, other) < _ALIKE * widest:
        return 0, 0
    return (one if is_edge else other), (other if is_other_edge else one)


def _percentile(ordered: Array, percent: float) -> Array:
    """Percentile of each row (n, m) of ascending numbers, as NumPy interpolates it, which takes twice as long."""
    place = percent / 100 * (ordered.shape[1] - 1)
    low, high = ordered[:, int(place)], ordered[:, int(np.ceil(place))]
    return np.asarray(low + (high - low) * (place - int(place)))


def _bar(dark: npt.NDArray[np.float64], bright: npt.NDArray[np.float64]) -> tuple[int, bool]:
    """Width of the black at the start of lines, and if it ends at once, given dark and bright levels (n,) of each."""
    even = (np.abs(bright - bright[0]) <= _EVEN) & (bright - dark <= _EVEN)
    lines = np.flatnonzero((bright > _DARKEST) | ~even)
    first = int(lines[0]) if lines.size else 0
    if not _NARROWEST * len(bright) <= first <= _WIDEST * len(bright):
        return first, False
    beside = bright[first : first + 4].max() - bright[:first].mean()
    return first + first % 2, bool(beside > _EDGE)
