"""The heads that map a video to a score, by the name under which a model file keeps them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from ugcvqa.errors import CheckpointError
from ugcvqa.features.rows import motion_column
from ugcvqa.heads.fitted import FittedHead
from ugcvqa.heads.parts import gp_parts
from ugcvqa.settings.heads import GPSettings, SparseGPSettings

if TYPE_CHECKING:  # what fits imports SciPy's optimizers, which scoring does not need
    from ugcvqa.heads.gp import FittedGP
    from ugcvqa.heads.gp_fit import GPReport
    from ugcvqa.heads.sparse_gp import FittedSparseGP

CLASSES = {
    "svr": "svr.FittedSVR",
    "gp": "gp.FittedGP",
    "sparse_gp": "sparse_gp.FittedSparseGP",
    "gru": "network_heads.FittedGRU",  # on the frames of a video, as the next
    "end_to_end": "network_heads.FittedEndToEnd",
}
"""Kind -> module of this folder and class, which is imported when a model needs it."""


def head_class(kind: str) -> type[FittedHead]:
    """The class of fitted heads of a kind.

    Raises:
        CheckpointError: if the kind is unknown.
    """
    if kind not in CLASSES:
        raise CheckpointError(f"head {kind!r} is unknown here; known are {', '.join(CLASSES)}: install a newer version")
    module, name = CLASSES[kind].split(".")
    found: type[FittedHead] = getattr(import_module(f"{__package__}.{module}"), name)
    return found


def fit_process(
    features: npt.NDArray[Any], mos: npt.ArrayLike, row: str, settings: GPSettings | SparseGPSettings
) -> "tuple[FittedGP | FittedSparseGP, GPReport]":
    """Fits the Gaussian process that the settings are of to all given videos.

    Args:
        features: (N, D) of the row.
        mos: (N,) subjective scores.
        row: feature row, which tells the parts.
        settings: of the exact or of the sparse process.

    Raises:
        LabelError: as `gp_fit.fit_gp`.
    """
    from ugcvqa.heads.gp_fit import fit_gp
    from ugcvqa.heads.sparse_fit import fit_sparse_gp

    parts = gp_parts(row, features.shape[1])
    if isinstance(settings, SparseGPSettings):
        return fit_sparse_gp(features, mos, parts, settings, motion_column(row))
    return fit_gp(features, mos, parts, settings)
