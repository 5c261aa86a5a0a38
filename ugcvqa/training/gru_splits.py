"""Trains the GRU head on many splits of one data set at once: the same steps as one by one, in one computation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from ugcvqa.arrays import Array
from ugcvqa.errors import ConfigError
from ugcvqa.evaluation.metrics import srcc
from ugcvqa.heads.gru import build_gru
from ugcvqa.heads.gru_stack import stacked_parameters, stacked_scores
from ugcvqa.models.losses import quality_loss
from ugcvqa.models.schedule import rate_factor
from ugcvqa.samples.batches import EpochSampler
from ugcvqa.samples.sequences import SequenceTable
from ugcvqa.settings.training import GRUSettings, RecipeSettings

Rows = npt.NDArray[np.int64]

_FLOAT_BYTES = 4
_KEPT_PER_UNIT = 16  # values that the backward pass keeps per frame and hidden unit, gates and states; measured
_TINY = 1e-6  # what torch's clip_grad_norm_ adds to the norm


@dataclass(frozen=True, eq=False)
class RowSplit:
    """A split as row numbers of the data set.

    Attributes:
        train: rows that train.
        val: rows that choose the epoch.
        test: rows to predict.
    """

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
        epochs: epochs done until this split was finished.
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


def train_gru_splits(
    table: SequenceTable, mos: Array, splits: Sequence[RowSplit], settings: GRUSettings, device: torch.device
) -> list[TrainedSplit]:
    """Trains one GRU head per split, all of them in the same steps; each as `fit` trains it on its split alone.

    Initial weights and order of batches are those of the seed of the recipe for every split. The losses of the splits
    are summed, so that no gradient mixes, and the optimiser works on each parameter by itself.

    Args:
        table: frame features of N videos; best on the device already.
        mos: (N,) labels.
        splits: one or more; their train parts, and so their val and test parts, are of one size.
        settings: of the head, with its recipe.
        device: where to compute.

    Returns:
        One result per split.

    Raises:
        ConfigError: if the recipe wants an average of the weights, which is not done here.
    """
    recipe = settings.recipe
    if recipe.ema:
        raise ConfigError(f"gru: recipe.ema is {recipe.ema}: heads are trained on many splits without it; give 0")
    stack = _Stack(table, mos, splits, settings, device)
    bests = _Bests(stack.parameters, len(splits), recipe.patience)
    val = np.stack([split.val for split in splits])
    losses = []
    for epoch in range(recipe.epochs):
        losses.append(stack.train_epoch(epoch))
        figures = [_srcc(mos[rows], pred) for rows, pred in zip(val, stack.scores(val), strict=True)]
        bests.see(epoch, figures, stack.parameters)
        if bests.done.all():
            break
    stack.parameters = bests.parameters
    test, train = (stack.scores(np.stack([getattr(split, part) for split in splits])) for part in ("test", "train"))
    to_mos = [
        partial(_to_mos, train=train[at], mos=mos[split.train], scale=stack.scale, recipe=recipe)
        for at, split in enumerate(splits)
    ]
    return [
        TrainedSplit(
            to_mos[at](test[at]),
            to_mos[at](train[at]),
            int(bests.epoch[at]),
            float(bests.figure[at]) if math.isfinite(bests.figure[at]) else math.nan,
            int(bests.epochs[at]),
            tuple(float(loss[at]) for loss in losses[: bests.epochs[at]]),
            {name: values[at].cpu() for name, values in bests.parameters.items()},
        )
        for at in range(len(splits))
    ]


def bytes_per_split(table: SequenceTable, settings: GRUSettings) -> int:
    """Estimates the memory that the training takes on top of the features for each split that is trained at once."""
    frames = settings.recipe.batch_size * max(table.lengths)
    gathered = frames * table.dim * table.frames.element_size()
    kept = frames * (2 * settings.reduced_dim + _KEPT_PER_UNIT * settings.hidden_dim) * _FLOAT_BYTES
    n_parameters = settings.reduced_dim * table.dim
    return gathered + kept + 6 * n_parameters * _FLOAT_BYTES  # weights, gradients, two moments, the best, a copy


class _Stack:
    """The heads of all splits and their optimiser."""

    def __init__(
        self,
        table: SequenceTable,
        mos: Array,
        splits: Sequence[RowSplit],
        settings: GRUSettings,
        device: torch.device,
    ) -> None:
        recipe = settings.recipe
        self.table, self.settings, self.device = table, settings, device
        self.scale = float(np.abs(mos).max()) or 1.0
        self.relative = torch.from_numpy(mos / self.scale).to(device, torch.float32)
        self.train = np.stack([split.train for split in splits])
        self.lengths = np.array(table.lengths)
        self.starts = self.lengths.cumsum() - self.lengths
        parameters = stacked_parameters([build_gru(settings, table.dim)] * len(splits))
        if recipe.starts_at_mean:
            means = torch.from_numpy(mos[self.train].mean(1) / self.scale)
            with torch.no_grad():
                parameters["quality.bias"].copy_(means[:, None])
        self.parameters = {name: value.detach().to(device).requires_grad_() for name, value in parameters.items()}
        self.optimiser = _optimiser(list(self.parameters.values()), recipe)
        steps = -(-self.train.shape[1] // recipe.batch_size)
        self.schedule = LambdaLR(
            self.optimiser, partial(_factor, recipe=recipe, epochs=recipe.epochs, steps_per_epoch=steps)
        )
        loss = partial(quality_loss, l1=recipe.l1, plcc=recipe.plcc, rank=recipe.rank)
        self.loss: Callable[[Tensor, Tensor], Tensor] = torch.vmap(loss)

    def train_epoch(self, epoch: int) -> Array:
        """Does the steps of an epoch; returns the mean loss (S,) over the videos of each split."""
        recipe = self.settings.recipe
        sampler = EpochSampler(range(self.train.shape[1]), recipe.seed)
        sampler.set_epoch(epoch)
        order = self.train[:, [draw.row for draw in sampler]]
        total = torch.zeros(len(order), device=self.device)
        for start in range(0, order.shape[1], recipe.batch_size):
            rows = order[:, start : start + recipe.batch_size]
            losses = self.loss(self._forward(rows), self.relative[torch.from_numpy(rows).to(self.device)])
            self.optimiser.zero_grad()
            losses.sum().backward()
            if recipe.clip_norm:
                _clip_each(list(self.parameters.values()), recipe.clip_norm)
            self.optimiser.step()
            if recipe.schedule != "step":
                self.schedule.step()
            total += losses.detach() * rows.shape[1]
        if recipe.schedule == "step":
            self.schedule.step()
        means: Array = (total / order.shape[1]).double().cpu().numpy()
        return means

    @torch.no_grad()
    def scores(self, rows: Rows) -> Array:
        """Relative scores (S, n) of the rows (S, n) of each split."""
        size = self.settings.recipe.batch_size
        parts = [self._forward(rows[:, start : start + size]) for start in range(0, rows.shape[1], size)]
        relative: Array = torch.cat(parts, 1).double().cpu().numpy()
        return relative

    def _forward(self, rows: Rows) -> Tensor:
        lengths = self.lengths[rows]
        index = np.zeros((len(rows), int(lengths.sum(1).max())), dtype=np.int64)
        for place, (starts, counts) in enumerate(zip(self.starts[rows], lengths, strict=True)):
            behind = np.repeat(starts - (counts.cumsum() - counts), counts)
            index[place, : len(behind)] = behind + np.arange(len(behind))
        frames = self.table.frames[torch.from_numpy(index).to(self.table.frames.device)].to(self.device)
        counts = torch.from_numpy(lengths).to(self.device)
        return stacked_scores(self.parameters, frames, counts, self.settings.tau, self.settings.beta)


class _Bests:
    """The best weights of each split so far, and which splits are finished."""

    def __init__(self, parameters: dict[str, Tensor], count: int, patience: int) -> None:
        self.parameters = {name: value.detach().clone() for name, value in parameters.items()}
        self.patience = patience
        self.figure = np.full(count, -np.inf)
        self.risen = np.zeros(count, dtype=np.int64)  # epoch of the last better figure
        self.epoch = np.zeros(count, dtype=np.int64)
        self.epochs = np.zeros(count, dtype=np.int64)
        self.done = np.zeros(count, dtype=bool)

    def see(self, epoch: int, figures: Sequence[float], parameters: dict[str, Tensor]) -> None:
        """Keeps the weights of the splits that have got better, unless they are finished.

        An undefined figure is worse than any other; until one is defined, the latest weights are kept.
        """
        new = np.where(np.isfinite(figures), figures, -np.inf)
        self.risen[~self.done & (new > self.figure)] = epoch
        better = ~self.done & ((new > self.figure) | np.isneginf(self.figure))
        self.figure[better], self.epoch[better] = new[better], epoch
        self.epochs[~self.done] = epoch + 1
        chosen = torch.from_numpy(np.flatnonzero(better))
        for name, kept in self.parameters.items():
            at = chosen.to(kept.device)
            kept[at] = parameters[name].detach()[at]
        if self.patience:
            self.done |= epoch - self.risen >= self.patience


def _factor(step: int, recipe: RecipeSettings, epochs: int, steps_per_epoch: int) -> float:
    return rate_factor(recipe, step, epochs, steps_per_epoch)


def _optimiser(parameters: Sequence[Tensor], recipe: RecipeSettings) -> torch.optim.Optimizer:
    """Makes the optimiser of all splits; biases, vectors but for the dimension of the splits, do not decay."""
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    matrices = [parameter for parameter in parameters if parameter.ndim > 2]
    biases = [parameter for parameter in parameters if parameter.ndim <= 2]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": biases, "weight_decay": 0.0},
    ]
    return kind(groups, lr=recipe.lr)


def _clip_each(parameters: Sequence[Tensor], bound: float) -> None:
    """Bounds the norm of the gradient of each split by itself."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    factors = (bound / (norms + _TINY)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))


def _srcc(mos: Array, pred: Array) -> float:
    return srcc(mos, pred) if np.isfinite(pred).all() else math.nan


def _to_mos(relative: Array, train: Array, mos: Array, scale: float, recipe: RecipeSettings) -> Array:
    """Brings scores to the MOS scale; a loss without absolute error leaves it open, then `train` is fitted to `mos`."""
    if recipe.l1:
        return scale * relative
    slope, offset = np.polyfit(train, mos, 1)
    return np.asarray(offset + slope * relative)
