"""UVQ 1.0's CompressionNet for inference: an inception network of separable 3-D convolutions with channel gates.

Source: UVQ (Wang et al., CVPR 2021) and the definition published with its weights. The axes are separable, so no 3-D
convolution is left: the few frames of a patch are separate maps (n, C, H, W), and time is a sum of pointwise
convolutions. Batch normalisation is folded. All this changes results by rounding only.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.deep.engine import FastNetwork
from ugcvqa.settings.features import Engine
from ugcvqa.uvq.layers import step_size
from ugcvqa.uvq.state import COMPRESSION_EPS, MIXED, Mixed, fold
from ugcvqa.uvq.trunk import prepared

_TOP = "inception_block1"
# Frames that the stem's three outputs see, and the taps of its kernel that fall on them.
_STEM_FRAMES = ((slice(0, 2), slice(1, 3)), (slice(1, 4), slice(0, 3)), (slice(3, 5), slice(0, 2)))
_BYTES_PER_PATCH = 48 << 20  # working memory, float32, rounded up

Frames = Sequence[Tensor]
"""Maps (n, C, H, W) float32 of the frames of n patches, in time order."""


class CompressionNet(nn.Module):
    """A 4x4x100 map and the compression level of each patch of five frames.

    Args:
        state: its state dict, see `state.network_shapes`.
        engine: see `FamilySettings`.
    """

    def __init__(self, state: Mapping[str, Tensor], engine: Engine = "auto") -> None:
        super().__init__()
        self.layers = FastNetwork(_Layers(state).eval(), engine)
        self.level = nn.Buffer(state["conv3d_0c.conv.weight"].float().flatten(1))
        self.level_bias = nn.Buffer(state["conv3d_0c.conv.bias"].float())

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the maps of patches, a few at a time.

        Args:
            patches: (n, 5, 3, 180, 320) uint8, 0..255.

        Returns:
            Maps (n, 100, 4, 4), and compression levels (n,), 0..1.
        """
        step = step_size(_BYTES_PER_PATCH, patches.device)
        maps = torch.cat([self.layers(prepared(part)) for part in patches.flatten(1, 2).split(step)])
        return maps, functional.linear(maps.mean((2, 3)), self.level, self.level_bias).sigmoid()[:, 0]


class _Layers(nn.Module):
    """All convolutions: patches (n, 15, 180, 320), frame and colour as one axis, to maps (n, 100, 4, 4)."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        weight, bias = fold(state, f"{_TOP}.conv3d_1a.conv.weight", f"{_TOP}.batch_norm_1a", COMPRESSION_EPS)
        kernels = [weight[:, :, taps].transpose(1, 2).flatten(1, 2) for _, taps in _STEM_FRAMES]
        self.stem = nn.ModuleList(_relu_conv(kernel, bias, stride=2) for kernel in kernels)
        self.second = _Separable(state, f"{_TOP}.pre_2b2c")
        self.mixed = nn.ModuleList(_Mixed(state, mixed) for mixed in MIXED)
        self.last = _conv(state["final_conv3d.weight"].float()[:, :, 0])

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (2, 3, 2, 3))  # SAME: the extra zero comes after
        seen = [x[:, 3 * frames.start : 3 * frames.stop] for frames, _ in _STEM_FRAMES]
        maps = [_pool(conv(part)) for conv, part in zip(self.stem, seen, strict=True)]
        maps = [_pool(one, (1, 0)) for one in self.second(maps)]  # of 45 x 80
        for number, mixed in enumerate(self.mixed):
            if number == 2:  # 3x3x3, stride 2, of 23 x 40: three frames give two
                maps = [_pool(torch.maximum(*pair), (1, 0)) for pair in (maps[:2], maps[1:])]
            if number == 7:  # 2x2x2, stride 2
                maps = [functional.max_pool2d(torch.maximum(*maps), 2)]
            maps = mixed(maps)
        found: Tensor = self.last(maps[0])
        return found


class _Separable(nn.Module):
    """1x1x1, 1x3x3 and 3x1x1 convolutions with ReLU after each, and a gate."""

    def __init__(self, state: Mapping[str, Tensor], key: str) -> None:
        super().__init__()
        self.first = _pointwise(state, f"{key}.conv3d_1", f"{key}.batch_norm1")
        weight, bias = fold(state, f"{key}.conv3d_2.conv.weight", f"{key}.batch_norm2", COMPRESSION_EPS)
        self.spatial = _relu_conv(weight[:, :, 0], bias, padding=1)
        temporal = state[f"{key}.conv3d_3.conv.weight"].float()
        bias = state[f"{key}.conv3d_3.conv.bias"].float()
        self.before, self.after = _conv(temporal[:, :, 0]), _conv(temporal[:, :, 2])
        self.now, self.relu = _conv(temporal[:, :, 1], bias), nn.ReLU()
        self.gate = _Gate(state, f"{key}.conv3d_4")

    def forward(self, maps: Frames) -> Frames:
        maps = [self.spatial(self.first(one)) for one in maps]
        gated: Frames = self.gate([self._at(maps, time) for time in range(len(maps))])
        return gated

    def _at(self, maps: Frames, time: int) -> Tensor:
        """The convolution over time at one frame."""
        total = self.now(maps[time])
        if time > 0:
            total = self.before(maps[time - 1]) + total
        if time + 1 < len(maps):
            total = self.after(maps[time + 1]) + total
        found: Tensor = self.relu(total)
        return found


class _Gate(nn.Module):
    """Scales each channel by a gate that all channels' means over the patch decide."""

    def __init__(self, state: Mapping[str, Tensor], key: str) -> None:
        super().__init__()
        self.conv = _conv(state[f"{key}.conv.weight"].float()[:, :, 0])

    def forward(self, maps: Frames) -> Frames:
        mean = sum(one.mean((2, 3), keepdim=True) for one in maps) / len(maps)
        gate = self.conv(mean).sigmoid()
        return [one * gate for one in maps]


