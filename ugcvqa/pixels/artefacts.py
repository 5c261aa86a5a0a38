"""Which artefacts a video shows, how much of each, and where: low-cost statistics of luma at its own resolution.

Source: own. The limits in `RULES` were set on the calibration half of `demo.artefacts`; the other half gives the rates
on the model card, see `tools/artefacts.py`.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.pixels.bars import Box, content_box
from ugcvqa.pixels.repeats import new_frames
from ugcvqa.pixels.spectrum import band_powers, native_share

Levels = npt.NDArray[np.uint8]
Steps = npt.NDArray[np.int16]
Flags = npt.NDArray[np.bool_]


class Rule(NamedTuple):
    """From which measure on an artefact is named, and from which on it is called clear, or strong."""

    slight: float
    clear: float
    strong: float

    def strength(self, value: float) -> str:
        """`slight`, `clear` or `strong`; empty for none."""
        words = ("", "slight", "clear", "strong")
        return words[sum(value >= limit for limit in self)]


RULES = {
    "blocking": Rule(0.025, 0.08, 0.2),
    "noise": Rule(2.7, 5.0, 9.0),
    "blur": Rule(0.53, 0.68, 0.77),
    "banding": Rule(0.0003, 0.002, 0.004),
    "overexposure": Rule(0.05, 0.15, 0.4),
    "underexposure": Rule(0.55, 0.65, 0.73),
    "freezing": Rule(0.2, 0.5, 1.0),
    "judder": Rule(0.15, 0.3, 0.6),
}
"""Artefact -> its limits.

Units: blocking, share of isolated steps on the lines of the grid, less that on others; noise, levels; blur, share of
the lines without detail; banding, share of pixels on a contour; overexposure, share of nearly white pixels;
underexposure, share of the range that stays unused above; freezing, seconds that a frame stays; judder, share of
repeated frames.
"""

SPATIAL = ("blocking", "noise", "blur", "banding", "overexposure", "underexposure")
"""Those that have a place in the picture."""

LONG_SIDE = 16
"""Cells of a map along the longer side."""

SMALLEST_SIDE_PX = 32
"""Side of a picture below which only time is looked at."""

_GRID, _VISIBLE, _EDGE = 8, 2, 24  # pixels of a coding block; levels from and up to which a step is one of blocks
_BLOCK = 16  # pixels
_LAPLACIAN = np.sqrt(np.pi / 2) / 6  # from mean absolute response to deviation of white noise (Immerkaer, 1996)
_FLATTEST = 10  # percentile of the blocks
_DIM, _GLARING = 30, 225  # mean levels of blocks in which noise may have been cut off
_PLATEAU, _CONTOUR = 5, 3  # pixels of equal level on both sides of a contour, and pixels that it may take
_SMALLEST, _LARGEST = 3, 24  # levels between plateaus
_WHITE, _BLACK, _RANGE = 234, 16, 219  # levels as coded
_BRIGHTEST = 98  # percentile
_TEXTURED, _SOFT, _CRISP = 60.0, 0.25, 0.55  # squared levels; ratio of squared steps over two and over four pixels
_LONGEST, _SAME = 8, 0.95  # period of a cadence in frames; share of frames that keep it
_STILL = 0.5  # levels that the means of cells differ by: coding goes on to refine what stands


class Look(NamedTuple):
    """What one second of a video shows.

    Attributes:
        values: (8,) measures in the order of `RULES`.
        cadence: (period, new frames in it) of regular repeats; (0, 0) for none.
        is_still: whether its first and last frame are the same.
        maps: (6, R, C) float32 in the order of `SPATIAL`, 0..1: how much of an artefact is in a cell, against the most.
    """

    values: Array
    cadence: tuple[int, int]
    is_still: bool
    maps: npt.NDArray[np.float32]


def measured(picture: Levels, stretch: Levels, rate: float) -> Look:
    """Measures one second of a video.

    Args:
        picture: (H, W) uint8 luma levels as coded.
        stretch: (T, H, W) uint8, frames that follow each other.
        rate: frames per second.
    """
    box = content_box(np.stack((picture, *stretch[:: max(1, len(stretch) - 1)])))
    content = np.ascontiguousarray(picture[box.top : box.bottom, box.left : box.right])
    if min(content.shape) >= SMALLEST_SIDE_PX:
        found = [function(content) for function in _MEASURES]
    else:
        found = [(0.0, np.zeros(shape_of(*content.shape)))] * len(SPATIAL)
    held, repeats, cadence = uneven(new_frames(stretch), rate)
    first, last = (_in_cells(stretch[place], shape_of(*picture.shape)) for place in (0, -1))
    is_still = len(stretch) > 1 and bool(np.abs(first - last).mean() < _STILL)
    maps = np.stack([placed(_relative(cells), box, picture.shape) for _, cells in found])
    return Look(np.array([*(value for value, _ in found), held, repeats]), cadence, is_still, maps)


def shape_of(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the map of a picture."""
    longer = max(height, width)
    rows, columns = (max(4, round(LONG_SIDE * side / longer)) for side in (height, width))
    return rows, columns


