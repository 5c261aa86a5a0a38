"""Checks the boxes of MP4 and QuickTime files: demuxers believe whatever these promise, and read one movie only."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ugcvqa.errors import VideoError

# A demuxer spends some 60 bytes on each sample that a header promises, whether the file holds it or not. Lists of
# samples that take room in the file are bounded by it; these three boxes can promise any number in a few bytes.
_TABLES = re.compile(
    rb"(?s)(.{4})(?:stsz.{4}(?P<size>.{4})(?P<number>.{4})|trun.(?P<flags>.{3})(?P<run>.{4})|elst.{4}(?P<edits>.{4}))"
)
_LONGEST = 20
_TOP_LEVEL = frozenset((b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"styp", b"sidx", b"uuid"))
_FREE_SAMPLES = 1_000_000
_FREE_EDITS = 32
_SAMPLES_PER_BYTE = 4  # old compressed sound counts its samples as if each were a byte
_BLOCK = 1 << 20


def check_boxes(path: str | Path) -> None:
    """Refuses an MP4 or QuickTime file that promises far more samples than it has bytes.

    Source: ISO/IEC 14496-12, boxes `stsz` (one size for all samples), `trun` (without fields per sample) and `elst`
    (each edit may show all samples again).

    Args:
        path: a readable file of any kind; other kinds are not looked at.

    Raises:
        VideoError: if so.
        OSError: if the file cannot be read.
    """
    promised = longest = edits = 0
    with Path(path).open("rb") as file:
        n_bytes = file.seek(0, 2)
        for name, start, stop in _boxes(file, n_bytes):
            for table in _tables(file, start, stop) if name != b"mdat" else ():
                promised += _promised(table)
                longest, edits = max(longest, _number(table, "number")), max(edits, _number(table, "edits"))
    if edits > _FREE_EDITS:
        promised += edits * longest
    if promised > max(_FREE_SAMPLES, _SAMPLES_PER_BYTE * n_bytes):
        raise VideoError(f"{path}: damaged, its header promises {promised} frames or bytes of them; fetch it again")


def second_movie(path: str | Path) -> int | None:
    """Where the header of a second movie begins, which is not read as it was joined to another; None if none does.

    Raises:
        OSError: if the file cannot be read.
    """
    with Path(path).open("rb") as file:
        movies = [start for name, start, _ in _boxes(file, file.seek(0, 2)) if name == b"moov"]
    return movies[1] if len(movies) > 1 else None


def _boxes(file: BinaryIO, n_bytes: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields (name, start, stop) of all boxes that are not within another; nothing for other kinds of files."""
    at, is_known = 0, False
    while at < n_bytes:
        file.seek(at)
        head = file.read(16)
        size, name = struct.unpack(">I4s", head[:8]) if len(head) >= 8 else (0, b"")
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack(">Q", head[8:])
        is_known |= name in _TOP_LEVEL
        stop = at + size if 8 <= size <= n_bytes - at else n_bytes
        if is_known:
            yield name, at, stop
        at = stop


def _tables(file: BinaryIO, start: int, stop: int) -> Iterator["re.Match[bytes]"]:
    """Yields the heads of sample tables between two places, wherever they are nested."""
    file.seek(start)
    data = b""
    while start < stop and (block := file.read(min(_BLOCK, stop - start))):
        start, data, done = start + len(block), data + block, 0
        for table in _TABLES.finditer(data):
            done = table.end()
            yield table
        data = data[max(done, len(data) - _LONGEST + 1) :]


def _number(table: "re.Match[bytes]", name: str) -> int:
    return int.from_bytes(table[name] or b"")


def _promised(table: "re.Match[bytes]") -> int:
    """Bytes of samples that a table promises without listing them."""
    fields = 4 * (_number(table, "flags") >> 8 & 0xF).bit_count()  # bytes per sample of a run
    run = _number(table, "run")
    if fields and run * fields <= int.from_bytes(table[1]):
        return 0
    return _number(table, "size") * _number(table, "number") + run * max(1, fields)
