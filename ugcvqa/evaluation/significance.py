"""Which rows differ: tests and intervals for figures over random splits of one data set, which are not independent."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array

CONFIDENCE = 0.95
"""Confidence of all intervals."""

LEVEL = 0.05
"""Below this a p-value, adjusted for the number of tests, counts as evidence."""


@dataclass(frozen=True)
class Interval:
    """A centre with its confidence interval.

    Attributes:
        centre: mean or median of the finite values; NaN without any.
        low: lower end; NaN with fewer than two finite values.
        high: upper end; likewise.
        n_splits: finite values.
        n_dropped: NaN and infinite values that were left out.
    """

    centre: float
    low: float
    high: float
    n_splits: int
    n_dropped: int


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of two rows over the same splits.

    Attributes:
        difference: mean of first minus second, with its interval.
        p: two-sided p-value of the hypothesis that the expected difference is 0; NaN with fewer than two pairs.
    """

    difference: Interval
    p: float


@dataclass(frozen=True, eq=False)
class SignificanceMatrix:
    """Pairs of rows, compared.

    Attributes:
        names: K rows.
        comparisons: (first, second) -> comparison, each pair once.
        p_adjusted: the same pairs -> p-value after Holm's correction for `n_comparisons`.
        n_comparisons: pairs with a p-value, for which the correction is made.
    """

    names: tuple[str, ...]
    comparisons: Mapping[tuple[str, str], Comparison]
    p_adjusted: Mapping[tuple[str, str], float]
    n_comparisons: int

    def differences(self) -> Array:
        """Mean differences (K, K), row minus column; NaN on the diagonal and where a pair was not compared."""
        table = np.full((len(self.names), len(self.names)), math.nan)
        for pair, comparison in self.comparisons.items():
            i, j = (self.names.index(name) for name in pair)
            table[i, j], table[j, i] = comparison.difference.centre, -comparison.difference.centre
        return table

    def adjusted(self) -> Array:
        """Adjusted p-values (K, K), symmetric; NaN on the diagonal and where a pair was not compared."""
        table = np.full((len(self.names), len(self.names)), math.nan)
        for pair, p in self.p_adjusted.items():
            i, j = (self.names.index(name) for name in pair)
            table[i, j] = table[j, i] = p
        return table


