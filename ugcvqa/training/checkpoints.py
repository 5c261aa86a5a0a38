"""Checkpoints that survive a kill at any moment: written whole, the previous one kept, checked when they are read.

Beside `last.ckpt` and `best.ckpt` stand `last.previous.ckpt` and `best.previous.ckpt` while a training goes on. Every
file carries a digest of its content and the name of the training it belongs to, so that a damaged or foreign one is
seen before anything is taken from it.
"""

import contextlib
import hashlib
import logging
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor

from ugcvqa.errors import CheckpointError
from ugcvqa.files import error_reason, written_atomically
from ugcvqa.launchers import is_main_process
from ugcvqa.leftovers import temporary_path
from ugcvqa.models.regressor import MONITORED

log = logging.getLogger(__name__)

_SEAL = "ugcvqa"  # key of what we add to a checkpoint
_STATE = "training.checkpoints.Checkpoints"  # key of the state of our callback
_NAMES = ("last", "best")


class SealedCheckpoints(CheckpointIO):
    """Writes and reads the checkpoints of one training.

    Args:
        folder: where `last.ckpt` and `best.ckpt` are; the previous state of these is kept.
        training: what the training is of; a checkpoint of another one is not read.
    """

    def __init__(self, folder: Path, training: str) -> None:
        self.folder, self.training = folder, training
        self._sound: set[Path] = set()  # files that this process has read or written whole

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ANN401
        """Writes a checkpoint, which appears whole or not at all.

        Raises:
            StoreError: if it cannot be written.
        """
        del storage_options
        path = Path(path)
        content = {key: value for key, value in checkpoint.items() if key != _SEAL}
        seal = {"training": self.training, "digest": digest(content)}
        if path.parent == self.folder and path.stem in _NAMES:
            self._keep_previous(path)
        with written_atomically(path) as file:
            torch.save({**content, _SEAL: seal}, file)
        self._sound.add(path)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:  # noqa: ANN401
        """Reads a checkpoint without running code from it.

        Raises:
            CheckpointError: if it is damaged or of another training.
        """
        del weights_only
        try:
            kept = torch.load(path, map_location=map_location, weights_only=True)
        except Exception as error:  # a damaged pickle or archive can raise nearly anything
            raise CheckpointError(f"{path}: cannot be read ({error_reason(error)})") from error
        seal = kept.pop(_SEAL, None) if isinstance(kept, dict) else None
        if not isinstance(seal, dict) or seal.get("digest") != digest(kept):
            raise CheckpointError(f"{path}: is damaged, or not a checkpoint of this version")
        if seal.get("training") != self.training:
            raise CheckpointError(f"{path}: is of a training with other videos, labels, features or settings")
        return dict(kept)

    def remove_checkpoint(self, path: Any) -> None:  # noqa: ANN401
        """Deletes a checkpoint."""
        Path(path).unlink(missing_ok=True)

    def usable(self, name: str) -> tuple[Path, dict[str, Any]] | None:
        """The newest state under a name that can be used, with its content; says which ones cannot.

        Returns:
            None if there is no file.

        Raises:
            CheckpointError: if there are files, and none can be used.
        """
        problem: CheckpointError | None = None
        for path in (self.folder / f"{name}.ckpt", self.folder / f"{name}.previous.ckpt"):
            if not path.exists():
                continue
            try:
                kept = self.load_checkpoint(path)
            except CheckpointError as error:
                problem = problem or error
                continue
            self._sound.add(path)
            if problem and is_main_process():
                log.warning("%s; the state before it is used", problem)
            return path, kept
        if problem:
            raise problem
        return None

    def _keep_previous(self, path: Path) -> None:
        """Keeps the present state under a second name; a damaged file never replaces a sound one."""
        if not path.exists():
            return
        if path not in self._sound:
            try:
                self.load_checkpoint(path)
            except CheckpointError:
                path.rename(path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}"))
                return
        previous, link = path.with_name(f"{path.stem}.previous.ckpt"), temporary_path(path.parent)
        try:
            os.link(path, link)  # so that the state never lacks its own name
            link.replace(previous)
        except OSError:  # a file system without links, or a folder that bears the name
            with contextlib.suppress(OSError):
                path.replace(previous)
        finally:
            link.unlink(missing_ok=True)  # it stays where both are one file already


