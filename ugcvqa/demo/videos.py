"""The built-in demo set: rendered scenes, degraded on known ladders, encoded to real files, scored against the clean.

It exists so that every verb can be tried offline in minutes. Its labels are not people's opinions: they are the
`synthetic_quality` of `quality`, a full-reference comparison.
"""

import csv
import hashlib
import io
import json
import multiprocessing
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ugcvqa.demo.distort import LADDERS, Distortion, distort
from ugcvqa.demo.paint import Random
from ugcvqa.demo.quality import luma, motion_energy, synthetic_quality
from ugcvqa.demo.scenes import KINDS, Frames, Scene, render_scene
from ugcvqa.errors import ConfigError, StoreError, VideoError
from ugcvqa.files import file_sha256, write_atomic
from ugcvqa.leftovers import sweep
from ugcvqa.media import convert, decode, encode, video
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import read_frames
from ugcvqa.processes import end_with_parent

Card = TypeVar("Card")

CODEC_LADDERS: dict[str, tuple[int, ...]] = {
    "h264": (20, 26, 32, 38, 44),
    "hevc": (24, 31, 38, 45),
    "vp9": (30, 42, 52, 62),
}
"""Codec -> its constant rate factors from good to poor."""

# Encoder, its options, and the containers that take turns.
_ENCODERS: dict[str, tuple[str, dict[str, str], tuple[str, ...]]] = {
    "h264": ("libx264", {"preset": "superfast"}, ("mp4", "mkv", "mov", "mp4")),
    "hevc": ("libx265", {"preset": "ultrafast"}, ("mp4", "mkv")),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}, ("webm", "mkv")),
}
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

_LEFTOVER_AGE_S = 600
_FREQUENT = ("defocus", "motion blur", "gaussian blur", "noise", "rescale")

COLUMNS = (
    *("video_id", "file", "synthetic_quality", "scene", "degradation"),
    *("width", "height", "rate", "frames"),
)
"""Columns of labels.csv."""


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

    @property
    def width(self) -> int:
        """Frame width in pixels."""
        return self.source.width

    @property
    def height(self) -> int:
        """Frame height in pixels."""
        return self.source.height

    @property
    def rate(self) -> Fraction:
        """Frames per second."""
        return self.source.rate


def demo_plan(seed: int = 0, scenes: int = 28, versions: int = 6) -> list[DemoClip]:
    """Plans the demo set: which scenes in which format, and what is done to each version.

    Of every six versions one is good, two are compressed, two have one degradation and one has two, as user
    videos have. Levels are dealt like shuffled cards, so that all of them come up; blur, noise and rescaling
    are in the pack twice, for they are what spoils most user videos.

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
            containers = _ENCODERS[codec][2]
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


def demo_key(seed: int = 0, scenes: int = 28, versions: int = 6) -> str:
    """Fingerprint of the whole plan, the code that carries it out and the encoder library."""
    clips = "".join(_clip_key(clip) for clip in demo_plan(seed, scenes, versions))
    return hashlib.sha256(clips.encode()).hexdigest()[:16]


def default_demo_folder(seed: int = 0, scenes: int = 28, versions: int = 6) -> Path:
    """The folder where the demo set is cached: below $UGCVQA_CACHE, else ~/.cache/ugcvqa, keyed by `demo_key`."""
    root = os.environ.get("UGCVQA_CACHE")
    cache_folder = Path(root) if root else Path.home() / ".cache" / "ugcvqa"
    return cache_folder / f"demo-{demo_key(seed, scenes, versions)}"


def build_demo(
    folder: Path,
    seed: int = 0,
    scenes: int = 28,
    versions: int = 6,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Makes the files of the demo set and their labels; what an earlier call finished is kept.

    A file counts as finished when its record in `records/` was written, which is after the file, and when the
    record's settings and checksum fit. Files and labels do not depend on the number of workers.

    Args:
        folder: where the files go; made if missing.
        seed: as in `demo_plan`.
        scenes: as in `demo_plan`.
        versions: as in `demo_plan`.
        workers: processes, >= 1; 1 works in this process.
        progress: called with the numbers of finished and of all files, after each scene.

    Returns:
        Path of labels.csv with the columns `COLUMNS`.

    Raises:
        ConfigError: if a number is too small.
        StoreError: if the folder cannot be written or a worker process died.
        VideoError: if an encoder is missing or fails.
    """
    if workers < 1:
        raise ConfigError(f"{workers} workers: use 1 or more")
    plan = demo_plan(seed, scenes, versions)
    _make_folders(folder)
    for unfinished in (folder, folder / "records"):
        sweep(unfinished)
    todo = [clip for clip in plan if _finished(folder, clip) is None]
    by_scene = [list(clips) for _, clips in groupby(todo, key=lambda clip: clip.scene)]
    done = len(plan) - len(todo)
    if progress:
        progress(done, len(plan))
    for count in _run(folder, by_scene, workers):
        done += count
        if progress:
            progress(done, len(plan))
    labels = folder / "labels.csv"
    write_atomic(labels, _labels(folder, plan).encode())
    return labels


