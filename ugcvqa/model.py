"""A trained model as one file: head, feature settings and label scale; made by `fit`, used by `score`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ugcvqa import __version__
from ugcvqa.errors import CheckpointError, StoreError, UgcvqaError, VideoError
from ugcvqa.files import arrays_from_file, arrays_to_bytes, write_atomic
from ugcvqa.rows import ROWS, assemble_row, families_of
from ugcvqa.settings import DecodeLimits, DeepSettings, FamilySettings, NSSSettings, SaliencySettings
from ugcvqa.svr import SVRHead

if TYPE_CHECKING:
    from ugcvqa.extraction import VideoResult

FORMAT = 1
"""Version of the file layout; a file with a larger one is refused."""

FILE_NAME = "model.safetensors"
"""Name of the model inside a run folder."""


@dataclass(frozen=True)
class Score:
    """What a model says about one video.

    Attributes:
        path: the file as it was given.
        mos: predicted score on the label scale, clipped to it; higher is better. NaN if the video failed.
        pred: the head's output before clipping, same unit.
        reason: why the video has no score, empty if it has one.
    """

    path: str
    mos: float
    pred: float
    reason: str = ""


@dataclass(frozen=True)
class QualityModel:
    """A head with everything that is needed to score a video.

    Attributes:
        head: maps a video vector to a score.
        row: feature row that the head was trained on.
        settings: settings of the feature families.
        label: what the score is: `MOS`, or the name of a synthetic score.
        scale: (lowest, highest) value of the label.
        trained_on: name of the training set and how many videos of it.
        specs: family -> spec as JSON, of the features it was trained on; empty where these were imported.
    """

    head: SVRHead
    row: str
    settings: FamilySettings
    label: str
    scale: tuple[float, float]
    trained_on: str
    specs: Mapping[str, str] = field(default_factory=dict)

    def predict(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Maps video vectors (N, D) to scores (N,) on the label scale, not clipped."""
        return self.head.predict(features)

    def score(self, path: str | Path, device: str = "cpu", limits: DecodeLimits | None = None) -> Score:
        """Scores one video file.

        Raises:
            VideoError: if the video cannot be read.
            CheckpointError: if the features of this model cannot be computed from a video.
        """
        (score,) = self.score_many([path], device=device, limits=limits)
        if score.reason:
            raise VideoError(score.reason)
        return score

    def score_many(
        self,
        paths: Sequence[str | Path],
        batch_size: int = 1,
        workers: int = 0,
        device: str = "cpu",
        limits: DecodeLimits | None = None,
    ) -> Iterator[Score]:
        """Scores videos one after the other and yields each score in the order of the paths.

        A video that fails yields a score of NaN with its reason. Neither `batch_size` nor `workers` changes
        a score.

        Args:
            paths: video files.
            batch_size: clips that travel together from the decoder.
            workers: processes that decode; 0 decodes in this one.
            device: where features are computed: `cpu`, `cuda`, `cuda:1`.
            limits: bounds on what is decoded.

        Raises:
            CheckpointError: if the features of this model cannot be computed from a video.
        """
        from ugcvqa.extraction import ClipStream, Task, extract_features, usable_device
        from ugcvqa.families import build_families

        if self.row not in ROWS:
            raise CheckpointError(
                f"this model was trained on imported features {self.row!r}, which cannot be computed from a "
                "video here; predict from a feature table instead"
            )
        families = build_families(families_of(self.row), self.settings)
        self._check_specs({name: family.spec.to_json() for name, family in families.items()})
        tasks = [Task(str(path), str(path)) for path in paths]
        stream = ClipStream(tasks, families, limits=limits)
        results = extract_features(stream, families, batch_size, workers, usable_device(device))
        return (self._scored(tasks[result.task].path, result) for result in results)

    def _scored(self, path: str, result: "VideoResult") -> Score:
        """Scores the features of one video."""
        reason = result.reason
        if not reason:
            vector = assemble_row(self.row, {name: arrays["video"] for name, arrays in result.features.items()})
            if np.isfinite(vector).any():
                pred = float(self.predict(vector[None])[0])
                return Score(path, float(np.clip(pred, *self.scale)), pred)
            reason = f"{path}: no feature can be computed from this video; it may be too short"
        return Score(path, float("nan"), float("nan"), reason)

    def _check_specs(self, specs: Mapping[str, str]) -> None:
        """Refuses features of another code version or other weights than those of the training."""
        for name, spec in self.specs.items():
            trained, here = json.loads(spec), json.loads(specs[name])
            for key in sorted(set(trained) | set(here)):
                if trained.get(key) != here.get(key):
                    raise CheckpointError(
                        f"this model was trained on {name} features with {key} {trained.get(key)!r}, computed here "
                        f"would be {here.get(key)!r}: use the same weights and version, or train it again"
                    )

    def save(self, path: Path) -> None:
        """Writes the model to one file without pickle.

        Raises:
            StoreError: if the file cannot be written.
        """
        arrays, values = self.head.to_arrays()
        metadata = {
            "format": FORMAT,
            "ugcvqa": __version__,
            "head": {"kind": "svr", **values},
            "row": self.row,
            "settings": asdict(self.settings),
            "specs": dict(self.specs),
            "label": self.label,
            "scale": list(self.scale),
            "trained_on": self.trained_on,
        }
        write_atomic(path, arrays_to_bytes(arrays, metadata))


def load(path: str | Path) -> QualityModel:
    """Loads a trained model from a run folder or a model file.

    Raises:
        CheckpointError: if there is none, or it is damaged or from an incompatible version.
    """
    file = Path(path)
    file = file / FILE_NAME if file.is_dir() else file
    if not file.is_file():
        raise CheckpointError(f"{file}: no such model; give a run folder made by `ugcvqa fit`")
    try:
        arrays, metadata = arrays_from_file(file)
    except StoreError as error:
        raise CheckpointError(str(error)) from error
    _check_version(file, metadata)
    try:
        return _from_parts(arrays, metadata)
    except UgcvqaError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: is not a complete model ({type(error).__name__}: {error})") from error


def _check_version(file: Path, metadata: dict[str, Any]) -> None:
    written = metadata.get("format")
    if not isinstance(written, int) or written > FORMAT:
        raise CheckpointError(
            f"{file}: model format {written} of ugcvqa {metadata.get('ugcvqa')}; this is ugcvqa {__version__}, "
            f"which reads formats up to {FORMAT}: install a newer version"
        )


def _from_parts(arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> QualityModel:
    if (kind := metadata["head"]["kind"]) != "svr":
        raise CheckpointError(f"head {kind!r} is unknown to ugcvqa {__version__}; install a newer version")
    low, high = metadata["scale"]
    return QualityModel(
        head=SVRHead.from_arrays(arrays, metadata["head"]),
        row=metadata["row"],
        settings=_family_settings(metadata["settings"]),
        label=metadata["label"],
        scale=(low, high),
        trained_on=metadata["trained_on"],
        specs=metadata["specs"],
    )


def _family_settings(values: Mapping[str, Mapping[str, Any]]) -> FamilySettings:
    return FamilySettings(
        NSSSettings(**values["nss"]), DeepSettings(**values["deep"]), SaliencySettings(**values["saliency"])
    )
