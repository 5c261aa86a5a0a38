"""Which frames UVQ looks at: sampling at a constant rate, groups of frames, and what replaces missing frames.

Source: UVQ (Wang et al., CVPR 2021) and its public programs, which sample with the ffmpeg program.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, islice, repeat
from typing import Literal, NamedTuple

import numpy as np

from ugcvqa.media.sampling import Piece
from ugcvqa.media.video import VideoInfo

Sampler = Literal["ffmpeg-cfr", "uniform"]
Counting = Literal["real", "reference"]

_DRIFT = 1.1  # output frames that a frame may be early or late before one is dropped or repeated
_ROUND_OFF = 2.0**-17  # of ffmpeg's times, in output frames


class Group(NamedTuple):
    """The frames of one second: indices in presentation order, and its weight in the mean over the video."""

    frames: tuple[int, ...]
    weight: float


def picked_frames(times_s: Sequence[float] | np.ndarray, rate: Fraction, fps: int, sampler: Sampler) -> Iterator[int]:
    """Yields the index of the frame shown at each tick of a constant output rate.

    Args:
        times_s: times of the frames from the first on, in seconds, ascending.
        rate: average frames per second of the video.
        fps: frames per second wanted.
        sampler: `ffmpeg-cfr` drops and repeats frames as the ffmpeg program does; `uniform` takes the frame nearest
            to each tick.

    Yields:
        Indices that never decrease; a frame may be repeated.
    """
    if sampler == "uniform":
        yield from _nearest_frames(times_s, rate, fps)
        return
    ticks, duration = 0, min(float(fps / rate), 1.0)
    repeats = deque([0, 0, 0], maxlen=3)
    for index, time_s in enumerate(times_s):
        ahead = float(time_s) * fps + (_ROUND_OFF if time_s > 0 else 0.0) - ticks
        n, before = _copies(ahead, ahead + duration)
        yield from repeat(max(0, index - 1), before)
        yield from repeat(index, n - before)
        ticks += n
        repeats.append(before)
    yield from repeat(len(times_s) - 1, sorted(repeats)[1])


def _copies(start: float, end: float) -> tuple[int, int]:
    """How often a frame is written that lasts from `start` to `end`, in ticks, and how often the one before is."""
    if end < -_DRIFT:
        return 0, 0
    if end <= _DRIFT:
        return 1, 0
    n = round(end)
    if start < 0 < end:
        start = 0.0
    return n, min(n, round(start - 0.6)) if start > _DRIFT else 0


def _nearest_frames(times_s: Sequence[float] | np.ndarray, rate: Fraction, fps: int) -> Iterator[int]:
    end_s = float(times_s[-1]) + float(1 / rate)
    index = 0
    for tick in range(max(1, math.ceil(round(end_s * fps, 6)))):
        wanted = tick / fps
        while index + 1 < len(times_s) and abs(times_s[index + 1] - wanted) < abs(times_s[index] - wanted):
            index += 1
        yield index


def frame_groups(picked: Iterable[int], length: int, n_groups: int, counting: Counting) -> Iterator[Group]:
    """Yields the groups of frames that are scored one by one.

    Args:
        picked: frames at the output rate.
        length: frames of a group.
        n_groups: groups of the video; further frames are left out.
        counting: `reference` gives exactly `n_groups` of weight 1, of which the last may hold fewer frames or none,
            where the original looks at black; `real` ends with the frames: an incomplete last group becomes the
            last `length` frames, and its weight is the share of them that is new. A video with fewer frames repeats
            its last one.
    """
    remaining = iter(picked)
    last: tuple[int, ...] = ()
    for _ in range(n_groups):
        group = tuple(islice(remaining, length))
        if counting == "reference" or len(group) == length:
            yield Group(group, 1.0)
        else:
            if group:
                known = (*last, *group)[-length:]
                yield Group((*known, *repeat(known[-1], length - len(known))), len(group) / length)
            return
        last = group


def uvq_pieces(
    sampler: Sampler,
    counting: Counting,
    fps: int,
    length: int,
    first_form: str | None,
    form: str,
    groups_per_piece: int,
    info: VideoInfo,
) -> Iterator[Piece]:
    """Yields the pieces of a UVQ family: a few groups of frames each.

    Args:
        sampler: see `picked_frames`.
        counting: see `frame_groups`.
        fps: frames per second that are looked at; -1 takes the video's own rate, rounded up.
        length: frames of a group.
        first_form: form in which the first frame of each group is wanted too, None for none.
        form: form in which all frames are wanted.
        groups_per_piece: bounds the memory of a piece.
        info: the video.

    Yields:
        Pieces with the facts `counts` (G,) int64, frames of each group, `weights` (G,) float64, and `n_black` () int64,
        the number of groups without frames that follow the piece.
    """
    if fps < 0:
        fps = math.ceil(info.rate)
    seconds = math.ceil(info.n_frames / info.rate) if info.seconds is None else math.ceil(info.duration_s)
    if counting == "reference" and info.container_s is not None:
        seconds = math.ceil(info.container_s)
    n_left = seconds * fps // length
    picked = picked_frames(info.times_s, info.rate, fps, sampler)
    filled = (group for group in frame_groups(picked, length, n_left, counting) if group.frames)
    held: list[Group] = []
    for group in chain(filled, [None]):
        if held and (group is None or len(held) == groups_per_piece):
            n_left -= len(held)
            n_black = n_left if group is None and counting == "reference" else 0
            yield _piece(held, first_form, form, n_black)
            held = []
        held += [] if group is None else [group]


def _piece(groups: Sequence[Group], first_form: str | None, form: str, n_black: int) -> Piece:
    first = {} if first_form is None else {first_form: tuple(group.frames[0] for group in groups)}
    facts = {
        "counts": np.array([len(group.frames) for group in groups]),
        "weights": np.array([group.weight for group in groups]),
        "n_black": np.array(n_black),
    }
    return Piece({form: tuple(index for group in groups for index in group.frames), **first}, facts)
