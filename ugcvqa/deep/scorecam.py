"""Score-CAM: which parts of a frame a classifier's decision rests on, as pure tensor maths plus one hook owner."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.deep.backbones import split_at_maps
from ugcvqa.deep.engine import FastNetwork
from ugcvqa.deep.precision import Precision, arithmetic
from ugcvqa.errors import ConfigError, WeightsError
from ugcvqa.settings import Engine

PRECISIONS = get_args(Precision)
"""Arithmetic of the scoring passes. Everything else is float32 or better, whatever the choice."""

FLAT = 1e-6
"""A channel whose upsampled activation spans at most this part of its peak is constant up to rounding."""

DEFAULT_MIB = {False: 64, True: 4096}
"""Working memory of a batch of scoring passes, by whether it runs on a GPU."""

RANGE_MAPS = 16
"""Maps that are enlarged together to find their range; more would leave the cache."""

HEAD_ROWS = 128
"""Masked frames whose maps the layers behind them take at once: enough that reading those layers costs little."""

SMALL_PX = 64
"""Below this side a network that fails is taken to have failed because of the size."""


@contextmanager
def hooked(modules: Iterable[nn.Module], hook: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    """Attaches one forward hook to some modules and releases all of them at the end of the block."""
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Tap:
    """What a tapped layer put out last; empty before the first forward pass."""

    value: Tensor


@contextmanager
def tap(model: nn.Module, layer: str) -> Iterator[Tap]:
    """Listens to the output of one layer inside a `with` block.

    The tensor is the layer's own, not a copy: an in-place ReLU that follows the layer shows in it, as it does in
    the public Score-CAM code.

    Args:
        model: the network.
        layer: name of the layer as `named_modules` gives it (`features.29`).

    Yields:
        The tap; `value` is valid inside the block only.

    Raises:
        ConfigError: if the network has no such layer.
    """
    layers = dict(model.named_modules())
    if not layer or layer not in layers:
        raise ConfigError(f"no layer {layer!r} in {type(model).__name__}; its last ones are {list(layers)[-3:]}")
    found = Tap()

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:  # noqa: ANN401 - whatever a layer returns
        found.value = output

    with hooked([layers[layer]], keep):
        yield found
    if hasattr(found, "value"):
        del found.value


def check_layer(network: nn.Module, layer: str, side_px: int) -> None:
    """Checks that a layer puts out maps, by a pass that computes shapes only.

    Args:
        network: maps normalised frames (n, 3, H, W) to class scores, in evaluation mode.
        layer: name of the layer.
        side_px: height and width of the frames.

    Raises:
        ConfigError: if there is no such layer, or it puts out something else than maps (T, K, u, v).
    """
    shapes = {name: tensor.to("meta") for name, tensor in network.state_dict().items()}
    with tap(network, layer) as found:
        torch.func.functional_call(network, shapes, torch.zeros(1, 3, side_px, side_px, device="meta"))
        output = getattr(found, "value", None)
    if not isinstance(output, Tensor) or output.ndim != 4:
        seen = f"puts out {tuple(output.shape)}" if isinstance(output, Tensor) else "puts out nothing"
        raise ConfigError(f"layer {layer!r} {seen}, not maps (T, K, u, v); name one before the global pooling")


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


def weighted_maps(activations: Tensor, scores: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Sums activations by their scores and stretches the sum to 0..1 at full size.

    The sum is taken at the activations' own size, as bilinear enlargement is linear.

    Source: Score-CAM (Wang et al., 2020), public code: un-normalised activations, no softmax over channels.

    Args:
        activations: (T, K, u, v) float32.
        scores: (T, K), NaN for channels that stay out of the sum.
        size: (H, W) of the maps.

    Returns:
        Maps (T, H, W) float32 in 0..1 and (T,) bool: true where there is no map and all values are 0.
    """
    used = torch.nan_to_num(scores, nan=0.0).double()
    total = torch.einsum("tk,tkuv->tuv", used, activations.double())
    return unit_range(upsample(total.float(), size).clamp_min(0))


