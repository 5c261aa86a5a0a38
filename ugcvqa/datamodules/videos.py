"""Data modules that open a data set by plain values: own videos, the paper's data sets, the built-in demo set."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ugcvqa.datamodules.base import QualityDataModule
from ugcvqa.datasets.catalogue import Dataset, unlabelled
from ugcvqa.datasets.labels import LABEL_FILES, label_file
from ugcvqa.errors import ConfigError, LabelError, did_you_mean
from ugcvqa.features.inputs import data_root, open_dataset
from ugcvqa.settings.data import DataSettings, DecodeLimits, SplitSettings

Split = Literal["auto", "protocol", "group", "stored"]


class VideoDataModule(QualityDataModule):
    """Own videos below a folder, with a label file for training and testing; `predict` needs none.

    Args:
        root: folder with the videos, searched in depth.
        labels: CSV file with a file and a MOS column, and one with groups (scenes) if there are any; by default looked
            for in `root`.
        name: of the data set; ids are `name/file`.
        batch_size: videos per step, of all processes together; pieces per step for extractors.
        num_workers: processes that decode or load, for each device; -1 takes what suits.
        sampling: what is served where the Trainer's module does not say it, see `base.QualityDataModule`.
        split: `auto`, `protocol`, `group` or `stored`, see `settings.SplitSettings`.
        split_index: number of the protocol split or stored permutation, from 1.
        split_seed: seed of the group split.
        split_file: of `stored`.
        store: folder of the feature store; by default a temporary one.
        limits: bounds on what is decoded by name, see `settings.DecodeLimits`.
        seed: seed of the order of training videos, and of their crops.

    Raises:
        ConfigError: if a value cannot be used.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        labels: str | Path | None = None,
        name: str = "own",
        batch_size: int = 1,
        num_workers: int = 0,
        sampling: str | Mapping[str, Any] | None = None,
        split: Split = "auto",
        split_index: int = 1,
        split_seed: int = 0,
        split_file: str | None = None,
        store: str | Path | None = None,
        limits: Mapping[str, Any] | None = None,
        seed: int = 0,
        **data: Any,  # noqa: ANN401 (`subset` and `scenes`)
    ) -> None:
        for key in data.keys() - {"subset", "scenes"}:
            known = (*inspect.signature(VideoDataModule).parameters, "subset", "scenes")
            near = did_you_mean(key, [each for each in known if each != "data"])
            raise ConfigError(f"{type(self).__name__} has no argument {key}{near}")
        root, labels, store = (None if each is None else str(each) for each in (root, labels, store))
        super().__init__(
            None,
            batch_size=batch_size,
            num_workers=num_workers,
            sampling=sampling,
            split=SplitSettings(split, split_index, split_seed, split_file),
            store=store,
            limits=_limits(limits or {}),
            seed=seed,
        )
        self.save_hyperparameters()
        self.data = DataSettings(name=name, labels=labels, root=root, **data)

    def open_dataset(self) -> Dataset:
        """Reads the labels and finds the videos; own videos need no labels.

        Raises:
            ConfigError: if there is nothing to read.
            LabelError: if the labels cannot be read, or the folder holds no video.
        """
        root, name = data_root(self.data), self.data.name
        if root is not None and self.data.labels is None and name not in (*LABEL_FILES, "combined", "demo"):
            try:
                label_file(root, name)
            except LabelError:
                return unlabelled(name, root)
        return open_dataset(self.data)


def _limits(values: Mapping[str, Any]) -> DecodeLimits:
    try:
        return DecodeLimits(**values)
    except TypeError as error:
        raise ConfigError(f"limits: {error}; see DecodeLimits") from error


class KoNViD1kDataModule(VideoDataModule):
    """KoNViD-1k, by the owners' label file.

    Args:
        root: folder with the videos; `$UGCVQA_DATA/konvid_1k` if left out.
        labels: the owners' attribute or MOS CSV; by default looked for in `root`.
        options: the other arguments of `VideoDataModule`.
    """

    def __init__(self, root: str | Path | None = None, labels: str | Path | None = None, **options: Any) -> None:  # noqa: ANN401
        super().__init__(root, labels, name="konvid_1k", **options)


class YouTubeUGCDataModule(VideoDataModule):
    """YouTube-UGC, by the owners' label file.

    Args:
        root: folder with the videos; `$UGCVQA_DATA/youtube_ugc` if left out.
        labels: the owners' MOS CSV; by default looked for in `root`.
        subset: `360P`, `480P`, `720P`, `1080P` or `all`; by default the 1,039 videos of the paper.
        options: the other arguments of `VideoDataModule`.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        labels: str | Path | None = None,
        subset: str | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(root, labels, name="youtube_ugc", subset=subset, **options)


class CombinedDataModule(VideoDataModule):
    """KoNViD-1k, its labels aligned to YouTube-UGC, and YouTube-UGC.

    Args:
        root: folder with the videos of both; `$UGCVQA_DATA/combined` if left out.
        labels: folder with both label files; by default `root`.
        options: the other arguments of `VideoDataModule`.
    """

    def __init__(self, root: str | Path | None = None, labels: str | Path | None = None, **options: Any) -> None:  # noqa: ANN401
        super().__init__(root, labels, name="combined", **options)


class DemoDataModule(VideoDataModule):
    """The built-in synthetic set, which is made on first use; its label is a synthetic quality, not a MOS.

    Args:
        scenes: number of scenes, each in six versions.
        options: the other arguments of `VideoDataModule`.
    """

    def __init__(self, scenes: int = 28, **options: Any) -> None:  # noqa: ANN401
        super().__init__(name="demo", scenes=scenes, **options)
