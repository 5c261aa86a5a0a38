"""Torch's loaders as used here: batches travel through shared memory, which is scarce in containers."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from ugcvqa.errors import ConfigError, UgcvqaError
from ugcvqa.processes import watch_parent

SHARED_MEMORY = Path("/dev/shm")
_BATCHES = 3  # of each process: two that wait, and the one that is computed
_MIB = 2**20


def loader(dataset: Any, collate: Callable[[Any], Any], workers: int, is_on_gpu: bool, **more: Any) -> DataLoader[Any]:  # noqa: ANN401 (torch's own arguments)
    """Makes a loader whose processes end with this one, and say what is wrong where shared memory is full.

    Args:
        dataset: as torch takes it.
        collate: makes a batch of samples: tensors, objects with `share_memory()`, or lists or tuples of these.
        workers: processes that load; 0 loads in this one.
        is_on_gpu: batches of such processes are put into page-locked memory.
        more: further arguments of torch's loader.
    """
    is_pinned = workers > 0 and is_on_gpu
    own: dict[str, Any] = {"num_workers": workers, "worker_init_fn": watch_parent, "pin_memory": is_pinned}
    return DataLoader(dataset, collate_fn=_Shared(collate), **own, **more)


def check_shared_memory(batch_bytes: int, workers: int) -> None:
    """Checks that what the loading processes of this machine hold at a time fits into shared memory.

    Args:
        batch_bytes: of one batch.
        workers: loading processes of all ranks of this machine.

    Raises:
        ConfigError: if it does not.
    """
    try:
        status = os.statvfs(SHARED_MEMORY)
    except (OSError, AttributeError):  # not Linux
        return
    free, each = status.f_bavail * status.f_frsize, _BATCHES * batch_bytes
    if free < workers * each:
        raise ConfigError(
            f"{SHARED_MEMORY} has {free // _MIB} MiB free, {workers} loading processes need about "
            f"{-(-workers * each // _MIB)} MiB: give a container more (docker run --shm-size 8g, or --ipc host), or "
            f"--loader.workers {free // each}"
        )


@dataclass(frozen=True)
class _Shared:
    """Puts batches into shared memory where that can be reported; torch does so in a thread that loses the error."""

    collate: Callable[[Any], Any]

    def __call__(self, samples: Any) -> Any:  # noqa: ANN401
        batch = self.collate(samples)
        if get_worker_info() is not None:
            try:
                _share(batch)
            except RuntimeError as error:
                if "shared memory" not in str(error):
                    raise
                raise UgcvqaError(
                    f"{SHARED_MEMORY} is full; what is finished is kept: give a container more (docker run --shm-size "
                    "8g, or --ipc host), or fewer --loader.workers, and run the same command again"
                ) from error
        return batch


def _share(value: Any) -> None:  # noqa: ANN401
    if isinstance(value, Tensor):
        value.share_memory_()
    elif isinstance(value, list | tuple):
        for part in value:
            _share(part)
    elif hasattr(value, "share_memory"):
        value.share_memory()
