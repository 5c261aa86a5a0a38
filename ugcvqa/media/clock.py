"""From time stamps to the times of frames: breaks closed up, the frame rate, and whether it varies.

Stamps come in decoding order and may jump, start again, pause or run over; `closed_up` puts the recordings of a file
one after the other. `measure_clock` then measures the rate where there are frames. A file whose frames come evenly
keeps the rate that header and times agree on and is sampled by counting frames, as the published protocols do. Only
where a constant rate would misplace frames by half a second, or held frames hide the rate, is a second a second of
time.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import median
from ugcvqa.media.sampling import Seconds

NO_STAMP = np.iinfo(np.int64).min
"""An unknown time stamp."""

PAUSE_S = 10.0
"""Longest time without frames that counts as time, in seconds; ffmpeg's own limit, its `-dts_delta_threshold`."""

_PAUSE_STEPS = 4  # ... unless frames come that slowly everywhere
_GAP_S, _GAP_STEPS = 0.25, 5  # a stretch without frames that is worth a word
_DRIFT_S = 0.5
_HELD_STEPS = 2.5  # steps from here on are held frames and say nothing about the rate
_HELD_SHARE, _GAP_SHARE = 1.1, 1.01  # of the mean rate: from here on held frames hide the rate; where there are gaps
_WINDOW = 12  # steps: two to three of a telecine pattern average out
_LATE_STEPS = 4  # how many usual steps stamps go back within a recording by jitter
_REORDERED = 16  # ... and how many frames by reordering, in H.264 and HEVC at most
_STUCK, _STUCK_SHARE = 16, 0.1  # frames of one stamp from which on the clock has stopped, and their share
_MAX_RATE, _FALLBACK_RATE = 1000, Fraction(25)
_LARGEST, _LONGEST_S = 1 << 56, 1e9  # stamp in ticks, time in seconds

