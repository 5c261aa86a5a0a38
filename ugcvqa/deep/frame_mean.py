"""The mean over the frames of a video, as their features arrive."""

from typing import Protocol

import torch
from torch import Tensor

from ugcvqa.deep.pooling import check_features
from ugcvqa.settings.features import Precision

_ROWS_IN_BULK = 4096  # features that wait on a GPU: 64 MiB of VSFA's


class Network(Protocol):
    """A frozen network by its name and arithmetic."""

    name: str
    precision: Precision


class FrameMean:
    """Streams the features of a video's frames into their mean.

    Sums in float64 one frame after the other, so that the result does not depend on how frames are grouped into
    calls.

    Args:
        network: whose features they are, for the message where they are not finite.
        keep: also keeps every frame's features; memory then grows with the video (16 KiB per frame of VSFA).
    """

    def __init__(self, network: Network, keep: bool = False) -> None:
        self._network = network
        self._total: Tensor | None = None
        self._count = 0
        self._kept: list[Tensor] | None = [] if keep else None
        self._waiting: list[Tensor] = []  # on a GPU

    def add(self, features: Tensor) -> None:
        """Takes the features (D,) of the next frame, or (T, D) of the next T frames; a GPU's are copied in bulk."""
        rows = features.detach().reshape(-1, features.shape[-1])
        if rows.device.type == "cpu":
            self._take(rows)
            return
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= _ROWS_IN_BULK:
            self._copy()

    def _copy(self) -> None:
        if self._waiting:
            self._take(torch.cat(self._waiting).cpu())
            self._waiting.clear()

    def _take(self, rows: Tensor) -> None:
        for row in rows.double():
            self._total = row.clone() if self._total is None else self._total.add_(row)
        self._count += len(rows)
        if self._kept is not None:
            self._kept.append(rows.clone())

    def result(self) -> dict[str, Tensor]:
        """Returns what is known of the frames so far.

        Returns:
            `video`, the mean over all frames (D,) float64, and `frames`, their features (N, D) in the dtype they came
            in, if these were kept.

        Raises:
            ValueError: if there was no frame.
            ConfigError: if the mean is not finite, as can happen in float16.
        """
        self._copy()
        if self._total is None:
            raise ValueError("the mean over no frames is not defined")
        video = self._total / self._count
        check_features(video, self._network.name, self._network.precision)
        return {"video": video, **({"frames": torch.cat(self._kept)} if self._kept else {})}
