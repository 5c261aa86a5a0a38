"""Every setting that a verb's command line or a config file can give, as plain dataclasses.

Nothing heavy is imported here, so that `--help` is quick.
"""

import os
from dataclasses import dataclass, field
from typing import Literal

from ugcvqa.errors import ConfigError

_LARGEST_EXPONENT = 100


def n_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class DataSettings:
    """Which videos and labels.

    Attributes:
        name: `demo` (made by the package), `konvid_1k`, `youtube_ugc`, `combined`, or any name for own videos.
        labels: label file as its owner distributes it, or a CSV with a file and a MOS column for own videos.
        root: folder with the videos, searched in depth; $UGCVQA_DATA/NAME if left out.
        subset: for YouTube-UGC: 360P, 480P, 720P, 1080P or `all`; the paper's 1,039 videos if left out.
        features: feature files (.npz, .csv, .mat) or a family's folders in a store, to use instead of videos; joined
            by id, side by side.
    """

    name: str = "demo"
    labels: str | None = None
    root: str | None = None
    subset: str | None = None
    features: tuple[str, ...] | str = ()


@dataclass(frozen=True)
class NSSSettings:
    """Settings of the NSS features.

    Attributes:
        colour: conversion of YUV to RGB: `bt601` as in the paper's features, `rapique` as first published.
        precision: `float32` is fast; `float64` reproduces the published values to rounding.
        min_side: frames whose shorter side is larger are shrunk to this, in pixels.
        short: what a video without a single one-second chunk gives: an `error`, or a vector of `nan`.
    """

    colour: Literal["bt601", "rapique"] = "bt601"
    precision: Literal["float32", "float64"] = "float32"
    min_side: int = 512
    short: Literal["error", "nan"] = "error"


@dataclass(frozen=True)
class DeepSettings:
    """Settings of the deep features CNN, VSFACNN, VSFACNN_SALIENCY and VSFACNN_224.

    Attributes:
        backbone: a classification network of torchvision, by name.
        weights: named weights of torchvision (IMAGENET1K_V1), a file or a folder that holds them, or `random:SEED`,
            which is meaningless for quality and only tests the mechanics.
        precision: `float32` is exact; the others are faster, and named in the store.
        keep_frames: store the features of every frame too, as sequence models need them.
    """

    backbone: str = "resnet50"
    weights: str = "IMAGENET1K_V1"
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    keep_frames: bool = False


@dataclass(frozen=True)
class SaliencySettings:
    """Settings of the Score-CAM saliency maps.

    Attributes:
        backbone: a classification network of torchvision, by name.
        layer: module whose activations become the map.
        weights: as for the deep features.
        precision: of the scoring passes; `float32` is exact.
        method: `exact`, or an approximation: `top:N` scores the N channels of largest mean only, `half` scores at
            half the resolution.
        memory_mib: bound on the memory of one scoring pass; changes speed, not results beyond rounding.
        keep_maps: store the map of every sampled frame too.
    """

    backbone: str = "vgg16"
    layer: str = "features.29"
    weights: str = "IMAGENET1K_V1"
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    method: str = "exact"
    memory_mib: int = 512
    keep_maps: bool = False


@dataclass(frozen=True)
class FamilySettings:
    """Settings of all feature families.

    Attributes:
        nss: settings of the NSS features.
        deep: settings of the deep features.
        saliency: settings of the saliency maps.
    """

    nss: NSSSettings = field(default_factory=NSSSettings)
    deep: DeepSettings = field(default_factory=DeepSettings)
    saliency: SaliencySettings = field(default_factory=SaliencySettings)


@dataclass(frozen=True)
class DecodeLimits:
    """Sizes above which a file is refused; None means no limit.

    Attributes:
        max_pixels: height times width of one frame.
        max_frames: frames of one video.
        max_duration_s: seconds of one video.
        max_file_bytes: size of the file.
    """

    max_pixels: int | None = 2**26
    max_frames: int | None = 10_000_000
    max_duration_s: float | None = 24 * 3600.0
    max_file_bytes: int | None = None


@dataclass(frozen=True)
class LoaderSettings:
    """How clips are read; changes speed, never a result.

    Attributes:
        batch_size: clips per step.
        workers: decoding processes per device; 0 decodes in the computing process; -1 takes 0 on the CPU, where
            every core computes, and the free cores, 8 at most, for a GPU.
    """

    batch_size: int = 1
    workers: int = -1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.workers < -1:
            raise ConfigError(
                f"batch_size {self.batch_size}, workers {self.workers}: at least one clip per batch, and -1, 0 or "
                "more workers are needed"
            )

    def n_workers(self, on_gpu: bool) -> int:
        """Decoding processes per device, with -1 resolved."""
        if self.workers >= 0:
            return self.workers
        return min(8, max(1, n_cores() - 1)) if on_gpu else 0


@dataclass(frozen=True)
class SplitSettings:
    """Which videos train, choose and test.

    Attributes:
        kind: `protocol` for the benchmark's seeded splits, which shuffle videos; `group` keeps all videos of a
            content group (scene) on one side; `auto` takes `group` where the data set names groups.
        index: number of the protocol split, 1 to 100 in the benchmark.
        seed: seed of the group split.
    """

    kind: Literal["auto", "protocol", "group"] = "auto"
    index: int = 1
    seed: int = 0


@dataclass(frozen=True)
class SVRSettings:
    """What the grid search tries and how exactly each candidate is solved.

    Source: section 4 of the paper and its public code.

    Attributes:
        c_exponents: C = 2^e for each e, rising.
        gamma_exponents: gamma = 2^e for each e, rising; the kernel is exp(-gamma |x - z|^2).
        epsilon: half width of the tube without loss, MOS scale.
        tolerance: the solver's stopping tolerance.
    """

    c_exponents: tuple[int, ...] = tuple(range(1, 11))
    gamma_exponents: tuple[int, ...] = tuple(range(-8, 2))
    epsilon: float = 0.1
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        for name, values in (("c_exponents", self.c_exponents), ("gamma_exponents", self.gamma_exponents)):
            if not values or list(values) != sorted(set(values)):
                raise ConfigError(f"{name} is {list(values)}: give at least one exponent, in rising order")
            if abs(values[0]) > _LARGEST_EXPONENT or abs(values[-1]) > _LARGEST_EXPONENT:
                raise ConfigError(f"{name} is {list(values)}: exponents of 2 lie within +-{_LARGEST_EXPONENT}")
        if not self.epsilon >= 0:
            raise ConfigError(f"epsilon is {self.epsilon}: it must be at least 0")
        if not self.tolerance > 0:
            raise ConfigError(f"tolerance is {self.tolerance}: it must be greater than 0")
