"""Which files are one video: one file under several names, or the same bytes in several files."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from ugcvqa.files import file_sha256

_SAMPLE = 1 << 16  # bytes at the start, in the middle and at the end

_Numbered = tuple[int, Path]


def first_alike(paths: Sequence[Path | None]) -> list[int]:
    """Finds for each path the first one with the same content.

    Names, links and folders do not count. Only files of equal size are opened, and only files that agree in three
    samples are read whole, so that ordinary data sets cost one look at the size of each file.

    Args:
        paths: files; None where there is none.

    Returns:
        One index per path, its own if nothing before it has the same content. Files that are empty or cannot be read
        match no other file.
    """
    alike = list(range(len(paths)))
    by_file: dict[tuple[int, int], int] = {}
    by_size: dict[int, list[_Numbered]] = {}
    for index, path in enumerate(paths):
        try:
            status = None if path is None else path.stat()
        except OSError:
            continue
        if path is None or status is None:
            continue
        alike[index] = by_file.setdefault((status.st_dev, status.st_ino), index)
        if alike[index] == index and status.st_size:
            by_size.setdefault(status.st_size, []).append((index, path))
    for sized in by_size.values():
        for sampled in _groups(sized, _samples_sha256):
            for same in _groups(sampled, file_sha256):
                for index, _ in same:
                    alike[index] = same[0][0]
    return [alike[index] for index in alike]


def _groups(files: Sequence[_Numbered], key: Callable[[Path], str]) -> list[list[_Numbered]]:
    """Files that share a key with another one; unreadable files are left out."""
    groups: dict[str, list[_Numbered]] = {}
    for index, path in files if len(files) > 1 else ():
        try:
            groups.setdefault(key(path), []).append((index, path))
        except OSError:
            continue
    return [group for group in groups.values() if len(group) > 1]


def _samples_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = path.stat().st_size
        for start in (0, size // 2, max(size - _SAMPLE, 0)):
            file.seek(start)
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
