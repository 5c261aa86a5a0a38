"""Trains the GRU head on one split of a data set after another, as `fit` trains it on one, without a Trainer."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ugcvqa.arrays import Array
from ugcvqa.devices import float32_products
from ugcvqa.errors import ConfigError
from ugcvqa.evaluation.metrics import srcc
from ugcvqa.heads.gru import MOSLine, build_gru
from ugcvqa.models.losses import quality_loss
from ugcvqa.models.schedule import optimiser_of, rate_factor
from ugcvqa.samples.batches import EpochSampler
from ugcvqa.samples.sequences import SequenceTable
from ugcvqa.settings.training import GRUSettings

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RowSplit:
    """A split as row numbers of the data set: `train` trains, `val` chooses the epoch, `test` is predicted."""

    train: Rows
    val: Rows
    test: Rows


@dataclass(frozen=True, eq=False)
class TrainedSplit:
    """What the training on one split gave.

    Attributes:
        pred: (n_test,) predicted MOS of the test rows, by the weights of the best epoch.
        pred_train: (n_train,) the same of the rows that train.
        best_epoch: epoch of the highest validation SRCC, the first of equals, counted from 0.
        val_srcc: that SRCC; NaN if it is defined in no epoch.
        epochs: epochs done.
        losses: mean training loss of each of these.
        weights: name -> parameter of the best epoch, by the names of `VSFAHead`.
    """

    pred: Array
    pred_train: Array
    best_epoch: int
    val_srcc: float
    epochs: int
    losses: tuple[float, ...]
    weights: dict[str, Tensor]


@float32_products()
def train_gru_split(
    table: SequenceTable, mos: Array, split: RowSplit, settings: GRUSettings, device: torch.device
) -> TrainedSplit:
    """Trains a GRU head on a split; the recipe's seed determines the initial weights and the order of batches.

    Args:
        table: frame features of N videos; best on the device already.
        mos: (N,) labels.
        split: which rows train, choose the epoch, and are predicted.
        settings: of the head, with its recipe.
        device: where to compute.

    Raises:
        ConfigError: if the recipe wants an average of the weights, which is not done here.
    """
    recipe = settings.recipe
    if recipe.ema:
        raise ConfigError(f"gru: recipe.ema is {recipe.ema}: heads are trained on many splits without it; give 0")
    training = _Training(table, mos, split, settings, device)
    losses, figures, weights = list[Tensor](), list[float](), dict[str, Tensor]()
    best = 0
    for epoch in range(recipe.epochs):
        losses.append(training.train_epoch(epoch))
        figures.append(_srcc(mos[split.val], training.scores(split.val)))
        if not epoch or figures[epoch] > figures[best] or figures[best] == -math.inf:  # the latest until one is defined
            weights = {name: value.clone() for name, value in training.head.state_dict().items()}
            best = epoch
        if recipe.patience and epoch - (best if math.isfinite(figures[best]) else 0) >= recipe.patience:
            break
    training.head.load_state_dict(weights)
    test, train = training.scores(split.test), training.scores(split.train)
    line = MOSLine(0.0, training.scale) if recipe.l1 else MOSLine.fitted(train, mos[split.train])
    return TrainedSplit(
        pred=line(test),
        pred_train=line(train),
        best_epoch=best,
        val_srcc=figures[best] if math.isfinite(figures[best]) else math.nan,
        epochs=len(figures),
        losses=tuple(torch.stack(losses).double().tolist()),
        weights={name: value.cpu() for name, value in weights.items()},
    )


class _Training:
    """The head of a split and its optimiser."""

    def __init__(
        self, table: SequenceTable, mos: Array, split: RowSplit, settings: GRUSettings, device: torch.device
    ) -> None:
        recipe = self.recipe = settings.recipe
        self.table, self.train, self.device = table, split.train, device
        self.scale = float(np.abs(mos).max()) or 1.0
        self.relative = torch.from_numpy(mos / self.scale).to(device, torch.float32)
        head = build_gru(settings, table.dim)
        if recipe.starts_at_mean:
            nn.init.constant_(head.quality.bias, float(mos[split.train].mean()) / self.scale)
        self.head = head.to(device)
        self.optimiser = optimiser_of(self.head, recipe)
        steps = -(-len(split.train) // recipe.batch_size)
        self.schedule = LambdaLR(self.optimiser, lambda step: rate_factor(recipe, step, recipe.epochs, steps))

    def train_epoch(self, epoch: int) -> Tensor:
        """Does the steps of an epoch; returns the mean loss over the videos, on the device."""
        recipe = self.recipe
        sampler = EpochSampler(range(len(self.train)), recipe.seed)
        sampler.set_epoch(epoch)
        order = self.train[[draw.row for draw in sampler]]
        total = torch.zeros((), device=self.device)
        for start in range(0, len(order), recipe.batch_size):
            rows = order[start : start + recipe.batch_size]
            mos = self.relative[torch.from_numpy(rows).to(self.device)]
            loss = quality_loss(self._forward(rows), mos, recipe.l1, recipe.plcc, recipe.rank)
            self.optimiser.zero_grad()
            loss.backward()
            if recipe.clip_norm:
                nn.utils.clip_grad_norm_(self.head.parameters(), recipe.clip_norm)
            self.optimiser.step()
            if recipe.schedule != "step":
                self.schedule.step()
            total += loss.detach() * len(rows)
        if recipe.schedule == "step":
            self.schedule.step()
        return total / len(order)

    @torch.no_grad()
    def scores(self, rows: Rows) -> Array:
        """Relative scores (n,) of some rows."""
        size = self.recipe.batch_size
        parts = [self._forward(rows[start : start + size]) for start in range(0, len(rows), size)]
        relative: Array = torch.cat(parts).double().cpu().numpy()
        return relative

    def _forward(self, rows: Rows) -> Tensor:
        frames = torch.cat([self.table.sequence(row) for row in rows]).to(self.device)
        scores: Tensor = self.head(frames, [self.table.lengths[row] for row in rows])
        return scores


def _srcc(mos: Array, pred: Array) -> float:
    """SRCC, and below any other where it is not defined."""
    figure = srcc(mos, pred) if np.isfinite(pred).all() else math.nan
    return figure if math.isfinite(figure) else -math.inf
