"""Every setting that a verb's command line or a config file can give, as plain dataclasses.

Nothing heavy is imported here, so that `--help` is quick.
"""

import contextlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ugcvqa.errors import ConfigError

Engine = Literal["auto", "torch", "openvino"]
"""Which library computes the networks, see `FamilySettings`."""

NSSEngine = Literal["torch", "compiled"]
"""How NSS features are computed, see `NSSSettings`."""

_LARGEST_EXPONENT = 100
_LARGEST_FPS = 1000
_FEWEST_KERNEL_VIDEOS = 50
_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def n_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory of this machine, or what a container may use of it; 4 GiB where that is unknown."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 4 << 30
    for name in _CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such file, or the word `max`
            whole = min(whole, int(Path(name).read_text()))
    return whole


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
        made_by: who made these features where no file says so: `ugcvqa`, or the name of another network or program;
            or a mapping from family to name. A model scores videos only if this package computes its features.
        scenes: number of scenes of the demo set, each in six versions.
    """

    name: str = "demo"
    labels: str | None = None
    root: str | None = None
    subset: str | None = None
    features: tuple[str, ...] | str = ()
    made_by: str | dict[str, str] | None = None
    scenes: int = 28

    def __post_init__(self) -> None:
        if self.made_by is not None and not self.features:
            raise ConfigError("--data.made_by says who made --data.features; give these, or leave it out")


@dataclass(frozen=True)
class NSSSettings:
    """Settings of the NSS features.

    Attributes:
        colour: conversion of YUV to RGB: `bt601` as in the paper's features, `rapique` as first published.
        precision: `float32` is fast; `float64` reproduces the published values to rounding.
        min_side: frames whose shorter side is larger are shrunk to this, in pixels.
        short: what a video without a single one-second chunk gives: an `error`, or a vector of `nan`.
        engine: `torch`, or `compiled` kernels for float32 on a CPU: several times faster, equal to rounding.
        picture: `coded` takes frames as they are, as published; `content` leaves black bars and repeated frames out.
    """

    colour: Literal["bt601", "rapique"] = "bt601"
    precision: Literal["float32", "float64"] = "float32"
    min_side: int = 512
    short: Literal["error", "nan"] = "error"
    engine: NSSEngine = "torch"
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
        precision: `float32` is exact; the others are faster, and named in the store.
        keep_frames: store the features of every frame too, as sequence models need them.
        stages: for row STAGES, the stages of the network whose means and deviations it has, counted from 0 at the
            input and rising; all if none is named.
    """

    backbone: str = "resnet50"
    weights: str = "IMAGENET1K_V1"
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
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
        layer: module whose activations become the map; by default the last one before the global pooling that is no
            maximum, for VGG-16 features.29 as in the paper.
        weights: as for the deep features.
        precision: of the scoring passes; `float32` is exact.
        method: `exact`, or an approximation: `top:N` scores the N channels of largest mean only, `half` scores at
            half the resolution.
        memory_mib: bound on the memory of one scoring pass, by default 64 on a CPU and 4096 on a GPU; changes
            speed, not results beyond rounding.
        keep_maps: store the map of every sampled frame too.
    """

    backbone: str = "vgg16"
    layer: str | None = None
    weights: str = "IMAGENET1K_V1"
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
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

    @property
    def has_paper_backbones(self) -> bool:
        """Whether rows have the paper's networks, and so its numbers of columns."""
        networks = (self.deep.backbone, self.saliency.backbone)
        return networks == (DeepSettings.backbone, SaliencySettings.backbone) and not self.deep.stages


@dataclass(frozen=True)
class DecodeLimits:
    """Sizes above which a file is refused; None means no limit. They never change what is read from other files.

    Attributes:
        max_pixels: height times width of one frame.
        max_frames: frames of one video.
        max_duration_s: seconds of one video.
        max_file_bytes: size of the file.
        max_decode_s: processor seconds of demuxing and decoding in one pass over the file; also wall seconds of opening
            it and of reading any one packet, as of a disk that does not answer.
    """

    max_pixels: int | None = 2**26
    max_frames: int | None = 10_000_000
    max_duration_s: float | None = 24 * 3600.0
    max_file_bytes: int | None = None
    max_decode_s: float | None = 6 * 3600.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ConfigError(f"limits.{name} is {value}: give a number greater than 0, or null for no limit")


@dataclass(frozen=True)
class LoaderSettings:
    """How clips are read; affects speed, never a result.

    Attributes:
        batch_size: clips per step.
        workers: decoding processes per device; 0 decodes in the computing process; -1 takes 0 on the CPU, where
            every core computes, and for a GPU the cores that fall to it but one.
    """

    batch_size: int = 1
    workers: int = -1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.workers < -1:
            raise ConfigError(
                f"batch_size {self.batch_size}, workers {self.workers}: at least one clip per batch, and -1, 0 or "
                "more workers are needed"
            )


@dataclass(frozen=True)
class SplitSettings:
    """Which videos train, choose and test.

    Attributes:
        kind: `protocol` for the benchmark's seeded splits, which shuffle videos; `group` keeps all videos of a
            content group (scene) on one side; `auto` takes `group` where the data set names groups; `stored` for the
            permutations that VSFA's authors publish.
        index: number of the protocol split, 1 to 100 in the benchmark, or of the stored permutation, from 1.
        seed: seed of the group split.
        file: of `stored`: an .npz file with `names` and `index`, one permutation of 1..n per column; FILE.npz:SET for
            one with `SET.names` and `SET.index`.
        refit: after the held-out figures, train once more on all videos, test part included, and keep that
            model; for heads on video vectors.
    """

    kind: Literal["auto", "protocol", "group", "stored"] = "auto"
    index: int = 1
    seed: int = 0
    file: str | None = None
    refit: bool = False

    def __post_init__(self) -> None:
        if (self.kind == "stored") != (self.file is not None):
            raise ConfigError("split kind `stored` needs --split.file, and no other kind takes it")


