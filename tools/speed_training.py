"""Compares an epoch of GRU training here with the published way, on the same features and the same losses.

    python tools/speed_training.py [--size konvid | --videos 96 --frames 240 --distinct 96] [--epochs 2]

The published way pads all videos with zeros to the longest in one float64 array, sends padding through the linear map,
and pools each video over time by itself; both ways evaluate the validation part after every epoch, no more. They take
turns for three rounds; printed are medians of CPU seconds per epoch on one thread and the range of the ratios, without
making the features, and what they fill in memory. The values are synthetic. `--size konvid` has
1200 videos of 240 frames at most, as KoNViD-1k has; these share the features of 240, so that the 9.4e9 bytes of the
published way need not fit: an epoch reads and computes as much.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.heads.gru import VSFAHead
from ugcvqa.models.losses import quality_loss
from ugcvqa.samples.batches import Draw, EpochSampler
from ugcvqa.samples.sequences import SequenceSource, pack

SEED, BATCH, LR, DIM, ROUNDS = 19920517, 16, 1e-5, 4096, 3
KONVID = {"videos": 1200, "frames": 240, "distinct": 240, "epochs": 1}
OTHERWISE = {"videos": 96, "frames": 240, "distinct": 96, "epochs": 2}


def make_videos(count: int, frames: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Makes frame features of lengths between 3/4 and all of `frames`, and labels in them."""
    random = np.random.default_rng(0)
    mos = random.uniform(1, 5, count)
    weights = random.normal(0, 1, DIM).astype(np.float32)
    lengths = random.integers(frames * 3 // 4, frames + 1, count)
    features = [
        np.abs(m * 0.1 * weights + random.standard_normal((n, DIM), np.float32) * 0.3)
        for m, n in zip(mos, lengths, strict=True)
    ]
    return features, mos


def pool_one(q: Tensor, tau: int = 12, beta: float = 0.5) -> Tensor:
    """Pools the frame qualities (T, 1) of one video with padded windows, as the published code does."""
    row = q.t()[None]
    behind = functional.pad(-row, (tau - 1, 0), value=-torch.inf)
    ahead = functional.pad(row, (0, tau - 1), value=10000.0)
    memory = -functional.max_pool1d(behind, tau, stride=1)
    top = functional.avg_pool1d(ahead * torch.exp(-ahead), tau, stride=1)
    present = top / functional.avg_pool1d(torch.exp(-ahead), tau, stride=1)
    return (beta * present + (1 - beta) * memory).mean()


class Published:
    """The published loop: zero-padded float64 arrays of everything."""

    def __init__(self, features: Sequence[np.ndarray], mos: np.ndarray) -> None:
        longest = max(map(len, features))
        self.padded = np.zeros((len(features), longest, DIM))
        for row, sequence in enumerate(features):
            self.padded[row, : len(sequence)] = sequence
        self.lengths = [len(sequence) for sequence in features]
        self.mos = torch.from_numpy(mos / mos.max()).float()
        self.n_bytes = self.padded.nbytes

    def pred(self, head: VSFAHead, rows: Sequence[int]) -> Tensor:
        """Scores some videos."""
        batch = torch.stack([torch.from_numpy(self.padded[row]) for row in rows]).float()
        hidden, _ = head.gru(head.projection(batch))
        q = head.quality(hidden)
        return torch.stack([pool_one(q[place, : self.lengths[row]]) for place, row in enumerate(rows)])


class Ours:
    """This package's way: valid frames only, end to end."""

    def __init__(self, features: Sequence[np.ndarray], mos: np.ndarray, dtype: torch.dtype) -> None:
        self.source = SequenceSource(pack([str(row) for row in range(len(features))], features, dtype), mos)
        self.mos = torch.from_numpy(mos / mos.max()).float()
        self.n_bytes = self.source.table.frames.nbytes

    def pred(self, head: VSFAHead, rows: Sequence[int]) -> Tensor:
        """Scores some videos."""
        batch = self.source.collate(rows)
        scores: Tensor = head(batch.frames, batch.lengths)
        return scores


def batches(rows: Sequence[int], epoch: int | None, distinct: int) -> Iterator[list[int]]:
    """Yields batches, shuffled by the epoch, of rows that share `distinct` features."""
    sampler = EpochSampler(rows, None if epoch is None else SEED)
    sampler.set_epoch(epoch or 0)
    draws: list[Draw] = list(sampler)
    for start in range(0, len(draws), BATCH):
        yield [draw.row % distinct for draw in draws[start : start + BATCH]]


def run(way: Published | Ours, count: int, distinct: int, epochs: int) -> tuple[float, list[float]]:
    """Trains on 60 % and evaluates the next 20 % after each epoch; returns CPU seconds per epoch, and mean losses."""
    torch.manual_seed(SEED)
    head: nn.Module = VSFAHead()
    optimiser = torch.optim.Adam(head.parameters(), lr=LR)
    n_train, n_val = int(0.6 * count), int(0.2 * count)
    losses = []
    started = time.process_time()
    for epoch in range(epochs):
        total = 0.0
        for rows in batches(range(n_train), epoch, distinct):
            optimiser.zero_grad()
            loss = quality_loss(way.pred(head, rows), way.mos[rows], 1.0, 0.0, 0.0)  # type: ignore[arg-type]
            loss.backward()
            optimiser.step()
            total += loss.item() * len(rows)
        losses.append(total / n_train)
        with torch.no_grad():
            for rows in batches(range(n_train, n_train + n_val), None, distinct):
                way.pred(head, rows)  # type: ignore[arg-type]
    return (time.process_time() - started) / epochs, losses


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description="Compares an epoch of GRU training with the published way.")
    parser.add_argument("--size", choices=["konvid"])
    for name, value in OTHERWISE.items():
        parser.add_argument(f"--{name}", type=int, help=f"{value} by default")
    given = parser.parse_args(argv)
    defaults = KONVID if given.size else OTHERWISE
    videos, frames, distinct, epochs = (getattr(given, name) or value for name, value in defaults.items())
    distinct = min(videos, distinct)
    torch.set_num_threads(1)
    features, mos = make_videos(distinct, frames)
    ways: dict[str, Published | Ours] = {
        "published way": Published(features, mos),
        "ours, float32": Ours(features, mos, torch.float32),
        "ours, bfloat16": Ours(features, mos, torch.bfloat16),
    }
    print(f"{videos} videos of up to {frames} frames (features of {distinct}), batch {BATCH}, one thread")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    losses = dict[str, list[float]]()
    for _ in range(ROUNDS):  # in turns, so that a busy machine slows all of them
        for name, way in ways.items():
            used, losses[name] = run(way, videos, distinct, epochs)
            seconds[name].append(used)
    theirs, expected = seconds["published way"], losses["published way"]
    for name, way in ways.items():
        ratios = [slow / fast for slow, fast in zip(theirs, seconds[name], strict=True)]
        difference = max(abs(a - b) for a, b in zip(losses[name], expected, strict=True))
        print(
            f"{name:15} {median(seconds[name]):7.2f} CPU s per epoch  {median(ratios):5.2f}x ({min(ratios):.2f} to "
            f"{max(ratios):.2f})  loss {losses[name][-1]:.6f}  largest difference {difference:.1e}  features of "
            f"{way.n_bytes * videos / distinct / 1e9:.1f}e9 bytes"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
