"""`ugcvqa fit`: trains a head on a data set and writes one run folder."""

import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ugcvqa.cli import run_verb
from ugcvqa.devices import is_main_process
from ugcvqa.errors import ConfigError
from ugcvqa.settings.data import DataSettings, DecodeLimits, LoaderSettings, SplitSettings
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.heads import GPSettings, SparseGPSettings, SVRSettings
from ugcvqa.settings.training import EndToEndSettings, GRUSettings, WandbSettings

log = logging.getLogger(__name__)


def fit(
    data: DataSettings = DataSettings(),
    row: str | None = None,
    head: Literal["svr", "gp", "sparse_gp", "gru", "end_to_end"] = "svr",
    svr: SVRSettings = SVRSettings(),
    gp: GPSettings = GPSettings(),
    sparse_gp: SparseGPSettings = SparseGPSettings(),
    gru: GRUSettings = GRUSettings(),
    end_to_end: EndToEndSettings = EndToEndSettings(),
    split: SplitSettings = SplitSettings(),
    families: FamilySettings = FamilySettings(),
    backbone: str | None = None,
    saliency_backbone: str | None = None,
    out: str = "runs",
    name: str | None = None,
    store: str = "store",
    loader: LoaderSettings = LoaderSettings(),
    limits: DecodeLimits = DecodeLimits(),
    trainer: dict[str, Any] = {},
    logger: Literal["csv", "wandb", "none"] = "csv",
    wandb: WandbSettings = WandbSettings(),
) -> int:
    """Trains a model on a data set, tests it on held-out videos, and writes one run folder.

    Without arguments: the NSS features and the SVR head on the built-in demo set, on the CPU, offline.
    Features are taken from the store, extracted if they are missing there, or read from `--data.features`.

    Args:
        data: the videos, their labels, and feature files if there are any.
        row: feature row; any name for features that come from files. By default NSS, and VSFACNN for the GRU head.
        head: `svr` for the support vector regression of the benchmark, `gp` for a Gaussian process, which knows the
            parts of a feature set and gives an uncertainty, `sparse_gp` for one that keeps no training video, `gru` for
            VSFA's recurrent head on the features of all frames, `end_to_end` to train a backbone too, on sampled
            frames and without a row.
        svr: settings of the SVR head.
        gp: settings of the Gaussian process.
        sparse_gp: settings of the sparse Gaussian process.
        gru: settings of the GRU head.
        end_to_end: settings of the end-to-end model.
        split: which videos train and test.
        families: settings of the feature families.
        backbone: network in place of ResNet-50, short for --families.deep.backbone, and for --end_to_end.backbone: a
            classification network of torchvision, or efficientnet_lite0, whose weights come with the extra `lite`.
        saliency_backbone: such a network in place of VGG-16, short for --families.saliency.backbone.
        out: folder in which the run folder is made.
        name: name of the run folder; by default data set, row and head. A number is added if it exists.
        store: folder of the feature store.
        loader: how clips are read.
        limits: bounds on what is decoded.
        trainer: arguments of Lightning's Trainer, such as devices, num_nodes, strategy, accelerator, precision, and
            callbacks and loggers by class_path, which are added to ours. Where an end-to-end model is trained in
            steps, these take part in the last one. `logger: false` means --logger none.
        logger: where the figures of each epoch go: `csv` to files in the run folder, or `wandb` to Weights & Biases,
            with predictions and the model at the end. Heads without epochs have the latter only.
        wandb: settings of Weights & Biases.
    """
    row = _checked_row(row, head)
    if backbone:
        end_to_end = replace(end_to_end, backbone=backbone)
    families = families.with_backbones(backbone, saliency_backbone)
    backbone = saliency_backbone = None  # recorded once, with the families
    settings = dict(locals())
    from ugcvqa import records
    from ugcvqa.evaluation.splits import Split, make_split
    from ugcvqa.features.families import build_families
    from ugcvqa.features.inputs import open_dataset
    from ugcvqa.features.rows import families_of
    from ugcvqa.features.store import FeatureStore
    from ugcvqa.files import check_writable
    from ugcvqa.training import runs, vectors

    if trainer:
        from ugcvqa.trainer import OF_VECTORS, TRAINING

        (TRAINING if head in ("gru", "end_to_end") else OF_VECTORS).check(trainer)
    if head in ("gru", "end_to_end"):
        return _fit_network(settings)
    started = time.monotonic()
    folder = runs.new_folder(Path(out), name or f"{data.name}_{row.lower()}_{head}")
    if data.features:
        files = [data.features] if isinstance(data.features, str) else data.features
        samples = vectors.imported_samples(open_dataset(data), files, row, families, data.made_by)
    else:
        networks = build_families(families_of(row), families)
        dataset = open_dataset(data)
        check_writable(folder.parent)
        samples = vectors.extracted_samples(dataset, row, networks, FeatureStore(Path(store)), loader, limits, trainer)
    if not is_main_process():
        return 0
    parts = make_split(samples.dataset, split)
    log.info("split: %d train, %d val, %d test videos", len(parts.train), len(parts.val), len(parts.test))
    of_head: dict[str, SVRSettings | GPSettings | SparseGPSettings] = {"svr": svr, "gp": gp, "sparse_gp": sparse_gp}
    chosen = of_head[head]
    model, fitting = vectors.fit_head(samples, parts, row, chosen, families)
    predicted = runs.predict_all(samples, model)
    if split.refit:
        everything = Split(parts.train + parts.test, parts.val, ())
        model, fitting = vectors.fit_head(samples, everything, row, chosen, families)
    folder = runs.write_run(folder, settings, samples, parts, model, fitting, predicted)
    if logger == "wandb":
        from ugcvqa.training import overlays, tracking

        loggers = tracking.make_loggers(logger, wandb, folder, records.plain_settings(settings))
        maps = overlays.saliency_overlays(samples.dataset, parts.test, families, wandb.overlays)
        tracking.log_results(loggers, samples.dataset, parts, predicted.pred, folder, maps)
    sys.stdout.write(runs.summary(folder, samples, parts, model, predicted, time.monotonic() - started))
    return 0


