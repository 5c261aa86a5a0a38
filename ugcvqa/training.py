"""What `fit` does: gather features and labels, split, fit a head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.cli import progress_bar
from ugcvqa.datasets import Dataset
from ugcvqa.errors import LabelError
from ugcvqa.families import Family
from ugcvqa.files import file_sha256
from ugcvqa.model import QualityModel
from ugcvqa.rows import ROWS, assemble_row, dimension
from ugcvqa.settings import DecodeLimits, FamilySettings, LoaderSettings, SplitSettings, SVRSettings
from ugcvqa.splits import Split, group_split, protocol_split
from ugcvqa.store import FeatureStore, table_of_folder
from ugcvqa.svr import GridReport, fit_svr
from ugcvqa.tables import align, read_table

Array = npt.NDArray[np.float64]

_MIN_VIDEOS = 13  # ten are left to train on when a fifth is held out


@dataclass(frozen=True)
class Samples:
    """Features and labels of the videos that can be used, row by row.

    Attributes:
        dataset: the data set without the videos that failed.
        features: (N, D) float64 video vectors in the order of `dataset.videos`.
        failures: video id -> reason, of the others.
        sources: where the features come from: file -> SHA-256, or family -> folder in the store.
        specs: family -> spec as JSON, of features that were extracted here.
    """

    dataset: Dataset
    features: Array
    failures: dict[str, str]
    sources: dict[str, str]
    specs: dict[str, str]


def imported_samples(dataset: Dataset, files: Sequence[str], row: str) -> Samples:
    """Reads features from files or folders of a store and joins them to the labels by video id.

    Raises:
        LabelError: if ids do not match or the width is not that of the row.
    """
    ids = [video.video_id for video in dataset.videos]
    paths = [Path(path) for path in files]
    tables = [table_of_folder(path) if path.is_dir() else read_table(path) for path in paths]
    values = np.concatenate([align(table, ids, allow_extra=True) for table in tables], axis=1)
    if row in ROWS and values.shape[1] != dimension(row):
        raise LabelError(
            f"{', '.join(files)}: {values.shape[1]} columns, but row {row} has {dimension(row)}; give another --row "
            "name for other features"
        )
    return Samples(dataset, values, {}, {str(path): _checksum(path) for path in paths}, {})


def _checksum(path: Path) -> str:
    return "store" if path.is_dir() else file_sha256(path)


def extracted_samples(
    dataset: Dataset,
    row: str,
    families: Mapping[str, Family],
    store: FeatureStore,
    loader: LoaderSettings,
    limits: DecodeLimits,
    trainer: dict[str, Any],
) -> Samples:
    """Takes features from the store after extracting what it lacks; videos that fail are left out.

    Raises:
        LabelError: if no video is left.
        StoreError: if the store cannot be read or written.
    """
    from ugcvqa.extractors import extract_dataset  # Lightning takes seconds to import

    if all(video.path is None for video in dataset.videos):
        raise LabelError(f"{dataset.name}: no video file found; give --data.root FOLDER, or --data.features FILE")
    if len(dataset.videos) < _MIN_VIDEOS:
        raise LabelError(f"{dataset.name}: {len(dataset.videos)} videos; at least {_MIN_VIDEOS} are needed to train")
    failures = extract_dataset(dataset, families, store, loader, limits, trainer)
    usable = tuple(video for video in dataset.videos if video.video_id not in failures)
    if not usable:
        first = next(iter(failures.values()), "it is empty")
        raise LabelError(f"{dataset.name}: none of {len(dataset.videos)} videos can be used ({first})")
    specs = {name: family.spec for name, family in families.items()}
    rows = []
    for video in usable:
        content = store.content(Path(str(video.path)))
        rows.append(assemble_row(row, {name: store.get(spec, content)["video"] for name, spec in specs.items()}))
    kept = Dataset(dataset.name, dataset.label, dataset.scale, usable)
    sources = {name: spec.key for name, spec in specs.items()}
    return Samples(kept, np.stack(rows), failures, sources, {name: spec.to_json() for name, spec in specs.items()})


def make_split(dataset: Dataset, settings: SplitSettings) -> Split:
    """Splits a data set by content group or by the benchmark's protocol.

    Raises:
        LabelError: if there are too few videos or groups.
        ConfigError: if the split number or seed cannot be used.
    """
    ids = [video.video_id for video in dataset.videos]
    groups = [video.group for video in dataset.videos]
    kind = settings.kind
    if kind == "auto":
        kind = "group" if len(set(groups)) < len(groups) else "protocol"
    if kind == "group":
        return group_split(ids, groups, settings.seed)
    return protocol_split(ids, settings.index)


def fit_head(
    samples: Samples, split: Split, row: str, settings: SVRSettings, families: FamilySettings
) -> tuple[QualityModel, GridReport]:
    """Fits the SVR head to the training part (train and val together, after the choice of C and gamma)."""
    dataset = samples.dataset
    position = {video.video_id: index for index, video in enumerate(dataset.videos)}
    outer = [position[video_id] for video_id in split.outer_train]
    within = {video_id: index for index, video_id in enumerate(split.outer_train)}
    mos = np.array([dataset.videos[index].mos for index in outer])
    with progress_bar(1, "candidate", "grid search") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        head, grid = fit_svr(
            samples.features[outer],
            mos,
            [within[video_id] for video_id in split.train],
            [within[video_id] for video_id in split.val],
            settings,
            progress,
        )
    trained_on = f"{dataset.name} ({len(outer)} videos)"
    return QualityModel(head, row, families, dataset.label, dataset.scale, trained_on, samples.specs), grid
