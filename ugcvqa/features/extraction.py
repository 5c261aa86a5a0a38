"""From files to video vectors: the stream of clips that loaders serve, and the assembly of pieces into vectors.

Used by the `extract` verb through Lightning (`extractors.py`) and by scoring without it.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ugcvqa.errors import ConfigError, UgcvqaError, VideoError
from ugcvqa.features.by_second import Grid, SecondFeatures, SecondPools, frames_of_rows, take_rows
from ugcvqa.features.container import container_vector
from ugcvqa.features.families import Family, Pool
from ugcvqa.features.store import FeatureStore
from ugcvqa.files import error_reason
from ugcvqa.media.facts import Findings, doubts_of
from ugcvqa.media.opening import check_file
from ugcvqa.media.video import Clip, Plan, TimedPlan, VideoInfo, probe, read_clips
from ugcvqa.processes import is_lost_loader, loader_errors, watch_parent
from ugcvqa.settings import DecodeLimits

_BLOCK = 64  # videos for each decoding process before the next are taken


@dataclass(frozen=True)
class Task:
    """One video to work on: its id and its file."""

    video_id: str
    path: str


@dataclass(frozen=True)
class Item:
    """What a loader serves: one clip of a video, or word that the video is over.

    Attributes:
        task: index of the video in the list of tasks.
        family: family the frames belong to; empty at the end of a video.
        frames: form -> (T, ...) uint8, see `sampling.FORMS`, and the facts of the piece; empty at the end of a video.
        places: of a family that looks at frames one by one, for each frame of the piece its place among `frames`, from
            which frames equal to the one before are left out; -1 stands for the frame before the piece.
        entries: for each row of features, its place in the timeline, see `by_second.Grid`; empty unless asked for.
        content: at the end: SHA-256 of the file, empty without a store.
        stored: at the end: families whose features are in the store already.
        info: at the end: facts about the video, None if it was not decoded.
        reason: at the end: why the video failed, empty if it did not.
        warnings: at the end: what makes a score of the video doubtful, one plain sentence each.
    """

    task: int
    family: str = ""
    frames: Mapping[str, Tensor] = field(default_factory=dict)
    places: tuple[int, ...] = ()
    entries: tuple[int, ...] = ()
    content: str = ""
    stored: tuple[str, ...] = ()
    info: VideoInfo | None = None
    reason: str = ""
    warnings: tuple[str, ...] = ()

    def to(self, device: torch.device, non_blocking: bool = True) -> "Item":
        """Copies the frames to a device (Lightning calls this for every batch)."""
        moved = {form: planes.to(device, non_blocking=non_blocking) for form, planes in self.frames.items()}
        return replace(self, frames=moved)

    def pin_memory(self) -> "Item":
        """Moves the frames to page-locked memory, from which a GPU fetches them while it computes (loaders call it)."""
        return replace(self, frames={form: planes.pin_memory() for form, planes in self.frames.items()})


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


class ClipStream(IterableDataset[Item]):
    """Clips of many videos, each decoded once for all families, shared out over ranks and loader workers.

    A video is served by one worker, its pieces in time order, closed by an `Item` without frames. A video that cannot
    be read is closed with the reason; the stream goes on.

    Args:
        tasks: the videos.
        families: feature families to serve; only their plans and specs are kept.
        store: where finished features are looked up; None to compute all.
        limits: bounds on what is decoded.
        rank: this process among `world`; it serves tasks rank, rank + world, ...
        world: number of processes.
        by_second: also serves the place of every piece in the timeline.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        families: Mapping[str, Family],
        store: FeatureStore | None = None,
        limits: DecodeLimits | None = None,
        rank: int = 0,
        world: int = 1,
        by_second: bool = False,
    ) -> None:
        super().__init__()
        self.tasks, self.store, self.limits = tasks, store, limits or DecodeLimits()
        self.plans = {name: family.plan for name, family in families.items()}
        self.specs = {name: family.spec for name, family in families.items()}
        self.per_frame = {name for name, family in families.items() if family.is_per_frame}
        self.of_container = {name for name, family in families.items() if not family.needs_frames}
        self.by_second = by_second
        self.rank, self.world = rank, world

    def __iter__(self) -> Iterator[Item]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        for index in range(self.rank + number * self.world, len(self.tasks), self.world * count):
            yield from self._video(index)

    def measure(self, index: int) -> VideoInfo:
        """Measures a video.

        Raises:
            VideoError: if it cannot be read.
        """
        return probe(self.tasks[index].path, self.limits)

    def clips(
        self, index: int, plans: Mapping[str, Plan | TimedPlan], info: VideoInfo, findings: Findings
    ) -> Iterator[Clip]:
        """Decodes a video once and yields the pieces of all plans, see `media.video.read_clips`."""
        return read_clips(self.tasks[index].path, plans, self.limits, info, findings)

    def _video(self, index: int) -> Iterator[Item]:
        path, seen = Path(self.tasks[index].path), _Seen()
        try:
            yield from self._clips(index, path, seen)
        except UgcvqaError as error:
            yield Item(index, reason=str(error), warnings=doubts_of(seen.complete()))
        except Exception as error:  # a bug must cost one row, not the other million videos
            yield Item(index, reason=f"{path}: unexpected {error_reason(error)}", warnings=doubts_of(seen.complete()))

    def _clips(self, index: int, path: Path, seen: "_Seen") -> Iterator[Item]:
        content, stored, places = "", tuple[str, ...](), tuple[int, ...]()
        if self.store is not None:
            check_file(path, self.limits)  # before all of it is read
            content = self.store.content(path)
            stored = tuple(name for name, spec in self.specs.items() if self.store.has(spec, content))
        wanted = {name: plan for name, plan in self.plans.items() if name not in stored}
        if wanted:
            repeats = {name: _Repeats() for name in self.per_frame}
            try:
                info = seen.info = self.measure(index)
                for name in self.of_container & set(wanted):
                    yield Item(index, name, {"container": torch.from_numpy(container_vector(info))})
                plans = {name: plan for name, plan in wanted.items() if name not in self.of_container}
                for clip in self.clips(index, plans, info, seen.findings) if plans else ():
                    arrays, places = {**clip.frames, **clip.facts}, ()
                    if clip.family in repeats:
                        arrays, places = repeats[clip.family].left_out(arrays)
                    frames = {name: torch.from_numpy(array) for name, array in arrays.items()}
                    yield Item(index, clip.family, frames, places, self._entries(clip))
            except VideoError as error:
                raise VideoError(_with_path(path, str(error))) from error
        if self.store is not None and self.store.content(path) != content:
            raise VideoError(f"{path}: changed while it was read; run again when it is complete")
        facts = seen.complete()
        known = () if self.store is None else (self.store.info(self.specs[name], content) for name in stored)
        doubts = dict.fromkeys((*(line for info in known for line in info.get("warnings", ())), *doubts_of(facts)))
        yield Item(index, content=content, stored=stored, info=facts, warnings=tuple(doubts))

    def _entries(self, clip: Clip) -> tuple[int, ...]:
        if not self.by_second:
            return ()
        grid = Grid.of(clip.info.n_frames, clip.info.rate, clip.info.seconds)
        return tuple(grid.entry(frame) for frame in frames_of_rows(clip, clip.family in self.per_frame))


