"""Feature families as frozen networks: which frames they need, what they compute, how they pool over a video.

Everything here is plain torch and works without Lightning; `extractors.py` adds the Trainer.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor, nn

from ugcvqa import sampling
from ugcvqa.errors import VideoError
from ugcvqa.nss import NSS, SMALLEST_SIDE_PX, ChunkMean
from ugcvqa.sampling import Piece
from ugcvqa.settings import FamilySettings, NSSSettings


class Pool(Protocol):
    """Streams the features of a video's pieces into one vector."""

    def add(self, features: Tensor) -> None:
        """Takes the features of the next piece, in time order."""

    def result(self) -> Tensor:
        """Returns the video vector (D,) float64."""


class Family(Protocol):
    """What every family's network offers."""

    def __call__(self, frames: Mapping[str, Tensor]) -> Tensor:
        """Computes the features of one piece."""

    def pool(self) -> Pool:
        """Starts the pooling of one video."""


def nss_plan(short: str, n_frames: int, rate: Fraction, size: tuple[int, int]) -> Iterator[Piece]:
    """Yields the pieces of the NSS family: one per one-second chunk.

    Args:
        short: `error` or `nan`, see `NSSSettings`.
        n_frames: frames of the video.
        rate: frames per second.
        size: (height, width) of a frame; NSS samples the same frames at every size.

    Raises:
        VideoError: if a side is too small for the filters, or the video holds no chunk and `short` is `error`.
    """
    if min(size) < SMALLEST_SIDE_PX:
        raise VideoError(
            f"too small for NSS features: frames of {size[1]} x {size[0]} pixels, at least {SMALLEST_SIDE_PX} on each "
            "side are needed; leave the video out"
        )
    is_empty = True
    for piece in sampling.nss_pieces(n_frames, rate):
        is_empty = False
        yield piece
    if is_empty and short == "error":
        needed = sampling.rounded_rate(rate) // 2 + 2
        raise VideoError(
            f"too short for NSS features: {n_frames} frames at {float(rate):.4g} per second, at least {needed} "
            "are needed; leave the video out or set short=nan"
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps torch to one CPU thread: on small maps several only wait for each other, the more on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class NSSFamily(nn.Module):
    """RAPIQUE's 1,836 natural scene statistics, averaged over one-second chunks."""

    def __init__(self, settings: NSSSettings) -> None:
        super().__init__()
        self.network = NSS(settings.colour, settings.precision, settings.min_side)

    def forward(self, frames: Mapping[str, Tensor]) -> Tensor:
        """Computes one chunk: planes "y", "u", "v" as `sampling.nss_pieces` orders them -> (1836,) float64."""
        with torch.inference_mode(), _one_thread():
            features: Tensor = self.network(frames["y"], frames["u"], frames["v"])
        return features

    def pool(self) -> Pool:
        """Starts the mean over chunks (NaN ignored per dimension)."""
        return ChunkMean()


def build_families(names: tuple[str, ...], settings: FamilySettings) -> nn.ModuleDict:
    """Builds the frozen networks of the named families, in evaluation mode."""
    builders = {"nss": lambda: NSSFamily(settings.nss)}
    return nn.ModuleDict({name: builders[name]() for name in names}).eval()
