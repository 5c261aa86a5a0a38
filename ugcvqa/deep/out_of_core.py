"""Linear layers larger than memory should hold: their weights lie in a file and are read when they are needed."""

import logging
import tempfile
import weakref

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.files import error_reason

log = logging.getLogger(__name__)

LARGE_BYTES = 32 << 20
"""Weights of this size or more leave memory."""

_BLOCK_BYTES = 16 << 20


class OutOfCoreLinear(nn.Module):
    """Computes a linear layer from weights in a temporary file, a block of outputs at a time.

    Reading costs a copy of the weights for each call, so calls should bring many rows. The file is in Python's
    folder for temporary files (`$TMPDIR`), has no name and goes with the process.

    Args:
        linear: the layer, float32 on the CPU. It is not changed.

    Raises:
        OSError: if the file cannot be written.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (open as long as the layer lives)
        weakref.finalize(self, self._file.close)
        remaining = linear.weight.detach().contiguous().numpy().data.cast("B")
        while remaining:
            remaining = remaining[self._file.write(remaining) :]

    def forward(self, x: Tensor) -> Tensor:
        """Computes (..., in_features) -> (..., out_features), on the device of `x`."""
        results = []
        for start in range(0, self.out_features, self._rows_per_block):
            weight = self._weights(start, min(self._rows_per_block, self.out_features - start)).to(x.device)
            bias = None if self.bias is None else self.bias[start : start + len(weight)].to(x.device)
            results.append(functional.linear(x, weight, bias))
        return torch.cat(results, -1)

    @property
    def _rows_per_block(self) -> int:
        return max(1, _BLOCK_BYTES // (4 * self.in_features))

    def _weights(self, start: int, count: int) -> Tensor:
        """Reads the weights (count, in_features) of some outputs."""
        weights = np.empty((count, self.in_features), np.float32)
        remaining = weights.data.cast("B")
        self._file.seek(4 * self.in_features * start)
        while remaining:
            remaining = remaining[self._file.readinto(remaining) :]
        return torch.from_numpy(weights)


def move_out_of_core(network: nn.Module) -> None:
    """Moves the weights of a network's large linear layers from memory to temporary files.

    Where no such file can be written the layer stays as it is.

    Args:
        network: on the CPU; its modules are changed.
    """
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Linear) and layer.weight.dtype == torch.float32 and layer.weight.nbytes >= LARGE_BYTES:
            try:
                network.set_submodule(name, OutOfCoreLinear(layer))
            except OSError as error:
                log.warning("%s stays in memory: %s", name, error_reason(error))
