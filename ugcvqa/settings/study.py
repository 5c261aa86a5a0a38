"""Settings of the saliency study."""

from dataclasses import dataclass

from ugcvqa.errors import ConfigError


@dataclass(frozen=True)
class MeasureSettings:
    """What the saliency study measures beyond the paper's cosine.

    Attributes:
        permutations: re-pairings of videos behind each p-value; 0 leaves these tests out.
        seed: of all random draws.
        sample_frames: most frames of a video that enter the tests.
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
        videos: videos, from the first on, of which frames and maps are drawn.
        frame: number, from 1, of the sampled frame whose activations are drawn; the last if there are fewer.
        animation_frames: most frames of a video in the animations of activations; 0 leaves them out.
    """

    videos: int = 1
    frame: int = 7
    animation_frames: int = 4

    def __post_init__(self) -> None:
        if min(self.videos, self.animation_frames) < 0 or self.frame < 1:
            raise ConfigError(f"pictures {self}: no number may be below 0, and frames are counted from 1")
