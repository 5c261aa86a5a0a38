"""Settings of the feature extractors."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ugcvqa.errors import ConfigError

_LARGEST_FPS = 1000

Precision = Literal["float32", "tf32", "bfloat16", "float16"]
"""Arithmetic of a network's convolutions."""

AskedPrecision = Literal["auto", "float32", "tf32", "bfloat16", "float16"]
"""The same, as it is asked for: `auto` is settled before features are computed, see `features.precisions`."""

Engine = Literal["auto", "torch", "openvino"]
"""Which library computes the networks, see `FamilySettings`."""

NSSEngine = Literal["auto", "torch", "compiled"]
"""How NSS features are computed, see `NSSSettings`."""


@dataclass(frozen=True)
class NSSSettings:
    """Settings of the NSS features.

    Attributes:
        colour: conversion of YUV to RGB: `bt601` as in the paper's features, `rapique` as first published.
        precision: `float32` is fast; `float64` reproduces the published values to rounding.
        min_side: frames whose shorter side is larger are shrunk to this, in pixels.
        short: what a video without a single one-second chunk gives: an `error`, or a vector of `nan`.
        engine: `compiled` kernels compute float32 on a CPU, several times faster than `torch` and equal to rounding;
            `auto` takes them unless the precision is float64 or Numba is missing.
        picture: `coded` takes frames as they are, as published; `content` leaves black bars and repeated frames out.
    """

    colour: Literal["bt601", "rapique"] = "bt601"
    precision: Literal["float32", "float64"] = "float32"
    min_side: int = 512
    short: Literal["error", "nan"] = "error"
    engine: NSSEngine = "auto"
    picture: Literal["coded", "content"] = "coded"

    def __post_init__(self) -> None:
        if self.min_side < 1:
            raise ConfigError(f"nss.min_side is {self.min_side}: give a number of pixels")


@dataclass(frozen=True)
class DeepSettings:
    """Settings of the deep features CNN, VSFACNN, VSFACNN_SALIENCY, VSFACNN_224 and STAGES.

    Attributes:
        backbone: a classification network of torchvision, by name, or `efficientnet_lite0`.
        weights: named weights of torchvision (IMAGENET1K_V1), a file or a folder that holds them, or `random:SEED`,
            which is meaningless for quality and only tests the mechanics.
        precision: `float32` is exact; the others are faster, and named in the store. `auto` is float32 on a CPU, and on
            a GPU the fastest whose measured error is within a bound, see `features.precisions`; a store keeps to it.
        keep_frames: store the features of every frame too, as sequence models need them.
        stages: for row STAGES, the stages of the network whose means and deviations it has, counted from 0 at the
            input and rising; all if none is named.
    """

    backbone: str = "resnet50"
    weights: str = "IMAGENET1K_V1"
    precision: AskedPrecision = "auto"
    keep_frames: bool = False
    stages: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))  # a model file gives a list
        if list(self.stages) != sorted(set(self.stages)) or min(self.stages, default=0) < 0:
            raise ConfigError(f"deep.stages is {list(self.stages)}: give numbers from 0 on, in rising order")


@dataclass(frozen=True)
class SaliencySettings:
    """Settings of the Score-CAM saliency maps.

    Attributes:
        backbone: a classification network of torchvision, by name, or `efficientnet_lite0`.
        layer: module whose activations become the map; by default the last one before the global pooling that is not a
            maximum, for VGG-16 features.29 as in the paper.
        weights: as for the deep features.
        precision: of the scoring passes; as for the deep features.
        method: `exact`, or an approximation: `top:N` scores the N channels of largest mean only, `half` scores at
            half the resolution.
        memory_mib: bound on the memory of one scoring pass, by default 64 on a CPU and 4096 on a GPU; changes
            speed, not results beyond rounding.
        keep_maps: store the map of every sampled frame too.
    """

    backbone: str = "vgg16"
    layer: str | None = None
    weights: str = "IMAGENET1K_V1"
    precision: AskedPrecision = "auto"
    method: str = "exact"
    memory_mib: int | None = None
    keep_maps: bool = False

    def __post_init__(self) -> None:
        if self.memory_mib is not None and self.memory_mib < 1:
            raise ConfigError(
                f"saliency.memory_mib is {self.memory_mib}: give at least 1 MiB, or null for what suits the device"
            )


