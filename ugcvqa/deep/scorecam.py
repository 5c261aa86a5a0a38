"""Score-CAM: which parts of a frame a classifier's decision rests on."""

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.deep.masking import MaskedScores, unit_range, upsample
from ugcvqa.deep.precision import arithmetic
from ugcvqa.deep.taps import tap
from ugcvqa.errors import ConfigError, WeightsError
from ugcvqa.settings.features import Engine, Precision

PRECISIONS = get_args(Precision)
"""Arithmetic of the scoring passes. Everything else is float32 or better, whatever the choice."""

FLAT = 1e-6
"""A channel whose upsampled activation spans at most this part of its peak is constant up to rounding."""

RANGE_MAPS = 16
"""Maps that are enlarged together to find their range; more would leave the cache."""


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

    Args:
        network: maps normalised frames (n, 3, H, W) to class scores (n, classes); it is frozen and set to evaluation
            mode.
        layer: name of the target layer, e.g. `features.29` of VGG-16 (last ReLU).
        memory_mib: bound for the working memory of one batch of scoring passes, see `MaskedScores`.
        precision: one of `PRECISIONS`, for the scoring passes only.
        method: "exact"; approximate ones by name: "top:N" scores only the N channels of largest mean
            activation, "half" scores at half the frame's height and width.
        engine: of the scoring passes, see `chosen_engine`.

    Raises:
        ConfigError: if a setting is unknown or the network has no such layer.
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
        super().__init__()
        if precision not in PRECISIONS:
            raise ConfigError(f"saliency precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
        self.network = network.eval().requires_grad_(False)
        self.layer, self.precision = layer, precision
        self.is_half, self.top = method == "half", parse_method(method)
        self._score = MaskedScores(self.network, memory_mib, precision, engine)
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
        self._score.batch_size(inputs)  # frames that are too small fail here
        logits, activations = self._first_pass(frames)
        if class_index is not None and not 0 <= class_index < logits.shape[1]:
            raise ValueError(f"class {class_index} does not exist: the network has classes 0..{logits.shape[1] - 1}")
        classes = logits.argmax(1) if class_index is None else torch.full_like(logits[:, 0], class_index).long()
        pairs = self._channels(activations, size).nonzero()
        found = self._score(inputs, activations, pairs, classes)
        # looked at together, as a GPU is waited for each time
        is_wrong = torch.stack([~frames.isfinite().all(), ~logits.isfinite().all(), found.isnan().any()]).tolist()
        if is_wrong[0]:
            raise ValueError("frames hold NaN or infinite values")
        if is_wrong[1]:
            raise WeightsError("class scores of the unmasked frames are not finite; the weight file is broken")
        if is_wrong[2]:
            raise WeightsError(f"class scores of masked frames are not finite in {self.precision}; use float32")
        scores = torch.full(activations.shape[:2], torch.nan, device=frames.device)
        scores[tuple(pairs.unbind(1))] = found
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
        if activations[0].ndim != 4:
            raise ConfigError(f"layer {self.layer!r} puts out {tuple(activations[0].shape)}, not maps (T, K, u, v)")
        return torch.cat(logits), torch.cat(activations)

    def _channels(self, activations: Tensor, size: tuple[int, int]) -> Tensor:
        """Returns (T, K) bool: channels to score, that is, all whose enlarged activation is not constant."""
        flat = activations.flatten(0, 1)
        varying = (flat.amax((1, 2)) > flat.amin((1, 2))).nonzero()[:, 0]  # others are constant when enlarged, too
        parts = flat[varying].split(RANGE_MAPS)
        low, high = torch.cat([torch.stack(upsample(part, size).flatten(1).aminmax(dim=1)) for part in parts], dim=1)
        used = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
        used[varying] = high - low > FLAT * high.abs()
        used = used.reshape(activations.shape[:2])
        if self.top is None:
            return used
        energy = activations.mean((2, 3)).masked_fill(~used, -torch.inf)
        best = energy.argsort(dim=1, descending=True, stable=True)[:, : self.top]
        return used & torch.zeros_like(used).scatter_(1, best, True)


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


def check_frames(frames: Tensor) -> None:
    """Checks that frames can enter a network.

    Raises:
        ValueError: if they are not (T, 3, H, W), T >= 1, float32.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or frames.numel() == 0:
        raise ValueError(f"frames must be (T, 3, H, W) with T >= 1, got {tuple(frames.shape)}")
    if frames.dtype != torch.float32:
        raise ValueError(f"frames must be float32, normalised for the network, got {frames.dtype}")
