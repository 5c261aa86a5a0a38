"""Runs Lightning's Trainer on a network: what every training of a head or a backbone has in common."""

import logging
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from torch import nn
from torch.multiprocessing.spawn import ProcessRaisedException

from ugcvqa.datamodules.samples import SampleDataModule
from ugcvqa.devices import float32_products
from ugcvqa.errors import CheckpointError, ConfigError
from ugcvqa.files import error_reason
from ugcvqa.launchers import is_main_process
from ugcvqa.models.regressor import QualityRegressor, recipe_callbacks
from ugcvqa.processes import loader_errors
from ugcvqa.settings.training import RecipeSettings
from ugcvqa.trainer import TRAINING, build_trainer, default_devices, has_logger, running, tell_place
from ugcvqa.training.checkpoints import Checkpoints, SealedCheckpoints, best, digest, score
from ugcvqa.training.preemption import Preempted, Preemption
from ugcvqa.training.progress import EpochLines, Throughput

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        is_complete: False if a signal stopped it.
        epochs: epochs done.
        best_epoch: epoch of the weights that were kept, counted from 0.
        val_srcc: their validation SRCC; NaN where it was never defined.
        rank: number of this process; the first writes the results.
    """

    is_complete: bool
    epochs: int
    best_epoch: int
    val_srcc: float
    rank: int


def train(
    regressor: QualityRegressor,
    data: SampleDataModule,
    folder: Path,
    record: Mapping[str, Any],
    loggers: Sequence[Any],
    arguments: Mapping[str, Any],
) -> Outcome:
    """Trains a network, resuming an interrupted training, and leaves the best weights in it.

    Best is the epoch of the highest validation SRCC, the first of equals; where it was never defined, the last weights
    are kept, with a warning. `folder` holds `last.ckpt`, from which an interrupted training resumes exactly as if
    it had never stopped, `best.ckpt`, and the state before each.

    Args:
        regressor: the network with its recipe; gets the best weights.
        data: samples.
        folder: for checkpoints.
        record: plain values that tell this training from others.
        loggers: Lightning's loggers.
        arguments: arguments of Lightning's Trainer; they win over the recipe, or are added, see `trainer`.

    Returns:
        How it ended.

    Raises:
        ConfigError: if a Trainer argument cannot be used, or the training diverged.
        CheckpointError: if no checkpoint of an interrupted training can be used.
    """
    _check_lengths(arguments)
    recipe = regressor.recipe
    store = SealedCheckpoints(folder, _fingerprint(regressor, data, record))
    regressor.recipe = _as_asked(recipe, arguments)
    callbacks = [*_callbacks(store, recipe, has_logger(loggers, arguments)), Preemption(str(folder / "last.ckpt"))]
    trainer: Any = _trainer(callbacks, recipe, store, loggers, arguments)
    started = None if trainer.fast_dev_run else _state(store)
    tell_place(trainer, "trains", data.workers)
    if started:
        log.info("going on from %s", started)
    elif not trainer.fast_dev_run:
        _warn_of_undefined_srcc(data)
    try:
        with running():
            trainer.fit(regressor, datamodule=data, ckpt_path=started and str(started), weights_only=True)
    except Preempted:
        return Outcome(False, trainer.current_epoch, 0, math.nan, trainer.global_rank)
    except ProcessRaisedException as error:
        if Preempted.__name__ not in str(error):
            raise
        return Outcome(False, trainer.current_epoch, 0, math.nan, trainer.global_rank)
    except (KeyError, RuntimeError) as error:
        if str(error).startswith("Early stopping conditioned"):
            raise ConfigError(f"--trainer: {error_reason(error)}") from error
        if started is None or "state_dict" not in str(error):
            raise
        raise CheckpointError(f"{started}: does not fit this network ({error_reason(error)}); delete it") from error
    if trainer.fast_dev_run:
        return Outcome(True, trainer.current_epoch, 0, math.nan, trainer.global_rank)
    trainer.strategy.barrier("checkpoints are written")
    return _finished(regressor, store, trainer.global_rank)


def _finished(regressor: QualityRegressor, store: SealedCheckpoints, rank: int) -> Outcome:
    """Puts the best weights into a trained network, or the last ones where no epoch was best."""
    last = store.usable("last")
    if last is None:
        raise ConfigError("--trainer: nothing was trained: no step was done; raise its limits")
    epochs = int(last[1]["epoch"]) + 1
    kept, val_srcc = best(store), math.nan
    if kept:
        val_srcc = score(kept)
    else:
        kept = last[1]
        if is_main_process():
            log.warning("no epoch had a defined validation SRCC: the weights of the last epoch are kept")
    if not all(bool(torch.isfinite(value).all()) for value in kept["state_dict"].values()):
        raise ConfigError(
            "the training diverged: its weights are not finite; lower lr in its recipe, under another --name"
        )
    regressor.load_state_dict(kept["state_dict"])
    regressor.cpu().eval()
    return Outcome(True, epochs, int(kept["epoch"]), val_srcc, rank)


def _state(store: SealedCheckpoints) -> Path | None:
    """The checkpoint from which a training resumes.

    Raises:
        CheckpointError: if there is one and it cannot be used.
    """
    try:
        found = store.usable("last")
    except CheckpointError as error:
        raise CheckpointError(f"{error}; delete it to train from the beginning") from error
    return found and found[0]


def _as_asked(recipe: RecipeSettings, arguments: Mapping[str, Any]) -> RecipeSettings:
    """The recipe, without its bound on gradients where a user asks for none."""
    is_unbounded = "gradient_clip_val" in arguments and arguments["gradient_clip_val"] is None
    return replace(recipe, clip_norm=0.0) if is_unbounded else recipe


def _check_lengths(arguments: Mapping[str, Any]) -> None:
    """Checks that a training has an end and a step.

    Raises:
        ConfigError: if not.
    """
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        value = arguments.get(name)
        if value is not None and not value > 0 and not (name == "max_steps" and value == -1):
            raise ConfigError(
                f"--trainer.{name} {value}: a training needs an end and at least one step; give more than 0"
            )


def _warn_of_undefined_srcc(data: SampleDataModule) -> None:
    """Warns at the start of a training that its validation SRCC will be undefined."""
    if len({float(data.source.mos[row]) for row in data.val}) < 2 and is_main_process():
        log.warning(
            "the %d validation videos have not two labels: SRCC is undefined, the last weights will be kept",
            len(data.val),
        )


def _fingerprint(regressor: QualityRegressor, data: SampleDataModule, record: Mapping[str, Any]) -> str:
    """Identifies a training by settings, videos and labels: it must not resume from a checkpoint of another one."""
    labels = [(int(row), float(data.source.mos[row])) for rows in (data.train, data.val) for row in rows]
    known = {**record, "label_scale": regressor.label_scale}
    return digest([known, asdict(regressor.recipe), len(data.train), labels])


@torch.no_grad()
@float32_products()
def predict(network: nn.Module, data: SampleDataModule, device: torch.device) -> npt.NDArray[np.float64]:
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
    with loader_errors():
        for batch in data.val_dataloader():
            scores[batch.rows.numpy()] = network(batch.frames.to(device), batch.lengths).double().cpu().numpy()
    return scores


def _callbacks(store: SealedCheckpoints, recipe: RecipeSettings, is_logged: bool) -> list[Callback]:
    callbacks: list[Callback] = [EpochLines(), *recipe_callbacks(recipe)]
    if is_logged:
        callbacks += [LearningRateMonitor("epoch"), Throughput()]
    return [*callbacks, Checkpoints(store)]


def _trainer(
    callbacks: list[Callback],
    recipe: RecipeSettings,
    store: SealedCheckpoints,
    loggers: Sequence[Any],
    arguments: Mapping[str, Any],
) -> Trainer:
    ours = {
        **default_devices(),
        "max_epochs": recipe.epochs,
        "gradient_clip_val": recipe.clip_norm or None,
        "logger": list(loggers),
        "log_every_n_steps": 1,
        "default_root_dir": store.folder,
        "num_sanity_val_steps": 0,
        "enable_model_summary": False,
        "enable_progress_bar": sys.stdout.isatty(),
        "use_distributed_sampler": False,
        "callbacks": callbacks,
        "plugins": [store],
    }
    return build_trainer(ours, arguments, TRAINING)