def corrected_t_test(first: npt.ArrayLike, second: npt.ArrayLike, n_train: float, n_test: float) -> Comparison:
    """Compares two rows by the corrected resampled t-test.

    Source: Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52 (2003), section 3: the
    variance of the mean of J differences is their unbiased variance times 1/J + n_test/n_train, because random splits
    of one data set share most of their training videos; t has J - 1 degrees of freedom. With n_test = 0 it is the
    usual paired t-test, which takes splits for independent and finds differences where there are none.

    Splits in which either row is NaN or infinite are left out as a pair. Differences that are 0 in every split give
    p = 1; a constant difference other than 0 gives p = 0 and an interval without width.

    Args:
        first: (J,) figure of one row in each split.
        second: (J,) figure of the other row in the same splits, same order.
        n_train: videos that a model learns from in each split, the validation part included.
        n_test: videos that it is tested on.

    Returns:
        Mean difference first minus second, interval and p-value; NaN where fewer than two pairs are finite.

    Raises:
        ValueError: if the shapes differ or are not 1-D, or a size is not positive (n_test: negative).
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"both rows need one figure per split, not shapes {a.shape} and {b.shape}")
    with np.errstate(invalid="ignore"):  # inf - inf is a dropped pair
        differences = np.where(np.isfinite(a) & np.isfinite(b), a - b, math.nan)
    interval = mean_interval(differences, n_train, n_test)
    kept = differences[np.isfinite(differences)]
    if kept.size < 2:
        return Comparison(interval, math.nan)
    error = _standard_error(kept, 1.0, n_train, n_test)
    if error == 0:
        return Comparison(interval, 1.0 if interval.centre == 0 else 0.0)
    from scipy.special import stdtr  # here because the import takes a noticeable part of a second

    return Comparison(interval, min(1.0, 2 * float(stdtr(kept.size - 1, -abs(interval.centre) / error))))


def mean_interval(values: npt.ArrayLike, n_train: float, n_test: float) -> Interval:
    """Computes the mean over splits with its corrected confidence interval.

    Source: Nadeau and Bengio (2003), as in `corrected_t_test`.

    Args:
        values: (J,) figure of each split; NaN and infinite ones are left out and counted.
        n_train: videos that a model learns from in each split.
        n_test: videos that it is tested on.

    Raises:
        ValueError: if the shape is not 1-D or a size is not positive (n_test: negative).
    """
    return _interval(values, n_train, n_test, is_median=False)


def median_interval(values: npt.ArrayLike, n_train: float, n_test: float) -> Interval:
    """Computes the median over splits with a corrected confidence interval.

    Source: own, from the model behind `corrected_t_test`: the part of the variance that all splits share,
    n_test/n_train, moves mean and median alike; the part that differs from split to split is 1/J for the mean and
    about pi/(2J) for the median of normal values.

    Args:
        values: (J,) figure of each split; NaN and infinite ones are left out and counted.
        n_train: videos that a model learns from in each split.
        n_test: videos that it is tested on.

    Raises:
        ValueError: if the shape is not 1-D or a size is not positive (n_test: negative).
    """
    return _interval(values, n_train, n_test, is_median=True)


def holm(p_values: npt.ArrayLike) -> Array:
    """Adjusts p-values for their number by Holm's step-down method, which controls the family-wise error rate.

    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979). The k-th smallest of m is
    multiplied by m - k + 1, then made no smaller than the ones before it and at most 1.

    Args:
        p_values: (m,) p-values; NaN ones stay NaN and do not count.

    Returns:
        (m,) adjusted p-values, to be compared with the wanted level as they are.

    Raises:
        ValueError: if a p-value lies outside 0..1 or the shape is not 1-D.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or np.any((p < 0) | (p > 1)):
        raise ValueError(f"p-values are a list of numbers within 0..1, not {p.tolist()}")
    adjusted = np.full(p.shape, math.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def compare_all(values: Mapping[str, npt.ArrayLike], n_train: float, n_test: float) -> SignificanceMatrix:
    """Compares every pair of rows, with p-values adjusted for the number of pairs.

    Args:
        values: row -> (J,) figure in each split; the same splits in the same order for all rows.
        n_train: videos that a model learns from in each split.
        n_test: videos that it is tested on.

    Raises:
        ValueError: if rows have different numbers of splits.
    """
    return _compared(values, list(combinations(values, 2)), n_train, n_test)


def compare_with(
    reference: str, values: Mapping[str, npt.ArrayLike], n_train: float, n_test: float
) -> SignificanceMatrix:
    """Compares every other row with one, as an ablation does; fewer comparisons need less correction.

    Args:
        reference: row that the others are compared with; differences are other row minus this one.
        values: row -> (J,) figure in each split, the reference among them.
        n_train: videos that a model learns from in each split.
        n_test: videos that it is tested on.

    Returns:
        A matrix that holds the pairs (row, reference) only.

    Raises:
        ValueError: if rows have different numbers of splits.
        KeyError: if the reference is not among the rows.
    """
    pairs = [(name, reference) for name in values if name != reference]
    return _compared(values, pairs, n_train, n_test)


def _compared(
    values: Mapping[str, npt.ArrayLike], pairs: Sequence[tuple[str, str]], n_train: float, n_test: float
) -> SignificanceMatrix:
    comparisons = {pair: corrected_t_test(values[pair[0]], values[pair[1]], n_train, n_test) for pair in pairs}
    adjusted = holm([comparison.p for comparison in comparisons.values()])
    return SignificanceMatrix(
        names=tuple(values),
        comparisons=comparisons,
        p_adjusted=dict(zip(comparisons, adjusted.tolist(), strict=True)),
        n_comparisons=int(np.count_nonzero(~np.isnan(adjusted))),
    )


def _interval(values: npt.ArrayLike, n_train: float, n_test: float, *, is_median: bool) -> Interval:
    figures = np.asarray(values, dtype=np.float64)
    if figures.ndim != 1:
        raise ValueError(f"a row has one figure per split, not shape {figures.shape}")
    kept = figures[np.isfinite(figures)]
    n_dropped = figures.size - kept.size
    if kept.size == 0:
        return Interval(math.nan, math.nan, math.nan, 0, n_dropped)
    centre = float(np.median(kept) if is_median else kept.mean())
    error = _standard_error(kept, math.pi / 2 if is_median else 1.0, n_train, n_test)
    if kept.size < 2:
        return Interval(centre, math.nan, math.nan, 1, n_dropped)
    from scipy.special import stdtrit  # here because the import takes a noticeable part of a second

    reach = float(stdtrit(kept.size - 1, (1 + CONFIDENCE) / 2)) * error
    return Interval(centre, centre - reach, centre + reach, kept.size, n_dropped)


def _standard_error(values: Array, factor: float, n_train: float, n_test: float) -> float:
    """Corrected standard error of a centre whose own variance over J independent splits is factor/J."""
    if not (n_train > 0 and n_test >= 0):
        raise ValueError(f"{n_train} training and {n_test} test videos: both numbers must be positive")
    if values.size < 2 or np.all(values == values[0]):  # a rounded mean would leave a variance that is not there
        return 0.0
    return math.sqrt(float(values.var(ddof=1)) * (factor / values.size + n_test / n_train))
