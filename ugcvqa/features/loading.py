"""The stream of clips through torch's loader: tensors, decoding in other processes, and copies to a device."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ugcvqa.features.stream import ClipStream, Item
from ugcvqa.processes import loader_errors, watch_parent


class ClipDataset(IterableDataset[Item]):
    """A stream of clips as torch's loader takes it, shared out over its workers.

    Args:
        stream: the clips.
    """

    def __init__(self, stream: ClipStream) -> None:
        super().__init__()
        self._stream = stream

    def __iter__(self) -> Iterator[Item]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        for item in self._stream.share(number, count):
            yield item.tensors()


def through_loader(
    stream: ClipStream, compute: Callable[[list[Item]], list[Any]], batch_size: int, workers: int, device: str
) -> Iterator[tuple[list[Item], list[Any]]]:
    """Yields the items of a stream by batches, as tensors on a device, with what is computed of them.

    Args:
        stream: the clips.
        compute: what computes the items of a batch; called here, where a lost process that decodes is noticed.
        batch_size: items per batch.
        workers: processes that decode; 0 decodes in this one.
        device: where the tensors go.

    Raises:
        UgcvqaError: if a process that decodes has died.
    """
    target = torch.device(device)
    is_pinned = workers > 0 and target.type == "cuda"
    options: dict[str, Any] = {"num_workers": workers, "worker_init_fn": watch_parent, "pin_memory": is_pinned}
    loader = DataLoader(ClipDataset(stream), batch_size=batch_size, collate_fn=list, **options)
    with warnings.catch_warnings(), loader_errors():
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        for batch in loader:
            items = [item.to(target) for item in batch]
            yield items, compute(items)
