"""Outputs of the convolutions of a network for one frame, layer by layer in network order."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ugcvqa.deep.taps import hooked

FIRST_CHANNELS = 64
"""Channels that are kept of each layer, from the first on, as in the paper's animations."""


@dataclass(frozen=True)
class LayerActivation:
    """The output of one convolution.

    Attributes:
        layer: name of the layer in the network.
        n_channels: number of its channels.
        strongest: channel of the largest mean over space.
        strongest_map: (h, w) float32, output of that channel.
        first_maps: (c, h, w) float32, outputs of the first channels, at most `FIRST_CHANNELS`.
        is_after_activation: an activation that works in place follows the convolution, so the values are those
            behind it, as in the public scripts.
    """

    layer: str
    n_channels: int
    strongest: int
    strongest_map: Tensor
    first_maps: Tensor
    is_after_activation: bool


def layer_activations(network: nn.Module, frame: Tensor) -> list[LayerActivation]:
    """Runs one frame through a network and reads all its two-dimensional convolutions.

    Source: Figures 5 and 6 of the paper and its public script for VGG-16: the strongest channel has the largest
    spatial mean, and stored outputs are what an in-place ReLU leaves of them. In ResNet-50 a batch normalisation
    follows, so there the outputs are the convolution's own.

    Args:
        network: in evaluation mode.
        frame: (1, 3, H, W) float32, normalised.

    Returns:
        One entry per convolution, in the order in which they are computed; convolutions with a single output position,
        as inside squeeze-and-excitation, have no picture and are left out.

    Raises:
        ValueError: if it is not one frame.
    """
    if frame.ndim != 4 or frame.shape[:2] != (1, 3):
        raise ValueError(f"one frame (1, 3, H, W) is needed, got {tuple(frame.shape)}")
    names: dict[nn.Module, str] = {
        module: name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)
    }
    outputs: dict[str, tuple[Tensor, int]] = {}

    def keep(module: nn.Module, _inputs: Any, output: Tensor) -> None:  # noqa: ANN401 (what the layer takes)
        # the tensor itself: a following in-place activation changes it, which its version shows
        outputs.setdefault(names[module], (output, output._version))

    with torch.no_grad(), hooked(names, keep):
        network(frame)
    return [
        _read(name, output[0].float(), output._version > version)
        for name, (output, version) in outputs.items()
        if output[0, 0].numel() > 1
    ]


def _read(name: str, maps: Tensor, is_after_activation: bool) -> LayerActivation:
    strongest = int(maps.mean((1, 2)).argmax())
    return LayerActivation(
        name,
        len(maps),
        strongest,
        maps[strongest].cpu().clone(),
        maps[:FIRST_CHANNELS].cpu().clone(),
        is_after_activation,
    )
