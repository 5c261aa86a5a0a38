"""The heads that map a video to a score, by the name under which a model file keeps them."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from ugcvqa.errors import CheckpointError
from ugcvqa.features.rows import motion_column
from ugcvqa.heads.fitted import FittedHead
from ugcvqa.heads.gp import FittedGP, GPReport, fit_gp, gp_parts
from ugcvqa.heads.sparse_fit import fit_sparse_gp
from ugcvqa.heads.sparse_gp import FittedSparseGP
from ugcvqa.heads.svr import FittedSVR
from ugcvqa.settings.heads import GPSettings, SparseGPSettings

HEADS: dict[str, type[FittedHead]] = {head.kind: head for head in (FittedSVR, FittedGP, FittedSparseGP)}
"""Kind -> class, of heads on a video's vector."""

NETWORK_KINDS = ("gru", "end_to_end")
"""Kinds of heads on a video's frames, see `network_heads`."""


def head_from_arrays(kind: str, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any]) -> FittedHead:
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


def fit_process(
    features: npt.NDArray[Any], mos: npt.ArrayLike, row: str, settings: GPSettings | SparseGPSettings
) -> tuple[FittedGP | FittedSparseGP, GPReport]:
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
