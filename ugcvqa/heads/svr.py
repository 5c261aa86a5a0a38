"""The fitted SVR head: prediction from plain arrays by numpy alone, free of pickle and of scikit-learn's version.

`svr_fit` fits it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from ugcvqa import untrusted
from ugcvqa.arrays import Array
from ugcvqa.errors import CheckpointError
from ugcvqa.evaluation.metrics import Logistic
from ugcvqa.heads.fitted import FittedHead, Parts, check_width

BLOCK_VALUES = 4_000_000
"""Largest number of float64 values in one temporary array of a prediction (32 MB)."""


@dataclass(frozen=True, eq=False)
class FittedSVR(FittedHead):
    """A fitted epsilon-SVR with its scaling; maps video features to predicted MOS.

    Non-finite features count as 0, columns are min-max scaled by the training videos' range, columns that
    were constant in training are 0, and scaled values outside 0..1 stay as they are.

    Attributes:
        minimum: (D,) float64, smallest training value of each feature.
        span: (D,) float64, largest minus smallest training value; 0 for a constant column.
        support_vectors: (n, D) finite floats, unscaled features of the training videos that have a weight, in
            the type the features came in: a float32 table gives an exact file of half the size.
        dual_coef: (n,) float64, their weights, within -C..C.
        intercept: constant term, MOS scale.
        gamma: kernel parameter.
        C: penalty that was chosen; kept for the record.
        logistic: map of predictions to MOS, fitted to the training videos; `predict` does not apply it.
    """

    kind: ClassVar[str] = "svr"
    title: ClassVar[str] = "SVR"

    minimum: Array
    span: Array
    support_vectors: npt.NDArray[np.floating[Any]]
    dual_coef: Array
    intercept: float
    gamma: float
    C: float
    logistic: Logistic

    def predict(self, features: npt.NDArray[Any]) -> Array:
        """Predicts MOS in blocks of rows: memory beyond the arguments and the result does not grow with N."""
        n_columns = self.minimum.size
        check_width(features, n_columns)
        support = scaled(self.support_vectors, self.minimum, self.span)
        step = max(1, BLOCK_VALUES // max(n_columns, len(support), 1))
        pred = np.empty(len(features))
        for start in range(0, len(features), step):
            block = scaled(zeroed(features[start : start + step]), self.minimum, self.span)
            kernel = np.exp(-self.gamma * squared_distances(block, support))
            pred[start : start + step] = kernel @ self.dual_coef + self.intercept
        return pred

    def typical(self) -> npt.NDArray[Any]:
        """The mean of the support vectors, the training videos that the head keeps."""
        vectors = self.support_vectors
        return vectors.mean(axis=0, dtype=np.float64) if len(vectors) else self.minimum

    def _parts(self) -> Parts:
        names = ("minimum", "span", "support_vectors", "dual_coef")
        return {name: getattr(self, name) for name in names}, {
            "intercept": self.intercept,
            "gamma": self.gamma,
            "C": self.C,
        }

    @classmethod
    def _from_parts(cls, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any], logistic: Logistic) -> Self:
        head = cls(
            minimum=np.asarray(arrays["minimum"], dtype=np.float64),
            span=np.asarray(arrays["span"], dtype=np.float64),
            support_vectors=np.asarray(arrays["support_vectors"]),
            dual_coef=np.asarray(arrays["dual_coef"], dtype=np.float64),
            intercept=untrusted.number(values["intercept"], "intercept"),
            gamma=untrusted.number(values["gamma"], "gamma", 0),
            C=untrusted.number(values["C"], "C", 0),
            logistic=logistic,
        )
        head._check()
        return head

    def _check(self) -> None:
        n_vectors, n_columns = self.dual_coef.size, self.minimum.size
        shapes = {
            "minimum": (self.minimum, (n_columns,)),
            "span": (self.span, (n_columns,)),
            "support_vectors": (self.support_vectors, (n_vectors, n_columns)),
            "dual_coef": (self.dual_coef, (n_vectors,)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise CheckpointError(f"{name} has shape {array.shape} instead of {shape}")
            if array.dtype.kind != "f" or not untrusted.is_bounded(array):
                raise CheckpointError(f"{name} holds something other than finite numbers")
        if self.span.min() < 0:
            raise CheckpointError("span holds a negative number")


def zeroed(features: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sets NaN and infinite values to 0, as the paper's code does, and keeps a float type as it is."""
    values = features if features.dtype.kind == "f" else features.astype(np.float64)
    is_finite = np.isfinite(values)
    return values if is_finite.all() else np.where(is_finite, values, values.dtype.type(0))


def column_range(features: npt.NDArray[Any]) -> tuple[Array, Array]:
    """Smallest value and span of each column, in float64 because published features reach 1e26."""
    minimum = features.min(axis=0).astype(np.float64)
    with np.errstate(over="ignore"):
        return minimum, features.max(axis=0).astype(np.float64) - minimum


def scaled(features: npt.NDArray[Any], minimum: Array, span: Array) -> Array:
    """Min-max scales each column; columns without span become 0."""
    with np.errstate(over="ignore"):
        scaled: Array = np.subtract(features, minimum, dtype=np.float64)
        scaled /= np.where(span > 0, span, np.inf)
    return scaled


def squared_distances(a: Array, b: Array) -> Array:
    """Squared Euclidean distances (len(a), len(b)); rows too far apart for float64 are infinitely far."""
    with np.errstate(over="ignore", invalid="ignore"):
        squared: Array = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)
        product = a @ b.T
        product *= 2
        squared -= product
    squared[np.isnan(squared)] = np.inf
    np.maximum(squared, 0, out=squared)
    if a is b:
        # Rounding would leave traces here, which libsvm's path to the solution amplifies.
        np.fill_diagonal(squared, 0)
    return squared
