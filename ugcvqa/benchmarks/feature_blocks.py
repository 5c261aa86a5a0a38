"""Features of a row as blocks of columns, a line per video: chosen, put side by side or below each other."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.errors import LabelError
from ugcvqa.features.rows import Part


@dataclass(frozen=True, eq=False)
class Block:
    """Columns that rows are made of.

    Attributes:
        name: the files it comes from, and the same for the same numbers within a data set.
        values: (N, D) floating point, one row per video of the data set; NaN where it has none.
        has: (N,) bool: whether there are features of the video.
        title: `name` without the folders, for a reader.
        made_by: part -> who made its columns, see `features.provenance`.
    """

    name: str
    values: npt.NDArray[Any]
    has: npt.NDArray[np.bool_]
    title: str
    made_by: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """Checksum of the numbers with their type and shape."""
        head = f"{self.values.dtype.str}{self.values.shape}".encode()
        return hashlib.sha256(head + np.ascontiguousarray(self.values).tobytes()).hexdigest()

    def taken(self, rows: npt.NDArray[np.int64]) -> "Block":
        """The same columns for a subset of the videos."""
        return replace(self, values=self.values[rows], has=self.has[rows])

    def finite(self) -> "Block":
        """The same, where a video with a NaN or infinite value counts as one without features."""
        return replace(self, has=self.has & np.isfinite(self.values).all(axis=1))


@dataclass(frozen=True, eq=False)
class RowFeatures:
    """The features of one row.

    Attributes:
        blocks: by name.
        layout: columns of the row in order; `Part.family` is the name of a block.
    """

    blocks: Mapping[str, Block]
    layout: tuple[Part, ...]

    @classmethod
    def of(cls, blocks: Iterable[Block], layout: tuple[Part, ...]) -> "RowFeatures":
        """The features that some blocks hold, each under its name."""
        return cls({block.name: block for block in blocks}, layout)

    @property
    def has(self) -> npt.NDArray[np.bool_]:
        """(N,) bool: whether every block has features of the video."""
        shared: npt.NDArray[np.bool_] = np.all([block.has for block in self.blocks.values()], axis=0)
        return shared

    def taken(self, rows: npt.NDArray[np.int64]) -> "RowFeatures":
        """The same features for a subset of the videos."""
        return replace(self, blocks={name: block.taken(rows) for name, block in self.blocks.items()})

    def finite(self) -> "RowFeatures":
        """The same, where a video with a NaN or infinite value counts as one without features."""
        return replace(self, blocks={name: block.finite() for name, block in self.blocks.items()})

    @property
    def lacking(self) -> str:
        """Name of the first block that lacks videos."""
        return next(block.name for block in self.blocks.values() if not block.has.all())

    def columns(self) -> npt.NDArray[np.float64]:
        """(N, D) columns of the row in order."""
        return row_columns({name: block.values for name, block in self.blocks.items()}, self.layout)


def row_columns(blocks: Mapping[str, npt.NDArray[Any]], layout: Sequence[Part]) -> npt.NDArray[np.float64]:
    """Concatenates the columns (N, D) of a row from its blocks."""
    parts = [blocks[part.family][:, part.start : part.stop].astype(np.float64) for part in layout]
    return np.concatenate(parts, axis=1)


def side_by_side(blocks: Sequence[Block]) -> Block:
    """One block with the columns of several; a video has features where all of them have some."""
    return _merged(blocks, " + ", axis=1)


def merged_makers(several: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Part -> maker of all of them, with `and` where they differ."""
    merged: dict[str, str] = {}
    for made_by in several:
        for part, maker in made_by.items():
            names = merged.get(part, maker).split(" and ")
            merged[part] = " and ".join(dict.fromkeys([*names, maker]))
    return merged


def stacked(row: str, found: Sequence[RowFeatures]) -> RowFeatures:
    """Puts the videos of several data sets below each other.

    Raises:
        LabelError: if the data sets' files have different numbers of columns.
    """
    if len(found) == 1:
        return found[0]
    shapes = {
        tuple(block.values.shape[1] for block in one.blocks.values()) + tuple(part[1:] for part in one.layout)
        for one in found
    }
    if len(shapes) > 1:  # made of other parts in another order: only the complete rows fit below each other
        found = [_as_one_block(one) for one in found]
        widths = {next(iter(one.blocks.values())).values.shape[1] for one in found}
        if len(widths) > 1:
            raise LabelError(f"row {row}: {' and '.join(map(str, sorted(widths)))} columns in the data sets' files")
    parallel = zip(*(one.blocks.values() for one in found), strict=True)
    blocks = {blocks[0].name: _merged(blocks, ", ", axis=0) for blocks in parallel}
    layout = tuple(part._replace(family=blocks[part.family].name) for part in found[0].layout)
    return RowFeatures.of(blocks.values(), layout)


def _as_one_block(features: RowFeatures) -> RowFeatures:
    block = side_by_side([*features.blocks.values()])
    return RowFeatures.of([replace(block, values=features.columns())], (Part(block.name),))


def _merged(blocks: Sequence[Block], between: str, axis: int) -> Block:
    """Joins blocks below each other (axis 0) or side by side (1), and their names with a text between them."""
    name, title = (between.join(getattr(block, text) for block in blocks) for text in ("name", "title"))
    has = [block.has for block in blocks]
    return Block(
        name,
        np.concatenate([block.values for block in blocks], axis),
        np.all(has, axis=0) if axis else np.concatenate(has),
        title,
        merged_makers(block.made_by for block in blocks),
    )
