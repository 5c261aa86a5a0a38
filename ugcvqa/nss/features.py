"""NSS features: RAPIQUE's 1836 hand-crafted statistics per one-second chunk, as batched torch."""

import math
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from ugcvqa.errors import ConfigError
from ugcvqa.media.imresize import imresize
from ugcvqa.nss.constants import N_BANDS, N_FULL_SCALE, N_MAPS, N_SLOTS
from ugcvqa.nss.fits import N_STATISTICS, statistics
from ugcvqa.nss.maps import spatial_maps, temporal_bands, yuv_to_rgb
from ugcvqa.nss.stats import map_sums

SPATIAL_DIM = (N_MAPS + N_FULL_SCALE) * N_STATISTICS
TEMPORAL_DIM = 2 * N_BANDS * N_STATISTICS
CHUNK_DIM = 2 * SPATIAL_DIM + TEMPORAL_DIM
COLOURS = ("bt601", "rapique")
ENGINES = ("torch", "compiled")
SMALLEST_SIDE_PX = 13
"""Shortest side of a map for which the 11 x 11 filter and, at half size, the 7 x 7 window still fit."""

_PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


class NSS(nn.Module):
    """Natural-scene statistics of one chunk: two spatial frames and up to eight temporal frames.

    Source: RAPIQUE (Tu et al., 2021), sections III-A and III-B, and the public code of RAPIQUE and RAPIQUE-UGC.
    One-chunk videos keep their chunk's vector, where the public code averages it to one number.

    Args:
        colour: "bt601" (RAPIQUE-UGC) or "rapique" (first public code), see `yuv_to_rgb`.
        precision: "float64" repeats MATLAB's order of operations, so that undefined values on flat areas agree
            with published features; "float32" is several times faster and agrees to about 1e-3 where a value
            does not hang on round-off.
        min_side: frames whose shorter side is above this many pixels are shrunk to it.
        engine: "torch" runs everywhere; "compiled" runs Numba's kernels on a CPU in float32, about eight times faster,
            and agrees with "torch" to the rounding of float32. On a GPU both are torch.

    Raises:
        ConfigError: if an argument is outside these values.
    """

    dim = CHUNK_DIM

    def __init__(
        self, colour: str = "bt601", precision: str = "float32", min_side: int = 512, engine: str = "torch"
    ) -> None:
        super().__init__()
        if colour not in COLOURS:
            raise ConfigError(f"NSS colour must be one of {', '.join(COLOURS)}, got {colour!r}")
        if precision not in _PRECISIONS:
            raise ConfigError(f"NSS precision must be one of {', '.join(_PRECISIONS)}, got {precision!r}")
        if isinstance(min_side, bool) or not isinstance(min_side, int) or min_side < SMALLEST_SIDE_PX:
            raise ConfigError(f"NSS min_side must be an integer of at least {SMALLEST_SIDE_PX}, got {min_side!r}")
        if engine not in ENGINES or (engine == "compiled" and precision != "float32"):
            raise ConfigError(
                f"NSS engine must be one of {', '.join(ENGINES)}, compiled with precision float32, got {engine!r} with "
                f"{precision}"
            )
        self._compiled = _compiled() if engine == "compiled" else None
        self.colour = colour
        self.precision = precision
        self.min_side = min_side

    def forward(self, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Computes the vector of one chunk.

        Args:
            y: (2 + T, H, W) uint8, levels as coded: the two spatial frames, then T <= 8 temporal frames; missing
                temporal frames count as all-zero.
            u: (2, ceil(H/2), ceil(W/2)) uint8, chroma of the spatial frames.
            v: (2, ceil(H/2), ceil(W/2)) uint8.

        Returns:
            (1836,) float64: mean of the two spatial vectors (680), their absolute difference (680), temporal
            features (476). NaN and Inf mark undefined values.

        Raises:
            ValueError: if a shape or dtype differs, or a map would be smaller than the filters.
        """
        _check_chunk(y, u, v)
        ratio = self._ratio(*y.shape[-2:])
        if self._compiled and y.device.type == "cpu":
            planes = (plane.contiguous().numpy() for plane in (y[:2], u, v))
            spatial = self.spatial(torch.from_numpy(self._compiled.rgb_frames(*planes, self.colour, ratio)))
            return torch.cat((spatial.nanmean(0), (spatial[0] - spatial[1]).abs(), self.temporal(y[2:])))
        # inference mode makes slicing cheaper, which counts on small tiles; a clone made outside is an ordinary tensor
        with torch.inference_mode():
            rgb = yuv_to_rgb(y[:2], u, v, self.colour)
            spatial = self._spatial(imresize(rgb, ratio) if ratio < 1 else rgb)
            parts = (spatial.nanmean(0), (spatial[0] - spatial[1]).abs(), self._temporal(y[2:], ratio))
            features = torch.cat(parts)
        return features.clone()

    def _ratio(self, height: int, width: int) -> float:
        """The factor that shrinks frames to the working size, 1 or more where they keep theirs."""
        ratio = self.min_side / min(height, width)
        if ratio < 1:  # the bands are shrunk a second time, as in the public code
            once = [math.ceil(ratio * side) for side in (height, width)]
            _check_size("temporal bands", *(math.ceil(ratio * side) for side in once))
        return ratio

    def spatial(self, rgb: Tensor) -> Tensor:
        """Computes the spatial features of frames at their working size.

        Args:
            rgb: (N, 3, H, W) uint8.

        Returns:
            (N, 680) float64: 34 statistics of 20 map and scale pairs.

        Raises:
            ValueError: if shape or dtype differs, or H or W is below 13.
        """
        if rgb.dtype != torch.uint8 or rgb.ndim != 4 or rgb.shape[1] != 3:
            raise ValueError(f"rgb must be (N, 3, H, W) uint8, got {tuple(rgb.shape)} {rgb.dtype}")
        _check_size("frames", *rgb.shape[-2:])
        if self._compiled and rgb.device.type == "cpu":
            features = torch.empty(len(rgb), SPATIAL_DIM, dtype=torch.float64)
            for vector, frame in zip(features, rgb.contiguous().numpy(), strict=True):
                vector.copy_(torch.from_numpy(self._compiled.spatial(frame)))
            return features
        with torch.inference_mode():
            features = self._spatial(rgb)
        return features.clone()

    def _spatial(self, rgb: Tensor) -> Tensor:
        features = torch.empty(len(rgb), SPATIAL_DIM, dtype=torch.float64, device=rgb.device)
        for vector, frame in zip(features, rgb, strict=True):
            vector.copy_(self._frame(frame))
        return features

    def _frame(self, rgb: Tensor) -> Tensor:
        # on a GPU few large launches win, on a CPU one map at a time stays in the cache
        at_once = 1 if rgb.device.type == "cpu" else N_FULL_SCALE
        features = []
        group: list[Tensor] = []
        for index, single in enumerate(spatial_maps(rgb, _PRECISIONS[self.precision]), start=1):
            group.append(single)
            if len(group) == at_once:
                features.append(_two_scales(torch.stack(group), with_full=index <= N_FULL_SCALE))
                group = []
        return torch.cat(features)

    def temporal(self, luma: Tensor) -> Tensor:
        """Computes the temporal features of a stack of luma frames, shrunk here if they exceed `min_side`.

        Args:
            luma: (T, H, W) uint8, T <= 8, levels as coded; missing frames count as all-zero.

        Returns:
            (476,) float64: 34 statistics of 7 bands at 2 scales.

        Raises:
            ValueError: if shape or dtype differs, or a band would be smaller than 13 pixels on a side.
        """
        if luma.dtype != torch.uint8 or luma.ndim != 3 or len(luma) > N_SLOTS:
            raise ValueError(f"luma must be (T <= {N_SLOTS}, H, W) uint8, got {tuple(luma.shape)} {luma.dtype}")
        _check_size("frames", *luma.shape[-2:])
        ratio = self._ratio(*luma.shape[-2:])
        if self._compiled and luma.device.type == "cpu":
            return torch.from_numpy(self._compiled.temporal(luma.contiguous().numpy(), ratio))
        with torch.inference_mode():
            features = self._temporal(luma, ratio)
        return features.clone()

    def _temporal(self, luma: Tensor, ratio: float) -> Tensor:
        dtype = _PRECISIONS[self.precision]
        frames = luma.new_zeros(N_SLOTS, *luma.shape[-2:])
        frames[: len(luma)] = luma
        if ratio < 1:
            # on a CPU frame by frame: large ones as real numbers would take most of the memory
            parts = frames.split(1) if frames.device.type == "cpu" else (frames,)
            frames = torch.cat([imresize(part.to(dtype), ratio) for part in parts])
        bands = temporal_bands(frames, dtype)
        if ratio < 1:
            bands = imresize(bands, ratio)
        return _two_scales(bands, with_full=True)


def _compiled() -> ModuleType:
    """The compiled kernels.

    Raises:
        ConfigError: if Numba is not here.
    """
    try:
        from ugcvqa.nss import compiled
    except ImportError as error:
        raise ConfigError(
            f"the NSS engine compiled needs Numba ({error}); install it or choose the engine torch"
        ) from error
    return compiled


def _two_scales(maps: Tensor, with_full: bool) -> Tensor:
    """Statistics of (N, H, W) maps as one vector, map by map, full size before half size."""
    half = _statistics(imresize(maps, 0.5))
    if not with_full:
        return half.flatten()
    return torch.stack((_statistics(maps), half), dim=1).flatten()


def _statistics(maps: Tensor) -> Tensor:
    """The 34 statistics of (N, H, W) maps, (N, 34) float64."""
    sums = map_sums(maps).cpu().numpy()
    return torch.from_numpy(statistics(sums, np.full(len(sums), maps[0].numel()))).to(maps.device)


def _check_chunk(y: Tensor, u: Tensor, v: Tensor) -> None:
    for name, plane in (("y", y), ("u", u), ("v", v)):
        if plane.dtype != torch.uint8 or plane.ndim != 3:
            raise ValueError(f"{name} must be a 3-D uint8 tensor, got {tuple(plane.shape)} {plane.dtype}")
    frames, height, width = y.shape
    if not 2 <= frames <= 2 + N_SLOTS:
        raise ValueError(f"y must hold 2 spatial and at most {N_SLOTS} temporal frames, got {frames} frames")
    chroma = (2, (height + 1) // 2, (width + 1) // 2)
    if u.shape != chroma or v.shape != chroma:
        raise ValueError(
            f"u and v must be {chroma} for frames of {height} x {width}, got {tuple(u.shape)} and {tuple(v.shape)}"
        )
    _check_size("frames", height, width)


def _check_size(what: str, height: int, width: int) -> None:
    if min(height, width) < SMALLEST_SIDE_PX:
        raise ValueError(
            f"NSS features need {what} of at least {SMALLEST_SIDE_PX} x {SMALLEST_SIDE_PX} px, got {height} x {width}"
        )


class ChunkMean:
    """Streaming mean over chunks, ignoring NaN per dimension.

    Source: RAPIQUE public code (mean over chunks, ignoring NaN). Sums run in float64 in the order in which chunks
    are added; infinite values stay infinite, and a dimension without any number gives NaN.
    """

    def __init__(self) -> None:
        self.n_chunks = 0
        self._sum = torch.zeros(CHUNK_DIM, dtype=torch.float64)
        self._count = torch.zeros(CHUNK_DIM, dtype=torch.int64)

    def add(self, chunk: Tensor) -> None:
        """Adds the (1836,) vector of the next chunk.

        Raises:
            ValueError: if the shape differs.
        """
        if chunk.shape != (CHUNK_DIM,):
            raise ValueError(f"chunk vector must have shape ({CHUNK_DIM},), got {tuple(chunk.shape)}")
        values = chunk.detach().to("cpu", torch.float64)
        self._sum += values.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
        self._count += ~values.isnan()
        self.n_chunks += 1

    def result(self) -> Tensor:
        """Returns the (1836,) float64 mean so far; all NaN before the first chunk."""
        return self._sum / self._count
