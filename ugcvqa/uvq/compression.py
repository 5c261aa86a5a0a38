"""UVQ 1.0's CompressionNet for inference: an inception network of separable 3-D convolutions with channel gates.

Source: UVQ (Wang et al., CVPR 2021) and the definition published with its weights. The three axes are separable, so no
3-D convolution is left: space is convolved frame by frame, time by matrix products of whole frames. Batch
normalisation is folded. All this changes results by rounding only.

Tensors are (T, n, H, W, C) here: frames of all patches first, channels last, so that both a frame's convolution and a
shift in time see contiguous memory.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.uvq.layers import convolve, relu_conv, step_size
from ugcvqa.uvq.state import COMPRESSION_EPS, MIXED, Mixed, fold

_TOP = "inception_block1"
# Frames that the stem's three outputs see, and the taps of its kernel that fall on them.
_STEM_FRAMES = {
    "first": (slice(0, 2), slice(1, 3)),
    "middle": (slice(1, 4), slice(0, 3)),
    "final": (slice(3, 5), slice(0, 2)),
}
_BYTES_PER_PATCH = 48 << 20  # working memory, float32, rounded up


class CompressionNet(nn.Module):
    """A 4x4x100 map and the compression level of each patch of five frames.

    Args:
        state: its state dict, see `state.network_shapes`.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.stem = _Stem(state)
        self.second = _Separable(state, f"{_TOP}.pre_2b2c")
        self.mixed = nn.ModuleList(_Mixed(state, mixed) for mixed in MIXED)
        last = state["final_conv3d.weight"].float()[:, :, 0]
        self.last = nn.Buffer(last.contiguous(memory_format=torch.channels_last))
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
        maps = torch.cat([self._maps(part.float().div_(255).mul_(2).sub_(1)) for part in patches.split(step)])
        return maps, functional.linear(maps.mean((2, 3)), self.level, self.level_bias).sigmoid()[:, 0]

    def _maps(self, x: Tensor) -> Tensor:
        x = _pool_frames(self.stem(x), 2)
        x = _pool_frames(self.second(x), 2)
        for number, mixed in enumerate(self.mixed):
            if number == 2:  # 3x3x3, stride 2: three frames give two
                x = _pool_frames(torch.maximum(x[:-1], x[1:]), 2)
            if number == 7:  # 2x2x2, stride 2
                x = _pool_frames(torch.maximum(x[:1], x[1:]), 2, 2)
            x = mixed(x)
        return functional.conv2d(x[0].permute(0, 3, 1, 2), self.last)


class _Stem(nn.Module):
    """The first convolution, 3x7x7 with stride 2: each frame it gives is a 2-D convolution of two or three frames."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        weight, bias = fold(state, f"{_TOP}.conv3d_1a.conv.weight", f"{_TOP}.batch_norm_1a", COMPRESSION_EPS)
        self.bias = nn.Buffer(bias)
        for name, (_, taps) in _STEM_FRAMES.items():
            frames = weight[:, :, taps].transpose(1, 2).flatten(1, 2)  # frame and colour
            self.register_buffer(name, frames.contiguous(memory_format=torch.channels_last))

    def forward(self, x: Tensor) -> Tensor:
        out = []
        for name, (frames, _) in _STEM_FRAMES.items():
            stacked = functional.pad(x[:, frames].flatten(1, 2), (2, 3, 2, 3))  # SAME: the extra zero comes after
            maps = convolve(
                stacked.contiguous(memory_format=torch.channels_last),
                self.get_buffer(name),
                self.bias,
                stride=2,
                activation="relu",
            )
            out.append(maps.permute(0, 2, 3, 1))
        return torch.stack(out)


class _Pointwise(nn.Module):
    """A 1x1x1 convolution with its folded normalisation and ReLU."""

    def __init__(self, state: Mapping[str, Tensor], conv: str, norm: str) -> None:
        super().__init__()
        weight, bias = fold(state, f"{conv}.conv.weight", norm, COMPRESSION_EPS)
        self.weight, self.bias = nn.Buffer(weight.flatten(1)), nn.Buffer(bias)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias).relu_()


class _Gate(nn.Module):
    """Scales each channel by a gate that all channels' means over the patch decide."""

    def __init__(self, state: Mapping[str, Tensor], key: str) -> None:
        super().__init__()
        self.weight = nn.Buffer(state[f"{key}.conv.weight"].float().flatten(1))

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        gate = functional.linear(x.mean((0, 2, 3)), self.weight).sigmoid_()
        return torch.mul(x, gate[:, None, None], out=out)


