"""What a module needs of videos: pieces for extractors, pictures, or the features of frames; one class for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import DataLoader

from ugcvqa.datamodules.samples import Source
from ugcvqa.datamodules.sources import clip_source, frame_times, labels_of, stored_sequences
from ugcvqa.datamodules.streams import PictureStream, PieceBatch
from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.errors import ConfigError
from ugcvqa.features.family import Family
from ugcvqa.features.loading import ClipDataset
from ugcvqa.features.rows import FRAME_ROWS
from ugcvqa.features.store import FeatureStore
from ugcvqa.features.stream import ClipStream
from ugcvqa.heads.network_heads import frame_families
from ugcvqa.loaders import loader
from ugcvqa.samples.clips import FAMILY, ClipFamily
from ugcvqa.samples.sequences import PRECISION, SequenceSource
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.training import ClipSettings


class Sampling:
    """What a module needs of videos; its attribute `sampling` says so to the data module.

    Attributes:
        streamed: stages in which videos are decoded while they are served; in the others samples are made before.
        skips_stored: whether a stream leaves out what the store holds.
    """

    streamed: tuple[str, ...] = ()
    skips_stored = False

    def families(self) -> Mapping[str, Family]:
        """What is computed of each video."""
        raise NotImplementedError

    def loader(self, stream: ClipStream, batch_size: int, workers: int, is_on_gpu: bool) -> DataLoader[Any]:
        """Serves a stream of these families.

        Raises:
            ConfigError: if they are not streamed.
        """
        raise ConfigError("features of frames come from a store")

    def source(self, dataset: Dataset, families: Mapping[str, Family], store: FeatureStore, seed: int) -> Source:
        """Serves samples from a store that has all of them.

        Raises:
            ConfigError: if there is nothing to train.
        """
        raise ConfigError("an extractor has nothing to train: use Trainer.predict")


@dataclass(frozen=True, eq=False)
class Pieces(Sampling):
    """The pieces that extractors take of videos, in time order for each video.

    Attributes:
        of: the feature families.
    """

    of: Mapping[str, Family]

    streamed = ("fit", "validate", "test", "predict")
    skips_stored = True

    def families(self) -> Mapping[str, Family]:
        """The feature families."""
        return self.of

    def loader(self, stream: ClipStream, batch_size: int, workers: int, is_on_gpu: bool) -> DataLoader[Any]:
        """Serves `batch_size` pieces at a time, see `streams.PieceBatch`."""
        # videos are taken as they come; the pieces of each are in order, as one process serves it
        clips, more = ClipDataset(stream, is_on_gpu), {"batch_size": batch_size, "in_order": False}
        return loader(clips, PieceBatch, workers, is_on_gpu, **more)


@dataclass(frozen=True)
class Pictures(Sampling):
    """Sampled frames, as end-to-end networks see them.

    Attributes:
        clip: which.
    """

    clip: ClipSettings = field(default_factory=ClipSettings)

    streamed = ("predict",)

    def families(self) -> Mapping[str, Family]:
        """The family that picks the frames."""
        return {FAMILY: ClipFamily(self.clip)}

    def loader(self, stream: ClipStream, batch_size: int, workers: int, is_on_gpu: bool) -> DataLoader[Any]:
        """Serves the pictures of `batch_size` videos at a time."""
        pictures = PictureStream(stream, self.clip)
        return loader(pictures, pictures.collate, workers, is_on_gpu, batch_size=batch_size)

    def source(self, dataset: Dataset, families: Mapping[str, Family], store: FeatureStore, seed: int) -> Source:
        """Serves pictures from the store."""
        return clip_source(dataset, self.clip, store, seed, is_timed=True)


@dataclass(frozen=True)
class FrameFeatures(Sampling):
    """The features of the frames of videos, as sequence models need them.

    Attributes:
        row: the row, one of `rows.FRAME_ROWS`.
        settings: of the networks that compute them.
        precision: in which they are held, see `sequences.PRECISION`.
    """

    row: str
    settings: FamilySettings = field(default_factory=FamilySettings)
    precision: str = "float32"

    def families(self) -> Mapping[str, Family]:
        """The frozen network.

        Raises:
            ConfigError: if the row has no features of frames.
            WeightsError: if weights are missing or wrong.
        """
        return frame_families(self.row, self.settings)

    def source(self, dataset: Dataset, families: Mapping[str, Family], store: FeatureStore, seed: int) -> Source:
        """Reads the features into memory."""
        ((_, family),) = families.items()
        table = stored_sequences(dataset, family, store, PRECISION[self.precision])
        return SequenceSource(table, labels_of(dataset), frame_times(dataset, family))


def named_sampling(asked: str | Mapping[str, Any] | None) -> Sampling:
    """Sampling by plain values: `clips`, settings of pictures by name, or a row.

    Raises:
        ConfigError: if a setting is unknown, or the row has no features of frames.
    """
    if isinstance(asked, str) and asked not in ("clips", *FRAME_ROWS):
        raise ConfigError(f"sampling {asked!r}: give clips, settings of pictures, or one of {', '.join(FRAME_ROWS)}")
    if isinstance(asked, Mapping):
        try:
            return Pictures(ClipSettings(**asked))
        except TypeError as error:
            raise ConfigError(f"sampling: {error}; see ClipSettings") from error
    return Pictures() if asked in (None, "clips") else FrameFeatures(str(asked))
