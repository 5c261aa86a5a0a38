"""Batches of a training step, and the order of the videos: a pure function of seed and epoch, shared by ranks."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import Sampler, SequentialSampler

FIXED = -1
"""Epoch of a draw that no randomness may touch: validation and scoring."""


class Batch(NamedTuple):
    """The videos of one step.

    Attributes:
        rows: (B,) int64 rows of the data set; they distinguish repeated samples from new ones.
        mos: (B,) float64 labels on their own scale.
        frames: what the network takes: frame features laid end to end (sum of lengths, D), or images
            (sum of lengths, 3, H, W) uint8.
        lengths: frames of each video.
        ids: of the videos; empty where they have none.
        times_s: (sum of lengths,) float64 seconds of the frames in their videos; None where they are not known.
    """

    rows: Tensor
    mos: Tensor
    frames: Tensor
    lengths: tuple[int, ...]
    ids: tuple[str, ...] = ()
    times_s: Tensor | None = None

    def __repr__(self) -> str:
        of_frame = "x".join(map(str, self.frames.shape[1:]))
        head = f"Batch of {len(self.lengths)} videos, {len(self.frames)} frames of {of_frame} {self.frames.dtype}"
        times = [None] * len(self.lengths) if self.times_s is None else self.times_s.split(list(self.lengths))
        names = self.ids or [f"row {row}" for row in self.rows.tolist()]
        lines = [
            f"  {name}: {length} frames"
            + ("" if seconds is None else f", {seconds.min():.2f} to {seconds.max():.2f} s")
            + ("" if mos != mos else f", MOS {mos:g}")
            for name, length, seconds, mos in zip(names, self.lengths, times, self.mos.tolist(), strict=True)
        ]
        return "\n".join([f"{head}, on {self.frames.device}", *lines])


class Draw(NamedTuple):
    """One sample of an epoch; its epoch seeds its random choices, whichever process makes it."""

    epoch: int
    row: int


class EpochSampler(SequentialSampler):
    """Rows in the order of an epoch, shuffled for each of them, so that a resumed run sees what an unbroken one does.

    (Lightning leaves samplers of this parent class alone.)

    Args:
        rows: rows of the data set.
        seed: seed of the order; None keeps the order of `rows`, with draws that are `FIXED`.
    """

    def __init__(self, rows: Sequence[int], seed: int | None) -> None:
        super().__init__(rows)
        self._rows, self._seed = list(rows), seed
        self._epoch, self._done = 0, 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order; Lightning calls it before each epoch."""
        self._epoch = epoch

    def resume(self, epoch: int, done: int) -> None:
        """Leaves out the first `done` samples the next time, for a run that resumes within an epoch."""
        self._epoch, self._done = epoch, done

    def __iter__(self) -> Iterator[Any]:
        order, epoch = self._rows, FIXED
        if self._seed is not None:
            epoch = self._epoch
            shuffled = np.random.default_rng([self._seed, epoch]).permutation(len(self._rows))
            order = [self._rows[place] for place in shuffled]
        done, self._done = self._done, 0
        return iter([Draw(epoch, row) for row in order[done:]])

    def __len__(self) -> int:
        return len(self._rows)


class EpochBatches(Sampler[list[Draw]]):
    """This process's share of each batch; the shares of all processes together are the batch of one process.

    A process for which a batch has no video gets its first one again, because all processes must take each step;
    losses and metrics count by row, so such a repeat changes no figure.

    Args:
        sampler: the samples of an epoch; those left out at its next start are whole batches.
        batch_size: videos of a batch, of all processes together.
        rank: this process among `world`.
        world: number of processes.
    """

    def __init__(self, sampler: EpochSampler, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.sampler = sampler  # by this name Lightning finds what to tell the epoch
        self.batch_size, self._rank, self._world = batch_size, rank, world

    def __iter__(self) -> Iterator[list[Draw]]:
        draws = list(self.sampler)
        for start in range(0, len(draws), self.batch_size):
            batch = draws[start : start + self.batch_size]
            yield batch[self._rank :: self._world] or batch[:1]

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)
