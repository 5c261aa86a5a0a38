"""The facts of a stretch of frames as numbers, their mean over a video, and what they mean in words."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.pixels.bars import content_box
from ugcvqa.pixels.counts import tallied
from ugcvqa.pixels.repeats import new_frames, shown_rate
from ugcvqa.pixels.spectrum import N_BANDS, band_powers, native_share

Levels = npt.NDArray[np.uint8]

# When a fact is worth a warning.
_NOISE_LIKE = 0.35  # correlation of neighbouring pixels; camera pictures have 0.8 and more
_PLAIN = 1.5  # levels
_BURNT, _BLACKENED, _COMBED = 0.4, 0.9, 0.02  # shares of pixels
_SLOW, _ENLARGED = 0.6, 0.5  # shares of the frame rate and of the lines


class PixelFacts(NamedTuple):
    """Facts measured from the pixels of a video, mean over its seconds.

    Attributes:
        shown_rate: frames per second that differ from the one before, where the picture moves.
        native_lines: lines along the shorter side that the picture's detail needs.
        bars: share of the frame under black bars.
        dark: share of the picture's pixels that are nearly black.
        bright: share of the picture's pixels that are nearly white.
        combs: share of pixels whose line stands out as in interlaced video, less the same share for columns.
        likeness: correlation of neighbouring pixels; white noise has 0.
        detail: levels that the 99th percentile of second differences reaches.
        rate: frames per second of the file.
        lines: pixels of the shorter side.
    """

    shown_rate: float
    native_lines: float
    bars: float
    dark: float
    bright: float
    combs: float
    likeness: float
    detail: float
    rate: float
    lines: float


N_MEASURES = len(PixelFacts._fields) + N_BANDS
"""Numbers of one stretch: the facts, with the native share still open, and the spectrum that determines it."""


def measured(pictures: Levels, stretch: Levels, rate: float) -> Array:
    """Measures one stretch of a video.

    Args:
        pictures: (P, H, W) uint8 luma levels as coded, single frames that represent the stretch.
        stretch: (T, H, W) uint8, frames that follow each other.
        rate: frames per second.

    Returns:
        (N_MEASURES,) numbers whose mean over stretches `facts_of` takes; NaN where nothing can be said.
    """
    height, width = pictures.shape[1:]
    box = content_box([*pictures, *stretch[:: max(1, len(stretch) - 1)]])
    content = pictures[:, box.top : box.bottom, box.left : box.right]
    bars = 1 - content[0].size / pictures[0].size
    tallies = [tallied(picture) for picture in content]
    n_pixels, n_lines, n_columns = content.size, len(content[0]), len(content[0][0])
    row_combs = sum(tally.row_combs for tally in tallies) / (n_pixels // n_lines * (n_lines - 2))
    column_combs = sum(tally.column_combs for tally in tallies) / (n_pixels // n_columns * (n_columns - 2))
    facts = PixelFacts(
        shown_rate=shown_rate(new_frames(stretch), rate),
        native_lines=np.nan,
        bars=bars,
        dark=sum(tally.dark for tally in tallies) / n_pixels,
        bright=sum(tally.bright for tally in tallies) / n_pixels,
        combs=row_combs - column_combs,
        likeness=float(np.mean([tally.likeness() for tally in tallies])),
        detail=_percentile(np.sum([tally.details for tally in tallies], axis=0), 99),
        rate=rate,
        lines=float(min(height, width)),
    )
    return np.array([*facts, *np.mean([band_powers(picture) for picture in content], axis=0)])


def facts_of(means: Array) -> PixelFacts:
    """Makes facts of the mean (N_MEASURES,) over the stretches of a video."""
    facts = PixelFacts(*means[: len(PixelFacts._fields)].tolist())
    shown = facts.rate if np.isnan(facts.shown_rate) else facts.shown_rate
    return facts._replace(shown_rate=shown, native_lines=facts.lines * native_share(means[len(facts) :]))


def _percentile(counts: npt.NDArray[np.int64], percent: float) -> float:
    """Percentile of the whole numbers 0, 1, 2, ..., given how often each occurs, interpolated as NumPy does."""
    place = percent / 100 * (int(counts.sum()) - 1)
    low, high = np.searchsorted(np.cumsum(counts), (int(place), int(np.ceil(place))), side="right")
    return float(low + (high - low) * (place - int(place)))


def in_words(vector: Sequence[float] | Array) -> Iterator[str]:
    """States in plain sentences which facts make a score doubtful, or explain it; empty for most videos.

    Args:
        vector: values of `PixelFacts`.
    """
    facts = PixelFacts(*map(float, vector))
    if facts.likeness < _NOISE_LIKE:
        yield "the picture looks like noise, which the models were not trained on"
    elif facts.detail < _PLAIN:
        yield "the picture has no detail anywhere, so the score is a guess"
    if facts.bright > _BURNT:
        yield f"{facts.bright:.0%} of the picture is nearly white: probably overexposed"
    if facts.dark > _BLACKENED:
        yield f"{facts.dark:.0%} of the picture is nearly black: probably underexposed"
    if facts.combs > _COMBED:
        yield "lines stand out as in interlaced video: deinterlace it, as frames are scored as they are coded"
    if facts.shown_rate < _SLOW * facts.rate:
        yield f"judder: frames repeat, {facts.shown_rate:.3g} of {facts.rate:.3g} per second show something new"
    if facts.native_lines < _ENLARGED * facts.lines:
        yield f"enlarged or blurred: detail of about {facts.native_lines:.0f} lines in a picture of {facts.lines:.0f}"
