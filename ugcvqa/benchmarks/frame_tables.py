"""Features of the single frames of a data set, for heads that take sequences."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ugcvqa.benchmarks.feature_blocks import merged_makers
from ugcvqa.benchmarks.feature_sources import FRAMES, FeatureSources
from ugcvqa.datasets.joining import matched_rows
from ugcvqa.errors import ConfigError, LabelError
from ugcvqa.features.precisions import settled
from ugcvqa.features.provenance import table_makers
from ugcvqa.features.rows import FRAME_ROWS, families_of
from ugcvqa.features.store import store_of
from ugcvqa.files import file_sha256
from ugcvqa.heads.network_heads import frame_families
from ugcvqa.samples.sequences import PRECISION, SequenceTable, pack, read_sequences


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """Frame features of a data set.

    Attributes:
        lacking: where they come from.
        table: features of the videos that have any, in the order of the data set.
        has: (N,) bool: whether there are features of the video.
        made_by: part -> who made them.
    """

    lacking: str
    table: SequenceTable
    has: npt.NDArray[np.bool_]
    made_by: Mapping[str, str]

    def taken(self, rows: npt.NDArray[np.int64]) -> "FrameFeatures":
        """The same features for a subset of the videos, all of which have them."""
        place = np.cumsum(self.has) - 1
        return replace(self, table=self.table.chosen(place[rows].tolist()), has=self.has[rows])

    @cached_property
    def sha256(self) -> str:
        """Checksum of the numbers with their type and lengths."""
        digest = hashlib.sha256(f"{self.table.frames.dtype}{self.table.dim}{self.table.lengths}".encode())
        digest.update(self.table.frames.view(torch.uint8).numpy().data)
        return digest.hexdigest()


def frame_features(row: str, ids: Sequence[str], sources: FeatureSources) -> FrameFeatures | None:
    """Gathers the frame features of a row for the videos of a data set.

    Args:
        row: a row that has features of single frames, or any other name for a file of your own.
        ids: N video ids as `<data set>/<name>`, grouped by data set.
        sources: where to look: `<row>_FRAMES` among the tables and by the naming rule, then the store.

    Returns:
        The features, which may lack videos; None if there are none for one of the data sets.

    Raises:
        ConfigError: if more than one file is listed.
        LabelError: if a file cannot be read or no video has features.
    """
    names, tables, makers, has = [], [], [], np.zeros(len(ids), dtype=bool)
    for source, group in groupby(enumerate(ids), key=lambda numbered: numbered[1].split("/", 1)[0]):
        numbers, own = zip(*group, strict=True)
        found = _of_source(row, source, own, sources)
        if found is None:
            return None
        name, table = found
        rows = matched_rows(table.ids, own)
        has[np.array(numbers)] = rows >= 0
        names.append(name)
        makers.append(table_makers(row, table.ids, table.means(), table.made_by, name))
        tables += [table.chosen(rows[rows >= 0].tolist())] if (rows >= 0).any() else []
    if not tables:
        raise LabelError(f"{', '.join(names)}: frame features of none of the {len(ids)} videos (row {row})")
    return FrameFeatures(", ".join(names), _joined(row, tables), has, merged_makers(makers))


def _of_source(row: str, source: str, ids: Sequence[str], sources: FeatureSources) -> tuple[str, SequenceTable] | None:
    places = sources.places(f"{row}{FRAMES}", source)
    if places is not None:
        if len(places) != 1 or len(places[0]) != 1:
            raise ConfigError(f"tables: {row}{FRAMES} lists several files; frame features come from one file")
        path = places[0][0]
        sources.checksums[str(path)] = file_sha256(path) if path.is_file() else ""
        return str(path), read_sequences(path, PRECISION[sources.precision])
    if sources.store is None or row not in FRAME_ROWS:
        return None
    return _stored(row, ids, sources, sources.store)


def _stored(row: str, ids: Sequence[str], sources: FeatureSources, folder: Path) -> tuple[str, SequenceTable] | None:
    ((name, family),) = frame_families(row, settled(sources.families, families_of(row), folder)).items()
    spec = family.spec
    store = store_of(folder, spec)
    contents = dict(store.names(spec))
    names = list(contents)
    wanted = [names[row] for row in matched_rows(names, ids) if row >= 0]
    if not wanted:
        return None
    sources.checksums[f"{folder}:{name}{FRAMES}"] = spec.key_on(store.device)
    sequences = (store.get(spec, contents[video_id])["frames"] for video_id in wanted)
    table = pack(wanted, sequences, PRECISION[sources.precision])
    return f"{folder}:{name}", replace(table, made_by=spec.to_json())


def _joined(row: str, tables: Sequence[SequenceTable]) -> SequenceTable:
    if len(tables) == 1:
        return tables[0]
    if len({table.dim for table in tables}) > 1:
        raise LabelError(f"row {row}: frame features of {' and '.join(str(table.dim) for table in tables)} columns")
    return SequenceTable(
        tuple(video_id for table in tables for video_id in table.ids),
        tuple(length for table in tables for length in table.lengths),
        torch.cat([table.frames for table in tables]),
    )
