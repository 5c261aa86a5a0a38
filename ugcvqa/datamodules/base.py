"""Base class of the data modules of videos, which serve what the module at hand needs."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from ugcvqa.datamodules.samples import SampleDataModule
from ugcvqa.datamodules.sampling import Sampling, named_sampling
from ugcvqa.datamodules.sources import fill_store
from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.devices import n_loaders
from ugcvqa.errors import ConfigError, LabelError
from ugcvqa.evaluation.splits import make_split
from ugcvqa.features.loading import check_room
from ugcvqa.features.store import FeatureStore
from ugcvqa.features.stream import ClipStream, Task
from ugcvqa.meeting import Meeting
from ugcvqa.settings.data import DecodeLimits, SplitSettings


class QualityDataModule(SampleDataModule):
    """Serves the videos of a data set, with labels, ids and times, as the module at hand needs them.

    Pieces for an `Extractor`, sampled pictures for an `EndToEndRegressor`, the features of frames for a `GRURegressor`:
    the Trainer's module says so by its attribute `sampling`. Any other module, and whoever asks without a Trainer, gets
    what `sampling` says. Pictures and features of frames are made once and kept in the store for the epochs to come.

    Args:
        dataset: the videos; those without a file are left out.
        batch_size: videos per step, of all processes together; pieces per step for extractors.
        num_workers: processes that decode or load, for each device; -1 takes what suits.
        sampling: `clips` for pictures as `EndToEndRegressor` sees them by default, settings of such pictures by name
            (`{"frames": 4, "crop": 224}`), or a row such as `VSFACNN` for the features of its frames.
        split: which videos train, choose and test.
        store: folder of the feature store; what it holds is not computed again. By default a temporary one.
        limits: bounds on what is decoded.
        seed: seed of the order of training videos, and of their crops.

    Attributes:
        failures: video id -> reason, of videos that were left out so far.
    """

    def __init__(
        self,
        dataset: Dataset | None,
        *,
        batch_size: int = 1,
        num_workers: int = 0,
        sampling: str | Mapping[str, Any] | None = None,
        split: SplitSettings = SplitSettings(),
        store: str | Path | None = None,
        limits: DecodeLimits = DecodeLimits(),
        seed: int = 0,
    ) -> None:
        if batch_size < 1 or num_workers < -1:
            raise ConfigError(f"batch_size {batch_size}, num_workers {num_workers}: at least 1, and -1 or more")
        super().__init__(_Nothing(), (), (), batch_size, seed, num_workers)
        self.sampling = named_sampling(sampling)
        self.split, self.store, self.limits = split, store, limits
        self.failures: dict[str, str] = {}
        self._dataset = dataset
        self._served: Sampling | None = None  # what the samples were prepared for
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @property
    def dataset(self) -> Dataset:
        """The data set, which is opened when it is first needed."""
        if self._dataset is None:
            self._dataset = self.open_dataset()
        return self._dataset

    def open_dataset(self) -> Dataset:
        """Reads the labels and finds the videos.

        Raises:
            ConfigError: here, where no data set was given.
        """
        raise ConfigError("a data module needs a data set")

    @property
    def tasks(self) -> list[Task]:
        """The videos that have a file."""
        return [Task(each.video_id, str(each.path), each.mos) for each in self.dataset.videos if each.path is not None]

    @property
    def feature_store(self) -> FeatureStore | None:
        """The store that was given, if one was."""
        kind = "cuda" if _is_on_gpu(self.trainer) else "cpu"
        return None if self.store is None else FeatureStore(Path(self.store), kind)

    def n_workers(self, trainer: Any = None) -> int:  # noqa: ANN401 (Lightning's Trainer)
        """Processes that decode, for each rank of a Trainer."""
        trainer = trainer or self.trainer
        return n_loaders(self.workers, _is_on_gpu(trainer), trainer.num_devices if trainer else 1)

    def setup(self, stage: str) -> None:
        """Prepares the samples of a stage: `fit`, `validate`, `test` or `predict`.

        Raises:
            LabelError: if no video can be used, or training videos have no labels.
            ConfigError: if a setting cannot be used.
        """
        trainer: Any = self.trainer
        if trainer is not None:
            trainer._accelerator_connector.use_distributed_sampler = False  # videos are dealt out here
        needed = self._needed()
        if stage not in needed.streamed and needed != self._served:
            self._prepare(needed, stage != "predict")
        super().setup(stage)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Builds this rank's loader of all videos."""
        needed = self._needed()
        if "predict" not in needed.streamed:
            return super().predict_dataloader()
        trainer: Any = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        store = self.feature_store if needed.skips_stored else None
        stream = ClipStream(self.tasks, needed.families(), store, self.limits, rank, world)
        workers, is_on_gpu = self.n_workers(), _is_on_gpu(trainer)
        check_room(stream, self.batch_size, workers * (trainer.num_devices if trainer else 1), is_on_gpu)
        return needed.loader(stream, self.batch_size, workers, is_on_gpu)

    def _needed(self) -> Sampling:
        asked: Any = getattr(getattr(self.trainer, "lightning_module", None), "sampling", None)
        if asked is None:
            return self.sampling
        found: Sampling = named_sampling(asked) if isinstance(asked, str | Mapping) else asked
        return found

    def _prepare(self, needed: Sampling, is_labelled: bool) -> None:
        """Fills the store with what is needed of each video, and splits the videos that can be used."""
        if is_labelled and any(np.isnan(video.mos) for video in self.dataset.videos):
            raise LabelError(f"{self.dataset.name}: there are no labels to train on or to test with; give a label file")
        trainer: Any = self.trainer
        families = needed.families()
        store, device = FeatureStore(self._folder()), trainer.strategy.root_device if trainer else "cpu"
        meeting = Meeting(trainer, store.root) if trainer and trainer.world_size > 1 else None
        for is_first in (True, False) if meeting else (True,):  # the others then find all in the store
            if not meeting or trainer.is_global_zero == is_first:
                self.failures = fill_store(self.tasks, families, store, self.limits, self.n_workers(), str(device))
            if meeting:
                meeting.exchange()
        self.failures |= {each.video_id: "no file found" for each in self.dataset.videos if each.path is None}
        kept = tuple(video for video in self.dataset.videos if video.video_id not in self.failures)
        if not kept:
            raise LabelError(f"{self.dataset.name}: none of {len(self.dataset.videos)} videos can be used")
        usable = Dataset(self.dataset.name, self.dataset.label, self.dataset.scale, kept)
        self.source = needed.source(usable, families, store, self.seed)
        if is_labelled:
            parts = make_split(usable, self.split)
            self.train, self.val, self.test = (usable.rows(part) for part in (parts.train, parts.val, parts.test))
            self._served = needed

    def _folder(self) -> Path:
        if self.store is not None:
            return Path(self.store)
        trainer: Any = self.trainer
        if self._scratch is None and (trainer is None or trainer.is_global_zero):
            self._scratch = tempfile.TemporaryDirectory(prefix="ugcvqa-")
        name = self._scratch.name if self._scratch else ""
        return Path(trainer.strategy.broadcast(name) if trainer else name)


class _Nothing:
    """A source before `setup`."""

    mos: Any = ()
    is_in_memory = True

    def __len__(self) -> int:
        return 0

    def __getitem__(self, draw: Any) -> Any:  # noqa: ANN401
        raise ConfigError("call setup() first")

    def collate(self, samples: Any) -> Any:  # noqa: ANN401
        raise ConfigError("call setup() first")

    def place(self, device: Any) -> None:  # noqa: ANN401
        """There is nothing to place."""


def _is_on_gpu(trainer: Any) -> bool:  # noqa: ANN401 (Lightning's Trainer)
    return trainer is not None and trainer.strategy.root_device.type == "cuda"