@dataclass(frozen=True)
class UVQSettings:
    """Settings of UVQ 1.0 and 1.5.

    Attributes:
        weights: folder with the released files, at any depth; $UGCVQA_UVQ_WEIGHTS if empty. `random:SEED` is
            meaningless for quality and only tests the mechanics.
        counting: `real` scores frames of the video only; `reference` scores a whole number of seconds filled up with
            black, as the original does.
        sampler: `ffmpeg-cfr` takes the frames that the ffmpeg program would, as the original does; `uniform` those
            nearest to a regular grid.
        fps: frames per second that UVQ 1.5 looks at; -1 takes the video's own rate, rounded up. UVQ 1.0 takes 5.
        keep_frames: store the features of every second too, as sequence models need them.
    """

    weights: str = ""
    counting: Literal["real", "reference"] = "real"
    sampler: Literal["ffmpeg-cfr", "uniform"] = "ffmpeg-cfr"
    fps: int = 1
    keep_frames: bool = False

    def __post_init__(self) -> None:
        if not (1 <= self.fps <= _LARGEST_FPS or self.fps == -1):
            raise ConfigError(
                f"uvq.fps is {self.fps}: give 1 to {_LARGEST_FPS} frames per second, or -1 for the video's own rate"
            )


@dataclass(frozen=True)
class FamilySettings:
    """Settings of all feature families.

    Attributes:
        nss: settings of the NSS features.
        deep: settings of the deep features.
        saliency: settings of the saliency maps.
        uvq: settings of UVQ 1.0 and 1.5.
        engine: library that computes the networks: `auto` takes OpenVINO where it is installed and there is no GPU,
            else PyTorch. It changes numbers by rounding only, so stored features do not depend on it.
    """

    nss: NSSSettings = field(default_factory=NSSSettings)
    deep: DeepSettings = field(default_factory=DeepSettings)
    saliency: SaliencySettings = field(default_factory=SaliencySettings)
    uvq: UVQSettings = field(default_factory=UVQSettings)
    engine: Engine = "auto"

    def with_backbones(self, backbone: str | None, saliency_backbone: str | None) -> "FamilySettings":
        """Puts other networks in place of ResNet-50 and VGG-16; None leaves what is set.

        Raises:
            ConfigError: if another network is set already.
        """
        asked = (("deep", backbone, "backbone"), ("saliency", saliency_backbone, "saliency_backbone"))
        changed = self
        for name, network, flag in asked:
            part = getattr(self, name)
            if network is None or network == part.backbone:
                continue
            if part.backbone != type(part)().backbone:
                raise ConfigError(
                    f"--{flag} {network} and --families.{name}.backbone {part.backbone} contradict each other; give one"
                )
            changed = replace(changed, **{name: replace(part, backbone=network)})
        return changed

    def with_precisions(self, found: Mapping[str, Precision] = {}) -> "FamilySettings":
        """Puts an arithmetic in place of `auto`.

        Args:
            found: `deep` and `saliency` -> what was found for them; float32 where nothing is.
        """
        changed = self
        if self.deep.precision == "auto":
            changed = replace(changed, deep=replace(self.deep, precision=found.get("deep", "float32")))
        if self.saliency.precision == "auto":
            changed = replace(changed, saliency=replace(self.saliency, precision=found.get("saliency", "float32")))
        return changed

    @property
    def has_paper_backbones(self) -> bool:
        """Whether rows have the paper's networks, and so its numbers of columns."""
        networks = (self.deep.backbone, self.saliency.backbone)
        return networks == (DeepSettings.backbone, SaliencySettings.backbone) and not self.deep.stages
