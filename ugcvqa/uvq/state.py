"""What the state dicts of UVQ's networks hold: names and shapes of every tensor, folding, and seeded numbers for tests.

Source: UVQ (Wang et al., "Rich features for perceptual quality assessment of UGC videos", CVPR 2021) and the
definition published with its weights (google/uvq, Apache-2.0).
"""

import re
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

Shapes = dict[str, tuple[int, ...]]
"""Name of a tensor in a state dict -> its shape, in the order of the file."""


class Mixed(NamedTuple):
    """One inception block: its name, input channels, and the channels of its four branches."""

    name: str
    inputs: int
    b0: int
    b1: tuple[int, int]
    b2: tuple[int, int]
    b3: int

    @property
    def outputs(self) -> int:
        """Channels of the concatenated branches."""
        return self.b0 + self.b1[1] + self.b2[1] + self.b3


MIXED = (
    Mixed("inception_mixed1_3b", 192, 64, (96, 128), (16, 32), 32),
    Mixed("inception_mixed2_3c", 256, 128, (128, 192), (32, 96), 64),
    Mixed("inception_mixed3_4b", 480, 192, (96, 208), (16, 48), 64),
    Mixed("inception_mixed4_4c", 512, 160, (112, 224), (24, 64), 64),
    Mixed("inception_mixed5_4d", 512, 128, (128, 256), (24, 64), 64),
    Mixed("inception_mixed6_4e", 512, 112, (144, 288), (32, 64), 64),
    Mixed("inception_mixed7_4f", 528, 256, (160, 320), (32, 128), 128),
    Mixed("inception_mixed8_5b", 832, 256, (160, 320), (32, 128), 128),
    Mixed("inception_mixed9_5c", 832, 384, (192, 384), (48, 128), 128),
)
"""The inception blocks of CompressionNet."""

SCORE_NAMES = (
    "compression",
    "content",
    "distortion",
    "compression_content",
    "compression_distortion",
    "content_distortion",
    "compression_content_distortion",
)
"""UVQ 1.0's seven scores: the feature maps that each is made of. The last is the default."""

N_AGGREGATION = 5
"""Aggregation networks per score of UVQ 1.0."""

TRUNK_EPS, COMPRESSION_EPS = 1e-3, 1e-5
"""Added to the variance by the batch normalisations of the trunks and aggregation networks, and of CompressionNet."""


def network_shapes(network: str) -> Shapes:
    """Lists the tensors of a network.

    Args:
        network: `uvq10.content`, `uvq10.distortion`, `uvq10.compression`, `uvq10.aggregation.SCORE`,
            `uvq15.content`, `uvq15.distortion` or `uvq15.aggregation`.

    Returns:
        Name -> shape.
    """
    version, _, part = network.partition(".")
    if part.startswith("aggregation."):
        return _aggregation10(100 * len(part.removeprefix("aggregation.").split("_")))
    last: dict[str, Shapes] = {
        "uvq10.content": {
            "features.18.conv.weight": (100, 320, 16, 16),
            "classifier.2.weight": (3862, 100),
            "classifier.2.bias": (3862,),
        },
        "uvq10.distortion": {
            "features.17.conv.weight": (100, 320, 12, 20),
            "classifier.2.weight": (512, 6400),
            "classifier.2.bias": (512,),
            "classifier.4.weight": (26, 512),
            "classifier.4.bias": (26,),
        },
        "uvq15.content": {"features.17.conv.weight": (128, 320, 2, 2)},
        "uvq15.distortion": {"features.17.conv.weight": (128, 320, 2, 2)},
    }
    if network in last:
        tensors, names = blank_trunk().state_dict(), trunk_names()
        return {names[name]: tuple(tensor.shape) for name, tensor in tensors.items()} | last[network]
    return dict(_compression()) if version == "uvq10" else _aggregation15()


