"""Networks as chains of stages, and the statistics of their maps: the first show noise and blocks, the last content."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ugcvqa.deep.backbones import load_backbone, weights_checksum
from ugcvqa.deep.engine import FastNetwork
from ugcvqa.deep.imagenet import check_frames, normalise
from ugcvqa.deep.pooling import check_features, large_enough, mean_std_pool
from ugcvqa.deep.trunks import features_of
from ugcvqa.errors import ConfigError
from ugcvqa.settings.features import Engine, Precision

_PROBE_SIDE_PX = 96
_HEAD_PARTS = {"avgpool", "fc", "classifier", "dropout", "flatten"}


@torch.no_grad()
def chain_of_stages(network: nn.Module, name: str) -> nn.Sequential:
    """Lays the convolutional part of a network out as a chain, after a check that it computes what the network does.

    For a ResNet the stem is the first stage, and `layer1` to `layer4` follow; for others each child of `features` is
    one.

    Args:
        network: a classification network. Its layers are used, not copied; it is put into evaluation mode.
        name: its name, for messages.

    Raises:
        ConfigError: if the network is not such a chain.
    """
    stages = stages_of(network, name)
    reference, _ = features_of(network.eval(), name)
    if not torch.allclose(stages.eval()(_probe()), reference(_probe()), rtol=1e-4, atol=1e-5):
        raise ConfigError(f"backbone {name}: its stages are joined by more than a chain; use resnet50 or the like")
    return stages


@torch.no_grad()
def widths(stages: nn.Sequential) -> tuple[int, ...]:
    """Channels of the maps of each stage."""
    maps, found = _probe(), []
    for stage in stages:
        maps = stage(maps)
        found.append(maps.shape[1])
    return tuple(found)


class StageStatistics(nn.Module):
    """Means and deviations over space of the maps of some stages of a frozen network, frames at their own size.

    Source: own; VSFA (Li, Jiang, Jiang, 2019), section 3.1, pools the last maps so. The first stages see noise, blur
    and blocks, which resizing would hide.

    Args:
        backbone: name of the network, see `load_backbone`.
        weights: see `load_backbone`.
        precision: of the convolutions, see `pooling.Trunk`.
        stages: numbers of the stages, from 0, rising; none for all.
        engine: see `pooling.Trunk`.

    Attributes:
        chosen: numbers of the stages.
        dim: length of a frame's features, twice the channels of these stages.
        checksum: SHA-256 of their weights as they were given, whatever computes with them.

    Raises:
        ConfigError: if the network is not a chain of stages, or lacks one of them.
        WeightsError: see `load_backbone`.
    """

    def __init__(
        self,
        backbone: str,
        weights: str,
        precision: Precision = "float32",
        stages: Sequence[int] = (),
        engine: Engine = "auto",
    ) -> None:
        super().__init__()
        chain = chain_of_stages(load_backbone(backbone, weights), backbone)
        self.name, self.precision = backbone, precision
        self.chosen = tuple(stages) or tuple(range(len(chain)))
        if self.chosen[-1] >= len(chain):
            raise ConfigError(f"backbone {backbone} has stages 0 to {len(chain) - 1}, not {self.chosen[-1]}")
        ends = [number + 1 for number in self.chosen]
        chain = chain[: ends[-1]]
        self.dim = 2 * sum(widths(chain)[number] for number in self.chosen)
        self.checksum = weights_checksum(chain)
        parts = (chain[start:end] for start, end in pairwise((0, *ends)))
        self.parts = nn.ModuleList(FastNetwork(part, engine, precision) for part in parts)

    @torch.inference_mode()
    def forward(self, rgb: Tensor) -> Tensor:
        """Computes the features of frames of one clip, one by one, so that memory does not grow with their number.

        Args:
            rgb: (T, 3, H, W) uint8 RGB, any T.

        Returns:
            (T, dim) float32: the means of all channels of the first chosen stage, of the next, and so on, then their
            deviations in the same order.

        Raises:
            ValueError: if `rgb` is of another shape or dtype.
            VideoError: if the frames are too small for the network.
            ConfigError: if features are not finite, as can happen in float16.
        """
        check_frames(rgb)
        if not len(rgb):
            return torch.empty(0, self.dim, device=rgb.device)
        features = torch.cat([self._of_frame(frame) for frame in rgb.split(1)])
        if features.device.type == "cpu":
            check_features(features, self.name, self.precision)
        return features

    def _of_frame(self, frame: Tensor) -> Tensor:
        maps, statistics = normalise(frame.contiguous(memory_format=torch.channels_last)), []
        with large_enough(frame.shape[2:], self.name):
            for part in self.parts:
                maps = part(maps)
                statistics.append(mean_std_pool(maps).chunk(2, 1))  # at once: the next part may overwrite its maps
        means, deviations = zip(*statistics, strict=True)
        return torch.cat([*means, *deviations], 1)


def stages_of(network: nn.Module, name: str) -> nn.Sequential:
    """Lays the convolutional part of a network out as a chain, whatever it computes; see `chain_of_stages`.

    Raises:
        ConfigError: if the network has no such parts.
    """
    parts = dict(network.named_children())
    for key in ("features", "layers"):  # MNASNet has the latter
        if isinstance(chain := parts.get(key), nn.Sequential):
            return nn.Sequential(*chain)
    if "layer1" in parts:
        stem = [part for key, part in parts.items() if not key.startswith("layer") and key not in _HEAD_PARTS]
        layers = [part for key, part in parts.items() if key.startswith("layer")]
        return nn.Sequential(nn.Sequential(*stem), *layers)
    raise ConfigError(
        f"backbone {name}: is not a chain of stages; networks such as resnet, resnext, vgg, mobilenet, efficientnet, "
        "squeezenet and convnext are"
    )


def _probe() -> Tensor:
    return torch.rand(1, 3, _PROBE_SIDE_PX, _PROBE_SIDE_PX, generator=torch.Generator().manual_seed(0))