@dataclass(frozen=True)
class SVRSettings:
    """Which candidates the grid search tries, and how exactly each is solved.

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


@dataclass(frozen=True)
class MeasureSettings:
    """What the saliency study measures beyond the paper's cosine.

    Attributes:
        permutations: re-pairings of videos behind each p-value; 0 leaves these tests out.
        seed: of all random draws.
        sample_frames: most frames of a video that enter the tests.
        curve_frames: frames of each video whose maps are checked by deletion and insertion; 0 leaves the check out.
        curve_steps: portions in which pixels are deleted or inserted.
    """

    permutations: int = 199
    seed: int = 0
    sample_frames: int = 4
    curve_frames: int = 1
    curve_steps: int = 8

    def __post_init__(self) -> None:
        if min(self.permutations, self.seed, self.curve_frames) < 0 or min(self.sample_frames, self.curve_steps) < 1:
            raise ConfigError(
                f"measures {self}: permutations, seed and curve_frames must be at least 0, the others at least 1"
            )


@dataclass(frozen=True)
class PictureSettings:
    """How many pictures the saliency study draws.

    Attributes:
        videos: videos, from the first on, of which frames and maps are drawn.
        frame: number, from 1, of the sampled frame whose activations are drawn; the last if there are fewer.
        animation_frames: most frames of a video in the animations of activations; 0 leaves them out.
    """

    videos: int = 1
    frame: int = 7
    animation_frames: int = 4

    def __post_init__(self) -> None:
        if min(self.videos, self.animation_frames) < 0 or self.frame < 1:
            raise ConfigError(f"pictures {self}: no number may be below 0, and frames are counted from 1")


@dataclass(frozen=True)
class BenchmarkSettings:
    """What a benchmark does.

    Attributes:
        mode: `protocol` for the paper's Table 1: median over hold-outs; `single_split` for the second program of the
            paper's code, which keeps the hold-out of median test RMSE; `cross` to train on one data set and test on
            others.
        splits: number of hold-outs; 100 if left out, 101 for `single_split`.
        split_index: run this hold-out only.
        train: data set that `cross` trains on.
        on_missing: what to do where features lack videos: an `error`, or `common` to run all rows of a data set on
            the videos that they share.
    """

    mode: Literal["protocol", "single_split", "cross"] = "protocol"
    splits: int | None = None
    split_index: int | None = None
    train: str | None = None
    on_missing: Literal["error", "common"] = "error"

    def __post_init__(self) -> None:
        for name, value in (("splits", self.splits), ("split_index", self.split_index)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}: the splits are numbered from 1")
        if self.splits is not None and self.split_index is not None:
            raise ConfigError("splits and split_index exclude each other; give one of them")
        if (self.train is not None) != (self.mode == "cross"):
            raise ConfigError("mode cross needs --train DATASET, and no other mode takes it")

    def indexes(self) -> range:
        """Numbers of the hold-outs to run."""
        if self.split_index is not None:
            return range(self.split_index, self.split_index + 1)
        return range(1, (self.splits or (101 if self.mode == "single_split" else 100)) + 1)


@dataclass(frozen=True)
class GPSettings:
    """Bounds of the search for the Gaussian process' parameters.

    Attributes:
        max_evaluations: of the parameters' likelihood; the search usually ends by itself before.
        tolerance: relative change of the log likelihood that ends the search.
    """

    max_evaluations: int = 100
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if self.max_evaluations < 1:
            raise ConfigError(f"max_evaluations is {self.max_evaluations}: it must be at least 1")
        if not self.tolerance > 0:
            raise ConfigError(f"tolerance is {self.tolerance}: it must be greater than 0")


@dataclass(frozen=True)
class SparseGPSettings:
    """Sizes of the sparse Gaussian process, and what it learns about compression.

    Attributes:
        ladders: feature table of encoding ladders, made by tools/make_ladders.py for the same row; None for none.
        inducing: learned points that represent the training videos.
        pairs: table of other pairs of known order, made by tools/make_pairs.py for the same row; None for none.
        ladder_inducing: further ones that represent the ladders and pairs.
        dimensions: principal axes kept of each group of columns.
        quantiles: kept per column in rank scaling.
        steps: bound on the search for the inducing points.
        kernel_videos: most videos, evenly chosen, that the kernel is learned from; memory grows with the square of
            their number, time with its cube.
        margin: by how much each rung of a ladder shall be worse than the one before, in MOS.
        tolerated: deviation from the margin that is as bad as one standard deviation, in MOS.
        max_evaluations: as of the exact process.
        tolerance: as of the exact process.
    """

    ladders: str | None = None
    inducing: int = 192
    ladder_inducing: int = 160
    dimensions: int = 192
    quantiles: int = 64
    steps: int = 25
    margin: float = 0.05
    tolerated: float = 0.08
    pairs: str | None = None
    kernel_videos: int = 2000
    max_evaluations: int = 100
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("inducing", "ladder_inducing", "dimensions", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if not 2 <= self.quantiles <= 128:
            raise ConfigError(f"quantiles is {self.quantiles}: it must be from 2 to 128")
        if self.kernel_videos < _FEWEST_KERNEL_VIDEOS:
            raise ConfigError(f"kernel_videos is {self.kernel_videos}: give {_FEWEST_KERNEL_VIDEOS} or more")
        if not (self.margin >= 0 and self.tolerated > 0):
            raise ConfigError(f"margin {self.margin}, tolerated {self.tolerated}: they must not be negative, nor 0")
        GPSettings(self.max_evaluations, self.tolerance)  # says what is wrong with them
