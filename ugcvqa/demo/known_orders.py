"""Versions of photographs whose order is known, to train heads on: which versions there are, and which is better."""

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ugcvqa.demo.ladders import RUNGS, encoded
from ugcvqa.demo.pans import panned
from ugcvqa.demo.scene import Frames
from ugcvqa.demo.versions import Change, captioned, halved, noisy, picture_changes
from ugcvqa.demo.wear import Wear, drawn_wear, worn

RATE = Fraction(24)
N_FRAMES = 24
USED_FRAMES = (4, 20, 8, 9, 10, 11, 12, 13, 14, 15)
"""Frames that the NSS features of so short a clip look at: two spatial ones, then eight that follow each other."""

LINES = (200, 270, 360, 480, 540, 640, 720, 900, 1080)
"""True heights that a picture is said to have, all else being equal."""

_SIZES = (  # sides that half a picture has too are even
    (640, 360),
    (960, 540),
    (480, 270),
    (404, 720),
    (640, 360),
    (1280, 720),
    (320, 240),
    (360, 640),
    (848, 480),
)
_CODECS = ("hevc", "vp9", "av1")
_NOISE = (5, 8, 18, 24)
_LEFT_OUT = ("letterbox",)  # bars are cut off before any feature
_OF_CLEAN = ("blur_1.5", "half_and_back")  # which help a noisy picture
_LARGEST_UPSCALED = 540  # lines of the shorter side
_CAPTIONS = 2  # boxes at random places besides that of the suite

TAKES = (("fine0", "worn0", "worn1", "worn2", "worn3"), ("fine1", "worn4", "worn5", "worn6", "worn7"))
"""What versions are made of: two clips of a photograph, each as it is and worn in four ways, see `wear`."""

MARGINS = {
    "noise_5": 0.012,
    "noise_8": 0.024,
    "noise_12": 0.06,
    "noise_18": 0.1,
    "noise_24": 0.14,
    "noise_30": 0.2,
    "half_and_back": 0.04,
    "half": 0.04,
    "upscaled_2x": 0.03,
    "blur_1.5": 0.06,
    "blur_3": 0.16,
    "dark": 0.08,
    "overexposed": 0.1,
    "posterised": 0.15,
    "sharpened": 0.25,
    "x264_30": 0.008,
    "x264_38": 0.08,
    "x264_46": 0.24,
}
"""Kind -> MOS that it costs a fine clip at least: far less than people would say."""

_CHAINS = (
    ("x264_38", "x264_46", 0.2),
    ("noise_12", "noise_30", 0.2),
    ("blur_1.5", "blur_3", 0.15),
    ("x264_30", "x264_38", 0.1),
)
_RUNG, _LINE_STEP = 0.05, 0.03
_MOTION = (0.1, 2.5)  # least and largest factor of the camera's motion
_TAKE, _TURN = 1000, 4  # steps of seeds and sizes from take to take


class Sight(NamedTuple):
    """Ten frames of one version.

    Attributes:
        video_id: CONTENT/SOURCE/KIND.
        frames: (10, H, W, 3) uint8 RGB, see `USED_FRAMES`.
    """

    video_id: str
    frames: Frames


class Order(NamedTuple):
    """Two versions by their ids; the margin is in MOS."""

    better: str
    worse: str
    margin: float
    is_equal: bool = False


def sights(photo: NDArray[np.uint8], number: int, folder: Path) -> Iterator[Sight]:
    """Makes all versions of a photograph: of a clip that pans over it, and of that clip worn in several ways.

    Source: our own. Most sources are worn as user videos are, since damage to these is misjudged most.

    Args:
        photo: (H, W, 3) uint8 RGB.
        number: of the photograph, which decides size, wear and codecs.
        folder: for files of the encoders.

    Raises:
        VideoError: if an encoder is missing, or the photograph is too small for its size.
    """
    for take in range(len(TAKES)):
        yield from sights_of_take(photo, number, take, folder)


def sights_of_take(photo: NDArray[np.uint8], number: int, take: int, folder: Path) -> Iterator[Sight]:
    """As `sights`, of one of the clips that pan over the photograph."""
    seed = number + _TAKE * take
    motion = float(np.exp(np.random.default_rng((seed, 7)).uniform(*np.log(_MOTION))))
    fine = panned(photo, *size_of(number + _TURN * take, photo.shape[:2]), RATE, N_FRAMES, seed, motion)
    used = list(USED_FRAMES)
    for source in TAKES[take]:
        wear, turn = wear_of(number, source), _turn(source)
        frames = worn(fine, wear, RATE, np.random.default_rng((number, turn, 1)), folder)
        name, sub = f"c{number:02d}/{source}", frames[used]
        yield Sight(f"{name}/clip", sub)
        for kind, change in _changes(number, source, fine.shape[1:3]).items():
            yield Sight(f"{name}/{kind}", change(sub, np.random.default_rng((number, turn))))
        first = 0 if _is_fine(source) else 1
        if _is_fine(source) or turn % 2:
            for crf in (30, 38, 46)[first:]:
                yield Sight(f"{name}/x264_{crf}", encoded(frames, RATE, "h264", crf, folder)[used])
        if _is_fine(source) or not turn % 2:
            codec = _CODECS[(number + turn) % len(_CODECS)]
            for crf in RUNGS[codec][first:]:
                yield Sight(f"{name}/{codec}_{crf}", encoded(frames, RATE, codec, crf, folder)[used])


