"""SRCC, KRCC, PLCC and RMSE as torchmetrics for Lightning loops, exact over several processes, and their joint batches.

The figures are computed by `evaluation.metrics`, in float64, on the predictions of all processes together. PLCC and
RMSE are of the plain predictions: the logistic map belongs to the final evaluation (`metrics.evaluate`).
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors

from ugcvqa.arrays import Array
from ugcvqa.evaluation import metrics


class GatheredMetric(Metric):
    """Keeps one (prediction, MOS) pair per sample and computes one figure from all of them.

    Samplers that pad an uneven data set repeat samples; a sample that arrives more than once, in one process
    or in several, counts once. A prediction or MOS that is not finite makes the figure NaN, so that a
    diverged model never looks plausible, and so does having no samples.
    """

    is_differentiable = False
    full_state_update = False
    figure: Callable[[Array, Array], float]
    """Pure function of (mos, pred), set by each child."""

    pred: list[Tensor]
    mos: list[Tensor]
    index: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        # All states are float64, so that a process without samples can join the gathering: for it
        # torchmetrics makes up empty states of this type. Integers up to 2^53 are exact in it.
        self.set_dtype(torch.float64)
        for name in ("pred", "mos", "index"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, pred: Tensor, mos: Tensor, index: Tensor) -> None:
        """Adds a batch.

        Args:
            pred: (B,) or (B, 1) predicted scores, any floating type.
            mos: (B,) or (B, 1) subjective scores, any floating type.
            index: (B,) or (B, 1) integers that identify the samples across all batches and processes.

        Raises:
            ValueError: if the shapes differ or are neither (B,) nor (B, 1).
        """
        states = {"pred": pred, "mos": mos, "index": index}
        columns = {name: _column(name, values) for name, values in states.items()}
        if len({column.shape for column in columns.values()}) > 1:
            lengths = {name: len(column) for name, column in columns.items()}
            raise ValueError(f"pred, mos and index must be of one length, not {lengths}")
        for name, column in columns.items():
            getattr(self, name).append(column.detach().to(self._state_type()))

    def compute(self) -> Tensor:
        """Computes the figure over all distinct samples.

        Returns:
            Scalar, float64 where the device has it.

        Raises:
            ValueError: if one index came with two different MOS, that is, if it does not identify a sample.
        """
        # After gathering, a state is one tensor instead of a list of them; both have a length.
        value = self._value() if len(self.index) else math.nan
        return torch.tensor(value, dtype=self._state_type(), device=self.device)

    def _state_type(self) -> torch.dtype:
        return torch.float32 if self.device.type == "mps" else torch.float64  # Apple GPUs lack float64

    def _value(self) -> float:
        pred, mos, index = (dim_zero_cat(state).cpu().numpy() for state in (self.pred, self.mos, self.index))
        _, first, inverse = np.unique(index, return_index=True, return_inverse=True)
        if not np.array_equal(mos, mos[first][inverse], equal_nan=True):
            raise ValueError("one sample index came with different MOS: it must be unique in the data set")
        pred, mos = pred[first], mos[first]
        if not (np.isfinite(pred).all() and np.isfinite(mos).all()):
            return math.nan
        return self.figure(mos, pred)


class SRCC(GatheredMetric):
    """Spearman's rank correlation, -1..1."""

    higher_is_better = True
    figure = staticmethod(metrics.srcc)


class KRCC(GatheredMetric):
    """Kendall's tau-b, -1..1."""

    higher_is_better = True
    figure = staticmethod(metrics.krcc)


class PLCC(GatheredMetric):
    """Pearson's correlation of the plain predictions, -1..1."""

    higher_is_better = True
    figure = staticmethod(metrics.plcc)


class RMSE(GatheredMetric):
    """Root mean square error of the plain predictions, MOS scale."""

    higher_is_better = False
    figure = staticmethod(metrics.rmse)


def quality_metrics(stage: Literal["train", "val", "test"]) -> MetricCollection:
    """Makes the four metrics of one stage, logged as `<stage>/srcc` and so on.

    The four share one copy of the samples (torchmetrics' compute groups).

    Args:
        stage: prefix of the logged names.

    Returns:
        Collection whose `update` takes (pred, mos, index) as `GatheredMetric.update` does.
    """
    members = {"srcc": SRCC(), "krcc": KRCC(), "plcc": PLCC(), "rmse": RMSE()}
    return MetricCollection(dict(members), prefix=f"{stage}/")


def gathered_batch(pred: Tensor, mos: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions and labels of the samples of all processes, each once; gradients reach this process's own.

    Args:
        pred: (B,) predictions of this process's share of a batch.
        mos: (B,) their labels.
        rows: (B,) integers that identify the samples.

    Returns:
        (N,) predictions float32 and labels float64 of the whole batch, in the same order in all processes.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return pred, mos
    shares = gather_all_tensors(torch.stack([pred.double(), mos.double(), rows.double()], dim=1))
    whole = torch.cat(shares)
    same = whole[:, 2, None] == whole[None, :, 2]
    first = same.int().argmax(dim=1) == torch.arange(len(whole), device=whole.device)
    return whole[first, 0].float(), whole[first, 1]


def _column(name: str, values: Tensor) -> Tensor:
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 1:
        raise ValueError(f"{name} has shape {tuple(values.shape)}: (B,) or (B, 1) is needed")
    return values
