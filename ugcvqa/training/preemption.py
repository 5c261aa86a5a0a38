"""Leaves an exact checkpoint when a cluster takes the machine back, and asks SLURM to queue the job again."""

import logging
import signal
import subprocess
import threading
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ugcvqa.launchers import slurm_job

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
_STEPS_BETWEEN = 10  # of several processes, which ask each other whether one has received a signal


class Preempted(Exception):
    """Training was stopped by a signal; a checkpoint is saved."""


class Preemption(Callback):
    """Stops after the present step when SIGUSR1 or SIGTERM arrives, with everything saved for an exact resume.

    Lightning's own handler saves wherever the signal finds it, also between an optimiser's parts; this one waits for
    the end of the step. In a SLURM job (`#SBATCH --signal=USR1@90`) the job is queued again. Where several processes
    train, the signal may reach any of them, and they ask each other at every tenth step and the last of an epoch.

    Raises:
        Preempted: out of the training, once the checkpoint is written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Installs its signal handler in place of Lightning's; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in _SIGNALS}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores the previous signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Saves and stops if a signal has come; between optimiser steps gradients would be lost, so it waits."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            return
        # asking stops a GPU until all have answered; every process counts the same steps
        if trainer.world_size > 1 and trainer.global_step % _STEPS_BETWEEN and not trainer.is_last_batch:
            return
        if trainer.strategy.reduce_boolean_decision(self._received is not None, all=False):
            trainer.save_checkpoint(self.path)
            if trainer.is_global_zero:
                log.warning("stopped by a signal; the same command goes on from %s", self.path)
                _requeue()
            raise Preempted

    def _receive(self, number: int, frame: Any) -> None:  # noqa: ANN401 (the signal module's signature)
        del frame
        self._received = number


def _requeue() -> None:
    """Queues this SLURM job again; does nothing elsewhere."""
    if not (name := slurm_job()):
        return
    try:
        subprocess.run(["scontrol", "requeue", name], check=True, timeout=60)
        log.warning("SLURM job %s is queued again", name)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("SLURM job %s cannot be queued again (%s)", name, error)
