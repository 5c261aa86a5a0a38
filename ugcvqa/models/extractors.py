"""Feature extractors by plain values, one class for each feature family."""

from typing import Literal

from ugcvqa.errors import ConfigError
from ugcvqa.features.families import build_families
from ugcvqa.models.extractor import Extractor
from ugcvqa.settings.features import (
    DeepSettings,
    Engine,
    FamilySettings,
    NSSEngine,
    NSSSettings,
    Precision,
    SaliencySettings,
    UVQSettings,
)


class NSSExtractor(Extractor):
    """RAPIQUE's 1,836 natural scene statistics of each second (row NSS); needs no weights.

    Args:
        colour: conversion of YUV to RGB: `bt601` as in the paper's features, `rapique` as first published.
        precision: `float32` is fast; `float64` reproduces the published values to rounding.
        min_side: frames whose shorter side is larger are shrunk to this, in pixels.
        short: what a video without a single one-second chunk gives: an `error`, or a vector of `nan`.
        engine: `torch`, `compiled` kernels for float32 on a CPU, or `auto`, see `NSSSettings`.
        picture: `coded` takes frames as they are; `content` leaves black bars and repeated frames out.
    """

    def __init__(
        self,
        colour: Literal["bt601", "rapique"] = "bt601",
        precision: Literal["float32", "float64"] = "float32",
        min_side: int = 512,
        short: Literal["error", "nan"] = "error",
        engine: NSSEngine = "auto",
        picture: Literal["coded", "content"] = "coded",
    ) -> None:
        settings = NSSSettings(colour, precision, min_side, short, engine, picture)
        super().__init__(build_families(("nss",), FamilySettings(nss=settings)))
        self.save_hyperparameters()


class CNNExtractor(Extractor):
    """Global averages of a frozen network on the centre frame of each second, squashed to 224 x 224 (row CNN).

    Args:
        backbone: a classification network of torchvision, by name, or `efficientnet_lite0`.
        weights: named weights (`IMAGENET1K_V1`), a file or folder that holds them, or `random:SEED` for tests.
        precision: of the convolutions; `float32` is exact.
        engine: `torch`, `openvino`, or `auto`; changes numbers by rounding only.

    Raises:
        WeightsError: if weights are missing or wrong.
        ConfigError: if a setting cannot be used.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        weights: str = "IMAGENET1K_V1",
        precision: Precision = "float32",
        engine: Engine = "auto",
    ) -> None:
        settings = FamilySettings(deep=DeepSettings(backbone, weights, precision), engine=engine)
        super().__init__(build_families(("cnn",), settings))
        self.save_hyperparameters()


class VSFACNNExtractor(Extractor):
    """VSFA's content-aware features of every frame at its own size: means and deviations of the last maps.

    Source: VSFA (Li, Jiang, Jiang, 2019), section 3.1 (row VSFACNN).

    Args:
        backbone: as of `CNNExtractor`.
        weights: as of `CNNExtractor`.
        precision: of the convolutions; `float32` is exact.
        keep_frames: give the features (T, D) of every frame too, not their mean alone.
        engine: as of `CNNExtractor`.

    Raises:
        WeightsError: if weights are missing or wrong.
        ConfigError: if a setting cannot be used.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        weights: str = "IMAGENET1K_V1",
        precision: Precision = "float32",
        keep_frames: bool = True,
        engine: Engine = "auto",
    ) -> None:
        settings = FamilySettings(deep=DeepSettings(backbone, weights, precision, keep_frames), engine=engine)
        super().__init__(build_families(("vsfacnn",), settings))
        self.save_hyperparameters()