@dataclass
class _Seen:
    """What is known of a video so far."""

    info: VideoInfo | None = None
    findings: Findings = field(default_factory=Findings)

    def complete(self) -> VideoInfo | None:
        """The facts with what decoding has found until now; None before the video was measured."""
        return self.info and self.info.with_findings(self.findings)


class _Repeats:
    """Finds frames of a video that are byte for byte the one before, also across pieces: each is computed once."""

    def __init__(self) -> None:
        self._before: dict[str, np.ndarray] = {}

    def left_out(self, frames: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
        """Drops repeats; returns the other frames and, for each frame, its place among them, see `Item`."""
        kept, places, before = list[int](), list[int](), self._before
        for index in range(len(next(iter(frames.values())))):
            frame = {form: planes[index] for form, planes in frames.items()}
            if not before or not all(_is_same(planes, before[form]) for form, planes in frame.items()):
                kept.append(index)
            places.append(len(kept) - 1)
            before = frame
        self._before = {form: planes.copy() for form, planes in before.items()}  # not the whole piece
        if len(kept) == len(places):
            return dict(frames), tuple(places)
        return {form: planes[kept] for form, planes in frames.items()}, tuple(places)


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    # most frames differ in the first column already
    return np.array_equal(one[..., 0], other[..., 0]) and np.array_equal(one, other)


def _with_path(path: Path, message: str) -> str:
    return message if str(path) in message else f"{path}: {message}"


class Assembler:
    """Pools the features of pieces, as they arrive, into the arrays of each family and video."""

    def __init__(self, families: Mapping[str, Family]) -> None:
        self._families = families
        self._open: dict[tuple[int, str], Pool] = {}
        self._seconds: dict[tuple[int, str], SecondPools] = {}
        self._last: dict[tuple[int, str], Any] = {}
        self._reasons: dict[int, str] = {}

    def add(self, item: Item, features: Any) -> None:  # noqa: ANN401 (what the family's network returns)
        """Takes the features of the next piece, the error that stands in for them, or None if all its frames repeat."""
        if isinstance(features, UgcvqaError):
            self._reasons.setdefault(item.task, str(features))
        if item.task in self._reasons:
            return
        key = (item.task, item.family)
        if key not in self._open:
            self._open[key] = self._families[item.family].pool()
        if item.places:
            known = [part for part in (self._last.get(key), features) if part is not None]
            first = int(key in self._last)
            self._last[key] = take_rows(known, [-1])
            features = take_rows(known, [place + first for place in item.places])
        self._open[key].add(features)
        if item.entries:
            try:
                self._seconds.setdefault(key, SecondPools(self._families[item.family])).add(features, item.entries)
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
            if not reason and by_second is not None:
                seconds[name] = by_second.result()
            if not reason and name not in item.stored:
                results[name] = {key: array.cpu().numpy() for key, array in pool.result().items()}
        return VideoResult(item.task, results, item.content, item.stored, item.info, reason, seconds, item.warnings)


def compute(families: Mapping[str, Family], items: Sequence[Item]) -> list[Any]:
    """Computes the features of each item that carries frames; None where there is nothing to compute.

    Pieces are never mixed in one tensor, so results do not depend on how items are batched. A piece that a network
    cannot take gives the error in place of features, so that it costs its video and no other.
    """
    is_new = [item.family and max(item.places, default=0) >= 0 for item in items]
    return [_features(families[item.family], item) if new else None for item, new in zip(items, is_new, strict=True)]


def _features(family: Family, item: Item) -> Any:  # noqa: ANN401 (what the family's network returns)
    try:
        return family(item.frames)
    except UgcvqaError as error:
        return error
    except Exception as error:  # a bug, or too little memory, must cost one row, not the other million videos
        if is_lost_loader(error):
            raise
        return VideoError(f"{item.family} features cannot be computed: {error_reason(error)}")


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
        families: the frozen networks.
        batch_size: items per loader batch; changes speed, never a result.
        workers: processes that decode; 0 decodes in this one.
        device: where the networks run.
    """
    target = torch.device(device)
    is_pinned = workers > 0 and target.type == "cuda"
    options: dict[str, Any] = {"num_workers": workers, "worker_init_fn": watch_parent, "pin_memory": is_pinned}
    loader = DataLoader(stream, batch_size=batch_size, collate_fn=list, **options)
    families = {name: family.to(target) for name, family in families.items()}
    assembler = Assembler(families)
    waiting: dict[int, VideoResult] = {}
    following = 0
    for items, features in _computed(loader, families, target):
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
    loader: DataLoader[Item], families: Mapping[str, Family], device: torch.device
) -> Iterator[tuple[list[Item], list[Any]]]:
    with warnings.catch_warnings(), loader_errors():
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        for batch in loader:
            items = [item.to(device) for item in batch]
            yield items, compute(families, items)


def usable_device(name: str) -> str:
    """Checks that a device is one on which features can be computed, and that it is there.

    Raises:
        ConfigError: if it is not `cpu` or a present `cuda` device.
    """
    kind, _, number = name.partition(":")
    if name != "cpu" and (kind != "cuda" or not (number or "0").isdecimal()):
        raise ConfigError(f"device {name!r}: use cpu, cuda, or cuda:N")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name!r}: this machine shows {torch.cuda.device_count()} CUDA devices; use cpu")
    return name


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
