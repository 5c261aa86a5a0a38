"""Regressors by plain values: VSFA's recurrent head on frame features, and a backbone that is trained with it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, Self, TypeVar

import torch
from torch import nn

from ugcvqa.datamodules.samples import Source
from ugcvqa.datamodules.sampling import FrameFeatures, Pictures
from ugcvqa.deep.backbones import empty_backbone, load_backbone
from ugcvqa.deep.stages import stages_of, widths
from ugcvqa.errors import ConfigError
from ugcvqa.features.rows import DIMENSIONS
from ugcvqa.heads.end_to_end import EndToEnd, calibrate_batchnorm
from ugcvqa.heads.gru import VSFAHead, build_gru
from ugcvqa.heads.network_heads import build_end_to_end
from ugcvqa.models.regressor import QualityRegressor
from ugcvqa.samples.batches import FIXED, Draw
from ugcvqa.settings.features import DeepSettings, FamilySettings, SaliencySettings
from ugcvqa.settings.training import ClipSettings, EndToEndSettings, GRUSettings, RecipeSettings

_CALIBRATION_VIDEOS = 16
_HIGHEST_MOS = 5.0
Settings = TypeVar("Settings", RecipeSettings, ClipSettings)


class GRURegressor(QualityRegressor):
    """VSFA's recurrent head on the features of all frames, from a frozen backbone.

    Source: VSFA (Li, Jiang, Jiang, 2019), section 3.2.

    Args:
        row: the features, `VSFACNN`, `VSFACNN_SALIENCY` or `VSFACNN_224`; a data module of videos serves them.
        backbone: network of the features: a classification network of torchvision, by name, or `efficientnet_lite0`.
        weights: of that network: named weights (`IMAGENET1K_V1`), a file or folder, or `random:SEED` for tests.
        saliency_backbone: network of the maps of VSFACNN_SALIENCY.
        saliency_weights: of that network.
        input_dim: features D of a frame; by default twice the channels of the backbone.
        reduced_dim: outputs of the linear map.
        hidden_dim: units of the GRU.
        tau: window of the temporal pooling, in frames.
        beta: weight of the present against the memory, 0..1.
        precision: in which frame features are held: `float32`, `bfloat16` or `float16`.
        label_scale: MOS of the relative score 1, usually the highest possible one.
        recipe: how to train, by names of `RecipeSettings`, such as `{"lr": 1e-4}`.
        settings: of a checkpoint that the verb `fit` of version 0.1 wrote, as JSON: it wins over all others.
        network: the head itself; by default an untrained one is made. It is not among the hyperparameters.

    Raises:
        ConfigError: if a value cannot be used.
    """

    def __init__(
        self,
        row: str = "VSFACNN",
        backbone: str = "resnet50",
        weights: str = "IMAGENET1K_V1",
        saliency_backbone: str = "vgg16",
        saliency_weights: str = "IMAGENET1K_V1",
        input_dim: int | None = None,
        reduced_dim: int = 128,
        hidden_dim: int = 32,
        tau: int = 12,
        beta: float = 0.5,
        precision: Literal["float32", "bfloat16", "float16"] = "float32",
        label_scale: float = _HIGHEST_MOS,
        recipe: Mapping[str, Any] | None = None,
        settings: str | None = None,
        network: VSFAHead | None = None,
    ) -> None:
        if settings is not None:
            kept = json.loads(settings)
            reduced_dim, hidden_dim, tau, beta = (kept[key] for key in ("reduced_dim", "hidden_dim", "tau", "beta"))
            precision, recipe = kept["precision"], kept["recipe"]
        asked = _settings(RecipeSettings, {"lr": 1e-4, **(recipe or {})}, "recipe")
        gru = GRUSettings(reduced_dim, hidden_dim, tau, beta, precision, asked)
        width = input_dim or _frame_width(backbone)
        super().__init__(network or build_gru(gru, width), label_scale, asked)
        self.is_untrained = network is None
        deep, saliency = DeepSettings(backbone, weights), SaliencySettings(saliency_backbone, weights=saliency_weights)
        self.sampling = FrameFeatures(row, FamilySettings(deep=deep, saliency=saliency), precision)
        names = {"row": row, "backbone": backbone, "weights": weights}
        maps = {"saliency_backbone": saliency_backbone, "saliency_weights": saliency_weights}
        sizes = {"reduced_dim": reduced_dim, "hidden_dim": hidden_dim, "tau": tau, "beta": beta}
        others = {"precision": precision, "label_scale": label_scale, "recipe": asdict(asked)}
        self.save_hyperparameters({**names, **maps, "input_dim": width, **sizes, **others})

    @classmethod
    def of(cls, settings: GRUSettings, row: str, families: FamilySettings, input_dim: int, label_scale: float) -> Self:
        """An untrained head as the settings of the verb `fit` have it, for `input_dim` features of each frame."""
        deep, saliency = families.deep, families.saliency
        values = asdict(settings)
        return cls(
            row,
            deep.backbone,
            deep.weights,
            saliency.backbone,
            saliency.weights,
            input_dim,
            label_scale=label_scale,
            **values,
        )


class EndToEndRegressor(QualityRegressor):
    """A backbone and VSFA's recurrent head, trained together on sampled frames.

    Source: own, in the spirit of VSFA (Li, Jiang, Jiang, 2019), whose frozen backbone is trained here.

    Args:
        backbone: a classification network of torchvision, by name, or `efficientnet_lite0`.
        weights: its initial weights: named ones (`IMAGENET1K_V1`), a file or folder, or `random:SEED` to train from
            scratch. None for weights that come from a checkpoint.
        stages: stages of the backbone that are used, counted from the input; 0 for all.
        frozen_stages: stages, counted from the input, that are not trained.
        checkpointing: recompute each stage in the backward pass instead of keeping its activations.
        reduced_dim: outputs of the linear map.
        hidden_dim: units of the GRU.
        tau: window of the temporal pooling, in sampled frames.
        beta: weight of the present against the memory, 0..1.
        label_scale: MOS of the relative score 1, usually the highest possible one.
        clip: which frames it sees, by names of `ClipSettings`, such as `{"frames": 8, "crop": 224}`.
        recipe: how to train, by names of `RecipeSettings`, such as `{"lr": 1e-3, "backbone_lr": 1e-4}`.
        settings: of a checkpoint that the verb `fit` of version 0.1 wrote, as JSON: it wins over all others.
        network: the network itself; by default one is made. It is not among the hyperparameters.

    Raises:
        ConfigError: if a value cannot be used.
        WeightsError: if weights are missing or wrong.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        weights: str | None = "IMAGENET1K_V1",
        stages: int = 0,
        frozen_stages: int = 1,
        checkpointing: bool = False,
        reduced_dim: int = 128,
        hidden_dim: int = 32,
        tau: int = 3,
        beta: float = 0.5,
        label_scale: float = _HIGHEST_MOS,
        clip: Mapping[str, Any] | None = None,
        recipe: Mapping[str, Any] | None = None,
        settings: str | None = None,
        network: EndToEnd | None = None,
    ) -> None:
        values: dict[str, Any] = {
            **{"backbone": backbone, "stages": stages, "frozen_stages": frozen_stages, "checkpointing": checkpointing},
            **{"reduced_dim": reduced_dim, "hidden_dim": hidden_dim, "tau": tau, "beta": beta},
        }
        if settings is not None:
            kept = json.loads(settings)
            values, clip, recipe, weights = {key: kept[key] for key in values}, kept["clip"], kept["recipe"], None
        asked = _settings(RecipeSettings, {"epochs": 30, "ema": 0.99, **(recipe or {})}, "recipe")
        pictures = _settings(ClipSettings, clip or {}, "clip")
        chosen = EndToEndSettings(**values, weights=weights or "", clip=pictures, recipe=asked)
        super().__init__(network or _end_to_end(chosen), label_scale, asked)
        self.is_untrained = network is None
        self.sampling, self._weights = Pictures(pictures), weights
        others = {"label_scale": label_scale, "clip": asdict(pictures), "recipe": asdict(asked)}
        self.save_hyperparameters({**values, "weights": weights, **others})

    @classmethod
    def of(
        cls,
        settings: EndToEndSettings,
        label_scale: float,
        network: EndToEnd | None = None,
        recipe: RecipeSettings | None = None,
    ) -> Self:
        """A model as the settings of the verb `fit` have it, trained by their recipe or another."""
        values = {key: value for key, value in asdict(settings).items() if key not in ("head_epochs", "thaw_epochs")}
        values |= {"recipe": asdict(recipe or settings.recipe)}
        return cls(label_scale=label_scale, network=network, **values)

    def start(self, source: Source, rows: Sequence[int]) -> None:
        """As for all regressors; before, a backbone of random weights is calibrated to the frames of some videos."""
        network: Any = self.network
        if str(self._weights).startswith("random:"):
            frames = [source[Draw(FIXED, row)][1] for row in list(rows)[:_CALIBRATION_VIDEOS]]
            calibrate_batchnorm(network.backbone, torch.cat(frames))
        super().start(source, rows)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes that the weights are in the checkpoint, so that loading it needs no other file."""
        kept = dict(checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY])
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = {**kept, "weights": None, "initial_weights": self._weights}


def _end_to_end(settings: EndToEndSettings) -> EndToEnd:
    if settings.weights:
        return build_end_to_end(settings, load_backbone(settings.backbone, settings.weights))
    return build_end_to_end(settings, empty_backbone(settings.backbone).eval(), is_checked=True)


def _settings(kind: type[Settings], values: Mapping[str, Any], name: str) -> Settings:
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{name}: {error}; see {kind.__name__}") from error


def _frame_width(backbone: str) -> int:
    """Features of a frame: means and deviations of the last maps."""
    if backbone == DeepSettings.backbone:
        return DIMENSIONS["vsfacnn"]
    network: nn.Module = empty_backbone(backbone).eval()
    return 2 * widths(stages_of(network, backbone))[-1]
