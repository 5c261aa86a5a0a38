"""The plan of the built-in demo set: which scenes in which format, and what is done to each version of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import numpy as np

from ugcvqa.demo.distort import LADDERS, Distortion
from ugcvqa.demo.paint import Random
from ugcvqa.demo.scene import Scene
from ugcvqa.demo.scenes import KINDS
from ugcvqa.errors import ConfigError

Card = TypeVar("Card")

CODEC_LADDERS: dict[str, tuple[int, ...]] = {
    "h264": (20, 26, 32, 38, 44),
    "hevc": (24, 31, 38, 45),
    "vp9": (30, 42, 52, 62),
}
"""Codec -> its constant rate factors from good to poor."""

ENCODERS: dict[str, tuple[str, dict[str, str], tuple[str, ...]]] = {
    "h264": ("libx264", {"preset": "superfast"}, ("mp4", "mkv", "mov", "mp4")),
    "hevc": ("libx265", {"preset": "ultrafast"}, ("mp4", "mkv")),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}, ("webm", "mkv")),
}
"""Codec -> its encoder, the encoder's options, and the containers that take turns."""

# Width, height, frames per second and seconds of the scenes, in turn.
_FORMATS: tuple[tuple[int, int, Fraction, float], ...] = (
    (320, 180, Fraction(30), 2.0),
    (426, 240, Fraction(24), 2.0),
    (270, 480, Fraction(25), 2.0),
    (320, 240, Fraction(30_000, 1001), 2.0),
    (480, 270, Fraction(24), 2.0),
    (240, 240, Fraction(30), 2.5),
    (352, 288, Fraction(25), 2.0),
    (320, 180, Fraction(50), 2.0),
    (640, 360, Fraction(24), 2.0),
    (180, 320, Fraction(30), 2.2),
)

_FREQUENT = ("defocus", "motion blur", "gaussian blur", "noise", "rescale")


@dataclass(frozen=True)
class DemoClip:
    """One file of the demo set, fixed completely by these values.

    Attributes:
        video_id: such as "demo/scene03_v2".
        scene: such as "scene03"; all versions of a scene share it.
        file: file name inside the set's folder.
        source: the clean scene.
        distortions: what is done to the picture.
        codec: a key of `CODEC_LADDERS`.
        crf: constant rate factor of the encoder.
    """

    video_id: str
    scene: str
    file: str
    source: Scene
    distortions: tuple[Distortion, ...]
    codec: str
    crf: int

    @property
    def degradation(self) -> str:
        """What was done, for people: "noise 9, h264 crf 32"."""
        return ", ".join((*map(str, self.distortions), f"{self.codec} crf {self.crf}"))


def demo_plan(seed: int = 0, scenes: int = 28, versions: int = 6) -> list[DemoClip]:
    """Plans the demo set: which scenes in which format, and what is done to each version.

    Of every six versions one is good, two are compressed, two have one degradation and one has two, as user
    videos have. Levels are dealt like shuffled cards, so that all of them come up; blur, noise and rescaling
    are in the pack twice, since they are what spoils most user videos.

    Args:
        seed: seeds the scenes and all choices.
        scenes: number of scenes, >= 1.
        versions: files per scene, >= 1.

    Returns:
        The files by scene and version; equal arguments give equal plans.

    Raises:
        ConfigError: if a number is too small.
    """
    if scenes < 1 or versions < 1 or seed < 0:
        raise ConfigError(f"demo set of {scenes} scenes, {versions} versions, seed {seed}: too small a number")
    rng = np.random.default_rng(seed)
    encodings = _deal(rng, [(codec, crf) for codec, ladder in CODEC_LADDERS.items() for crf in ladder])
    pack = [Distortion(name, level) for name, ladder in LADDERS.items() for level in ladder]
    distortions = _deal(rng, pack + [card for card in pack if card.name in _FREQUENT])
    plan = []
    for number in range(scenes):
        source = _scene(number, seed)
        for version in range(versions):
            chosen, (codec, crf) = _version(version % 6, rng, encodings, distortions)
            name = f"scene{number:02d}_v{version}"
            containers = ENCODERS[codec][2]
            file = f"{name}.{containers[(number + version) % len(containers)]}"
            plan.append(DemoClip(f"demo/{name}", f"scene{number:02d}", file, source, chosen, codec, crf))
    return plan


def _scene(number: int, seed: int) -> Scene:
    kind = list(KINDS)[number % len(KINDS)]
    width, height, rate, duration_s = _FORMATS[number % len(_FORMATS)]
    n_frames = round(duration_s * float(rate))
    return Scene(kind, seed * 1000 + number, width, height, rate, n_frames)


def _deal(rng: Random, cards: Sequence[Card]) -> Iterator[Card]:
    """Yields cards for ever, reshuffled when all have been dealt."""
    while True:
        for place in rng.permutation(len(cards)):
            yield cards[place]


def _version(
    slot: int, rng: Random, encodings: Iterator[tuple[str, int]], distortions: Iterator[Distortion]
) -> tuple[tuple[Distortion, ...], tuple[str, int]]:
    """Draws what is done to one version: its distortions, then its codec and rate factor."""
    if slot == 0:
        return (), ("h264", int(rng.integers(16, 20)))
    if slot in (1, 2):
        return (), next(encodings)
    if slot == 3:
        return (next(distortions),), ("h264", int(rng.integers(18, 24)))
    if slot == 4:
        return (next(distortions),), next(encodings)
    first = next(distortions)
    second = next(other for other in distortions if other.name != first.name)
    return (first, second), ("h264", int(rng.integers(22, 37)))
