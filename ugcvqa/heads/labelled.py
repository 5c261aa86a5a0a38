"""What a head can be fitted to: features and scores of enough videos, checked before anything is computed."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.errors import LabelError

MIN_VIDEOS = 10
"""With fewer training videos one or two would choose among a hundred candidates, or determine a dozen parameters."""


def check_shapes(features: npt.NDArray[Any], mos: Array) -> None:
    """Checks that there is one row of features (N, D) for each score (N,).

    Raises:
        LabelError: if not.
    """
    if features.ndim != 2 or mos.ndim != 1 or len(features) != len(mos):
        raise LabelError(f"features of shape {features.shape} do not match MOS of shape {mos.shape}")


def check_mos(mos: Array, head: str) -> None:
    """Checks the scores (N,) that a head, whose name is given for the message, is to learn.

    Raises:
        LabelError: if there are fewer than ten, one is not finite, or all are equal.
    """
    if len(mos) < MIN_VIDEOS:
        raise LabelError(f"{len(mos)} videos are too few to fit {head}: at least {MIN_VIDEOS} are needed")
    n_bad = mos.size - int(np.isfinite(mos).sum())
    if n_bad:
        raise LabelError(f"{n_bad} of {mos.size} MOS are NaN or infinite: correct or remove these videos")
    if np.all(mos == mos[0]):
        raise LabelError(f"all {mos.size} MOS equal {mos[0]:g}: there is nothing to learn")
