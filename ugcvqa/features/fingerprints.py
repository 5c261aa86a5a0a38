"""Recognises published feature tables by a few of their numbers, so that another file name or rounding hides nothing.

`published.safetensors` beside this file holds, for a part of the videos of each published table, three columns in steps
of a two-hundredth of their spread; `tools/make_fingerprints.py` makes it. No feature can be rebuilt from that.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ugcvqa.files import arrays_from_file

FILE = Path(__file__).with_name("published.safetensors")

STEPS = 200
"""Steps in the spread of a column, half the distance of its quartiles."""

_TOLERANCE = 5  # steps: numbers that are rounded to two or three digits are still recognised
_LIKE_OURS_SHARE, _OTHERS_SHARE = 0.9, 0.3  # of the known videos of a table that must agree
_FEWEST = 3  # videos that must agree


class Published(NamedTuple):
    """What a published table is.

    Attributes:
        family: of its columns; this package does not compute `videval` and `brisque`.
        made_by: its maker.
        is_like_ours: whether this package computes the same features.
    """

    family: str
    made_by: str
    is_like_ours: bool


MAKERS: dict[str, Published] = {
    "nss": Published("nss", "rapique-matlab", True),
    "cnn": Published("cnn", "matlab-resnet50", False),
    "vsfacnn": Published("vsfacnn", "torchvision-resnet50-IMAGENET1K_V1", True),
    "vsfacnn_saliency": Published("vsfacnn_saliency", "torchvision-resnet50-IMAGENET1K_V1", True),
    "saliency": Published("saliency", "score-cam-vgg16-IMAGENET1K_V1", True),
    "videval": Published("videval", "videval-matlab", False),
    "brisque": Published("brisque", "brisque-matlab", False),
}
"""Family -> who made its published columns. Source: the tables' authors, and comparison with networks, see README."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """A few numbers of one published table.

    Attributes:
        of: family of the table.
        width: its number of columns.
        videos: (n,) uint32, checksums of video ids, rising.
        columns: (3,) columns that are looked at.
        unit: (3,) step of each.
        steps: (n, 3) int16, the numbers in steps.
    """

    of: str
    width: int
    videos: npt.NDArray[np.uint32]
    columns: npt.NDArray[np.int64]
    unit: npt.NDArray[np.float64]
    steps: npt.NDArray[np.int16]

    def counts(self, keys: npt.NDArray[np.uint32], values: npt.NDArray[Any]) -> tuple[int, int]:
        """How many videos of a table are known here, and how many of these have the same numbers."""
        places = np.searchsorted(self.videos, keys).clip(max=len(self.videos) - 1)
        known = np.flatnonzero(self.videos[places] == keys)
        with np.errstate(over="ignore", invalid="ignore"):
            steps = values[known][:, self.columns].astype(np.float64) / self.unit
            same = (np.abs(steps - self.steps[places[known]]) <= _TOLERANCE).all(axis=1)
        return len(known), int(same.sum())


def video_key(video_id: str) -> int:
    """Checksum of an id, without its data set, in any case: 32 bits."""
    bare = video_id.rsplit("/", 1)[-1].casefold()
    return int.from_bytes(hashlib.sha256(bare.encode("utf-8", "surrogateescape")).digest()[:4], "big")


def recognised(ids: Sequence[str], values: npt.NDArray[Any]) -> Published | None:
    """Says which published columns a table holds.

    Columns that this package computes too must agree in nearly all videos that are known, so that nothing else passes
    for them; for others a third is enough, since a head that learned from some of them knows a foreign network.

    Args:
        ids: N video ids.
        values: (N, D) columns of one family.

    Returns:
        What they are; None if they are nothing that is known, or too few.
    """
    counts: dict[str, tuple[int, int]] = {}
    fitting = [one for one in _fingerprints() if one.width == values.shape[1]]
    keys = np.array([video_key(video_id) for video_id in ids] if fitting else [], dtype=np.uint32)
    for one in fitting:
        known, same = one.counts(keys, values)
        best = counts.get(one.of, (0, 0))
        if same * max(best[0], 1) >= best[1] * max(known, 1):
            counts[one.of] = (known, same)
    for family, (known, same) in counts.items():
        found = MAKERS[family]
        share = _LIKE_OURS_SHARE if found.is_like_ours else _OTHERS_SHARE
        if same >= _FEWEST and same >= share * known:
            return found
    return None


@cache
def _fingerprints() -> tuple[Fingerprint, ...]:
    return tuple(_read(*arrays_from_file(FILE)))


def _read(arrays: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, Any]) -> Iterator[Fingerprint]:
    for name, (family, width) in metadata.items():
        videos, columns, unit, steps = (arrays[f"{name}.{part}"] for part in ("videos", "columns", "unit", "steps"))
        yield Fingerprint(family, width, videos, columns, unit, steps)
