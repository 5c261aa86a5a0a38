"""UVQ as a scorer of video files: its own score without any training, and the parts that it is made of."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np

from ugcvqa.deep.engine import chosen_engine
from ugcvqa.features.extraction import VideoResult
from ugcvqa.features.families import build_families
from ugcvqa.features.family import Family
from ugcvqa.features.network_families import UVQFamily
from ugcvqa.media.facts import VideoInfo
from ugcvqa.scoring.contributions import NONE
from ugcvqa.scoring.explanation import Timeline
from ugcvqa.scoring.result import Score
from ugcvqa.scoring.timeline import even_timeline
from ugcvqa.scoring.video_model import VideoModel
from ugcvqa.settings.features import Engine, FamilySettings, UVQSettings
from ugcvqa.uvq.state import SCORE_NAMES

_N_TOPICS = 5
_FAMILIES = {"uvq": "uvq", "uvq1.5": "uvq15"}


class UVQModel(VideoModel):
    """UVQ 1.0 or 1.5 with a user's weights.

    The score is the mean over seconds, for UVQ 1.0 of `compression_content_distortion`, its documented default. The
    timeline holds these seconds as UVQ counts them: ffmpeg's sampler runs up to one frame of its rate early. An
    explanation has no contributions: UVQ's own judgements of content, distortion and compression are `Score.parts`.
    `Score.details` holds `seconds` (the score of each second), and for UVQ 1.0 `topics` (the likeliest, 0..1) and
    `distortions` (26 probabilities in the order of DistortionNet, whose names are not published).

    Args:
        version: `uvq` for 1.0, `uvq1.5`.
        settings: weights, sampling of frames, and how missing frames count.
        engine: library that computes the networks, see `FamilySettings`.

    Attributes:
        label: what the score is.
        scale: (lowest, highest) value of it.
        name: the version, and what makes its numbers.
        trained_on: the data set that the released weights come from.
        part_names: names of `Score.parts`, in order.
        facts: how frames were chosen, and the SHA-256 of the weights: of each file where they are files.

    Raises:
        WeightsError: if weights are missing or damaged.
    """

    label = "MOS"
    scale = (1.0, 5.0)

    def __init__(
        self, version: Literal["uvq", "uvq1.5"], settings: UVQSettings = UVQSettings(), engine: Engine = "auto"
    ) -> None:
        self._key, self._fps = _FAMILIES[version], settings.fps
        families = FamilySettings(uvq=settings, engine=engine)
        self._family = cast(UVQFamily, build_families((self._key,), families)[self._key])
        frames = "real frames" if settings.counting == "real" else "reference mode"
        self.name = f"UVQ {'1.0' if version == 'uvq' else '1.5'} ({frames}, {settings.sampler})"
        is_random = settings.weights.startswith("random:")
        self.trained_on = "nothing (RANDOM weights)" if is_random else "YouTube-UGC"
        self.part_names = (*SCORE_NAMES, "compression_level") if version == "uvq" else ()
        self.facts: Mapping[str, Any] = {
            "row": "UVQ" if version == "uvq" else "UVQ1.5",
            "counting": settings.counting,
            "sampler": settings.sampler,
            "engine": chosen_engine(engine),
            "weights": dict(self._family.checksums) or self._family.spec.weights,
        }

    def __repr__(self) -> str:
        return f"UVQModel({self.name}, trained on {self.trained_on})"

    @property
    def modules(self) -> tuple[str, ...]:
        """What a process needs to import before it scores."""
        return (__name__,)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what makes the scores: version, settings and weights."""
        return hashlib.sha256(f"{self.name} {self._family.spec.to_json()}".encode()).hexdigest()

    def _families(self) -> dict[str, Family]:
        return {self._key: self._family}

    def _judged(self, path: str, result: VideoResult) -> Score:
        arrays = result.features[self._key]
        pred = float(arrays["scores"][-1])
        values = (*arrays["scores"].tolist(), *arrays["levels"].tolist())
        details: dict[str, Any] = {"seconds": arrays["seconds"][:, -1].tolist()}
        if self.part_names:
            details |= {"topics": self._topics(arrays["topics"]), "distortions": arrays["distortions"].tolist()}
        parts = dict(zip(self.part_names, values, strict=False))
        mos = float(np.clip(pred, *self.scale))
        return Score(path, mos, pred, parts=parts, details=details, warnings=result.warnings)

    def _timeline(self, result: VideoResult, info: VideoInfo) -> Timeline:
        return even_timeline(result.features[self._key]["seconds"][:, -1], self.scale, info, self._step_s(info))

    def _contributions(self, result: VideoResult) -> tuple[dict[str, float], str]:
        del result
        return {}, NONE

    def _step_s(self, info: VideoInfo) -> float:
        """Seconds that each of its scores covers."""
        if self._key == "uvq":
            return 1.0
        return 1 / (self._fps if self._fps > 0 else math.ceil(info.rate))

    def _topics(self, probabilities: np.ndarray) -> dict[str, float]:
        likeliest = np.argsort(-probabilities, kind="stable")[:_N_TOPICS].tolist()
        names = self._family.topics
        return {names[i] if i < len(names) else f"topic {i}": float(probabilities[i]) for i in likeliest}
