"""The part of the frame that a container asks to show: clean aperture of MP4, cropping of Matroska.

FFmpeg's libraries hand out the whole frame, and PyAV does not tell of either.
"""

import re
import struct
from pathlib import Path

_HEAD = 1 << 22  # bytes at either end of a file, where headers are
_CLAP = re.compile(rb"(?s)\x00\x00\x00\x28clap(.{32})")
_TRACKS = b"\x16\x54\xae\x6b"
# Matroska's PixelCropBottom, Top, Left, Right: id, length of one or two bytes, value.
_CROP = re.compile(rb"(?s)\x54([\xaa\xbb\xcc\xdd])(?:\x81(.)|\x82(..))")


def shown_size(path: str | Path, width: int, height: int) -> tuple[int, int]:
    """The size that the container asks to show of coded frames of a size, as (width, height) before any turn.

    Source: ISO/IEC 14496-12, box `clap`; RFC 9559, elements PixelCropTop and its like.

    Raises:
        OSError: if the file cannot be read.
    """
    with Path(path).open("rb") as file:
        start = file.read(_HEAD)
        file.seek(max(len(start), file.seek(0, 2) - _HEAD))
        end = file.read()
    if start[4:8] == b"ftyp" or b"moov" in (start[4:8], end[4:8]):
        return _clean_aperture(start + end, width, height)
    if start.startswith(b"\x1a\x45\xdf\xa3"):
        return _matroska(start, width, height)
    return width, height


def _clean_aperture(headers: bytes, width: int, height: int) -> tuple[int, int]:
    for found in _CLAP.finditer(headers):
        wide, wide_of, high, high_of = struct.unpack(">4I", found[1][:16])
        if wide_of and high_of and 0 < wide <= width * wide_of and 0 < high <= height * high_of:
            return round(wide / wide_of), round(high / high_of)
    return width, height


def _matroska(start: bytes, width: int, height: int) -> tuple[int, int]:
    at = start.find(_TRACKS)
    if at < 0:
        return width, height
    tracks = start[at + 4 : at + 4 + _element_size(start, at + 4)]
    cut = {found[1]: int.from_bytes(found[2] or found[3], "big") for found in _CROP.finditer(tracks)}
    wide = width - cut.get(b"\xcc", 0) - cut.get(b"\xdd", 0)
    high = height - cut.get(b"\xaa", 0) - cut.get(b"\xbb", 0)
    return (wide, high) if wide > 0 and high > 0 else (width, height)


def _element_size(data: bytes, at: int) -> int:
    """What a size of EBML says, with its own bytes."""
    if at >= len(data) or not data[at]:
        return 0
    n_bytes = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + n_bytes], "big") & ((1 << 7 * n_bytes) - 1)
    return n_bytes + value