def _checked_row(row: str | None, head: str) -> str:
    if head == "end_to_end":
        if row not in (None, "CLIP"):
            raise ConfigError(f"--row {row}: an end-to-end model sees frames, not features; leave it out")
        return "CLIP"
    return row or ("VSFACNN" if head == "gru" else "NSS")


def _fit_network(settings: dict[str, Any]) -> int:
    """Trains a network by gradient descent; `settings` are the verb's."""
    from ugcvqa.features.inputs import open_dataset
    from ugcvqa.features.store import FeatureStore
    from ugcvqa.records import plain_settings
    from ugcvqa.training import checkpoints, networks, overlays, runs, tracking, vectors

    started = time.monotonic()
    head, data, row = settings["head"], settings["data"], settings["row"]
    trainer = settings["trainer"]
    dataset = open_dataset(data)
    if not data.features:
        vectors.check_videos(dataset)
    deciding = {key: settings[key] for key in ("data", "row", "head", head, "split", "families")}
    name = settings["name"] or f"{data.name}_{row.lower()}_{head}"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch if trainer.get("fast_dev_run") else settings["out"])
        with runs.open_folder(out, name, deciding) as folder:
            kind = "none" if trainer.get("logger") is False else settings["logger"]
            loggers = tracking.make_loggers(kind, settings["wandb"], folder, plain_settings(settings))
            store = FeatureStore(Path(settings["store"]))
            place = networks.Place(folder, store, settings["loader"], settings["limits"], trainer, loggers)
            if head == "gru":
                files = (data.features,) if isinstance(data.features, str) else data.features
                trained = networks.train_gru(
                    *(dataset, files, data.made_by, row),
                    settings["gru"],
                    settings["families"],
                    settings["split"],
                    place,
                )
            else:
                trained = networks.train_end_to_end(
                    dataset, settings["end_to_end"], settings["families"], settings["split"], place
                )
            if trained is None:
                return 0
            samples, parts, model = trained.samples, trained.split, trained.model
            runs.write_run(folder, settings, samples, parts, model, trained.facts, trained.predicted)
            checkpoints.drop_previous(folder / runs.CHECKPOINTS)
            most = settings["wandb"].overlays
            maps = overlays.saliency_overlays(samples.dataset, parts.test, settings["families"], most)
            tracking.log_results(loggers, samples.dataset, parts, trained.predicted.pred, folder, maps)
        sys.stdout.write(runs.summary(folder, samples, parts, model, trained.predicted, time.monotonic() - started))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the verb and returns its exit code."""
    return run_verb(fit, argv, "ugcvqa fit")


if __name__ == "__main__":
    sys.exit(main())
