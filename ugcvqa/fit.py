"""`ugcvqa fit`: trains a head on a data set and writes one run folder."""

import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ugcvqa.cli import run_verb
from ugcvqa.launchers import is_main_process
from ugcvqa.settings.data import DataSettings, DecodeLimits, LoaderSettings, SplitSettings
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.heads import GPSettings, SparseGPSettings, SVRSettings
from ugcvqa.settings.training import EndToEndSettings, GRUSettings, WandbSettings
from ugcvqa.training.experiment import Experiment, HeadName

if TYPE_CHECKING:
    from ugcvqa.training.runs import Run

log = logging.getLogger(__name__)


def fit(
    data: DataSettings = DataSettings(),
    row: str | None = None,
    head: HeadName = "svr",
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
    figures: list[Literal["pdf", "svg"]] = [],
    font: Literal["sans", "serif"] = "sans",
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
        figures: kinds in which the scatter plot is written beside its PNG of 300 dpi.
        font: of the scatter plot.
    """
    if backbone:
        end_to_end = replace(end_to_end, backbone=backbone)
    families = families.with_backbones(backbone, saliency_backbone)
    experiment = Experiment(
        data, row, head, svr, gp, sparse_gp, gru, end_to_end, split, families,
        out=out, name=name, store=store, loader=loader, limits=limits, trainer=trainer, logger=logger, wandb=wandb,
        figures=figures, font=font,
    )  # fmt: skip
    if trainer:
        from ugcvqa.trainer import OF_VECTORS, TRAINING

        (TRAINING if experiment.is_network else OF_VECTORS).check(trainer)
    if not experiment.files and head != "end_to_end":
        from ugcvqa.features.rows import families_of
        from ugcvqa.models.extraction import settled_on

        names = families_of(experiment.feature_row)
        experiment = replace(experiment, families=settled_on(families, names, Path(store), trainer))
    return (_fit_network if experiment.is_network else _fit_vectors)(experiment)


def _fit_vectors(experiment: Experiment) -> int:
    """Fits a head to video vectors."""
    from ugcvqa.evaluation.splits import Split, make_split
    from ugcvqa.training import runs, vectors

    started = time.monotonic()
    folder = runs.new_folder(Path(experiment.out), experiment.run_name)
    samples = vectors.gathered_samples(experiment)
    if not is_main_process():
        return 0
    parts = make_split(samples.dataset, experiment.split)
    log.info("split: %d train, %d val, %d test videos", len(parts.train), len(parts.val), len(parts.test))
    model, fitting = vectors.fit_head(experiment, samples, parts)
    predicted = runs.Predicted(*model.predict_with_std(samples.features))
    if experiment.split.refit:
        model, fitting = vectors.fit_head(experiment, samples, Split(parts.train + parts.test, parts.val, ()))
    run = runs.Run(experiment, samples, parts, model, fitting, predicted)
    folder = run.write(folder)
    if experiment.logger == "wandb":
        _log_results(run, folder)
    sys.stdout.write(run.summary(folder, time.monotonic() - started))
    return 0


def _fit_network(experiment: Experiment) -> int:
    """Trains a network by gradient descent."""
    from ugcvqa.features.inputs import open_dataset
    from ugcvqa.training import checkpoints, end_to_end, networks, runs, tracking, vectors

    started = time.monotonic()
    trainer, dataset = experiment.trainer, open_dataset(experiment.data)
    if not experiment.files:
        vectors.check_videos(dataset)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch if trainer.get("fast_dev_run") else experiment.out)
        with runs.open_folder(out, experiment.run_name, experiment.deciding) as folder:
            kind = "none" if trainer.get("logger") is False else experiment.logger
            loggers = tracking.make_loggers(kind, experiment.wandb, folder, experiment.record)
            train = networks.train_gru if experiment.head == "gru" else end_to_end.train_end_to_end
            run = train(experiment, dataset, folder, loggers)
            if run is None:
                return 0
            run.write(folder)
            checkpoints.drop_previous(folder / runs.CHECKPOINTS)
            _log_results(run, folder, loggers)
        sys.stdout.write(run.summary(folder, time.monotonic() - started))
    return 0


def _log_results(run: "Run", folder: Path, loggers: Sequence[Any] | None = None) -> None:
    """Sends a finished run to the loggers, by default to the ones that it asked for."""
    from ugcvqa.training import overlays, tracking

    asked = run.experiment
    if loggers is None:
        loggers = tracking.make_loggers(asked.logger, asked.wandb, folder, asked.record)
    most, trainer = asked.wandb.overlays, asked.trainer
    maps = overlays.saliency_overlays(run.samples.dataset, run.split.test, asked.families, most, trainer)
    tracking.log_results(loggers, run.samples.dataset, run.split, run.predicted.pred, folder, maps)


main = partial(run_verb, fit)

if __name__ == "__main__":
    sys.exit(main())
