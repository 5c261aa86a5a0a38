"""How fast a training goes, and whether it waits for its data."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


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
