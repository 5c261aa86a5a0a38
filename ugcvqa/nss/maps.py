"""The maps whose statistics are the NSS features: colour conversion, 16 spatial maps, 7 temporal bands."""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import torch
from torch import Tensor

from ugcvqa.arrays import Array
from ugcvqa.media.imresize import imresize
from ugcvqa.nss.constants import (
    BAND_SIGNS,
    BELL_8,
    BLUR_3,
    BT601,
    EPS,
    GREY,
    LAB_KNEE,
    LAB_MATRIX,
    LAB_SLOPE,
    LAB_WHITE,
    N_SLOTS,
    OPPONENT,
    SMOOTH_11,
    gaussian_8,
    laplacian_kernel,
    linear_levels,
    log_levels,
)
from ugcvqa.nss.filters import add_scaled, direct_sum, filter_maps, mean_shift, weighted_sum


def yuv_to_rgb(y: Tensor, u: Tensor, v: Tensor, colour: str) -> Tensor:
    """Converts planes of YUV 4:2:0 to 8-bit RGB as RAPIQUE does, whatever the file's colour tags say.

    Source: "bt601": the public RAPIQUE-UGC code (BT.601 limited range, chroma rounded after bicubic upsampling);
    "rapique": the first public RAPIQUE code (full range, offset 127, chroma not rounded).

    Args:
        y: (N, H, W) uint8.
        u: (N, ceil(H/2), ceil(W/2)) uint8.
        v: (N, ceil(H/2), ceil(W/2)) uint8.
        colour: "bt601" or "rapique".

    Returns:
        (N, 3, H, W) uint8.
    """
    height, width = y.shape[-2:]
    # float32 is exact here: at scale 2 all weights are multiples of 1/128
    chroma = [imresize(plane.float(), 2.0)[..., :height, :width] for plane in (u, v)]
    convert = _bt601 if colour == "bt601" else _full_range
    frames = [torch.stack(convert(*planes)).to(torch.uint8) for planes in zip(y, *chroma, strict=True)]
    return torch.stack(frames)


