"""Trains the heads that are networks, the GRU head and the end-to-end model, from a data set to a scoring model."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ugcvqa.datamodules.samples import SampleDataModule, Source
from ugcvqa.datamodules.sources import clip_source, labels_of, stored_sequences
from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.deep.backbones import load_backbone
from ugcvqa.devices import float32_products, n_loaders
from ugcvqa.errors import ConfigError
from ugcvqa.evaluation.metrics import Logistic, fit_logistic
from ugcvqa.evaluation.splits import Split, make_split
from ugcvqa.features.family import Family
from ugcvqa.features.store import FeatureStore
from ugcvqa.files import file_sha256
from ugcvqa.heads.end_to_end import EndToEnd
from ugcvqa.heads.gru import VSFAHead
from ugcvqa.heads.network_heads import EndToEndHead, GRUHead, MOSLine, build_end_to_end, frame_families
from ugcvqa.models.regressor import QualityRegressor
from ugcvqa.models.regressors import EndToEndRegressor, GRURegressor
from ugcvqa.samples.clips import FAMILY, ClipFamily, ClipSource
from ugcvqa.samples.sequences import (
    PRECISION,
    SequenceSource,
    SequenceTable,
    pack,
    read_sequences,
    sequence_provenance,
)
from ugcvqa.scoring.model import QualityModel
from ugcvqa.settings.data import DecodeLimits, LoaderSettings, SplitSettings
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.training import EndToEndSettings, GRUSettings, RecipeSettings
from ugcvqa.trainer import PLACEMENT, placed
from ugcvqa.training.checkpoints import best_score, has_state
from ugcvqa.training.learning import Outcome, predict, train
from ugcvqa.training.runs import CHECKPOINTS, Predicted
from ugcvqa.training.vectors import Samples, provenance_of_specs, usable_videos

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]
Network = TypeVar("Network", VSFAHead, EndToEnd)

END_TO_END_ROW = "CLIP"
"""What stands in for the feature row of an end-to-end model."""


@dataclass(frozen=True)
class Place:
    """Where a training reads and writes, and on what it runs.

    Attributes:
        folder: of the run; checkpoints go below it.
        store: of features and clips.
        loader: how videos and clips are read.
        limits: bounds on what is decoded.
        trainer: arguments of Lightning's Trainer.
        loggers: Lightning's loggers.
    """

    folder: Path
    store: FeatureStore
    loader: LoaderSettings
    limits: DecodeLimits
    trainer: dict[str, Any]
    loggers: Sequence[Any]


@dataclass(frozen=True)
class Trained:
    """A finished training, as the first process knows it.

    Attributes:
        samples: the videos; without vectors.
        split: which of them trained.
        model: scores videos.
        facts: how the training went.
        predicted: predictions of all videos.
    """

    samples: Samples
    split: Split
    model: QualityModel
    facts: dict[str, Any]
    predicted: Predicted


def train_gru(
    dataset: Dataset,
    files: Sequence[str],
    made_by: str | Mapping[str, str] | None,
    row: str,
    settings: GRUSettings,
    families: FamilySettings,
    split: SplitSettings,
    place: Place,
) -> Trained | None:
    """Trains a GRU head on the frame features of a row, from files or, extracted where they lack, from the store.

    Returns:
        The result; None in all processes but the first, and after a signal or a fast_dev_run.
    """
    dtype = PRECISION[settings.precision]
    if files:
        samples, table = _imported(dataset, files, row, made_by, dtype)
    else:
        samples, table = _extracted(dataset, frame_families(row, families), place, dtype)
    parts = _split(samples.dataset, split)
    source = SequenceSource(table, labels_of(samples.dataset))
    record = {"kind": "gru", "row": row, **_record(settings, samples)}
    regressor = GRURegressor.of(settings, row, families, table.dim, _label_scale(samples.dataset))
    regressor.start(source, _rows(samples.dataset, parts.train))
    outcome = _train(regressor, source, samples.dataset, parts, record, place, 0)
    if not _is_result(outcome, place):
        return None
    network = cast(VSFAHead, regressor.network)
    pred, line = _predictions(regressor, source, parts, samples.dataset, place)
    head = GRUHead(_finished(network), line, _logistic(pred, parts, samples.dataset))
    return _trained(samples, parts, head, row, families, _facts(outcome, network), pred)


def train_end_to_end(
    dataset: Dataset, settings: EndToEndSettings, families: FamilySettings, split: SplitSettings, place: Place
) -> Trained | None:
    """Trains an end-to-end model on sampled frames: its head on features computed once, then ever more of it.

    Returns:
        The result; None in all processes but the first, and after a signal or a fast_dev_run.
    """
    network = build_end_to_end(settings, load_backbone(settings.backbone, settings.weights))  # or fails at once
    is_random = settings.weights.startswith("random:")
    if is_random:
        log.info("training starts from these")
    clips = ClipFamily(settings.clip)
    kept, failures = _usable(dataset, {FAMILY: clips}, place)
    samples = Samples(
        *(kept, np.empty((len(kept.videos), 0)), failures, {FAMILY: clips.spec.key}),
        provenance_of_specs({FAMILY: clips.spec}),
    )
    parts = _split(kept, split)
    source = clip_source(kept, settings.clip, place.store, settings.recipe.seed)
    workers = n_loaders(place.loader.workers, _device(place).type == "cuda", placed(place.trainer).num_devices)
    scale, record = _label_scale(kept), {"kind": "end_to_end", **_record(settings, samples)}
    regressor = EndToEndRegressor.of(settings, scale, network)
    regressor.start(source, _rows(kept, parts.train))
    facts = _train_steps(network, source, samples, parts, settings, scale, record, place, workers)
    if facts is None:
        return None
    network.backbone.freeze(settings.frozen_stages)
    outcome = _train(EndToEndRegressor.of(settings, scale, network), source, kept, parts, record, place, workers)
    if not _is_result(outcome, place):
        return None
    pred, line = _predictions(regressor, source, parts, kept, place, workers)
    head = EndToEndHead(_finished(network), settings, line, _logistic(pred, parts, kept))
    return _trained(samples, parts, head, END_TO_END_ROW, families, {**_facts(outcome, network), **facts}, pred)


def _train_steps(
    network: EndToEnd,
    source: ClipSource,
    samples: Samples,
    split: Split,
    settings: EndToEndSettings,
    scale: float,
    record: dict[str, Any],
    place: Place,
    workers: int,
) -> dict[str, float | None] | None:
    """Trains the head alone, then ever more of the backbone; each step begins with the best weights of the one before.

    A step is left out once a later one has begun. Callbacks and loggers of the user are for the training that follows.

    Returns:
        Validation SRCC that each step reached, by name; None after a signal.
    """
    folder, recipe = _checkpoints(place), settings.recipe
    steps = {f"thaw_{number}": epochs for number, epochs in enumerate(settings.thaw_epochs, start=1)}
    steps = ({"head": settings.head_epochs} if settings.head_epochs else {}) | steps
    for number, (name, epochs) in enumerate(steps.items()):
        later = [folder / other for other in list(steps)[number + 1 :]] + [folder]
        if any(has_state(step) for step in later):
            continue
        asked = {key: value for key, value in place.trainer.items() if key not in ("callbacks", "logger")}
        here = replace(place, trainer={**asked, "max_epochs": epochs}, loggers=[])
        step = replace(recipe, epochs=epochs)
        if name == "head":
            outcome = _train_head(network, source, samples, split, settings, step, scale, record, here, workers)
        else:
            thawed = int(name.removeprefix("thaw_"))
            network.backbone.freeze(max(settings.frozen_stages, len(network.backbone.stages) - thawed))
            log.info("then the head and the last %d stages of the backbone", thawed)
            regressor = EndToEndRegressor.of(settings, scale, network, step)
            outcome = _train(regressor, source, samples.dataset, split, record, here, workers, name)
        if not outcome.is_complete:
            return None
        log.info("validation SRCC %.4f", outcome.val_srcc)
    return {f"{name}_val_srcc": _defined(best_score(folder / name)) for name in steps if (folder / name).is_dir()}


def _train_head(
    network: EndToEnd,
    source: ClipSource,
    samples: Samples,
    split: Split,
    settings: EndToEndSettings,
    recipe: RecipeSettings,
    scale: float,
    record: dict[str, Any],
    place: Place,
    workers: int,
) -> Outcome:
    """Trains the head of an end-to-end network on the features that its backbone computes, once, of fixed clips."""
    rows = _rows(samples.dataset, split.train + split.val)
    log.info("first the head alone, on the features of %d videos", len(rows))
    features = _backbone_features(network, source, rows, recipe.batch_size, _device(place), workers)
    ids = [samples.dataset.videos[row].video_id for row in rows]
    table = pack(ids, [features[row].numpy() for row in rows], torch.float32)
    n_train = len(split.train)
    recipe = replace(recipe, ema=0.0, patience=0)
    regressor = GRURegressor(
        *(END_TO_END_ROW, settings.backbone, settings.weights),
        input_dim=table.dim,
        reduced_dim=settings.reduced_dim,
        hidden_dim=settings.hidden_dim,
        tau=settings.tau,
        beta=settings.beta,
        label_scale=scale,
        recipe=asdict(recipe),
        network=network.head,
    )
    head_source = SequenceSource(table, source.mos.numpy()[rows])
    data = SampleDataModule(head_source, range(n_train), range(n_train, len(rows)), recipe.batch_size, recipe.seed)
    return train(regressor, data, _checkpoints(place) / "head", {**record, "kind": "gru"}, [], place.trainer)


@float32_products()
@torch.no_grad()  # not inference mode, in which a move to a GPU would make weights that cannot be trained
def _backbone_features(
    network: EndToEnd, source: ClipSource, rows: Sequence[int], batch_size: int, device: torch.device, workers: int
) -> dict[int, Tensor]:
    """Frame features of the fixed clip of each row."""
    network.to(device).eval()
    features: dict[int, Tensor] = {}
    for batch in SampleDataModule(source, [], rows, batch_size, 0, workers).val_dataloader():
        parts = network.features(batch.frames.to(device)).cpu().split(list(batch.lengths))
        features.update(zip(batch.rows.tolist(), parts, strict=True))
    network.train()
    return features


def _imported(
    dataset: Dataset, files: Sequence[str], row: str, made_by: str | Mapping[str, str] | None, dtype: torch.dtype
) -> tuple[Samples, SequenceTable]:
    """Frame features from one file, joined to the labels by video id."""
    if len(files) != 1:
        raise ConfigError(f"a GRU head reads frame features from one file, not from {len(files)}")
    path = Path(files[0])
    table = read_sequences(path, dtype)
    rows = table.aligned([video.video_id for video in dataset.videos])
    chosen = table.chosen(rows)
    found = sequence_provenance(row, chosen, made_by, str(path))
    return Samples(dataset, np.empty((len(rows), 0)), {}, {str(path): file_sha256(path)}, found), chosen


def _extracted(
    dataset: Dataset, families: Mapping[str, Family], place: Place, dtype: torch.dtype
) -> tuple[Samples, SequenceTable]:
    """Frame features from the store, after extracting what it lacks."""
    kept, failures = _usable(dataset, families, place)
    ((name, family),) = families.items()
    table = stored_sequences(kept, family, place.store, dtype)
    found = provenance_of_specs({name: family.spec})
    return Samples(kept, np.empty((len(table.ids), 0)), failures, {name: family.spec.key}, found), table


def _usable(dataset: Dataset, families: Mapping[str, Family], place: Place) -> tuple[Dataset, dict[str, str]]:
    placement = {key: value for key, value in place.trainer.items() if key in PLACEMENT}
    return usable_videos(dataset, families, place.store, place.loader, place.limits, placement)


def _split(dataset: Dataset, settings: SplitSettings) -> Split:
    split = make_split(dataset, settings)
    log.info("split: %d train, %d val, %d test videos", len(split.train), len(split.val), len(split.test))
    return split


def _train(
    regressor: QualityRegressor,
    source: Source,
    dataset: Dataset,
    split: Split,
    record: dict[str, Any],
    place: Place,
    workers: int,
    step: str = "",
) -> Outcome:
    recipe, train_rows, val_rows = regressor.recipe, _rows(dataset, split.train), _rows(dataset, split.val)
    data = SampleDataModule(source, train_rows, val_rows, recipe.batch_size, recipe.seed, workers)
    return train(regressor, data, _checkpoints(place) / step, record, place.loggers, place.trainer)


def _predictions(
    regressor: QualityRegressor, source: Source, split: Split, dataset: Dataset, place: Place, workers: int = 0
) -> tuple[Array, MOSLine]:
    """Predicted MOS of all videos, and the line that brought them to the MOS scale.

    A loss without absolute error leaves the scale open; then it is a least-squares line on the training videos.
    """
    network, recipe = regressor.network, regressor.recipe
    rows = range(len(dataset.videos))
    relative = predict(network, SampleDataModule(source, [], rows, recipe.batch_size, 0, workers), _device(place))
    line = MOSLine(0.0, regressor.label_scale)
    if not recipe.l1:
        train_rows = _rows(dataset, split.train)
        slope, offset = np.polyfit(relative[train_rows], labels_of(dataset)[train_rows], 1)
        line = MOSLine(float(offset), float(slope))
    return line(relative), line


def _trained(
    samples: Samples,
    split: Split,
    head: GRUHead | EndToEndHead,
    row: str,
    families: FamilySettings,
    facts: dict[str, Any],
    pred: Array,
) -> Trained:
    dataset = samples.dataset
    trained_on = f"{dataset.name} ({len(split.train)} videos)"
    found = samples.provenance
    model = QualityModel(head, row, families, dataset.label, dataset.scale, trained_on, found.specs, found.made_by)
    return Trained(samples, split, model, facts, Predicted(pred, np.full(pred.shape, np.nan)))


def _facts(outcome: Outcome, network: torch.nn.Module) -> dict[str, Any]:
    return {
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "val_srcc": _defined(outcome.val_srcc),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }


def _record(settings: GRUSettings | EndToEndSettings, samples: Samples) -> dict[str, str]:
    """What a checkpoint tells of its network, and what tells it from one that is trained on other features."""
    return {"settings": json.dumps(asdict(settings)), "features": json.dumps(sorted(samples.sources.values()))}


def _defined(figure: float) -> float | None:
    return None if np.isnan(figure) else figure


def _finished(network: Network) -> Network:
    return network.cpu().eval().requires_grad_(False)


def _logistic(pred: Array, split: Split, dataset: Dataset) -> Logistic:
    rows = _rows(dataset, split.train)
    return fit_logistic(pred[rows], labels_of(dataset)[rows])


def _is_result(outcome: Outcome, place: Place) -> bool:
    return outcome.is_complete and outcome.rank == 0 and not place.trainer.get("fast_dev_run")


def _checkpoints(place: Place) -> Path:
    return place.folder / CHECKPOINTS


def _device(place: Place) -> torch.device:
    """Where this process computes outside of the Trainer: where the Trainer does."""
    return placed(place.trainer).strategy.root_device


def _rows(dataset: Dataset, ids: Sequence[str]) -> list[int]:
    position = {video.video_id: row for row, video in enumerate(dataset.videos)}
    return [position[video_id] for video_id in ids]


def _label_scale(dataset: Dataset) -> float:
    """Largest label of the whole data set, as the published recipe has it."""
    return float(np.abs(labels_of(dataset)).max()) or 1.0
