"""VSFA's head: frame features through a linear map and a GRU to frame qualities, pooled over time to one score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from ugcvqa.arrays import Array
from ugcvqa.errors import CheckpointError
from ugcvqa.files import error_reason
from ugcvqa.settings.training import GRUSettings

# Published name -> ours. `ann.fc` is built but never used by the published code, so it is not kept.
_PUBLISHED_NAMES = {"ann.fc0": "projection", "rnn": "gru", "q": "quality"}
_UNUSED = ("ann.fc.weight", "ann.fc.bias")


@dataclass(frozen=True)
class MOSLine:
    """The straight line from a network's relative score to the MOS scale.

    Attributes:
        offset: MOS of the relative score 0.
        slope: MOS per unit of relative score; for a loss with absolute error the label scale it was trained with.
    """

    offset: float
    slope: float

    @classmethod
    def fitted(cls, relative: Array, mos: Array) -> Self:
        """The least-squares line from relative scores (N,) to MOS (N,), for a loss that leaves the scale open."""
        slope, offset = np.polyfit(relative, mos, 1)
        return cls(float(offset), float(slope))

    def __call__(self, relative: Array) -> Array:
        """Maps relative scores (N,) to MOS."""
        return self.offset + self.slope * relative


class VSFAHead(nn.Module):
    """Maps the frame features of videos to one quality each.

    Source: VSFA (Li, Jiang, Jiang, 2019), section 3.2, and its public code, with its initialisation: under one seed
    the parameters equal those of the published code. Ends of a video use shortened windows, which is what the
    published padding amounts to.

    Args:
        input_dim: length D of a frame's features.
        reduced_dim: outputs of the linear map.
        hidden_dim: units of the GRU.
        tau: frames of the memory and of the present window, this frame included.
        beta: weight of the present against the memory, 0..1.
    """

    def __init__(
        self, input_dim: int = 4096, reduced_dim: int = 128, hidden_dim: int = 32, tau: int = 12, beta: float = 0.5
    ) -> None:
        super().__init__()
        self.tau, self.beta = tau, beta
        self.projection = nn.Linear(input_dim, reduced_dim)
        nn.Linear(reduced_dim, reduced_dim)  # draws what the published code draws for its unused layer
        self.gru = nn.GRU(reduced_dim, hidden_dim, batch_first=True)
        self.quality = nn.Linear(hidden_dim, 1)

    def forward(self, frames: Tensor, lengths: Sequence[int]) -> Tensor:
        """Scores videos whose frames are laid end to end, so that no padding goes through the linear map.

        Args:
            frames: (sum of lengths, D); float32, or bfloat16 and on a GPU float16, in which the linear map, and
                nothing else, is then computed.
            lengths: frames of each of B videos, at least 1.

        Returns:
            (B,) float32 scores on the scale that the head was trained on.
        """
        valid = torch.tensor(list(lengths), device=frames.device)
        return self.frame_scores(frames, lengths).sum(1) / valid

    def frame_scores(self, frames: Tensor, lengths: Sequence[int]) -> Tensor:
        """Computes what each frame adds to the mean that is the score, memory of bad moments included.

        Args:
            frames: as in `forward`.
            lengths: as in `forward`.

        Returns:
            (B, longest) float32, 0 behind the end of a video.
        """
        valid = torch.tensor(list(lengths), device=frames.device)
        return temporal_pool(self.frame_quality(frames, lengths), valid, self.tau, self.beta)

    def frame_quality(self, frames: Tensor, lengths: Sequence[int]) -> Tensor:
        """Computes the quality of each frame before temporal pooling.

        Args:
            frames: as in `forward`.
            lengths: as in `forward`.

        Returns:
            (B, longest) float32; what stands behind the end of a video means nothing.
        """
        reduced = _project(self.projection, frames)
        with torch.autocast(frames.device.type, enabled=False):
            padded = pad_sequence(list(reduced.float().split(list(lengths))), batch_first=True)
            hidden, _ = self.gru(padded)  # causal, so padding never reaches the frames before it
            qualities: Tensor = self.quality(hidden)
            return qualities.squeeze(2)


def build_gru(settings: GRUSettings, input_dim: int) -> VSFAHead:
    """Builds an untrained GRU head; the recipe's seed determines its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.recipe.seed)
        return VSFAHead(input_dim, settings.reduced_dim, settings.hidden_dim, settings.tau, settings.beta)


