"""A trained model as one file: head, feature settings and label scale; made by `fit`, used by `score`."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ugcvqa import __version__, untrusted
from ugcvqa.errors import CheckpointError, StoreError, UgcvqaError, VideoError
from ugcvqa.features.provenance import OURS, UNKNOWN, parts_of, why_not_from_video
from ugcvqa.features.rows import LIGHT, ROWS, families_of
from ugcvqa.files import arrays_from_file, arrays_to_bytes, error_reason, write_atomic
from ugcvqa.heads.fitted import FittedHead
from ugcvqa.heads.kinds import head_from_arrays
from ugcvqa.media.facts import VideoInfo
from ugcvqa.nss.engines import usable_engine
from ugcvqa.pixels.facts import PixelFacts, in_words
from ugcvqa.scoring.contributions import contributions_of
from ugcvqa.scoring.explanation import Explanation, Timeline
from ugcvqa.scoring.failures import error_code
from ugcvqa.scoring.moments import Picture, file_picture, worst_and_best
from ugcvqa.scoring.timeline import timeline_of
from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.features import Engine, FamilySettings, NSSEngine

if TYPE_CHECKING:
    from ugcvqa.features.extraction import VideoResult
    from ugcvqa.features.family import Family
    from ugcvqa.scoring.frames_in_memory import Frames

FORMAT = 1
"""Version of the file layout; a file with a larger one is refused."""

_LARGEST_SCORE, _MOST_FAMILIES, _LONGEST_SPEC = 1e6, 20, 5000

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
        std: standard deviation of a measured label about `pred`, same unit; NaN where the head knows none.
        parts: numbers that the score is made of, by name.
        details: what else the model says about the video, by name: lists and mappings of numbers.
        low: lower end of the 90 % interval of a newly measured label, same unit; NaN where unknown.
        high: upper end of it.
        warnings: why the score may not hold for this video, one plain sentence each: facts of the file, then what the
            model says. A failed video has those found until then.
        timeline: the score second by second; None unless asked for.
        explanation: which parts and seconds make the score; None unless asked for.
        duration_s: length of the video in seconds, as it was decoded; NaN where it was not measured.
        width: columns of its frames after rotation, None where they were not measured.
        height: rows of its frames.
        file_bytes: size of the file.
    """

    path: str
    mos: float
    pred: float
    reason: str = ""
    std: float = math.nan
    parts: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    low: float = math.nan
    high: float = math.nan
    warnings: tuple[str, ...] = ()
    timeline: Timeline | None = None
    explanation: Explanation | None = None
    duration_s: float = math.nan
    width: int | None = None
    height: int | None = None
    file_bytes: int | None = None

    @property
    def error_code(self) -> str:
        """What kind of failure `reason` tells of, one of `failures.MEANINGS`; empty if the video has a score."""
        return error_code(self.reason, self.path)

    def of_file(self, info: VideoInfo | None) -> "Score":
        """The same with the length and size of the video, as far as it was measured."""
        if info is None:
            return self
        seconds = float(info.duration_s)
        return replace(self, duration_s=seconds, width=info.width, height=info.height, file_bytes=info.file_bytes)

    def as_dict(self) -> dict[str, Any]:
        """Returns the score as plain numbers, texts, lists and mappings, as JSON wants them.

        None stands for what is not known. Pictures are left out, and so is what was not asked for.
        """
        record = {
            "video": self.path,
            "mos": self.mos,
            "pred": self.pred,
            "std": self.std,
            "low": self.low,
            "high": self.high,
            "warnings": list(self.warnings),
            "error": self.reason or None,
            "error_code": self.error_code or None,
            "duration_s": self.duration_s,
            "width": self.width,
            "height": self.height,
            "file_bytes": self.file_bytes,
            **({"parts": dict(self.parts)} if self.parts else {}),
            **self.details,
        }
        for name, asked in (("timeline", self.timeline), ("explanation", self.explanation)):
            record |= {name: asked.as_dict()} if asked is not None else {}
        plain: dict[str, Any] = _known(record)
        return plain


