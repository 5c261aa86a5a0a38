"""What a training step sees, and the order in which videos come: a pure function of seed, epoch and rank."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import SequentialSampler

FIXED = -1
"""Epoch of a draw that no randomness may touch: validation and scoring."""


class Batch(NamedTuple):
    """The videos of one step.

    Attributes:
        rows: (B,) int64 rows of the data set; they tell repeated samples from new ones.
        mos: (B,) float64 labels on their own scale.
        frames: what the network takes: frame features laid end to end (sum of lengths, D), or images
            (sum of lengths, 3, H, W) uint8.
        lengths: frames of each video.
    """

    rows: Tensor
    mos: Tensor
    frames: Tensor
    lengths: tuple[int, ...]


class Draw(NamedTuple):
    """One sample of an epoch; its epoch seeds what is random about it, in whatever process it is made."""

    epoch: int
    row: int


class EpochSampler(SequentialSampler):
    """Deals rows out to ranks, shuffled anew in every epoch, so that a resumed run sees what an unbroken one does.

    All ranks get equally many: the first rows come again at the end where their number does not divide evenly.
    Metrics count by row, so these repeats change no figure. (Lightning leaves samplers of this parent class alone.)

    Args:
        rows: rows of the data set.
        seed: seed of the order; None keeps the order of `rows`, with draws that are `FIXED`.
        rank: this process among `world`.
        world: number of processes.
    """

    def __init__(self, rows: Sequence[int], seed: int | None, rank: int = 0, world: int = 1) -> None:
        super().__init__(rows)
        self._rows, self._seed, self._rank, self._world = list(rows), seed, rank, world
        self._epoch, self._done = 0, 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order; Lightning calls it before each epoch."""
        self._epoch = epoch

    def resume(self, epoch: int, done: int) -> None:
        """Leaves out the first `done` samples of this rank the next time, for a run that goes on within an epoch."""
        self._epoch, self._done = epoch, done

    def __iter__(self) -> Iterator[Any]:
        order, epoch = self._rows, FIXED
        if self._seed is not None:
            epoch = self._epoch
            shuffled = np.random.default_rng([self._seed, epoch]).permutation(len(self._rows))
            order = [self._rows[place] for place in shuffled]
        padded = [order[place % len(order)] for place in range(len(self) * self._world)]
        done, self._done = self._done, 0
        return iter([Draw(epoch, row) for row in padded[self._rank :: self._world][done:]])

    def __len__(self) -> int:
        return -(-len(self._rows) // self._world)
