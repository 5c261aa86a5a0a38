"""Frozen extractors under Lightning: the module that computes, and the callback that writes to the store."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor
from tqdm import tqdm

from ugcvqa.errors import ConfigError
from ugcvqa.extraction import Assembler, Item, Task, VideoResult, assemble, compute, video_facts
from ugcvqa.families import build_families
from ugcvqa.rows import FamilySettings
from ugcvqa.store import FeatureStore


class FrozenExtractor(LightningModule):
    """Computes the features of feature families; nothing in it is trained.

    Args:
        names: feature families.
        settings: their settings.
    """

    def __init__(self, names: tuple[str, ...], settings: FamilySettings) -> None:
        super().__init__()
        self.families = build_families(names, settings)

    def predict_step(self, batch: Sequence[Item], batch_idx: int) -> list[Tensor | None]:
        """Computes each item of a batch; None for an item that ends a video."""
        del batch_idx
        return compute(self.families, batch)


class FeatureWriter(Callback):
    """Writes each video's features to the store as soon as the video is over, and gathers failures.

    Args:
        tasks: the videos, as given to the data module.
        names: feature families.
        settings: their settings.
        store: where features go.
    """

    def __init__(
        self, tasks: Sequence[Task], names: tuple[str, ...], settings: FamilySettings, store: FeatureStore
    ) -> None:
        self.tasks, self.store = tasks, store
        self.specs = {name: settings.spec(name) for name in names}
        self.failures: dict[int, str] = {}
        self.extracted = 0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the assembly and the progress bar of this rank's videos."""
        self._assembler = Assembler(cast(FrozenExtractor, pl_module).families)
        mine = len(range(trainer.global_rank, len(self.tasks), trainer.world_size))
        self._bar = tqdm(total=mine, unit="video", desc="extract", disable=not trainer.is_global_zero, mininterval=1)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's signature)
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Assembles what was computed and stores the videos that are over."""
        for result in assemble(self._assembler, batch, outputs):
            self._finish(result)
            self._bar.update()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gathers the failures of all ranks."""
        self._bar.close()
        if trainer.world_size > 1:
            gathered: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(gathered, (self.failures, self.extracted))
            self.failures = {task: reason for failures, _ in gathered for task, reason in failures.items()}
            self.extracted = sum(extracted for _, extracted in gathered)

    def _finish(self, result: VideoResult) -> None:
        if result.reason:
            self.failures[result.task] = result.reason
            return
        facts = video_facts(result.info)
        for name, vector in result.features.items():
            self.store.put(self.specs[name], result.content, {"video": vector}, facts)
        for spec in self.specs.values():
            self.store.put_name(spec, self.tasks[result.task].video_id, result.content)
        self.extracted += bool(result.features)


def build_trainer(writer: FeatureWriter, arguments: Mapping[str, Any]) -> Trainer:
    """Builds a Trainer for extraction: no logs, no checkpoints, devices as asked for.

    Args:
        writer: stores what is computed.
        arguments: further arguments of Lightning's Trainer, such as devices, num_nodes, strategy.

    Raises:
        ConfigError: if an argument is unknown or cannot be used here.
    """
    # Lightning's hints are about training; what matters here is said by us.
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    try:
        return Trainer(**{**quiet, "callbacks": [writer], "use_distributed_sampler": False, **arguments})
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"--extraction.trainer {dict(arguments)}: {error}") from error