def _known(value: Any) -> Any:  # noqa: ANN401 (anything JSON knows)
    """None in place of NaN and infinities, which JSON does not know."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _known(inner) for key, inner in value.items()}
    return [_known(inner) for inner in value] if isinstance(value, list | tuple) else value


def only(scores: Iterator[Score]) -> Score:
    """Takes the score of a single video.

    Raises:
        VideoError: if the video failed.
    """
    (score,) = scores
    if score.reason:
        raise VideoError(score.reason)
    return score


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
            VideoError: if the frames are no video, or too few.
            CheckpointError: if the features of this model cannot be computed from a video.
        """
        from ugcvqa.features.extraction import usable_device
        from ugcvqa.media.memory import NAME
        from ugcvqa.scoring.frames_in_memory import memory_result

        families, by_second = self._checked_families(), self._is_by_second(timeline or explain)
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
            explain: also tells what the parts of the features add, and takes a picture of the worst and best second,
                for which the file is opened again; includes the timeline.

        Raises:
            CheckpointError: if the features of this model cannot be computed from a video.
        """
        from ugcvqa.features.extraction import extract_files, usable_device, usable_paths

        families, by_second = self._checked_families(), self._is_by_second(timeline or explain)
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

    def _checked_families(self) -> "dict[str, Family]":
        families = self._families()
        self.check_specs({name: family.spec.to_json() for name, family in families.items()}, "computed here would be")
        return families

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
        return self._explained(score, features, result, picture if explain else None)

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
        pred, std = (float(values[0]) for values in self.predict_with_std(batch))
        if not math.isfinite(pred):
            reason = f"{name}: the model gives no finite score; its numbers, or the features, are too large"
            return Score(name, math.nan, math.nan, reason, warnings=warnings)
        ends, more = (math.nan, math.nan), self.head.warnings(batch, n_seconds)[0]
        if self.head.has_interval:
            interval = self.head.predict_interval(batch)
            ends = float(interval.low[0]), float(interval.high[0])
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


def load(path: str | Path, engine: Engine = "auto", nss_engine: NSSEngine = "auto") -> QualityModel:
    """Loads a trained model from a run folder or a model file.

    Args:
        path: the run folder or the file.
        engine: library that computes networks, see `FamilySettings`.
        nss_engine: how NSS features are computed, see `NSSSettings`, whichever computed those of the training; `torch`
            computes them on a GPU.

    Raises:
        CheckpointError: if there is none, or it is damaged or from an incompatible version.
    """
    file = Path(path)
    file = file / FILE_NAME if file.is_dir() else file
    if file.suffix == ".ckpt":
        raise CheckpointError(
            f"{file}: is a checkpoint of a training, for EndToEndRegressor.load_from_checkpoint and the like; give the "
            f"run folder that holds {FILE_NAME}"
        )
    if not file.is_file():
        raise CheckpointError(f"{file}: no such model; give a run folder made by `ugcvqa fit`")
    try:
        arrays, metadata = arrays_from_file(file)
    except StoreError as error:
        raise CheckpointError(str(error)) from error
    _check_version(file, metadata)
    try:
        model = _from_parts(arrays, metadata)
        model = replace(model, settings=replace(model.settings, engine=engine))
        return model.with_nss_engine(usable_engine(nss_engine, model.settings.nss.precision))
    except (UgcvqaError, LookupError, TypeError, ValueError, RecursionError) as error:
        is_plain = isinstance(error, UgcvqaError) and not isinstance(error, untrusted.Unfit)
        reason = str(error) if is_plain else f"is not a complete model ({_reason(error)})"
        written = _writer(metadata)
        other = (
            "" if written == __version__ else f"; ugcvqa {written} wrote it, this is {__version__}: install that one"
        )
        raise CheckpointError(f"{file}: {reason}{other}") from error


def _writer(metadata: Mapping[str, Any]) -> str:
    """Version of the package that wrote a model."""
    version = metadata.get("ugcvqa")
    return version if isinstance(version, str) and version.isprintable() and len(version) < 30 else "?"


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, untrusted.Unfit) else error_reason(error)


def _check_version(file: Path, metadata: dict[str, Any]) -> None:
    written = metadata.get("format")
    if not isinstance(written, int) or not 1 <= written <= FORMAT:
        raise CheckpointError(
            f"{file}: model format {untrusted.shown(written)} of ugcvqa {_writer(metadata)}; this is ugcvqa "
            f"{__version__}, which reads formats up to {FORMAT}: install a newer version"
        )


def _from_parts(arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> QualityModel:
    values = untrusted.mapping(metadata["head"], "head")
    head = head_from_arrays(untrusted.text(values["kind"], "kind of head"), arrays, values)
    untrusted.nothing_else(arrays, head.to_arrays()[0].keys())
    row, specs = untrusted.text(metadata["row"], "row"), _texts(metadata["specs"], "specs")
    for name, spec in specs.items():
        untrusted.mapping(json.loads(spec), f"the spec of {name}")
    return QualityModel(
        head=head,
        row=row,
        settings=_family_settings(untrusted.mapping(metadata["settings"], "settings")),
        label=untrusted.text(metadata["label"], "label"),
        scale=_scale(metadata["scale"]),
        trained_on=untrusted.text(metadata["trained_on"], "trained_on"),
        specs=specs,
        made_by=_makers(metadata, row, specs),
    )


def _meaning(spec: str) -> dict[str, Any]:
    """What a spec says of the numbers of its features, without what changes their rounding."""
    found: dict[str, Any] = json.loads(spec)
    settings = found.get("settings")
    if isinstance(settings, dict):
        found["settings"] = {name: value for name, value in settings.items() if name != "engine"}
    return found


def _scale(value: Any) -> tuple[float, float]:  # noqa: ANN401 (anything JSON knows, here and below)
    low, high = untrusted.numbers(value, "scale", 2, -_LARGEST_SCORE, _LARGEST_SCORE).tolist()
    if not low < high:
        raise CheckpointError(f"its scale runs from {low:g} to {high:g}")
    return low, high


def _makers(metadata: Mapping[str, Any], row: str, specs: Mapping[str, str]) -> dict[str, str]:
    """Who made the features of the training; a file from before this was written down has specs of ours, or none."""
    said = _texts(metadata.get("made_by", {}), "made_by")
    is_older = "made_by" not in metadata
    return {part: said.get(part, OURS if is_older and part in specs else UNKNOWN) for part in parts_of(row)}


def _texts(value: Any, name: str) -> dict[str, str]:  # noqa: ANN401
    found = untrusted.mapping(value, name)
    if len(found) > _MOST_FAMILIES:
        raise CheckpointError(f"{name} has {len(found)} entries")
    longest = _LONGEST_SPEC
    return {untrusted.text(key, name): untrusted.text(one, f"a value of {name}", longest) for key, one in found.items()}


def _family_settings(values: Mapping[str, Any]) -> FamilySettings:
    """Settings from a model file; what an older version did not know yet has its default.

    A model may come from anywhere: it names weights, but opens no path of its choice.
    """
    found = untrusted.settings(FamilySettings, values, "settings")
    deep, saliency, uvq = found.deep, found.saliency, found.uvq
    return replace(
        found,
        deep=replace(deep, weights=untrusted.weights(deep.weights)),
        saliency=replace(saliency, weights=untrusted.weights(saliency.weights)),
        uvq=replace(uvq, weights=uvq.weights if re.fullmatch(r"random:\d{1,9}", uvq.weights) else ""),
    )
