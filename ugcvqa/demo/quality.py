"""The label of the built-in demo set: a full-reference comparison of an encoded file with its clean scene."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ugcvqa.demo.distort import Picture
from ugcvqa.demo.paint import Levels
from ugcvqa.demo.scene import Frames

_HALF_SPATIAL, _SLOPE_SPATIAL = 0.085, 1.2
_HALF_TEMPORAL, _SLOPE_TEMPORAL, _MOST_TEMPORAL = 0.7, 1.6, 0.65
_N_COMPARED = 6
_N_SCALES = 4
_BLOCK_PX = 8
_STILL_LEVELS = 1.0
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def synthetic_quality(decoded: Sequence[Picture], reference: Frames, clean_energy: NDArray[np.float64]) -> float:
    """Scores an encoded version against its clean scene; no person has rated it.

    Source: our own, from structural similarity (Wang et al., 2004) at four scales. With d = 1 - SSIM, averaged
    over scales and six frames, and r = the deviation of the motion energy from the clean scene's, relative to
    the latter: quality = 1 + 4 S T, S = 1 / (1 + (d/0.085)^1.2), T = 1 - 0.65 / (1 + (r/0.7)^-1.6), so that
    d = 0.085 halves what is above 1, and unsteady motion of sharp pictures takes at most 65 % of it. The
    constants are fixed, hence a score never depends on other files. SSIM compares with the frame that is
    shown, moved as it is: shake, drops and freezes lower T only, everything else lowers S.

    Args:
        decoded: T luma planes (H, W) uint8 of the encoded file.
        reference: (T, H, W, 3) uint8 RGB, what a perfect picture of the same moments would be.
        clean_energy: (T-1,) `motion_energy` of the scene without shake, drops and freezes.

    Returns:
        Synthetic quality, 1 (worst) to 5.
    """
    places = np.unique(np.linspace(0, len(decoded) - 1, _N_COMPARED + 2).round().astype(int)[1:-1])
    similarity = np.mean([_similarity(decoded[t].astype(np.float32), luma(reference[t])) for t in places])
    loss = max(0.0, 1.0 - float(similarity)) / _HALF_SPATIAL
    jerk = _motion_deviation(decoded, clean_energy) / _HALF_TEMPORAL
    unsteady = jerk**_SLOPE_TEMPORAL
    steadiness = 1.0 - _MOST_TEMPORAL * unsteady / (1.0 + unsteady)
    return float(1.0 + 4.0 * steadiness / (1.0 + loss**_SLOPE_SPATIAL))


def luma(picture: Picture) -> Levels:
    """Converts an RGB picture (H, W, 3) to limited-range BT.601 luma (H, W), as the files are coded.

    Source: ITU-R BT.601-7, section 2.5.
    """
    red, green, blue = (picture[..., channel].astype(np.float32) for channel in range(3))
    return np.asarray(16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255, np.float32)


def motion_energy(planes: Iterable[Levels]) -> NDArray[np.float64]:
    """Measures how much each frame differs from the one before, in blocks so that noise counts little.

    Source: our own.

    Args:
        planes: T luma planes (H, W), levels 0..255.

    Returns:
        (T-1,) mean absolute differences of the means of 8 x 8 blocks, in levels.
    """
    small = [_block_means(plane, _BLOCK_PX) for plane in planes]
    return np.array([np.abs(b - a).mean(dtype=np.float64) for a, b in pairwise(small)])


def _block_means(plane: Levels, size: int) -> Levels:
    """Averages whole blocks of size x size pixels; what does not fill a block is left out."""
    height, width = (length // size * size for length in plane.shape)
    rows = plane[:height:size, :width].copy()
    for k in range(1, size):
        rows += plane[k:height:size, :width]
    blocks = rows[:, ::size].copy()
    for k in range(1, size):
        blocks += rows[:, k::size]
    return blocks / np.float32(size * size)


def _similarity(first: Levels, second: Levels) -> float:
    """Mean structural similarity of two planes over scales, in windows of 8 x 8 pixels every 4 pixels."""
    total = 0.0
    for _ in range(_N_SCALES):
        mean_a, mean_b, square_a, square_b, product = (
            _window_means(plane) for plane in (first, second, first * first, second * second, first * second)
        )
        cross, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
        luminance = (2 * cross + _C1) / (squares + _C1)
        structure = (2 * (product - cross) + _C2) / (square_a + square_b - squares + _C2)
        total += float((luminance * structure).mean(dtype=np.float64))
        first, second = _block_means(first, 2), _block_means(second, 2)
    return total / _N_SCALES


def _window_means(plane: Levels) -> Levels:
    quarter = _block_means(plane, 4)
    return (quarter[1:, 1:] + quarter[:-1, 1:] + quarter[1:, :-1] + quarter[:-1, :-1]) / np.float32(4)


def _motion_deviation(decoded: Sequence[Picture], clean_energy: NDArray[np.float64]) -> float:
    """Root mean square difference of two motion energies, relative to the mean of the clean scene's."""
    energy = motion_energy(plane.astype(np.float32) for plane in decoded)
    deviation = np.sqrt(np.mean((energy - clean_energy) ** 2))
    return float(deviation / (clean_energy.mean() + _STILL_LEVELS))