Ticks = npt.NDArray[np.int64]
Kind = Literal["restart", "pause", "gap"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The kinds of breaks, see `Break`."""


@dataclass(frozen=True)
class Break:
    """A place where time stamps do not continue as before.

    Attributes:
        kind: `restart` (they start again, as in joined recordings), `pause` (a long time without frames, which is
            closed up), `gap` (a shorter one, which counts as time).
        at_s: when the last frame before it begins, seconds from the first frame.
        length_s: time without frames, beyond a usual step; 0 for a restart.
    """

    kind: Kind
    at_s: float
    length_s: float


@dataclass(frozen=True, eq=False)
class Clock:
    """The times of the frames of a video.

    Attributes:
        times_s: (n_frames,) float64, seconds from the first frame on, ascending, breaks closed up.
        start_s: stamp of the first frame in seconds.
        rate: frames per second, where frames are.
        seconds: the seconds of time where the rate varies, None where seconds are counted in frames.
        duration_s: from the first frame to the end of the last.
        breaks: where stamps do not continue as before, in order of time.
    """

    times_s: npt.NDArray[np.float64]
    start_s: float
    rate: Fraction
    seconds: Seconds | None
    duration_s: float
    breaks: tuple[Break, ...] = ()


class StampError(ValueError):
    """Time stamps from which no times can be derived; the message says why."""


def recordings(stamps: Ticks, decoding: Ticks | None = None) -> list[Ticks]:
    """Splits stamps where they restart.

    Args:
        stamps: (N,) presentation stamps, in decoding order.
        decoding: (N,) decoding stamps, or None if the stamps are in presentation order already.

    Returns:
        The stamps of each recording, ascending.
    """
    if decoding is not None and (decoding == NO_STAMP).any():
        cuts = _starts_of_reordered(stamps)
    else:
        cuts = _starts(stamps if decoding is None else decoding)
    return [np.sort(part) for part in np.split(stamps, cuts)]


def _starts(clock: Ticks) -> list[int]:
    """Where stamps that ascend within a recording, but for jitter, start again."""
    steps = np.abs(np.diff(clock))
    steps = steps[steps > 0]
    tolerance = _LATE_STEPS * median(steps) if len(steps) else 0.0
    # A file without a break needs no search: nothing lies further back than the latest before it.
    if not (np.maximum.accumulate(clock) - clock > tolerance).any():
        return []
    cuts, latest = list[int](), clock[0]
    for place, stamp in enumerate(clock.tolist()):
        if latest - stamp > tolerance:
            cuts.append(place)
            latest = stamp
        latest = max(latest, stamp)
    return cuts


def _starts_of_reordered(stamps: Ticks) -> list[int]:
    """Where presentation stamps in decoding order start again: further back than reordering can take a frame.

    That counts frames and not time, so it holds where the rate varies.
    """
    cuts, latest = list[int](), list[int]()
    for place, stamp in enumerate(stamps.tolist()):
        if len(latest) > _REORDERED and stamp < latest[0]:
            cuts.append(place)
            latest = []
        (heapq.heappushpop if len(latest) > _REORDERED else heapq.heappush)(latest, stamp)
    return cuts


def decoded_only(parts: Sequence[Ticks], decoded: Ticks) -> list[Ticks] | None:
    """Keeps the stamps of packets that became frames, in their recordings.

    A decoder that meets the start of another recording may hand out frames of both in a mixed order, so frames alone do
    not show where it starts.

    Args:
        parts: stamps of the packets of each recording.
        decoded: (N,) stamps of the frames.

    Returns:
        As `parts`; None if frames have stamps that no packet has.
    """
    left, kept = Counter(decoded.tolist()), list[Ticks]()
    for part in parts:
        taken = left & Counter(part.tolist())
        left -= taken
        kept.append(np.array(sorted(taken.elements()), np.int64))
    return None if left else [part for part in kept if len(part)]


def closed_up(parts: Sequence[Ticks], time_base: Fraction) -> tuple[Ticks, tuple[Break, ...]]:
    """Puts recordings one after the other, and closes pauses.

    Args:
        parts: stamps of each recording, ascending.
        time_base: seconds per tick.

    Returns:
        (N,) times in ticks from 0 on, ascending, and the breaks.

    Raises:
        StampError: if most frames share their stamps, or they span more than thirty years.
    """
    parts = [np.clip(part, -_LARGEST, _LARGEST) for part in parts]
    within = np.concatenate([np.diff(part) for part in parts])
    if not len(within):
        return np.zeros(1, np.int64), ()
    usual = _usual(within)
    if usual <= 0:
        same = "all" if not within.any() else "most"
        raise StampError(f"{same} of its frames have the same time stamp; rewrite it with a constant frame rate")
    if (stuck := _longest_run(within == 0) + 1) > max(_STUCK, _STUCK_SHARE * len(within)):
        raise StampError(f"{stuck} frames in a row have the same time stamp; rewrite it with a constant frame rate")
    tick, fill = float(time_base), max(1, round(usual))
    steps = np.concatenate([step for part in parts for step in ([fill], np.diff(part))])[1:]
    starts = np.cumsum([len(part) for part in parts])[:-1] - 1
    is_pause = (steps * tick > PAUSE_S) & (steps > _PAUSE_STEPS * usual)
    is_gap = (steps * tick > _GAP_S) & (steps > _GAP_STEPS * usual) & ~is_pause
    empty = steps - fill
    steps = np.where(is_pause, fill, steps)
    if float(steps.astype(np.float64).sum()) * tick > _LONGEST_S:
        raise StampError("its time stamps are scattered over decades; rewrite it with a constant frame rate")
    ticks = np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)
    kinds: dict[int, Kind] = {place: "pause" for place in np.flatnonzero(is_pause).tolist()}
    kinds |= {place: "gap" for place in np.flatnonzero(is_gap).tolist()}
    kinds |= {place: "restart" for place in starts.tolist()}
    breaks = (Break(kind, float(ticks[at]) * tick, float(empty[at]) * tick) for at, kind in sorted(kinds.items()))
    return ticks, tuple(breaks)


def measure_clock(
    parts: Sequence[Ticks], time_base: Fraction, headers: Sequence[Fraction | None], last_s: float = 0.0
) -> Clock:
    """Measures times and rate of the frames of a video.

    Args:
        parts: stamps of each recording, see `recordings`.
        time_base: seconds per tick.
        headers: frames per second that the header states, the most trusted first.
        last_s: how long the last frame is shown, in seconds; 0 if it is not known.

    Raises:
        StampError: see `closed_up`.
    """
    ticks, breaks = closed_up(parts, time_base)
    rates = [rate for rate in headers if rate is not None and 0 < rate <= _MAX_RATE]
    rate = _even_rate(ticks, time_base, rates if breaks else rates[:1])
    times_s = ticks.astype(np.float64) * time_base.numerator / time_base.denominator
    start_s = float(min(int(parts[0][0]), _LARGEST) * time_base)
    held = np.diff(ticks)
    frequent = _frequent_rate(held, time_base, rates) if len(held) > 1 else rate
    if len(ticks) < 3 or not _is_varying(times_s, rate, frequent, any(each.kind == "gap" for each in breaks)):
        return Clock(times_s, start_s, rate, None, float(len(ticks) / rate), breaks)
    step_s = float(1 / frequent)
    if last_s <= step_s:  # not known, or a default of the container: as the frames before it
        last_s = max(step_s, median(np.diff(times_s[-4:])))
    duration_s = float(times_s[-1]) + min(last_s, PAUSE_S)
    return Clock(times_s, start_s, frequent, _seconds(times_s, duration_s, step_s), duration_s, breaks)


def even_clock(n_frames: int, rate: Fraction | None) -> Clock:
    """The clock of frames at a constant rate, for files without any time stamps.

    Args:
        n_frames: number of frames.
        rate: frames per second; None or an impossible one gives 25.
    """
    known = rate if rate is not None and 0 < rate <= _MAX_RATE else _FALLBACK_RATE
    return Clock(np.arange(n_frames) / float(known), 0.0, known, None, float(n_frames / known))


def filled(stamps: Ticks) -> Ticks | None:
    """Fills unknown stamps between known ones of frames in presentation order; None if fewer than half are known."""
    known = np.flatnonzero(stamps != NO_STAMP)
    if 2 * len(known) < len(stamps) or not len(known):
        return None
    if len(known) == len(stamps):
        return stamps
    return np.rint(np.interp(np.arange(len(stamps)), known, stamps[known])).astype(np.int64)


def _longest_run(flags: npt.NDArray[np.bool_]) -> int:
    """Length of the longest row of flags that are set."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _usual(steps: Ticks) -> float:
    """The usual step in ticks: the median over short windows, in which alternating steps average out."""
    window = int(np.clip(len(steps) // 8, 1, _WINDOW))
    sums = np.concatenate([[0.0], np.cumsum(steps, dtype=np.float64)])
    return median(sums[window:] - sums[:-window]) / window


def _even_rate(ticks: Ticks, time_base: Fraction, rates: Sequence[Fraction]) -> Fraction:
    """The mean rate of all frames."""
    n_steps, span = len(ticks) - 1, Fraction(int(ticks[-1])) * time_base
    # One unit of the time base is what rounding may cost over the whole span.
    return _rate(n_steps, span, rates, lambda rate: abs(n_steps / rate - span) <= max(span / 100, time_base))


def _frequent_rate(steps: Ticks, time_base: Fraction, rates: Sequence[Fraction]) -> Fraction:
    """The rate where there are frames: over all steps other than held frames."""
    short = steps[steps <= _HELD_STEPS * max(_usual(steps), 1)]
    span = Fraction(int(short.sum())) * time_base
    return _rate(len(short), span, rates, lambda rate: abs(rate * span / len(short) - 1) <= Fraction(1, 100))


def _rate(n_steps: int, span: Fraction, rates: Sequence[Fraction], agrees: Callable[[Fraction], bool]) -> Fraction:
    """The first rate of the header that agrees with so many steps in so many seconds, otherwise what these give."""
    if span <= 0 or n_steps / span > _MAX_RATE:
        return rates[0] if rates else _FALLBACK_RATE
    measured = n_steps / span
    return next(filter(agrees, rates), measured.limit_denominator(1001) or measured)


def _is_varying(times_s: npt.NDArray[np.float64], rate: Fraction, frequent: Fraction, has_gaps: bool) -> bool:
    """Whether counting frames would misplace some by half a second, or held frames lower the mean rate too much."""
    even_s = np.linspace(0, times_s[-1], len(times_s))
    share = _GAP_SHARE if has_gaps else _HELD_SHARE
    return bool(np.abs(times_s - even_s).max() > _DRIFT_S) or frequent > share * rate


def _seconds(times_s: npt.NDArray[np.float64], end_s: float, step_s: float) -> Seconds:
    """Lays seconds over the frames; after a time without frames they begin at the next one."""
    slack_s = min(0.25 * step_s, 0.05)
    starts, anchor_s = [0], 0.0
    while (following := int(np.searchsorted(times_s, anchor_s + 1 - slack_s))) < len(times_s):
        next_s = float(times_s[following])
        anchor_s = anchor_s + 1 if next_s < anchor_s + 2 - slack_s else next_s
        starts.append(following)
    left_s = end_s - anchor_s
    whole = len(starts) - (left_s < 1 - 0.5 * step_s - slack_s)
    return Seconds(tuple(starts), len(times_s), len(starts) - (left_s <= 0.5), whole)
