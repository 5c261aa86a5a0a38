"""UVQ's ContentNet and DistortionNet: an EfficientNet-B0 trunk and what follows it, for inference.

Source: UVQ (Wang et al., CVPR 2021) and the definition published with its weights.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.deep.efficientnet_lite import SamePad
from ugcvqa.deep.engine import FastNetwork
from ugcvqa.settings.features import Engine
from ugcvqa.uvq.layers import WideConv, step_size
from ugcvqa.uvq.state import blank_trunk, trunk_names

_BYTES_PER_PIXEL = 300  # working memory of the trunk per pixel of its input, float32, rounded up


def _layers(state: Mapping[str, Tensor]) -> nn.Module:
    """EfficientNet-B0 with TensorFlow's padding: `features.0` ... `features.16` of a network's state dict."""
    from torchvision.ops.misc import Conv2dNormActivation  # not needed to score without a network

    layers = blank_trunk()
    layers.load_state_dict({ours: state[name] for ours, name in trunk_names().items()}, assign=True)
    for block in layers[1:]:
        block.stochastic_depth = nn.Identity()
    for conv in [module for module in layers.modules() if isinstance(module, Conv2dNormActivation)]:
        if conv[0].stride == (2, 2):
            conv[0].padding = (0, 0)
            conv.insert(0, SamePad(conv[0].kernel_size[0]))
    return layers.float().eval()


class Trunk(nn.Module):
    """The layers `features.0` ... `features.16`.

    Args:
        state: state dict of a network.
        engine: see `FamilySettings`.
    """

    def __init__(self, state: Mapping[str, Tensor], engine: Engine) -> None:
        super().__init__()
        self.layers = FastNetwork(_layers(state), engine)

    def forward(self, pictures: Tensor) -> Tensor:
        """Computes maps, a few pictures at a time.

        Args:
            pictures: (n, 3, H, W) uint8, 0..255, or float32, -1..1.

        Returns:
            (n, 320, H/32, W/32) float32, sides rounded up.
        """
        step = step_size(pictures.shape[2] * pictures.shape[3] * _BYTES_PER_PIXEL, pictures.device)
        return torch.cat([self.layers(prepared(part)) for part in pictures.split(step)])


def prepared(pictures: Tensor) -> Tensor:
    """Brings pictures (n, 3, H, W) to float32, -1..1, in channels-last order; floating ones keep their values."""
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    return pictures.float().div_(255).mul_(2).sub_(1) if pictures.dtype == torch.uint8 else pictures


class ContentNet(nn.Module):
    """UVQ 1.0's ContentNet: a 16x16x100 map and the probabilities of 3,862 YouTube-8M topics.

    Args:
        state: its state dict, see `state.network_shapes`.
        engine: see `FamilySettings`.
    """

    def __init__(self, state: Mapping[str, Tensor], engine: Engine = "auto") -> None:
        super().__init__()
        self.trunk, self.last = Trunk(state, engine), WideConv(state["features.18.conv.weight"])
        self.out, self.out_bias = (nn.Buffer(state[f"classifier.2.{name}"].float()) for name in ("weight", "bias"))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Computes frames (n, 3, 496, 496), see `Trunk` -> maps (n, 100, 16, 16), topics (n, 3862) 0..1."""
        maps = self.last(self.trunk(frames))
        return maps, functional.linear(maps.mean((2, 3)), self.out, self.out_bias).sigmoid()


class DistortionNet(nn.Module):
    """UVQ 1.0's DistortionNet: an 8x8x100 map and the probabilities of 26 distortions of each patch.

    Args:
        state: its state dict, see `state.network_shapes`.
        engine: see `FamilySettings`.
    """

    def __init__(self, state: Mapping[str, Tensor], engine: Engine = "auto") -> None:
        super().__init__()
        self.trunk, self.last = Trunk(state, engine), WideConv(state["features.17.conv.weight"])
        self.hidden, self.hidden_bias = (
            nn.Buffer(state[f"classifier.2.{name}"].float()) for name in ("weight", "bias")
        )
        self.out, self.out_bias = (nn.Buffer(state[f"classifier.4.{name}"].float()) for name in ("weight", "bias"))

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Computes patches (n, 3, 360, 640), see `Trunk` -> maps (n, 100, 8, 8), distortions (n, 26) 0..1."""
        maps = _pool_patches(self.last(self.trunk(patches)))
        flat = maps.permute(0, 2, 3, 1).flatten(1)
        hidden = functional.relu6(functional.linear(flat, self.hidden, self.hidden_bias))
        return maps, functional.linear(hidden, self.out, self.out_bias).sigmoid()


class SmallNet(nn.Module):
    """A network of UVQ 1.5: the trunk and a SAME 2x2 convolution to 128 channels.

    Args:
        state: its state dict, see `state.network_shapes`.
        is_pooled: takes the maximum over 5x13 windows, as DistortionNet does.
        engine: see `FamilySettings`.
    """

    def __init__(self, state: Mapping[str, Tensor], is_pooled: bool, engine: Engine = "auto") -> None:
        super().__init__()
        self.trunk, self.is_pooled = Trunk(state, engine), is_pooled
        self.last = nn.Buffer(state["features.17.conv.weight"].float().contiguous(memory_format=torch.channels_last))

    def forward(self, pictures: Tensor) -> Tensor:
        """Computes pictures (n, 3, 256, 256) or patches (n, 3, 360, 640), see `Trunk` -> maps (n, 128, 8, 8)."""
        maps = functional.conv2d(functional.pad(self.trunk(pictures), (0, 1, 0, 1)), self.last)
        return _pool_patches(maps) if self.is_pooled else maps


def _pool_patches(maps: Tensor) -> Tensor:
    return functional.max_pool2d(maps, (5, 13), stride=1)
