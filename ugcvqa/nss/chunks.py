"""What a chunk's planes must be, their working size, and the mean of chunk vectors over a video."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ugcvqa.arrays import Array
from ugcvqa.nss.constants import N_BANDS, N_FULL_SCALE, N_MAPS, N_SLOTS
from ugcvqa.nss.fits import N_STATISTICS

SPATIAL_DIM = (N_MAPS + N_FULL_SCALE) * N_STATISTICS
TEMPORAL_DIM = 2 * N_BANDS * N_STATISTICS
CHUNK_DIM = 2 * SPATIAL_DIM + TEMPORAL_DIM
SMALLEST_SIDE_PX = 13
"""Shortest side of a map for which the 11 x 11 filter and, at half size, the 7 x 7 window still fit."""


def check_chunk(y: Any, u: Any, v: Any) -> None:  # noqa: ANN401 (arrays or tensors)
    """Checks the planes of a chunk, see `features.NSS.forward`.

    Raises:
        ValueError: if a shape or dtype differs.
    """
    for name, plane in (("y", y), ("u", u), ("v", v)):
        if not is_of_bytes(plane, 3):
            raise ValueError(f"{name} must be a 3-D uint8 tensor, got {tuple(plane.shape)} {plane.dtype}")
    frames, height, width = y.shape
    if not 2 <= frames <= 2 + N_SLOTS:
        raise ValueError(f"y must hold 2 spatial and at most {N_SLOTS} temporal frames, got {frames} frames")
    chroma = (2, (height + 1) // 2, (width + 1) // 2)
    if tuple(u.shape) != chroma or tuple(v.shape) != chroma:
        raise ValueError(
            f"u and v must be {chroma} for frames of {height} x {width}, got {tuple(u.shape)} and {tuple(v.shape)}"
        )
    check_size("frames", height, width)


def is_of_bytes(planes: Any, ndim: int) -> bool:  # noqa: ANN401
    """Whether an array or tensor has that many axes and is uint8."""
    return planes.ndim == ndim and str(planes.dtype) in ("uint8", "torch.uint8")


def check_size(what: str, height: int, width: int) -> None:
    """Checks that the filters fit.

    Raises:
        ValueError: if they do not.
    """
    if min(height, width) < SMALLEST_SIDE_PX:
        raise ValueError(
            f"NSS features need {what} of at least {SMALLEST_SIDE_PX} x {SMALLEST_SIDE_PX} px, got {height} x {width}"
        )


def working_ratio(shape: Sequence[int], min_side: int, whole_side: int | None = None) -> float:
    """The factor that shrinks frames of (height, width) to the working size, 1 or more where they keep theirs.

    It follows from the shorter side of the frames, or of the whole ones that they are cut from.

    Raises:
        ValueError: if the temporal bands, which are shrunk twice, would be too small for the filters.
    """
    ratio = min_side / (whole_side or min(shape))
    if ratio < 1:  # the bands are shrunk a second time, as in the public code
        once = [math.ceil(ratio * side) for side in shape]
        check_size("temporal bands", *(math.ceil(ratio * side) for side in once))
    return ratio


class ChunkMean:
    """Streaming mean over chunks, ignoring NaN per dimension.

    Source: RAPIQUE public code (mean over chunks, ignoring NaN). Sums run in float64 in the order in which chunks
    are added; infinite values stay infinite, and a dimension without any number gives NaN.
    """

    def __init__(self) -> None:
        self._sum = np.zeros(CHUNK_DIM)
        self._count = np.zeros(CHUNK_DIM, np.int64)

    def add(self, chunk: Array) -> None:
        """Adds the (1836,) float64 vector of the next chunk.

        Raises:
            ValueError: if the shape differs.
        """
        if chunk.shape != (CHUNK_DIM,):
            raise ValueError(f"chunk vector must have shape ({CHUNK_DIM},), got {chunk.shape}")
        is_known = ~np.isnan(chunk)
        with np.errstate(invalid="ignore"):  # both infinities in one dimension
            self._sum += np.where(is_known, chunk, 0)
        self._count += is_known

    def result(self) -> dict[str, Array]:
        """Returns `video`, the (1836,) float64 mean so far; all NaN before the first chunk."""
        with np.errstate(invalid="ignore"):
            return {"video": self._sum / self._count}
