"""Extraction of a data set into the store: the callback that writes, and the run of Lightning's Trainer around it."""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ugcvqa.datamodules.base import QualityDataModule
from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.deep.kept_memory import keep_freed_memory
from ugcvqa.display.lines import failure_rows, read_failures
from ugcvqa.features.extraction import VideoResult
from ugcvqa.features.family import Family
from ugcvqa.features.precisions import open_parts, settled
from ugcvqa.features.store import FeatureStore
from ugcvqa.features.stream import Task
from ugcvqa.files import write_atomic
from ugcvqa.launchers import launch
from ugcvqa.leftovers import temporary_path
from ugcvqa.machine import n_cores
from ugcvqa.meeting import Meeting
from ugcvqa.models.extractor import Extractor
from ugcvqa.models.outcome import WARNINGS, Outcome
from ugcvqa.progress import progress_bar
from ugcvqa.settings.data import DecodeLimits, LoaderSettings
from ugcvqa.settings.features import FamilySettings
from ugcvqa.trainer import EXTRACTION, build_trainer, default_devices, is_placed_by, root_device, running, tell_place

log = logging.getLogger(__name__)

_NOT_PROCESSED = "not processed: the run was limited by --trainer"


class FeatureWriter(Callback):
    """Writes each video's features to the store as soon as the video is over; lists failures and warnings at the end.

    Args:
        tasks: the videos, as given to the data module.
        outcome: keeps the results; the first process writes those of all processes at the end.
    """

    def __init__(self, tasks: Sequence[Task], outcome: Outcome) -> None:
        self.tasks, self.outcome = tasks, outcome
        # What other processes find comes back through a file of this run alone.
        self.is_over = False
        self.outcome_file = temporary_path(outcome.store.root, ".outcome.csv")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes this process's videos, and starts the progress bar in the first process."""
        self._unfinished = set(range(trainer.global_rank, len(self.tasks), trainer.world_size))
        self._bar = progress_bar(len(self.tasks), "video", "extract", is_shown=trainer.is_global_zero)
        self._meeting = Meeting(trainer, self.outcome.store.root)

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: object) -> None:  # noqa: ANN401
        """Stores the videos that are over."""
        for video in outputs:
            self._finish(video.result)
            # The other processes are about as far as this one.
            self._bar.update(min(trainer.world_size, len(self.tasks) - self._bar.n))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gathers the failures of all processes, however long the others still take, and writes them."""
        self._bar.close()
        outcome = self.outcome
        for task in self._unfinished:
            outcome.failures[self.tasks[task].video_id] = _NOT_PROCESSED
        told = json.dumps([outcome.failures, outcome.warnings]).encode()
        for failures, doubts in map(json.loads, self._meeting.exchange(told)):
            outcome.failures |= failures
            outcome.warnings |= doubts
        if trainer.is_global_zero:
            outcome.write()
            write_atomic(self.outcome_file, failure_rows(outcome.failures))
        self.is_over = True
        trainer.strategy.barrier("failures are written")

    def complete(self) -> None:
        """Completes the outcome by what all processes have found, once the Trainer has finished.

        Forked processes leave it in a file; elsewhere each process has gathered it. Where neither is there, the
        Trainer has not run at all.
        """
        outcome = self.outcome
        if not self.is_over and not self.outcome_file.is_file():
            outcome.failures |= {task.video_id: _NOT_PROCESSED for task in self.tasks}
            outcome.write()
        elif not self.is_over:
            outcome.failures = read_failures(self.outcome_file)
            outcome.warnings = read_failures(outcome.warning_file, WARNINGS)
        self.outcome_file.unlink(missing_ok=True)

    def _finish(self, result: VideoResult) -> None:
        video_id = self.tasks[result.task].video_id
        self._unfinished.discard(result.task)
        self.outcome.add(video_id, result)
        for arrays in result.features.values():
            if n_empty := int(arrays.get("n_empty", 0)):
                log.warning("%s: %d frames have no saliency map and count as zeros", video_id, n_empty)


def extract_dataset(
    dataset: Dataset,
    families: Mapping[str, Family],
    store: FeatureStore,
    loader: LoaderSettings,
    limits: DecodeLimits,
    trainer: Mapping[str, Any],
) -> dict[str, str]:
    """Extracts what the store lacks, driven by Lightning's Trainer.

    Args:
        dataset: the videos; those without a file count as failed.
        families: the feature families.
        store: where features go.
        loader: how clips are read.
        limits: bounds on what is decoded.
        trainer: arguments of Lightning's Trainer; callbacks, loggers and plugins are added to ours.

    Returns:
        Video id -> reason for each failed video; also written to STORE/failures-NAME.csv. What makes scores of the
        others doubtful is logged, and written to STORE/warnings-NAME.csv.

    Raises:
        ConfigError: if a Trainer argument cannot be used.
        StoreError: if the store cannot be written.
        UgcvqaError: if a process was killed.
    """
    data = QualityDataModule(
        dataset, batch_size=loader.batch_size, num_workers=loader.workers, store=store.root, limits=limits
    )
    tasks, outcome = data.tasks, Outcome(dataset, families, store)
    store.prepare()
    if tasks:
        is_light = all(family.is_light for family in families.values())
        if not is_light:
            keep_freed_memory()
        writer = FeatureWriter(tasks, outcome)
        _predict(writer, Extractor(families), data, _devices(len(tasks), is_light, trainer), trainer)
        writer.complete()
    else:
        outcome.write()
    outcome.report()
    return outcome.failures


def settled_on(
    settings: FamilySettings, names: Sequence[str], store: Path, trainer: Mapping[str, Any], can_use_gpu: bool = True
) -> FamilySettings:
    """Settles each precision `auto` of families for the device of a Trainer, see `precisions.settled`.

    Args:
        settings: of the families.
        names: the families.
        store: folder of the feature store.
        trainer: a user's arguments of the Trainer.
        can_use_gpu: whether a GPU is used where there is one.
    """
    if not open_parts(settings, names):
        return settings
    # CUDA must not begin before a process forks; such a strategy is then in float32
    is_forked = any(word in str(trainer.get("strategy")) for word in ("fork", "notebook"))
    is_on_gpu = can_use_gpu and torch.cuda.is_available() and not is_forked
    return settled(settings, names, store, str(root_device(trainer)) if is_on_gpu else "cpu")


def _devices(n_videos: int, is_light: bool, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a Trainer gets where the user leaves it open: GPUs for networks, else a CPU process per core and video.

    Light families leave a GPU idle, as their work for each frame is too small for it.
    """
    if not is_light or asked.get("accelerator") not in (None, "cpu"):
        return default_devices()
    is_placed = is_placed_by(asked) or asked.get("accelerator") is not None or launch().world > 1
    processes = min(n_cores(), n_videos)
    if is_placed or processes < 2 or not sys.platform.startswith("linux"):
        return {"accelerator": "cpu", "devices": 1}
    return {"accelerator": "cpu", "devices": processes, "strategy": "ddp_fork"}


def _predict(
    writer: FeatureWriter,
    extractor: Extractor,
    data: QualityDataModule,
    devices: Mapping[str, Any],
    asked: Mapping[str, Any],
) -> None:
    """Runs `Trainer.predict`: no logs, no checkpoints, unless asked for; errors of other processes become ours."""
    quiet = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    added = {"callbacks": [writer], "logger": [], "plugins": []}
    trainer = build_trainer({**quiet, **added, **devices, "use_distributed_sampler": False}, asked, EXTRACTION)
    writer.outcome.store.device = trainer.strategy.root_device.type
    tell_place(trainer, "extracts", data.n_workers(trainer))
    with running():
        trainer.predict(extractor, datamodule=data, return_predictions=False)
