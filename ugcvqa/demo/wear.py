"""Wear: what befalls videos before anyone uploads them, drawn at random for each clip and applied as a phone does."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ugcvqa.demo.ladders import encoded
from ugcvqa.demo.scene import Frames
from ugcvqa.demo.versions import noisy, smoothed, unsharp
from ugcvqa.media.imresize import imresize_to

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

# Lightest and heaviest constant rate factor of each codec; for MPEG-4 bits per pixel.
_RATE_FACTORS = {"h264": (24.0, 44.0), "hevc": (26.0, 46.0), "vp9": (34.0, 62.0), "mpeg4": (0.4, 0.04)}


@dataclass(frozen=True)
class Encoding:
    """An encoder, and its constant rate factor; bits per pixel for MPEG-4."""

    codec: str
    factor: float


@dataclass(frozen=True)
class Wear:
    """What is done to a clip, in this order; the defaults do nothing.

    Attributes:
        gain: factor of all levels; above 1 highlights are cut off.
        haze: share of a light grey that is mixed in.
        saturation: 0 for grey pictures, 1 as they are.
        blur: standard deviation of a Gaussian blur in pixels.
        noise: standard deviation of new noise in every frame, in levels.
        shrink: factor of a reduction, after which the picture is enlarged again.
        sharpening: share of what unsharp masking adds.
        encodings: one encoding after the other.
    """

    gain: float = 1.0
    haze: float = 0.0
    saturation: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    shrink: float = 1.0
    sharpening: float = 0.0
    encodings: tuple[Encoding, ...] = ()

    @property
    def is_dark(self) -> bool:
        """Whether more light may help."""
        return self.gain < 0.8

    @property
    def is_soft(self) -> bool:
        """Whether sharpening may help."""
        return self.blur > 0 or self.shrink > 1 or self.haze > 0

    @property
    def is_rough(self) -> bool:
        """Whether a slight blur may help."""
        return self.noise > 0 or self.sharpening > 0


def drawn_wear(rng: np.random.Generator) -> Wear:
    """Draws what befalls one clip.

    Source: our own. Each change of the picture is less likely than not; of ten clips nine are encoded, three twice.
    """

    def some(chance: float, low: float, high: float, without: float) -> float:
        value = float(np.exp(rng.uniform(np.log(low), np.log(high))))  # drawn in any case
        return value if rng.random() < chance else without

    return Wear(
        gain=some(0.45, 0.3, 1.5, 1.0),
        haze=some(0.15, 0.1, 0.4, 0.0),
        saturation=some(0.3, 0.05, 1.4, 1.0),
        blur=some(0.35, 0.6, 2.5, 0.0),
        noise=some(0.4, 2.5, 18.0, 0.0),
        shrink=some(0.4, 1.3, 3.5, 1.0),
        sharpening=some(0.25, 0.5, 3.0, 0.0),
        encodings=tuple(_drawn_encoding(rng) for _ in range(int(rng.choice(3, p=(0.1, 0.6, 0.3))))),
    )


def _drawn_encoding(rng: np.random.Generator) -> Encoding:
    codec = str(rng.choice([*_RATE_FACTORS]))
    light, heavy = _RATE_FACTORS[codec]
    share = float(rng.random())
    if codec == "mpeg4":
        return Encoding(codec, light * (heavy / light) ** share)
    return Encoding(codec, round(light + (heavy - light) * share))


def worn(frames: Frames, wear: Wear, rate: Fraction, rng: np.random.Generator, folder: Path) -> Frames:
    """Wears a clip.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        wear: what is done to it.
        rate: frames per second.
        rng: for noise.
        folder: for files of the encoders, which are deleted.

    Returns:
        As `frames`.

    Raises:
        VideoError: if an encoder is missing or fails.
    """
    if (wear.gain, wear.haze, wear.saturation) != (1.0, 0.0, 1.0):
        frames = np.stack([_exposed(frame, wear) for frame in frames])
    if wear.blur:
        frames = smoothed(frames, wear.blur)
    if wear.noise:
        frames = noisy(wear.noise)(frames, rng)
    if wear.shrink > 1:
        frames = _reduced_and_back(frames, wear.shrink)
    if wear.sharpening:
        frames = unsharp(frames, wear.sharpening)
    for encoding in wear.encodings:
        frames = encoded(frames, rate, encoding.codec, encoding.factor, folder)
    return frames


def _exposed(frame: NDArray[np.uint8], wear: Wear) -> NDArray[np.uint8]:
    levels = frame * np.float32(wear.gain)
    grey = (levels @ _LUMA)[..., None]
    levels = grey + wear.saturation * (levels - grey)
    levels = (1 - wear.haze) * levels + wear.haze * 200
    exposed: NDArray[np.uint8] = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return exposed


def _reduced_and_back(frames: Frames, factor: float) -> Frames:
    height, width = frames.shape[1:3]
    planes = (torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1))) for frame in frames)
    small = (imresize_to(one, round(height / factor), round(width / factor)) for one in planes)
    return np.stack([imresize_to(one, height, width).numpy().transpose(1, 2, 0) for one in small])
