"""Column scalings for distance-based heads: fitted on training videos, stored as small float32 tables."""

from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ugcvqa.errors import LabelError

Float32 = npt.NDArray[np.float32]
Scaling = Literal["rank", "root", "log", "standard"]

N_QUANTILES = 128
"""Training quantiles kept per column by `rank`; fewer where there are fewer videos."""

_FEW = 20_000  # numbers: ten videos of a thousand columns or two
_LARGEST = float(np.finfo(np.float32).max)


def fit_scaling(values: npt.NDArray[Any], scaling: Scaling, n_quantiles: int = N_QUANTILES) -> Float32:
    """Learns a scaling of columns.

    Args:
        values: (N, D) floats of the training videos; NaN and infinite values are allowed.
        scaling: the scaling that `apply_scaling` is to apply.
        n_quantiles: quantiles per column for `rank`, at most `N_QUANTILES`.

    Returns:
        (R, D) finite float32: the quantiles of each column for `rank` (2 <= R <= `n_quantiles`), mean and standard
        deviation for `log` and `standard` (R = 2), nothing for `root` (R = 0).
    """
    x = _as_float32(values)
    if scaling == "root":
        return np.empty((0, x.shape[1]), dtype=np.float32)
    if scaling == "rank":
        count = max(2, min(n_quantiles, len(x)))
        return np.stack([_quantiles(column, count) for column in x.T], axis=1)
    x = _logarithm(x) if scaling == "log" else _finite(x)
    moments = np.zeros((2, x.shape[1]))
    for index, column in enumerate(x.T):
        known = column[np.isfinite(column)]
        if known.size:
            moments[:, index] = known.mean(), known.std()
    return moments.astype(np.float32)


def apply_scaling(values: npt.NDArray[Any], scaling: Scaling, table: Float32) -> Float32:
    """Scales columns to numbers of order 1; every result is finite.

    Values are taken in single precision, so that a table gives the same result in float32 and in float64.

    - `rank`: standard normal score of the value's place among the training quantiles, between two of them by linear
      interpolation, equal values sharing their mean place. Beyond the training range the score stays that of the
      outermost quantile, so no value, however wild, lies far from the others: infinity counts as the largest value,
      NaN as the median.
    - `root`: signed square root, then each row to length 1 (for sparse non-negative activations of networks). NaN and
      infinite values count as 0.
    - `log`: base-2 logarithm, then as `standard`; values that are not positive and finite count as the mean.
    - `standard`: minus the training mean, over the standard deviation; NaN and infinite values count as 0 before.
      Constant columns become 0.

    Args:
        values: (N, D) floats.
        scaling: as in `fit_scaling`.
        table: (R, D) float32 that `fit_scaling` gave.

    Returns:
        (N, D) float32.
    """
    x = _as_float32(values)
    if scaling == "rank":
        return _normal_scores(x, table)
    if scaling == "root":
        root = np.sign(_finite(x)) * np.sqrt(np.abs(_finite(x)))
        length = np.linalg.norm(root, axis=1, keepdims=True)
        unit: Float32 = np.divide(root, length, out=np.zeros_like(root), where=length > 0).astype(np.float32)
        return unit
    mean, deviation = table.astype(np.float64)
    if scaling == "log":
        x = _logarithm(x)
        x = np.where(np.isfinite(x), x, mean)
    scaled = np.divide(_finite(x) - mean, deviation, out=np.zeros(x.shape), where=deviation > 0)
    clipped: Float32 = np.clip(scaled, -_LARGEST, _LARGEST).astype(np.float32)
    return clipped


def check_scaling(scaling: str, table: npt.NDArray[Any], n_columns: int) -> None:
    """Checks a stored table.

    Raises:
        LabelError: if the scaling is unknown or the table has another shape, or holds something else than finite
            float32 numbers.
    """
    rows = {"rank": range(2, N_QUANTILES + 1), "root": (0,), "log": (2,), "standard": (2,)}
    if scaling not in rows:
        raise LabelError(f"scaling {scaling!r} is unknown")
    if table.ndim != 2 or table.shape[0] not in rows[scaling] or table.shape[1] != n_columns:
        raise LabelError(f"table of scaling {scaling!r} has shape {table.shape} for {n_columns} columns")
    if table.dtype != np.float32 or not np.isfinite(table).all():
        raise LabelError(f"table of scaling {scaling!r} holds something other than finite float32 numbers")


def _as_float32(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Rounds to single precision, computed on in double."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype(np.float64)


def _finite(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(np.isfinite(x), x, 0.0)


def _logarithm(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """log2 of positive finite values, NaN for the others."""
    return np.log2(x, out=np.full(x.shape, np.nan), where=np.isfinite(x) & (x > 0))


def _quantiles(column: npt.NDArray[np.float64], count: int) -> Float32:
    """Values of the column at even distances of rank; all 0 where there is none."""
    ordered = np.sort(np.clip(column[~np.isnan(column)], -_LARGEST, _LARGEST)).astype(np.float32)
    if not ordered.size:
        return np.zeros(count, dtype=np.float32)
    quantiles: Float32 = ordered[np.rint(np.linspace(0, ordered.size - 1, count)).astype(int)]
    return quantiles


def _normal_scores(x: npt.NDArray[np.float64], quantiles: Float32) -> Float32:
    count, known, ordered = len(quantiles), np.clip(x, -_LARGEST, _LARGEST), quantiles.astype(np.float64)
    # The first search ends at the last of equal quantiles, the mirrored one at the first of them.
    last = _places(known, ordered)
    first = count - 1 - _places(-known, -ordered[::-1])
    place = np.where(np.isnan(known), (count - 1) / 2, (first + last) / 2)
    scores: Float32 = _normal_quantiles((place + 0.5) / count).astype(np.float32)
    return scores


def _normal_quantiles(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Inverse of the standard normal distribution function, between 0 and 1."""
    if shares.size > _FEW:
        from scipy.special import ndtri  # here because the import takes longer than a short video's score

        return np.asarray(ndtri(shares))
    quantile = NormalDist().inv_cdf
    return np.array([quantile(share) for share in shares.ravel().tolist()]).reshape(shares.shape)


def _places(x: npt.NDArray[np.float64], ordered: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Where values (N, D) lie among the ascending ones of their column (count, D), from 0 to count - 1, interpolated.

    As `np.interp` for each column; few rows are taken one by one instead, as a call for each of thousands of columns
    would take longer than all else of a short video's score.
    """
    (count, n_columns), places = ordered.shape, np.empty(x.shape)
    if len(x) >= n_columns or count < 2:
        for column in range(n_columns):
            places[:, column] = np.interp(x[:, column], ordered[:, column], np.arange(count, dtype=np.float64))
        return places
    columns = np.arange(n_columns)
    for place, row in zip(places, x, strict=True):
        below = np.clip((ordered <= row).sum(axis=0) - 1, 0, count - 2)
        low, high = ordered[below, columns], ordered[below + 1, columns]
        with np.errstate(divide="ignore", invalid="ignore"):
            between = 1 / (high - low) * (row - low) + below
        place[:] = np.where(row >= high, below + 1, np.where(row <= low, below, between))
    return places
