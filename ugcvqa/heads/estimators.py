"""Heads that one trains on plain arrays, as scikit-learn's estimators: `SVRHead().fit(X, mos).predict(X)`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.errors import CheckpointError, ConfigError, LabelError
from ugcvqa.files import arrays_from_file, arrays_to_bytes, write_atomic
from ugcvqa.heads.fitted import FittedHead, Interval
from ugcvqa.heads.kinds import fit_process, head_class
from ugcvqa.heads.svr_fit import fit_svr
from ugcvqa.settings.heads import GPSettings, SparseGPSettings, SVRSettings


class Head(ABC):
    """Learns to predict MOS from video vectors.

    Tables have one row per video: `X` is (N, D) float, where values that are not finite are taken care of, `mos` (N,).

    Attributes:
        fitted: what was learned; None before `fit`. `QualityModel` takes it to score videos.
    """

    kind: ClassVar[str]

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 (plain values)
        self.fitted: FittedHead | None = None
        self.values = values  # the constructor's arguments, which `save` keeps

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'fitted' if self.fitted else 'not fitted'})"

    def fit(self, X: npt.ArrayLike, mos: npt.ArrayLike) -> Self:
        """Learns from the videos given; the same videos in the same order give the same head.

        Args:
            X: (N, D) feature vectors, NaN and infinite values allowed.
            mos: (N,) subjective scores, all finite.

        Returns:
            The head itself.

        Raises:
            LabelError: if there are too few videos, the tables do not match, or nothing can be learned from them.
        """
        features = _table(X)
        try:
            scores = np.asarray(mos, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise LabelError(f"MOS must be numbers, one for each video: {error}") from error
        self.fitted = self._fit(features, scores)
        return self

    def predict(self, X: npt.ArrayLike) -> Array:
        """Predicts MOS (N,), not clipped to the scale.

        Raises:
            LabelError: if the head is not fitted, or `X` has other columns than in `fit`.
        """
        return self._known.predict(_table(X))

    def uncertainty(self, X: npt.ArrayLike) -> Array:
        """Standard deviation of a newly measured MOS about the prediction (N,); NaN for a head that knows none."""
        return self._known.predict_with_std(_table(X))[1]

    def interval(self, X: npt.ArrayLike) -> Interval:
        """Predictions with intervals that hold 90 % of newly measured MOS; NaN for a head that knows none."""
        return self._known.predict_interval(_table(X))

    def contributions(self, X: npt.ArrayLike) -> dict[str, Array]:
        """Group of features -> what it adds to the prediction (N,); empty for a head that is not such a sum."""
        return self._known.contributions(_table(X)) or {}

    def save(self, path: str | Path) -> None:
        """Writes the head to one safetensors file, without pickle.

        Raises:
            LabelError: if the head is not fitted.
            StoreError: if the file cannot be written.
        """
        arrays, values = self._known.to_arrays()
        write_atomic(
            Path(path), arrays_to_bytes(arrays, {"head": {"kind": self.kind, **values}, "values": self.values})
        )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what `save` wrote, settings included.

        The head of a model file (`model.safetensors` of a run folder) is read too, with default settings for another
        `fit`.

        Raises:
            StoreError: if the file is missing or of another kind.
            CheckpointError: if it holds another head, or a damaged one.
        """
        arrays, metadata = arrays_from_file(Path(path))
        values = metadata.get("head")
        kind = values.get("kind") if isinstance(values, dict) else None
        if not isinstance(values, dict) or kind != cls.kind:
            raise CheckpointError(
                f"{path}: holds {f'a head of kind {kind!r}' if kind else 'no head'}, not {cls.kind!r}"
            )
        try:
            head = cls(**metadata.get("values", {}))
        except (ConfigError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: its settings cannot be read ({error})") from error
        head.fitted = head_class(cls.kind).from_arrays(arrays, values)
        return head

    @property
    def _known(self) -> FittedHead:
        if self.fitted is None:
            raise LabelError(f"this {type(self).__name__} is not fitted; call fit(X, mos) first")
        return self.fitted

    @abstractmethod
    def _fit(self, features: npt.NDArray[Any], mos: Array) -> FittedHead:
        """Fits to checked tables."""


class SVRHead(Head):
    """Epsilon-SVR with an RBF kernel on min-max-scaled columns, whose C and gamma a hold-out chooses.

    Source: section 4 of the paper.

    Args:
        c_exponents: candidates of C, as powers of two.
        gamma_exponents: candidates of gamma, as powers of two.
        epsilon: half width of the tube without loss, in MOS.
        validation: share of the videos that chooses among the candidates; all of them fit the final head.
        seed: of the permutation that draws this share.

    Raises:
        ConfigError: if a value cannot be used.
    """

    kind: ClassVar[str] = "svr"

    def __init__(
        self,
        c_exponents: Sequence[int] = SVRSettings.c_exponents,
        gamma_exponents: Sequence[int] = SVRSettings.gamma_exponents,
        epsilon: float = SVRSettings.epsilon,
        validation: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__(
            c_exponents=list(c_exponents),
            gamma_exponents=list(gamma_exponents),
            epsilon=epsilon,
            validation=validation,
            seed=seed,
        )
        if not 0 < validation < 1:
            raise ConfigError(f"validation is {validation}: it must be a share between 0 and 1")
        self.settings = SVRSettings(tuple(c_exponents), tuple(gamma_exponents), epsilon)
        self.validation, self.seed = validation, seed

    def _fit(self, features: npt.NDArray[Any], mos: Array) -> FittedHead:
        order = np.random.default_rng(self.seed).permutation(len(mos))
        n_held_out = min(max(1, round(self.validation * len(mos))), len(mos) - 1)
        inner_val, inner_train = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])
        return fit_svr(features, mos, inner_train, inner_val, self.settings)[0]


