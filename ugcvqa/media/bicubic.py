"""Sources and weights of MATLAB's bicubic, antialiased `imresize` along one axis."""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt


@lru_cache(maxsize=64)
def taps(n: int, scale: float, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """States which samples of an axis make each sample of the resized one.

    Source: MATLAB documentation of `imresize`; kernel of Keys (1981) with a = -0.5, stretched by 1/scale when
    shrinking; borders mirrored with the edge sample repeated.

    Args:
        n: length of the axis.
        scale: factor, above 0.
        size: length of the result.

    Returns:
        Source indices (taps, size) int64 in 0..n-1, and weights (taps, size) float64 of sum 1.
    """
    shrink = min(scale, 1.0)
    width = 4 / shrink
    # 1-based positions, in MATLAB's order of operations: rounding here decides which taps have weight 0.
    centre = np.arange(1, size + 1, dtype=np.float64) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - width / 2)
    index = first + np.arange(math.ceil(width) + 2, dtype=np.float64)[:, None]
    weights = shrink * _cubic(shrink * (centre - index))
    weights = weights / weights.sum(0)
    used = (weights != 0).any(1)
    return mirrored(index.astype(np.int64)[used] - 1, n), weights[used]


def mirrored(index: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """Folds 0-based indices into 0..n-1: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    index = index % (2 * n)
    return np.where(index < n, index, 2 * n - 1 - index)


def _cubic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    a = np.abs(x)
    near = 1.5 * a**3 - 2.5 * a**2 + 1
    far = -0.5 * a**3 + 2.5 * a**2 - 4 * a + 2
    return np.where(a <= 1, near, np.where(a <= 2, far, 0.0))
