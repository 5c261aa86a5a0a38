"""Settings of the saliency study."""

from dataclasses import dataclass, field
from typing import Literal

from ugcvqa.errors import ConfigError
from ugcvqa.settings.data import DataSettings, DecodeLimits
from ugcvqa.settings.features import FamilySettings

DeepNetwork = Literal["complete", "as_published"]
"""Network of the deep features: the whole, or without its first normalisation, activation and pooling."""


@dataclass(frozen=True)
class MeasureSettings:
    """What the saliency study measures beyond the paper's cosine.

    Attributes:
        permutations: re-pairings of videos behind each p-value; 0 leaves these tests out.
        seed: of all random draws.
        sample_frames: frames of a video that enter the tests, at most.
        curve_frames: frames of each video whose maps are checked by deletion and insertion; 0 leaves the check out.
        curve_steps: portions in which pixels are deleted or inserted.
    """

    permutations: int = 199
    seed: int = 0
    sample_frames: int = 4
    curve_frames: int = 1
    curve_steps: int = 8

    def __post_init__(self) -> None:
        if min(self.permutations, self.seed, self.curve_frames) < 0 or min(self.sample_frames, self.curve_steps) < 1:
            raise ConfigError(
                f"measures {self}: permutations, seed and curve_frames must be at least 0, the others at least 1"
            )


@dataclass(frozen=True)
class PictureSettings:
    """How many pictures the saliency study draws.

    Attributes:
        videos: number of videos, from the first on, whose frames and maps are drawn.
        frame: number, from 1, of the sampled frame whose activations are drawn; the last if there are fewer.
        animation_frames: frames of a video in the animations of activations, at most; 0 leaves them out.
        figures: kinds in which each figure is written beside its PNG.
        font: of the figures.
    """

    videos: int = 1
    frame: int = 7
    animation_frames: int = 4
    figures: list[Literal["pdf", "svg"]] = field(default_factory=list)
    font: Literal["sans", "serif"] = "sans"

    def __post_init__(self) -> None:
        if min(self.videos, self.animation_frames) < 0 or self.frame < 1:
            raise ConfigError(f"pictures {self}: no number may be below 0, and frames are counted from 1")


@dataclass(frozen=True)
class StudySettings:
    """A study as requested; its attributes are the options of `ugcvqa study` and are described there.

    Raises:
        ConfigError: if there is nothing to study, or two options exclude each other.
    """

    videos: list[str] = field(default_factory=list)
    data: DataSettings | None = None
    out: str = "study"
    store: str = "store"
    frames: int = 32
    network: DeepNetwork = "complete"
    families: FamilySettings = field(default_factory=FamilySettings)
    measures: MeasureSettings = field(default_factory=MeasureSettings)
    pictures: PictureSettings = field(default_factory=PictureSettings)
    published: str | None = None
    benchmark: str | None = None
    device: str | None = None
    limits: DecodeLimits = field(default_factory=DecodeLimits)

    def __post_init__(self) -> None:
        if self.videos and self.data is not None:
            raise ConfigError("videos and --data exclude each other; give one of them")
        if not (self.has_videos or self.published or self.benchmark):
            raise ConfigError(
                "nothing to study; give VIDEO..., --data.name and --data.root, --published or --benchmark"
            )
        if self.frames < 1:
            raise ConfigError(f"frames is {self.frames}: at least 1 frame of each video is needed")

    @property
    def has_videos(self) -> bool:
        """Whether videos are studied."""
        return bool(self.videos) or self.data is not None
