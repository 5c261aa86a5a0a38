"""Names of videos: one form for the many spellings of a name, and the extensions of video files."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote, urlsplit

VIDEO_EXTENSIONS = (
    *(".mkv", ".mp4", ".mov", ".avi", ".webm", ".m4v", ".y4m"),
    *(".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp"),
    *(".gif", ".mts", ".m2ts", ".mxf", ".ogv", ".vob", ".asf", ".f4v", ".3g2"),
)
"""File name endings that count as video, any case; the first is preferred where a video has many copies."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:(?=[/\\])", re.IGNORECASE)


def is_video_name(name: str) -> bool:
    """Whether a file name has the ending of a video; `._name`, which macOS leaves on foreign disks, is not one."""
    return has_video_extension(name) and not name.startswith("._")


def has_video_extension(name: str) -> bool:
    """Whether a name has one of `VIDEO_EXTENSIONS`."""
    return Path(name).suffix.lower() in VIDEO_EXTENSIONS


def without_extension(name: str) -> str:
    """A name without the ending of a video file; other endings stay."""
    return name[: -len(Path(name).suffix)] if has_video_extension(name) else name


def path_parts(text: str) -> tuple[str, ...]:
    """Folders and name that a path is made of, the same for all its spellings on one system.

    Backslashes separate like slashes; drive letters, `.`, `..` with the folder before it and the host and query of a
    URL are left out; letters with accents are composed (NFC). Case stays, since two files may differ in it alone.
    """
    if _URL.match(text):
        text = unquote(urlsplit(text).path)
    parts: list[str] = []
    for part in unicodedata.normalize("NFC", _DRIVE.sub("", text, count=1)).replace("\\", "/").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)


def video_name(text: str) -> str:
    """One name for all spellings of a path or id, without the ending of a video file."""
    return without_extension("/".join(path_parts(text)))


def loose(text: str) -> str:
    """A form of a name that is the same however another system writes it: case and %20 for a space do not count."""
    return unicodedata.normalize("NFC", unquote(text)).casefold()


def places_of(wanted: Iterable[str], names: Iterable[str]) -> list[int]:
    """Places of the wanted names in a list of different ones, spelled alike; KeyError for one that is not there."""
    places = {name: place for place, name in enumerate(names)}
    return [places[name] for name in wanted]


def shared_folders(paths: Sequence[tuple[str, ...]]) -> int:
    """Number of leading folders that all paths share."""
    levels = zip(*(path[:-1] for path in paths), strict=False)
    return sum(1 for _ in takewhile(lambda folders: len(set(folders)) == 1, levels))


def is_end(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether the shorter of two paths is the end of the longer, as where a folder before it was renamed."""
    shared = min(len(first), len(second))
    return first[-shared:] == second[-shared:]
