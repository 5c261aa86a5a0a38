"""Many GRU heads as one computation: their parameters are stacked, and each scores videos of its own.

PyTorch's GRU cannot be computed for several sets of weights at once, so its gates are written out here, with a batched
product over the heads at each step of time. On a GPU a step then costs about the same for one head as for many.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ugcvqa.heads.gru import VSFAHead, product_type, temporal_pool


def stacked_parameters(heads: Sequence[VSFAHead]) -> dict[str, Tensor]:
    """Stacks the parameters of heads of one shape along a new first dimension, as leaves that take gradients."""
    parameters, _ = torch.func.stack_module_state(list[nn.Module](heads))
    return dict(parameters)


def stacked_scores(parameters: Mapping[str, Tensor], frames: Tensor, lengths: Tensor, tau: int, beta: float) -> Tensor:
    """Scores the videos of each of S heads, as `VSFAHead.forward` does for one.

    Source: VSFA (Li, Jiang, Jiang, 2019), section 3.2; the gates are those of `torch.nn.GRU`.

    Args:
        parameters: name -> (S, ...) parameters of S heads, by the names of `VSFAHead`.
        frames: (S, F, D) frames of the B videos of each head, end to end; what stands behind the last one is ignored.
            In the precision in which the linear map, and nothing else, is computed.
        lengths: (S, B) frames of each video, at least 1.
        tau: window of the temporal pooling, in frames.
        beta: weight of the present against the memory.

    Returns:
        (S, B) float32 relative scores.
    """
    dtype = product_type(frames)
    reduced = torch.bmm(frames.to(dtype), parameters["projection.weight"].to(dtype).mT)
    reduced = reduced.float() + parameters["projection.bias"][:, None]
    gates = _affine(reduced, parameters["gru.weight_ih_l0"], parameters["gru.bias_ih_l0"])
    hidden = _unrolled(parameters, _by_time(gates, lengths))
    n_steps, n_heads, n_videos, width = hidden.shape
    rows = hidden.permute(1, 2, 0, 3).reshape(n_heads, n_videos * n_steps, width)
    q = _affine(rows, parameters["quality.weight"], parameters["quality.bias"])
    flat = lengths.reshape(-1)
    pooled = temporal_pool(q.reshape(n_heads * n_videos, n_steps), flat, tau, beta).sum(1) / flat
    return pooled.reshape(n_heads, n_videos)


def _affine(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias[:, None], values, weight.mT)


def _by_time(gates: Tensor, lengths: Tensor) -> Tensor:
    """Deals rows (S, F, G) that lie end to end out to videos: (T, S, B, G), something finite behind their ends."""
    heads = torch.arange(len(gates), device=gates.device)[:, None]
    starts = lengths.cumsum(1) - lengths
    steps = torch.arange(int(lengths.max()), device=gates.device)[:, None, None]
    return gates[heads, (starts + steps).clamp(max=gates.shape[1] - 1)]


def _unrolled(parameters: Mapping[str, Tensor], gates: Tensor) -> Tensor:
    """Runs the recurrence over gates (T, S, B, 3 H) of the inputs to hidden states (T, S, B, H)."""
    weight = parameters["gru.weight_hh_l0"].mT
    bias = parameters["gru.bias_hh_l0"][:, None]
    width = weight.shape[1]
    hidden = gates.new_zeros(*gates.shape[1:3], width)
    states = []
    for given in gates.unbind():
        own = torch.baddbmm(bias, hidden, weight)
        opening = torch.sigmoid(given[..., : 2 * width] + own[..., : 2 * width])
        reset, update = opening.split(width, dim=-1)
        new = torch.tanh(given[..., 2 * width :] + reset * own[..., 2 * width :])
        hidden = torch.lerp(new, hidden, update)
        states.append(hidden)
    return torch.stack(states)
