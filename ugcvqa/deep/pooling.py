"""Deep features of frames: the pooled last maps of a frozen network, as VSFA and row CNN take them, in plain torch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ugcvqa.deep.backbones import check_finite, load_backbone, weights_checksum
from ugcvqa.deep.engine import FastNetwork
from ugcvqa.deep.imagenet import check_frames, is_stack, normalise
from ugcvqa.deep.trunks import features_of
from ugcvqa.errors import ConfigError, VideoError
from ugcvqa.media.imresize import imresize_to
from ugcvqa.settings.features import Engine, Precision

CNN_SIDE_PX = 224
_BYTES_PER_PIXEL = 512  # working memory of ResNet-50 and its like per input pixel, float32, rounded up
_CPU_STEP_BYTES = 8 * CNN_SIDE_PX**2 * _BYTES_PER_PIXEL
_GPU_STEP_BYTES = 8 << 30
_SAFE_SIDE_PX = 128  # no network here fails on frames of this size


def mean_std_pool(maps: Tensor) -> Tensor:
    """Pools each channel over space to its mean and its unbiased standard deviation.

    Source: VSFA (Li, Jiang, Jiang, 2019), section 3.1, and its public code; the paper's VSFACNN row. A single
    position, where the original gives NaN, has deviation 0 here.

    Args:
        maps: (T, C, h, w) real, of any floating dtype; summed in float64.

    Returns:
        (T, 2C) float32: C means first, then C standard deviations.
    """
    values = maps.flatten(2).double()
    variance, mean = torch.var_mean(values, dim=2, correction=int(values.shape[2] > 1))
    return torch.cat([mean, variance.sqrt()], 1).float()


def mean_pool(maps: Tensor) -> Tensor:
    """Pools each channel over space to its mean: (T, C, h, w) real, summed in float64 -> (T, C) float32."""
    return maps.flatten(2).double().mean(2).float()


class Trunk(nn.Module):
    """The convolutional part of a frozen network, prepared for speed.

    Args:
        backbone: torchvision's name of the network, or the network itself, in evaluation mode.
        weights: see `load_backbone`; unused if the network itself is given.
        precision: of the convolutions: `float32` is exact, `tf32`, `bfloat16` and `float16` are faster where the
            device supports them. The maps are pooled in float64 in any case.
        engine: see `FamilySettings`.
        skip_stem: leaves out the normalisation, activation and pooling between the first convolution and the first
            stage of a ResNet, see `CNN`.

    Attributes:
        width: channels C of the maps.
        checksum: SHA-256 of its weights as they were given, whatever computes with them.

    Raises:
        ConfigError: if the network has no convolutional maps, or no stem to skip.
        WeightsError: see `load_backbone`.
    """

    def __init__(
        self, backbone: str | nn.Module, weights: str, precision: Precision, engine: Engine, skip_stem: bool = False
    ) -> None:
        super().__init__()
        self.name = backbone if isinstance(backbone, str) else type(backbone).__name__
        self.precision = precision
        network = load_backbone(backbone, weights) if isinstance(backbone, str) else backbone
        check_finite(network, self.name)  # an operator that joins ReLU to a convolution turns NaN into 0
        trunk: nn.Module
        trunk, self.width = features_of(network, self.name)
        if skip_stem:
            trunk = _without_stem(network, self.name)
        self.checksum = weights_checksum(trunk)
        self.layers = FastNetwork(trunk, engine, precision)

    @torch.inference_mode()
    def pooled(
        self,
        frames: Tensor,
        size: tuple[int, int],
        prepare: Callable[[Tensor], Tensor],
        pool: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Runs frames through the network a few at a time, so that memory does not grow with their number.

        Args:
            frames: (T, 3, H, W), all of one clip.
            size: (height, width) of the network's input.
            prepare: turns some of the frames into that input, (t, 3, height, width) float32.
            pool: turns maps (t, C, h, w) into features (t, D).

        Returns:
            (T, D) features, float32.

        Raises:
            VideoError: if the frames are too small for the network.
            ConfigError: if features on a CPU are not finite, as can happen in float16.
        """
        step = frames_at_once(size[0] * size[1] * _BYTES_PER_PIXEL, frames.device)
        with large_enough(size, self.name):
            features = torch.cat([pool(self.layers(prepare(part))) for part in frames.split(step)])
        if features.device.type == "cpu":  # a GPU would have to wait; `FrameMean` looks at the mean
            check_features(features, self.name, self.precision)
        return features


def check_features(features: Tensor, name: str, precision: str) -> None:
    """Checks features, or their mean, of a network that is given by name.

    Raises:
        ConfigError: if they are not finite.
    """
    if not torch.isfinite(features).all():
        raise ConfigError(f"features of {name} are not finite in {precision}; use float32")


@contextmanager
def large_enough(size: Sequence[int], name: str) -> Iterator[None]:
    """Reports that frames of (height, width) are too small where a network, whose name is given, fails on them.

    Raises:
        VideoError: if the block fails and they are small.
    """
    try:
        yield
    except RuntimeError as error:
        if min(size) >= _SAFE_SIDE_PX:
            raise
        raise VideoError(
            f"frames of {size[1]} x {size[0]} pixels are too small for {name}; leave the video out"
        ) from error


