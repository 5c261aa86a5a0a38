"""Building blocks of UVQ's networks for inference: SAME padding, convolutions in one pass, wide convolutions by FFT.

Source: UVQ (Wang et al., CVPR 2021) and the definition published with its weights. Results differ from the plain
layers by rounding only.
"""

from functools import cache
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.deep.fused import FusedConv

_CPU_STEP_BYTES = 64 << 20  # what a step works on stays near the cache
_GPU_STEP_BYTES = 8 << 30
_KERNELS_PER_STEP = 10  # keeps float64 copies of wide kernels small


def same_padding(size: tuple[int, int], kernel: tuple[int, int], stride: int) -> tuple[int, int, int, int]:
    """Gives TensorFlow's SAME padding, whose extra zero stands after the picture: (left, right, top, bottom).

    Args:
        size: rows and columns of the maps.
        kernel: rows and columns of the kernel.
        stride: step of the kernel on both axes.
    """
    top, left = (max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(size, kernel, strict=True))
    return left // 2, left - left // 2, top // 2, top - top // 2


def step_size(frame_bytes: int, device: torch.device) -> int:
    """Pictures that go through a network together, from their working memory and the device alone."""
    budget = _CPU_STEP_BYTES
    if device.type == "cuda":
        budget = min(_GPU_STEP_BYTES, torch.cuda.get_device_properties(device).total_memory // 4)
    return max(1, budget // frame_bytes)


@cache
def _has_one_pass() -> bool:
    """Whether this build of PyTorch has oneDNN's convolution with an activation, which is private to it."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    activation: Literal["none", "relu", "swish"] = "none",
) -> Tensor:
    """Convolves maps and applies an activation, in one pass over memory where the CPU can.

    Args:
        x: (n, C, H, W) float32 in channels-last order.
        weight: (K, C / groups, h, w) in channels-last order.
        bias: (K,).
        stride: step on both axes.
        padding: zeros on all sides.
        groups: groups of channels that do not mix.
        activation: `swish` is SiLU.

    Returns:
        (n, K, H', W') float32.
    """
    if x.device.type == "cpu" and _has_one_pass():
        one_pass = torch.ops.mkldnn._convolution_pointwise.default
        pairs: tuple[Any, ...] = ([padding] * 2, [stride] * 2, [1, 1])
        return cast(Tensor, one_pass(x, weight, bias, *pairs, groups, activation, [], ""))
    x = functional.conv2d(x, weight, bias, stride, padding, groups=groups)
    if activation == "none":
        return x
    return functional.relu_(x) if activation == "relu" else functional.silu(x, inplace=True)


def relu_conv(weight: Tensor, bias: Tensor) -> FusedConv:
    """Builds a SAME convolution with an odd square kernel, stride 1 and ReLU; it may use Winograd's filtering."""
    side = weight.shape[2]
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], side, padding=side // 2, device="meta")
    conv.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
    conv.bias = nn.Parameter(bias, requires_grad=False)
    return FusedConv(conv)


class WideConv(nn.Module):
    """A SAME convolution whose kernel is as large as the map, by products of spectra: a thirtieth of the work.

    Args:
        weight: (K, C, h, w), for maps of h x w.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        height, width = weight.shape[2:]
        self.kernel = (height, width)
        # Linear on the part that is kept: what wraps around falls on what is cut away.
        self.size = (2 * height, 2 * width)
        parts = [
            torch.fft.rfft2(part.double(), s=self.size).conj().to(torch.complex64).permute(2, 3, 1, 0)
            for part in weight.split(_KERNELS_PER_STEP)
        ]
        self.register_buffer("spectrum", torch.cat(parts, 3).flatten(0, 1))

    spectrum: Tensor

    def forward(self, maps: Tensor) -> Tensor:
        """Computes (n, C, h, w) float32 -> (n, K, h, w)."""
        height, width = self.kernel
        padded = functional.pad(maps, same_padding(self.kernel, self.kernel, 1))
        spectrum = torch.fft.rfft2(padded, s=self.size).permute(2, 3, 0, 1)
        products = torch.bmm(spectrum.flatten(0, 1), self.spectrum)
        back = products.unflatten(0, spectrum.shape[:2]).permute(2, 3, 0, 1)
        maps = torch.fft.irfft2(back, s=self.size)
        return maps[:, :, :height, :width].contiguous()