def _make_folders(folder: Path) -> None:
    try:
        (folder / "records").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made for the demo set ({error.strerror})") from error


def _run(folder: Path, by_scene: Sequence[list[DemoClip]], workers: int) -> Iterator[int]:
    """Makes scenes and yields how many files each gave; spawned processes inherit no threads and no locks."""
    if workers == 1 or len(by_scene) < 2:
        yield from (_make_scene(folder, clips) for clips in by_scene)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(by_scene)), context, end_with_parent, (os.getpid(),)) as pool:
        jobs = [pool.submit(_make_scene, folder, clips) for clips in by_scene]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BrokenProcessPool as error:
            reason = "a worker process ended early (out of memory?); run again, finished files are kept"
            raise StoreError(f"{folder}: {reason}") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _make_scene(folder: Path, clips: list[DemoClip]) -> int:
    """Renders a scene once and makes the given versions of it."""
    clean = render_scene(clips[0].source)
    energy = motion_energy(map(luma, clean))
    for clip in clips:
        quality = make_clip(folder / clip.file, clip, clean, energy)
        record = {
            "key": _clip_key(clip),
            "sha256": file_sha256(folder / clip.file),
            "synthetic_quality": f"{quality:.4f}",
        }
        write_atomic(_record_path(folder, clip), json.dumps(record, indent=1).encode())
    return len(clips)


def make_clip(path: Path, clip: DemoClip, clean: Frames, clean_energy: NDArray[np.float64]) -> float:
    """Makes the file of one version of a clean scene.

    Source: our own.

    Args:
        path: file to write.
        clip: what to make.
        clean: (T, H, W, 3) uint8 RGB, `render_scene(clip.source)`.
        clean_energy: (T-1,) `motion_energy` of the luma of `clean`.

    Returns:
        Synthetic quality of the file as decoded again, 1..5.

    Raises:
        VideoError: if the encoder fails, or if the file does not give all frames back.
    """
    rng = np.random.default_rng([clip.source.seed, zlib.crc32(clip.video_id.encode())])
    degraded, reference = distort(clean, clip.rate, clip.distortions, rng)
    encoder, options, _ = _ENCODERS[clip.codec]
    # VP9 holds the rate factor only where no bit rate is set.
    bit_rate = 0 if clip.codec == "vp9" else None
    write_video(path, degraded, clip.rate, encoder, options={**options, "crf": str(clip.crf)}, bit_rate=bit_rate)
    decoded = [plane.copy() for _, _, plane in read_frames(path, form="y")]
    if len(decoded) != len(clean):
        raise VideoError(f"{path}: {len(decoded)} frames came back of {len(clean)} that were encoded")
    return synthetic_quality(decoded, reference, clean_energy)


def _record_path(folder: Path, clip: DemoClip) -> Path:
    return folder / "records" / f"{clip.file}.json"


def _finished(folder: Path, clip: DemoClip) -> str | None:
    """Synthetic quality of a finished file, as text; None if the file has to be made."""
    try:
        record = json.loads(_record_path(folder, clip).read_bytes())
        if record["key"] == _clip_key(clip) and record["sha256"] == file_sha256(folder / clip.file):
            return str(record["synthetic_quality"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no record, a damaged one or no file: make it again
    return None


def _labels(folder: Path, plan: Sequence[DemoClip]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for clip in plan:
        quality, size = _finished(folder, clip), (clip.width, clip.height, clip.rate, clip.source.n_frames)
        if quality is None:
            raise StoreError(f"{folder / clip.file}: was changed while the demo set was being built; run again")
        table.writerow((clip.video_id, clip.file, quality, clip.scene, clip.degradation, *size))
    return text.getvalue()


def _clip_key(clip: DemoClip) -> str:
    """Fingerprint of one file: its settings, the code and the encoder library."""
    return hashlib.sha256(f"{clip!r} {_code_key()}".encode()).hexdigest()[:32]


@cache
def _code_key() -> str:
    others = [Path(str(module.__file__)) for module in (convert, decode, encode, video)]
    sources = [*sorted(Path(__file__).parent.glob("*.py")), *others]
    return " ".join((metadata.version("av"), *(file_sha256(path) for path in sources)))
