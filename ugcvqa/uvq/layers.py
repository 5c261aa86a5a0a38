"""Building blocks of UVQ's networks for inference: SAME padding, and wide convolutions by FFT.

Source: UVQ (Wang et al., CVPR 2021) and the definition published with its weights. Results differ from the plain
layers by rounding only.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.deep.pooling import frames_at_once

_CPU_STEP_BYTES = 64 << 20  # what a step works on stays near the cache
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


step_size = partial(frames_at_once, cpu_bytes=_CPU_STEP_BYTES)
"""Pictures that go through a network together, see `pooling.frames_at_once`."""


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