class GPHead(Head):
    """Gaussian process with a kernel per group of features; keeps every training video.

    Args:
        row: feature row that the columns are of (`NSS`, `NSS_CNN`, ...), which tells groups and scaling; any other name
            makes one group of all columns, scaled by ranks.
    """

    kind: ClassVar[str] = "gp"

    def __init__(self, row: str = "") -> None:
        super().__init__(row=row)
        self.row = row

    def _fit(self, features: npt.NDArray[Any], mos: Array) -> FittedHead:
        return fit_process(features, mos, self.row, GPSettings())[0]


class SparseGPHead(Head):
    """Gaussian process of fixed size: learned points in place of training videos, with intervals and warnings.

    Args:
        row: as of `GPHead`.
        inducing: number of points.
        dimensions: principal axes kept of each group of columns.
        kernel_videos: most videos that the kernel is learned from; all of them determine the rest.
    """

    kind: ClassVar[str] = "sparse_gp"

    def __init__(
        self,
        row: str = "",
        inducing: int = SparseGPSettings.inducing,
        dimensions: int = SparseGPSettings.dimensions,
        kernel_videos: int = SparseGPSettings.kernel_videos,
    ) -> None:
        super().__init__(row=row, inducing=inducing, dimensions=dimensions, kernel_videos=kernel_videos)
        self.row = row
        self.settings = SparseGPSettings(inducing=inducing, dimensions=dimensions, kernel_videos=kernel_videos)

    def _fit(self, features: npt.NDArray[Any], mos: Array) -> FittedHead:
        return fit_process(features, mos, self.row, self.settings)[0]


def _table(X: npt.ArrayLike) -> npt.NDArray[Any]:
    features = np.asarray(X)
    if features.ndim != 2 or features.dtype.kind not in "fiu":
        raise LabelError(f"features are {features.dtype} of shape {features.shape}; give numbers (videos, features)")
    return features if features.dtype.kind == "f" else features.astype(np.float64)