class Checkpoints(Checkpoint):
    """Saves `best.ckpt` after a validation with a higher SRCC, the first of equals, and `last.ckpt` after each epoch.

    An undefined SRCC is lower than any other. As long as none was defined, no best is kept.
    """

    def __init__(self, store: SealedCheckpoints) -> None:
        self.store = store
        self.score = -math.inf

    @property
    def state_key(self) -> str:
        """Name of the state in a checkpoint."""
        return _STATE

    def state_dict(self) -> dict[str, Any]:
        """The best SRCC so far."""
        return {"score": self.score}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the best SRCC from the file that holds its weights, whatever an earlier run remembered."""
        self.score = -math.inf if (kept := best(self.store)) is None else score(kept)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends at once a training that had stopped early and was then killed before its results were written."""
        stops = [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]  # type: ignore[attr-defined]
        trainer.should_stop = trainer.should_stop or any(callback.stopped_epoch for callback in stops)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the best weights."""
        figure = float(trainer.callback_metrics.get(MONITORED, math.nan))
        if not trainer.sanity_checking and not trainer.fast_dev_run and figure > self.score:  # type: ignore[attr-defined]
            self.score = figure
            trainer.save_checkpoint(self.store.folder / "best.ckpt")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the state from which the training goes on."""
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self.store.folder / "last.ckpt")


def best(store: SealedCheckpoints) -> dict[str, Any] | None:
    """The checkpoint with the best weights; None if there is none that can be used, which is said where it was lost."""
    try:
        found = store.usable("best")
    except CheckpointError as error:
        if is_main_process():
            log.warning("%s; the best epoch is chosen from those to come", error)
        return None
    return found and found[1]


def score(kept: Mapping[str, Any]) -> float:
    """Validation SRCC of the weights in a checkpoint that `Checkpoints` saved."""
    return float(kept["callbacks"][_STATE]["score"])


def best_score(folder: Path) -> float:
    """Validation SRCC of the weights that a training kept in its folder; NaN if there are none that can be read."""
    try:
        return score(torch.load(folder / "best.ckpt", map_location="cpu", weights_only=True))
    except Exception:  # a damaged pickle or archive can raise nearly anything
        return math.nan


def has_state(folder: Path) -> bool:
    """Whether a training has begun in a folder of checkpoints."""
    return any((folder / name).exists() for name in ("last.ckpt", "last.previous.ckpt"))


def drop_previous(folder: Path) -> None:
    """Deletes the previous states of a training that is over, below a folder."""
    for path in folder.rglob("*.previous.ckpt"):
        with contextlib.suppress(OSError):
            path.unlink()


def digest(value: Any) -> str:  # noqa: ANN401 (any nest of plain values and tensors)
    """SHA-256 of nested mappings, sequences, tensors and plain values: of types, shapes, order and bytes."""
    hashed = hashlib.sha256()
    _add(hashed, value)
    return hashed.hexdigest()


def _add(hashed: Any, value: Any) -> None:  # noqa: ANN401
    if isinstance(value, Tensor):
        hashed.update(f"tensor {value.dtype} {tuple(value.shape)} ".encode())
        hashed.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        hashed.update(f"mapping {len(value)} ".encode())
        for key, one in value.items():
            hashed.update(repr(key).encode())
            _add(hashed, one)
    elif isinstance(value, list | tuple):
        hashed.update(f"{'list' if isinstance(value, list) else 'tuple'} {len(value)} ".encode())
        for one in value:
            _add(hashed, one)
    else:
        hashed.update(f"{type(value).__name__} {value!r} ".encode())
