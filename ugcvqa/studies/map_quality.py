"""Whether saliency maps point at what the classifier uses: deletion and insertion, and where their energy is."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.deep.precision import arithmetic

_BATCH = 8
_BLUR_SIDE_PX = 14


@dataclass(frozen=True)
class Curves:
    """Probability of the explained class while pixels are deleted or inserted in the order of a map.

    Attributes:
        deletion: (steps + 1,) float64, from the whole frame to nothing; a good map makes it fall early.
        insertion: (steps + 1,) float64, from the blurred frame to the whole; a good map makes it rise early.
    """

    deletion: Tensor
    insertion: Tensor

    @property
    def deletion_auc(self) -> float:
        """Mean height of the deletion curve, 0..1; lower is better."""
        return _area(self.deletion)

    @property
    def insertion_auc(self) -> float:
        """Mean height of the insertion curve, 0..1; higher is better."""
        return _area(self.insertion)


def pixel_curves(network: nn.Module, frame: Tensor, order_map: Tensor, class_index: int, steps: int) -> Curves:
    """Measures how the class probability follows the pixels that a map calls important.

    Source: RISE (Petsiuk et al., BMVC 2018): deleted pixels become the mean colour; insertion starts from the blurred
    frame, here its bilinear 14 x 14 version.

    Args:
        network: maps normalised frames to class scores; in evaluation mode.
        frame: (3, H, W) float32, ImageNet-normalised.
        order_map: (H, W) real; pixels of larger values go first, equal ones in reading order.
        class_index: the class whose probability is followed.
        steps: equal portions in which pixels are deleted or inserted, at least 1.

    Returns:
        Both curves.

    Raises:
        ValueError: if the shapes do not agree or there is no step.
    """
    if frame.ndim != 3 or order_map.shape != frame.shape[1:] or steps < 1:
        shapes = f"{tuple(frame.shape)}, {tuple(order_map.shape)}"
        raise ValueError(f"a frame (3, H, W), its map (H, W) and at least 1 step are needed, got {shapes} and {steps}")
    rank = torch.empty(order_map.numel(), dtype=torch.long, device=frame.device)
    order = order_map.flatten().argsort(descending=True, stable=True)
    rank[order] = torch.arange(len(rank), device=frame.device)
    rank = rank.reshape(order_map.shape)
    blurred = _blurred(frame)

    def inputs() -> Iterator[Tensor]:
        for start in (torch.zeros_like(frame), blurred):
            for step in range(steps + 1):
                taken = rank < math.ceil(rank.numel() * step / steps)
                yield torch.where(taken, start, frame) if start is not blurred else torch.where(taken, frame, start)

    probabilities = _probabilities(network, inputs(), class_index)
    return Curves(probabilities[: steps + 1], probabilities[steps + 1 :])


def centre_map(height: int, width: int) -> Tensor:
    """A map that falls from the middle of the frame outwards: the guess that needs no network.

    Returns:
        (height, width) float32, 1 in the middle, 0 in the corners.
    """
    y, x = (torch.linspace(-1, 1, size).square() for size in (height, width))
    return 1 - (y[:, None] + x) / 2


def shifted_map(order_map: Tensor, seed: int) -> Tensor:
    """Moves a map (H, W) around the frame by a random distance: the same shape at another place.

    The distance is at least a quarter of the frame along both axes.
    """
    generator = torch.Generator().manual_seed(seed)
    shifts = [
        int(torch.randint(size // 4, max(size // 4 + 1, size - size // 4), (1,), generator=generator))
        for size in order_map.shape
    ]
    return order_map.roll(shifts, (0, 1))


@dataclass(frozen=True)
class Energy:
    """Where the energy of maps lies; each (T,) float64, NaN where there is no map.

    Attributes:
        centre: share in the central quarter of the area; 0.25 for an even map.
        half_area: smallest share of the area that holds half of the energy; 0.5 for an even map.
        entropy: Shannon entropy divided by that of an even map, 0 (one pixel) to 1 (even).
    """

    centre: Tensor
    half_area: Tensor
    entropy: Tensor


def map_energy(maps: Tensor) -> Energy:
    """Measures how a map's energy, the sum of its values, is spread.

    Args:
        maps: (T, H, W) real, 0..1.
    """
    values = maps.double()
    height, width = values.shape[1:]
    total = values.sum((1, 2))
    shares = values.flatten(1) / total[:, None]
    inner = values[:, height // 4 : height - height // 4, width // 4 : width - width // 4]
    falling = shares.sort(dim=1, descending=True).values.cumsum(1)
    half = ((falling < 0.5).sum(1) + 1) / shares.shape[1]
    entropy = -torch.xlogy(shares, shares).sum(1) / math.log(max(2, shares.shape[1]))
    missing = total <= 0
    return Energy(*(value.masked_fill(missing, math.nan) for value in (inner.sum((1, 2)) / total, half, entropy)))


def _area(curve: Tensor) -> float:
    return float(torch.trapezoid(curve, dx=1 / (len(curve) - 1)))


def _blurred(frame: Tensor) -> Tensor:
    side = (_BLUR_SIDE_PX, _BLUR_SIDE_PX)
    small = functional.interpolate(frame[None], size=side, mode="bilinear", antialias=True)
    return functional.interpolate(small, size=frame.shape[1:], mode="bilinear")[0]


@torch.inference_mode()
def _probabilities(network: nn.Module, inputs: Iterator[Tensor], class_index: int) -> Tensor:
    """Returns the probability (n,) float64 of a class for each input."""
    found, waiting = [], list[Tensor]()
    for one in inputs:
        waiting.append(one)
        if len(waiting) == _BATCH:
            found.append(_softmax(network, waiting, class_index))
            waiting = []
    if waiting:
        found.append(_softmax(network, waiting, class_index))
    return torch.cat(found)


def _softmax(network: nn.Module, frames: list[Tensor], class_index: int) -> Tensor:
    with arithmetic("float32", frames[0].device):
        logits: Tensor = network(torch.stack(frames))
    return logits.double().softmax(1)[:, class_index].cpu()