def _norm(key: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"{key}.{name}", (width,)
    yield f"{key}.num_batches_tracked", ()


def blank_trunk() -> nn.Sequential:
    """EfficientNet-B0's stem and 16 blocks without numbers: `features.0` to `features.16` of UVQ's files."""
    from torchvision.models import efficientnet_b0  # not needed to score without a network

    with torch.device("meta"):
        features = efficientnet_b0(norm_layer=partial(nn.BatchNorm2d, eps=TRUNK_EPS)).features
    return nn.Sequential(features[0], *chain.from_iterable(features[1:8]))


def trunk_names() -> dict[str, str]:
    """Name of a tensor of `blank_trunk` -> its name in UVQ's files, in their order."""
    return {name: f"features.{re.sub(r'0[.]weight$', '0.conv.weight', name)}" for name in blank_trunk().state_dict()}


def _compression() -> Iterator[tuple[str, tuple[int, ...]]]:
    top = "inception_block1"
    yield f"{top}.conv3d_1a.conv.weight", (64, 3, 3, 7, 7)
    yield from _norm(f"{top}.batch_norm_1a", 64)
    yield from _separable(f"{top}.pre_2b2c", 64, 64, 192)
    for mixed in MIXED:
        key = f"{top}.{mixed.name}"
        yield from _gated(f"{key}.b0", mixed.inputs, mixed.b0)
        yield from _separable(f"{key}.b1", mixed.inputs, *mixed.b1)
        yield from _separable(f"{key}.b2", mixed.inputs, *mixed.b2)
        yield from _gated(f"{key}.b3", mixed.inputs, mixed.b3)
    yield "final_conv3d.weight", (100, 1024, 1, 3, 7)
    yield "conv3d_0c.conv.weight", (1, 100, 1, 1, 1)
    yield "conv3d_0c.conv.bias", (1,)
    for name in ("nonlinear1", "nonlinear2"):  # in the files, but no output depends on them
        yield f"{name}.weight", (1600, 1600)
        yield f"{name}.bias", (1600,)


def _gated(key: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{key}.conv3d_1.conv.weight", (outputs, inputs, 1, 1, 1)
    yield from _norm(f"{key}.batch_norm", outputs)
    yield f"{key}.conv3d_2.conv.weight", (outputs, outputs, 1, 1, 1)


def _separable(key: str, inputs: int, middle: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{key}.conv3d_1.conv.weight", (middle, inputs, 1, 1, 1)
    yield from _norm(f"{key}.batch_norm1", middle)
    yield f"{key}.conv3d_2.conv.weight", (outputs, middle, 1, 3, 3)
    yield from _norm(f"{key}.batch_norm2", outputs)
    yield f"{key}.conv3d_3.conv.weight", (outputs, outputs, 3, 1, 1)
    yield f"{key}.conv3d_3.conv.bias", (outputs,)
    yield f"{key}.conv3d_4.conv.weight", (outputs, outputs, 1, 1, 1)


def _aggregation10(inputs: int) -> Shapes:
    conv = {"conv1.weight": (256, inputs, 1, 1), "conv1.bias": (256,)}
    return {**conv, **dict(_norm("bn1", 256)), "linear1.weight": (1, 256), "linear1.bias": (1,)}


def _aggregation15() -> Shapes:
    return {
        "conv1.weight": (256, 256, 1, 1),
        "conv1.bias": (256,),
        "ln1.weight": (256, 4, 4),
        "ln1.bias": (256, 4, 4),
        "linear1.weight": (1, 256),
        "linear1.bias": (1,),
    }


def fold(state: Mapping[str, Tensor], weight: str, norm: str, eps: float, bias: str = "") -> tuple[Tensor, Tensor]:
    """Folds a batch normalisation into the convolution before it, in float64.

    Args:
        state: tensors by name.
        weight: name of the convolution's weight (O, ...).
        norm: name of the batch normalisation.
        eps: added to its variance.
        bias: name of the convolution's bias (O,); empty if it has none.

    Returns:
        Weight (O, ...) and bias (O,), float32.
    """
    gain = state[f"{norm}.weight"].double() / (state[f"{norm}.running_var"].double() + eps).sqrt()
    offset = -state[f"{norm}.running_mean"].double()
    if bias:
        offset = offset + state[bias].double()
    kernel = state[weight].double()
    folded = kernel * gain.view(-1, *[1] * (kernel.ndim - 1))
    return folded.float(), (state[f"{norm}.bias"].double() + offset * gain).float()


_RUNNING_VAR = {
    "uvq10.content": 0.65,
    "uvq10.distortion": 0.55,
    "uvq10.compression": 0.5,
    "uvq15.content": 0.6,
    "uvq15.distortion": 0.55,
}


def seeded_state(network: str, seed: int = 0, name: str = "") -> dict[str, Tensor]:
    """Makes meaningless weights that let a network react to the picture, for tests of the mechanics only.

    Args:
        network: see `network_shapes`.
        seed: 0 gives the weights of the reference outputs.
        name: what the numbers depend on besides the tensor's name; the network by default.

    Returns:
        Tensors by name, the same on every machine.
    """
    shapes = network_shapes(network)
    norms = {key.removesuffix(".running_var") for key in shapes if key.endswith(".running_var")} | {"ln1"}
    return {
        key: _seeded(key, shape, f"{name or network}/{key}", seed, _RUNNING_VAR.get(network, 1.0), norms)
        for key, shape in shapes.items()
    }


def _seeded(key: str, shape: tuple[int, ...], text: str, seed: int, spread: float, norms: set[str]) -> Tensor:
    module, _, kind = key.rpartition(".")
    if kind == "num_batches_tracked":
        return torch.tensor(0)
    source = np.random.RandomState((zlib.crc32(text.encode("ascii")) + seed) % 2**32)
    z = np.asarray(source.standard_normal(shape))
    if module in norms and kind == "weight":
        z = 1 + 0.1 * z
    elif kind == "running_var":
        z = spread * (1 + 0.25 * np.abs(z))
    elif len(shape) < 2 or module in norms:
        z = 0.02 * z
    else:
        if shape[1] > 1:
            z = z - z.mean(axis=tuple(range(1, len(shape))), keepdims=True)
        z = z * np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(z.astype(np.float32))
