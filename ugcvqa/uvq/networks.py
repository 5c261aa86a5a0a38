"""UVQ 1.0 and 1.5: quality scores of seconds of video, with the parts they are made of, and pooled features.

Source: UVQ (Wang et al., "Rich features for perceptual quality assessment of UGC videos", CVPR 2021) and the definition
published with its weights (google/uvq, Apache-2.0). Both see a picture in patches, which are computed together here, a
few at a time within a bound on memory.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.devices import float32_products
from ugcvqa.errors import ConfigError
from ugcvqa.settings.features import Engine
from ugcvqa.uvq.compression import CompressionNet
from ugcvqa.uvq.state import N_AGGREGATION, SCORE_NAMES, TRUNK_EPS, fold
from ugcvqa.uvq.trunk import ContentNet, DistortionNet, SmallNet, prepared
from ugcvqa.uvq.weights import UVQWeights

State = Mapping[str, Tensor]

GROUP_FRAMES = 5
"""Frames of a second that UVQ 1.0 looks at."""

_SMALL_SIDE_PX = 256


class Outputs(NamedTuple):
    """What a version of UVQ says about groups of frames, one row per group.

    Attributes:
        scores: (S, n) float64, MOS 1..5: UVQ 1.0's seven scores in the order of `state.SCORE_NAMES`, NaN where the
            weights are absent; UVQ 1.5's single score.
        features: (S, D) float32, each channel's mean over the positions of a map, then its maximum, map by map.
        topics: (S, 3862) float32, 0..1; (S, 0) for UVQ 1.5.
        distortions: (S, 26) float32, 0..1, mean over the patches; (S, 0) for UVQ 1.5.
        levels: (S, 1) float32, 0..1, compression level, mean over the patches; (S, 0) for UVQ 1.5.
    """

    scores: Tensor
    features: Tensor
    topics: Tensor
    distortions: Tensor
    levels: Tensor


class UVQ10(nn.Module):
    """UVQ 1.0.

    Args:
        weights: its weights.
        engine: see `FamilySettings`.
    """

    def __init__(self, weights: UVQWeights, engine: Engine = "auto") -> None:
        super().__init__()
        states = weights.states
        self.content = ContentNet(states["content"], engine)
        self.distortion = DistortionNet(states["distortion"], engine)
        self.compression = CompressionNet(states["compression"], engine)
        self.heads = nn.ModuleDict()
        for score in SCORE_NAMES:
            nets = [states.get(f"aggregation.{score}.{number}") for number in range(N_AGGREGATION)]
            if all(nets):
                self.heads[score] = Aggregation([net for net in nets if net])

    @torch.inference_mode()
    def forward(self, frames: Tensor, small: Tensor) -> Outputs:
        """Scores seconds of video.

        Args:
            frames: (S, 5, 3, 720, 1280) uint8 RGB, five frames of each second.
            small: (S, 3, 496, 496) uint8 RGB, the first of them squashed.

        Returns:
            One row per second.

        Raises:
            ConfigError: if a score is not finite.
        """
        with float32_products("ieee"):
            maps, topics, distortions, levels = self.maps(frames, small)
            absent = frames.new_full((len(frames),), float("nan"), dtype=torch.float64)
            scores = [self._score(name, maps) if name in self.heads else absent for name in SCORE_NAMES]
        _check_finite(scores[-1])
        return Outputs(
            torch.stack(scores, 1),
            torch.cat([pooled(maps[name]) for name in ("compression", "content", "distortion")], 1),
            topics,
            distortions.mean((1, 2)),
            levels.mean((1, 2))[:, None],
        )

    def _score(self, name: str, maps: Mapping[str, Tensor]) -> Tensor:
        each: Tensor = self.heads[name](torch.cat([maps[part] for part in name.split("_")], 1))
        return each.double().mean(1)

    def maps(self, frames: Tensor, small: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
        """Computes the feature maps and labels; arguments as in `forward`.

        Returns:
            Maps (S, 100, 16, 16) by name; topics (S, 3862); distortions (S, 2, 2, 26) by patch; compression levels
            (S, 4, 4) by patch.
        """
        n = len(frames)
        content, topics = self.content(small)
        distortion, distortions = _black_once(self.distortion, _patches(frames[:, :1], 2)[:, 0])
        compression, levels = _black_once(self.compression, _patches(frames, 4))
        maps = {"compression": _tiled(compression, 4), "content": content, "distortion": _tiled(distortion, 2)}
        return maps, topics, distortions.view(n, 2, 2, -1), levels.view(n, 4, 4)


class Aggregation(nn.Module):
    """The five networks that make one of UVQ 1.0's scores out of feature maps.

    Args:
        states: their state dicts.
    """

    def __init__(self, states: list[State]) -> None:
        super().__init__()
        folded = [fold(state, "conv1.weight", "bn1", TRUNK_EPS, "conv1.bias") for state in states]
        self.weight = nn.Buffer(torch.cat([weight.flatten(1) for weight, _ in folded]))
        self.bias = nn.Buffer(torch.cat([bias for _, bias in folded]))
        self.out = nn.Buffer(torch.cat([state["linear1.weight"].float() for state in states]))
        self.out_bias = nn.Buffer(torch.cat([state["linear1.bias"].float() for state in states]))

    def forward(self, maps: Tensor) -> Tensor:
        """Computes maps (S, C, 16, 16) -> scores (S, 5) of the single networks."""
        hidden = torch.baddbmm(self.bias[None, :, None], self.weight.expand(len(maps), -1, -1), maps.flatten(2))
        strongest = hidden.relu_().amax(2).view(len(maps), *self.out.shape)
        return (strongest * self.out).sum(2).add_(self.out_bias)


class UVQ15(nn.Module):
    """UVQ 1.5.

    Args:
        weights: its weights.
        engine: see `FamilySettings`.
    """

    def __init__(self, weights: UVQWeights, engine: Engine = "auto") -> None:
        super().__init__()
        self.content = SmallNet(weights.states["content"], is_pooled=False, engine=engine)
        self.distortion = SmallNet(weights.states["distortion"], is_pooled=True, engine=engine)
        self.head = Aggregation15(weights.states["aggregation"])

    @torch.inference_mode()
    def forward(self, frames: Tensor) -> Outputs:
        """Scores frames.

        Args:
            frames: (S, 3, 1080, 1920) uint8 RGB.

        Returns:
            One row per frame.

        Raises:
            ConfigError: if a score is not finite.
        """
        with float32_products("ieee"):
            content, distortion = self.maps(frames)
            scores = self.head(content, distortion).double()
        _check_finite(scores)
        none = content.new_empty(len(frames), 0)
        return Outputs(scores[:, None], torch.cat([pooled(content), pooled(distortion)], 1), none, none, none)

    def maps(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the feature maps of frames: content (S, 128, 8, 8) and distortion (S, 128, 24, 24)."""
        side = (_SMALL_SIDE_PX, _SMALL_SIDE_PX)
        small = [functional.interpolate(prepared(frame), side, mode="bilinear") for frame in frames.split(1)]
        distortion = self.distortion(_patches(frames[:, None], 3)[:, 0])
        return self.content(torch.cat(small)), _tiled(distortion, 3)


