"""Features second by second: which stretches of a video count as its seconds, and one pool for each of them."""

import tempfile
import weakref
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.features.family import Family, Pool, as_array
from ugcvqa.media.sampling import Seconds, chunk_centres, rounded_rate
from ugcvqa.media.video import Clip, VideoInfo

MAX_ENTRIES = 3600
"""Entries of a timeline at most: one vector is kept for each. Longer videos get entries of several seconds."""

_IN_MEMORY_BYTES = 1 << 20  # vectors beyond that lie on the disk


@dataclass(frozen=True)
class Grid:
    """The seconds of a video: runs of as many frames as the rounded frame rate, or seconds of time where it varies.

    They are the chunks of the NSS and CNN features. What is left at the end, if it is too short for a chunk, belongs to
    the last one. Videos of more than an hour get `MAX_ENTRIES` entries at most, each of several whole chunks.

    Attributes:
        starts: index of the first frame of each entry, ascending from 0; at least one.
    """

    starts: Sequence[int]

    @classmethod
    def of(cls, n_frames: int, rate: Fraction, seconds: Seconds | None = None) -> "Grid":
        """Lays the grid over a video of `n_frames` frames at `rate`, or over given seconds."""
        n_chunks = max(1, sum(1 for _ in chunk_centres(n_frames, rate, seconds)))
        per_entry = -(-n_chunks // MAX_ENTRIES)
        if seconds is not None:
            return cls(seconds.starts[:n_chunks:per_entry])
        return cls(range(0, n_chunks * rounded_rate(rate), per_entry * rounded_rate(rate)))

    @property
    def n_entries(self) -> int:
        """How many entries there are."""
        return len(self.starts)

    def entry(self, frame_index: int) -> int:
        """The entry that a frame belongs to; -1, which means no frame, stays."""
        return bisect_right(self.starts, frame_index) - 1

    def times_s(self, info: VideoInfo) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Start and stop of each entry, seconds from the first frame, by the times of the frames."""
        starts = tuple(info.times_s[list(self.starts)].tolist())
        return starts, (*starts[1:], info.end_s)


def frames_of_rows(clip: Clip, is_per_frame: bool) -> tuple[int, ...]:
    """Finds the frame that represents each row of features of a piece.

    Args:
        clip: the piece.
        is_per_frame: whether each of its frames gives a row.

    Returns:
        Frame indices. A piece of groups of frames has a row for each group, represented by its last frame; black groups
        beyond the end of the video have -1. Any other piece is one row, of a one-second chunk.
    """
    indices = max(clip.frame_index.values(), key=len)
    if is_per_frame:
        return indices
    if "counts" not in clip.facts:
        if clip.info.seconds is not None:
            return (clip.info.seconds.starts[clip.piece_index],)
        step = rounded_rate(clip.info.rate)
        return (clip.piece_index * step + step // 2,)
    ends = np.cumsum(clip.facts["counts"])
    return (*(indices[end - 1] for end in ends.tolist()), *([-1] if clip.facts["n_black"] else []))


@dataclass(frozen=True)
class SecondFeatures:
    """The features of one family, second by second.

    Attributes:
        entries: (S,) int64, ascending: entries of the grid that the family has frames in.
        counts: (S,) int64, rows of features (frames, chunks) in each.
        vectors: (S, D) float64, video vector of each entry alone; in a file if there are many.
    """

    entries: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    vectors: "npt.NDArray[np.float64] | VectorFile"

    def spread(self, n_entries: int, start: int = 0, most: int | None = None) -> npt.NDArray[np.float64]:
        """A vector for every entry (n_entries, D); an entry without one takes the one before, or the first.

        Args:
            n_entries: entries of the grid.
            start: first entry wanted.
            most: how many are wanted; all if left out.
        """
        stop = n_entries if most is None else start + most
        return np.asarray(self.vectors[self.sources(n_entries)[start:stop]])

    def sources(self, n_entries: int) -> npt.NDArray[np.int64]:
        """(n_entries,) int64, for every entry the row of `vectors` that represents it."""
        return np.maximum(np.searchsorted(self.entries, np.arange(n_entries), side="right") - 1, 0).astype(np.int64)


class VectorFile:
    """Vectors of one length, the first megabyte in memory and more in a temporary file, which goes with this object."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 (open as long as it is read)
        self._length = 0
        weakref.finalize(self, self._file.close)

    def append(self, vector: npt.NDArray[np.float64]) -> None:
        """Adds a vector (D,).

        Raises:
            OSError: if the disk is full.
        """
        self._length = vector.size
        self._file.write(np.ascontiguousarray(vector, np.float64).tobytes())

    def __getitem__(self, rows: int | npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Reads the vector (D,) of a number, or those (N, D) of several (N,)."""
        numbers = np.atleast_1d(rows).tolist()
        vectors = np.empty((len(numbers), self._length))
        for vector, number in zip(vectors, numbers, strict=True):
            self._file.seek(number * vector.nbytes)
            vector[:] = np.frombuffer(self._file.read(vector.nbytes))
        return vectors if np.ndim(rows) else vectors[0]


class SecondPools:
    """Pools the rows of each second by themselves, as if the video were that second; one pool is open at a time.

    Args:
        family: whose features they are.
    """

    def __init__(self, family: Family) -> None:
        self._family = family
        self._entries, self._counts, self._vectors = list[int](), list[int](), VectorFile()
        self._pool: Pool | None = None

    def add(self, features: Any, entries: Sequence[int]) -> None:  # noqa: ANN401 (what the family's network returns)
        """Takes the features of the next piece.

        Args:
            features: rows of features, or those of a piece that is one row.
            entries: entry of each row, ascending over the video; rows of entry -1 are left out.

        Raises:
            OSError: if the disk for temporary files is full.
        """
        for entry in dict.fromkeys(entry for entry in entries if entry >= 0):
            rows = [row for row, other in enumerate(entries) if other == entry]
            if self._pool is None or entry != self._entries[-1]:
                self._close()
                self._pool = self._family.pool()
                self._entries.append(entry)
                self._counts.append(0)
            self._pool.add(features if len(rows) == len(entries) else take_rows([features], rows))
            self._counts[-1] += len(rows)

    def result(self) -> SecondFeatures:
        """Ends the video."""
        self._close()
        return SecondFeatures(np.array(self._entries), np.array(self._counts), self._vectors)

    def _close(self) -> None:
        if self._pool is not None:
            self._vectors.append(as_array(self._pool.result()["video"]).astype(np.float64))
            self._pool = None


def take_rows(parts: Sequence[Any], rows: list[int]) -> Any:  # noqa: ANN401 (what a family computes)
    """Takes rows of tensors, or of dataclasses or named tuples of tensors, that follow each other."""
    first = parts[0]
    if isinstance(first, tuple):
        return type(first)(*(take_rows(columns, rows) for columns in zip(*parts, strict=True)))
    if is_dataclass(first) and not isinstance(first, type):
        names = [one.name for one in fields(first)]
        return replace(first, **{name: take_rows([getattr(part, name) for part in parts], rows) for name in names})
    import torch

    joined = torch.cat(list(parts)) if len(parts) > 1 else first
    start = rows[0] % len(joined)
    if rows in ([-1], list(range(start, start + len(rows)))):
        return joined[start : start + len(rows)]  # a GPU would wait for a list
    return joined[torch.tensor(rows).to(joined.device, non_blocking=True)]
