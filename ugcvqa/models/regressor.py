"""The Lightning module that trains any network which maps the frames of videos to scores."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ugcvqa.devices import use_float32_products
from ugcvqa.models.losses import quality_loss
from ugcvqa.models.metrics import GatheredMetric, gathered_batch, quality_metrics
from ugcvqa.models.schedule import rate_factor
from ugcvqa.samples.batches import Batch
from ugcvqa.training_settings import RecipeSettings

Array = npt.NDArray[np.float64]


class QualityRegressor(LightningModule):
    """Trains a network to predict MOS; its metrics are exact over any number of processes.

    Logs `train/loss`, and on the MOS scale `val/loss`, `val/srcc`, `val/krcc`, `val/plcc` and `val/rmse`, where
    `val/loss` is the training loss of all validation videos together.

    Args:
        network: maps (frames, lengths) of a `Batch` to relative scores (B,). Parameters below `backbone.` get the
            backbone's learning rate. Parts without gradient are left alone.
        label_scale: MOS of the relative score 1, usually the largest MOS; the loss is computed on MOS / label_scale.
        recipe: how to train.
        record: plain values to keep in checkpoints, such as how the network was made.
    """

    def __init__(
        self, network: nn.Module, label_scale: float, recipe: RecipeSettings, record: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.save_hyperparameters({**record, "label_scale": label_scale})
        self.network, self.label_scale, self.recipe = network, label_scale, recipe
        self.val_metrics = quality_metrics("val")
        self.val_loss = _Loss(label_scale, recipe)

    def setup(self, stage: str) -> None:
        """Sets the arithmetic also in processes that Lightning has started afresh."""
        del stage
        use_float32_products()

    def forward(self, batch: Batch) -> Tensor:
        """Predicts the MOS (B,) of a batch."""
        relative: Tensor = self.network(batch.frames, batch.lengths)
        return self.label_scale * relative

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Computes the loss of a batch, which several processes share.

        The correlation and ranking parts see the whole batch, so the loss is that of one process. Each process has the
        gradient by its own predictions; the strategy takes the mean of these where the sum is needed.
        """
        del batch_idx
        own: Tensor = self.network(batch.frames, batch.lengths)
        pred, mos = gathered_batch(own, batch.mos, batch.rows)
        recipe = self.recipe
        loss = quality_loss(pred, mos / self.label_scale, recipe.l1, recipe.plcc, recipe.rank)
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(mos))  # the same everywhere
        trainer: Any = self.trainer
        return loss if trainer.world_size == 1 else trainer.world_size * loss + 0 * own.sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Gathers the predictions of a batch."""
        del batch_idx
        pred = self(batch)
        self.val_metrics.update(pred, batch.mos, batch.rows)
        self.val_loss.update(pred, batch.mos, batch.rows)

    def on_validation_epoch_end(self) -> None:
        """Logs the figures of all validation videos."""
        figures = {**self.val_metrics.compute(), "val/loss": self.val_loss.compute()}
        # The values are the same in all processes: the metrics have gathered the samples already.
        self.log_dict(figures, prog_bar=True)
        self.val_metrics.reset()
        self.val_loss.reset()

    def configure_optimizers(self) -> Any:  # noqa: ANN401 (Lightning knows many forms)
        """Makes the optimiser and its schedule, stepped after each batch (`cosine`) or epoch (`step`)."""
        recipe = self.recipe
        kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
        optimiser = kind(self._groups())
        trainer: Any = self.trainer
        epochs = max(1, trainer.max_epochs or recipe.epochs)
        steps = trainer.datamodule.steps_per_epoch()

        def factor(step: int) -> float:
            return rate_factor(recipe, step, epochs, steps)

        interval = "epoch" if recipe.schedule == "step" else "step"
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": LambdaLR(optimiser, factor), "interval": interval, "name": "lr"},
        }

    def _groups(self) -> list[dict[str, Any]]:
        """Groups of parameters by learning rate and weight decay; biases and normalisations do not decay."""
        recipe = self.recipe
        groups: dict[str, dict[str, Any]] = {}
        for name, parameter in self.network.named_parameters():
            if not parameter.requires_grad:
                continue
            part = "backbone" if name.startswith("backbone.") else "head"
            decays = parameter.ndim > 1
            group = groups.setdefault(
                part if decays else f"{part} without decay",
                {
                    "name": part if decays else f"{part} without decay",
                    "params": [],
                    "lr": recipe.backbone_lr if part == "backbone" else recipe.lr,
                    "weight_decay": recipe.weight_decay if decays else 0.0,
                },
            )
            group["params"].append(parameter)
        return list(groups.values())


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
