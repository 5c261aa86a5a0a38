"""Degradations of the built-in demo set, as user videos have them before they are encoded.

A degradation has a name and a level; `LADDERS` lists the levels from mild to strong. They are applied in the
order in which they arise in a phone: the hand shakes, the optics blur, the exposure errs, the sensor adds noise,
the software scales the picture, and frames are lost last.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ugcvqa.demo.paint import Levels, Random, along
from ugcvqa.demo.scene import Frames

Picture = NDArray[np.uint8]

LADDERS: dict[str, tuple[float, ...]] = {
    "shake": (1.5, 4.0, 9.0),
    "defocus": (1.5, 2.5, 4.5),
    "motion blur": (4.0, 9.0, 17.0),
    "gaussian blur": (0.8, 1.5, 3.0),
    "underexposure": (1.0, 2.2),
    "overexposure": (0.6, 1.3),
    "noise": (4.0, 9.0, 16.0, 28.0),
    "rescale": (2.0, 3.0, 4.0),
    "frame drop": (2.0, 3.0, 5.0),
    "freeze": (0.3, 0.6, 1.1),
}
"""Degradation -> its levels from mild to strong, in order of application.

Units: shake and gaussian blur, pixels of deviation; defocus, pixels of radius; motion blur, pixels of path;
exposures, stops; noise, levels of deviation at mid grey; rescale, factor; frame drop, one frame in so many is
kept; freeze, seconds.
"""


@dataclass(frozen=True)
class Distortion:
    """One degradation of the picture: a key of `LADDERS` and a level in that ladder's unit, > 0."""

    name: str
    level: float

    def __str__(self) -> str:
        return f"{self.name} {self.level:g}"


def distort(clean: Frames, rate: Fraction, distortions: tuple[Distortion, ...], rng: Random) -> tuple[Frames, Frames]:
    """Degrades a clean scene, and returns what a perfect picture of the same moments would have been.

    Args:
        clean: (T, H, W, 3) uint8 RGB.
        rate: frames per second.
        distortions: at most one of a name; applied in the order of `LADDERS`, whatever their order here.
        rng: draws noise, directions and moments.

    Returns:
        The degraded frames and the reference frames, both shaped as `clean`. The reference has the same
        shake, drops and freezes but nothing else, so that both show the same thing at the same place.
    """
    levels = {distortion.name: distortion.level for distortion in distortions}
    reference = _shaken(clean, rate, levels["shake"], rng) if "shake" in levels else clean
    shown = _shown(len(clean), rate, levels, rng)
    reference = reference[shown]
    spoilers = [SPOILERS[name](levels[name], clean.shape[1:3], rng) for name in SPOILERS if name in levels]
    if not spoilers:
        return reference, reference
    degraded = np.empty_like(reference)
    for index in range(len(degraded)):
        if index and shown[index] == shown[index - 1]:  # a repeated frame repeats its noise
            degraded[index] = degraded[index - 1]
            continue
        picture = reference[index]
        for spoil in spoilers:
            picture = spoil(picture)
        degraded[index] = picture
    return degraded, reference


def _shown(n_frames: int, rate: Fraction, levels: dict[str, float], rng: Random) -> NDArray[np.intp]:
    """Returns which source frame is shown at each moment, with drops and one freeze."""
    shown = np.arange(n_frames)
    if "frame drop" in levels:
        kept = int(levels["frame drop"])
        shown = shown // kept * kept
    if "freeze" in levels:
        length = min(round(levels["freeze"] * float(rate)), n_frames - 1)
        start = int(rng.integers(0, n_frames - length))
        shown[start : start + length + 1] = shown[start]
    return shown


def _shaken(clean: Frames, rate: Fraction, level: float, rng: Random) -> Frames:
    """Moves the camera by a tremor of several Hz, in whole pixels so that nothing is blurred."""
    time_s = np.arange(len(clean)) / float(rate)
    path = np.zeros((2, len(clean)))
    for hertz in (2.3, 4.1, 7.3):
        path += np.sin(2 * np.pi * (hertz * time_s + rng.uniform(size=(2, 1))))
    steps = np.rint(path * level / np.sqrt(1.5)).astype(int)
    height, width = clean.shape[1:3]
    rows = np.clip(np.arange(height) + steps[0][:, None], 0, height - 1)
    columns = np.clip(np.arange(width) + steps[1][:, None], 0, width - 1)
    return np.stack([frame[r][:, c] for frame, r, c in zip(clean, rows, columns, strict=True)])


