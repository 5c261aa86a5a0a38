"""Pieces of a video put together for a GPU, which has too little to do with one frame at a time."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ugcvqa.features.stream import Item

AT_ONCE_BYTES = 48 << 20
"""What is put together, at most: seven frames of 1080p, or all that a minute has of one small frame each second."""


def merged(items: Iterable[Item], families: Container[str], most_bytes: int = AT_ONCE_BYTES) -> Iterator[Item]:
    """Puts the pieces of a video together, each family's on their own.

    What is joined depends on the video alone, so that features depend neither on batches nor on processes.

    Args:
        items: what a stream serves, as arrays.
        families: those whose pieces are joined; they look at frames one by one.
        most_bytes: of frames in one piece, unless a single piece has more.
    """
    waiting: dict[str, list[Item]] = {}
    for item in items:
        if item.family in families:
            group = waiting.setdefault(item.family, [])
            if group and sum(map(_size, group)) + _size(item) > most_bytes:
                yield _joined(group)
                group.clear()
            group.append(item)
            continue
        if not item.family:
            yield from map(_joined, filter(None, waiting.values()))
            waiting.clear()
        yield item


def _size(item: Item) -> int:
    return sum(planes.nbytes for planes in item.frames.values())


def _joined(group: Sequence[Item]) -> Item:
    places: list[int] = []
    n_frames = 0
    for item in group:
        before = places[-1] if places else -1  # where the frame before this piece is
        places += [before if place < 0 else place + n_frames for place in item.places]
        n_frames += len(next(iter(item.frames.values())))
    frames = {form: np.concatenate([item.frames[form] for item in group]) for form in group[0].frames}
    entries = tuple(entry for item in group for entry in item.entries)
    times = tuple(time for item in group for time in item.times_s)
    return replace(group[0], frames=frames, places=tuple(places), entries=entries, times_s=times)
