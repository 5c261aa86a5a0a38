"""Lightning data modules: clips of many videos for the frozen extractors."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from ugcvqa.devices import n_loaders
from ugcvqa.features.family import Family
from ugcvqa.features.loading import ClipDataset
from ugcvqa.features.store import FeatureStore
from ugcvqa.features.stream import ClipStream, Item, Task
from ugcvqa.processes import watch_parent
from ugcvqa.settings import DecodeLimits, LoaderSettings


class ClipData(LightningDataModule):
    """Serves the clips of videos whose features are not in the store yet.

    Each rank serves its own videos; batches are lists of `Item`, in time order for each video.

    Args:
        tasks: the videos.
        families: feature families to serve.
        store: where finished features are looked up.
        limits: bounds on what is decoded.
        loader: how clips are read.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        families: Mapping[str, Family],
        store: FeatureStore,
        limits: DecodeLimits,
        loader: LoaderSettings,
    ) -> None:
        super().__init__()
        self.tasks, self.families, self.store, self.limits = tasks, families, store, limits
        self.loader = loader

    def n_workers(self, trainer: Trainer) -> int:
        """Decoding processes of each rank of a Trainer."""
        return n_loaders(self.loader.workers, _is_on_gpu(trainer), trainer.num_devices)

    def predict_dataloader(self) -> DataLoader[Item]:
        """Builds the loader of this rank."""
        trainer: Any = self.trainer
        stream = ClipStream(self.tasks, self.families, self.store, self.limits, trainer.global_rank, trainer.world_size)
        workers = self.n_workers(trainer)
        return DataLoader(
            ClipDataset(stream),
            batch_size=self.loader.batch_size,
            num_workers=workers,
            worker_init_fn=watch_parent,
            collate_fn=list,
            pin_memory=workers > 0 and _is_on_gpu(trainer),
            in_order=False,  # videos are taken as they come; the pieces of each are in order, as one process serves it
        )


def _is_on_gpu(trainer: Trainer) -> bool:
    return bool(trainer.strategy.root_device.type == "cuda")
