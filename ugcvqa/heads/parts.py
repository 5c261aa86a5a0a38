"""The parts of a feature row: columns that share a scaling and a distance in the kernel of a Gaussian process."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa import untrusted
from ugcvqa.errors import CheckpointError, LabelError
from ugcvqa.features.rows import DIMENSIONS, OF_BACKBONE, ROWS, dimension
from ugcvqa.heads.scaling import Scaling
from ugcvqa.nss.columns import BLOCKS, BY_MAP, Columns

_MOST_PARTS, _MOST_COLUMNS = 100, 1_000_000  # of a stored head


@dataclass(frozen=True)
class GPPart:
    """Columns of a row that share one distance.

    Attributes:
        name: shown in reports; what stands before a slash is the group, whose parts share a kernel of their own.
        start: first column.
        stop: column after the last.
        scaling: how the columns are scaled, see `scaling.apply_scaling`.
    """

    name: str
    start: int
    stop: int
    scaling: Scaling

    @property
    def group(self) -> str:
        """The name up to its first slash."""
        return self.name.split("/", maxsplit=1)[0]


_FINER = "nss by map"
"""The NSS by kind of map and band of time, for rows with facts of the pixels. Finer parts have a higher likelihood; the
rows of the paper keep the three that their figures were made with."""

_FamilyParts = tuple[tuple[str, int, int | None, Scaling], ...]


def _nss_parts(columns: Columns) -> _FamilyParts:
    return tuple((f"nss/{name}", start, stop, "rank") for name, (start, stop) in columns.items())


_FAMILY_PARTS: dict[str, _FamilyParts] = {
    "nss": _nss_parts(BLOCKS),
    _FINER: _nss_parts(BY_MAP),
    "cnn": (("cnn", 0, None, "root"),),
    "saliency": (("saliency", 0, None, "standard"),),
    "uvq": (("uvq", 0, None, "rank"),),
    "uvq15": (("uvq15", 0, None, "rank"),),
    "container": (
        ("container/height", 0, 1, "log"),
        ("container/width", 1, 2, "log"),
        ("container/rate", 2, 3, "log"),
    ),
    "pixels": (("pixels/lines", 1, 2, "log"),),  # not the rate of frames, which `motion` counts
}


def gp_parts(row: str, n_columns: int) -> tuple[GPPart, ...]:
    """Derives the parts of a feature row.

    Args:
        row: name in `rows.ROWS`; columns of any other row are one part in rank scaling.
        n_columns: columns of the row, which tell the width of a deep family with another backbone than the paper's.

    Raises:
        LabelError: if the row cannot have that many columns.
    """
    if row not in ROWS:
        return (GPPart("features", 0, n_columns, "rank"),)
    surplus = n_columns - dimension(row)
    deep = [DIMENSIONS[part.family] for part in ROWS[row] if part.family in OF_BACKBONE]  # one at most
    if surplus and (not deep or deep[0] + surplus < 1):
        raise LabelError(f"{n_columns} columns, but row {row} has {dimension(row)}")
    parts, offset = [], 0
    is_fine = any(part.family == "pixels" for part in ROWS[row])
    for family, start, stop in ROWS[row]:
        width = DIMENSIONS[family] + (surplus if family in OF_BACKBONE else 0)
        first, last, _ = slice(start, stop).indices(width)
        for name, low, high, scaling in _family_parts(_FINER if is_fine and family == "nss" else family, width):
            begin, end = max(low, first), min(high, last)
            if begin < end:
                parts.append(GPPart(name, offset + begin - first, offset + end - first, scaling))
        offset += last - first
    return tuple(parts)


def _family_parts(family: str, width: int) -> Iterator[tuple[str, int, int, Scaling]]:
    if family not in _FAMILY_PARTS:  # means, then standard deviations, of a network's channels
        scaling: Scaling = "rank" if family == "stages" else "root"  # which differ in size from stage to stage
        yield f"{family}/mean", 0, width // 2, scaling
        yield f"{family}/deviation", width // 2, width, scaling
        return
    for name, start, stop, scaling in _FAMILY_PARTS[family]:
        yield name, start, width if stop is None else stop, scaling


def parts_from(values: Any) -> tuple[GPPart, ...]:  # noqa: ANN401 (anything JSON knows)
    """Rebuilds the parts of a head.

    Raises:
        CheckpointError: if they are none, or are not as this package writes them.
    """
    parts = [_part(untrusted.mapping(value, "a part")) for value in untrusted.sequence(values, "parts", _MOST_PARTS)]
    if len({part.name for part in parts}) < max(1, len(parts)):
        raise CheckpointError("parts have the same name, or there are none")
    return tuple(parts)


def stored_tables(
    arrays: Mapping[str, npt.NDArray[Any]], parts: Sequence[GPPart]
) -> tuple[npt.NDArray[np.float32], ...]:
    """Takes the table of each part's scaling, `table0`, `table1` ..., from the arrays of a model file; unchecked."""
    return tuple(
        np.empty((0, part.stop - part.start), dtype=np.float32)  # safetensors keeps no empty array
        if part.scaling == "root"
        else np.asarray(arrays[f"table{index}"])
        for index, part in enumerate(parts)
    )


def _part(value: Mapping[str, Any]) -> GPPart:
    start = untrusted.whole(value["start"], "start of a part", 0, _MOST_COLUMNS)
    stop = untrusted.whole(value["stop"], "stop of a part", start + 1, _MOST_COLUMNS)
    scaling: Any = untrusted.text(value["scaling"], "scaling of a part")  # checked with its table
    return GPPart(untrusted.text(value["name"], "name of a part"), start, stop, scaling)
