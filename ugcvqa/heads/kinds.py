"""The heads that map a video to a score, by the name under which a model file keeps them."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from ugcvqa.errors import CheckpointError
from ugcvqa.features.rows import motion_column
from ugcvqa.heads.gp import GPHead, GPReport, fit_gp, gp_parts
from ugcvqa.heads.sparse_fit import fit_sparse_gp
from ugcvqa.heads.sparse_gp import SparseGPHead
from ugcvqa.heads.svr import SVRHead
from ugcvqa.settings import GPSettings, SparseGPSettings

if TYPE_CHECKING:  # these need torch, which takes seconds to import
    from ugcvqa.heads.network_heads import EndToEndHead, GRUHead

Head: TypeAlias = "SVRHead | GPHead | SparseGPHead | GRUHead | EndToEndHead"

HEADS: dict[str, type[SVRHead] | type[GPHead] | type[SparseGPHead]] = {
    "svr": SVRHead,
    "gp": GPHead,
    "sparse_gp": SparseGPHead,
}
"""Kind -> class, of heads on a video's vector. Every head has `predict`, `to_arrays`, `from_arrays` and `logistic`."""

NETWORK_KINDS = ("gru", "end_to_end")
"""Kinds of heads on a video's frames, see `network_heads`."""


def kind_of(head: Head) -> str:
    """Name under which a model file keeps a head of this class."""
    return head.kind


def head_from_arrays(kind: str, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any]) -> Head:
    """Rebuilds a head of any kind from what its `to_arrays` gave.

    Raises:
        CheckpointError: if the kind is unknown or the parts are damaged.
    """
    if kind in NETWORK_KINDS:
        from ugcvqa.heads.network_heads import NETWORK_HEADS

        return NETWORK_HEADS[kind].from_arrays(arrays, values)
    if kind not in HEADS:
        known = ", ".join((*HEADS, *NETWORK_KINDS))
        raise CheckpointError(f"head {kind!r} is unknown here; known are {known}: install a newer version")
    return HEADS[kind].from_arrays(arrays, values)


def is_network(head: Head) -> TypeGuard["GRUHead | EndToEndHead"]:
    """Whether a head looks at the frames of a video, not at its vector."""
    return head.kind in NETWORK_KINDS


def predict_with_std(head: Head, features: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:  # noqa: ANN401
    """Predicts with any head.

    Args:
        head: the head.
        features: video vectors (N, D), or for a network one array per video.

    Returns:
        Scores and their standard deviations, both (N,), the latter NaN where the head has none.
    """
    if isinstance(head, (GPHead, SparseGPHead)):
        return head.predict_with_std(features)
    pred = head.predict(features)
    return pred, np.full(pred.shape, np.nan)


def outlook(head: Head, features: Any) -> tuple[float, float, tuple[str, ...]]:  # noqa: ANN401
    """Says how far a prediction can be trusted.

    Args:
        head: the head.
        features: of one video, with a first axis of length 1.

    Returns:
        Ends of the interval of a newly measured label, not clipped, NaN where the head tells none; and why the video
        lies outside of what the head was trained on, one plain sentence each.
    """
    if not isinstance(head, SparseGPHead):
        return math.nan, math.nan, ()
    interval = head.predict_interval(features)
    return float(interval.low[0]), float(interval.high[0]), head.warnings(features)[0]


def fit_process(
    features: npt.NDArray[Any], mos: npt.ArrayLike, row: str, settings: GPSettings | SparseGPSettings
) -> tuple[GPHead | SparseGPHead, GPReport]:
    """Fits the Gaussian process that the settings are of to all given videos.

    Args:
        features: (N, D) of the row.
        mos: (N,) subjective scores.
        row: feature row, which tells the parts.
        settings: of the exact or of the sparse process.

    Raises:
        LabelError: as `gp.fit_gp`.
    """
    parts = gp_parts(row, features.shape[1])
    if isinstance(settings, SparseGPSettings):
        return fit_sparse_gp(features, mos, parts, settings, motion_column(row))
    return fit_gp(features, mos, parts, settings)
