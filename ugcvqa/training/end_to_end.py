"""Trains an end-to-end model in steps: its head on features computed once, then more and more of its backbone."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ugcvqa.datamodules.samples import SampleDataModule
from ugcvqa.datamodules.sources import clip_source
from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.deep.backbones import load_backbone
from ugcvqa.devices import float32_products, n_loaders
from ugcvqa.heads.end_to_end import EndToEnd
from ugcvqa.heads.network_heads import FittedEndToEnd, build_end_to_end
from ugcvqa.models.regressors import EndToEndRegressor, GRURegressor
from ugcvqa.samples.clips import FAMILY, ClipFamily, ClipSource
from ugcvqa.samples.sequences import SequenceSource, pack
from ugcvqa.settings.training import EndToEndSettings, RecipeSettings
from ugcvqa.trainer import placed
from ugcvqa.training.checkpoints import best_score, has_state
from ugcvqa.training.experiment import END_TO_END_ROW, Experiment
from ugcvqa.training.learning import Outcome, train
from ugcvqa.training.networks import NetworkTraining, chosen_split, defined, finished
from ugcvqa.training.runs import Run
from ugcvqa.training.vectors import Samples, provenance_of_specs, usable_videos

log = logging.getLogger(__name__)


def train_end_to_end(experiment: Experiment, dataset: Dataset, folder: Path, loggers: Sequence[Any]) -> Run | None:
    """Trains an end-to-end model on sampled frames.

    Returns:
        The result; None in all processes but the first, and after a signal or a fast_dev_run.
    """
    settings = experiment.end_to_end
    network = build_end_to_end(settings, load_backbone(settings.backbone, settings.weights))  # or fails at once
    if settings.weights.startswith("random:"):
        log.info("training starts from these")
    clips = ClipFamily(settings.clip)
    kept, failures, store = usable_videos(experiment, dataset, {FAMILY: clips})
    found, sources = provenance_of_specs({FAMILY: clips.spec}), {FAMILY: clips.spec.key}
    samples = Samples(kept, failures, sources, found)
    split = chosen_split(experiment, kept)
    source = clip_source(kept, settings.clip, store, settings.recipe.seed)
    trainer = placed(experiment.trainer)
    workers = n_loaders(experiment.loader.workers, trainer.strategy.root_device.type == "cuda", trainer.num_devices)
    training = NetworkTraining(experiment, folder, loggers, samples, source, split, workers)
    regressor = EndToEndRegressor.of(settings, training.scale, network)
    regressor.start(source, kept.rows(split.train))
    reached = _Steps(training, network, source, settings).run()
    if reached is None:
        return None
    network.backbone.freeze(settings.frozen_stages)
    outcome = training.run(EndToEndRegressor.of(settings, training.scale, network))
    if not training.is_result(outcome):
        return None
    pred, line, logistic = training.predictions(regressor)
    run = training.trained(FittedEndToEnd(finished(network), settings, line, logistic), outcome, pred)
    return replace(run, fitting={**run.fitting, **reached})


@dataclass(frozen=True)
class _Steps:
    """The steps before the last: the head alone, then more of the backbone, each from the best weights so far."""

    training: NetworkTraining
    network: EndToEnd
    source: ClipSource
    settings: EndToEndSettings

    def run(self) -> dict[str, float | None] | None:
        """Runs all steps except those after which a later one has already begun.

        Returns:
            Validation SRCC that each step reached, by name; None after a signal.
        """
        settings, folder = self.settings, self.training.checkpoints
        steps = {f"thaw_{number}": epochs for number, epochs in enumerate(settings.thaw_epochs, start=1)}
        steps = ({"head": settings.head_epochs} if settings.head_epochs else {}) | steps
        for number, (name, epochs) in enumerate(steps.items()):
            later = [folder / other for other in list(steps)[number + 1 :]] + [folder]
            if any(has_state(step) for step in later):
                continue
            recipe = replace(settings.recipe, epochs=epochs)
            outcome = self._train_head(recipe) if name == "head" else self._train_stages(name, recipe)
            if not outcome.is_complete:
                return None
            log.info("validation SRCC %.4f", outcome.val_srcc)
        return {f"{name}_val_srcc": defined(best_score(folder / name)) for name in steps if (folder / name).is_dir()}

    def _train_stages(self, name: str, recipe: RecipeSettings) -> Outcome:
        """Trains the head and the last stages of the backbone, as many as the name says."""
        thawed, backbone = int(name.removeprefix("thaw_")), self.network.backbone
        backbone.freeze(max(self.settings.frozen_stages, len(backbone.stages) - thawed))
        log.info("then the head and the last %d stages of the backbone", thawed)
        regressor = EndToEndRegressor.of(self.settings, self.training.scale, self.network, recipe)
        return self.training.step(recipe.epochs).run(regressor, name)

    def _train_head(self, recipe: RecipeSettings) -> Outcome:
        """Trains the head on the features that the backbone computes, once, of fixed clips."""
        here, settings = self.training.step(recipe.epochs), self.settings
        rows = here.dataset.rows(here.split.train + here.split.val)
        log.info("first the head alone, on the features of %d videos", len(rows))
        features = self._backbone_features(rows, recipe.batch_size)
        ids = [here.dataset.videos[row].video_id for row in rows]
        table = pack(ids, [features[row].numpy() for row in rows], torch.float32)
        n_train = len(here.split.train)
        regressor = GRURegressor(
            *(END_TO_END_ROW, settings.backbone, settings.weights),
            input_dim=table.dim,
            reduced_dim=settings.reduced_dim,
            hidden_dim=settings.hidden_dim,
            tau=settings.tau,
            beta=settings.beta,
            label_scale=here.scale,
            recipe=asdict(replace(recipe, ema=0.0, patience=0)),
            network=self.network.head,
        )
        source = SequenceSource(table, self.source.mos.numpy()[rows])
        data = SampleDataModule(source, range(n_train), range(n_train, len(rows)), recipe.batch_size, recipe.seed)
        record = {**here.record, "kind": "gru"}
        return train(regressor, data, here.checkpoints / "head", record, [], here.experiment.trainer)

    @float32_products()
    @torch.no_grad()  # not inference mode, in which a move to a GPU would make weights that cannot be trained
    def _backbone_features(self, rows: Sequence[int], batch_size: int) -> dict[int, Tensor]:
        """Frame features of the fixed clip of each row."""
        device, network = self.training.device, self.network
        network.to(device).eval()
        features: dict[int, Tensor] = {}
        for batch in SampleDataModule(self.source, [], rows, batch_size, 0, self.training.workers).val_dataloader():
            parts = network.features(batch.frames.to(device)).cpu().split(list(batch.lengths))
            features.update(zip(batch.rows.tolist(), parts, strict=True))
        network.train()
        return features