def temporal_pool(q: Tensor, lengths: Tensor, tau: int, beta: float) -> Tensor:
    """Pools frame qualities as viewers remember them: they resent drops and forgive slowly.

    Source: VSFA (Li, Jiang, Jiang, 2019), equations 5 to 9: beta m_t + (1 - beta) l_t with the memory l_t, the
    minimum over frames t-tau+1..t, and the present m_t, the mean over t..t+tau-1 with weights exp(-q). Windows end
    at the ends of the video. The weights are a softmax, which shifts out the minimum, so large |q| are safe.

    Args:
        q: (B, T) frame qualities; whatever stands at t >= length, even NaN, is ignored.
        lengths: (B,) frames of each video.
        tau: window length in frames, at least 1.
        beta: weight of the present, 0..1.

    Returns:
        (B, T) float32, 0 behind the end of a video.
    """
    with torch.autocast(q.device.type, enabled=False):
        steps = torch.arange(q.shape[1], device=q.device)
        behind = steps >= lengths[:, None]
        q = q.float().masked_fill(behind, 0)
        memory = -functional.max_pool1d(functional.pad(-q, (tau - 1, 0), value=-torch.inf), tau, stride=1)
        # Finite, so that windows that lie wholly behind the end give 0 and no NaN.
        logits = (-q).masked_fill(behind, torch.finfo(torch.float32).min)
        ahead = functional.pad(q, (0, tau - 1)).unfold(1, tau, 1)
        weights = functional.pad(logits, (0, tau - 1), value=torch.finfo(torch.float32).min).unfold(1, tau, 1)
        present = (ahead * weights.softmax(2)).sum(2)
        return (beta * present + (1 - beta) * memory).masked_fill(behind, 0)


def published_head(path: Path, tau: int = 12, beta: float = 0.5) -> tuple[VSFAHead, float | None]:
    """Loads a state dict as VSFA's authors and later users of its code publish it.

    Args:
        path: a .pt or .pth file, or .npz with one array per parameter.
        tau: window of the temporal pooling, which the file does not hold.
        beta: weight of the present, which the file does not hold.

    Returns:
        The head, in evaluation mode, and the label scale if the file names it (published .pt files do not).

    Raises:
        CheckpointError: if the file cannot be read or holds something else.
    """
    state = _read_state(path)
    scale = state.pop("label_scale", None)
    named = {_our_name(name): value for name, value in state.items() if name not in _UNUSED}
    try:
        reduced_dim, input_dim = named["projection.weight"].shape
        head = VSFAHead(input_dim, reduced_dim, named["gru.weight_hh_l0"].shape[1], tau, beta)
        head.load_state_dict({name: value.float() for name, value in named.items()})
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: is not a state dict of a VSFA head ({error_reason(error)})") from error
    return head.eval(), None if scale is None else float(scale)


def _project(projection: nn.Linear, frames: Tensor) -> Tensor:
    """Applies the linear map in the precision of the frames."""
    is_slow = frames.dtype == torch.float16 and frames.device.type == "cpu"
    dtype = torch.float32 if is_slow else frames.dtype
    weight, bias = projection.weight.to(dtype), projection.bias
    # The bias is added in float32: it would lose digits that nothing is gained by.
    return functional.linear(frames.to(dtype), weight).float() + bias


def _read_state(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(np.array(arrays[name])) for name in arrays.files}
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle or archive can raise nearly anything
        raise CheckpointError(f"{path}: cannot be read as a state dict ({error_reason(error)})") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no plain state dict (names and tensors)")
    return dict(state)


def _our_name(name: str) -> str:
    module, _, parameter = name.rpartition(".")
    return f"{_PUBLISHED_NAMES.get(module, module)}.{parameter}"
