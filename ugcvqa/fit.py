"""`ugcvqa fit`: trains a head on a data set and writes one run folder."""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ugcvqa.cli import is_main_process, run_verb
from ugcvqa.settings import (
    DataSettings,
    DecodeLimits,
    FamilySettings,
    LoaderSettings,
    SplitSettings,
    SVRSettings,
)

log = logging.getLogger(__name__)


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
    from ugcvqa import runs, training
    from ugcvqa.families import build_families
    from ugcvqa.inputs import open_dataset
    from ugcvqa.rows import families_of
    from ugcvqa.store import FeatureStore

    started = time.monotonic()
    folder = runs.new_folder(Path(out), name or f"{data.name}_{row.lower()}_svr")
    if data.features:
        files = [data.features] if isinstance(data.features, str) else data.features
        samples = training.imported_samples(open_dataset(data), files, row)
    else:
        networks = build_families(families_of(row), families)
        dataset = open_dataset(data)
        runs.check_writable(folder)
        samples = training.extracted_samples(dataset, row, networks, FeatureStore(Path(store)), loader, limits, trainer)
    if not is_main_process():
        return 0
    parts = training.make_split(samples.dataset, split)
    log.info("split: %d train, %d val, %d test videos", len(parts.train), len(parts.val), len(parts.test))
    model, grid = training.fit_head(samples, parts, row, head, families)
    folder = runs.write_run(folder, settings, samples, parts, model, grid)
    sys.stdout.write(runs.summary(folder, samples, parts, model, time.monotonic() - started))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the verb and returns its exit code."""
    return run_verb(fit, argv, "ugcvqa fit")


if __name__ == "__main__":
    sys.exit(main())
