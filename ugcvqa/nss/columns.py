"""What the columns of the NSS features describe: name -> first column and the column after the last."""

from collections.abc import Mapping
from itertools import accumulate, pairwise

from ugcvqa.nss.chunks import CHUNK_DIM, SPATIAL_DIM
from ugcvqa.nss.fits import N_STATISTICS

Columns = Mapping[str, tuple[int, int]]

_MAPS = {"luma": 2, "gradient": 2, "detail": 4, "opponent": 4, "log_colour": 4, "lab": 4}  # maps times scales, in order
_BANDS = {"slow": 2, "medium": 4, "fast": 8}  # bands of time times scales, in order


def _runs(start: int, counts: Mapping[str, int]) -> Columns:
    edges = accumulate((count * N_STATISTICS for count in counts.values()), initial=start)
    return dict(zip(counts, pairwise(edges), strict=True))


BLOCKS: Columns = {
    "mean": (0, SPATIAL_DIM),
    "difference": (SPATIAL_DIM, 2 * SPATIAL_DIM),
    "temporal": (2 * SPATIAL_DIM, CHUNK_DIM),
}
"""The mean of the spatial features of two frames, their difference, and the temporal features."""

BY_MAP: Columns = {
    **_runs(0, _MAPS),
    "difference": BLOCKS["difference"],
    **_runs(2 * SPATIAL_DIM, _BANDS),
}
"""The same, with the mean by kind of map and the temporal features by band of time."""
