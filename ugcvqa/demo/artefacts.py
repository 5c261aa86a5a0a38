"""Ladders of artefacts: clips with known damage. Limits are set on one half of them and tested on the other.

Each half has scenes and levels of damage that the other lacks.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ugcvqa.demo.distort import Distortion, distort
from ugcvqa.demo.pans import panned
from ugcvqa.demo.scene import Frames, Scene
from ugcvqa.demo.scenes import KINDS, render_scene
from ugcvqa.media.encode import write_video

Half = Literal["calibration", "held_out"]

N_FRAMES = 50
_SEED = {"calibration": 9100, "held_out": 9600}
_FORMATS = ((640, 360, 24), (480, 270, 30), (848, 480, 25), (416, 240, 24), (640, 360, 30), (360, 640, 25))
_CRFS = (16, 23)  # of the last encoding, in turn
_OF_TIME = ("freezing", "judder")
_DETAIL = 8.0  # levels; detail that stands out further from its surroundings survives banding
_GRADIENT = 4.0  # pixels of deviation
_SMOOTH, _LEAST_SMOOTH = 2.0, 0.2  # levels of detail; share of a picture in which bands can show


class Damage(NamedTuple):
    """What is done to a clip: the artefact that it then shows, how that is made, and how strong it is."""

    artefact: str
    kind: str
    level: float


_LADDERS: dict[tuple[str, str], dict[Half, tuple[float, ...]]] = {
    ("blur", "gaussian blur"): {"calibration": (1.5, 3.0), "held_out": (2.0, 2.5)},
    ("blur", "defocus"): {"calibration": (2.5, 4.5), "held_out": (3.5,)},
    ("blur", "rescale"): {"calibration": (2.0, 4.0), "held_out": (3.0,)},
    ("noise", "noise"): {"calibration": (9.0, 16.0, 28.0), "held_out": (12.0, 22.0)},
    ("overexposure", "overexposure"): {"calibration": (1.3, 2.0), "held_out": (1.6,)},
    ("underexposure", "underexposure"): {"calibration": (2.2, 3.0), "held_out": (2.6,)},
    ("freezing", "freeze"): {"calibration": (0.4, 0.9), "held_out": (0.6,)},
    ("judder", "frame drop"): {"calibration": (2.0, 3.0), "held_out": (4.0,)},
    ("judder", "repeat"): {"calibration": (5.0,), "held_out": (6.0,)},
    ("judder", "3:2"): {"calibration": (), "held_out": (1.0,)},
    ("blocking", "x264"): {"calibration": (44.0, 48.0), "held_out": (46.0, 50.0)},
    ("blocking", "x264 without deblocking"): {"calibration": (36.0, 44.0), "held_out": (40.0,)},
    ("blocking", "mpeg4"): {"calibration": (0.03, 0.06), "held_out": (0.04,)},
    ("banding", "quantised gradients"): {"calibration": (6.0, 12.0, 20.0), "held_out": (8.0, 16.0)},
}
"""(Artefact, kind of damage) -> levels of each half.

