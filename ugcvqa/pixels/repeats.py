"""Repeated frames: which frames of a stretch show something new, and how many of these there are in a second."""

import itertools

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import median
from ugcvqa.pixels.counts import BLOCK, block_sums

Levels = npt.NDArray[np.uint8]

_SMALL, _LARGEST = 0.12, 1.0  # of the change from frame to frame; mean levels that a repeat may differ by after coding
_STANDS = 0.3  # mean levels: where nothing changes more, the picture stands still and repeats cannot be recognised
_PLACE = 3  # the two largest changes may be cuts
_GAP, _APART = 2.0, 0.7  # what parts repeats under noise from new frames, see `_under_noise`
_FEWEST = 2


def new_frames(frames: Levels) -> npt.NDArray[np.bool_]:
    """Marks the frames that differ from the one before, as far as the picture moves at all.

    Args:
        frames: (T, H, W) uint8 luma levels, in order.

    Returns:
        (T,) bool, the first always; all where the picture stands still.
    """
    n_frames = len(frames)
    seen = map(_block_means, frames)
    changes = np.array([np.abs(b - a).mean() for a, b in itertools.pairwise(seen)])
    is_new = np.ones(n_frames, dtype=bool)
    if len(changes) < _PLACE:
        return is_new
    usual = np.sort(changes)[-_PLACE]
    if usual >= _STANDS:
        is_new[1:] = changes > max(min(_SMALL * usual, _LARGEST), _under_noise(changes))
    return is_new


def _block_means(frame: Levels) -> npt.NDArray[np.float32]:
    return block_sums(frame).astype(np.float32) / np.float32(BLOCK**2)


def _under_noise(changes: npt.NDArray[np.float32]) -> float:
    """Largest change of repeats that differ by noise, 0 if there are none: alike, and far below several others."""
    ordered = np.sort(changes)
    place = int(np.argmax(np.diff(ordered)))
    low, high = ordered[: place + 1], ordered[place + 1 :]
    is_gap = high[0] - low[-1] > _GAP * (low[-1] - low[0]) and low[-1] < _APART * median(high)
    return float(low[-1]) if is_gap and len(low) >= _FEWEST and len(high) >= _PLACE else 0.0


def chosen_frames(is_new: npt.NDArray[np.bool_], middle: int, count: int = 8) -> npt.NDArray[np.int64]:
    """Chooses the frames around the middle of a stretch, ignoring repeats.

    Args:
        is_new: (T,) as of `new_frames`.
        middle: place of the middle frame in the stretch.
        count: frames wanted.

    Returns:
        Places of `count` frames, the middle one fifth, fewer at the end of a video; where too few are new, repeats are
        among them.
    """
    places = np.flatnonzero(is_new)
    if len(places) < min(count, len(is_new)):
        places = np.arange(len(is_new))
    before = int(np.searchsorted(places, middle, side="right")) - 1
    start = max(0, before - count // 2)
    return places[start : start + count].astype(np.int64)


def shown_rate(is_new: npt.NDArray[np.bool_], rate: float) -> float:
    """New frames per second of a stretch of T frames that come at a rate; NaN for fewer than two frames."""
    if len(is_new) < 2:
        return float("nan")
    return float(rate * is_new[1:].mean())
