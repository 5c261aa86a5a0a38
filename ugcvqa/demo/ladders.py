"""Encoding ladders of rendered scenes: the same pictures from light to heavy compression.

Nobody watched them; all that is known is their order. Heads may learn from it that compression never helps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from ugcvqa.demo.distort import Distortion, distort
from ugcvqa.demo.scene import Frames, Scene
from ugcvqa.demo.scenes import KINDS, render_scene
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import read_frames

SCENES = 66
"""Number of scenes of the whole set."""

RUNGS: dict[str, tuple[int, ...]] = {
    "h264": (18, 28, 36, 45),
    "hevc": (20, 30, 38, 47),
    "vp9": (25, 40, 52, 63),
    "av1": (25, 40, 52, 63),
}
"""Codec -> its constant rate factors from light to heavy; the steps are plain to see."""

# Encoder, its options, container, bit rate (VP9 holds the rate factor only where the bit rate is 0; MPEG-4 has none but
# a bit rate). The macroblock tree of x264 gives other bytes in every run, even with one thread.
_ENCODERS: dict[str, tuple[str, dict[str, str], str, int | None]] = {
    "h264": ("libx264", {"preset": "veryfast", "mbtree": "0"}, "mp4", None),
    "hevc": ("libx265", {"preset": "ultrafast"}, "mp4", None),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}, "webm", 0),
    "av1": ("libsvtav1", {"preset": "11"}, "webm", None),
    "mpeg4": ("mpeg4", {}, "avi", None),
}
_CODECS = (("h264", "av1"), ("hevc", "vp9"), ("h264", "vp9"), ("hevc", "av1"))  # of a scene, in turn

_N_MIXED = 48  # of these scenes every second is worn, of the others all

# Width, height and frames per second of the scenes, in turn.
_FORMATS = ((640, 360, 24), (480, 270, 30), (848, 480, 25), (416, 240, 24), (360, 640, 30), (480, 360, 25))
_WORN_FORMATS = ((480, 360, 25), (320, 240, 30), (640, 360, 30), (416, 240, 24), (272, 480, 30))


@dataclass(frozen=True)
class Source:
    """What was done to the picture before the ladder.

    Attributes:
        distortions: degradations of the picture.
        first_crf: rate factor of an earlier H.264 encoding, None for none.
        bars: share of the width under black bars.
    """

    distortions: tuple[Distortion, ...] = ()
    first_crf: int | None = None
    bars: float = 0.0


_FINE = (
    Source(),
    Source((Distortion("noise", 9.0),)),
    Source(),
    Source((Distortion("gaussian blur", 1.5),)),
    Source(first_crf=34),
    Source((Distortion("rescale", 2.0),)),
    Source((Distortion("noise", 16.0),)),
    Source(first_crf=40),
    Source((Distortion("underexposure", 1.0),)),
)
_WORN = (
    Source((Distortion("rescale", 4.0),)),
    Source((Distortion("gaussian blur", 3.0),), bars=0.3),
    Source((Distortion("noise", 9.0), Distortion("rescale", 3.0)), first_crf=32),
    Source((Distortion("defocus", 4.5),)),
    Source(first_crf=45),
    Source((Distortion("noise", 16.0), Distortion("rescale", 4.0))),
    Source((Distortion("rescale", 3.0),), first_crf=38, bars=0.3),
    Source((Distortion("gaussian blur", 2.0), Distortion("noise", 4.0)), first_crf=30),
    Source((Distortion("rescale", 4.0),), first_crf=36),
)


@dataclass(frozen=True)
class LadderScene:
    """A scene whose source is encoded with each of some codecs at every rung.

    Attributes:
        number: its place in the plan.
        scene: the clean scene.
        source: what befell it before.
        codecs: keys of `RUNGS`.
    """

    number: int
    scene: Scene
    source: Source
    codecs: tuple[str, ...]


def ladder_plan(scenes: int = SCENES) -> list[LadderScene]:
    """Plans the first scenes of the set: kinds, formats, sources and codecs take turns; always the same.

    Most sources are worn copies, as user videos often are: the codecs' block edges make such a picture sharper, and
    only examples can teach a head that they do not make it better.
    """
    kinds = list(KINDS)
    plan = []
    for number in range(scenes):
        is_worn = number % 2 == 1 or number >= _N_MIXED
        formats, sources = (_WORN_FORMATS, _WORN) if is_worn else (_FORMATS, _FINE)
        turn = number // 2 if number < _N_MIXED else number
        width, height, rate = formats[turn % len(formats)]
        scene = Scene(kinds[number % len(kinds)], 5000 + number, width, height, Fraction(rate), 2 * rate)
        plan.append(LadderScene(number, scene, sources[turn % len(sources)], _CODECS[turn % len(_CODECS)]))
    return plan


def write_ladders(ladder: LadderScene, folder: Path) -> Iterator[tuple[str, Path]]:
    """Writes the files of a scene and yields each with its id, SCENE/CODEC/RATE FACTOR, from light to heavy.

    Source: our own.

    Args:
        ladder: what to make.
        folder: where the files go.

    Raises:
        VideoError: if an encoder is missing or fails.
    """
    frames = _source_frames(ladder, folder)
    for codec in ladder.codecs:
        encoder, options, container, bit_rate = _ENCODERS[codec]
        for crf in RUNGS[codec]:
            path = folder / f"scene{ladder.number:02d}_{codec}_{crf}.{container}"
            write_video(
                path, frames, ladder.scene.rate, encoder, options={**options, "crf": str(crf)}, bit_rate=bit_rate
            )
            yield f"scene{ladder.number:02d}/{codec}/{crf}", path


def encoded(frames: Frames, rate: Fraction, codec: str, factor: float, folder: Path) -> Frames:
    """What an encoder leaves of frames (T, H, W, 3) uint8 RGB.

    Args:
        frames: the pictures.
        rate: frames per second.
        codec: a key of `RUNGS`, or `mpeg4`.
        factor: its constant rate factor; bits per pixel for MPEG-4.
        folder: for the file, which is deleted.

    Raises:
        VideoError: if the encoder is missing or fails.
    """
    encoder, options, container, bit_rate = _ENCODERS[codec]
    if codec == "mpeg4":
        bit_rate = round(factor * frames.shape[1] * frames.shape[2] * float(rate))
    else:
        options = {**options, "crf": str(int(factor))}
    path = folder / f"encoded.{container}"
    write_video(path, frames, rate, encoder, options=options, bit_rate=bit_rate)
    left = np.stack([picture.transpose(1, 2, 0) for _, _, picture in read_frames(path)])
    path.unlink()
    return left


def _source_frames(ladder: LadderScene, folder: Path) -> Frames:
    """Renders a scene and wears it."""
    scene, source = ladder.scene, ladder.source
    frames, _ = distort(render_scene(scene), scene.rate, source.distortions, np.random.default_rng(ladder.number))
    if source.bars:
        width = round(scene.width * source.bars / 2)
        frames[:, :, :width] = 0
        frames[:, :, scene.width - width :] = 0
    if source.first_crf is None:
        return frames
    return encoded(frames, scene.rate, "h264", source.first_crf, folder)
