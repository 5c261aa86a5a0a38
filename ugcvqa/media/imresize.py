"""MATLAB's bicubic `imresize` on batches of planes, for real numbers and for 8-bit pixels.

Every result comes from element-wise products and sums in a fixed order, so it does not depend on the number of
threads.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ugcvqa.media.bicubic import mirrored, taps

_TIE_OFFSET = 1e-9  # exact .5 ties occur (symmetric taps on integers); without it round-off would decide them
_HALF_TAPS = (111 / 256, 29 / 256, -9 / 256, -3 / 256)  # scale 0.5, from the centre outwards
_ROWS_PER_STEP = 32  # keeps the working set of one step in the processor's cache
_PIXELS_AT_ONCE = 2**21  # of planes on a CPU: the results of a first pass take several times the memory of 8-bit planes


@torch.no_grad()
def imresize(x: Tensor, scale: float) -> Tensor:
    """Resizes planes by one factor with the bicubic, antialiased rule of MATLAB's `imresize(x, scale)`.

    Source: MATLAB documentation of `imresize`; kernel of Keys (1981) with a = -0.5, stretched by 1/scale when
    shrinking; borders mirrored with the edge sample repeated. Vertical pass first. Gradients do not pass.

    Args:
        x: (..., H, W) uint8, float32 or float64. uint8 is computed in float64, then rounded (ties up) and
            clamped to 0..255 after each of the two passes; real numbers are never rounded.
        scale: factor for both axes, above 0; the output is (..., ceil(scale * H), ceil(scale * W)).

    Returns:
        Resized planes of the same dtype.

    Raises:
        ValueError: if `scale` is not a positive finite number, or `x` is not a stack of non-empty planes of one
            of the three dtypes.
    """
    _check_planes(x)
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"scale must be a positive finite number, got {scale}")
    if scale == 1:
        return x.clone()
    if scale == 0.5 and x.dtype != torch.uint8:
        return _halve(x)
    height, width = x.shape[-2:]
    return _resize(x, ((-2, scale, math.ceil(scale * height)), (-1, scale, math.ceil(scale * width))))


@torch.no_grad()
def imresize_to(x: Tensor, height: int, width: int) -> Tensor:
    """Resizes planes to a given size with the rule of MATLAB's `imresize(x, [height width])`.

    Source: as `imresize`. Each axis has its own scale; the axis with the smaller scale is done first, the
    vertical one if both are equal.

    Args:
        x: (..., H, W) uint8, float32 or float64; rounding as in `imresize`.
        height: output rows, at least 1.
        width: output columns, at least 1.

    Returns:
        (..., height, width) planes of the same dtype.

    Raises:
        ValueError: if a size is below 1, or `x` is not a stack of non-empty planes of one of the three dtypes.
    """
    _check_planes(x)
    if height < 1 or width < 1:
        raise ValueError(f"output size must be at least 1 x 1, got {height} x {width}")
    vertical = (-2, height / x.shape[-2], height)
    horizontal = (-1, width / x.shape[-1], width)
    return _resize(x, (horizontal, vertical) if horizontal[1] < vertical[1] else (vertical, horizontal))


def _check_planes(x: Tensor) -> None:
    if x.dtype not in (torch.uint8, torch.float32, torch.float64):
        raise ValueError(f"planes must be uint8, float32 or float64, got {x.dtype}")
    if x.ndim < 2 or x.numel() == 0:
        raise ValueError(f"planes must have shape (..., H, W) without empty axes, got {tuple(x.shape)}")


def _resize(x: Tensor, passes: tuple[tuple[int, float, int], ...]) -> Tensor:
    planes = x.reshape(-1, *x.shape[-2:])
    at_once = max(1, _PIXELS_AT_ONCE // planes[0].numel()) if x.device.type == "cpu" else len(planes)
    parts = [_resize_planes(part, passes) for part in planes.split(at_once)]
    resized = parts[0] if len(parts) == 1 else torch.cat(parts)
    return resized.reshape(*x.shape[:-2], *resized.shape[-2:])


def _resize_planes(x: Tensor, passes: tuple[tuple[int, float, int], ...]) -> Tensor:
    """Resizes planes (B, H, W) along one axis after the other."""
    is_8bit, planes = x.dtype == torch.uint8, x
    if is_8bit:
        planes = planes.double()
    for axis, scale, size in passes:
        if scale == 1:
            continue
        if axis == -2:
            planes = _resize_rows(planes, scale, size)
        else:
            planes = _resize_rows(planes.mT.contiguous(), scale, size).mT.contiguous()
        if is_8bit:
            planes = planes.add_(0.5 + _TIE_OFFSET).floor_().clamp_(0, 255)
    return planes.to(x.dtype)


def _resize_rows(planes: Tensor, scale: float, size: int) -> Tensor:
    """Resizes axis -2 of (B, H, W) real planes to `size` rows."""
    sources, weights = _taps_on(planes.device, planes.dtype, planes.shape[-2], scale, size)
    out = planes.new_empty(planes.shape[0], size, planes.shape[-1])
    step = _ROWS_PER_STEP if planes.device.type == "cpu" else size
    for start in range(0, size, step):
        rows = slice(start, min(start + step, size))
        total = out[:, rows]
        torch.mul(planes.index_select(-2, sources[0, rows]), weights[0, rows, None], out=total)
        for source, weight in zip(sources[1:, rows], weights[1:, rows, None], strict=True):
            total.add_(planes.index_select(-2, source).mul_(weight))
    return out


@lru_cache(maxsize=64)
def _taps_on(device: torch.device, dtype: torch.dtype, n: int, scale: float, size: int) -> tuple[Tensor, Tensor]:
    """What `taps` gives, copied to a device once."""
    with torch.inference_mode(False):
        sources, weights = (torch.from_numpy(values).to(device) for values in taps(n, scale, size))
        return sources, weights.to(dtype)


def _halve(x: Tensor) -> Tensor:
    """Scale 0.5 of real planes: the same eight symmetric taps for every sample, paired to save products."""
    leading = x.shape[:-2]
    planes = x.reshape(-1, *x.shape[-2:])
    rows, columns = (_half_sources(n).to(x.device) for n in planes.shape[-2:])
    left, right = columns[:3], columns[3 + x.shape[-1] :]
    halves = []
    for plane in planes.split(1) if x.device.type == "cpu" else (planes,):
        padded = plane.index_select(-2, rows)
        vertical = _half_sum([padded[:, k::2] for k in range(2)], -2)
        parts = (vertical.index_select(-1, left), vertical, vertical.index_select(-1, right))
        padded = torch.cat(parts, -1)
        # even and odd columns are parted once, so that the sums run over contiguous rows
        halves.append(_half_sum([padded[..., k::2].contiguous() for k in range(2)], -1))
    out = halves[0] if len(halves) == 1 else torch.cat(halves)
    return out.reshape(*leading, *out.shape[-2:])


@lru_cache(maxsize=64)
def _half_sources(n: int) -> Tensor:
    size = (n + 1) // 2
    return torch.from_numpy(mirrored(np.arange(-3, 2 * size + 3), n))


def _half_sum(phases: list[Tensor], axis: int) -> Tensor:
    """Weighs taps 0..7; tap k of output i is sample i + k // 2 of phase k % 2."""
    size = phases[0].shape[axis] - 3

    def pair(distance: int) -> Tensor:
        before, after = 3 - distance, 4 + distance
        first = phases[before % 2].narrow(axis, before // 2, size)
        return (first + phases[after % 2].narrow(axis, after // 2, size)).mul_(_HALF_TAPS[distance])

    return pair(0).add_(pair(1)).add_(pair(2)).add_(pair(3))
