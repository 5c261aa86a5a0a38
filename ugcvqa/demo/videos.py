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
from functools import cache
from importlib import metadata
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ugcvqa.demo.distort import distort
from ugcvqa.demo.plan import ENCODERS, DemoClip, demo_plan
from ugcvqa.demo.quality import luma, motion_energy, synthetic_quality
from ugcvqa.demo.scene import Frames
from ugcvqa.demo.scenes import render_scene
from ugcvqa.errors import ConfigError, StoreError, VideoError
from ugcvqa.files import file_sha256, write_atomic
from ugcvqa.leftovers import sweep
from ugcvqa.media import convert, decode, encode, video
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import read_frames
from ugcvqa.processes import end_with_parent

COLUMNS = (
    *("video_id", "file", "synthetic_quality", "scene", "degradation"),
    *("width", "height", "rate", "frames"),
)
"""Columns of labels.csv."""


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

    A file counts as finished once its record is in `records/`, where it is written after the file, and if the
    record's settings and checksum match. Files and labels do not depend on the number of workers.

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
        Synthetic quality of the file, decoded again, 1..5.

    Raises:
        VideoError: if the encoder fails, or if the file does not give all frames back.
    """
    rng = np.random.default_rng([clip.source.seed, zlib.crc32(clip.video_id.encode())])
    degraded, reference = distort(clean, clip.source.rate, clip.distortions, rng)
    encoder, options, _ = ENCODERS[clip.codec]
    # VP9 keeps to the rate factor only where no bit rate is set.
    bit_rate = 0 if clip.codec == "vp9" else None
    write_video(path, degraded, clip.source.rate, encoder, options={**options, "crf": str(clip.crf)}, bit_rate=bit_rate)
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
        source, quality = clip.source, _finished(folder, clip)
        size = (source.width, source.height, source.rate, source.n_frames)
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