Units: those of `distort.LADDERS`; repeat, of every so many frames one is shown twice in place of the next; x264, rate
factor; mpeg4, bits per pixel; quantised gradients, levels between bands.
"""


def damages(half: Half) -> list[Damage]:
    """All that is done to the scenes of one half, from mild to strong."""
    return [Damage(*kind, level) for kind, levels in _LADDERS.items() for level in levels[half]]


class Source(NamedTuple):
    """An undistorted clip: its frames, their rate, and whether something moves in every frame of it."""

    name: str
    frames: Frames
    rate: Fraction
    moves: bool


def rendered(half: Half, count: int = len(KINDS)) -> Iterator[Source]:
    """The scenes of one half, one of each kind."""
    for number, kind in enumerate(list(KINDS)[:count]):
        width, height, rate = _FORMATS[number % len(_FORMATS)]
        scene = Scene(kind, _SEED[half] + number, width, height, Fraction(rate), N_FRAMES)
        yield Source(kind, render_scene(scene), Fraction(rate), moves=True)


def photographed(name: str, photo: NDArray[np.uint8], number: int) -> Source:
    """A pan over a photograph; it moves in whole pixels and so stands still at times, which is not judder."""
    width, height, rate = _FORMATS[number % len(_FORMATS)]
    return Source(name, panned(photo, width, height, Fraction(rate), N_FRAMES, number), Fraction(rate), moves=False)


def write_versions(source: Source, half: Half, number: int, folder: Path) -> Iterator[tuple[Damage | None, Path]]:
    """Writes a clip and its damaged versions one after the other, the clip itself, without damage, first.

    Clips in which something always moves get every kind of damage, others none that is a matter of time; banding is
    made where at least a fifth of the picture is smooth. Each file replaces the one before it.

    Args:
        source: the clip.
        half: which half's damage is done.
        number: of the clip; it decides the random numbers and the last encoding.
        folder: for the files.

    Raises:
        VideoError: if an encoder is missing.
    """
    path, crf = folder / "version.mp4", _CRFS[number % len(_CRFS)]
    plain = {"preset": "veryfast", "mbtree": "0", "crf": str(crf)}
    write_video(path, source.frames, source.rate, options=plain)
    yield None, path
    for damage in damages(half):
        if damage.artefact in _OF_TIME and not source.moves:
            continue
        if damage.artefact == "banding" and _smooth_share(source.frames[0]) < _LEAST_SMOOTH:
            continue
        if damage.artefact == "blocking":
            _write_blocky(path, source, damage, plain)
        else:
            write_video(path, _damaged(source, damage, number), source.rate, options=plain)
        yield damage, path


def _write_blocky(path: Path, source: Source, damage: Damage, plain: dict[str, str]) -> None:
    if damage.kind == "mpeg4":
        pixels = source.frames.shape[1] * source.frames.shape[2]
        bit_rate = round(damage.level * pixels * float(source.rate))
        write_video(path, source.frames, source.rate, "mpeg4", options={"qmax": "31"}, bit_rate=bit_rate)
        return
    more = {"x264-params": "no-deblock=1"} if damage.kind != "x264" else {}
    write_video(path, source.frames, source.rate, options={**plain, "crf": f"{damage.level:g}", **more})


def _damaged(source: Source, damage: Damage, number: int) -> Frames:
    places = np.arange(len(source.frames))
    if damage.kind == "repeat":
        period = int(damage.level)
        places -= places % period == period - 1
    if damage.kind == "3:2":
        places = places // 5 * 2 + (places % 5 >= 3)
    if damage.kind == "quantised gradients":
        return np.stack([_banded(frame, damage.level) for frame in source.frames])
    if damage.kind in ("repeat", "3:2"):
        return np.asarray(source.frames[places])
    distortion = Distortion(damage.kind, damage.level)
    return distort(source.frames, source.rate, (distortion,), np.random.default_rng(number))[0]


def _split(frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gradients (H, W, 3) and the detail on them."""
    values = frame.astype(np.float32)
    gradients: NDArray[np.float32] = gaussian_filter(values, (_GRADIENT, _GRADIENT, 0))
    return gradients, values - gradients


def _banded(frame: NDArray[np.uint8], step: float) -> NDArray[np.uint8]:
    """Quantises gradients as a denoiser before too few bits does: strong detail stays, weak detail goes."""
    gradients, detail = _split(frame)
    bands = np.rint(gradients / step) * step + np.where(np.abs(detail) < _DETAIL, 0, detail)
    levels: NDArray[np.uint8] = np.clip(bands, 0, 255).astype(np.uint8)
    return levels


def _smooth_share(frame: NDArray[np.uint8]) -> float:
    detail = np.abs(_split(frame)[1]).mean(axis=2)
    return float((gaussian_filter(detail, _GRADIENT) < _SMOOTH).mean())