@cache
def wear_of(number: int, source: str) -> Wear:
    """Draws what befalls the clip of a photograph in a source of `TAKES`; nothing where it is fine."""
    return Wear() if _is_fine(source) else drawn_wear(np.random.default_rng((number, _turn(source))))


def _turn(source: str) -> int:
    return [*TAKES[0], *TAKES[1]].index(source)


def _is_fine(source: str) -> bool:
    return source.startswith("fine")


def _changes(number: int, source: str, shape: tuple[int, ...]) -> dict[str, Change]:
    """Kind -> change of single pictures, for a source of a photograph; the shape is that of its frames."""
    wear, turn = wear_of(number, source), _turn(source)
    is_large = min(shape) > _LARGEST_UPSCALED
    found = {
        kind: change
        for kind, change in picture_changes().items()
        if not (kind in _LEFT_OUT or (kind in _OF_CLEAN and wear.is_rough) or (kind == "upscaled_2x" and is_large))
    }
    rng = np.random.default_rng((number, turn, 2))
    for index in range(_CAPTIONS):
        top, left, rows, columns = rng.uniform((0.02, 0.02, 0.05, 0.2), (0.8, 0.4, 0.16, 0.58))
        found[f"captions_{index}"] = captioned(top, left, rows, columns)
    sigma = _NOISE[(number + turn) % len(_NOISE)]
    found[f"noise_{sigma}"] = noisy(sigma)
    if _is_fine(source) and min(shape) >= 480:
        found["half"] = lambda frames, rng: halved(frames)
    return found


def size_of(number: int, photo: tuple[int, ...]) -> tuple[int, int]:
    """Width and height of the clip of a photograph (rows, columns); small ones give 360 lines."""
    width, height = _SIZES[number % len(_SIZES)]
    is_small = photo[0] < height / 0.88 or photo[1] < width / 0.88
    return (640, 360) if is_small else (width, height)


def orders(ids: Sequence[str]) -> Iterator[Order]:
    """Lists the known orders of the versions of photographs, by their ids.

    What a version of a worn clip must cost at least is 0: a clip that is bad already has little to lose.
    """
    known = set(ids)
    for video_id in ids:
        source = video_id.rpartition("/")[0]
        for order in _orders_of(known, video_id):
            yield order if _is_fine(source.rpartition("/")[2]) else order._replace(margin=0.0)


def _orders_of(known: set[str], video_id: str) -> Iterator[Order]:
    source, _, kind = video_id.rpartition("/")
    clip = f"{source}/clip"
    if kind.startswith("captions"):
        yield Order(clip, video_id, 0.0, is_equal=True)
    elif kind in MARGINS:
        if not _may_help(source, kind):
            yield Order(clip, video_id, MARGINS[kind])
    elif kind == "clip":
        yield from (Order(f"{source}/{a}", f"{source}/{b}", m) for a, b, m in _CHAINS if _all(known, source, a, b))
    else:
        yield _rung(known, source, kind)


def _may_help(source: str, kind: str) -> bool:
    """Whether a change undoes the wear of a source: a dark one gets brighter, a soft one sharper."""
    content, _, name = source.partition("/")
    wear = wear_of(int(content.lstrip("c")), name)
    return (kind == "overexposed" and wear.is_dark) or (kind == "sharpened" and wear.is_soft)


def _all(known: set[str], source: str, *kinds: str) -> bool:
    return all(f"{source}/{kind}" in known for kind in kinds)


def _rung(known: set[str], source: str, kind: str) -> Order:
    """A rung of an encoding ladder against the one before, the first against the clip."""
    codec, crf = kind.split("_")
    before = [rung for rung in RUNGS[codec] if rung < int(crf) and f"{source}/{codec}_{rung}" in known]
    if not before:
        return Order(f"{source}/clip", f"{source}/{kind}", 0.0)
    return Order(f"{source}/{codec}_{before[-1]}", f"{source}/{kind}", _RUNG)


def line_orders(clip: str) -> Iterator[Order]:
    """States that true lines never make a picture worse, for copies of a clip that are said to have `LINES` of them."""
    margin = _LINE_STEP if _is_fine(clip.split("/")[1]) else 0.0
    for fewer, more in itertools.pairwise(LINES):
        yield Order(f"{clip}@{more}", f"{clip}@{fewer}", margin)
