"""The paper's published frames: their cosines, computed by this package, compared with the published ones."""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ugcvqa.errors import LabelError
from ugcvqa.files import error_reason
from ugcvqa.studies.analysis import correlation, count
from ugcvqa.studies.cosine import permuted_cosine, window_cosine

_TOLERANCE = 1e-6


class PublishedFrame(NamedTuple):
    """One of the published frames, as a line of published.csv."""

    frame: int
    published: float
    cosine: float
    difference: float
    permuted: float


def published_frames(path: Path, seed: int) -> list[PublishedFrame]:
    """Computes Algorithm 3 on published deep vectors and maps, and compares with the published values.

    Args:
        path: .npz file with `deep` (T, D), `saliency` (T, H, W) and `cosine` (T,).
        seed: of the shuffled channels.

    Raises:
        LabelError: if the file cannot be read or does not hold these arrays.
    """
    try:
        with np.load(path) as arrays:
            deep, maps, published = (np.asarray(arrays[name]) for name in ("deep", "saliency", "cosine"))
    except KeyError as error:
        raise LabelError(f"{path}: has no array {error}; arrays deep, saliency and cosine are needed") from error
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise LabelError(
            f"{path}: cannot be read as .npz ({error_reason(error)}); give the file as published"
        ) from error
    if deep.ndim != 2 or maps.ndim != 3 or published.shape != deep.shape[:1] or len(maps) != len(deep):
        shapes = f"{deep.shape}, {maps.shape}, {published.shape}"
        raise LabelError(f"{path}: arrays are {shapes}; deep (T, D), saliency (T, H, W) and cosine (T,) are needed")
    if not (deep.size and maps.size and all(array.dtype.kind in "fiu" for array in (deep, maps, published))):
        kinds = ", ".join(f"{array.shape} {array.dtype}" for array in (deep, maps, published))
        raise LabelError(f"{path}: arrays are {kinds}; real numbers of at least one frame are needed")
    cosine, permuted = window_cosine(deep, maps), permuted_cosine(deep, maps, seed)
    columns = (published.astype(np.float64), cosine, cosine - published, permuted)
    values = zip(*(column.tolist() for column in columns), strict=True)
    return [PublishedFrame(number, *row) for number, row in enumerate(values, start=1)]


def published_sentence(frames: Sequence[PublishedFrame]) -> str:
    """How well the published values are reproduced, and what a shuffle of channels leaves of them."""
    kept = [row for row in frames if math.isfinite(row.difference)]
    if not kept:
        return "Published frames: no frame has a cosine."
    missing = len(frames) - len(kept)
    lacking = f" {count(missing, 'frame')} without a cosine left out." if missing else ""
    published, permuted = (np.array([getattr(row, key) for row in kept]) for key in ("published", "permuted"))
    largest = max(abs(row.difference) for row in kept)
    found = "are met to" if largest <= _TOLERANCE else "ARE NOT MET: they differ by up to"
    text = (
        f"Published frames: the {len(kept)} published cosines {found} {largest:.1e}; their mean is "
        f"{published.mean():.3f}, and {permuted.mean():.3f} with the channels of the deep vectors shuffled"
    )
    if not math.isnan(shared := correlation(published, permuted)):
        text += f"; the two correlate {shared:.3f} over frames"
    return f"{text}.{lacking}"
