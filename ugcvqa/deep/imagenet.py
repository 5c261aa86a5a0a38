"""8-bit frames as networks trained on ImageNet expect them."""

from functools import cache

import torch
from torch import Tensor

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB, for values 0..1


def normalise(rgb: Tensor) -> Tensor:
    """Brings 8-bit frames to the range that ImageNet networks expect.

    Args:
        rgb: (T, 3, H, W) uint8 RGB, 0..255.

    Returns:
        (T, 3, H, W) float32 on the same device: (rgb / 255 - mean) / standard deviation of ImageNet per channel.

    Raises:
        ValueError: if `rgb` is of another shape or dtype.
    """
    check_frames(rgb)
    mean, std = _imagenet(rgb.device)
    return rgb.float().div_(255).sub_(mean).div_(std)


def _imagenet(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation (3, 1, 1) on a device."""
    # copied to a GPU once; on a CPU an export would leave its placeholders in such a cache, and later scores be wrong
    return _copied(device) if device.type == "cuda" else _copied.__wrapped__(device)


@cache
def _copied(device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):
        return torch.tensor(_MEAN, device=device).view(3, 1, 1), torch.tensor(_STD, device=device).view(3, 1, 1)


def check_frames(rgb: Tensor) -> None:
    """Checks that frames are (T, 3, H, W) uint8 with H and W above 0.

    Raises:
        ValueError: if they are not.
    """
    if not is_stack(rgb) or rgb.dtype != torch.uint8:
        raise ValueError(f"frames must be (T, 3, H, W) uint8 with H and W above 0, got {tuple(rgb.shape)} {rgb.dtype}")


def is_stack(frames: Tensor) -> bool:
    """Whether frames are (T, 3, H, W) with H and W above 0."""
    return frames.ndim == 4 and frames.shape[1] == 3 and 0 not in frames.shape[2:]
