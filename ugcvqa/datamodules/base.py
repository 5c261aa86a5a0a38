"""What all data modules of videos are: they serve what the module at hand needs."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from ugcvqa.datamodules.samples import SampleDataModule, Source
from ugcvqa.datamodules.sources import clip_source, fill_store, frame_times, labels_of, stored_sequences
from ugcvqa.datamodules.streams import PictureStream, picture_loader, piece_loader
from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.devices import n_loaders
from ugcvqa.errors import ConfigError, LabelError
from ugcvqa.evaluation.splits import make_split
from ugcvqa.features.family import Family
from ugcvqa.features.store import FeatureStore
from ugcvqa.features.stream import ClipStream, Task
from ugcvqa.heads.network_heads import frame_families
from ugcvqa.samples.clips import FAMILY, ClipFamily
from ugcvqa.samples.sequences import PRECISION, FrameFeatures, SequenceSource
from ugcvqa.settings import DecodeLimits, FamilySettings, SplitSettings
from ugcvqa.training_settings import ClipSettings

Sampling = Mapping[str, Family] | ClipSettings | FrameFeatures
"""What is needed of videos: pieces for families of extractors, pictures, or features of frames."""


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
        super().__init__(_NOTHING, (), (), batch_size, seed, num_workers)
        self.sampling = _named_sampling(sampling)
        self.split, self.store, self.limits = split, store, limits
        self.failures: dict[str, str] = {}
        self._dataset, self._served = dataset, None  # type: tuple[Dataset | None, Sampling | None]
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @property
    def dataset(self) -> Dataset:
        """The data set, which is opened when it is first needed."""
        if self._dataset is None:
            self._dataset = self.open_dataset()
        return self._dataset

    def open_dataset(self) -> Dataset:
        """Reads the labels and finds the videos."""
        raise NotImplementedError

    @property
    def tasks(self) -> list[Task]:
        """The videos that have a file."""
        return [Task(each.video_id, str(each.path), each.mos) for each in self.dataset.videos if each.path is not None]

    @property
    def feature_store(self) -> FeatureStore | None:
        """The store that was given, if one was."""
        return None if self.store is None else FeatureStore(Path(self.store))

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
        if trainer is not None and trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:
            raise ConfigError(
                "several processes: give Trainer(use_distributed_sampler=False), videos are dealt out here"
            )
        needed = self._needed()
        is_streamed = isinstance(needed, Mapping) or (stage == "predict" and isinstance(needed, ClipSettings))
        if not is_streamed and needed != self._served:
            self._prepare(needed, stage != "predict")
        super().setup(stage)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Builds this rank's loader of all videos."""
        needed, on_gpu = self._needed(), _is_on_gpu(self.trainer)
        if isinstance(needed, FrameFeatures):
            return super().predict_dataloader()
        families: Mapping[str, Family] = {FAMILY: ClipFamily(needed)} if isinstance(needed, ClipSettings) else needed
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        store = None if isinstance(needed, ClipSettings) else self.feature_store
        stream = ClipStream(self.tasks, families, store, self.limits, rank, world)
        if isinstance(needed, ClipSettings):
            return picture_loader(PictureStream(stream, needed), self.batch_size, self.n_workers(), on_gpu)
        return piece_loader(stream, self.batch_size, self.n_workers(), on_gpu)

    def _needed(self) -> Sampling:
        module = getattr(self.trainer, "lightning_module", None)
        found: Sampling = getattr(module, "sampling", None) or self.sampling
        return found

    def _prepare(self, needed: Sampling, is_labelled: bool) -> None:
        """Fills the store with what is needed of each video, and splits the videos that can be used."""
        families: Mapping[str, Family] = (
            {FAMILY: ClipFamily(needed)}
            if isinstance(needed, ClipSettings)
            else frame_families(needed.row, needed.families)
            if isinstance(needed, FrameFeatures)
            else needed
        )
        if is_labelled and any(np.isnan(video.mos) for video in self.dataset.videos):
            raise LabelError(f"{self.dataset.name}: there are no labels to train on or to test with; give a label file")
        trainer: Any = self.trainer
        store, device = FeatureStore(self._folder()), trainer.strategy.root_device if trainer else "cpu"
        ranks = range(trainer.world_size) if trainer else range(1)
        for is_first in (True, False) if len(ranks) > 1 else (True,):  # the others then find all in the store
            if not trainer or trainer.is_global_zero == is_first:
                self.failures = fill_store(self.tasks, families, store, self.limits, self.n_workers(), str(device))
            if trainer:
                trainer.strategy.barrier("the store is filled")
        self.failures |= {each.video_id: "no file found" for each in self.dataset.videos if each.path is None}
        kept = tuple(video for video in self.dataset.videos if video.video_id not in self.failures)
        if not kept:
            raise LabelError(f"{self.dataset.name}: none of {len(self.dataset.videos)} videos can be used")
        usable = Dataset(self.dataset.name, self.dataset.label, self.dataset.scale, kept)
        if isinstance(needed, ClipSettings):
            self.source: Source = clip_source(usable, needed, store, self.seed, is_timed=True)
        else:
            ((_, family),) = families.items()
            table = stored_sequences(usable, family, store, PRECISION[needed.precision])  # type: ignore[union-attr]
            self.source = SequenceSource(table, labels_of(usable), frame_times(usable, family))
        if is_labelled:
            parts = make_split(usable, self.split)
            place = {video.video_id: row for row, video in enumerate(kept)}
            rows = [[place[each] for each in part] for part in (parts.train, parts.val, parts.test)]
            self.train, self.val, self.test = rows
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


_NOTHING = _Nothing()


def _named_sampling(asked: str | Mapping[str, Any] | None) -> Sampling:
    """Sampling by name or by plain settings."""
    if isinstance(asked, Mapping):
        try:
            return ClipSettings(**asked)
        except TypeError as error:
            raise ConfigError(f"sampling: {error}; see ClipSettings") from error
    return ClipSettings() if asked in (None, "clips") else FrameFeatures(str(asked), FamilySettings())


def _is_on_gpu(trainer: Any) -> bool:  # noqa: ANN401 (Lightning's Trainer)
    return trainer is not None and trainer.strategy.root_device.type == "cuda"
