"""The feature rows of the benchmark as data: name -> parts, in the order of their columns.

Source: Wang, Katsenou and Bull, Table 2; the orders of columns follow the published feature files. This table is
the only place that knows what a row is made of.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ugcvqa.errors import ConfigError

DIMENSIONS: dict[str, int] = {
    "nss": 1836,
    "cnn": 2048,
    "vsfacnn": 4096,
    "saliency": 224,
    "vsfacnn_saliency": 4096,
    "vsfacnn_224": 4096,
    "stages": 7808,
    "uvq": 600,
    "uvq15": 512,
    "container": 3,
    "pixels": 10,
}
"""Feature family -> length of its video vector with the paper's backbones."""


OF_BACKBONE = frozenset({"cnn", "vsfacnn", "vsfacnn_saliency", "vsfacnn_224", "stages"})
"""Families whose vector is as long as another backbone, or the choice of its stages, makes it."""

LIGHT = frozenset({"nss", "container", "pixels"})
"""Families without a network."""

_OF_SEQUENCE = frozenset({"vsfacnn", "vsfacnn_saliency", "vsfacnn_224"})


class Part(NamedTuple):
    """Columns of a family's video vector, from `start` up to `stop`; None is the end."""

    family: str
    start: int = 0
    stop: int | None = None


_NSS, _CNN, _SALIENCY = Part("nss"), Part("cnn"), Part("saliency")
_NSS_SPATIAL, _NSS_TEMPORAL = Part("nss", 0, 1360), Part("nss", 1360)
_VSFACNN, _FUSED = Part("vsfacnn"), Part("vsfacnn_saliency")
_CONTAINER = Part("container")
_MEASURED_FACTS = Part("pixels", 0, 2)  # frames shown per second, lines of detail

ROWS: dict[str, tuple[Part, ...]] = {
    "SALIENCY": (_SALIENCY,),
    "NSS": (_NSS,),
    "NSS_SALIENCY": (_NSS, _SALIENCY),
    "NSS_CNN": (_NSS_SPATIAL, _CNN, _NSS_TEMPORAL),
    "NSS_CNN_SALIENCY": (_NSS_SPATIAL, _CNN, _NSS_TEMPORAL, _SALIENCY),
    "NSS_VSFACNN": (_NSS, _VSFACNN),
    "NSS_VSFACNN_SALIENCY": (_NSS, _FUSED),
    "CNN": (_CNN,),
    "CNN_SALIENCY": (_CNN, _SALIENCY),
    "VSFACNN": (_VSFACNN,),
    "VSFACNN_SALIENCY": (_FUSED,),
    # Not in the paper: VSFACNN_SALIENCY's frames and size without the map, the control that its ablation lacks.
    "VSFACNN_224": (Part("vsfacnn_224"),),
    # Means and deviations of the first stages of a network too, at the frames' own size: quick and without training.
    "STAGES": (Part("stages"),),
    "NSS_STAGES": (_NSS, Part("stages")),
    # What the published matrix of NSS_VSFACNN holds in fact: the deep block of VSFACNN_SALIENCY.
    "NSS_VSFACNN_AS_PUBLISHED": (_NSS, _FUSED),
    # Features of UVQ's networks for heads of our own; the paper's row UVQ is UVQ's own score, without training.
    "UVQ_FEATURES": (Part("uvq"),),
    "UVQ15_FEATURES": (Part("uvq15"),),
    "NSS_UVQ": (_NSS, Part("uvq")),
    "NSS_UVQ15": (_NSS, Part("uvq15")),
    # Not in the paper either: with the size and frame rate of the file.
    "NSS_CONTAINER": (_NSS, _CONTAINER),
    "CNN_CONTAINER": (_CNN, _CONTAINER),
    "NSS_CNN_CONTAINER": (_NSS_SPATIAL, _CNN, _NSS_TEMPORAL, _CONTAINER),
    # The same two facts as far as the pixels confirm them.
    "NSS_PIXELS": (_NSS, _MEASURED_FACTS),
    "NSS_CNN_SALIENCY_CONTAINER": (_NSS_SPATIAL, _CNN, _NSS_TEMPORAL, _SALIENCY, _CONTAINER),
}
"""Row name -> parts whose columns are concatenated in this order. The first eleven are the paper's."""

PAPER_ROWS = tuple(ROWS)[:11]
"""The rows of the paper's Table 1, without UVQ."""

FRAME_ROWS = tuple(row for row, (part, *others) in ROWS.items() if part.family in _OF_SEQUENCE and not others)
"""Rows that have features of single frames too, which sequence models need."""


def families_of(row: str) -> tuple[str, ...]:
    """Families of a row, each once.

    Raises:
        ConfigError: if there is no such row.
    """
    if row not in ROWS:
        raise ConfigError(f"row {row!r} is unknown; use one of {', '.join(ROWS)}")
    return tuple(dict.fromkeys(part.family for part in ROWS[row]))


def families_of_rows(rows: list[str]) -> tuple[str, ...]:
    """Families of several rows, each once; `all` means the rows of the paper.

    Raises:
        ConfigError: if a row is unknown or none is given.
    """
    names = [name for row in rows for name in (PAPER_ROWS if row == "all" else (row,))]
    if not names:
        raise ConfigError("no row given; use for example --rows [NSS] or --rows [all]")
    return tuple(dict.fromkeys(family for name in names for family in families_of(name)))


def dimension(row: str) -> int:
    """Number of columns of a row with the paper's backbones, as in Table 2."""
    return sum(len(range(DIMENSIONS[part.family])[part.start : part.stop]) for part in ROWS[row])


def parts_of_row(row: str) -> dict[str, list[int]]:
    """Family -> its columns in a row with the paper's backbones, in the family's own order."""
    columns: dict[str, list[int]] = {}
    start = 0
    for part in ROWS[row]:
        stop = start + len(range(DIMENSIONS[part.family])[part.start : part.stop])
        columns.setdefault(part.family, []).extend(range(start, stop))
        start = stop
    return columns


def motion_column(row: str) -> int:
    """Column of a row that holds the number of new frames per second, -1 if there is none."""
    columns = parts_of_row(row).get("pixels", []) if row in ROWS else []
    return columns[0] if columns else -1


def assemble_row(row: str, vectors: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Concatenates the parts of a row from the video vectors (D,), or tables of them (N, D), of its families."""
    return np.concatenate([vectors[part.family][..., part.start : part.stop] for part in ROWS[row]], axis=-1)
