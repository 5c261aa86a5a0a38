"""What every fitted head offers: predictions, how far to trust them, and its parts for a model file."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ugcvqa import untrusted
from ugcvqa.arrays import Array
from ugcvqa.errors import CheckpointError, LabelError, UgcvqaError
from ugcvqa.evaluation.metrics import Logistic
from ugcvqa.features.rows import assemble_row, families_of
from ugcvqa.files import error_reason

if TYPE_CHECKING:
    from ugcvqa.features.family import Family
    from ugcvqa.settings.features import FamilySettings

Parts = tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]


class Interval(NamedTuple):
    """Predictions with their uncertainty, each (N,) float64 on the MOS scale, not clipped; NaN where there is none.

    Attributes:
        mean: prediction.
        deviation: standard deviation of a newly measured MOS about it.
        low: lower end of the interval that holds a newly measured MOS for 90 % of videos like the training videos.
        high: its upper end.
    """

    mean: Array
    deviation: Array
    low: Array
    high: Array


class FittedHead(ABC):
    """Maps what is known of videos to predicted MOS; knows no file and no feature by name.

    A new head implements `predict`, `_parts` and `_from_parts`; what else it can do replaces the defaults below, which
    say that there is nothing. `kinds` lists the heads that model files may hold.

    Attributes:
        kind: name under which a model file keeps the head.
        title: name in messages.
        has_interval: whether `predict_interval` knows the ends of intervals.
        sees_frames: whether its input is one array of frames per video, or of their features, not a table of vectors.
        logistic: map of predictions to MOS, fitted to the training videos; `predict` does not apply it.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    has_interval: ClassVar[bool] = False
    sees_frames: ClassVar[bool] = False
    logistic: Logistic

    @abstractmethod
    def predict(self, features: Any) -> Array:  # noqa: ANN401 (a table, or an array of frames per video)
        """Predicts MOS, before the logistic map.

        Args:
            features: (N, D) numbers, the same columns as in training, or one array of frames for each of N videos.

        Returns:
            (N,) float64, nominally on the MOS scale but not clipped to it.

        Raises:
            LabelError: if `features` is a table of other columns.
        """

    def predict_with_std(self, features: Any) -> tuple[Array, Array]:  # noqa: ANN401
        """Predicts as `predict` does, with the standard deviation of a newly measured MOS, both (N,)."""
        pred = self.predict(features)
        return pred, np.full(pred.shape, np.nan)

    def predict_interval(self, features: Any) -> Interval:  # noqa: ANN401
        """Predicts as `predict` does, with intervals of a newly measured MOS."""
        mean, deviation = self.predict_with_std(features)
        unknown = np.full(mean.shape, np.nan)
        return Interval(mean, deviation, unknown, unknown)

    def warnings(self, features: Any, n_seconds: int | None = None) -> list[tuple[str, ...]]:  # noqa: ANN401
        """Explains for each video why it lies outside the training data, one plain sentence for each reason.

        Args:
            features: as of `predict`.
            n_seconds: how many seconds each vector is the mean of, if they are few: these vary more.
        """
        del n_seconds
        return [()] * len(features)

    def contributions(self, features: Any) -> dict[str, Array] | None:  # noqa: ANN401
        """Splits predictions into sums over groups of features, each (N,); None where they are not such sums."""
        del features
        return None

    def typical(self) -> npt.NDArray[Any] | None:
        """The vector (D,) of a typical training video, by which features can be replaced; None where none is known."""
        return None

    def families(self, row: str, settings: "FamilySettings") -> "dict[str, Family]":
        """Builds what computes the features of a row from a video, as this head takes them."""
        from ugcvqa.features.families import build_families

        return build_families(families_of(row), settings)

    def input_of(self, row: str, features: Mapping[str, Mapping[str, npt.NDArray[Any]]]) -> npt.NDArray[Any]:
        """Picks this head's input from the features of one video (family -> arrays): by default its vector (D,)."""
        return assemble_row(row, {name: arrays["video"] for name, arrays in features.items()})

    def frame_scores(self, sequence: npt.NDArray[Any]) -> Array | None:
        """Maps the input of one video to what each of its T frames adds to the mean that is its MOS (T,).

        None for a head on video vectors.
        """
        del sequence
        return None

    def to(self, device: str) -> Self:
        """The same head with its network, if it is one, on a device."""
        del device
        return self

    def to_arrays(self) -> Parts:
        """Takes the head apart for saving: (contiguous arrays, plain JSON values)."""
        arrays, values = self._parts()
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return contiguous, {**values, "logistic": self.logistic.to_list()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any]) -> Self:
        """Rebuilds a head from what `to_arrays` gave.

        Raises:
            CheckpointError: if a part is missing, has the wrong shape or holds a non-finite number.
        """
        try:
            logistic = Logistic.from_list(untrusted.some_numbers(values["logistic"], "logistic", 4))
            return cls._from_parts(arrays, values, logistic)
        except KeyError as error:
            raise CheckpointError(f"the {cls.title} head lacks its part {error}") from error
        except RuntimeError as error:  # of a network
            raise CheckpointError(f"the {cls.title} head cannot be read: {error_reason(error)}") from error
        except (UgcvqaError, TypeError, ValueError) as error:
            raise CheckpointError(f"the {cls.title} head cannot be read: {error}") from error

    @abstractmethod
    def _parts(self) -> Parts:
        """Arrays and JSON values, without the logistic."""

    @classmethod
    @abstractmethod
    def _from_parts(cls, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any], logistic: Logistic) -> Self:
        """Builds and checks a head; errors need not name it."""


def check_width(features: npt.NDArray[Any], n_columns: int) -> None:
    """Checks that features are a table of the columns that a head was trained on.

    Raises:
        LabelError: if not.
    """
    if features.ndim != 2 or features.shape[1] != n_columns:
        raise LabelError(f"features of shape {features.shape} do not fit a head trained on {n_columns} columns")
