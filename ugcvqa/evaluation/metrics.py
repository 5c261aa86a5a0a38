"""Agreement of predicted with subjective quality: SRCC, KRCC, PLCC, RMSE and the logistic map, in float64."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array

MAX_EVALUATIONS = 20_000
"""Bound on the evaluations of one logistic fit; uninformative real predictions take up to two thousand."""


@dataclass(frozen=True)
class Logistic:
    """Four-parameter logistic f(x) = b2 + (b1 - b2) / (1 + exp(-(x - b3)/|b4|)), or the identity.

    Source: Seshadrinathan et al. (2010); equation (1) of the paper is a misprint of it.

    Attributes:
        b1: asymptote for large x, MOS scale.
        b2: asymptote for small x, MOS scale.
        b3: centre, scale of the prediction.
        b4: width, scale of the prediction, not zero; its sign does not matter.
        is_identity: whether f(x) = x replaces a failed fit; b1..b4 then mean nothing.
    """

    b1: float
    b2: float
    b3: float
    b4: float
    is_identity: bool = False

    def __call__(self, pred: npt.ArrayLike) -> Array:
        """Maps predictions of any shape to the MOS scale, elementwise."""
        values = np.array(pred, dtype=np.float64)
        if self.is_identity:
            return values
        return _logistic(values, self.b1, self.b2, self.b3, self.b4)

    def to_list(self) -> list[float]:
        """Plain values for JSON: [b1, b2, b3, b4], or an empty list for the identity."""
        return [] if self.is_identity else [self.b1, self.b2, self.b3, self.b4]

    @classmethod
    def from_list(cls, values: Sequence[float]) -> "Logistic":
        """Rebuilds the map from what `to_list` gave.

        Raises:
            ValueError: if `values` is neither empty nor four finite numbers with b4 != 0.
        """
        if not values:
            return IDENTITY
        parameters = [float(value) for value in values]
        if len(parameters) != 4 or not _is_usable(np.array(parameters)):
            raise ValueError(f"a logistic has no or four finite values with b4 not zero, not {list(values)}")
        return _from_parameters(parameters)


IDENTITY = Logistic(math.nan, math.nan, math.nan, math.nan, is_identity=True)


@dataclass(frozen=True)
class Metrics:
    """The four figures of one test set.

    Attributes:
        srcc: Spearman rank correlation, -1..1.
        krcc: Kendall's tau-b, -1..1.
        plcc: Pearson correlation after the logistic map, -1..1.
        rmse: root mean square error after the logistic map, MOS scale.
        is_mapped: whether the logistic fit succeeded; if not, PLCC and RMSE are of the plain predictions.
    """

    srcc: float
    krcc: float
    plcc: float
    rmse: float
    is_mapped: bool


def srcc(mos: npt.ArrayLike, pred: npt.ArrayLike) -> float:
    """Computes Spearman's rank correlation; ties share their mean rank.

    Args:
        mos: (N,) subjective scores.
        pred: (N,) predicted scores, any monotone scale.

    Returns:
        -1..1, or NaN where it is not defined: fewer than two values, or one side constant.

    Raises:
        ValueError: if the shapes differ, are not 1-D, or a value is NaN or infinite.
    """
    x, y = _checked(mos, pred)
    return _pearson(_mean_ranks(x), _mean_ranks(y))


def krcc(mos: npt.ArrayLike, pred: npt.ArrayLike) -> float:
    """Computes Kendall's tau-b, which corrects for ties on either side.

    Args:
        mos: (N,) subjective scores.
        pred: (N,) predicted scores, any monotone scale.

    Returns:
        -1..1, or NaN where it is not defined: fewer than two values, or one side constant.

    Raises:
        ValueError: if the shapes differ, are not 1-D, or a value is NaN or infinite.
    """
    x, y = _checked(mos, pred)
    if _is_constant(x) or _is_constant(y):
        return math.nan
    from scipy.stats import kendalltau  # here because the import takes about a second

    return float(kendalltau(x, y, variant="b").statistic)


def plcc(mos: npt.ArrayLike, pred: npt.ArrayLike) -> float:
    """Computes Pearson's linear correlation of the values as they are (no logistic map).

    Args:
        mos: (N,) subjective scores.
        pred: (N,) predicted scores.

    Returns:
        -1..1, or NaN where it is not defined: fewer than two values, or one side constant.

    Raises:
        ValueError: if the shapes differ, are not 1-D, or a value is NaN or infinite.
    """
    return _pearson(*_checked(mos, pred))


def rmse(mos: npt.ArrayLike, pred: npt.ArrayLike) -> float:
    """Computes the root of the mean square error of the values as they are (no logistic map).

    Args:
        mos: (N,) subjective scores.
        pred: (N,) predicted scores on the scale of `mos`.

    Returns:
        At least 0, unit of `mos`; NaN for empty input.

    Raises:
        ValueError: if the shapes differ, are not 1-D, or a value is NaN or infinite.
    """
    x, y = _checked(mos, pred)
    # hypot scales by the largest element, so that errors beyond 1e154 do not overflow when squared.
    return math.hypot(*(x - y)) / math.sqrt(x.size) if x.size else math.nan


def fit_logistic(pred: npt.ArrayLike, mos: npt.ArrayLike) -> Logistic:
    """Fits the logistic that maps predictions to MOS by least squares.

    Source: the benchmark's public code (Levenberg-Marquardt from b1 = max mos, b2 = min mos, b3 = mean
    prediction, b4 = 0.5, default tolerances). There the number of evaluations is practically unlimited and
    a failure aborts; here the work is bounded and a failure gives the identity, so that one bad fit does not
    end a benchmark. The derivatives are scipy's numerical ones, as in the source: analytic ones find the same
    optimum on informative predictions, but stop elsewhere where the problem is close to degenerate.

    Args:
        pred: (N,) predicted scores.
        mos: (N,) subjective scores.

    Returns:
        The fitted map, or `IDENTITY` for fewer than four values, a constant prediction, or a failed fit.

    Raises:
        ValueError: if the shapes differ, are not 1-D, or a value is NaN or infinite.
    """
    y, x = _checked(mos, pred)
    if x.size < 4 or _is_constant(x):
        return IDENTITY
    from scipy.optimize import leastsq  # here because the import takes a noticeable part of a second

    def residual(b: Array) -> Array:
        return _logistic(x, b[0], b[1], b[2], b[3]) - y

    start = np.array([y.max(), y.min(), x.mean(), 0.5])
    with np.errstate(all="ignore"):
        b, *_, status = leastsq(residual, start, full_output=True, maxfev=MAX_EVALUATIONS)
    if status not in (1, 2, 3, 4) or not _is_usable(b):
        return IDENTITY
    return _from_parameters(b)


def evaluate(mos: npt.ArrayLike, pred: npt.ArrayLike) -> Metrics:
    """Computes the benchmark's four figures; the logistic is fitted to these same values.

    Source: section 4 of the paper and its public code: SRCC and KRCC of the plain predictions, PLCC and RMSE
    after the logistic map.

    Args:
        mos: (N,) subjective scores.
        pred: (N,) predicted scores, before any map.

    Returns:
        The figures; correlations of a constant prediction are NaN.

    Raises:
        ValueError: if the shapes differ, are not 1-D, or a value is NaN or infinite.
    """
    logistic = fit_logistic(pred, mos)
    mapped = logistic(pred)
    return Metrics(srcc(mos, pred), krcc(mos, pred), plcc(mos, mapped), rmse(mos, mapped), not logistic.is_identity)


def _checked(mos: npt.ArrayLike, pred: npt.ArrayLike) -> tuple[Array, Array]:
    """Converts both to float64 and refuses what would give a plausible but wrong figure."""
    x, y = np.asarray(mos, dtype=np.float64), np.asarray(pred, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"mos and pred must be 1-D and of one length, not {x.shape} and {y.shape}")
    for name, values in (("mos", x), ("pred", y)):
        n_bad = values.size - int(np.isfinite(values).sum())
        if n_bad:
            raise ValueError(f"{name} holds {n_bad} NaN or infinite of {values.size} values")
    return x, y


def _is_constant(values: Array) -> bool:
    return values.size < 2 or bool(np.all(values == values[0]))


def _pearson(x: Array, y: Array) -> float:
    if _is_constant(x) or _is_constant(y):
        return math.nan
    return max(-1.0, min(1.0, float(_unit(x) @ _unit(y))))


def _unit(values: Array) -> Array:
    """Centres to mean 0 and scales to length 1, dividing by the largest value first against overflow."""
    scaled = values / np.abs(values).max()
    centred = scaled - scaled.mean()
    unit: Array = centred / np.linalg.norm(centred)
    return unit


def _mean_ranks(values: Array) -> Array:
    """Ranks from 0; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
    return ranks


def _logistic(x: Array, b1: float, b2: float, b3: float, b4: float) -> Array:
    with np.errstate(over="ignore"):  # an infinite exponential gives the right asymptote
        mapped: Array = b2 + (b1 - b2) / (1 + np.exp(-(x - b3) / abs(b4)))
    return mapped


def _from_parameters(values: Sequence[float] | Array) -> Logistic:
    b1, b2, b3, b4 = (float(value) for value in values)
    return Logistic(b1, b2, b3, b4)


def _is_usable(b: Array) -> bool:
    return bool(np.isfinite(b).all()) and b[3] != 0