def _bt601(y: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    y, u, v = y.double(), _round_to_8bit(u.double()), _round_to_8bit(v.double())
    return tuple(_round_to_8bit(y * a + u * b + v * c - offset) for a, b, c, offset in BT601)


def _full_range(y: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    y, u, v = y.double(), u.double() - 127, v.double() - 127
    red, green, blue = y + 1.4022 * v, y - 0.3456 * u - 0.7145 * v, y + 1.7710 * u
    return _round_to_8bit(red), _round_to_8bit(green), _round_to_8bit(blue)


def _round_to_8bit(x: Tensor) -> Tensor:
    """Rounds half up and clamps to 0..255, keeping the dtype."""
    return (x + 0.5).floor_().clamp_(0, 255)


def spatial_maps(rgb: Tensor, dtype: torch.dtype) -> Iterator[Tensor]:
    """Yields the 16 maps of one frame in the order of the feature vector.

    Source: RAPIQUE (Tu et al., 2021), section III, and its public code: luma, gradient magnitude, Laplacian of
    Gaussian, difference of Gaussians, opponent colours O1 O2 and their gradients, log-opponent BY RG and their
    gradients, 8-bit coded CIELAB a* b* and their gradients.

    Args:
        rgb: (3, H, W) uint8.
        dtype: float32 or float64 of the maps.

    Yields:
        (H, W) maps of that dtype.
    """
    grey = _grey(*rgb).to(dtype)
    yield grey
    yield filter_maps(_sobel, grey, "replicate", 1, 1)
    yield filter_maps(_laplacian, grey, "replicate", 4, 4)
    yield filter_maps(_gaussian_difference, grey, "replicate", 3, 4)
    yield from _with_gradients(*_opponent(*rgb.to(dtype)))
    yield from _with_gradients(*_log_opponent(*_log_channels(rgb, dtype)))
    blurred = filter_maps(_blur_to_8bit, rgb, "replicate", 1, 1)
    yield from _with_gradients(*(channel.to(dtype) for channel in _lab(*blurred)))


def _grey(red: Tensor, green: Tensor, blue: Tensor) -> Tensor:
    # float64 in both precisions, so that rounding never differs
    total = GREY[0] * red.double() + GREY[1] * green.double()
    return _round_to_8bit(total.add_(GREY[2] * blue.double()))


def _opponent(red: Tensor, green: Tensor, blue: Tensor) -> tuple[Tensor, Tensor]:
    first, second = (a * red + b * green + c * blue for a, b, c in OPPONENT)
    return first, second


def _log_opponent(red: Tensor, green: Tensor, blue: Tensor) -> tuple[Tensor, Tensor]:
    return (red + green - 2 * blue).div_(math.sqrt(6)), (red - green).div_(math.sqrt(2))


def _with_gradients(*pair: Tensor) -> Iterator[Tensor]:
    yield from pair
    for single in pair:
        yield filter_maps(_gradient, single, "zero", 5, 5)


def _sobel(x: Tensor) -> Tensor:
    down = weighted_sum(x, -2, (1, 2, 1))
    across = weighted_sum(x, -1, (1, 2, 1))
    horizontal = down[..., 2:] - down[..., :-2]
    vertical = across[..., 2:, :] - across[..., :-2, :]
    return horizontal.mul_(horizontal).addcmul_(vertical, vertical).sqrt_()


def _laplacian(x: Tensor) -> Tensor:
    return direct_sum(x, laplacian_kernel()).abs_()


def _gaussian_difference(x: Tensor) -> Tensor:
    """Map minus its 8 x 8 Gaussian blur; the even size shifts the blur by half a pixel, as in the public code."""
    if x.dtype == torch.float64:
        return direct_sum(x, gaussian_8()).sub_(x[..., 3:-4, 3:-4]).neg_()
    across = mean_shift(x, -1, BELL_8, 3)
    down = mean_shift(x[..., 3:-4] + across, -2, BELL_8, 3)
    return down.add_(across[..., 3:-4, :]).neg_()


def _gradient(x: Tensor) -> Tensor:
    """Magnitude of the 11 x 11 Gaussian derivative, not normalised, plus eps; exactly eps on flat areas."""
    horizontal = _derivative(weighted_sum(x, -2, SMOOTH_11), -1)
    vertical = _derivative(weighted_sum(x, -1, SMOOTH_11), -2)
    return horizontal.mul_(horizontal).addcmul_(vertical, vertical).sqrt_().add_(EPS)


def _derivative(x: Tensor, axis: int) -> Tensor:
    """Sum of k exp(-k^2 / (2 * 1.66^2)) (x[i - k] - x[i + k]), k = 1..5, in differences so that flat is zero."""
    size = x.shape[axis] - 10
    total = x.narrow(axis, 4, size) - x.narrow(axis, 6, size)
    total.mul_(SMOOTH_11[6])
    for k in range(2, 6):
        difference = x.narrow(axis, 5 - k, size) - x.narrow(axis, 5 + k, size)
        add_scaled(total, difference, k * SMOOTH_11[5 + k])
    return total


@lru_cache(maxsize=16)
def _table(values: Callable[[], Array], device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(values()).to(device, dtype)


def _look_up(values: Callable[[], Array], levels: Tensor, dtype: torch.dtype) -> Tensor:
    """The value (256,) of each 8-bit level."""
    table = _table(values, levels.device, dtype)
    return table.index_select(0, levels.to(torch.int32).flatten()).view(levels.shape)


def _log_channels(rgb: Tensor, dtype: torch.dtype) -> Tensor:
    """ln(level + 0.1) of each channel minus its mean over the frame."""
    logs = _look_up(log_levels, rgb, dtype)
    mean = logs.sum(-1).double().sum(-1) / (rgb.shape[-2] * rgb.shape[-1])
    return logs.sub_(mean.to(dtype)[:, None, None])


def _lab(*blurred: Tensor) -> tuple[Tensor, Tensor]:
    """8-bit coded a* and b* of 8-bit levels; in float64 in both precisions, so that rounding never differs."""
    red, green, blue = (_look_up(linear_levels, channel, torch.float64) for channel in blurred)
    x, y, z = (
        _lab_curve((red * (r / white)).add_(green * (g / white)).add_(blue * (b / white)))
        for (r, g, b), white in zip(LAB_MATRIX, LAB_WHITE, strict=True)
    )
    return _code_lab((x - y).mul_(500)), _code_lab((y - z).mul_(200))


def _blur_to_8bit(x: Tensor) -> Tensor:
    return _round_to_8bit(weighted_sum(weighted_sum(x.double(), -2, BLUR_3), -1, BLUR_3))


def _lab_curve(t: Tensor) -> Tensor:
    """Cube root, continued below (6/29)^3 by its tangent."""
    root = t.clamp(min=LAB_KNEE).pow_(1 / 3)
    return root.add_(t.clamp_(max=LAB_KNEE).sub_(LAB_KNEE).mul_(LAB_SLOPE))


def _code_lab(x: Tensor) -> Tensor:
    """8-bit code of a* or b*, through the 16-bit code with 8 fractional bits."""
    return _round_to_8bit(x.add_(128).mul_(256).add_(0.5).floor_().div_(256))


def temporal_bands(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """Splits eight frames into the seven band-pass maps of a three-level Haar wavelet packet.

    Source: RAPIQUE (Tu et al., 2021), section III, and its public code; weights +-1 without normalisation.

    Args:
        frames: (8, H, W) luma, uint8 or `dtype`, any range.
        dtype: float32 or float64 of the bands.

    Returns:
        (7, H, W) of that dtype.
    """
    # in time order; bands share the sums of equal beginnings
    sums: dict[tuple[int, ...], Tensor] = {(1,): frames[0].to(dtype)}
    for length in range(2, N_SLOTS + 1):
        frame = frames[length - 1].to(dtype)
        for signs in BAND_SIGNS:
            start = sums[signs[: length - 1]]
            if signs[:length] not in sums:
                sums[signs[:length]] = start + frame if signs[length - 1] > 0 else start - frame
    return torch.stack([sums[signs] for signs in BAND_SIGNS])
