"""The stream of clips through torch's loader: tensors, decoding in other processes, and copies to a device."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from ugcvqa.features.computing import compute
from ugcvqa.features.merging import AT_ONCE_BYTES, merged
from ugcvqa.features.stream import ClipStream, Item
from ugcvqa.loaders import check_shared_memory, loader
from ugcvqa.processes import loader_errors


class ClipDataset(IterableDataset[Item]):
    """A stream of clips as torch's loader takes it, shared out over its workers.

    Args:
        stream: the clips.
        is_on_gpu: whether a GPU computes what follows. Light families, too small for it, are then computed here, in the
            processes that decode, so that both are busy; the pieces of the others are put together, see `merging`.
    """

    def __init__(self, stream: ClipStream, is_on_gpu: bool = False) -> None:
        super().__init__()
        self._stream, self._is_on_gpu = stream, is_on_gpu
        self._computed = stream.light if is_on_gpu else {}

    def __iter__(self) -> Iterator[Item]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        items = self._stream.share(number, count)
        for item in merged(items, self._stream.per_frame) if self._is_on_gpu else items:
            tensors = item.tensors()
            if item.family in self._computed:
                (features,) = compute(self._computed, [tensors])
                tensors = replace(tensors, frames={}, features=features)
            yield tensors


def check_room(stream: ClipStream, batch_size: int, workers: int, is_on_gpu: bool) -> None:
    """Checks that the pieces of a stream fit into shared memory.

    Args:
        stream: the clips.
        batch_size: pieces per batch.
        workers: processes that decode, of all ranks of this machine.
        is_on_gpu: as for `ClipDataset`.

    Raises:
        ConfigError: if they do not.
    """
    if workers:
        whole = AT_ONCE_BYTES if is_on_gpu and stream.per_frame else 0
        check_shared_memory(batch_size * max(whole, stream.piece_bytes()), workers)


def through_loader(
    stream: ClipStream, computing: Callable[[list[Item]], list[Any]], batch_size: int, workers: int, device: str
) -> Iterator[tuple[list[Item], list[Any]]]:
    """Yields the items of a stream by batches, as tensors on a device, with what is computed of them.

    Args:
        stream: the clips.
        computing: what computes the items of a batch; called here, where a lost process that decodes is noticed.
        batch_size: items per batch.
        workers: processes that decode; 0 decodes in this one.
        device: where the tensors go.

    Raises:
        UgcvqaError: if a process that decodes has died.
        ConfigError: if shared memory is too small for them.
    """
    target = torch.device(device)
    is_on_gpu = target.type == "cuda"
    check_room(stream, batch_size, workers, is_on_gpu)
    clips = loader(ClipDataset(stream, is_on_gpu), list, workers, is_on_gpu, batch_size=batch_size, in_order=False)
    with warnings.catch_warnings(), loader_errors():
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        for batch in clips:
            items = [item.to(target) for item in batch]
            yield items, computing(items)
