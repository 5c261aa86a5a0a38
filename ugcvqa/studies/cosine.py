"""The paper's similarity of deep features and saliency maps: the cosine of Algorithm 3, with and without shuffling."""

import math

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array


def shrink_maps(maps: npt.ArrayLike, side: int) -> Array:
    """Resizes maps with a triangle filter whose support grows with the factor (antialiased bilinear).

    Source: Algorithm 3 of the paper, and the public script, which shrinks 224 x 224 to 45 x 45 with Pillow's bilinear
    filter.

    Args:
        maps: (..., H, W) real.
        side: rows and columns of the result, at least 1.

    Returns:
        (..., side, side) float64.
    """
    values = np.asarray(maps, dtype=np.float64)
    rows, columns = (_triangle_weights(size, side) for size in values.shape[-2:])
    return np.asarray(rows @ values @ columns.T)


def window_cosine(deep: npt.ArrayLike, maps: npt.ArrayLike) -> Array:
    """Computes the similarity of Algorithm 3 between the deep vector and the saliency map of each frame.

    The map is shrunk to the largest square that fits into the vector (45 x 45 for 2,048), flattened row by row, and
    compared with every stretch of that length (24 of them); the cosines are averaged.

    Source: Algorithm 3 and equation (2) of the paper, and the public script.

    Args:
        deep: (T, D) real, D >= 1.
        maps: (T, H, W) real, 0..1.

    Returns:
        (T,) float64; NaN for a frame whose map, or a stretch of whose vector, is all zeros.

    Raises:
        ValueError: if the shapes do not agree.
    """
    vectors, images = np.asarray(deep, dtype=np.float64), np.asarray(maps)
    if vectors.ndim != 2 or images.ndim != 3 or len(vectors) != len(images) or not vectors.shape[1]:
        raise ValueError(f"deep vectors (T, D) and maps (T, H, W) are needed, got {vectors.shape} and {images.shape}")
    small = shrink_maps(images, math.isqrt(vectors.shape[1]))
    return np.asarray(np.einsum("tl,tl->t", mean_windows(vectors, small[0].size), unit_rows(small)))


def permuted_cosine(deep: npt.ArrayLike, maps: npt.ArrayLike, seed: int, draws: int = 10) -> Array:
    """Computes `window_cosine` after shuffling the channels of the deep vectors: what the statistic gives by shape.

    Channels of a network have no order, so a cosine that measured shared content would change.

    Args:
        deep: (T, D) real.
        maps: (T, H, W) real.
        seed: of the shuffles, which are the same for all frames.
        draws: number of shuffles, averaged.

    Returns:
        (T,) float64, NaN as in `window_cosine`.
    """
    vectors = np.asarray(deep, dtype=np.float64)
    random = np.random.default_rng(seed)
    orders = [random.permutation(vectors.shape[1]) for _ in range(draws)]
    return np.asarray(np.mean([window_cosine(vectors[:, order], maps) for order in orders], axis=0))


def _triangle_weights(n_in: int, n_out: int) -> Array:
    """Weights (n_out, n_in) of a triangle filter, each row summing to 1."""
    scale = n_in / n_out
    centres = (np.arange(n_out) + 0.5) * scale
    distance = np.abs(np.arange(n_in) + 0.5 - centres[:, None])
    weights = np.clip(1 - distance / max(scale, 1.0), 0, None)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def mean_windows(vectors: Array, length: int) -> Array:
    """Mean over all stretches of some length of each vector (T, D), each stretch scaled to length 1: (T, length).

    Its product with a unit vector is the mean of that vector's cosines with the stretches.
    """
    windows = np.lib.stride_tricks.sliding_window_view(vectors, length, axis=1)
    squares = np.lib.stride_tricks.sliding_window_view(vectors**2, length, axis=1).sum(2)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = 1 / np.sqrt(squares) / squares.shape[1]
    weights[np.isinf(weights).any(1)] = np.nan
    return np.asarray(np.einsum("tk,tkl->tl", weights, windows))


def unit_rows(maps: Array) -> Array:
    """Maps (T, ...) as rows of length 1; NaN where a map is all zeros."""
    rows = maps.reshape(len(maps), -1)
    with np.errstate(invalid="ignore"):
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
