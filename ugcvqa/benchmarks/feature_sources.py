"""Features of a data set for several rows at once, gathered from files and stores and joined by video id."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.benchmarks.feature_blocks import Block, RowFeatures, side_by_side, stacked
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
                files whose columns stand side by side, an inner list holding alternatives, the first that has the
                video being taken; or a mapping from data set to one of these; or `{predictions: one of these}`.
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
        return stacked(row, found)

    def _of_source(self, row: str, source: str, ids: list[str]) -> RowFeatures | None:
        places = self.places(row, source)
        if places is not None:
            blocks = [self._joined(group, ids, row) for group in places]
            features = RowFeatures.of(blocks, tuple(Part(block.name) for block in blocks))
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
        return RowFeatures.of(named.values(), layout)

    def _family(self, family: str, source: str, ids: list[str]) -> Block | None:
        places = self.places(family, source)
        if places is not None:
            blocks = [self._joined(group, ids, family) for group in places]
            return blocks[0] if len(blocks) == 1 else side_by_side(blocks)
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


def _check_width(row: str, features: RowFeatures) -> None:
    width = sum(block.values.shape[1] for block in features.blocks.values())
    if row in ROWS and width != dimension(row):
        raise LabelError(
            f"{' + '.join(features.blocks)}: {width} columns, but row {row} has {dimension(row)}; use another name "
            "for other features"
        )