class _Mixed(nn.Module):
    """An inception block: four branches side by side."""

    def __init__(self, state: Mapping[str, Tensor], mixed: Mixed) -> None:
        super().__init__()
        key = f"{_TOP}.{mixed.name}"
        self.b0, self.b3 = (_pointwise(state, f"{key}.{b}.conv3d_1", f"{key}.{b}.batch_norm") for b in ("b0", "b3"))
        self.gate0, self.gate3 = (_Gate(state, f"{key}.{b}.conv3d_2") for b in ("b0", "b3"))
        self.b1, self.b2 = (_Separable(state, f"{key}.{b}") for b in ("b1", "b2"))

    def forward(self, maps: Frames) -> Frames:
        around = self.gate3([self.b3(one) for one in _pool_around(maps)])
        branches = (self.gate0([self.b0(one) for one in maps]), self.b1(maps), self.b2(maps), around)
        return [torch.cat(parts, 1) for parts in zip(*branches, strict=True)]


def _conv(weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    """A convolution by a kernel (K, C, h, w)."""
    outputs, inputs, *side = weight.shape
    conv = nn.Conv2d(inputs, outputs, (side[0], side[1]), stride, padding, bias=bias is not None, device="meta")
    conv.weight = nn.Parameter(weight, requires_grad=False)
    conv.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return conv


def _relu_conv(weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 0) -> nn.Sequential:
    return nn.Sequential(_conv(weight, bias, stride, padding), nn.ReLU())


def _pointwise(state: Mapping[str, Tensor], conv: str, norm: str) -> nn.Sequential:
    """A 1x1x1 convolution with its folded normalisation and ReLU."""
    weight, bias = fold(state, f"{conv}.conv.weight", norm, COMPRESSION_EPS)
    return _relu_conv(weight[:, :, 0], bias)


def _pool(maps: Tensor, padding: tuple[int, int] = (0, 0)) -> Tensor:
    """The maximum over 3x3 squares, stride 2, SAME: odd sides take padding on both ends, even ones behind."""
    # what is pooled is never negative, so padding by zeros is padding by nothing
    return functional.max_pool2d(maps, 3, 2, padding, ceil_mode=True)


def _pool_around(maps: Frames) -> Frames:
    """The maximum over 3x3x3 cubes, stride 1, SAME."""
    maps = [functional.max_pool2d(one, 3, 1, 1) for one in maps]
    if len(maps) == 1:
        return maps
    pairs = [torch.maximum(*pair) for pair in pairwise(maps)]
    return [pairs[0]] * 2 if len(maps) == 2 else [pairs[0], torch.maximum(pairs[0], maps[2]), pairs[1]]