class _Separable(nn.Module):
    """1x1x1, 1x3x3 and 3x1x1 convolutions with ReLU after each, and a gate."""

    def __init__(self, state: Mapping[str, Tensor], key: str) -> None:
        super().__init__()
        self.first = _Pointwise(state, f"{key}.conv3d_1", f"{key}.batch_norm1")
        weight, bias = fold(state, f"{key}.conv3d_2.conv.weight", f"{key}.batch_norm2", COMPRESSION_EPS)
        self.spatial = relu_conv(weight[:, :, 0], bias)
        temporal = state[f"{key}.conv3d_3.conv.weight"].float()[..., 0, 0]
        self.before, self.now, self.after = (nn.Buffer(temporal[:, :, k].t().contiguous()) for k in range(3))
        self.temporal_bias = nn.Buffer(state[f"{key}.conv3d_3.conv.bias"].float())
        self.gate = _Gate(state, f"{key}.conv3d_4")

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        x = self.first(x)
        maps = self.spatial(x.flatten(0, 1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        gated: Tensor = self.gate(self._through_time(maps.contiguous().unflatten(0, x.shape[:2])), out)
        return gated

    def _through_time(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 3)
        total = torch.addmm(self.temporal_bias, rows, self.now).view_as(x)
        if len(x) > 1:
            total[1:].flatten(0, 3).addmm_(x[:-1].flatten(0, 3), self.before)
            total[:-1].flatten(0, 3).addmm_(x[1:].flatten(0, 3), self.after)
        return total.relu_()


class _Mixed(nn.Module):
    """An inception block: four branches side by side."""

    def __init__(self, state: Mapping[str, Tensor], mixed: Mixed) -> None:
        super().__init__()
        key = f"{_TOP}.{mixed.name}"
        self.widths = (mixed.b0, mixed.b1[1], mixed.b2[1], mixed.b3)
        self.b0, self.b3 = (_Pointwise(state, f"{key}.{b}.conv3d_1", f"{key}.{b}.batch_norm") for b in ("b0", "b3"))
        self.gate0, self.gate3 = (_Gate(state, f"{key}.{b}.conv3d_2") for b in ("b0", "b3"))
        self.b1, self.b2 = (_Separable(state, f"{key}.{b}") for b in ("b1", "b2"))

    def forward(self, x: Tensor) -> Tensor:
        out = x.new_empty(*x.shape[:4], sum(self.widths))
        b0, b1, b2, b3 = out.split(self.widths, dim=4)
        self.gate0(self.b0(x), b0)
        self.b1(x, b1)
        self.b2(x, b2)
        self.gate3(self.b3(_pool_around(x)), b3)
        return out


def _pool_frames(x: Tensor, stride: int, side: int = 3) -> Tensor:
    """The maximum over squares of each frame, SAME."""
    # What is pooled is never negative, so padding by zeros is padding by nothing. Odd padding comes after (ceil_mode).
    padding = [int(side == 3 and (stride == 1 or size % 2 == 1)) for size in x.shape[2:4]]
    maps = x.flatten(0, 1).permute(0, 3, 1, 2)
    pooled: Tensor = functional.max_pool2d(maps, side, stride, padding, ceil_mode=True).permute(0, 2, 3, 1)
    return pooled.view(*x.shape[:2], *pooled.shape[1:])


def _pool_around(x: Tensor) -> Tensor:
    """The maximum over 3x3x3 cubes, stride 1, SAME."""
    x = _pool_frames(x, 1)
    if len(x) == 1:
        return x
    pairs = torch.maximum(x[:-1], x[1:])
    if len(x) == 2:
        return pairs.expand_as(x)
    return torch.stack([pairs[0], torch.maximum(pairs[0], x[2]), pairs[1]])
