"""Log lines about a training, for where no progress bar is shown."""

import logging
import time

from lightning.pytorch import Callback, LightningModule, Trainer

log = logging.getLogger(__name__)

_INTERVAL_S = 10.0
_LONG_S = 600.0


class EpochLines(Callback):
    """Writes a line about the last epoch every ten seconds at most, and early on how long a long training will take."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._written = time.monotonic()
        self._first_step_ended = 0.0
        self._first_step = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Estimates the remaining time from the second step; the first one may wait for data."""
        done = trainer.global_step - self._first_step
        if done == 1:
            self._first_step_ended = time.monotonic()
        if done != 2 or not trainer.is_global_zero:
            return
        left = int(trainer.estimated_stepping_batches) - trainer.global_step
        seconds = left * (time.monotonic() - self._first_step_ended)
        if seconds > _LONG_S:
            log.info("%d steps to go, about %.1f hours on this machine", left, seconds / 3600)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the line, unless one was written just now; always after the last epoch."""
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs
        now = time.monotonic()
        if not trainer.is_global_zero or (now - self._written < _INTERVAL_S and epoch != epochs):
            return
        self._written = now
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        loss, srcc = (figures.get(name, float("nan")) for name in ("train/loss", "val/srcc"))
        log.info("epoch %d of %s: training loss %.4f, validation SRCC %.4f", epoch, epochs, loss, srcc)