def placed(cells: Array, box: Box, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Puts the map of the content (R, C) into one of the whole picture, with nothing under the bars."""
    ends = ((box.top, box.bottom), (box.left, box.right))
    found = np.asarray(cells, np.float32)
    for axis, (start, stop) in enumerate(ends):
        side, count = shape_of(shape[0], shape[1])[axis], found.shape[axis]
        centres = ((np.arange(side) + 0.5) * shape[axis] / side - start) / (stop - start)
        places = np.clip((centres * count).astype(int), 0, count - 1)
        is_inside = (centres >= 0) & (centres < 1)
        found = np.take(found, places, axis) * np.expand_dims(is_inside, 1 - axis)
    return np.asarray(found, np.float32)


def uneven(is_new: Flags, rate: float) -> tuple[float, float, tuple[int, int]]:
    """Tells repeats apart: one frame that is held, or repeats all along, at a cadence or without.

    Args:
        is_new: (T,) of frames that follow each other, see `repeats.new_frames`.
        rate: frames per second.

    Returns:
        Seconds that the longest held frame stays too long, share of repeats elsewhere, and the cadence of `Look`.
    """
    later = is_new[1:]
    if len(later) < 2 or later.all():
        return 0.0, 0.0, (0, 0)
    for period in range(2, _LONGEST + 1):
        same = later[period:] == later[:-period]
        if len(later) >= 2 * period and same.mean() >= _SAME and later[-period:].any() and not later[-period:].all():
            return 0.0, float(1 - later.mean()), (period, int(later[-period:].sum()))
    places = np.flatnonzero(np.concatenate(([True], later, [True])))
    runs = np.diff(places) - 1
    longest = int(runs.max())
    held = longest / rate
    if held < RULES["freezing"].slight:
        return held, float(1 - later.mean()), (0, 0)
    return held, float((runs.sum() - longest) / max(len(later) - longest, 1)), (0, 0)


def _in_cells(values: npt.NDArray[np.generic], shape: tuple[int, int], how: np.ufunc = np.add) -> Array:
    """Mean over the cells of a grid, or the least where that is how."""
    rows, columns = (np.linspace(0, side, n + 1).astype(int) for side, n in zip(values.shape, shape, strict=True))
    sums = how.reduceat(how.reduceat(values.astype(np.float32), rows[:-1], axis=0), columns[:-1], axis=1)
    return np.asarray(sums / np.outer(np.diff(rows), np.diff(columns)) if how is np.add else sums, np.float64)


def _relative(cells: Array) -> Array:
    positive = np.maximum(cells, 0)
    return positive / max(float(positive.max()), 1e-9)


def _steps(luma: Levels) -> Steps:
    return np.abs(np.diff(luma.astype(np.int16), axis=1))


def _isolated(steps: Steps) -> Flags:
    """Marks visible steps along lines that are larger than both neighbours, but no edges of things."""
    middle = steps[:, 1:-1]
    return (middle >= _VISIBLE) & (middle < _EDGE) & (middle > np.maximum(steps[:, :-2], steps[:, 2:]))


def _phase(marked: Flags) -> tuple[int, float]:
    """The column modulo eight that has most marks, and how many more than the second: enlargement marks several."""
    count = marked.shape[1] // _GRID * _GRID
    shares = marked[:, :count].mean(axis=0).reshape(-1, _GRID).mean(axis=0)
    second, first = np.sort(shares)[-2:]
    return int(shares.argmax()), float(first - second)


def blocking(luma: Levels) -> tuple[float, Array]:
    """Steps on the lines of a grid of eight pixels, which may begin anywhere, beyond those on other lines."""
    total, cells = 0.0, np.zeros(shape_of(*luma.shape))
    for turned in (False, True):
        marked = _isolated(_steps(np.ascontiguousarray(luma.T) if turned else luma))
        phase, excess = _phase(marked)
        weights = np.where(np.arange(marked.shape[1]) % _GRID == phase, _GRID, -_GRID / (_GRID - 1))
        found = marked * weights.astype(np.float32)
        total, cells = total + excess / 2, cells + _in_cells(found.T if turned else found, cells.shape)
    return total, cells


def noise(luma: Levels) -> tuple[float, Array]:
    """Deviation of noise in levels, from the flattest blocks."""
    values = luma.astype(np.float32)
    second = values[:-2] - 2 * values[1:-1] + values[2:]
    response = np.abs(second[:, :-2] - 2 * second[:, 1:-1] + second[:, 2:])
    blocks, means = _blocks(response) * _LAPLACIAN, _blocks(values[1:-1, 1:-1])
    is_usable = (means > _DIM) & (means < _GLARING)
    blocks[~is_usable] = np.inf
    cells = _in_cells(blocks, _least(shape_of(*luma.shape), blocks.shape), np.minimum)
    level = float(np.percentile(blocks[is_usable], _FLATTEST)) if is_usable.any() else 0.0
    return level, _spread(np.where(np.isfinite(cells), cells, 0), shape_of(*luma.shape))


def _blocks(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    height, width = (side // _BLOCK * _BLOCK for side in values.shape)
    parts = values[:height, :width].reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    return np.asarray(parts.mean(axis=(1, 3)), np.float32)


def _least(wanted: tuple[int, int], there: tuple[int, ...]) -> tuple[int, int]:
    return min(wanted[0], there[0]), min(wanted[1], there[1])


def _spread(cells: Array, shape: tuple[int, int]) -> Array:
    """The nearest cell for every cell of a larger grid."""
    rows, columns = (np.arange(n) * have // n for n, have in zip(shape, cells.shape, strict=True))
    return np.asarray(cells[np.ix_(rows, columns)])


def blur(luma: Levels) -> tuple[float, Array]:
    """Share of the lines without detail; where there is texture, how soft it is."""
    values, shape = luma.astype(np.float32), shape_of(*luma.shape)
    two, four = (
        _in_cells((values[:, reach:] - values[:, :-reach])[:-4, : values.shape[1] - 4] ** 2, shape)
        + _in_cells((values[reach:] - values[:-reach])[: len(values) - 4, :-4] ** 2, shape)
        for reach in (2, 4)
    )
    of_noise = 4 * noise(luma)[0] ** 2  # a difference has twice the power of the noise, in two directions
    ratio = np.maximum(two - of_noise, 0) / np.maximum(four - of_noise, 1e-9)
    soft = np.where(four - of_noise > _TEXTURED, np.clip((_CRISP - ratio) / (_CRISP - _SOFT), 0, 1), 0)
    return 1 - native_share(band_powers(luma)), soft


def banding(luma: Levels) -> tuple[float, Array]:
    """Share of pixels on contours: small steps between plateaus of equal levels, but not on the grid of blocks."""
    cells, share = np.zeros(shape_of(*luma.shape)), 0.0
    for turned in (False, True):
        levels = (np.ascontiguousarray(luma.T) if turned else luma).astype(np.int16)
        found = _contours(levels)
        share += float(found.mean()) / 2
        cells += _in_cells(found.T if turned else found, cells.shape)
    return share, cells


def _contours(levels: Steps) -> Flags:
    steps = np.abs(np.diff(levels, axis=1))
    is_flat = steps == 0
    plateau = np.logical_and.reduce([is_flat[:, k : steps.shape[1] - _PLATEAU + 1 + k] for k in range(_PLATEAU)])
    before, after = (plateau[:, part] for part in (slice(-(_PLATEAU + _CONTOUR)), slice(_PLATEAU + _CONTOUR, None)))
    count = before.shape[1]
    height = np.abs(levels[:, _PLATEAU + _CONTOUR :][:, :count] - levels[:, _PLATEAU:][:, :count])
    found = before & after & (height >= _SMALLEST) & (height <= _LARGEST)
    phase, _ = _phase(_isolated(steps))
    # contour k lies between pixels k + 5 and k + 8; isolated step j lies between pixels j + 1 and j + 2
    on_grid = (np.arange(count)[:, None] + _PLATEAU - 1 + np.arange(_CONTOUR) - phase) % _GRID == 0
    return np.asarray(found & ~on_grid.any(axis=1))


def overexposure(luma: Levels) -> tuple[float, Array]:
    """Share of nearly white pixels."""
    white = luma >= _WHITE
    return float(white.mean()), _in_cells(white, shape_of(*luma.shape))


def underexposure(luma: Levels) -> tuple[float, Array]:
    """Share of the range above the brightest pixels, but for a fiftieth of them."""
    unused = 1 - np.maximum(luma.astype(np.float32) - _BLACK, 0) / _RANGE
    brightest = float(np.percentile(luma, _BRIGHTEST))
    return 1 - max(brightest - _BLACK, 0) / _RANGE, _in_cells(unused, shape_of(*luma.shape)) ** 2


_MEASURES = (blocking, noise, blur, banding, overexposure, underexposure)
