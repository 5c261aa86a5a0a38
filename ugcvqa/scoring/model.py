"""A trained model: head, feature settings and label scale; made by `fit`, used by `score`, kept as one file."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ugcvqa import __version__
from ugcvqa.errors import CheckpointError
from ugcvqa.features.extraction import VideoResult
from ugcvqa.features.family import Family
from ugcvqa.features.provenance import OURS, parts_of, why_not_from_video
from ugcvqa.features.rows import LIGHT, ROWS, families_of
from ugcvqa.files import arrays_to_bytes, write_atomic
from ugcvqa.heads.fitted import FittedHead
from ugcvqa.media.facts import VideoInfo
from ugcvqa.nss.engines import usable_engine
from ugcvqa.pixels.facts import PixelFacts, in_words
from ugcvqa.scoring.contributions import contributions_of
from ugcvqa.scoring.explanation import Timeline
from ugcvqa.scoring.result import Score
from ugcvqa.scoring.timeline import timeline_of
from ugcvqa.scoring.video_model import VideoModel
from ugcvqa.settings.features import FamilySettings, NSSEngine

FORMAT = 1
"""Version of the file layout; a file with a larger one is refused."""

FILE_NAME = "model.safetensors"
"""Name of the model inside a run folder."""


@dataclass(frozen=True)
class QualityModel(VideoModel):
    """A head with everything that is needed to score a video.

    Attributes:
        head: maps a video vector to a score.
        row: feature row that the head was trained on.
        settings: settings of the feature families.
        label: what the score is: `MOS`, or the name of a synthetic score.
        scale: (lowest, highest) value of the label.
        trained_on: name of the training set and how many videos of it.
        specs: family -> spec as JSON, of the features it was trained on, where this package computed them.
        made_by: family, or the row's own name -> who made the features of the training, see `features.provenance`; what
            is not named here was made by this package.
    """

    head: FittedHead
    row: str
    settings: FamilySettings
    label: str
    scale: tuple[float, float]
    trained_on: str
    specs: Mapping[str, str] = field(default_factory=dict)
    made_by: Mapping[str, str] = field(default_factory=dict)

    part_names: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        scale = f"{self.label} {self.scale[0]:g} to {self.scale[1]:g}"
        return f"QualityModel({self.row} -> {self.head.kind}, {scale}, trained on {self.trained_on})"

    @property
    def name(self) -> str:
        """What scores, for people."""
        return f"{self.row} model"

    @property
    def facts(self) -> Mapping[str, Any]:
        """What else belongs to a record of a score."""
        return {"row": self.row, "features_by": self.makers}

    def predict(self, features: Any) -> npt.NDArray[np.float64]:  # noqa: ANN401 (what the head takes)
        """Maps video vectors (N, D), or for a network the frames of N videos, to scores (N,), not clipped."""
        return self.head.predict(features)

    def predict_with_std(
        self,
        features: Any,  # noqa: ANN401 (what the head takes)
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """As `predict`, with standard deviations, both (N,); NaN where there is none."""
        return self.head.predict_with_std(features)

    @property
    def _pools_seconds(self) -> bool:
        return self.head.kind != "end_to_end"  # which keeps its frames in any case

    def _on(self, device: str) -> "QualityModel":
        return replace(self, head=self.head.to(device))

    def _families(self) -> dict[str, Family]:
        if self.why_no_videos:
            raise CheckpointError(self.why_no_videos)
        families = self.head.families(self.row, self.settings)
        self.check_specs({name: family.spec.to_json() for name, family in families.items()}, "computed here would be")
        return families

    def _judged(self, path: str, result: VideoResult) -> Score:
        warnings, details = result.warnings, dict[str, Any]()
        if "pixels" in result.features:
            vector = result.features["pixels"]["video"]
            warnings, details = (*warnings, *in_words(vector)), {"pixels": PixelFacts(*vector.tolist())._asdict()}
            if result.info is not None and result.info.levels:  # what stands or shows nothing has no quality of video
                return Score(path, math.nan, math.nan, f"{path}: {result.info.levels}", warnings=warnings)
        n_seconds = None if result.info is None else round(result.info.n_frames / result.info.rate)
        score = self.score_features(path, self.head.input_of(self.row, result.features), warnings, n_seconds)
        return replace(score, details=details)

    def _timeline(self, result: VideoResult, info: VideoInfo) -> Timeline:
        features = self.head.input_of(self.row, result.features)
        return timeline_of(self.head, self.row, self.scale, features, result, info)

    def _contributions(self, result: VideoResult) -> tuple[dict[str, float], str]:
        return contributions_of(self.head, self.row, self.head.input_of(self.row, result.features)[None])

    def score_features(
        self, name: str, features: npt.NDArray[Any], warnings: tuple[str, ...] = (), n_seconds: int | None = None
    ) -> Score:
        """Scores one video by its features.

        Args:
            name: what the score is of.
            features: (D,) vector of the row; for a network what it takes of one video.
            warnings: what is doubtful already.
            n_seconds: length of the video, if it is known.
        """
        if not np.isfinite(features).any():
            reason = f"{name}: no feature can be computed from this video; it may be too short"
            return Score(name, math.nan, math.nan, reason, warnings=warnings)
        batch = features[None]
        pred, std, *ends = (float(values[0]) for values in self.head.predict_interval(batch))
        if not math.isfinite(pred):
            reason = f"{name}: the model gives no finite score; its numbers, or the features, are too large"
            return Score(name, math.nan, math.nan, reason, warnings=warnings)
        more = self.head.warnings(batch, n_seconds)[0]
        mos, low, high = (float(value) for value in np.clip((pred, *ends), *self.scale))
        return Score(name, mos, pred, std=std, low=low, high=high, warnings=(*warnings, *more))

    @property
    def why_no_videos(self) -> str:
        """Why this model cannot score videos, empty if it can: its features must be computed here."""
        if self.head.kind == "end_to_end":
            return ""
        if self.row not in ROWS:
            return (
                f"this model was trained on imported features {self.row!r}, which cannot be computed from a "
                "video here; predict from feature tables instead (ugcvqa score --features FILE)"
            )
        return why_not_from_video(self.row, self.makers, self.settings)

    @property
    def makers(self) -> dict[str, str]:
        """Part of the row -> who made its features."""
        return {part: self.made_by.get(part, OURS) for part in parts_of(self.row)}

    def check_specs(self, specs: Mapping[str, str], other: str = "the table has") -> None:
        """Refuses features of another code version or other weights than those of the training.

        NSS features of either engine serve: they differ by rounding only.

        Args:
            specs: family -> spec as JSON, of the features; families without one are not checked.
            other: what comes before their value, in the message.

        Raises:
            CheckpointError: if they differ.
        """
        for name in self.specs.keys() & specs.keys():
            trained, here = (_meaning(each[name]) for each in (self.specs, specs))
            for key in sorted(set(trained) | set(here)):
                if trained.get(key) != here.get(key):
                    raise CheckpointError(
                        f"this model was trained on {name} features with {key} {trained.get(key)!r}, {other} "
                        f"{here.get(key)!r}: use the same weights and version, or train it again"
                    )

    @property
    def modules(self) -> tuple[str, ...]:
        """What a process needs to import before it scores."""
        if self.head.sees_frames or self.row not in ROWS or not set(families_of(self.row)) <= LIGHT:
            return ("ugcvqa.features.extraction", "ugcvqa.features.network_families", "ugcvqa.heads.network_heads")
        is_compiled = usable_engine(self.settings.nss.engine, self.settings.nss.precision) == "compiled"
        nss = "ugcvqa.nss.compiled" if is_compiled else "ugcvqa.nss.features"
        return ("ugcvqa.features.extraction", "ugcvqa.features.families", nss)

    def with_nss_engine(self, engine: NSSEngine) -> "QualityModel":
        """The same model on NSS features that are computed in another way; they differ by rounding, and so do scores.

        On the three public clips they moved by up to 3.4e-4.
        """
        return replace(self, settings=replace(self.settings, nss=replace(self.settings.nss, engine=engine)))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model as `save` writes it, and of its NSS engine; it identifies the model's scores."""
        engine = usable_engine(self.settings.nss.engine, self.settings.nss.precision)
        return hashlib.sha256(engine.encode() + self._to_bytes()).hexdigest()

    def save(self, path: Path) -> None:
        """Writes the model to one file without pickle.

        Raises:
            StoreError: if the file cannot be written.
        """
        write_atomic(path, self._to_bytes())

    def _to_bytes(self) -> bytes:
        arrays, values = self.head.to_arrays()
        # not which library computes: that is the machine's business, and moves a score by rounding at most
        settings = {name: values for name, values in asdict(self.settings).items() if name != "engine"}
        settings["nss"].pop("engine")
        metadata = {
            "format": FORMAT,
            "ugcvqa": __version__,
            "head": {"kind": self.head.kind, **values},
            "row": self.row,
            "settings": settings,
            "specs": dict(self.specs),
            "made_by": self.makers,
            "label": self.label,
            "scale": list(self.scale),
            "trained_on": self.trained_on,
        }
        return arrays_to_bytes(arrays, metadata)


def _meaning(spec: str) -> dict[str, Any]:
    """What a spec says of the numbers of its features, without what changes their rounding."""
    found: dict[str, Any] = json.loads(spec)
    settings = found.get("settings")
    if isinstance(settings, dict):
        found["settings"] = {name: value for name, value in settings.items() if name != "engine"}
    return found
