"""Video files below a folder, and the one that a label table refers to, however it is spelled."""

import logging
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ugcvqa.datasets.identity import first_alike
from ugcvqa.datasets.names import (
    VIDEO_EXTENSIONS,
    has_video_extension,
    is_end,
    is_video_name,
    loose,
    path_parts,
    shared_folders,
    without_extension,
)
from ugcvqa.errors import LabelError

logger = logging.getLogger(__name__)

Parts = tuple[str, ...]

# How the public sets' videos are written in label files and file names, without extension; group 1 is the id.
# Spreadsheets turn numeric ids into 123.0; crops and transcodes add an underscore and more.
PUBLIC_NAMES = {
    "konvid_1k": re.compile(r"(\d+)(?:\.0|_.*centercrop.*)?"),
    "youtube_ugc": re.compile(r"([A-Za-z]+_\d+P-[0-9a-f]{4})(?:_.*)?"),
}


def video_files(root: Path) -> tuple[Path, ...]:
    """Lists all video files below a folder, following links, sorted; see `walk_files`.

    Raises:
        LabelError: if the folder cannot be listed.
    """
    if not root.is_dir():
        raise LabelError(f"{root}: no such folder of videos")
    return tuple(map(Path, walk_files(str(root))))


def walk_files(root: str, is_wanted: Callable[[str], bool] = is_video_name, is_told: bool = True) -> Iterator[str]:
    """Yields files below a folder, following links, sorted by folder and name; holds the names of open folders only.

    A sub-folder that cannot be listed is left out, with a warning.

    Args:
        root: the folder.
        is_wanted: decides by the name, without the folder, whether a file is yielded.
        is_told: warn of the sub-folders that are left out.

    Raises:
        LabelError: if the folder itself cannot be listed.
    """
    pending = [(root, True)]
    seen: set[tuple[int, int]] = set()
    while pending:
        path, is_folder = pending.pop()
        if not is_folder:
            yield path
            continue
        try:
            found = _listed(path, seen)
        except OSError as error:
            reason = f"cannot list this folder ({error.strerror or error})"
            if path == root:
                raise LabelError(f"{path}: {reason}") from error
            if is_told:
                logger.warning("%s: %s; it is left out", " ".join(path.splitlines()), reason)
            continue
        wanted = [one for one in found if one[1] or is_wanted(one[0])]
        pending += [(os.path.join(path, name), deeper) for name, deeper in reversed(wanted)]  # noqa: PTH118


def _listed(path: str, seen: set[tuple[int, int]]) -> list[tuple[str, bool]]:
    """Sorted names in a folder, and which are folders; none if it was seen, such as by a link to a folder above."""
    status = os.stat(path)  # noqa: PTH116 (names of a million files are kept as plain text)
    if (status.st_dev, status.st_ino) in seen:
        return []
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(path) as entries:
        return sorted((entry.name, _is_folder(entry)) for entry in entries)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that this user may not follow, or that leads in a circle
        return False


def video_copies(data_set: str, files: Iterable[Path]) -> dict[str, list[Path]]:
    """Groups files by the video of a public data set that their name denotes.

    The preferred copy comes first: a file named exactly like the video before other versions of it
    (transcodes, crops), then by extension in the order of `VIDEO_EXTENSIONS` (so an original .mkv before an
    .mp4), then by path.

    Args:
        data_set: `konvid_1k` or `youtube_ugc`, which decides how names are read.
        files: video files.

    Returns:
        Id within the data set -> its files; files that fit no id are left out.
    """
    copies: dict[str, list[Path]] = {}
    for path in files:
        if match := PUBLIC_NAMES[data_set].fullmatch(path.stem):
            copies.setdefault(match[1], []).append(path)
    for key, paths in copies.items():
        paths.sort(key=lambda path: (path.stem != key, _extension_rank(path), path))
    return copies


