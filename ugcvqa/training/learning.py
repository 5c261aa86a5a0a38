"""Runs Lightning's Trainer on a network: what every training of a head or a backbone has in common."""

import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
)
from torch import nn

from ugcvqa.errors import CheckpointError, ConfigError
from ugcvqa.files import error_reason
from ugcvqa.training.datamodule import TrainingData
from ugcvqa.training.preemption import Preempted, Preemption
from ugcvqa.training.progress import EpochLines
from ugcvqa.training.regressor import QualityRegressor
from ugcvqa.training.throughput import Throughput
from ugcvqa.training_settings import RecipeSettings

log = logging.getLogger(__name__)

_MONITORED = "val/srcc"


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        is_complete: False if a signal stopped it.
        epochs: epochs done.
        best_epoch: epoch of the weights that were kept, counted from 0.
        val_srcc: their validation SRCC.
        rank: number of this process; the first writes the results.
    """

    is_complete: bool
    epochs: int
    best_epoch: int
    val_srcc: float
    rank: int


def train(
    regressor: QualityRegressor,
    data: TrainingData,
    folder: Path,
    recipe: RecipeSettings,
    loggers: Sequence[Any],
    arguments: Mapping[str, Any],
) -> Outcome:
    """Trains a network, goes on from an earlier interruption, and leaves the best weights in it.

    Best is the epoch of the highest validation SRCC, the first of equals. `folder` holds `last.ckpt`, from which an
    interrupted training goes on exactly as it would have gone on, and `best.ckpt`.

    Args:
        regressor: the network with its recipe; gets the best weights.
        data: samples.
        folder: for checkpoints.
        recipe: how to train.
        loggers: Lightning's loggers.
        arguments: arguments of Lightning's Trainer; they win over the recipe.

    Returns:
        How it ended.

    Raises:
        ConfigError: if a Trainer argument cannot be used.
        CheckpointError: if the checkpoint of an interrupted training cannot be used.
    """
    _quiet()
    last, best = folder / "last.ckpt", folder / "best.ckpt"
    callbacks = [*_callbacks(folder, recipe, bool(loggers)), Preemption(str(last))]
    trainer: Any = _trainer(callbacks, recipe, folder, loggers, arguments)
    ckpt_path = str(last) if last.is_file() and not trainer.fast_dev_run else None
    if ckpt_path:
        _check_readable(last)
        log.info("going on from %s", last)
    try:
        trainer.fit(regressor, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    except Preempted:
        return Outcome(False, trainer.current_epoch, 0, float("nan"), trainer.global_rank)
    except (KeyError, RuntimeError) as error:
        if ckpt_path is None or "state_dict" not in str(error):
            raise
        raise CheckpointError(f"{last}: does not fit this network ({error_reason(error)}); delete it") from error
    if trainer.fast_dev_run:
        return Outcome(True, trainer.current_epoch, 0, float("nan"), trainer.global_rank)
    trainer.strategy.barrier("checkpoints are written")
    kept = torch.load(best, map_location="cpu", weights_only=True)
    regressor.load_state_dict(kept["state_dict"])
    regressor.cpu().eval()
    return Outcome(True, trainer.current_epoch, int(kept["epoch"]), best_score(folder), trainer.global_rank)


def best_score(folder: Path) -> float:
    """Validation SRCC of the weights that a training kept in its folder."""
    kept = torch.load(folder / "best.ckpt", map_location="cpu", weights_only=True)
    return float(kept["callbacks"][_state_key(kept["callbacks"])]["current_score"])


@torch.no_grad()
def predict(network: nn.Module, data: TrainingData, device: torch.device) -> npt.NDArray[np.float64]:
    """Computes the relative scores of the videos that a data module validates on, in this process.

    Args:
        network: maps frames and lengths to relative scores.
        data: its validation videos are rows 0, 1, ... of the source.
        device: where to compute.

    Returns:
        (N,) scores in the order of the rows.
    """
    network.to(device).eval()
    scores = np.empty(len(data.val))
    for batch in data.val_dataloader():
        scores[batch.rows.numpy()] = network(batch.frames.to(device), batch.lengths).double().cpu().numpy()
    return scores


def _check_readable(path: Path) -> None:
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle or archive can raise nearly anything
        raise CheckpointError(
            f"{path}: cannot be read ({error_reason(error)}); delete it to train from the beginning"
        ) from error


def _state_key(states: Mapping[str, Any]) -> str:
    """Key of the checkpoint callback that watches the validation figure."""
    return next(key for key in states if key.startswith("ModelCheckpoint") and repr(_MONITORED) in key)


def _callbacks(folder: Path, recipe: RecipeSettings, has_logger: bool) -> list[Callback]:
    callbacks: list[Callback] = [EpochLines()]
    if recipe.ema:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema))
    if recipe.patience:
        callbacks.append(EarlyStopping(_MONITORED, mode="max", patience=recipe.patience, check_finite=False))
    if has_logger:
        callbacks += [LearningRateMonitor("epoch"), Throughput()]
    common: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "auto_insert_metric_name": False}
    # `last` comes second, so that it knows what `best` has just kept.
    callbacks.append(ModelCheckpoint(filename="best", monitor=_MONITORED, mode="max", **common))
    callbacks.append(ModelCheckpoint(filename="last", **common))
    return callbacks


def _trainer(
    callbacks: list[Callback],
    recipe: RecipeSettings,
    folder: Path,
    loggers: Sequence[Any],
    arguments: Mapping[str, Any],
) -> Trainer:
    defaults = {
        "accelerator": "auto" if torch.cuda.is_available() else "cpu",
        "devices": "auto" if torch.cuda.is_available() else 1,
        "max_epochs": recipe.epochs,
        "gradient_clip_val": recipe.clip_norm or None,
        "logger": list(loggers) or False,
        "log_every_n_steps": 1,
        "default_root_dir": folder,
        "num_sanity_val_steps": 0,
        "enable_model_summary": False,
        "enable_progress_bar": sys.stdout.isatty(),
        "use_distributed_sampler": False,
    }
    try:
        return Trainer(**{**defaults, **arguments, "callbacks": callbacks})
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"--trainer {dict(arguments)}: {error}") from error


def _quiet() -> None:
    """Hides Lightning's hints: what matters is said by us."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
