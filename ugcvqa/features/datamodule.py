"""Lightning data modules: clips of many videos for the frozen extractors."""

from collections.abc import Mapping, Sequence

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from ugcvqa.features.extraction import ClipStream, Item, Task
from ugcvqa.features.families import Family
from ugcvqa.features.store import FeatureStore
from ugcvqa.processes import watch_parent
from ugcvqa.settings import DecodeLimits


class ClipData(LightningDataModule):
    """Serves the clips of videos whose features are not in the store yet.

    Each rank serves its own videos; batches are lists of `Item`, in time order for each video.

    Args:
        tasks: the videos.
        families: feature families to serve.
        store: where finished features are looked up.
        limits: bounds on what is decoded.
        batch_size: items per batch; changes speed, never a result.
        workers: decoding processes per rank; 0 decodes in the training process.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        families: Mapping[str, Family],
        store: FeatureStore,
        limits: DecodeLimits,
        batch_size: int = 1,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.tasks, self.families, self.store, self.limits = tasks, families, store, limits
        self.batch_size, self.workers = batch_size, workers

    def predict_dataloader(self) -> DataLoader[Item]:
        """Builds the loader of this rank."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        stream = ClipStream(self.tasks, self.families, self.store, self.limits, rank, world)
        return DataLoader(
            stream,
            batch_size=self.batch_size,
            num_workers=self.workers,
            worker_init_fn=watch_parent,
            collate_fn=list,
            pin_memory=self.workers > 0 and torch.cuda.is_available(),
        )
