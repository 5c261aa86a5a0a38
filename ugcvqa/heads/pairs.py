"""Pairs of videos whose order, or equality, is known though nobody rated them, as before and after compression."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ugcvqa.datasets.tables import read_table
from ugcvqa.errors import LabelError
from ugcvqa.files import error_reason

_RUNG = re.compile(r"[\d.]+")
_ARRAYS = ("videos", "feats", "better", "worse", "margin", "is_equal")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Known orders.

    Attributes:
        features: (L, D) of all videos.
        better: (P,) row of the better video of each pair.
        worse: (P,) row of the other.
        margin: (P,) least amount by which it is worse, in MOS.
        is_equal: (P,) bool, both are equally good; their margin is 0.
    """

    features: npt.NDArray[Any]
    better: npt.NDArray[np.int64]
    worse: npt.NDArray[np.int64]
    margin: npt.NDArray[np.float64]
    is_equal: npt.NDArray[np.bool_]

    @classmethod
    def joined(cls, several: "Sequence[Pairs]", n_columns: int) -> Self:
        """Concatenates the pairs of several tables; no pairs if there is no table."""
        starts = np.cumsum([0, *(len(pairs.features) for pairs in several)])
        places = list(zip(several, starts.tolist(), strict=False))
        none = np.empty(0)
        return cls(
            np.concatenate([np.empty((0, n_columns)), *(pairs.features for pairs in several)]),
            np.concatenate([none, *(pairs.better + start for pairs, start in places)]).astype(np.int64),
            np.concatenate([none, *(pairs.worse + start for pairs, start in places)]).astype(np.int64),
            np.concatenate([none, *(pairs.margin for pairs in several)]).astype(np.float64),
            np.concatenate([none, *(pairs.is_equal for pairs in several)]).astype(bool),
        )


def pairs_of_ladders(path: Path, margin: float) -> Pairs:
    """Reads encoding ladders, the same pictures under light to heavy compression, as all pairs of their rungs.

    Args:
        path: feature table with ids LADDER/RUNG, rungs from light to heavy by their number.
        margin: by how much each rung is worse than the one before, in MOS.

    Raises:
        LabelError: if the file cannot be read, or an id has another form.
    """
    table = read_table(path)
    rungs: dict[str, list[tuple[float, int]]] = {}
    for row, video_id in enumerate(table.ids):
        ladder, _, rung = video_id.rpartition("/")
        if not ladder or not _RUNG.fullmatch(rung):
            raise LabelError(f"{path}: id {video_id!r} is not LADDER/NUMBER; make the file with tools/make_ladders.py")
        rungs.setdefault(ladder, []).append((float(rung), row))
    pairs = []
    for members in rungs.values():
        order = [row for _, row in sorted(members)]
        pairs += [(order[i], order[j], j - i) for j in range(len(order)) for i in range(j)]
    light, heavy, steps = np.array(pairs, dtype=np.int64).reshape(-1, 3).T
    return Pairs(
        table.values, light, heavy, np.asarray(margin * steps, dtype=np.float64), np.zeros(len(pairs), dtype=bool)
    )


def read_pairs(path: Path) -> Pairs:
    """Reads what `write_pairs` wrote.

    Raises:
        LabelError: if the file cannot be read, or is not complete.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            _, features, better, worse, margin, is_equal = (file[name] for name in _ARRAYS)
    except (OSError, ValueError, LookupError, EOFError) as error:
        reason = error_reason(error)
        raise LabelError(
            f"{path}: cannot be read as pairs ({reason}); make the file with tools/make_pairs.py"
        ) from error
    pairs = Pairs(features, better.astype(np.int64), worse.astype(np.int64), margin.astype(np.float64), is_equal == 1)
    n_pairs, rows = len(pairs.better), np.concatenate((pairs.better, pairs.worse))
    if features.ndim != 2 or {len(pairs.worse), len(pairs.margin), len(pairs.is_equal)} != {n_pairs}:
        raise LabelError(f"{path}: its tables do not fit together; make the file with tools/make_pairs.py")
    if n_pairs and not (rows.min() >= 0 and rows.max() < len(features) and np.isfinite(pairs.margin).all()):
        raise LabelError(f"{path}: pairs name videos that it does not hold, or have no margin")
    return pairs


def write_pairs(path: Path, videos: Sequence[str], pairs: Pairs) -> None:
    """Writes pairs with the ids of their videos as an .npz file."""
    values = (np.array(videos), *(getattr(pairs, name) for name in ("features", *_ARRAYS[2:])))
    np.savez_compressed(path, **dict(zip(_ARRAYS, values, strict=True)))
