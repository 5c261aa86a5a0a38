"""Encoding ladders as training material: the same pictures under light and heavy compression, in known order."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.datasets.tables import read_table
from ugcvqa.errors import LabelError

_DIGITS = re.compile(r"[\d.]+")


@dataclass(frozen=True, eq=False)
class Ladders:
    """Videos of unknown quality but known order: the same pictures under light and heavy compression.

    Attributes:
        features: (L, D) of all of them.
        light: (P,) row of the lighter video of each pair.
        heavy: (P,) row of the heavier one.
        steps: (P,) rungs between them.
    """

    features: npt.NDArray[Any]
    light: npt.NDArray[np.int64]
    heavy: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]


def read_ladders(path: Path) -> Ladders:
    """Reads a feature table with ids LADDER/RUNG, rungs from light to heavy by their number.

    Raises:
        LabelError: if the file cannot be read, or an id has no such form.
    """
    table = read_table(path)
    rungs: dict[str, list[tuple[float, int]]] = {}
    for row, video_id in enumerate(table.ids):
        ladder, _, rung = video_id.rpartition("/")
        if not ladder or not _DIGITS.fullmatch(rung):
            raise LabelError(f"{path}: id {video_id!r} is not LADDER/NUMBER; make the file with tools/make_ladders.py")
        rungs.setdefault(ladder, []).append((float(rung), row))
    pairs = []
    for members in rungs.values():
        order = [row for _, row in sorted(members)]
        pairs += [(order[i], order[j], j - i) for j in range(len(order)) for i in range(j)]
    light, heavy, steps = np.array(pairs, dtype=np.int64).reshape(-1, 3).T
    return Ladders(table.values, light, heavy, steps)
