"""Trains the GRU head, from a data set to a scoring model, and holds what every training of a network shares."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch

from ugcvqa.arrays import Array
from ugcvqa.datamodules.samples import SampleDataModule, Source
from ugcvqa.datamodules.sources import labels_of, stored_sequences
from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.errors import ConfigError
from ugcvqa.evaluation.metrics import Logistic, fit_logistic
from ugcvqa.evaluation.splits import Split, make_split
from ugcvqa.files import file_sha256
from ugcvqa.heads.end_to_end import EndToEnd
from ugcvqa.heads.gru import MOSLine, VSFAHead
from ugcvqa.heads.network_heads import FittedEndToEnd, FittedGRU, frame_families
from ugcvqa.models.regressor import QualityRegressor
from ugcvqa.models.regressors import GRURegressor
from ugcvqa.samples.sequences import PRECISION, SequenceSource, SequenceTable, read_sequences, sequence_provenance
from ugcvqa.scoring.model import QualityModel
from ugcvqa.trainer import root_device
from ugcvqa.training.experiment import Experiment
from ugcvqa.training.learning import Outcome, predict, train
from ugcvqa.training.runs import CHECKPOINTS, Predicted, Run
from ugcvqa.training.vectors import Samples, provenance_of_specs, usable_videos

log = logging.getLogger(__name__)

Network = TypeVar("Network", VSFAHead, EndToEnd)


@dataclass(frozen=True)
class NetworkTraining:
    """The training of a network on the videos that can be used.

    Attributes:
        experiment: what was asked for.
        folder: of the run; checkpoints go below it.
        loggers: Lightning's loggers.
        samples: the videos; without vectors.
        source: what a training step sees of them, in their order.
        split: which of them train, choose and test.
        workers: decoding processes.
    """

    experiment: Experiment
    folder: Path
    loggers: Sequence[Any]
    samples: Samples
    source: Source
    split: Split
    workers: int = 0

    @property
    def dataset(self) -> Dataset:
        """The videos."""
        return self.samples.dataset

    @property
    def scale(self) -> float:
        """Largest label of the whole data set, as the published recipe has it."""
        return float(np.abs(labels_of(self.dataset)).max()) or 1.0

    @property
    def checkpoints(self) -> Path:
        """Folder of the states of the training."""
        return self.folder / CHECKPOINTS

    @property
    def record(self) -> dict[str, str]:
        """What a checkpoint says of its network, and what distinguishes it from one trained on other features."""
        row = {"row": self.experiment.feature_row} if self.experiment.head == "gru" else {}
        settings = json.dumps(self.experiment.head_settings)
        features = json.dumps(sorted(self.samples.sources.values()))
        return {"kind": self.experiment.head, **row, "settings": settings, "features": features}

    @property
    def device(self) -> torch.device:
        """Where this process computes outside of the Trainer: where the Trainer does."""
        return root_device(self.experiment.trainer)

    def step(self, epochs: int) -> "NetworkTraining":
        """The same for a step before the last: callbacks and loggers of the user are for the training that follows."""
        asked = {key: value for key, value in self.experiment.trainer.items() if key not in ("callbacks", "logger")}
        return replace(self, experiment=replace(self.experiment, trainer={**asked, "max_epochs": epochs}), loggers=())

    def run(self, regressor: QualityRegressor, step: str = "") -> Outcome:
        """Trains a regressor, resuming an interrupted training."""
        recipe = regressor.recipe
        train_rows, val_rows = self.dataset.rows(self.split.train), self.dataset.rows(self.split.val)
        data = SampleDataModule(self.source, train_rows, val_rows, recipe.batch_size, recipe.seed, self.workers)
        return train(regressor, data, self.checkpoints / step, self.record, self.loggers, self.experiment.trainer)

    def is_result(self, outcome: Outcome) -> bool:
        """Whether this process has a result: it is the first, and no signal or fast_dev_run ended it early."""
        return outcome.is_complete and outcome.rank == 0 and not self.experiment.trainer.get("fast_dev_run")

    def predictions(self, regressor: QualityRegressor) -> tuple[Array, MOSLine, Logistic]:
        """Predicted MOS of all videos, the line that brought them to the MOS scale, and the logistic map to labels.

        A loss without absolute error leaves the scale open; then it is a least-squares line on the training videos.
        """
        recipe, every = regressor.recipe, range(len(self.dataset.videos))
        data = SampleDataModule(self.source, [], every, recipe.batch_size, 0, self.workers)
        relative = predict(regressor.network, data, self.device)
        rows, mos = self.dataset.rows(self.split.train), labels_of(self.dataset)
        line = MOSLine(0.0, regressor.label_scale) if recipe.l1 else MOSLine.fitted(relative[rows], mos[rows])
        pred = line(relative)
        return pred, line, fit_logistic(pred[rows], mos[rows])

    def trained(self, head: FittedGRU | FittedEndToEnd, outcome: Outcome, pred: Array) -> Run:
        """The result of the training."""
        dataset, found, asked = self.dataset, self.samples.provenance, self.experiment
        trained_on = f"{dataset.name} ({len(self.split.train)} videos)"
        about = (dataset.label, dataset.scale, trained_on, found.specs, found.made_by)
        model = QualityModel(head, asked.feature_row, asked.families, *about)
        facts = {
            "epochs": outcome.epochs,
            "best_epoch": outcome.best_epoch,
            "val_srcc": defined(outcome.val_srcc),
            "parameters": sum(parameter.numel() for parameter in head.network.parameters()),
        }
        predicted = Predicted(pred, np.full(pred.shape, np.nan))
        return Run(asked, self.samples, self.split, model, facts, predicted)


def train_gru(experiment: Experiment, dataset: Dataset, folder: Path, loggers: Sequence[Any]) -> Run | None:
    """Trains a GRU head on the frame features of a row, from a file or, extracted where they lack, from the store.

    Returns:
        The result; None in all processes but the first, and after a signal or a fast_dev_run.
    """
    samples, table = (_imported if experiment.files else _extracted)(experiment, dataset)
    source = SequenceSource(table, labels_of(samples.dataset))
    split = chosen_split(experiment, samples.dataset)
    training = NetworkTraining(experiment, folder, loggers, samples, source, split)
    row, families = experiment.feature_row, experiment.families
    regressor = GRURegressor.of(experiment.gru, row, families, table.dim, training.scale)
    regressor.start(source, samples.dataset.rows(split.train))
    outcome = training.run(regressor)
    if not training.is_result(outcome):
        return None
    pred, line, logistic = training.predictions(regressor)
    return training.trained(FittedGRU(finished(cast(VSFAHead, regressor.network)), line, logistic), outcome, pred)


def chosen_split(experiment: Experiment, dataset: Dataset) -> Split:
    """Splits a data set as asked for."""
    split = make_split(dataset, experiment.split)
    log.info("split: %d train, %d val, %d test videos", len(split.train), len(split.val), len(split.test))
    return split


def finished(network: Network) -> Network:
    """A trained network, frozen and on the CPU."""
    return network.cpu().eval().requires_grad_(False)


def defined(figure: float) -> float | None:
    """A figure for JSON: None in place of NaN."""
    return None if np.isnan(figure) else figure


def _imported(experiment: Experiment, dataset: Dataset) -> tuple[Samples, SequenceTable]:
    """Frame features from one file, joined to the labels by video id."""
    if len(experiment.files) != 1:
        raise ConfigError(f"a GRU head reads frame features from one file, not from {len(experiment.files)}")
    path = Path(experiment.files[0])
    table = read_sequences(path, PRECISION[experiment.gru.precision])
    rows = table.aligned([video.video_id for video in dataset.videos])
    chosen = table.chosen(rows)
    found = sequence_provenance(experiment.feature_row, chosen, experiment.data.made_by, str(path))
    return Samples(dataset, {}, {str(path): file_sha256(path)}, found), chosen


def _extracted(experiment: Experiment, dataset: Dataset) -> tuple[Samples, SequenceTable]:
    """Frame features from the store, after extracting what it lacks."""
    families = frame_families(experiment.feature_row, experiment.families)
    kept, failures, store = usable_videos(experiment, dataset, families)
    ((name, family),) = families.items()
    table = stored_sequences(kept, family, store, PRECISION[experiment.gru.precision])
    found = provenance_of_specs({name: family.spec})
    return Samples(kept, failures, {name: family.spec.key_on(store.device)}, found), table
