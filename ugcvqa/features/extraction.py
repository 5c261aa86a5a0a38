"""From files to video vectors: computes the clips that a stream serves, and assembles pieces into vectors.

Used by extractors under Lightning (`models/extractor.py`) and by scoring without it. Frames are arrays; they become
tensors in `loading.py`, and torch is imported, only where a family takes tensors, or another process decodes.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ugcvqa.devices import check_fatal
from ugcvqa.errors import ConfigError, UgcvqaError
from ugcvqa.features.by_second import SecondFeatures, SecondPools, take_rows
from ugcvqa.features.computing import compute
from ugcvqa.features.family import Family, Pool, as_array
from ugcvqa.features.store import FeatureSpec, FeatureStore
from ugcvqa.features.stream import ClipStream, Item, Task
from ugcvqa.files import error_reason
from ugcvqa.media.video import VideoInfo
from ugcvqa.settings.data import DecodeLimits

_BLOCK = 64  # videos for each decoding process before the next are taken


@dataclass(frozen=True)
class VideoResult:
    """The finished work on one video.

    Attributes:
        task: index of the video in the list of tasks.
        features: family -> its arrays, `video` (D,) float64 among them; only those computed now.
        content: SHA-256 of the file, empty without a store.
        stored: families that were in the store already.
        info: facts about the video, None if it was not decoded.
        reason: why the video failed, empty if it did not.
        seconds: family -> its features second by second, of families that decode; empty unless asked for.
        warnings: what makes a score of the video doubtful, one plain sentence each, as far as it was or is read.
    """

    task: int
    features: Mapping[str, Mapping[str, np.ndarray]]
    content: str
    stored: tuple[str, ...]
    info: VideoInfo | None
    reason: str
    seconds: Mapping[str, SecondFeatures] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Assembler:
    """Pools the features of pieces, as they arrive, into the arrays of each family and video."""

    def __init__(self, families: Mapping[str, Family]) -> None:
        self._families = families
        self._open: dict[tuple[int, str], Pool] = {}
        self._seconds: dict[tuple[int, str], SecondPools] = {}
        self._last: dict[tuple[int, str], Any] = {}
        self._reasons: dict[int, str] = {}

    def add(self, item: Item, features: Any) -> None:  # noqa: ANN401 (what the family's network returns)
        """Takes the features of the next piece, the error in their place, or None if all its frames repeat."""
        if isinstance(features, UgcvqaError):
            self._reasons.setdefault(item.task, str(features))
        if item.task in self._reasons:
            return
        key = (item.task, item.family)
        if key not in self._open:
            self._open[key] = self._families[item.family].pool()
        if item.places:
            before = self._last.get(key) if min(item.places) < 0 else None
            known = [part for part in (before, features) if part is not None]
            self._last[key] = take_rows(known[-1:], [-1])
            features = take_rows(known, [place + int(before is not None) for place in item.places])
        self._open[key].add(features)
        if item.entries:
            try:
                self._seconds.setdefault(key, SecondPools(self._families[item.family])).add(features, item.entries)
            except UgcvqaError as error:
                self._reasons[item.task] = str(error)
            except OSError as error:
                self._reasons[item.task] = f"features of its seconds cannot be kept ({error_reason(error)})"

    def close(self, item: Item) -> VideoResult:
        """Ends a video and returns its result; what a failed video had gathered is dropped."""
        reason = item.reason or self._reasons.pop(item.task, "")
        results: dict[str, dict[str, np.ndarray]] = {}
        seconds: dict[str, SecondFeatures] = {}
        for name, family in self._families.items():
            self._last.pop((item.task, name), None)
            pool = self._open.pop((item.task, name), None) or family.pool()
            by_second = self._seconds.pop((item.task, name), None)
            try:
                if not reason and by_second is not None:
                    seconds[name] = by_second.result()
                if not reason and name not in item.stored:
                    results[name] = {key: as_array(values) for key, values in pool.result().items()}
            except UgcvqaError as error:
                reason = str(error)
            except RuntimeError as error:  # a GPU's failure shows where its results are fetched
                check_fatal(error)
                raise
        if reason:
            results, seconds = {}, {}
        return VideoResult(item.task, results, item.content, item.stored, item.info, reason, seconds, item.warnings)


def assemble(assembler: Assembler, items: Sequence[Item], features: Sequence[Any]) -> Iterator[VideoResult]:
    """Hands computed pieces to the assembler and yields the result of each video that is over."""
    for item, values in zip(items, features, strict=True):
        if item.family:
            assembler.add(item, values)
        else:
            yield assembler.close(item)


def extract_features(
    stream: ClipStream, families: Mapping[str, Family], batch_size: int = 1, workers: int = 0, device: str = "cpu"
) -> Iterator[VideoResult]:
    """Yields the result of each video of a stream, in the order of the tasks, without Lightning.

    Args:
        stream: the clips.
        families: the feature families.
        batch_size: items per loader batch; changes speed, never a result.
        workers: processes that decode; 0 decodes in this one.
        device: where the networks run.
    """
    families = {name: family.on(device) for name, family in families.items()}
    assembler = Assembler(families)
    waiting: dict[int, VideoResult] = {}
    following = 0
    for items, features in _computed(stream, families, batch_size, workers, device):
        for result in assemble(assembler, items, features):
            waiting[result.task] = result
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def extract_files(
    paths: Iterable[str | Path],
    families: Mapping[str, Family],
    limits: DecodeLimits | None = None,
    batch_size: int = 1,
    workers: int = 0,
    device: str = "cpu",
    by_second: bool = False,
) -> Iterator[tuple[str, VideoResult]]:
    """Yields each path with the result of its video, in order, and takes the next path only when it is needed.

    Paths may come from anything that can be iterated, also without end: only a block of them is held. Without
    workers a block is one video; with workers it is some dozens for each.

    Args:
        paths: video files.
        families: the frozen networks.
        limits: bounds on what is decoded.
        batch_size: items per loader batch; changes speed, never a result.
        workers: processes that decode; 0 decodes in this one.
        device: where the networks run.
        by_second: also pools the features of each second.
    """
    remaining = iter(paths)
    while block := [Task(str(path), str(path)) for path in islice(remaining, _BLOCK * workers or 1)]:
        stream = ClipStream(block, families, limits=limits, by_second=by_second)
        for result in extract_features(stream, families, batch_size, workers, device):
            yield block[result.task].path, result


def _computed(
    stream: ClipStream, families: Mapping[str, Family], batch_size: int, workers: int, device: str
) -> Iterator[tuple[list[Item], list[Any]]]:
    """Items by batches, with their features; as arrays where these serve, else as tensors on the device."""
    if workers == 0 and device == "cpu" and not any(family.takes_tensors for family in families.values()):
        items = iter(stream)
        while batch := list(islice(items, batch_size)):
            features = compute(families, batch)
            # nothing holds the frames any more, so that the next ones take their memory
            batch[:] = [replace(item, frames={}) for item in batch]
            yield batch, features
        return
    from ugcvqa.features.loading import through_loader

    yield from through_loader(stream, partial(compute, families), batch_size, workers, device)


def usable_paths(paths: Iterable[str | Path]) -> Iterator[str | Path]:
    """Passes paths on, checked one by one as they are taken.

    Raises:
        ValueError: if it is one path and not several, or something that is not a path; its content is not shown.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        raise ValueError("score_many takes several paths, as a list; score takes one")
    return map(_usable_path, paths)


