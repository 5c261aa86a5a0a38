"""NSS features: RAPIQUE's 1836 hand-crafted statistics per one-second chunk, as batched torch."""

import numpy as np
import torch
from torch import Tensor, nn

from ugcvqa.media.imresize import imresize
from ugcvqa.nss.chunks import (
    CHUNK_DIM,
    SPATIAL_DIM,
    check_chunk,
    check_size,
    is_of_bytes,
    working_ratio,
)
from ugcvqa.nss.constants import N_FULL_SCALE, N_SLOTS
from ugcvqa.nss.engines import check_settings, compiled_kernels
from ugcvqa.nss.fits import statistics
from ugcvqa.nss.maps import spatial_maps, temporal_bands, yuv_to_rgb
from ugcvqa.nss.stats import map_sums

_PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


class NSS(nn.Module):
    """Natural-scene statistics of one chunk: two spatial frames and up to eight temporal frames.

    Source: RAPIQUE (Tu et al., 2021), sections III-A and III-B, and the public code of RAPIQUE and RAPIQUE-UGC.
    One-chunk videos keep their chunk's vector, where the public code averages it to one number.

    Args:
        colour: "bt601" (RAPIQUE-UGC) or "rapique" (first public code), see `yuv_to_rgb`.
        precision: "float64" repeats MATLAB's order of operations, so that undefined values on flat areas agree
            with published features; "float32" is several times faster and agrees to about 1e-3 where a value
            does not depend on round-off.
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
        check_settings(colour, precision, min_side, engine)
        self._compiled = compiled_kernels() if engine == "compiled" else None
        self.colour = colour
        self.precision = precision
        self.min_side = min_side

    def forward(self, y: Tensor, u: Tensor, v: Tensor, whole_side: int | None = None) -> Tensor:
        """Computes the vector of one chunk.

        Args:
            y: (2 + T, H, W) uint8, levels as coded: the two spatial frames, then T <= 8 temporal frames; missing
                temporal frames count as all-zero.
            u: (2, ceil(H/2), ceil(W/2)) uint8, chroma of the spatial frames.
            v: (2, ceil(H/2), ceil(W/2)) uint8.
            whole_side: shorter side of the frames that these are cut from, which decides how much they are shrunk;
                their own if left out.

        Returns:
            (1836,) float64: mean of the two spatial vectors (680), their absolute difference (680), temporal
            features (476). NaN and Inf mark undefined values.

        Raises:
            ValueError: if a shape or dtype differs, or a map would be smaller than the filters.
        """
        check_chunk(y, u, v)
        if self._compiled and y.device.type == "cpu":
            planes = (plane.contiguous().numpy() for plane in (y, u, v))
            return torch.from_numpy(self._compiled.chunk(*planes, self.colour, self.min_side, whole_side))
        ratio = working_ratio(y.shape[-2:], self.min_side, whole_side)
        with torch.no_grad():
            rgb = yuv_to_rgb(y[:2], u, v, self.colour)
            spatial = self._spatial(imresize(rgb, ratio) if ratio < 1 else rgb)
            parts = (spatial.nanmean(0), (spatial[0] - spatial[1]).abs(), self._temporal(y[2:], ratio))
            return torch.cat(parts)

    def spatial(self, rgb: Tensor) -> Tensor:
        """Computes the spatial features of frames at their working size.

        Args:
            rgb: (N, 3, H, W) uint8.

        Returns:
            (N, 680) float64: 34 statistics of 20 map and scale pairs.

        Raises:
            ValueError: if shape or dtype differs, or H or W is below 13.
        """
        if not is_of_bytes(rgb, 4) or rgb.shape[1] != 3:
            raise ValueError(f"rgb must be (N, 3, H, W) uint8, got {tuple(rgb.shape)} {rgb.dtype}")
        check_size("frames", *rgb.shape[-2:])
        if self._compiled and rgb.device.type == "cpu":
            features = torch.empty(len(rgb), SPATIAL_DIM, dtype=torch.float64)
            for vector, frame in zip(features, rgb.contiguous().numpy(), strict=True):
                vector.copy_(torch.from_numpy(self._compiled.spatial(frame)))
            return features
        with torch.no_grad():
            return self._spatial(rgb)

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
        if not is_of_bytes(luma, 3) or len(luma) > N_SLOTS:
            raise ValueError(f"luma must be (T <= {N_SLOTS}, H, W) uint8, got {tuple(luma.shape)} {luma.dtype}")
        check_size("frames", *luma.shape[-2:])
        ratio = working_ratio(luma.shape[-2:], self.min_side)
        if self._compiled and luma.device.type == "cpu":
            return torch.from_numpy(self._compiled.temporal(luma.contiguous().numpy(), ratio))
        with torch.no_grad():
            return self._temporal(luma, ratio)

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