def _mean_of_shifts(picture: Picture, shifts: set[tuple[int, int]]) -> Picture:
    """Averages at most 257 copies of a picture, each moved by (rows, columns); edges are repeated."""
    reach = max(max(abs(row), abs(column)) for row, column in shifts)
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), mode="edge").astype(np.uint16)
    total = np.full(picture.shape, len(shifts) // 2, np.uint16)
    for row, column in shifts:
        total += padded[reach + row : reach + row + height, reach + column : reach + column + width]
    return (total // np.uint16(len(shifts))).astype(np.uint8)


Spoiler = Callable[[Picture], Picture]


def _defocus(level: float, size: tuple[int, ...], rng: Random) -> Spoiler:
    reach = range(-int(level), int(level) + 1)
    disc = {(row, column) for row in reach for column in reach if np.hypot(row, column) <= level}
    return lambda picture: _mean_of_shifts(picture, disc)


def _motion_blur(level: float, size: tuple[int, ...], rng: Random) -> Spoiler:
    angle = rng.uniform(0, np.pi)
    path = np.linspace(-level / 2, level / 2, 2 * int(level) + 1)
    line = {(round(step * np.sin(angle)), round(step * np.cos(angle))) for step in path}
    return lambda picture: _mean_of_shifts(picture, line)


def _total(terms: Iterable[Levels]) -> Levels:
    rest = iter(terms)
    total = np.array(next(rest))  # a copy, for the first term may be a view
    for term in rest:
        total += term
    return total


def _gaussian_blur(level: float, size: tuple[int, ...], rng: Random) -> Spoiler:
    reach = int(np.ceil(2.5 * level))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / level) ** 2).astype(np.float32)
    taps /= taps.sum()

    def spoil(picture: Picture) -> Picture:
        smooth = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), mode="edge").astype(np.float32)
        smooth = _total(taps[k] * smooth[k : k + picture.shape[0]] for k in range(2 * reach + 1))
        smooth = _total(taps[k] * smooth[:, k : k + picture.shape[1]] for k in range(2 * reach + 1))
        return (smooth + np.float32(0.5)).astype(np.uint8)

    return spoil


def _underexposure(level: float, size: tuple[int, ...], rng: Random) -> Spoiler:
    return _exposure(-level)


def _overexposure(level: float, size: tuple[int, ...], rng: Random) -> Spoiler:
    return _exposure(level)


def _exposure(stops: float) -> Spoiler:
    """Scales linear light by 2^stops and clips; levels are coded with a gamma of 2.2."""
    table = np.clip(np.arange(256) * 2 ** (stops / 2.2) + 0.5, 0, 255).astype(np.uint8)
    return lambda picture: np.asarray(table[picture], np.uint8)


def _noise(level: float, size: tuple[int, ...], rng: Random) -> Spoiler:
    """Adds noise whose variance grows with the signal, as photon noise over read noise does."""
    count = size[0] * size[1] * 3
    bank = rng.standard_normal(2 * count, dtype=np.float32)
    deviation = (level * np.sqrt(0.25 + 0.75 * np.arange(256) / 128)).astype(np.float32)

    def spoil(picture: Picture) -> Picture:
        start = int(rng.integers(count))
        noise = bank[start : start + count].reshape(picture.shape)
        noise = deviation[picture] * noise + picture
        noisy: Picture = np.clip(noise + np.float32(0.5), 0, 255).astype(np.uint8)
        return noisy

    return spoil


def _rescale(level: float, size: tuple[int, ...], rng: Random) -> Spoiler:
    """Shrinks by averaging blocks, then enlarges by linear interpolation."""
    factor = int(level)
    ends = [-(-length // factor) for length in size]
    missing = [(0, end * factor - length) for end, length in zip(ends, size, strict=True)]
    where = [np.clip((np.arange(n) + 0.5) / factor - 0.5, 0, end - 1) for n, end in zip(size, ends, strict=True)]

    def spoil(picture: Picture) -> Picture:
        padded = np.pad(picture, (*missing, (0, 0)), mode="edge").astype(np.float32)
        small = _total(padded[k::factor] for k in range(factor))
        small = _total(small[:, k::factor] for k in range(factor)) / np.float32(factor**2)
        large = along(1, along(0, small, where[0]), where[1])
        return (large + np.float32(0.5)).astype(np.uint8)

    return spoil


SPOILERS: dict[str, Callable[[float, tuple[int, ...], Random], Spoiler]] = {
    "defocus": _defocus,
    "motion blur": _motion_blur,
    "gaussian blur": _gaussian_blur,
    "underexposure": _underexposure,
    "overexposure": _overexposure,
    "noise": _noise,
    "rescale": _rescale,
}
"""Degradations of single frames, in order of application: (level, (H, W), rng) -> a map of frames."""
