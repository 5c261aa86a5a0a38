"""`ugcvqa extract`: features of the videos of a data set, into the store."""

import csv
import io
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ugcvqa.cli import run_verb
from ugcvqa.datasets import Dataset
from ugcvqa.errors import ConfigError
from ugcvqa.files import write_atomic
from ugcvqa.inputs import DataSettings, open_dataset
from ugcvqa.rows import FamilySettings, families_of
from ugcvqa.store import FeatureStore
from ugcvqa.video import DecodeLimits

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoaderSettings:
    """How clips are read; changes speed, never a result.

    Attributes:
        batch_size: clips per step.
        workers: decoding processes per device; -1 takes the free cores, 8 at most; 0 decodes in the main process.
    """

    batch_size: int = 1
    workers: int = -1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.workers < -1:
            raise ConfigError(
                f"batch_size {self.batch_size}, workers {self.workers}: at least one clip per batch, and -1, 0 or "
                "more workers are needed"
            )

    @property
    def n_workers(self) -> int:
        """Decoding processes per device, with -1 resolved."""
        return self.workers if self.workers >= 0 else min(8, max(0, (os.cpu_count() or 1) - 1))


def extract(
    data: DataSettings = DataSettings(),
    rows: list[str] = ["NSS"],
    families: FamilySettings = FamilySettings(),
    store: str = "store",
    loader: LoaderSettings = LoaderSettings(),
    limits: DecodeLimits = DecodeLimits(),
    trainer: dict[str, Any] = {},
) -> int:
    """Computes the features of a data set's videos and keeps them in the store.

    Videos whose features are in the store are skipped, so an interrupted run is continued by the same command.
    A video that fails becomes a row of STORE/failures-NAME.csv and the rest goes on; the exit code is then 1.

    Args:
        data: the videos.
        rows: feature rows whose parts are wanted.
        families: settings of the feature families.
        store: folder of the feature store.
        loader: how clips are read.
        limits: bounds on what is decoded.
        trainer: arguments of Lightning's Trainer, such as devices, num_nodes, strategy, accelerator.
    """
    names = tuple(dict.fromkeys(name for row in rows for name in families_of(row)))
    if not names:
        raise ConfigError("no row given; use for example --rows [NSS]")
    dataset = open_dataset(data)
    failures = extract_dataset(dataset, names, families, FeatureStore(Path(store)), loader, limits, trainer)
    if is_main_process():
        sys.stdout.write(
            f"{len(dataset.videos) - len(failures)} of {len(dataset.videos)} videos of {dataset.name} have "
            f"{' + '.join(names)} features in {store}\n"
        )
    return 1 if failures else 0


def extract_dataset(
    dataset: Dataset,
    names: tuple[str, ...],
    families: FamilySettings,
    store: FeatureStore,
    loader: LoaderSettings,
    limits: DecodeLimits,
    trainer: dict[str, Any],
) -> dict[str, str]:
    """Extracts what the store lacks, driven by Lightning's Trainer.

    Args:
        dataset: the videos; those without a file count as failed.
        names: feature families.
        families: their settings.
        store: where features go.
        loader: how clips are read.
        limits: bounds on what is decoded.
        trainer: arguments of Lightning's Trainer.

    Returns:
        Video id -> reason for each failed video; also written to STORE/failures-NAME.csv.

    Raises:
        ConfigError: if a Trainer argument cannot be used.
        StoreError: if the store cannot be written.
    """
    from ugcvqa.data import ClipData
    from ugcvqa.extraction import Task
    from ugcvqa.extractors import FeatureWriter, FrozenExtractor, build_trainer

    failures = {video.video_id: "no file found" for video in dataset.videos if video.path is None}
    tasks = [Task(video.video_id, str(video.path)) for video in dataset.videos if video.path is not None]
    if tasks:
        writer = FeatureWriter(tasks, names, families, store)
        clips = ClipData(tasks, names, families, store, limits, loader.batch_size, loader.n_workers)
        extractor = FrozenExtractor(names, families)
        build_trainer(writer, trainer).predict(extractor, datamodule=clips, return_predictions=False)
        failures |= {tasks[task].video_id: reason for task, reason in sorted(writer.failures.items())}
    if is_main_process():
        path = store.root / f"failures-{dataset.name}.csv"
        write_atomic(path, failure_rows(failures).encode("utf-8", "surrogateescape"))
        if failures:
            log.warning("%d videos failed, see %s", len(failures), path)
    return failures


def is_main_process() -> bool:
    """Whether this process, among those that Lightning or SLURM started, is the one that reports."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def failure_rows(failures: dict[str, str]) -> str:
    """CSV text of failed videos: video_id, reason."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["video_id", "reason"])
    table.writerows(failures.items())
    return text.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the verb and returns its exit code."""
    return run_verb(extract, argv, "ugcvqa extract")


if __name__ == "__main__":
    sys.exit(main())
