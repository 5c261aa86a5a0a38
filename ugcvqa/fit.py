"""`ugcvqa fit`: trains a head on a data set and writes one run folder."""

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ugcvqa import metrics, report
from ugcvqa.cli import run_verb
from ugcvqa.datasets import Dataset
from ugcvqa.errors import LabelError
from ugcvqa.extract import LoaderSettings, extract_dataset, is_main_process
from ugcvqa.files import file_sha256
from ugcvqa.inputs import DataSettings, open_dataset
from ugcvqa.model import QualityModel
from ugcvqa.rows import DIMENSIONS, ROWS, FamilySettings, families_of
from ugcvqa.runs import Samples, new_folder, part_scores, write_run
from ugcvqa.splits import Split, group_split, protocol_split
from ugcvqa.store import FeatureStore
from ugcvqa.svr import GridReport, SVRSettings, fit_svr
from ugcvqa.tables import align, read_table
from ugcvqa.video import DecodeLimits

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SplitSettings:
    """Which videos train, choose and test.

    Attributes:
        kind: `protocol` for the benchmark's seeded splits, which shuffle videos; `group` keeps all videos of a
            content group (scene) on one side; `auto` takes `group` where the data set names groups.
        index: number of the protocol split, 1 to 100 in the benchmark.
        seed: seed of the group split.
    """

    kind: Literal["auto", "protocol", "group"] = "auto"
    index: int = 1
    seed: int = 0


def fit(
    data: DataSettings = DataSettings(),
    row: str = "NSS",
    head: SVRSettings = SVRSettings(),
    split: SplitSettings = SplitSettings(),
    families: FamilySettings = FamilySettings(),
    out: str = "runs",
    name: str | None = None,
    store: str = "store",
    loader: LoaderSettings = LoaderSettings(),
    limits: DecodeLimits = DecodeLimits(),
    trainer: dict[str, Any] = {},
) -> int:
    """Trains a model on a data set, tests it on held-out videos, and writes one run folder.

    Without arguments: the NSS features and the SVR head on the built-in demo set, on the CPU, offline.
    Features are taken from the store, extracted if they are missing there, or read from `--data.features`.

    Args:
        data: the videos, their labels, and feature files if there are any.
        row: feature row; any name for features that come from files.
        head: settings of the SVR head.
        split: which videos train and test.
        families: settings of the feature families.
        out: folder in which the run folder is made.
        name: name of the run folder; by default data set, row and head. A number is added if it exists.
        store: folder of the feature store.
        loader: how clips are read.
        limits: bounds on what is decoded.
        trainer: arguments of Lightning's Trainer, such as devices, num_nodes, strategy, accelerator.
    """
    settings = dict(locals())
    started = time.monotonic()
    if not data.features:
        families_of(row)
    dataset = open_dataset(data)
    if data.features:
        samples = imported_samples(dataset, data, row)
    else:
        samples = extracted_samples(dataset, row, families, FeatureStore(Path(store)), loader, limits, trainer)
    if not is_main_process():
        return 0
    parts = make_split(samples.dataset, split)
    log.info("split: %d train, %d val, %d test videos", len(parts.train), len(parts.val), len(parts.test))
    model, grid = fit_head(samples, parts, row, head, families)
    folder = write_run(
        new_folder(Path(out), name or f"{samples.dataset.name}_{row.lower()}_svr"),
        settings,
        samples,
        parts,
        model,
        grid,
    )
    _report(folder, samples, parts, model, time.monotonic() - started)
    return 0


def imported_samples(dataset: Dataset, data: DataSettings, row: str) -> Samples:
    """Reads features from files and joins them to the labels by video id.

    Raises:
        LabelError: if ids do not match or the width is not that of the row.
    """
    ids = [video.video_id for video in dataset.videos]
    paths = [Path(path) for path in data.features]
    values = np.concatenate([align(read_table(path), ids, allow_extra=True) for path in paths], axis=1)
    if row in ROWS:
        expected = sum(DIMENSIONS[family] for family in ROWS[row])
        if values.shape[1] != expected:
            raise LabelError(
                f"{', '.join(data.features)}: {values.shape[1]} columns, but row {row} has {expected}; give "
                "another --row name for other features"
            )
    return Samples(dataset, values, {}, {str(path): file_sha256(path) for path in paths})


def extracted_samples(
    dataset: Dataset,
    row: str,
    families: FamilySettings,
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
    names = families_of(row)
    failures = extract_dataset(dataset, names, families, store, loader, limits, trainer)
    usable = tuple(video for video in dataset.videos if video.video_id not in failures)
    if not usable:
        first = next(iter(failures.values()), "it is empty")
        raise LabelError(f"{dataset.name}: none of {len(dataset.videos)} videos can be used ({first})")
    specs = [families.spec(name) for name in names]
    rows = []
    for video in usable:
        content = store.content(Path(str(video.path)))
        rows.append(np.concatenate([store.get(spec, content)["video"] for spec in specs]))
    kept = Dataset(dataset.name, dataset.label, dataset.scale, usable)
    return Samples(kept, np.stack(rows), failures, {spec.family: spec.key for spec in specs})


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
    with tqdm(total=1, unit="candidate", desc="grid search", mininterval=1) as bar:

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
    return QualityModel(head, row, families, dataset.label, dataset.scale, trained_on), grid


def _report(folder: Path, samples: Samples, split: Split, model: QualityModel, seconds: float) -> None:
    mos, pred = part_scores(samples, split.test, model)
    sample = next((video.path for video in samples.dataset.videos if video.path is not None), "VIDEO.mp4")
    sys.stdout.write(
        f"{report.metrics_line(f'held-out {samples.dataset.label}', metrics.evaluate(mos, pred), mos.size)}\n"
        f"run folder: {folder} ({seconds:.0f} s)\n"
        f"score a video: python -m ugcvqa.score {sample} --checkpoint {folder}\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the verb and returns its exit code."""
    return run_verb(fit, argv, "ugcvqa fit")


if __name__ == "__main__":
    sys.exit(main())
