"""What `fit` does: gather features and labels, split, fit a head."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ugcvqa.arrays import Array
from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.errors import LabelError
from ugcvqa.evaluation.splits import Split
from ugcvqa.features.families import build_families
from ugcvqa.features.family import Family
from ugcvqa.features.imported import read_features
from ugcvqa.features.inputs import open_dataset
from ugcvqa.features.provenance import OURS, Provenance
from ugcvqa.features.rows import assemble_row, families_of
from ugcvqa.features.store import FeatureSpec, FeatureStore
from ugcvqa.files import check_writable
from ugcvqa.heads.fitted import FittedHead
from ugcvqa.heads.kinds import fit_process
from ugcvqa.heads.svr_fit import fit_svr
from ugcvqa.progress import progress_bar
from ugcvqa.scoring.model import QualityModel
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.heads import SVRSettings
from ugcvqa.training.experiment import Experiment

_MIN_VIDEOS = 13  # ten are left to train on when a fifth is held out


@dataclass(frozen=True)
class Samples:
    """Features and labels of the videos that can be used, row by row.

    Attributes:
        dataset: the data set without the videos that failed.
        failures: video id -> reason, of the others.
        sources: where the features come from: file -> SHA-256, or family -> folder in the store.
        provenance: who made the features, with the specs of those that this package computed.
        features: (N, D) float64 video vectors in the order of `dataset.videos`; empty for a network, whose training
            holds what it looks at instead.
    """

    dataset: Dataset
    failures: dict[str, str]
    sources: dict[str, str]
    provenance: Provenance
    features: Array = field(default_factory=lambda: np.empty((0, 0)))


def imported_samples(
    dataset: Dataset,
    files: Sequence[str],
    row: str,
    families: FamilySettings = FamilySettings(),
    made_by: str | Mapping[str, str] | None = None,
) -> Samples:
    """Joins features from files or folders of a store to the labels by video id, see `imported.read_features`.

    Raises:
        LabelError: if ids do not match, the width is not that of the row, or its maker is contradicted.
    """
    ids = [video.video_id for video in dataset.videos]
    found = read_features(files, row, families, made_by, ids)
    return Samples(dataset, {}, found.sources, found.provenance, found.values)


def gathered_samples(experiment: Experiment) -> Samples:
    """Gathers what a head on video vectors is trained on: from files, or from the store after extracting what it lacks.

    Raises:
        LabelError: if labels or files cannot be used, or no video is left.
        StoreError: if the store cannot be read or written.
    """
    asked, row = experiment, experiment.feature_row
    if asked.files:
        return imported_samples(open_dataset(asked.data), asked.files, row, asked.families, asked.data.made_by)
    families = build_families(families_of(row), asked.families)
    dataset = open_dataset(asked.data)
    check_writable(Path(asked.out))
    kept, failures, store = usable_videos(asked, dataset, families)
    specs = {name: family.spec for name, family in families.items()}
    rows = []
    for video in kept.videos:
        content = store.content(Path(str(video.path)))
        rows.append(assemble_row(row, {name: store.get(spec, content)["video"] for name, spec in specs.items()}))
    sources = {name: spec.key_on(store.device) for name, spec in specs.items()}
    return Samples(kept, failures, sources, provenance_of_specs(specs), np.stack(rows))


def provenance_of_specs(specs: Mapping[str, FeatureSpec]) -> Provenance:
    """Provenance of features that this package computed."""
    return Provenance(dict.fromkeys(specs, OURS), {name: spec.to_json() for name, spec in specs.items()})


def usable_videos(
    experiment: Experiment, dataset: Dataset, families: Mapping[str, Family]
) -> tuple[Dataset, dict[str, str], FeatureStore]:
    """Fills the store with the features of a data set.

    Returns:
        The data set without the videos that failed, the reasons of these by id, and the store.

    Raises:
        LabelError: if no video is left.
        StoreError: if the store cannot be read or written.
    """
    from ugcvqa.models.extraction import extract_dataset  # Lightning takes seconds to import
    from ugcvqa.trainer import PLACEMENT

    check_videos(dataset)
    placement = {key: value for key, value in experiment.trainer.items() if key in PLACEMENT}
    store = FeatureStore(Path(experiment.store))
    failures = extract_dataset(dataset, families, store, experiment.loader, experiment.limits, placement)
    usable = tuple(video for video in dataset.videos if video.video_id not in failures)
    if not usable:
        first = next(iter(failures.values()), "it is empty")
        raise LabelError(f"{dataset.name}: none of {len(dataset.videos)} videos can be used ({first})")
    return Dataset(dataset.name, dataset.label, dataset.scale, usable), failures, store


def check_videos(dataset: Dataset) -> None:
    """Checks that there are videos to train on, before anything slow is done.

    Raises:
        LabelError: if there are none, or too few.
    """
    if all(video.path is None for video in dataset.videos):
        raise LabelError(f"{dataset.name}: no video file found; give --data.root FOLDER, or --data.features FILE")
    if len(dataset.videos) < _MIN_VIDEOS:
        raise LabelError(f"{dataset.name}: {len(dataset.videos)} videos; at least {_MIN_VIDEOS} are needed to train")


def fit_head(experiment: Experiment, samples: Samples, split: Split) -> tuple[QualityModel, dict[str, Any]]:
    """Fits the head that was asked for to the training part: train and val together.

    Of these the SVR uses val to choose C and gamma before; a Gaussian process needs no such choice.

    Returns:
        The model, and what was chosen or learned, as JSON values.
    """
    dataset, row = samples.dataset, experiment.feature_row
    outer = dataset.rows(split.outer_train)
    mos = np.array([dataset.videos[index].mos for index in outer])
    features = samples.features[outer]
    if experiment.head == "svr":
        head, facts = _fitted_svr(features, mos, split, experiment.svr)
    else:
        settings = experiment.gp if experiment.head == "gp" else experiment.sparse_gp
        head, report = fit_process(features, mos, row, settings)
        facts = asdict(report)
    about = (dataset.label, dataset.scale, f"{dataset.name} ({len(outer)} videos)")
    found = samples.provenance
    return QualityModel(head, row, experiment.families, *about, found.specs, found.made_by), facts


def _fitted_svr(features: Array, mos: Array, split: Split, settings: SVRSettings) -> tuple[FittedHead, dict[str, Any]]:
    with progress_bar(1, "candidate", "grid search") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        head, report = fit_svr(features, mos, *split.inner_rows, settings, progress)
    chosen = {"C": head.C, "gamma": head.gamma, "support_vectors": head.dual_coef.size}
    fits = {"unconverged": report.n_unconverged, "unmapped": report.n_unmapped, "nonfinite": report.n_nonfinite}
    return head, chosen | fits
