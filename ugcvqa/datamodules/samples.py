"""Loaders of samples in memory or in a store: the same whatever the processes, workers and interruptions."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from ugcvqa.loaders import loader
from ugcvqa.samples.batches import Batch, Draw, EpochBatches, EpochSampler


class Source(Protocol):
    """Where samples come from; no other process can load those in memory, which may be a GPU's."""

    mos: Tensor
    is_in_memory: bool

    def __len__(self) -> int:
        """Number of videos."""

    def __getitem__(self, draw: Draw) -> Any:  # noqa: ANN401 (what `collate` takes)
        """Makes one sample."""

    def collate(self, samples: Any) -> Batch:  # noqa: ANN401
        """Makes a batch of samples."""

    def place(self, device: torch.device) -> None:
        """Learns on which device training runs, before the first batch."""


class SampleDataModule(LightningDataModule):
    """Serves training batches in an order fixed by seed and epoch, and all others in the order given.

    Args:
        source: makes samples.
        train: rows to train on.
        val: rows that choose among epochs.
        batch_size: videos per step, of all processes together.
        seed: seed of the order.
        workers: processes that load; 0 loads in the training process.
        test: rows that are tested on.
    """

    def __init__(
        self,
        source: Source,
        train: Sequence[int],
        val: Sequence[int],
        batch_size: int,
        seed: int,
        workers: int = 0,
        test: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.source, self.train, self.val, self.test = source, train, val, test
        self.batch_size, self.seed, self.workers = batch_size, seed, workers

    def setup(self, stage: str) -> None:
        """Lets the source know the device."""
        if stage == "fit" and self.trainer is not None:
            self.source.place(self.trainer.strategy.root_device)

    def n_workers(self) -> int:
        """Processes that load, for each rank."""
        return self.workers

    def steps_per_epoch(self) -> int:
        """Counts the optimiser's steps of an epoch; unlike Lightning's own count it builds no loader too early."""
        trainer: Any = self.trainer
        batches = -(-len(self.train) // self.batch_size)
        limit = trainer.overfit_batches or trainer.limit_train_batches
        limited = int(batches * limit) if isinstance(limit, float) else min(batches, limit)
        return max(1, -(-limited // int(trainer.accumulate_grad_batches)))

    def train_dataloader(self) -> DataLoader[Any]:
        """Builds this rank's training loader, which goes on within an epoch where a checkpoint was left in one."""
        trainer: Any = self.trainer
        if trainer is not None and trainer.overfit_batches:
            return self._loader(EpochSampler(self.train, None))
        sampler = EpochSampler(self.train, self.seed)
        if trainer is not None:
            loop = trainer.fit_loop
            steps = -(-len(sampler) // self.batch_size)
            done = loop.epoch_loop.batch_progress.current.processed if loop.restarting else 0
            sampler.resume(loop.epoch_progress.current.processed, done % steps * self.batch_size)
        return self._loader(sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        """Builds this rank's validation loader."""
        return self._loader(EpochSampler(self.val, None))

    def test_dataloader(self) -> DataLoader[Any]:
        """Builds this rank's test loader."""
        return self._loader(EpochSampler(self.test, None))

    def predict_dataloader(self) -> DataLoader[Any]:
        """Builds this rank's loader of all samples."""
        return self._loader(EpochSampler(range(len(self.source)), None))

    def _loader(self, sampler: EpochSampler) -> DataLoader[Any]:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        device = self.trainer.strategy.root_device if self.trainer else None
        workers = 0 if self.source.is_in_memory else self.n_workers()
        is_on_gpu = device is not None and device.type == "cuda"
        batches = EpochBatches(sampler, self.batch_size, rank, world)
        more = {"batch_sampler": batches, "persistent_workers": workers > 0}
        return loader(self.source, self.source.collate, workers, is_on_gpu, **more)
