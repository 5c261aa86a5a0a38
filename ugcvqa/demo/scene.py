"""A scene of the demo set: what fixes it, the path of its camera, and balls that drift through it."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ugcvqa.demo.paint import Levels, Random, ball, palette, paste

Frames = NDArray[np.uint8]
Painter = Callable[[int], Levels]


@dataclass(frozen=True)
class Scene:
    """What fixes a clean scene completely.

    Attributes:
        kind: a key of `scenes.KINDS`.
        seed: seeds every choice inside the scene.
        width: frame width in pixels, even.
        height: frame height in pixels, even.
        rate: frames per second.
        n_frames: frames T of the scene.
    """

    kind: str
    seed: int
    width: int
    height: int
    rate: Fraction
    n_frames: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a frame."""
        return self.height, self.width


@dataclass(frozen=True)
class Camera:
    """Where the view's top left corner lies in scene pixels, and scene pixels per frame pixel, by frame."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    zoom: NDArray[np.float64]


def camera_path(scene: Scene, rng: Random, pan: float = 0.15, zoom: float = 0.1, hand: float = 1.0) -> Camera:
    """Draws a camera path: a pan (widths per s), a zoom (e-folds per s) and a hand's tremor (pixels)."""
    time_s = np.arange(scene.n_frames) / float(scene.rate)
    angle = rng.uniform(-0.5, 0.5) + np.pi * rng.integers(2)
    speed = rng.uniform(0.3, 1.0) * pan * scene.width
    tremor = np.zeros((2, scene.n_frames))
    for hertz in (0.6, 1.7, 3.9):
        phase = rng.uniform(0, 2 * np.pi, size=(2, 1))
        tremor += rng.uniform(0, hand, size=(2, 1)) / hertz * np.sin(2 * np.pi * hertz * time_s + phase)
    start = rng.uniform(0, 200, size=2)
    return Camera(
        x=start[0] + speed * np.cos(angle) * time_s + tremor[0],
        y=start[1] + speed * np.sin(angle) * time_s + tremor[1],
        zoom=rng.uniform(0.85, 1.0) * np.exp(rng.uniform(-zoom, zoom) * time_s),
    )


def fleet(scene: Scene, rng: Random, count: int, smallest: float, largest: float) -> Callable[[Levels, int], None]:
    """Draws balls on straight paths that bounce off the frame's edges; returns what lays them on a frame."""
    balls = [ball(rng.uniform(smallest, largest), palette(rng, 3, 60, 220)[1], 0.5) for _ in range(count)]
    starts = rng.uniform(0, 1000, size=(count, 2))
    speeds = rng.normal(0, 0.25 * scene.width, size=(count, 2))

    def lay(picture: Levels, t: int) -> None:
        for (sprite, cover), start, speed in zip(balls, starts, speeds, strict=True):
            x, y = start + speed * t / float(scene.rate)
            half = cover.shape[0] / 2
            x = abs((x % (2 * scene.width)) - scene.width)
            y = abs((y % (2 * scene.height)) - scene.height)
            paste(picture, sprite, cover, x - half, y - half)

    return lay
