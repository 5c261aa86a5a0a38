"""What is decoded while it is served: pieces for extractors, and pictures of whole videos for regressors."""

import logging
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ugcvqa.features.computing import compute
from ugcvqa.features.extraction import Assembler, assemble
from ugcvqa.features.stream import ClipStream, Item
from ugcvqa.samples.batches import Batch
from ugcvqa.samples.clips import FAMILY, ClipFamily, central_clip, clip_times
from ugcvqa.settings.training import ClipSettings

log = logging.getLogger(__name__)


class PieceBatch(list[Item]):
    """Pieces of videos, in time order for each video; the last one of a video says that it is over."""

    def __repr__(self) -> str:
        return "\n".join([f"PieceBatch of {len(self)} pieces", *(f"  {item!r}" for item in self)])


class PictureStream(IterableDataset[tuple[int, Tensor, Tensor]]):
    """The pictures that an end-to-end network sees of each video, decoded when they are asked for.

    A video that cannot be read is left out, with a warning.

    Args:
        stream: of the family of `picture_family`.
        settings: of the pictures.
    """

    def __init__(self, stream: ClipStream, settings: ClipSettings) -> None:
        super().__init__()
        self.stream, self.settings = stream, settings

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yields the number of the video, (n, 3, h, w) uint8 and the times (n,) of the frames in seconds."""
        worker, settings = get_worker_info(), self.settings
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        families = {FAMILY: ClipFamily(settings)}
        assembler = Assembler(families)
        for item in self.stream.share(number, count):
            items = [item.tensors()]
            for result in assemble(assembler, items, compute(families, items)):
                if result.reason or result.info is None:
                    log.warning("%s: %s", item.video_id, result.reason)
                    continue
                pictures = torch.from_numpy(central_clip(result.features[FAMILY]["frames"], settings.side).copy())
                times = clip_times(settings.frames, settings.phases, result.info)[:, settings.phases // 2]
                yield result.task, pictures, torch.from_numpy(times)

    def collate(self, samples: Sequence[tuple[int, Tensor, Tensor]]) -> Batch:
        """Lays the frames of the videos end to end."""
        rows, pictures, times = zip(*samples, strict=True)
        tasks = [self.stream.tasks[row] for row in rows]
        mos = torch.tensor([task.mos for task in tasks], dtype=torch.float64)
        ids = tuple(task.video_id for task in tasks)
        return Batch(torch.tensor(rows), mos, torch.cat(pictures), tuple(map(len, pictures)), ids, torch.cat(times))