class SaliencyExtractor(Extractor):
    """Score-CAM saliency of the last frame of each second; the vector is the mean map's column profile (row SALIENCY).

    Args:
        backbone: a classification network of torchvision, by name, or `efficientnet_lite0`.
        weights: as of `CNNExtractor`.
        layer: module whose activations become the map; by default the last before the global pooling.
        precision: of the scoring passes; `float32` is exact.
        method: `exact`, or an approximation: `top:N` or `half`, see `settings.SaliencySettings`.
        memory_mib: bound on the memory of one scoring pass; changes speed only.
        keep_maps: give the map of every sampled frame too (`features["saliency"]["maps"]`).
        engine: as of `CNNExtractor`.

    Raises:
        WeightsError: if weights are missing or wrong.
        ConfigError: if a setting cannot be used.
    """

    def __init__(
        self,
        backbone: str = "vgg16",
        weights: str = "IMAGENET1K_V1",
        layer: str | None = None,
        precision: Precision = "float32",
        method: str = "exact",
        memory_mib: int | None = None,
        keep_maps: bool = False,
        engine: Engine = "auto",
    ) -> None:
        saliency = SaliencySettings(backbone, layer, weights, precision, method, memory_mib, keep_maps)
        super().__init__(build_families(("saliency",), FamilySettings(saliency=saliency, engine=engine)))
        self.save_hyperparameters()


class VSFACNNSaliencyExtractor(Extractor):
    """VSFA features of the first frame of each second, its saliency map added to the input (row VSFACNN_SALIENCY).

    Args:
        backbone: network of the features, as of `CNNExtractor`.
        weights: of that network.
        precision: of its convolutions.
        saliency_backbone: network of the maps, as of `SaliencyExtractor`.
        saliency_weights: of that network.
        saliency_layer: as `layer` of `SaliencyExtractor`.
        saliency_precision: of the scoring passes.
        method: as of `SaliencyExtractor`.
        memory_mib: as of `SaliencyExtractor`.
        keep_frames: give the features (T, D) of every sampled frame too.
        engine: as of `CNNExtractor`.

    Raises:
        WeightsError: if weights are missing or wrong.
        ConfigError: if a setting cannot be used.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        weights: str = "IMAGENET1K_V1",
        precision: Precision = "float32",
        saliency_backbone: str = "vgg16",
        saliency_weights: str = "IMAGENET1K_V1",
        saliency_layer: str | None = None,
        saliency_precision: Precision = "float32",
        method: str = "exact",
        memory_mib: int | None = None,
        keep_frames: bool = True,
        engine: Engine = "auto",
    ) -> None:
        deep = DeepSettings(backbone, weights, precision, keep_frames)
        saliency = SaliencySettings(
            saliency_backbone, saliency_layer, saliency_weights, saliency_precision, method, memory_mib
        )
        settings = FamilySettings(deep=deep, saliency=saliency, engine=engine)
        super().__init__(build_families(("vsfacnn_saliency",), settings))
        self.save_hyperparameters()


class UVQExtractor(Extractor):
    """UVQ's feature maps, pooled over space and time, with UVQ's own scores among what is kept (row UVQ_FEATURES).

    Args:
        version: `1.0` or `1.5`.
        weights: folder with the released files, at any depth; $UGCVQA_UVQ_WEIGHTS if empty. `random:SEED` for tests.
        counting: `real` or `reference`, see `settings.UVQSettings`.
        sampler: `ffmpeg-cfr` or `uniform`.
        fps: frames per second that UVQ 1.5 looks at.
        keep_frames: give the features (S, D) of every second too.
        engine: as of `CNNExtractor`.

    Raises:
        WeightsError: if weights are missing or wrong.
        ConfigError: if a setting cannot be used.
    """

    def __init__(
        self,
        version: Literal["1.0", "1.5"] = "1.0",
        weights: str = "",
        counting: Literal["real", "reference"] = "real",
        sampler: Literal["ffmpeg-cfr", "uniform"] = "ffmpeg-cfr",
        fps: int = 1,
        keep_frames: bool = True,
        engine: Engine = "auto",
    ) -> None:
        names = {"1.0": "uvq", "1.5": "uvq15"}
        if version not in names:
            raise ConfigError(f"version {version!r} of UVQ: use 1.0 or 1.5")
        settings = FamilySettings(uvq=UVQSettings(weights, counting, sampler, fps, keep_frames), engine=engine)
        super().__init__(build_families((names[version],), settings))
        self.save_hyperparameters()
