"""Feature files of a row, joined by video id, with what is known of who made them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.datasets.tables import FeatureTable, align, read_table
from ugcvqa.errors import LabelError
from ugcvqa.features.container import container_table
from ugcvqa.features.provenance import Provenance, check_stated, parts_of, provenance_of, stated_maker
from ugcvqa.features.rows import ROWS, assemble_row, dimension, families_of, parts_of_row
from ugcvqa.features.store import table_of_folder
from ugcvqa.files import file_sha256
from ugcvqa.settings.features import FamilySettings


@dataclass(frozen=True, eq=False)
class Imported:
    """Features of N videos that come from files.

    Attributes:
        ids: of the videos, in order.
        values: (N, D) columns of the row.
        provenance: who made them.
        sources: file -> SHA-256, or `store`.
    """

    ids: tuple[str, ...]
    values: npt.NDArray[np.float64]
    provenance: Provenance
    sources: dict[str, str]


def read_features(
    files: Sequence[str],
    row: str,
    families: FamilySettings,
    made_by: str | Mapping[str, str] | None = None,
    ids: Sequence[str] | None = None,
) -> Imported:
    """Reads the features of a row from files or folders of a store.

    One file per family of the row, in the order of `rows.families_of`, is brought into the row's order of columns; any
    other files stand side by side. Where the row wants facts of the file, a label file with columns width, height and
    fps does in place of a feature file.

    Args:
        files: feature files, label files, or a family's folders in a store.
        row: name of a row, or any other name for your own features.
        families: settings of the extractors, which decide how many columns a row has.
        made_by: who made them, as the user states it.
        ids: the videos in order, each of which every file must have; those of the first file if left out.

    Raises:
        LabelError: if ids do not match, the width is not that of the row, or its maker is contradicted.
    """
    check_stated(made_by, row)
    paths = [Path(path) for path in files]
    names = families_of(row) if row in ROWS else ()
    is_by_family = 1 < len(names) == len(paths)
    facts = paths[names.index("container")] if is_by_family and "container" in names else None
    tables = [_table(path, is_of_container=path is facts) for path in paths]
    ids = tables[0].ids if ids is None else tuple(ids)
    blocks = [_aligned(path, table, ids) for path, table in zip(paths, tables, strict=True)]
    if is_by_family:
        values = assemble_row(row, dict(zip(names, blocks, strict=True)))
    else:
        values = np.concatenate(blocks, axis=1)
    if row in ROWS and families.has_paper_backbones and values.shape[1] != dimension(row):
        raise LabelError(
            f"{', '.join(files)}: {values.shape[1]} columns, but row {row} has {dimension(row)}; give another --row "
            "name for other features"
        )
    if is_by_family:
        parts = {name: (block, table.made_by) for name, block, table in zip(names, blocks, tables, strict=True)}
        where = dict(zip(names, map(str, paths), strict=True))
    else:
        said = {table.made_by for table in tables}
        text = said.pop() if len(said) == 1 else ""
        parts = {name: (block, text) for name, block in _split_row(row, values, families).items()}
        where = dict.fromkeys(parts, ", ".join(map(str, paths)))
    makers: dict[str, str] = {}
    specs: dict[str, str] = {}
    for name, (block, text) in parts.items():
        makers[name], spec = provenance_of(name, ids, block, text, stated_maker(made_by, name), where[name])
        specs |= {name: spec} if spec else {}
    return Imported(tuple(ids), values, Provenance(makers, specs), {str(path): _checksum(path) for path in paths})


def _split_row(row: str, values: npt.NDArray[Any], families: FamilySettings) -> dict[str, npt.NDArray[Any]]:
    """Columns of each part of a row; all of them for each part where their widths are not known."""
    names = parts_of(row)
    if len(names) > 1 and families.has_paper_backbones:
        return {name: values[:, columns] for name, columns in parts_of_row(row).items()}
    return dict.fromkeys(names, values)


def _aligned(path: Path, table: FeatureTable, ids: Sequence[str]) -> npt.NDArray[Any]:
    try:
        return align(table, ids, allow_extra=True)
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from error


def _table(path: Path, is_of_container: bool) -> FeatureTable:
    if path.is_dir():
        return table_of_folder(path)
    return container_table(path) if is_of_container and path.suffix.lower() == ".csv" else read_table(path)


def _checksum(path: Path) -> str:
    return "store" if path.is_dir() else file_sha256(path)