@dataclass(frozen=True, repr=False)
class SaliencyMaps:
    """Saliency maps of T frames and what they were made from, on the frames' device.

    Attributes:
        maps: (T, H, W) float32 in 0..1.
        is_empty: (T,) bool, true where no channel says anything about the class: the map is all zeros.
        logits: (T, classes) float32 of the unmasked frames.
        classes: (T,) int64, the class whose probability scored the channels.
        scores: (T, K) float32, probability of that class under each channel's mask; NaN for skipped channels.
    """

    maps: Tensor
    is_empty: Tensor
    logits: Tensor
    classes: Tensor
    scores: Tensor

    def __repr__(self) -> str:
        """The shapes, not the pixels."""
        return f"SaliencyMaps(maps={tuple(self.maps.shape)}, n_empty={int(self.is_empty.sum())})"


def parse_method(method: str) -> int | None:
    """Number of channels scored by "top:N", None for "exact" and "half".

    Raises:
        ConfigError: if the method is none of these.
    """
    kind, _, count = method.partition(":")
    if kind == "top" and count.isdecimal() and int(count) > 0:
        return int(count)
    if method not in ("exact", "half"):
        raise ConfigError(f"saliency method {method!r} is unknown; use exact, half or top:N with N >= 1")
    return None


class ScoreCAM(nn.Module):
    """Computes Score-CAM maps of frames with a frozen classifier.

    Source: Score-CAM (Wang et al., CVPR workshops 2020) and its public code: masks from the upsampled
    activations' own range, softmax probability as score, no baseline, constant channels skipped.

    The masked inputs of several frames form one stream that is cut into equal batches.
    """

    def __init__(
        self,
        network: nn.Module,
        layer: str,
        memory_mib: int | None = None,
        precision: Precision = "float32",
        method: str = "exact",
        engine: Engine = "auto",
    ) -> None:
        """Freezes the network.

        Args:
            network: maps normalised frames (n, 3, H, W) to class scores (n, classes); set to evaluation mode.
            layer: name of the target layer, e.g. `features.29` of VGG-16 (last ReLU).
            memory_mib: bound for the working memory of one batch of scoring passes, beside the weights; by default
                64 on a CPU and 4096 on a GPU.
            precision: one of `PRECISIONS`, for the scoring passes only.
            method: "exact"; approximate ones by name: "top:N" scores only the N channels of largest mean
                activation, "half" scores at half the frame's height and width.
            engine: of the scoring passes, see `chosen_engine`.

        Raises:
            ConfigError: if a setting is unknown or the network has no such layer.
        """
        super().__init__()
        if precision not in PRECISIONS:
            raise ConfigError(f"saliency precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
        self.network = network.eval().requires_grad_(False)
        self.layer = layer
        self.memory_mib = memory_mib
        self.precision = precision
        self.is_half = method == "half"
        self.top = parse_method(method)
        self.engine = engine
        self._pass_bytes: dict[tuple[int, int], int] = {}
        # in a list, since modules would be listed, saved and moved with the network
        self._parts: list[tuple[nn.Module, nn.Module]] = []
        with tap(network, layer):
            pass  # an unknown layer fails here, not at the first video

    def train(self, mode: bool = True) -> "ScoreCAM":
        """Keeps the frozen network in evaluation mode whatever is asked."""
        super().train(mode)
        self.network.eval()
        return self

    @torch.inference_mode()
    def forward(self, frames: Tensor, class_index: int | None = None) -> SaliencyMaps:
        """Computes one map per frame.

        Args:
            frames: (T, 3, H, W) float32, ImageNet-normalised RGB; any size that the network takes.
            class_index: class to explain; None takes each frame's most probable class.

        Returns:
            The maps; a frame in which every channel is constant has an empty one, never an error.

        Raises:
            ValueError: if the frames are of another shape or type, not finite or too small for the network, or
                if the class does not exist.
            WeightsError: if the network's class scores are not finite.
        """
        check_frames(frames)
        size = (frames.shape[2], frames.shape[3])
        inputs = frames
        if self.is_half:
            inputs = functional.interpolate(frames, size=(size[0] // 2, size[1] // 2), mode="bilinear", antialias=True)
        trunk, head = self._split(frames.device)
        largest = self._batch(inputs)
        logits, activations = self._first_pass(frames)
        if class_index is not None and not 0 <= class_index < logits.shape[1]:
            raise ValueError(f"class {class_index} does not exist: the network has classes 0..{logits.shape[1] - 1}")
        classes = logits.argmax(1) if class_index is None else torch.full_like(logits[:, 0], class_index).long()
        pairs = self._channels(activations, size).nonzero()
        scores = torch.full(activations.shape[:2], torch.nan, device=frames.device)
        for group in equal_batches(pairs, max(HEAD_ROWS, largest)):
            frame, channel = group.unbind(1)
            with arithmetic(self.precision, frames.device):
                parts = [trunk(self._masked(inputs, activations, batch)) for batch in equal_batches(group, largest)]
                probabilities = head(torch.cat(parts)).float().softmax(1)
            scores[frame, channel] = probabilities.gather(1, classes[frame, None])[:, 0]
        if scores[pairs[:, 0], pairs[:, 1]].isnan().any():
            raise WeightsError(f"class scores of masked frames are not finite in {self.precision}; use float32")
        maps, is_empty = weighted_maps(activations, scores, size)
        return SaliencyMaps(maps, is_empty, logits, classes, scores)

    def _first_pass(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Returns class scores (T, classes) and target activations (T, K, u, v) of the unmasked frames."""
        logits, activations = [], []
        with arithmetic("float32", frames.device), tap(self.network, self.layer) as found:
            # one by one, so that class and masks of a frame do not depend on the frames beside it
            for part in frames.split(1):
                # scores react strongly to the masks, and CPU kernels for channels-last order round 2.5 times worse
                logits.append(self.network(part.contiguous()).float())
                activations.append(found.value.float())
        if not torch.cat(logits).isfinite().all():
            raise WeightsError("class scores of the unmasked frames are not finite; the weight file is broken")
        if activations[0].ndim != 4:
            raise ConfigError(f"layer {self.layer!r} puts out {tuple(activations[0].shape)}, not maps (T, K, u, v)")
        return torch.cat(logits), torch.cat(activations)

    def _channels(self, activations: Tensor, size: tuple[int, int]) -> Tensor:
        """Returns (T, K) bool: channels to score, that is, all whose enlarged activation is not constant."""
        flat = activations.flatten(0, 1)
        used = flat.amax((1, 2)) > flat.amin((1, 2))  # a constant one stays so when it is enlarged
        ranges = [torch.stack(upsample(part, size).flatten(1).aminmax(dim=1)) for part in flat[used].split(RANGE_MAPS)]
        low, high = torch.cat(ranges, dim=1)
        used[used.clone()] = high - low > FLAT * high.abs()
        used = used.reshape(activations.shape[:2])
        if self.top is None:
            return used
        energy = activations.mean((2, 3)).masked_fill(~used, -torch.inf)
        best = energy.argsort(dim=1, descending=True, stable=True)[:, : self.top]
        return used & torch.zeros_like(used).scatter_(1, best, True)

    def _masked(self, inputs: Tensor, activations: Tensor, pairs: Tensor) -> Tensor:
        """Multiplies frames (T, 3, H, W) by masks from activations (T, K, u, v), for pairs (n, 2) of frame, channel."""
        frame, channel = pairs.unbind(1)
        masks, _ = unit_range(upsample(activations[frame, channel], (inputs.shape[2], inputs.shape[3])))
        return inputs[frame].mul_(masks[:, None])

    def _split(self, device: torch.device) -> tuple[nn.Module, nn.Module]:
        """Returns what computes the maps, in its fastest form, and what follows it."""
        if device.type != "cpu":
            return self.network, nn.Identity()
        if not self._parts:
            trunk, head = split_at_maps(self.network)
            self._parts.append((FastNetwork(trunk, self.engine, self.precision), head))
        return self._parts[0]

    def _batch(self, frames: Tensor) -> int:
        """Number of frames that one pass may take under the memory bound, measured once per frame size."""
        size = (frames.shape[2], frames.shape[3])
        if size not in self._pass_bytes:
            self._pass_bytes[size] = pass_bytes(self.network, frames[:1])
        memory_mib = self.memory_mib or DEFAULT_MIB[frames.device.type == "cuda"]
        return max(1, memory_mib * 2**20 // self._pass_bytes[size])


def check_frames(frames: Tensor) -> None:
    """Checks that frames can enter a network.

    Raises:
        ValueError: if they are not (T, 3, H, W), T >= 1, float32 and finite.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or frames.numel() == 0:
        raise ValueError(f"frames must be (T, 3, H, W) with T >= 1, got {tuple(frames.shape)}")
    if frames.dtype != torch.float32:
        raise ValueError(f"frames must be float32, normalised for the network, got {frames.dtype}")
    if not frames.isfinite().all():
        raise ValueError("frames hold NaN or infinite values")


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
