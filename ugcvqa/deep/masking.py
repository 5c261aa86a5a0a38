"""Masked frames through a frozen classifier: one stream of passes, in batches that fit a memory budget."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.deep.engine import FastNetwork
from ugcvqa.deep.precision import arithmetic
from ugcvqa.deep.taps import hooked
from ugcvqa.deep.trunks import split_at_maps
from ugcvqa.settings.features import Engine, Precision

DEFAULT_MIB = {False: 64, True: 4096}
"""Working memory of a batch of passes, by whether it runs on a GPU."""

HEAD_ROWS = 128
"""Masked frames whose maps the last layers take together: enough that reading their weights costs little."""

SMALL_PX = 64
"""Below this side a network that fails is taken to have failed because of the size."""


class MaskedScores:
    """Class scores of frames that are masked by the classifier's own activations.

    Args:
        network: maps normalised frames (n, 3, H, W) to class scores (n, classes), in evaluation mode.
        memory_mib: bound for the working memory of one batch, beside the weights; by default 64 on a CPU and 4096 on
            a GPU.
        precision: of the passes.
        engine: of the passes, see `chosen_engine`.
    """

    def __init__(self, network: nn.Module, memory_mib: int | None, precision: Precision, engine: Engine) -> None:
        self._network, self._memory_mib, self._precision, self._engine = network, memory_mib, precision, engine
        self._pass_bytes: dict[tuple[int, int], int] = {}
        self._parts: dict[torch.device, tuple[nn.Module, nn.Module]] = {}

    def __call__(self, frames: Tensor, activations: Tensor, pairs: Tensor, classes: Tensor) -> Tensor:
        """Computes the probability of each frame's class under the masks of some of its channels.

        Args:
            frames: (T, 3, H, W) float32, normalised.
            activations: (T, K, u, v) float32; a mask is one of them, enlarged and stretched to 0..1.
            pairs: (n, 2) int64, frame and channel of each pass.
            classes: (T,) int64.

        Returns:
            (n,) float32, 0..1.

        Raises:
            ValueError: if the frames are too small for the network.
        """
        trunk, head = self._split(frames.device)
        largest = self.batch_size(frames)
        found = [frames.new_empty(0)]
        for group in equal_batches(pairs, max(HEAD_ROWS, largest)):
            with arithmetic(self._precision, frames.device):
                maps = [trunk(masked(frames, activations, batch)) for batch in equal_batches(group, largest)]
                probabilities = head(torch.cat(maps)).float().softmax(1)
            found.append(probabilities.gather(1, classes[group[:, :1]])[:, 0])
        return torch.cat(found)

    def batch_size(self, frames: Tensor) -> int:
        """Number of frames that one pass may take under the memory bound, measured once per frame size."""
        size = (frames.shape[2], frames.shape[3])
        if size not in self._pass_bytes:
            self._pass_bytes[size] = pass_bytes(self._network, frames[:1])
        memory_mib = self._memory_mib or DEFAULT_MIB[frames.device.type == "cuda"]
        return max(1, memory_mib * 2**20 // self._pass_bytes[size])

    def _split(self, device: torch.device) -> tuple[nn.Module, nn.Module]:
        """Returns what computes the maps, in its fastest form, and what follows it."""
        if device not in self._parts:
            trunk, head = split_at_maps(self._network)
            self._parts = {device: (FastNetwork(trunk, self._engine, self._precision), head)}
        return self._parts[device]


def masked(frames: Tensor, activations: Tensor, pairs: Tensor) -> Tensor:
    """Multiplies frames (T, 3, H, W) by masks from activations (T, K, u, v), for pairs (n, 2) of frame, channel."""
    frame, channel = pairs.unbind(1)
    masks, _ = unit_range(upsample(activations[frame, channel], (frames.shape[2], frames.shape[3])))
    return frames[frame].mul_(masks[:, None])


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarges maps (..., u, v) to (..., H, W), bilinear with half-pixel centres, clamped at the border."""
    flat = functional.interpolate(maps.reshape(-1, 1, *maps.shape[-2:]), size=size, mode="bilinear")
    return flat.reshape(*maps.shape[:-2], *size)


def unit_range(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Stretches each map (n, H, W) to 0..1 by its own extremes; a constant map becomes zeros.

    Returns:
        The maps and whether each had no range, (n,) bool.
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    is_flat = high <= low
    # one instead of zero below the line: a constant map is zero above it
    return (maps - low) / torch.where(is_flat, torch.ones_like(high), high - low), is_flat.flatten()


def equal_batches(pairs: Tensor, largest: int) -> tuple[Tensor, ...]:
    """Cuts rows into the fewest batches of at most `largest`, all of one length but the last."""
    n_batches = math.ceil(len(pairs) / largest)
    return tuple(pairs.split(math.ceil(len(pairs) / n_batches))) if n_batches else ()


def pass_bytes(network: nn.Module, frame: Tensor) -> int:
    """Measures the working memory that one frame (1, 3, H, W) needs in a forward pass, beside the weights.

    Returns:
        Bytes of the largest layer's input and output in float32, plus the masked frame and its masks.

    Raises:
        ValueError: if the frame is too small for the network.
    """
    largest = 0

    def measure(_module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ANN401 - whatever a layer takes
        nonlocal largest
        largest = max(largest, sum(value.nbytes for value in (*inputs, output) if isinstance(value, Tensor)))

    leaves = [module for module in network.modules() if not any(module.children())]
    try:
        with hooked(leaves, measure), arithmetic("float32", frame.device):
            network(frame)
    except RuntimeError as error:
        if min(frame.shape[2:]) >= SMALL_PX:
            raise
        size = f"{frame.shape[3]} x {frame.shape[2]}"
        raise ValueError(f"frames of {size} pixels are too small for the network; use larger ones ({error})") from error
    return largest + 3 * frame.nbytes
