"""The Gaussian-process head: a kernel with a term for each group of columns of a row, and predictions with uncertainty.

Prediction needs numpy and scipy only; `gp_fit` fits it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from ugcvqa import untrusted
from ugcvqa.arrays import Array
from ugcvqa.errors import CheckpointError
from ugcvqa.evaluation.metrics import Logistic
from ugcvqa.heads.fitted import FittedHead, Parts, check_width
from ugcvqa.heads.kernels import Kernel, factorised, squared_distances
from ugcvqa.heads.parts import GPPart, parts_from, stored_tables
from ugcvqa.heads.scaling import apply_scaling, check_scaling

BLOCK_VALUES = 4_000_000
"""Largest number of float64 values in one temporary array of a prediction (32 MB)."""


class _Reference(NamedTuple):
    """What new videos are compared with: scaled training values of each part, and the factor of their covariance."""

    values: list[Array]
    factor: Array


@dataclass(frozen=True, eq=False)
class FittedGP(FittedHead):
    """A fitted Gaussian process with its scaling; maps video features to predicted MOS and its uncertainty.

    Attributes:
        parts: columns and their scaling.
        tables: per part, what its scaling learned.
        values: (N, D) float32, scaled features of the training videos; columns of no part are left out.
        unit_distances: (P,) divisor of each part's squared distances.
        kernel: covariance in units of `mos_deviation` squared.
        noise: variance of a label about the process, same unit.
        coefficients: (N,) float64, (K + noise)^-1 times the standardised MOS.
        mos_mean: mean of the training MOS.
        mos_deviation: standard deviation of the training MOS.
        logistic: map of predictions to MOS, fitted to the leave-one-out predictions of the training videos;
            `predict` does not apply it.
    """

    kind: ClassVar[str] = "gp"
    title: ClassVar[str] = "GP"

    parts: tuple[GPPart, ...]
    tables: tuple[npt.NDArray[np.float32], ...]
    values: npt.NDArray[np.float32]
    unit_distances: Array
    kernel: Kernel
    noise: float
    coefficients: Array
    mos_mean: float
    mos_deviation: float
    logistic: Logistic

    def predict(self, features: npt.NDArray[Any]) -> Array:
        """Predicts MOS in blocks of rows, as `FittedSVR.predict` does; features are taken in single precision."""
        blocks = [covariance @ self.coefficients for covariance in self._covariances(features)]
        return np.concatenate([np.empty(0), *blocks]) * self.mos_deviation + self.mos_mean

    def predict_with_std(self, features: npt.NDArray[Any]) -> tuple[Array, Array]:
        """Predicts MOS as `predict` does, and the standard deviation of a newly measured MOS about it.

        The deviation holds both what the head does not know and the noise of a label, so that a measured MOS lies
        within one deviation of the prediction for about 68 % of videos like the training videos.

        Args:
            features: (N, D) numbers, same columns as in training.

        Returns:
            Prediction and standard deviation, both (N,) float64, MOS scale.

        Raises:
            LabelError: if `features` is not a table of D columns.
        """
        means, variances = [np.empty(0)], [np.empty(0)]
        for covariance in self._covariances(features):
            explained = solve_triangular(self._reference.factor, covariance.T, lower=True, check_finite=False)
            means.append(covariance @ self.coefficients)
            variances.append(self.kernel.variance + self.noise - np.sum(explained**2, axis=0))
        deviation = np.sqrt(np.maximum(np.concatenate(variances), self.noise))
        return np.concatenate(means) * self.mos_deviation + self.mos_mean, deviation * self.mos_deviation

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of parts of each term of the kernel."""
        return tuple(
            next(part.group for part, weight in zip(self.parts, row, strict=True) if weight)
            for row in self.kernel.weights
        )

    @property
    def base(self) -> float:
        """Mean prediction of the training videos, on the MOS scale; what `contributions` are relative to."""
        constant = self.kernel.constant * float(self.coefficients.sum())
        return (constant + float(self._term_means.sum())) * self.mos_deviation + self.mos_mean

    def contributions(self, features: npt.NDArray[Any]) -> dict[str, Array]:
        """Splits predictions into what the groups of parts contribute.

        Args:
            features: (N, D) numbers, same columns as in training.

        Returns:
            Group -> (N,) MOS units relative to the training mean: with `base` they add up to `predict`.

        Raises:
            LabelError: if `features` is not a table of D columns.
        """
        blocks = [np.empty((len(self.groups), 0)), *(self._term_values(block) for block in self._distances(features))]
        relative = np.concatenate(blocks, axis=1) - self._term_means[:, None]
        return dict(zip(self.groups, relative * self.mos_deviation, strict=True))

    def _term_values(self, distances: Sequence[Array]) -> Array:
        """What each term contributes (T, N), in standard units."""
        return np.stack([term(distances) @ self.coefficients for term in self.kernel.terms()])

    @cached_property
    def _term_means(self) -> Array:
        """Mean contribution of each term over the training videos (T,)."""
        pairs = zip(self._reference.values, self.unit_distances, strict=True)
        mean: Array = self._term_values([squared_distances(x, x) / unit for x, unit in pairs]).mean(axis=1)
        return mean

    @cached_property
    def _reference(self) -> _Reference:
        stops = np.cumsum([part.stop - part.start for part in self.parts])[:-1]
        values = [part.astype(np.float64) for part in np.split(self.values, stops, axis=1)]
        distances = [squared_distances(x, x) / unit for x, unit in zip(values, self.unit_distances, strict=True)]
        return _Reference(values, factor_of(self.kernel(distances), self.noise))

    def _covariances(self, features: npt.NDArray[Any]) -> Iterator[Array]:
        """Yields the covariance of blocks of videos with the training videos."""
        yield from (self.kernel(distances) for distances in self._distances(features))

    def _distances(self, features: npt.NDArray[Any]) -> Iterator[list[Array]]:
        """Yields the squared distances of blocks of videos to the training videos, part by part."""
        n_columns = max(part.stop for part in self.parts)
        check_width(features, n_columns)
        step = max(1, BLOCK_VALUES // (len(self.parts) * len(self.values) + n_columns))
        for start in range(0, len(features), step):
            new_values = scaled(features[start : start + step], self.parts, self.tables)
            pairs = zip(new_values, self._reference.values, self.unit_distances, strict=True)
            yield [squared_distances(new, known) / unit for new, known, unit in pairs]

    def _parts(self) -> Parts:
        arrays: dict[str, npt.NDArray[Any]] = {
            "values": self.values,
            "unit_distances": self.unit_distances,
            "coefficients": self.coefficients,
            "amplitudes": self.kernel.amplitudes,
            "mixtures": self.kernel.mixtures,
            "weights": self.kernel.weights,
            **{f"table{index}": table for index, table in enumerate(self.tables) if table.size},
        }
        values: dict[str, Any] = {
            "parts": [asdict(part) for part in self.parts],
            "constant": self.kernel.constant,
            "noise": self.noise,
            "mos_mean": self.mos_mean,
            "mos_deviation": self.mos_deviation,
        }
        return arrays, values

    @classmethod
    def _from_parts(cls, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any], logistic: Logistic) -> Self:
        parts = parts_from(values["parts"])
        head = cls(
            parts=parts,
            tables=stored_tables(arrays, parts),
            values=np.asarray(arrays["values"]),
            unit_distances=np.asarray(arrays["unit_distances"]),
            kernel=Kernel(
                untrusted.number(values["constant"], "constant", 0),
                *(np.asarray(arrays[name]) for name in ("amplitudes", "mixtures", "weights")),
            ),
            noise=untrusted.number(values["noise"], "noise", 0),
            coefficients=np.asarray(arrays["coefficients"]),
            mos_mean=untrusted.number(values["mos_mean"], "mos_mean"),
            mos_deviation=untrusted.number(values["mos_deviation"], "mos_deviation", 0),
            logistic=logistic,
        )
        head._check()
        return head

    def _check(self) -> None:
        widths = [part.stop - part.start for part in self.parts]
        if not self.parts or min(widths) < 1 or any(part.start < 0 for part in self.parts):
            raise ValueError("its parts hold no columns")
        for part, table, width in zip(self.parts, self.tables, widths, strict=True):
            check_scaling(part.scaling, table, width)
        n_videos, n_terms, n_parts = len(self.coefficients), len(self.kernel.amplitudes), len(self.parts)
        shapes: dict[str, tuple[npt.NDArray[Any], tuple[int, ...], str]] = {
            "values": (self.values, (n_videos, sum(widths)), "float32"),
            "unit_distances": (self.unit_distances, (n_parts,), "float64"),
            "coefficients": (self.coefficients, (n_videos,), "float64"),
            "amplitudes": (self.kernel.amplitudes, (n_terms,), "float64"),
            "mixtures": (self.kernel.mixtures, (n_terms,), "float64"),
            "weights": (self.kernel.weights, (n_terms, n_parts), "float64"),
        }
        for name, (array, shape, dtype) in shapes.items():
            untrusted.check_array(name, array, shape, dtype)
        if not self.kernel.weights.any(axis=1).all():
            raise ValueError("a term of its kernel has no part")
        positive = [self.noise, self.mos_deviation, *self.unit_distances, *self.kernel.mixtures]
        others = [self.kernel.constant, *self.kernel.amplitudes, *self.kernel.weights.flat]
        if min(positive) <= 0 or min(others) < 0:
            raise ValueError("a variance, scale or weight is not a finite number of its range")


def factor_of(covariance: Array, noise: float) -> Array:
    """Cholesky factor (N, N), lower, of a covariance (N, N) with the noise of the labels on its diagonal.

    Raises:
        CheckpointError: if the sum is not positive definite.
    """
    factor = factorised(covariance, noise)
    if factor is None:
        raise CheckpointError("the GP head's covariance is not positive definite; train it again")
    return factor


def scaled(
    features: npt.NDArray[Any], parts: Sequence[GPPart], tables: Sequence[npt.NDArray[np.float32]]
) -> list[Array]:
    """Columns of each part (N, width), scaled to single precision, in double."""
    return [
        apply_scaling(features[:, part.start : part.stop], part.scaling, table).astype(np.float64)
        for part, table in zip(parts, tables, strict=True)
    ]