def _usable_path(path: str | Path) -> str | Path:
    if not isinstance(path, str | os.PathLike):
        raise ValueError(
            f"a video is named by its path, not given as {type(path).__name__}; write it to a file, or decode it and "
            "give the frames to score_frames"
        )
    return path


def usable_device(name: str) -> str:
    """Checks that a device is one on which features can be computed, and that it is there.

    Raises:
        ConfigError: if it is not `cpu` or a present `cuda` device.
    """
    kind, _, number = name.partition(":")
    if name != "cpu" and (kind != "cuda" or not (number or "0").isdecimal()):
        raise ConfigError(f"device {name!r}: use cpu, cuda, or cuda:N")
    if kind == "cuda":
        import torch

        if int(number or 0) >= torch.cuda.device_count():
            raise ConfigError(f"device {name!r}: this machine shows {torch.cuda.device_count()} CUDA devices; use cpu")
    return name


def keep_result(store: FeatureStore, specs: Mapping[str, FeatureSpec], video_id: str, result: VideoResult) -> None:
    """Writes what was computed of a video to a store; a video that failed is forgotten by name.

    Raises:
        StoreError: if the store cannot be written.
    """
    if result.reason:
        for spec in specs.values():
            store.drop_name(spec, video_id)
        return
    facts = video_facts(result.info)
    if result.warnings:
        facts["warnings"] = list(result.warnings)
    for name, arrays in result.features.items():
        store.put(specs[name], result.content, arrays, facts)
    for spec in specs.values():
        store.put_name(spec, video_id, result.content)


def video_facts(info: VideoInfo | None) -> dict[str, Any]:
    """Plain facts of a video for the record: size, rate, frames, codec."""
    if info is None:
        return {}
    return {
        "width": info.width,
        "height": info.height,
        "rate": str(info.rate),
        "frames": info.n_frames,
        "codec": info.codec,
        "pix_fmt": info.pix_fmt,
    }
