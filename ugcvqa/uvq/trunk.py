"""UVQ's ContentNet and DistortionNet: an EfficientNet-B0 trunk and what follows it, for inference.

Source: UVQ (Wang et al., CVPR 2021) and the definition published with its weights. Batch normalisation is folded into
the convolutions and everything runs in channels-last order, which changes results by rounding only.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.uvq.layers import WideConv, convolve, same_padding, step_size
from ugcvqa.uvq.state import TRUNK, TRUNK_EPS, Block, fold

_BYTES_PER_PIXEL = 300  # working memory of the trunk per pixel of its input, float32, rounded up


class _Conv(nn.Module):
    """A SAME convolution with its folded normalisation, and SiLU if asked for."""

    def __init__(
        self, state: Mapping[str, Tensor], key: str, stride: int = 1, groups: int = 1, silu: bool = True
    ) -> None:
        super().__init__()
        weight, bias = fold(state, f"{key}.0.conv.weight", f"{key}.1", TRUNK_EPS)
        self.weight = nn.Buffer(weight.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Buffer(bias)
        self.stride, self.groups = stride, groups
        self.activation: Literal["swish", "none"] = "swish" if silu else "none"

    def forward(self, x: Tensor) -> Tensor:
        side = self.weight.shape[2]
        left, right, top, bottom = same_padding((x.shape[2], x.shape[3]), (side, side), self.stride)
        if left == right == top == bottom:
            return convolve(x, self.weight, self.bias, self.stride, left, self.groups, self.activation)
        x = functional.pad(x, (left, right, top, bottom))
        return convolve(x, self.weight, self.bias, self.stride, 0, self.groups, self.activation)


class _Bottleneck(nn.Module):
    """An inverted bottleneck with a squeeze-excite gate; the sum with its input where sizes allow."""

    def __init__(self, state: Mapping[str, Tensor], key: str, block: Block) -> None:
        super().__init__()
        places = iter(f"{key}.{place}" for place in range(4))
        self.expand = _Conv(state, next(places)) if block.expand != 1 else None
        self.depthwise = _Conv(state, next(places), block.stride, block.width)
        gate = next(places)
        for name in ("fc1", "fc2"):
            self.register_buffer(f"{name}_weight", state[f"{gate}.{name}.weight"].float().flatten(1))
            self.register_buffer(f"{name}_bias", state[f"{gate}.{name}.bias"].float())
        self.project = _Conv(state, next(places), silu=False)
        self.is_residual = block.stride == 1 and block.inputs == block.outputs

    fc1_weight: Tensor
    fc1_bias: Tensor
    fc2_weight: Tensor
    fc2_bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.depthwise(x if self.expand is None else self.expand(x))
        squeezed = functional.silu(functional.linear(hidden.mean((2, 3)), self.fc1_weight, self.fc1_bias))
        gate = functional.linear(squeezed, self.fc2_weight, self.fc2_bias).sigmoid_()
        out: Tensor = self.project(hidden.mul_(gate[:, :, None, None]))
        return out.add_(x) if self.is_residual else out


class Trunk(nn.Module):
    """The layers `features.0` ... `features.16`.

    Args:
        state: state dict of a network.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        blocks = (_Bottleneck(state, f"features.{n}.block", block) for n, block in enumerate(TRUNK, start=1))
        self.layers = nn.Sequential(_Conv(state, "features.0", stride=2), *blocks)

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
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.trunk, self.last = Trunk(state), WideConv(state["features.18.conv.weight"])
        self.out, self.out_bias = (nn.Buffer(state[f"classifier.2.{name}"].float()) for name in ("weight", "bias"))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Computes frames (n, 3, 496, 496), see `Trunk` -> maps (n, 100, 16, 16), topics (n, 3862) 0..1."""
        maps = self.last(self.trunk(frames))
        return maps, functional.linear(maps.mean((2, 3)), self.out, self.out_bias).sigmoid()


class DistortionNet(nn.Module):
    """UVQ 1.0's DistortionNet: an 8x8x100 map and the probabilities of 26 distortions of each patch.

    Args:
        state: its state dict, see `state.network_shapes`.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.trunk, self.last = Trunk(state), WideConv(state["features.17.conv.weight"])
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
    """

    def __init__(self, state: Mapping[str, Tensor], is_pooled: bool) -> None:
        super().__init__()
        self.trunk, self.is_pooled = Trunk(state), is_pooled
        self.last = nn.Buffer(state["features.17.conv.weight"].float().contiguous(memory_format=torch.channels_last))

    def forward(self, pictures: Tensor) -> Tensor:
        """Computes pictures (n, 3, 256, 256) or patches (n, 3, 360, 640), see `Trunk` -> maps (n, 128, 8, 8)."""
        maps = functional.conv2d(functional.pad(self.trunk(pictures), (0, 1, 0, 1)), self.last)
        return _pool_patches(maps) if self.is_pooled else maps


def _pool_patches(maps: Tensor) -> Tensor:
    return functional.max_pool2d(maps, (5, 13), stride=1)
