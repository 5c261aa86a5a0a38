"""Versions of photographs whose order is known, to train heads on: which versions there are, and which is better."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ugcvqa.demo.ladders import RUNGS, encoded
from ugcvqa.demo.pans import panned
from ugcvqa.demo.scene import Frames
from ugcvqa.demo.versions import (
    captioned,
    darkened,
    halved,
    noisy,
    picture_changes,
    sharpened,
    shrunk_and_back,
    smoothed,
)

RATE = Fraction(24)
N_FRAMES = 24
USED_FRAMES = (4, 20, 8, 9, 10, 11, 12, 13, 14, 15)
"""Frames that the NSS features of so short a clip look at: two spatial ones, then eight that follow each other."""

LINES = (200, 270, 360, 480, 540, 640, 720, 900, 1080)
"""True heights that a picture is said to have, all else being equal."""

_SIZES = ((640, 360), (960, 540), (480, 270), (640, 360), (1280, 720), (360, 640), (640, 360), (848, 480))
_CODECS = ("hevc", "vp9", "av1")
_NOISE = (5, 8, 18, 24)
_LEFT_OUT = ("letterbox",)  # bars are cut off before any feature
_FINE_ONLY = ("blur_1.5", "half_and_back")
_LARGEST_UPSCALED = 360  # lines
_TURN, _SPOILED_CRF = 3, 36

_CAPTIONS = {"captions_low": captioned(0.88, 0.25, 0.08, 0.5), "captions_high": captioned(0.04, 0.06, 0.13, 0.88)}

SOURCES = ("fine", "worn", "spoiled")
"""What versions are made of: the clip, the clip worn as user videos are, and worn in another way and encoded twice."""

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
"""Kind -> MOS that it costs at least: far less than people would say, on sources of any quality."""

_CHAINS = (
    ("x264_38", "x264_46", 0.2),
    ("noise_12", "noise_30", 0.2),
    ("blur_1.5", "blur_3", 0.15),
    ("x264_30", "x264_38", 0.1),
)
_MENDED = {"overexposed": (5,), "sharpened": (2,)}  # number of the wear
_HALF_MENDED = {"sharpened": (0, 4)}  # which is soft and blocky: no better for it
_RUNG, _LINE_STEP = 0.05, 0.03


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
    """Makes all versions of a photograph: of a clip that pans over it, and of that clip worn and spoiled.

    Source: our own. Two of three sources are worn as user videos are, since damage to these is misjudged most.

    Args:
        photo: (H, W, 3) uint8 RGB.
        number: of the photograph, which decides size, wear and codecs.
        folder: for files of the encoders.

    Raises:
        VideoError: if an encoder is missing, or the photograph is too small for its size.
    """
    fine = panned(photo, *size_of(number, photo.shape[:2]), RATE, N_FRAMES, number)
    used, height, turn = list(USED_FRAMES), fine.shape[1], number % len(_CODECS)
    for source in SOURCES:
        is_fine = source == "fine"
        frames = _source(fine, source, number, folder)
        name = f"c{number:02d}/{source}"
        sub = frames[used]
        yield Sight(f"{name}/clip", sub)
        for kind, change in picture_changes().items():
            is_too_large = kind == "upscaled_2x" and height > _LARGEST_UPSCALED
            if not (is_too_large or kind in _LEFT_OUT or (kind in _FINE_ONLY and not is_fine)):
                yield Sight(f"{name}/{kind}", change(sub, np.random.default_rng(number)))
        for turned, (kind, change) in enumerate(_CAPTIONS.items(), start=1):
            yield Sight(f"{name}/{kind}", change(sub, np.random.default_rng(number + turned)))
        if is_fine:
            sigma = _NOISE[number % len(_NOISE)]
            yield Sight(f"{name}/noise_{sigma}", noisy(sigma)(sub, np.random.default_rng(number + 9)))
        if is_fine and height >= 480:
            yield Sight(f"{name}/half", halved(sub))
        if source == "spoiled":
            continue
        for crf in (30, 38, 46)[0 if is_fine else 1 :]:
            yield Sight(f"{name}/x264_{crf}", encoded(frames, RATE, "h264", crf, folder)[used])
        codec = _CODECS[turn if is_fine else (turn + 1) % len(_CODECS)]
        for crf in RUNGS[codec][0 if is_fine else 1 :]:
            yield Sight(f"{name}/{codec}_{crf}", encoded(frames, RATE, codec, crf, folder)[used])


def _source(fine: Frames, source: str, number: int, folder: Path) -> Frames:
    """The clip itself, worn, or worn in another way and encoded again."""
    if source == "fine":
        return fine
    wear = _wear_of(source, number)
    worn = _WEAR[wear](fine, np.random.default_rng(number), folder)
    return worn if source == "worn" else encoded(worn, RATE, "h264", _SPOILED_CRF, folder)


def _wear_of(source: str, number: int) -> int:
    return (number + (_TURN if source == "spoiled" else 0)) % len(_WEAR)


def size_of(number: int, photo: tuple[int, ...]) -> tuple[int, int]:
    """Width and height of the clip of a photograph (rows, columns); small ones give 360 lines."""
    width, height = _SIZES[number % len(_SIZES)]
    is_small = photo[0] < height / 0.88 or photo[1] < width / 0.88
    return (640, 360) if is_small else (width, height)


def orders(ids: Sequence[str]) -> Iterator[Order]:
    """Lists the known orders of the versions of photographs, by their ids."""
    known = set(ids)
    for video_id in ids:
        source, _, kind = video_id.rpartition("/")
        clip = f"{source}/clip"
        if kind.startswith("captions"):
            yield Order(clip, video_id, 0.0, is_equal=True)
        elif kind in MARGINS and not _is_of_wear(_MENDED, source, kind):
            yield Order(clip, video_id, 0.0 if _is_of_wear(_HALF_MENDED, source, kind) else MARGINS[kind])
        elif kind == "clip":
            yield from (Order(f"{source}/{a}", f"{source}/{b}", m) for a, b, m in _CHAINS if _all(known, source, a, b))
        elif kind not in MARGINS:
            yield _rung(known, source, kind)


def _is_of_wear(table: Mapping[str, tuple[int, ...]], source: str, kind: str) -> bool:
    """Whether a table says that a change undoes this wear: a dark source gets brighter, a soft one sharper."""
    content, _, wear = source.partition("/")
    return wear != "fine" and _wear_of(wear, int(content.lstrip("c"))) in table.get(kind, ())


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
    for fewer, more in itertools.pairwise(LINES):
        yield Order(f"{clip}@{more}", f"{clip}@{fewer}", _LINE_STEP)


def _worn_by_code(crf: int, *before: Callable[[Frames, np.random.Generator], Frames]) -> "Wear":
    def worn(frames: Frames, rng: np.random.Generator, folder: Path) -> Frames:
        for change in before:
            frames = change(frames, rng)
        return encoded(frames, RATE, "h264", crf, folder)

    return worn


Wear = Callable[[Frames, np.random.Generator, Path], Frames]

_WEAR: tuple[Wear, ...] = (
    _worn_by_code(34, lambda frames, rng: shrunk_and_back(frames, 2)),
    _worn_by_code(30, noisy(14)),
    lambda frames, rng, folder: smoothed(frames, 1.8),
    _worn_by_code(42),
    _worn_by_code(36, lambda frames, rng: shrunk_and_back(frames, 3)),
    _worn_by_code(32, lambda frames, rng: darkened(frames, 0.45)),
    _worn_by_code(38),
    _worn_by_code(28, lambda frames, rng: sharpened(frames), noisy(6)),
)