class Aggregation15(nn.Module):
    """The network that makes UVQ 1.5's score out of feature maps.

    Args:
        state: its state dict.
    """

    def __init__(self, state: State) -> None:
        super().__init__()
        with torch.device("meta"):  # costs nothing: the tensors of the state dict take the places
            self.conv1, self.linear1 = nn.Conv2d(256, 256, 1), nn.Linear(256, 1)
            self.ln1 = nn.LayerNorm((256, 4, 4), TRUNK_EPS)
        self.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
        self.requires_grad_(False)

    def forward(self, content: Tensor, distortion: Tensor) -> Tensor:
        """Computes maps (S, 128, 8, 8) and (S, 128, 24, 24) -> scores (S,), 1..5."""
        out: Tensor = self.linear1(self.hidden(content, distortion))
        return out[:, 0].tanh().mul(2).add(3)

    def hidden(self, content: Tensor, distortion: Tensor) -> Tensor:
        """Computes what the last layer sees, (S, 256); arguments as in `forward`."""
        maps = torch.cat([functional.adaptive_avg_pool2d(part, 4) for part in (content, distortion)], 1)
        return functional.relu_(self.ln1(self.conv1(maps))).amax((2, 3))


def pooled(maps: Tensor) -> Tensor:
    """Pools maps (S, C, h, w) over positions, summed in float64: means, then maxima, (S, 2C) float32.

    The mean is the usual pooling; UVQ's own heads take maxima over positions, which a mean cannot replace.
    """
    return torch.cat([maps.double().mean((2, 3)).float(), maps.amax((2, 3))], 1)


def _patches(frames: Tensor, n: int) -> Tensor:
    """Cuts frames (S, T, 3, H, W) into n x n patches, row by row: (S * n * n, T, 3, H/n, W/n)."""
    height, width = frames.shape[3] // n, frames.shape[4] // n
    parts: Tensor = frames.unflatten(4, (n, width)).unflatten(3, (n, height))
    return parts.permute(0, 3, 5, 1, 2, 4, 6).flatten(0, 2)


def _black_once(network: nn.Module, patches: Tensor) -> list[Tensor]:
    """Runs a network on patches (n, ...); those that are black all over, as borders of portrait video are, once."""
    is_black = patches.flatten(1).amax(1) == 0
    if int(is_black.sum()) < 2:
        return list(network(patches))
    kept = torch.cat([patches[~is_black], patches[is_black][:1]])
    places = torch.where(is_black, len(kept) - 1, (~is_black).cumsum(0) - 1)
    return [values[places] for values in network(kept)]


def _tiled(maps: Tensor, n: int) -> Tensor:
    """Puts the maps (S * n * n, C, h, w) of patches in their places: (S, C, n * h, n * w)."""
    grid: Tensor = maps.unflatten(0, (-1, n, n))
    return grid.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def _check_finite(scores: Tensor) -> None:
    if not torch.isfinite(scores).all():
        raise ConfigError("UVQ's scores are not finite; check its weights")
