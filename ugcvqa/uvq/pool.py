"""From groups of frames to a video: what replaces missing frames, and means over seconds as they arrive."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ugcvqa.uvq.networks import GROUP_FRAMES, UVQ10, UVQ15, Outputs


class Seconds(NamedTuple):
    """What UVQ says about consecutive groups of frames.

    Attributes:
        outputs: a row per group; one more, of black frames, if groups without frames follow.
        weights: (S,) float64, weight of each row in the mean over the video.
        repeats: (S,) int64, groups that each row represents.
    """

    outputs: Outputs
    weights: Tensor
    repeats: Tensor


def uvq10_seconds(network: UVQ10, frames: Mapping[str, Tensor]) -> Seconds:
    """Computes one piece of UVQ 1.0; missing frames are black.

    Args:
        network: UVQ 1.0.
        frames: forms "fit720" and "fit496" and the facts of `frames.uvq_pieces`.
    """
    big, small, counts = frames["fit720"], frames["fit496"], frames["counts"].tolist()
    if sum(counts) < GROUP_FRAMES * len(counts):
        groups = [_filled(group, GROUP_FRAMES) for group in big.split(counts)]
        big = torch.cat(groups)
    big = big.unflatten(0, (-1, GROUP_FRAMES))
    if int(frames["n_black"]):
        big, small = (torch.cat([part, torch.zeros_like(part[:1])]) for part in (big, small))
    return _seconds(network(big, small), frames)


def uvq15_seconds(network: UVQ15, frames: Mapping[str, Tensor]) -> Seconds:
    """Computes one piece of UVQ 1.5; missing frames are black.

    Args:
        network: UVQ 1.5.
        frames: form "stretch1080" and the facts of `frames.uvq_pieces`.
    """
    pictures = frames["stretch1080"]
    if int(frames["n_black"]):
        pictures = _filled(pictures, len(pictures) + 1)
    return _seconds(network(pictures), frames)


def _filled(frames: Tensor, n: int) -> Tensor:
    return torch.cat([frames, frames.new_zeros(n - len(frames), *frames.shape[1:])])


def _seconds(outputs: Outputs, frames: Mapping[str, Tensor]) -> Seconds:
    weights, n_black = frames["weights"].cpu(), int(frames["n_black"])
    repeats = torch.ones(len(weights), dtype=torch.int64)
    if n_black:
        weights, repeats = (
            torch.cat([weights, weights.new_ones(1)]),
            torch.cat([repeats, repeats.new_tensor([n_black])]),
        )
    return Seconds(outputs, weights, repeats)


class SecondsMean:
    """Streams the groups of a video into the mean over them.

    Sums in float64 one group after the other, so that the result does not depend on how they arrive. Only the scores
    of every group are kept, and on request its features.

    Args:
        keep: also keeps every group's features; memory then grows with the video (2.4 KiB per second).
    """

    def __init__(self, keep: bool = False) -> None:
        self._totals: list[Tensor] = []
        self._weight = 0.0
        self._scores, self._features, self._keep = list[Tensor](), list[Tensor](), keep

    def add(self, seconds: Seconds) -> None:
        """Takes the next groups, in time order."""
        rows = [part.cpu() for part in seconds.outputs]
        self._totals = self._totals or [torch.zeros(part.shape[1], dtype=torch.float64) for part in rows]
        weights = (seconds.weights * seconds.repeats).tolist()
        for total, part in zip(self._totals, rows, strict=True):
            for row, weight in zip(part.double(), weights, strict=True):
                total.add_(row, alpha=weight)
        self._weight += sum(weights)
        self._scores.append(rows[0].repeat_interleave(seconds.repeats, 0))
        if self._keep:
            self._features.append(rows[1].repeat_interleave(seconds.repeats, 0))

    def result(self) -> dict[str, Tensor]:
        """Returns the means, by the names of `Outputs`, with `video` for the features.

        Returns:
            `video` (D,), `scores` (n,), `topics`, `distortions` and `levels`, float64; `seconds` (S, n), the scores
            of every group, and `frames` (S, D) float32, its features, if they were kept.

        Raises:
            ValueError: if there was no group.
        """
        if not self._totals:
            raise ValueError("the mean over no frames is not defined")
        scores, video, topics, distortions, levels = (total / self._weight for total in self._totals)
        means = {"video": video, "scores": scores, "topics": topics, "distortions": distortions, "levels": levels}
        kept = {"frames": torch.cat(self._features)} if self._keep else {}
        return {**means, "seconds": torch.cat(self._scores), **kept}
