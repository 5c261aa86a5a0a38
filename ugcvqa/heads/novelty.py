"""What lies outside the training distribution: how far columns are from their usual subspace, and how that is said."""

from typing import Any

import numpy as np

from ugcvqa.arrays import Array

RESIDUAL_AXES = 64
"""Principal axes of usual columns; what lies outside them is novel."""

_SHORT = 0.45
"""Largest relative excess of a single second's residual over that of its clip: 0.1, 0.4 and 0.45 for three public
clips, and half as much for the mean of two seconds."""

_LONG_S = 10  # seconds from which on nothing is added: the training videos have 8 and 20

_WORDS = {"nss": "the statistics of the picture (NSS)"}  # of a group, for people


def residual(block: Array, axes: Array) -> Array:
    """Squared length (N,) of scaled columns (N, C) outside the first of their principal axes (C, d): 64, or C / 4."""
    kept = block @ axes[:, : min(RESIDUAL_AXES, block.shape[1] // 4)]
    left: Array = np.maximum(np.sum(block**2, axis=1) - np.sum(kept**2, axis=1), 0)
    return left


def allowed_novelty(usual: Any, n_seconds: int | None) -> Any:  # noqa: ANN401 (a number, or an array)
    """How large the residual of a mean over few seconds may be, given the bound that 99 % of long videos stay below.

    Source: own; `tools/short_clips.py` prints what it does: at most 3 % of usual clips of any length are called novel.
    """
    seconds = _LONG_S if n_seconds is None else min(max(1, n_seconds), _LONG_S)
    return usual * (1 + _SHORT * (1 / seconds - 1 / _LONG_S))


def unlike_training(group: str) -> str:
    """Says that the columns of a group are far from those of the training videos."""
    what = _WORDS.get(group, f"the {group} features")
    return f"{what} are unlike those of nearly all training videos, so the score is a guess"


def beyond_range(name: str, value: float, low: float, high: float) -> str:
    """Says that the value of a part of one column lies outside its range in training."""
    side = "beyond" if value > high else "below"
    if name == "pixels/lines":
        return f"detail of {value:.0f} lines is {side} that of the training videos ({low:.0f} to {high:.0f})"
    what = "frame rate" if name == "container/rate" else "frame " + name.rpartition("/")[2]
    return f"{what} {value:.4g} is {side} the training videos ({low:.4g}..{high:.4g})"