class VSFA(nn.Module):
    """VSFA's content-aware features: mean and deviation over space of a frozen network's last maps.

    Source: VSFA (Li, Jiang, Jiang, 2019), section 3.1, and its public code: ResNet-50 with weights IMAGENET1K_V1,
    frames of full size. In `float32` the features depend on how frames are grouped into calls by rounding only
    (about 1e-5).

    Args:
        backbone: torchvision's name of the network, or the network itself, in evaluation mode.
        weights: see `load_backbone`; unused if the network itself is given.
        precision: see `Trunk`.
        engine: see `Trunk`.

    Attributes:
        dim: length of a frame's features, twice the channels of the last maps: 4,096 for ResNet-50.

    Raises:
        ConfigError: if the network has no convolutional maps.
        WeightsError: see `load_backbone`.
    """

    def __init__(
        self,
        backbone: str | nn.Module = "resnet50",
        weights: str = "IMAGENET1K_V1",
        precision: Precision = "float32",
        engine: Engine = "auto",
    ) -> None:
        super().__init__()
        self.trunk = Trunk(backbone, weights, precision, engine)
        self.dim = 2 * self.trunk.width

    def forward(self, rgb: Tensor) -> Tensor:
        """Computes the features of frames of one clip.

        Args:
            rgb: (T, 3, H, W) uint8 RGB, any T.

        Returns:
            (T, dim) float32: means, then deviations.

        Raises:
            ValueError: if `rgb` is of another shape or dtype.
            VideoError: if the frames are too small for the network; ResNets take any size.
        """
        check_frames(rgb)
        # ordered while 8-bit, which is a quarter of the bytes
        return self._features(rgb, lambda part: normalise(part.contiguous(memory_format=torch.channels_last)))

    def forward_normalised(self, x: Tensor) -> Tensor:
        """Computes the features of frames that are already normalised, with or without a saliency map added.

        Args:
            x: (T, 3, H, W) float32 as from `normalise`.

        Returns:
            (T, dim) float32, as `forward`.

        Raises:
            ValueError: if `x` is of another shape or dtype.
            VideoError: if the frames are too small for the network.
        """
        if not is_stack(x) or x.dtype != torch.float32:
            raise ValueError(f"normalised frames must be (T, 3, H, W) float32, got {tuple(x.shape)} {x.dtype}")
        return self._features(x, lambda part: part)

    def _features(self, frames: Tensor, prepare: Callable[[Tensor], Tensor]) -> Tensor:
        if not len(frames):
            return torch.empty(0, self.dim, device=frames.device)
        height, width = frames.shape[2:]
        return self.trunk.pooled(frames, (height, width), prepare, mean_std_pool)


class CNN(nn.Module):
    """Global averages of a frozen network's last maps, for frames squashed to 224 x 224 pixels.

    Source: row CNN of the paper, and RAPIQUE's public code (Tu et al., 2021): bicubic `imresize`, ResNet-50, last
    average pooling. Those use MATLAB's network; this is torchvision's, so published columns cannot be reproduced.

    Args:
        backbone: torchvision's name of the network, or the network itself, in evaluation mode, or the trunk of a
            `VSFA` to share it; what follows is unused then.
        weights: see `load_backbone`; unused if the network itself is given.
        precision: see `Trunk`.
        skip_stem: computes the paper's Algorithm 1 as its public script does, without the normalisation, activation
            and pooling after the first convolution; only for comparison with the published example.
        engine: see `Trunk`.

    Attributes:
        dim: length of a frame's features: 2,048 for ResNet-50.

    Raises:
        ConfigError: if the network has no convolutional maps, or no stem to skip.
        WeightsError: see `load_backbone`.
    """

    def __init__(
        self,
        backbone: str | nn.Module = "resnet50",
        weights: str = "IMAGENET1K_V1",
        precision: Precision = "float32",
        skip_stem: bool = False,
        engine: Engine = "auto",
    ) -> None:
        super().__init__()
        if not isinstance(backbone, Trunk):
            backbone = Trunk(backbone, weights, precision, engine, skip_stem)
        self.trunk = backbone
        self.dim = self.trunk.width

    def forward(self, rgb: Tensor) -> Tensor:
        """Computes the features of frames of one clip.

        Args:
            rgb: (T, 3, H, W) uint8 RGB of any size and any T.

        Returns:
            (T, dim) float32.

        Raises:
            ValueError: if `rgb` is of another shape or dtype.
        """
        check_frames(rgb)
        if not len(rgb):
            return torch.empty(0, self.dim, device=rgb.device)
        side = (CNN_SIDE_PX, CNN_SIDE_PX)
        return self.trunk.pooled(rgb, side, lambda part: normalise(imresize_to(part, *side)), mean_pool)


def frames_at_once(frame_bytes: int, device: torch.device, cpu_bytes: int = _CPU_STEP_BYTES) -> int:
    """Frames that go through a network together, from their working memory and the device alone."""
    budget = cpu_bytes
    if device.type == "cuda":
        budget = min(_GPU_STEP_BYTES, torch.cuda.get_device_properties(device).total_memory // 4)
    return max(1, budget // frame_bytes)


def _without_stem(network: nn.Module, name: str) -> nn.Module:
    parts = dict(network.named_children())
    names = ("conv1", "layer1", "layer2", "layer3", "relu", "layer4")
    if not set(names) <= set(parts):
        raise ConfigError(f"backbone {name}: skip_stem is defined for ResNets only; leave it out")
    return nn.Sequential(*(parts[part] for part in names))
