"""Features of a data set for several rows at once, gathered from files and stores and joined by video id."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.datasets.joining import matched_rows
from ugcvqa.datasets.tables import FORMATS, FeatureTable, read_table
from ugcvqa.errors import ConfigError, LabelError
from ugcvqa.features.provenance import table_makers
from ugcvqa.features.rows import DIMENSIONS, ROWS, Part, dimension, families_of
from ugcvqa.features.store import store_of, table_of_folder
from ugcvqa.files import file_sha256
from ugcvqa.settings.features import FamilySettings

PREDICTIONS = "predictions"
"""Key that marks a table as finished predictions, one number per video, instead of features."""

FRAMES = "_FRAMES"
"""Suffix that makes a row's name the name of the table of its frame features."""

Places = list[list[Path]]
"""Files of the columns: groups stand side by side; within a group the first file that has a video wins."""


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


class FeatureSources:
    """Finds features by name: in files that are listed, in a folder by the naming rule, and in a store.

    The naming rule is `<data set>_<row or family>`, lower case, with `.npz`, `.csv` or `.mat`, such as
    `youtube_ugc_nss.npz`; the data set is the part before the slash of the video ids, so the resolution classes of
    YouTube-UGC and `combined` need no files of their own. Size and frame rate (family `container`) are taken from the
    label files in `labels` (data set -> file) where neither file nor store has them.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        tables: Mapping[str, Any] | None = None,
        store: str | Path | None = None,
        families: FamilySettings | None = None,
        precision: str = "float32",
    ) -> None:
        """Remembers where to look.

        Args:
            folder: base of the relative names in `tables`, and where files are found by the naming rule.
            tables: name of a row, a family or your own table -> a file (or a family's folder in a store); or a list of
                files whose columns stand side by side, an inner list being alternatives of which the first that has
                the video is taken; or a mapping from data set to one of these; or `{predictions: one of these}`.
            store: feature store, for families that are found nowhere else.
            families: settings of the families in the store.
            precision: in which features of single frames are held.

        Raises:
            ConfigError: if the folder does not exist.
        """
        self.folder = Path(folder) if folder else None
        if self.folder is not None and not self.folder.is_dir():
            raise ConfigError(f"{folder}: no such folder of feature files; single files are given with --tables")
        self.tables = dict(tables or {})
        self.store = Path(store) if store else None
        self.families = families or FamilySettings()
        self.precision = precision
        self.labels: dict[str, Path] = {}
        self.checksums: dict[str, str] = {}
        self._read: dict[Path, FeatureTable] = {}
        self._used: dict[str, npt.NDArray[np.bool_]] = {}

    def own_names(self) -> tuple[str, ...]:
        """Listed names that are neither a row nor a family nor of frame features, in order."""
        known = (*ROWS, *DIMENSIONS)
        return tuple(name for name in self.tables if name not in known and not name.endswith(FRAMES))

    def is_predictions(self, row: str) -> bool:
        """Whether a name denotes finished predictions."""
        listed = self.tables.get(row)
        return isinstance(listed, Mapping) and PREDICTIONS in listed

    def unused(self) -> dict[str, list[str]]:
        """Ids of the videos that were asked for in no data set so far, by file."""
        tables = {str(path): table for path, table in self._read.items()}
        unused = {path: [tables[path].ids[row] for row in np.flatnonzero(~used)] for path, used in self._used.items()}
        return {path: ids for path, ids in unused.items() if ids}

    def row(self, row: str, ids: Sequence[str]) -> RowFeatures | None:
        """Gathers the features of a row, or of a table of your own, for the videos of a data set.

        Args:
            row: name of a row of the benchmark, or any other name for a table of your own.
            ids: N video ids as `<data set>/<name>`, grouped by data set.

        Returns:
            The features, which may lack videos; None if there is nothing by this name for one of the data sets.

        Raises:
            ConfigError: if a listed entry cannot be understood.
            LabelError: if a table cannot be read, has repeated ids, or has another width than the others or the row.
        """
        found = []
        for source, group in groupby(ids, key=_source):
            blocks = self._of_source(row, source, list(group))
            if blocks is None:
                return None
            found.append(blocks)
        return _stacked(row, found)

    def _of_source(self, row: str, source: str, ids: list[str]) -> RowFeatures | None:
        places = self.places(row, source)
        if places is not None:
            blocks = [self._joined(group, ids, row) for group in places]
            features = RowFeatures({block.name: block for block in blocks}, tuple(Part(block.name) for block in blocks))
            if self.families.has_paper_backbones:
                _check_width(row, features)
            return features
        if row not in ROWS:
            return None
        named: dict[str, Block] = {}
        for family in families_of(row):
            block = self._family(family, source, ids)
            if block is None:
                return None
            named[family] = block
        layout = tuple(part._replace(family=named[part.family].name) for part in ROWS[row])
        features = RowFeatures({block.name: block for block in named.values()}, layout)
        return features

    def _family(self, family: str, source: str, ids: list[str]) -> Block | None:
        places = self.places(family, source)
        if places is not None:
            blocks = [self._joined(group, ids, family) for group in places]
            return blocks[0] if len(blocks) == 1 else _side_by_side(blocks)
        if family == "container" and self.store is None and source in self.labels:
            path = self.labels[source]
            return self._block([self._facts(path)], [f"{path}:container"], ids, family)
        if self.store is not None:
            return self._block([self._stored(family)], [f"{self.store}:{family}"], ids, family)
        return None

    def places(self, name: str, source: str) -> Places | None:
        """Files of a name for one data set: as listed, else by the naming rule.

        Raises:
            ConfigError: if a listed entry cannot be understood.
        """
        listed = self.tables.get(name)
        if isinstance(listed, Mapping):
            listed = listed.get(PREDICTIONS, listed)
        if isinstance(listed, Mapping):
            listed = listed.get(source)
        if listed is not None:
            return self._listed(name, listed)
        if self.folder is not None:
            for suffix in FORMATS:
                path = self.folder / f"{source}_{name.lower()}{suffix}"
                if path.is_file():
                    return [[path]]
        return None

    def _listed(self, name: str, listed: Any) -> Places:  # noqa: ANN401 (any YAML value; checked here)
        columns = [listed] if isinstance(listed, str) else listed
        groups = (
            [[group] if isinstance(group, str) else group for group in columns] if isinstance(columns, list) else []
        )
        if not groups or not all(isinstance(group, list) and group for group in groups):
            raise ConfigError(f"tables: {name} is {listed!r}; give a file, or a list of files or of lists of files")
        return [[(self.folder or Path()) / str(path) for path in group] for group in groups]

    def _joined(self, paths: list[Path], ids: list[str], name: str) -> Block:
        """One block from alternatives."""
        return self._block([self._table(path) for path in paths], [str(path) for path in paths], ids, name)

    def _block(self, tables: list[FeatureTable], origins: list[str], ids: list[str], name: str) -> Block:
        """Joins alternatives: each video's values come from the first table that has it."""
        width = tables[0].values.shape[1]
        values = np.full((len(ids), width), np.nan, dtype=np.result_type(*(table.values for table in tables)))
        has = np.zeros(len(ids), dtype=bool)
        for table, path in zip(tables, origins, strict=True):
            if table.values.shape[1] != width:
                raise LabelError(f"{path}: {table.values.shape[1]} columns, but {origins[0]} has {width} ({name})")
            try:
                rows = matched_rows(table.ids, ids)
            except LabelError as error:
                raise LabelError(f"{path}: {error}") from error
            self._used.setdefault(path, np.zeros(len(table.ids), dtype=bool))[rows[rows >= 0]] = True
            new = (rows >= 0) & ~has
            values[new] = table.values[rows[new]]
            has |= new
        names, titles = " or ".join(origins), " or ".join(Path(origin).name for origin in origins)
        text = tables[0].made_by if len({table.made_by for table in tables}) == 1 else ""
        known = [video_id for video_id, is_there in zip(ids, has.tolist(), strict=True) if is_there]
        return Block(names, values, has, titles, table_makers(name, known, values[has], text, names))

    def _table(self, path: Path) -> FeatureTable:
        if path not in self._read:
            self._read[path] = table_of_folder(path) if path.is_dir() else read_table(path)
            self.checksums[str(path)] = "store" if path.is_dir() else file_sha256(path)
        return self._read[path]

    def _facts(self, path: Path) -> FeatureTable:
        from ugcvqa.features.container import container_table  # brings the decoder's libraries

        key = Path(f"{path}:container")
        if key not in self._read:
            self._read[key] = container_table(path)
            self.checksums[str(path)] = file_sha256(path)
        return self._read[key]

    def _stored(self, family: str) -> FeatureTable:
        from ugcvqa.features.families import build_families  # torch takes seconds to import
        from ugcvqa.features.precisions import settled

        key = Path(f"{self.store}:{family}")
        if key not in self._read:
            root = Path(str(self.store))
            spec = build_families((family,), settled(self.families, (family,), root))[family].spec
            store = store_of(root, spec)
            self._read[key] = store.table(spec)
            self.checksums[str(key)] = spec.key_on(store.device)
        return self._read[key]


def _source(video_id: str) -> str:
    return video_id.split("/", 1)[0]


def _side_by_side(blocks: Sequence[Block]) -> Block:
    values = np.concatenate([block.values for block in blocks], axis=1)
    has: npt.NDArray[np.bool_] = np.all([block.has for block in blocks], axis=0)
    names, titles = (" + ".join(getattr(block, text) for block in blocks) for text in ("name", "title"))
    return Block(names, values, has, titles, merged_makers(block.made_by for block in blocks))


def merged_makers(several: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Part -> maker of all of them, with `and` where they differ."""
    merged: dict[str, str] = {}
    for made_by in several:
        for part, maker in made_by.items():
            names = merged.get(part, maker).split(" and ")
            merged[part] = " and ".join(dict.fromkeys([*names, maker]))
    return merged


def _stacked(row: str, found: Sequence[RowFeatures]) -> RowFeatures:
    """Puts the videos of several data sets below each other."""
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
    names = {}
    blocks = {}
    for parallel in zip(*(one.blocks.values() for one in found), strict=True):
        name, title = (", ".join(getattr(block, text) for block in parallel) for text in ("name", "title"))
        names[parallel[0].name] = name
        values = np.concatenate([block.values for block in parallel])
        made_by = merged_makers(block.made_by for block in parallel)
        blocks[name] = Block(name, values, np.concatenate([block.has for block in parallel]), title, made_by)
    return RowFeatures(blocks, tuple(part._replace(family=names[part.family]) for part in found[0].layout))


def _as_one_block(features: RowFeatures) -> RowFeatures:
    name = " + ".join(features.blocks)
    title = " + ".join(block.title for block in features.blocks.values())
    made_by = merged_makers(block.made_by for block in features.blocks.values())
    return RowFeatures({name: Block(name, features.columns(), features.has, title, made_by)}, (Part(name),))


def _check_width(row: str, features: RowFeatures) -> None:
    width = sum(block.values.shape[1] for block in features.blocks.values())
    if row in ROWS and width != dimension(row):
        raise LabelError(
            f"{' + '.join(features.blocks)}: {width} columns, but row {row} has {dimension(row)}; use another name "
            "for other features"
        )
