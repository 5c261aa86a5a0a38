"""Base class of the regressors: a LightningModule around a network that maps the frames of videos to scores."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, WeightAveraging
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ugcvqa.arrays import Array
from ugcvqa.datamodules.samples import SampleDataModule, Source
from ugcvqa.datamodules.sampling import Sampling
from ugcvqa.devices import use_float32_products
from ugcvqa.models.losses import quality_loss
from ugcvqa.models.metrics import GatheredMetric, gathered_batch, quality_metrics
from ugcvqa.models.schedule import optimiser_of, rate_factor
from ugcvqa.samples.batches import Batch
from ugcvqa.settings.training import RecipeSettings

MONITORED = "val/srcc"
"""The figure by which epochs are chosen."""


class Prediction(NamedTuple):
    """What a regressor predicts of a video.

    Attributes:
        video_id: of the video; its row where the batch holds no ids.
        pred: predicted quality on the scale of the labels.
        mos: the label, NaN where there is none.
    """

    video_id: str
    pred: float
    mos: float


class QualityRegressor(LightningModule):
    """Trains a network to predict MOS; its metrics are exact over any number of processes.

    Logs `train/loss`, and on the MOS scale `val/loss`, `val/srcc`, `val/krcc`, `val/plcc` and `val/rmse`, where
    `val/loss` is the training loss of all validation videos together; `Trainer.test` logs the same of `test/`.
    `Trainer.predict` gives one `Prediction` for each video.

    Args:
        network: maps (frames, lengths) of a `Batch` to relative scores (B,). Parameters below `backbone.` get the
            backbone's learning rate. Parts without gradient are left alone.
        label_scale: MOS of the relative score 1, usually the largest MOS; the loss is computed on MOS / label_scale.
        recipe: how to train. Its average of weights, its bound on gradients and its patience hold where the Trainer
            has no such callback or argument; its number of epochs where the Trainer has none.
    """

    sampling: Sampling | None = None
    """What a data module has to serve; None leaves it to the data module."""

    def __init__(self, network: nn.Module, label_scale: float, recipe: RecipeSettings) -> None:
        super().__init__()
        self.network, self.label_scale, self.recipe = network, label_scale, recipe
        self.is_untrained = False  # then `setup` initialises it from training videos, where it can
        for part in ("val", "test"):
            self.add_module(f"{part}_metrics", quality_metrics(part))
            self.add_module(f"{part}_loss", _Loss(label_scale, recipe))

    def configure_callbacks(self) -> list[Callback]:
        """Adds what the recipe asks for, to a training whose Trainer has no such callback."""
        trainer: Any = self.trainer
        if trainer.state.fn != "fit":
            return []
        kinds = tuple(
            kind for kind in (WeightAveraging, EarlyStopping) if any(isinstance(one, kind) for one in trainer.callbacks)
        )
        return [callback for callback in recipe_callbacks(self.recipe) if not isinstance(callback, kinds)]

    def start(self, source: Source, rows: Sequence[int]) -> None:
        """Initialises an untrained network to predict the mean label of its training videos, if the recipe asks for it.

        Args:
            source: of the samples.
            rows: its training videos.
        """
        self.is_untrained = False
        head: Any = getattr(self.network, "head", self.network)
        if self.recipe.starts_at_mean:
            with torch.no_grad():
                head.quality.bias.fill_(float(source.mos.numpy()[list(rows)].mean()) / self.label_scale)

    def setup(self, stage: str) -> None:
        """Sets the arithmetic in every process that Lightning starts; initialises an untrained network."""
        use_float32_products()
        data: Any = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and self.is_untrained and isinstance(data, SampleDataModule):
            self.start(data.source, data.train)

    def forward(self, batch: Batch) -> Tensor:
        """Predicts the MOS (B,) of a batch."""
        relative: Tensor = self.network(batch.frames, batch.lengths)
        return self.label_scale * relative

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Computes the loss of a batch, which several processes share.

        The correlation and ranking parts see the whole batch, so the loss is the same as in one process. Each process
        has the gradient by its own predictions; the strategy takes the mean of these where the sum is needed.
        """
        del batch_idx
        own: Tensor = self.network(batch.frames, batch.lengths)
        pred, mos = gathered_batch(own, batch.mos, batch.rows)
        recipe = self.recipe
        loss = quality_loss(pred, mos / self.label_scale, recipe.l1, recipe.plcc, recipe.rank)
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(mos))  # the same everywhere
        self.log("train/loss_of_step", loss.detach(), on_step=True, on_epoch=False, batch_size=len(mos))
        trainer: Any = self.trainer
        return loss if trainer.world_size == 1 else trainer.world_size * loss + 0 * own.sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Gathers the predictions of a batch."""
        del batch_idx
        self._gather("val", batch)

    def on_validation_epoch_end(self) -> None:
        """Logs the figures of all validation videos."""
        self._log_figures("val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Gathers the predictions of a batch."""
        del batch_idx
        self._gather("test", batch)

    def on_test_epoch_end(self) -> None:
        """Logs the figures of all test videos."""
        self._log_figures("test")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """Predicts the MOS of each video of a batch."""
        del batch_idx
        ids = batch.ids or tuple(map(str, batch.rows.tolist()))
        return [Prediction(*one) for one in zip(ids, self(batch).tolist(), batch.mos.tolist(), strict=True)]

    def on_predict_epoch_end(self) -> None:
        """Flattens the predictions of all batches into one list."""
        if self.trainer.predict_loop.num_dataloaders == 1:
            found = self.trainer.predict_loop.predictions
            found[:] = chain.from_iterable(found)

    def configure_gradient_clipping(
        self,
        optimizer: Any,  # noqa: ANN401 (Lightning's signature)
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Bounds the gradient as the Trainer says, else as the recipe does."""
        bound = (self.recipe.clip_norm or None) if gradient_clip_val is None else gradient_clip_val
        self.clip_gradients(optimizer, bound, gradient_clip_algorithm)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes that the weights are trained ones."""
        del checkpoint
        self.is_untrained = False

    def configure_optimizers(self) -> Any:  # noqa: ANN401 (Lightning knows many forms)
        """Makes the optimiser and its schedule, stepped after each batch (`cosine`) or epoch (`step`)."""
        recipe = self.recipe
        optimiser = optimiser_of(self.network, recipe)
        trainer: Any = self.trainer
        epochs = max(1, trainer.max_epochs or recipe.epochs)
        if isinstance(trainer.datamodule, SampleDataModule):
            steps = trainer.datamodule.steps_per_epoch()
        else:
            steps = max(1, int(trainer.estimated_stepping_batches) // epochs)

        def factor(step: int) -> float:
            return rate_factor(recipe, step, epochs, steps)

        interval = "epoch" if recipe.schedule == "step" else "step"
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": LambdaLR(optimiser, factor), "interval": interval, "name": "lr"},
        }

    def _gather(self, part: str, batch: Batch) -> None:
        pred = self(batch)
        for kind in ("metrics", "loss"):
            getattr(self, f"{part}_{kind}").update(pred, batch.mos, batch.rows)

    def _log_figures(self, part: str) -> None:
        metrics, loss = getattr(self, f"{part}_metrics"), getattr(self, f"{part}_loss")
        # The values are the same in all processes: the metrics have gathered the samples already.
        self.log_dict({**metrics.compute(), f"{part}/loss": loss.compute()}, prog_bar=True)
        metrics.reset()
        loss.reset()


def recipe_callbacks(recipe: RecipeSettings) -> list[Callback]:
    """The callbacks that a recipe asks for: the moving average of the weights, and early stopping."""
    callbacks: list[Callback] = [EMAWeightAveraging(decay=recipe.ema)] if recipe.ema else []
    if recipe.patience:
        callbacks.append(
            EarlyStopping(MONITORED, mode="max", patience=recipe.patience, check_finite=False, strict=False)
        )
    return callbacks


class _Loss(GatheredMetric):
    """The training loss of all distinct samples together."""

    higher_is_better = False

    def __init__(self, label_scale: float, recipe: RecipeSettings) -> None:
        super().__init__()
        self._scale, self._weights = label_scale, (recipe.l1, recipe.plcc, recipe.rank)

    def figure(self, mos: Array, pred: Array) -> float:
        """Loss of (N,) labels and predictions."""
        relative_pred, relative_mos = (torch.from_numpy(values) / self._scale for values in (pred, mos))
        return float(quality_loss(relative_pred, relative_mos, *self._weights))
