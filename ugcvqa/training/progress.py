"""What is said of a training while it goes on: lines where no progress bar is shown, and its speed in the loggers."""

import logging
import time
from typing import Any

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


class Throughput(Callback):
    """Logs, for each epoch, `speed/frames_per_s` of this process and `speed/data_wait`, the share of time without data.

    Waiting is the time between the end of a step and the start of the next. On a GPU, whose steps
    run asynchronously, a share near 0 means that data always arrives in time.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock where a training resumes within an epoch, whose start is then not announced."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._started = self._ended = time.perf_counter()
        self._waited, self._frames = 0.0, 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *_: object) -> None:  # noqa: ANN401
        """Counts the wait and the frames of a step."""
        self._waited += time.perf_counter() - self._ended
        self._frames += sum(batch.lengths)

    def on_train_batch_end(self, *_: object) -> None:
        """Marks the end of a step."""
        self._ended = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the epoch."""
        elapsed = max(self._ended - self._started, 1e-9)
        pl_module.log_dict({"speed/frames_per_s": self._frames / elapsed, "speed/data_wait": self._waited / elapsed})
