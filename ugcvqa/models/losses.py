"""Training losses of quality regression as pure torch: absolute error, correlation and ranking."""

import torch
from torch import Tensor
from torch.nn import functional

_TINY_VARIANCE = 1e-12  # keeps the gradient of a constant batch finite


def plcc_loss(pred: Tensor, mos: Tensor) -> Tensor:
    """Measures how far predictions are from a linear function of the labels.

    Source: FAST-VQA (Wu et al., 2022), public code. With p and y standardised over the batch and r their mean product
    (Pearson's correlation): (MSE(p, y) / 4 + MSE(r p, y) / 4) / 2. It does not see the scale of the predictions.

    Args:
        pred: (B,) predictions on any scale.
        mos: (B,) labels on any scale.

    Returns:
        Scalar, 0 for a perfect rising line, 1/2 for a falling one.
    """
    p, y = _standardised(pred), _standardised(mos)
    r = (p * y).mean()
    return (functional.mse_loss(p, y) + functional.mse_loss(r * p, y)) / 8


def rank_loss(pred: Tensor, mos: Tensor) -> Tensor:
    """Measures by how much pairs are predicted in the wrong order.

    Source: FAST-VQA (Wu et al., 2022), public code: the sum over all ordered pairs of
    relu((p_i - p_j) sign(y_j - y_i)), divided by B (B - 1) and by 1 + its largest term.

    Args:
        pred: (B,) predictions on any scale.
        mos: (B,) labels on any scale.

    Returns:
        Scalar, 0 if no pair is in the wrong order, and for a single sample.
    """
    count = len(pred)
    if count < 2:
        return pred.sum() * 0
    wrong = functional.relu((pred[:, None] - pred[None, :]) * torch.sign(mos[None, :] - mos[:, None]))
    return wrong.sum() / (count * (count - 1)) / (1 + wrong.max())


def quality_loss(pred: Tensor, mos: Tensor, l1: float, plcc: float, rank: float) -> Tensor:
    """Adds up the losses with their weights; a loss of weight 0 is not computed.

    Args:
        pred: (B,) predictions.
        mos: (B,) labels on the same scale.
        l1: weight of the mean absolute error.
        plcc: weight of `plcc_loss`.
        rank: weight of `rank_loss`.

    Returns:
        Scalar float32.
    """
    pred, mos = pred.float(), mos.float()
    total = pred.new_zeros(())
    if l1:
        total = total + l1 * functional.l1_loss(pred, mos)
    if plcc:
        total = total + plcc * plcc_loss(pred, mos)
    if rank:
        total = total + rank * rank_loss(pred, mos)
    return total


def _standardised(values: Tensor) -> Tensor:
    centred = values - values.mean()
    return centred / (centred.square().mean() + _TINY_VARIANCE).sqrt()
