"""A trained model: head, feature settings and label scale; made by `fit`, used by `score`, kept as one file."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ugcvqa import __version__
from ugcvqa.errors import CheckpointError
from ugcvqa.features.artefact_family import NAME, ArtefactFamily
from ugcvqa.features.provenance import OURS, parts_of, why_not_from_video
from ugcvqa.features.rows import LIGHT, ROWS, families_of
from ugcvqa.files import arrays_to_bytes, write_atomic
from ugcvqa.heads.fitted import FittedHead
from ugcvqa.nss.engines import usable_engine
from ugcvqa.pixels.facts import PixelFacts, in_words
from ugcvqa.scoring.artefacts import set_apart
from ugcvqa.scoring.contributions import contributions_of
from ugcvqa.scoring.explanation import Explanation
from ugcvqa.scoring.moments import Picture, file_picture, worst_and_best
from ugcvqa.scoring.result import Score, only
from ugcvqa.scoring.timeline import timeline_of
from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.features import FamilySettings, NSSEngine

if TYPE_CHECKING:
    from ugcvqa.features.extraction import VideoResult
    from ugcvqa.features.family import Family
    from ugcvqa.scoring.frames_in_memory import Frames

FORMAT = 1
"""Version of the file layout; a file with a larger one is refused."""

FILE_NAME = "model.safetensors"
"""Name of the model inside a run folder."""


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

    def score(
        self,
        path: str | Path,
        device: str = "cpu",
        limits: DecodeLimits | None = None,
        timeline: bool = False,
        explain: bool = False,
    ) -> Score:
        """Scores one video file, see `score_many`.

        Raises:
            VideoError: if the video cannot be read.
            CheckpointError: if the features of this model cannot be computed from a video.
        """
        return only(self.score_many([path], device=device, limits=limits, timeline=timeline, explain=explain))

    def score_frames(
        self,
        frames: "Frames",
        fps: float | Fraction,
        device: str = "cpu",
        timeline: bool = False,
        explain: bool = False,
        full_range: bool = False,
    ) -> Score:
        """Scores frames that are in memory, see `frames_in_memory.Frames` for what they may be.

        A list of what a decoder gave (planes of 4:2:0 video as coded, or PyAV's frames of any format and depth; no
        iterator, as no file keeps all that such frames say of themselves) and the file get the same score, and so do
        RGB frames and an RGB file that holds them losslessly. RGB frames that were made from YUV cannot get it exactly:
        NSS features see planes with their levels as coded, while RGB has rounded them, has interpolated the chroma and
        has cut colours off at black and white. That moved scores by less than 0.2 MOS in soft colours, by up to 0.25 in
        test patterns. They are turned back by BT.601, which also moves scores if the source had another matrix.

        Args:
            frames: the video.
            fps: frames per second.
            device: where features are computed.
            timeline: see `score_many`.
            explain: see `score_many`.
            full_range: RGB frames or planes come from full-range video, such as Motion JPEG; without it such RGB can be
                off by 0.7 MOS.

        Raises:
            VideoError: if the frames are not a video, or too few.
            CheckpointError: if the features of this model cannot be computed from a video.
        """
        from ugcvqa.features.extraction import usable_device
        from ugcvqa.media.memory import NAME
        from ugcvqa.scoring.frames_in_memory import memory_result

        families, by_second = self._checked_families(explain), self._is_by_second(timeline or explain)
        with memory_result(frames, fps, families, usable_device(device), by_second, full_range) as (
            result,
            picture,
        ):
            return only(iter([self._on(device)._scored(NAME, result, timeline, explain, picture)]))

    def score_many(
        self,
        paths: Iterable[str | Path],
        batch_size: int = 1,
        workers: int = 0,
        device: str = "cpu",
        limits: DecodeLimits | None = None,
        timeline: bool = False,
        explain: bool = False,
    ) -> Iterator[Score]:
        """Scores videos one after the other and yields each score in the order of the paths.

        A video that fails yields a score of NaN with its reason. Neither `batch_size` nor `workers` changes
        a score. Paths are taken as they are needed, so a generator of a million is as good as a list.

        Args:
            paths: video files.
            batch_size: clips that travel together from the decoder.
            workers: processes that decode; 0 decodes in this one.
            device: where features are computed: `cpu`, `cuda`, `cuda:1`.
            limits: bounds on what is decoded.
            timeline: also scores every second, in the same decode pass; keeps a vector of features for each.
            explain: also tells what the parts of the features add, names likely artefacts, and takes a picture of the
                worst and best second, for which the file is opened again; includes the timeline.

        Raises:
            CheckpointError: if the features of this model cannot be computed from a video.
        """
        from ugcvqa.features.extraction import extract_files, usable_device, usable_paths

        families, by_second = self._checked_families(explain), self._is_by_second(timeline or explain)
        names = usable_paths(paths)
        results = extract_files(names, families, limits, batch_size, workers, usable_device(device), by_second)
        model = self._on(device)
        return (model._scored(path, result, timeline, explain, file_picture(path, limits)) for path, result in results)

    def _is_by_second(self, is_asked: bool) -> bool:
        """Whether features are wanted second by second; an end-to-end network keeps its frames in any case."""
        return is_asked and self.head.kind != "end_to_end"

    def _on(self, device: str) -> "QualityModel":
        """The same model with its network, if it is one, on a device."""
        return replace(self, head=self.head.to(device))

    def _checked_families(self, explain: bool) -> "dict[str, Family]":
        families = self._families()
        self.check_specs({name: family.spec.to_json() for name, family in families.items()}, "computed here would be")
        return families | ({NAME: ArtefactFamily()} if explain else {})

    def _families(self) -> "dict[str, Family]":
        """Builds what computes the features of this model from a video."""
        if self.why_no_videos:
            raise CheckpointError(self.why_no_videos)
        return self.head.families(self.row, self.settings)

    def _scored(self, path: str, result: "VideoResult", timeline: bool, explain: bool, picture: Picture) -> Score:
        """Scores the features of one video."""
        return self._judged(path, result, timeline, explain, picture).of_file(result.info)

    def _judged(self, path: str, result: "VideoResult", timeline: bool, explain: bool, picture: Picture) -> Score:
        if result.reason:
            return Score(path, math.nan, math.nan, result.reason, warnings=result.warnings)
        result, artefacts = set_apart(result)
        features, warnings, details = (
            self.head.input_of(self.row, result.features)[None],
            result.warnings,
            dict[str, Any](),
        )
        if "pixels" in result.features:
            vector = result.features["pixels"]["video"]
            warnings, details = (*warnings, *in_words(vector)), {"pixels": PixelFacts(*vector.tolist())._asdict()}
            if result.info is not None and result.info.levels:  # what stands or shows nothing has no quality of video
                return Score(path, math.nan, math.nan, f"{path}: {result.info.levels}", warnings=warnings)
        n_seconds = None if result.info is None else round(result.info.n_frames / result.info.rate)
        score = replace(self.score_features(path, features[0], warnings, n_seconds), details=details)
        if score.reason or not (timeline or explain):
            return score
        score = self._explained(score, features, result, picture if explain else None)
        known = score.explanation
        return score if known is None else replace(score, explanation=replace(known, artefacts=artefacts))

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

    def _explained(
        self, score: Score, features: npt.NDArray[Any], result: "VideoResult", picture: Picture | None
    ) -> Score:
        """Adds the timeline to a score, and with a picture the explanation."""
        timeline = timeline_of(self.head, self.row, self.scale, features, result)
        if picture is None or result.info is None:
            return replace(score, timeline=timeline)
        contributions, method = contributions_of(self.head, self.row, features)
        worst, best = worst_and_best(timeline, result.info, picture)
        return replace(score, timeline=timeline, explanation=Explanation(contributions, timeline, worst, best, method))

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
        """SHA-256 of the model as `save` writes it, and of its NSS engine: what tells its scores from others."""
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
