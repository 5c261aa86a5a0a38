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
from ugcvqa.features.extraction import VideoResult, keep_result
from ugcvqa.features.family import Family
from ugcvqa.features.precisions import open_parts, settled
from ugcvqa.features.store import FeatureStore
from ugcvqa.features.stream import Task
from ugcvqa.files import write_atomic
from ugcvqa.launchers import is_main_process, launch
from ugcvqa.leftovers import temporary_path
from ugcvqa.machine import n_cores
from ugcvqa.meeting import Meeting
from ugcvqa.models.extractor import Extractor
from ugcvqa.progress import progress_bar
from ugcvqa.settings.data import DecodeLimits, LoaderSettings
from ugcvqa.settings.features import FamilySettings
from ugcvqa.trainer import EXTRACTION, build_trainer, default_devices, is_placed_by, root_device, running, tell_place

log = logging.getLogger(__name__)

_NOT_PROCESSED = "not processed: the run was limited by --trainer"
_WARNINGS = "warnings"
_SHOWN = 10  # lines on the screen, the file has all


class FeatureWriter(Callback):
    """Writes each video's features to the store as soon as the video is over; lists failures and warnings at the end.

    Args:
        tasks: the videos, as given to the data module.
        families: the feature families.
        store: where features go.
        failure_file: CSV file that the first process writes at the end, with the failures of all processes.
        failures: video id -> reason of videos that failed before.
        warning_file: CSV file that it writes too, with what makes scores of the others doubtful.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        families: Mapping[str, Family],
        store: FeatureStore,
        failure_file: Path,
        failures: Mapping[str, str],
        warning_file: Path,
    ) -> None:
        self.tasks, self.store, self.failure_file, self.warning_file = tasks, store, failure_file, warning_file
        self.specs = {name: family.spec for name, family in families.items()}
        self.failures, self.warnings = dict(failures), dict[str, str]()
        # What other processes find comes back through a file of this run alone.
        self.is_over = False
        self.outcome_file = temporary_path(store.root, ".outcome.csv")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes this process's videos, and starts the progress bar in the first process."""
        self._unfinished = set(range(trainer.global_rank, len(self.tasks), trainer.world_size))
        self._bar = progress_bar(len(self.tasks), "video", "extract", is_shown=trainer.is_global_zero)
        self._meeting = Meeting(trainer, self.store.root)

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: object) -> None:  # noqa: ANN401
        """Stores the videos that are over."""
        for video in outputs:
            self._finish(video.result)
            # The other processes are about as far as this one.
            self._bar.update(min(trainer.world_size, len(self.tasks) - self._bar.n))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gathers the failures of all processes, however long the others still take, and writes them."""
        self._bar.close()
        for task in self._unfinished:
            self.failures[self.tasks[task].video_id] = _NOT_PROCESSED
        told = json.dumps([self.failures, self.warnings]).encode()
        for failures, doubts in map(json.loads, self._meeting.exchange(told)):
            self.failures |= failures
            self.warnings |= doubts
        if trainer.is_global_zero:
            write_atomic(self.warning_file, failure_rows(self.warnings, _WARNINGS))
            write_atomic(self.outcome_file, failure_rows(self.failures))
            write_atomic(self.failure_file, failure_rows(self.failures))
        self.is_over = True
        trainer.strategy.barrier("failures are written")

    def outcome(self) -> dict[str, str]:
        """Video id -> reason of all videos whose features are not in the store, once the Trainer is through.

        Forked processes leave it in a file; elsewhere each process has gathered it. Where neither is there, the
        Trainer has not run at all.
        """
        if not self.is_over and not self.outcome_file.is_file():
            self.failures |= {task.video_id: _NOT_PROCESSED for task in self.tasks}
            write_atomic(self.failure_file, failure_rows(self.failures))
        elif not self.is_over:
            self.failures = read_failures(self.outcome_file)
            self.warnings = read_failures(self.warning_file, _WARNINGS)
        self.outcome_file.unlink(missing_ok=True)
        return self.failures

    def _finish(self, result: VideoResult) -> None:
        video_id = self.tasks[result.task].video_id
        self._unfinished.discard(result.task)
        if result.reason:
            self.failures[video_id] = result.reason
        elif result.warnings:
            self.warnings[video_id] = "; ".join(result.warnings)
        keep_result(self.store, self.specs, video_id, result)
        for arrays in result.features.values():
            if n_empty := int(arrays.get("n_empty", 0)):
                log.warning("%s: frames without a saliency map, for which zeros stand: %d", video_id, n_empty)


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
    failures = {video.video_id: "no file found" for video in dataset.videos if video.path is None}
    data = QualityDataModule(
        dataset, batch_size=loader.batch_size, num_workers=loader.workers, store=store.root, limits=limits
    )
    tasks = data.tasks
    failure_file = store.root / f"failures-{dataset.name}.csv"
    store.prepare()
    if tasks:
        is_light = all(family.is_light for family in families.values())
        if not is_light:
            keep_freed_memory()
        warning_file = store.root / f"warnings-{dataset.name}.csv"
        writer = FeatureWriter(tasks, families, store, failure_file, failures, warning_file)
        devices = _devices(len(tasks), is_light, trainer)
        _predict(writer, Extractor(families), data, devices, trainer)
        failures = writer.outcome()
        tell_warnings(writer.warnings, warning_file)
    else:
        write_atomic(failure_file, failure_rows(failures))
    if failures and is_main_process():
        log.warning("%d videos failed, see %s", len(failures), failure_file)
    return failures


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


def tell_warnings(warnings: Mapping[str, str], file: Path) -> None:
    """Says which videos will have a score with a warning, the first ones by name."""
    if not warnings or not is_main_process():
        return
    log.warning("%d videos whose score will have a warning, see %s", len(warnings), file)
    for video_id, text in sorted(warnings.items())[:_SHOWN]:
        log.warning("  %s: %s", video_id, text)
    if len(warnings) > _SHOWN:
        log.warning("  .. and %d more", len(warnings) - _SHOWN)


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
    writer.store.device = trainer.strategy.root_device.type
    tell_place(trainer, "extracts", data.n_workers(trainer))
    with running():
        trainer.predict(extractor, datamodule=data, return_predictions=False)
