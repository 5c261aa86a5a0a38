"""The part of the frame that a container asks to show: clean aperture of MP4, cropping of Matroska.

FFmpeg's libraries hand out the whole frame, and PyAV reports neither.
"""

import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from ugcvqa.media.orientation import Rectangle

_HEAD = 1 << 22  # bytes at either end of a file, where headers are
_CLAP = re.compile(rb"(?s)\x00\x00\x00\x28clap(.{32})")
_VIDEO = (0x18538067, 0x1654AE6B, 0xAE, 0xE0)  # Matroska's Segment, Tracks, TrackEntry, Video
_WIDTH, _HEIGHT = 0xB0, 0xBA
_CROP = (0x54AA, 0x54BB, 0x54CC, 0x54DD)  # PixelCropBottom, Top, Left, Right


def shown_part(path: str | Path, width: int, height: int) -> Rectangle | None:
    """The part that the container asks to show of coded frames of a size, before any turn; None for all of it.

    Source: ISO/IEC 14496-12, box `clap`; RFC 9559, elements PixelCropTop and its like.

    Raises:
        OSError: if the file cannot be read.
    """
    with Path(path).open("rb") as file:
        start = file.read(_HEAD)
        file.seek(max(len(start), file.seek(0, 2) - _HEAD))
        end = file.read()
    part = None
    if start[4:8] == b"ftyp" or b"moov" in (start[4:8], end[4:8]):
        part = _clean_aperture(start + end, width, height)
    elif start.startswith(b"\x1a\x45\xdf\xa3"):
        part = _matroska(start, width, height)
    return None if part == (0, 0, height, width) else part


def _clean_aperture(headers: bytes, width: int, height: int) -> Rectangle | None:
    for found in _CLAP.finditer(headers):
        wide, wide_of, high, high_of, right, right_of, down, down_of = struct.unpack(">4IiIiI", found[1])
        if wide_of and high_of and right_of and down_of:
            columns = _placed(Fraction(wide, wide_of), Fraction(right, right_of), width)
            rows = _placed(Fraction(high, high_of), Fraction(down, down_of), height)
            if columns and rows:
                return rows[0], columns[0], rows[1], columns[1]
    return None


def _placed(length: Fraction, offset: Fraction, side: int) -> tuple[int, int] | None:
    """First pixel and number of pixels of a length centred off the middle of a side; None if it does not fit."""
    first, n_pixels = int((side - length) / 2 + offset + Fraction(1, 2)), int(length + Fraction(1, 2))
    fits = length > 0 and (side - length) / 2 + offset >= 0 and 0 < n_pixels <= side - first
    return (first, n_pixels) if fits else None


def _matroska(start: bytes, width: int, height: int) -> Rectangle | None:
    for settings in _nested(start, 0, len(start), _VIDEO):
        number = {name: int.from_bytes(start[at:stop]) for name, at, stop in _elements(start, *settings)}
        bottom, top, left, right = (number.get(name, 0) for name in _CROP)
        wide, high = width - left - right, height - top - bottom
        # Of several tracks, the one of this size.
        if (number.get(_WIDTH), number.get(_HEIGHT)) == (width, height) and wide > 0 and high > 0:
            return top, left, high, wide
    return None


def _nested(data: bytes, at: int, stop: int, path: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yields where the values of all elements of a path begin and end."""
    for name, first, last in _elements(data, at, stop):
        if name == path[0]:
            yield from _nested(data, first, last, path[1:]) if path[1:] else [(first, last)]


def _elements(data: bytes, at: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yields the elements of EBML between two places: name, where the value begins and where it ends."""
    while at + 1 < stop and data[at]:
        size_at = at + 9 - data[at].bit_length()
        if size_at >= stop or not data[size_at]:
            return
        value_at = size_at + 9 - data[size_at].bit_length()
        bits = 7 * (value_at - size_at)
        size = int.from_bytes(data[size_at:value_at]) & ((1 << bits) - 1)
        is_open = size == (1 << bits) - 1
        last = stop if is_open else min(stop, value_at + size)
        yield int.from_bytes(data[at:size_at]), value_at, last
        at = last