@dataclass(frozen=True)
class VideoFolder:
    """The video files that a label table may name.

    Attributes:
        root: folder that relative names are below; None: only files with an absolute path are found.
        files: its video files.
    """

    root: Path | None = None
    files: Sequence[Path] = ()

    def find(self, cells: Sequence[str]) -> list[list[Path]]:
        """Finds the file that each cell names.

        A cell names a file as a path that exists, else by the end of its path: with more folders or fewer before it
        than there are here (all cells may begin with a folder of another machine), with another case or %20 for a
        space where just one file fits, with or without the ending.

        Returns:
            Per cell the files that fit equally well, most of them one; of several in one folder that differ in the
            ending only, the preferred one.
        """
        parts = [path_parts(cell) for cell in cells]
        found = [self._named(cell) or self._fitting(one) for cell, one in zip(cells, parts, strict=True)]
        if any(found):
            return found
        n_shared = shared_folders(parts)
        return [self._fitting(one[n_shared:]) for one in parts] if n_shared else found

    def parts(self, path: Path) -> Parts:
        """Folders and name of a file as seen from the root."""
        given = path.absolute()
        root = given if self.root is None else self.root.absolute()
        return path_parts(str(given.relative_to(root) if given != root and given.is_relative_to(root) else given))

    def _named(self, cell: str) -> list[Path]:
        """The file that a cell names as it stands."""
        path = Path(cell) if self.root is None else self.root / cell
        try:
            return [path] if (path.is_absolute() or self.root is not None) and path.is_file() else []
        except (OSError, ValueError):  # a cell may hold text that cannot be a file name
            return []

    def _fitting(self, parts: Parts) -> list[Path]:
        """Files whose path ends in the same way: exactly, else ignoring case."""
        if not parts:
            return []
        candidates = self._by_name.get(_comparable(parts)[-1], [])
        if has_video_extension(parts[-1]):
            ending = Path(parts[-1]).suffix.lower()
            candidates = [one for one in candidates if one[0].suffix.lower() == ending]
        exact = [one for one in candidates if is_end(_stemmed(parts), _stemmed(one[1]))]
        fitting = exact or [one for one in candidates if is_end(_comparable(parts), _comparable(one[1]))]
        whole = [one for one in fitting if len(one[1]) == len(parts)]
        deeper = [one for one in fitting if len(one[1]) > len(parts)]
        longest = max((len(one[1]) for one in fitting), default=0)
        best = whole or deeper or [one for one in fitting if len(one[1]) == longest]
        return _one_of_each([path for path, _ in best])

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[Path, Parts]]]:
        found: dict[str, list[tuple[Path, Parts]]] = {}
        for path in self.files:
            parts = self.parts(path)
            found.setdefault(_comparable(parts)[-1], []).append((path, parts))
        return found


def respelled(folder: str, name: str) -> str | None:
    """Finds the file that a name from another system refers to: backslashes, case, accents, %20, no ending.

    Args:
        folder: where a relative name starts, empty for the current folder.
        name: as it is listed; it exists under no such name.

    Returns:
        The path on disk; None where no file fits, or several do.
    """
    path = urlsplit(name).path if name.lower().startswith("file://") else name.strip().replace("\\", "/")
    found = "/" if path.startswith("/") else folder
    for part in filter(None, path.split("/")):
        place = os.path.join(found, part)  # noqa: PTH118
        if not os.path.lexists(place):
            names = _names_like(found or ".", part)
            if len(names) != 1:
                return None
            place = os.path.join(found, names[0])  # noqa: PTH118
        found = place
    return found if os.path.isfile(found) else None  # noqa: PTH113


def _names_like(folder: str, name: str) -> list[str]:
    """Names in a folder that another system may write like this name: with the same case if there is one."""
    try:
        by_name = _names_in(folder, os.stat(folder).st_mtime_ns)  # noqa: PTH116
    except OSError:
        return []
    found = by_name.get(loose(name), [])
    return [one for one in found if unicodedata.normalize("NFC", unquote(one)) == unquote(name)] or found


@lru_cache(maxsize=1)
def _names_in(folder: str, mtime_ns: int) -> dict[str, list[str]]:
    """Names in a folder by what they have in common with other spellings; videos without their ending too."""
    del mtime_ns  # a changed folder is read again
    names: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)):  # noqa: PTH208
        for key in {loose(name), loose(without_extension(name))}:
            names.setdefault(key, []).append(name)
    return names


def _stemmed(parts: Parts) -> Parts:
    return (*parts[:-1], without_extension(parts[-1]))


def _comparable(parts: Parts) -> Parts:
    return tuple(map(loose, _stemmed(parts)))


def _one_of_each(paths: Sequence[Path]) -> list[Path]:
    """The preferred one of files that differ only in their extension, and one of files with the same bytes."""
    ranked = sorted(paths, key=lambda path: (_extension_rank(path), path))
    stems = list({path.with_suffix(""): path for path in reversed(ranked)}.values())[::-1]
    alike = first_alike(stems) if len(stems) > 1 else [0]
    return [path for index, path in enumerate(stems) if alike[index] == index]


def _extension_rank(path: Path) -> int:
    return VIDEO_EXTENSIONS.index(path.suffix.lower())
