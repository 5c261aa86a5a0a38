"""Several versions of one video, such as an encoding ladder: whether videos are that, and where they differ most.

Source: own; nothing here changes a score.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ugcvqa.display.images import Image, resized

_SAME_LENGTH = 0.05  # of the longer one
_SAME_LENGTH_S = 0.5
_SAME_SHAPE = 0.05  # of width over height; odd sizes of a ladder are rounded
_ALIKE = 0.8
_SIDE_PX = 32
_LUMA = np.array([0.299, 0.587, 0.114])  # BT.601


@dataclass(frozen=True)
class Crop:
    """The same part of the picture in one version, at its own resolution.

    Attributes:
        image: (h, w, 3) uint8, pixels as decoded.
        position: (left, top) in pixels of this version.
    """

    image: Image = field(repr=False, compare=False)
    position: tuple[int, int] = (0, 0)


def are_versions(durations_s: Sequence[float], frames: Sequence[Sequence[Image]]) -> bool:
    """Whether videos show the same content: equal length, equal shape, and alike at the same times.

    Alike means a correlation of 0.8 between the luma of corresponding frames at 32 x 32 pixels, in the median over
    the times, between every video and the first.

    Args:
        durations_s: (N,) seconds.
        frames: (N,) frames (H, W, 3) uint8 of each video at the same parts of its length.
    """
    if len(frames) < 2 or len({len(own) for own in frames}) != 1 or not frames[0]:
        return False
    longest = max(durations_s)
    if longest - min(durations_s) > max(_SAME_LENGTH * longest, _SAME_LENGTH_S):
        return False
    shapes = [own[0].shape[1] / own[0].shape[0] for own in frames]
    if max(shapes) > (1 + _SAME_SHAPE) * min(shapes):
        return False
    grids = [[_grid(frame, _SIDE_PX, _SIDE_PX) for frame in own] for own in frames]
    return all(
        float(np.median([_correlation(one, two) for one, two in zip(grids[0], other, strict=True)])) >= _ALIKE
        for other in grids[1:]
    )


def most_different(frames: Sequence[Sequence[Image]]) -> int:
    """The place in time at which versions differ most, by the mean deviation of their luma.

    Args:
        frames: (N,) frames of each version at the same times.
    """
    return int(np.argmax([float(deviation([own[k] for own in frames]).mean()) for k in range(len(frames[0]))]))


def deviation(frames: Sequence[Image]) -> npt.NDArray[np.float64]:
    """Standard deviation over versions of the luma of one moment, at the size of the smallest version (H, W)."""
    height, width = min(frame.shape[:2] for frame in frames)
    return np.asarray(np.std([_grid(frame, width, height) for frame in frames], axis=0))


@dataclass(frozen=True)
class Part:
    """A rectangle of a picture of any resolution.

    Attributes:
        top: of its height, 0..1.
        left: of its width, 0..1.
        height: of its height, 0..1.
        width: of its width, 0..1.
    """

    top: float
    left: float
    height: float
    width: float

    def cut(self, frame: Image) -> Crop:
        """Cuts this part out of a frame (H, W, 3), without scaling it."""
        sides = [
            max(1, round(side * share)) for side, share in zip(frame.shape[:2], (self.height, self.width), strict=True)
        ]
        top, left = (
            min(round(side * start), side - length)
            for side, start, length in zip(frame.shape[:2], (self.top, self.left), sides, strict=True)
        )
        return Crop(frame[top : top + sides[0], left : left + sides[1]].copy(), (left, top))


def most_different_part(
    frames: Sequence[Image], sizes: Sequence[tuple[int, int]], width_px: int, height_px: int
) -> Part:
    """Finds the part of the picture in which versions differ most.

    Args:
        frames: (N,) frames (H, W, 3) uint8 of one moment, which may have been made smaller.
        sizes: (N,) width and height of the whole frames.
        width_px: columns of the part in the widest version, all of them if it has fewer.
        height_px: rows of the part in the tallest version.

    Returns:
        The part, which has fewer pixels in smaller versions.
    """
    widest, tallest = (max(sides) for sides in zip(*sizes, strict=True))
    height, width = min(1.0, height_px / tallest), min(1.0, width_px / widest)
    differences = deviation(frames)
    rows, columns = differences.shape
    window = max(1, round(rows * height)), max(1, round(columns * width))
    places = rows - window[0] + 1, columns - window[1] + 1
    top, left = np.unravel_index(np.argmax(_window_sums(differences, *window)), places)
    return Part(float(top) / rows, float(left) / columns, height, width)


def _window_sums(values: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """Sums of all windows of a size, by a table of running sums."""
    total = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return np.asarray(
        total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    )


def _grid(frame: Image, width: int, height: int) -> npt.NDArray[np.float64]:
    return np.asarray(resized(frame, width, height) @ _LUMA)


def _correlation(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Pearson correlation; of two frames without detail, whether they are equally bright."""
    first, second = one - one.mean(), other - other.mean()
    spread = float(np.sqrt((first**2).sum() * (second**2).sum()))
    if spread < 1e-6:
        return float(abs(one.mean() - other.mean()) < 16)
    return float((first * second).sum() / spread)
