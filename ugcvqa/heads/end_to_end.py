"""A trainable backbone with VSFA's pooling and GRU head: from sampled frames to a score in one network."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ugcvqa.deep.imagenet import normalise
from ugcvqa.deep.stages import chain_of_stages, stages_of, widths
from ugcvqa.errors import ConfigError
from ugcvqa.heads.gru import VSFAHead

_NORMS = (nn.modules.batchnorm._BatchNorm,)


class Backbone(nn.Module):
    """The convolutional part of a network as a chain of stages, of which the first may be frozen.

    Batch normalisations keep their running statistics and their affine parameters: batches are too small to
    estimate them.

    Args:
        network: classification network. Its layers are used, not copied; for its stages see `chain_of_stages`.
        name: its name, for messages.
        frozen_stages: stages, counted from the input, whose parameters get no gradient.
        checkpointing: recompute each trained stage in the backward pass instead of keeping its activations.
        stages: stages that are used, counted from the input; 0 for all.
        is_checked: whether it was a backbone before, so that its stages are known to compute what the network does.

    Attributes:
        width: channels C of the last maps.

    Raises:
        ConfigError: if the network is not such a chain, or has fewer stages.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        frozen_stages: int = 0,
        checkpointing: bool = False,
        stages: int = 0,
        is_checked: bool = False,
    ) -> None:
        super().__init__()
        self.stages = stages_of(network, name).eval() if is_checked else chain_of_stages(network, name)
        if max(stages, frozen_stages) > len(self.stages):
            kept = f"{stages} cannot be used" if stages > len(self.stages) else f"{frozen_stages} cannot be frozen"
            raise ConfigError(f"backbone {name} has {len(self.stages)} stages: {kept}")
        self.stages = self.stages[: stages or None]
        self.width = widths(self.stages)[-1]
        self.checkpointing = checkpointing
        self.freeze(frozen_stages)
        self.train(self.training)

    def freeze(self, stages: int) -> None:
        """Freezes so many stages, counted from the input, and no others; normalisations always are frozen."""
        self.frozen_stages = stages
        self.requires_grad_(True)
        self.stages[:stages].requires_grad_(False)
        for module in self.modules():
            if isinstance(module, _NORMS):
                module.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Switches the mode of all but the batch normalisations, which stay in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _NORMS):
                module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Computes maps: (T, 3, H, W) float32 normalised frames -> (T, C, h, w)."""
        for number, stage in enumerate(self.stages):
            is_frozen = number < self.frozen_stages
            with torch.no_grad() if is_frozen else nullcontext():
                if self.checkpointing and not is_frozen and torch.is_grad_enabled():
                    x = cast(Tensor, checkpoint(stage, x, use_reentrant=False))
                else:
                    x = stage(x)
        return x


class EndToEnd(nn.Module):
    """Scores videos from their frames: backbone, mean and deviation over space, GRU head.

    Source: own, in the spirit of VSFA (Li, Jiang, Jiang, 2019), whose frozen backbone is trained here.

    Args:
        backbone: the convolutional part.
        head: its input is twice as wide as the backbone's maps.
    """

    def __init__(self, backbone: Backbone, head: VSFAHead) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, frames: Tensor, lengths: Sequence[int]) -> Tensor:
        """Scores videos.

        Args:
            frames: (sum of lengths, 3, H, W) uint8 RGB, the frames of B videos one after the other.
            lengths: frames of each video.

        Returns:
            (B,) float32 scores on the scale that the head was trained on.
        """
        scores: Tensor = self.head(self.features(frames), lengths)
        return scores

    def frame_scores(self, frames: Tensor, lengths: Sequence[int]) -> Tensor:
        """Computes what each frame adds to the score, see `gru.VSFAHead.frame_scores`."""
        scores: Tensor = self.head.frame_scores(self.features(frames), lengths)
        return scores

    def features(self, frames: Tensor) -> Tensor:
        """Computes frame features: (T, 3, H, W) uint8 RGB -> (T, 2C) float32, C means, then C deviations."""
        maps = self.backbone(normalise(frames).contiguous(memory_format=torch.channels_last))
        return mean_std_with_gradient(maps)


def mean_std_with_gradient(maps: Tensor) -> Tensor:
    """Pools maps as `deep.mean_std_pool` does, in float32 and with a gradient that is finite everywhere.

    Source: VSFA (Li, Jiang, Jiang, 2019), section 3.1. Where a channel is constant, as after many an activation, the
    deviation has no gradient; 0 is taken.

    Args:
        maps: (T, C, h, w) of any floating dtype.

    Returns:
        (T, 2C) float32: means, then unbiased standard deviations; a single position has deviation 0.
    """
    with torch.autocast(maps.device.type, enabled=False):
        values = maps.float().flatten(2)
        variance, mean = torch.var_mean(values, dim=2, correction=int(values.shape[2] > 1))
        is_constant = variance <= 0
        deviation = variance.masked_fill(is_constant, 1).sqrt().masked_fill(is_constant, 0)
        return torch.cat([mean, deviation], 1)


@torch.no_grad()
def calibrate_batchnorm(backbone: Backbone, frames: Tensor) -> None:
    """Sets the running statistics of all batch normalisations to those of given frames.

    A network with random weights needs that before its normalisations are fixed: with statistics of 0 and 1 its
    activations grow from layer to layer.

    Args:
        backbone: its statistics are replaced.
        frames: (T, 3, H, W) uint8 RGB of several videos.
    """
    norms = [module for module in backbone.modules() if isinstance(module, _NORMS)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over what is seen
        norm.train()
    backbone(normalise(frames))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
