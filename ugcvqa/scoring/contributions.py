"""What each part of a video's features adds to its score."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.heads.fitted import FittedHead
from ugcvqa.heads.parts import gp_parts

SUMS = "what each group of features adds; the sum is the prediction minus its mean over the training videos"
REPLACED = (
    "how far the prediction falls when a part is replaced by its mean over the training videos that the model keeps; "
    "parts act together, so these changes need not add up"
)
NONE = "this model looks at frames as a whole and has no parts to tell apart; see its timeline"


def contributions_of(head: FittedHead, row: str, features: npt.NDArray[Any]) -> tuple[dict[str, float], str]:
    """Splits the score of one video over the parts of its features.

    For a head that is a sum over groups (the Gaussian process and what is derived from it) these are the exact sums.
    An SVR is not a sum, so there each part is replaced by a typical value and the change is told; the typical value is
    the mean of the support vectors, the training videos that the model keeps. Networks have no parts.

    Args:
        head: the model's head.
        row: feature row that it was trained on, see `rows.ROWS`.
        features: (1, D) the video's vector, or for a network what it takes.

    Returns:
        Part -> its share, MOS units, positive lifts the score; and one sentence that says how they were found.
    """
    sums = head.contributions(features)
    if sums is not None:
        return {name: float(values[0]) for name, values in sums.items()}, SUMS
    typical = head.typical()
    if typical is None:
        return {}, NONE
    parts = gp_parts(row, features.shape[1])
    variants = np.repeat(np.asarray(features, dtype=np.float64), 1 + len(parts), axis=0)
    for variant, part in zip(variants[1:], parts, strict=True):
        variant[part.start : part.stop] = typical[part.start : part.stop]
    pred, *others = head.predict(variants).tolist()
    return {part.name: pred - other for part, other in zip(parts, others, strict=True)}, REPLACED
