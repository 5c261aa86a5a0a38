"""The stream of clips of many videos: each is decoded once for all families, and closed by the mark of its end."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ugcvqa.errors import UgcvqaError, VideoError
from ugcvqa.features.by_second import Grid, frames_of_rows
from ugcvqa.features.container import container_vector
from ugcvqa.features.family import Family
from ugcvqa.features.store import FeatureStore
from ugcvqa.files import error_reason
from ugcvqa.media.facts import Findings, doubts_of
from ugcvqa.media.opening import check_file
from ugcvqa.media.sampling import frames_bytes
from ugcvqa.media.video import Clip, Plan, VideoInfo, probe, read_clips
from ugcvqa.settings.data import DecodeLimits

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Task:
    """One video to work on: its id, its file, and its label where there is one (else NaN)."""

    video_id: str
    path: str
    mos: float = math.nan


@dataclass(frozen=True, repr=False)
class Item:
    """What a loader serves: one clip of a video, or the mark of its end.

    Attributes:
        task: index of the video in the list of tasks.
        family: family the frames belong to; empty at the end of a video.
        frames: form -> (T, ...) uint8, see `sampling.FORMS`, and the facts of the piece, as arrays or as tensors; empty
            at the end of a video.
        places: of a family that looks at frames one by one, for each frame of the piece its place among `frames`, from
            which frames equal to the one before are left out; -1 means the frame before the piece.
        entries: for each row of features, its place in the timeline, see `by_second.Grid`; empty unless asked for.
        content: at the end: SHA-256 of the file, empty without a store.
        stored: at the end: families whose features are in the store already.
        info: at the end: facts about the video, None if it was not decoded.
        reason: at the end: why the video failed, empty if it did not.
        warnings: at the end: what makes a score of the video doubtful, one plain sentence each.
        video_id: of the video.
        mos: its label, NaN where there is none.
        times_s: of the frames, in seconds; empty at the end of a video.
        features: of a light family, where the process that decoded the piece has computed them; the frames are left out
            then.
    """

    task: int
    family: str = ""
    frames: Mapping[str, Any] = field(default_factory=dict)
    places: tuple[int, ...] = ()
    entries: tuple[int, ...] = ()
    content: str = ""
    stored: tuple[str, ...] = ()
    info: VideoInfo | None = None
    reason: str = ""
    warnings: tuple[str, ...] = ()
    video_id: str = ""
    mos: float = math.nan
    times_s: tuple[float, ...] = ()
    features: Any = None

    def __repr__(self) -> str:
        if not self.family:
            return f"{self.video_id}: end{f' ({self.reason})' if self.reason else ''}"
        shapes = ", ".join(f"{form} {tuple(planes.shape)} {planes.dtype}" for form, planes in self.frames.items())
        label = "" if math.isnan(self.mos) else f", MOS {self.mos:g}"
        times = f", {min(self.times_s):.2f} to {max(self.times_s):.2f} s" if self.times_s else ""
        return f"{self.video_id}: {self.family} takes {shapes}{times}{label}"

    def tensors(self) -> "Item":
        """The same with tensors, which share the memory of the arrays."""
        import torch

        return replace(self, frames={form: torch.from_numpy(planes) for form, planes in self.frames.items()})

    def to(self, device: "torch.device", non_blocking: bool = True) -> "Item":
        """Copies tensors to a device (Lightning calls this for every batch)."""
        moved = {form: planes.to(device, non_blocking=non_blocking) for form, planes in self.frames.items()}
        return replace(self, frames=moved)

    def share_memory(self) -> None:
        """Moves the frames to memory that processes share (loaders call it)."""
        for planes in self.frames.values():
            planes.share_memory_()

    def pin_memory(self) -> "Item":
        """Moves the frames to page-locked memory, from which a GPU fetches them while it computes (loaders call it)."""
        return replace(self, frames={form: planes.pin_memory() for form, planes in self.frames.items()})


class ClipStream:
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
        self.tasks, self.store, self.limits = tasks, store, limits or DecodeLimits()
        self.plans = {name: family.plan for name, family in families.items()}
        self.specs = {name: family.spec for name, family in families.items()}
        self.per_frame = {name for name, family in families.items() if family.is_per_frame}
        self.of_container = {name for name, family in families.items() if not family.needs_frames}
        self.light = {name: family for name, family in families.items() if family.is_light}
        self.by_second = by_second
        self.rank, self.world = rank, world

    def __iter__(self) -> Iterator[Item]:
        return self.share(0, 1)

    def share(self, number: int, count: int) -> Iterator[Item]:
        """Yields the clips of every `count`-th video of this process, from the `number`-th on."""
        for index in range(self.rank + number * self.world, len(self.tasks), self.world * count):
            yield from self._video(index)

    def measure(self, index: int) -> VideoInfo:
        """Measures a video.

        Raises:
            VideoError: if it cannot be read.
        """
        return probe(self.tasks[index].path, self.limits)

    def piece_bytes(self) -> int:
        """Bytes of the largest piece with which a family begins the first video; 0 where that cannot be measured."""
        try:
            info = self.measure(0)
            size = (info.height, info.width)
            pieces = [piece for plan in self.plans.values() for piece in islice(plan(info), 1)]
        except (UgcvqaError, OSError, IndexError):
            return 0
        return max((frames_bytes(piece.frames, size) for piece in pieces), default=0)

    def clips(self, index: int, plans: Mapping[str, Plan], info: VideoInfo, findings: Findings) -> Iterator[Clip]:
        """Decodes a video once and yields the pieces of all plans, see `media.video.read_clips`."""
        return read_clips(self.tasks[index].path, plans, self.limits, info, findings)

    def _video(self, index: int) -> Iterator[Item]:
        path, seen = Path(self.tasks[index].path), _Seen()
        try:
            task = self.tasks[index]
            # no variable holds an item while the next one is decoded, so that frames take the memory of earlier ones
            yield from map(partial(replace, video_id=task.video_id, mos=task.mos), self._clips(index, path, seen))
        except UgcvqaError as error:
            yield self._failed(index, str(error), seen)
        except Exception as error:  # a bug must cost one row, not the other million videos
            yield self._failed(index, f"{path}: unexpected {error_reason(error)}", seen)

    def _failed(self, index: int, reason: str, seen: "_Seen") -> Item:
        task, facts = self.tasks[index], seen.complete()
        return Item(index, info=facts, reason=reason, warnings=doubts_of(facts), video_id=task.video_id, mos=task.mos)

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
                    yield Item(index, name, {"container": container_vector(info)})
                plans = {name: plan for name, plan in wanted.items() if name not in self.of_container}
                for clip in self.clips(index, plans, info, seen.findings) if plans else ():
                    arrays, places = {**clip.frames, **clip.facts}, ()
                    if clip.family in repeats:
                        arrays, places = repeats[clip.family].left_out(arrays)
                    times = max(clip.pts_s.values(), key=len)
                    yield Item(index, clip.family, arrays, places, self._entries(clip), times_s=times)
                    del clip, arrays
            except VideoError as error:
                raise VideoError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
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
