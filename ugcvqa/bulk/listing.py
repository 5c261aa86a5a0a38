"""What to score: files, folders, patterns, lists and standard input, as one stream that is never all in memory."""

import codecs
import csv
import fnmatch
import glob
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ugcvqa.cell_texts import text_of
from ugcvqa.datasets.cells import encoding_of, separator_of
from ugcvqa.datasets.finding import respelled, walk_files
from ugcvqa.datasets.labels import FILE_COLUMNS, file_column
from ugcvqa.datasets.names import VIDEO_EXTENSIONS, is_video_name
from ugcvqa.errors import ConfigError, LabelError

_STDIN = "-"
_LIST_ENDINGS = (".txt", ".csv", ".tsv")
_TABLE_ENDINGS = (".csv", ".tsv")
_BLOCK = 1 << 16
_LONGEST_LINE = 1 << 20  # no system has longer paths; a larger one is a file of another kind


@dataclass(frozen=True)
class Inputs:
    """The videos that a command line names, in a stable order.

    Arguments stand in the order given; a folder means the videos below it, sorted by folder and name; a pattern
    for the files that it matches, sorted. A video named twice comes twice. A name that exists is always taken as it
    is, whatever characters it has; one that neither exists nor is a pattern stays, so that its row says what is wrong.

    Attributes:
        arguments: files, folders, patterns with `*`, `**`, `?` and `[..]`, lists as `@FILE` or by the ending .txt, .csv
            or .tsv, and `-` for standard input.
        list_file: one list more, after the arguments.
        is_null_separated: whether NUL bytes, not line ends, separate the names in text lists and on standard input.

    Folders that cannot be listed are left out; `count` warns of them, so that this is said once and first.
    """

    arguments: Sequence[str]
    list_file: str | None = None
    is_null_separated: bool = False

    def __iter__(self) -> Iterator[str]:
        """Yields the paths; standard input can be read once only.

        Raises:
            ConfigError: if a folder, pattern or list holds no video.
            LabelError: if a list cannot be read.
        """
        return self._paths(is_told=False)

    def _paths(self, is_told: bool) -> Iterator[str]:
        for argument in self._all():
            found = False
            for path in self._paths_of(argument, is_told):
                found = True
                yield path
            if not found:
                raise ConfigError(f"{_shown(argument)}: {_emptiness(argument)}")

    def count(self) -> int | None:
        """Walks over everything but standard input, so that errors are reported before hours of work.

        Returns:
            The number of paths; None where standard input is among them.

        Raises:
            ConfigError: if nothing is given, or a folder, pattern or list holds no video.
            LabelError: if a list cannot be read.
        """
        arguments = self._all()
        if not arguments:
            raise ConfigError("no video given; name files, folders, patterns, lists (@FILE), or - for standard input")
        if arguments.count(_STDIN) > 1:
            raise ConfigError("standard input (-) can be given once only")
        known = [argument for argument in arguments if argument != _STDIN]
        total = sum(1 for _ in Inputs(known, None, self.is_null_separated)._paths(is_told=True))
        return total if len(known) == len(arguments) else None

    def _all(self) -> list[str]:
        return [*self.arguments, *([f"@{self.list_file}"] if self.list_file is not None else [])]

    def _paths_of(self, argument: str, is_told: bool) -> Iterator[str]:
        if argument == _STDIN:
            # Without its buffer, whose lock a thread that waits for names would hold when Python ends: that aborts.
            raw = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
            yield from _names(raw, "standard input", self.is_null_separated)
        elif os.path.isdir(argument):  # noqa: PTH112 (names stay as they were given, here and below)
            yield from walk_files(argument, is_told=is_told)
        elif os.path.lexists(argument):
            is_list = argument.lower().endswith(_LIST_ENDINGS)
            yield from self._listed(argument) if is_list else (argument,)
        elif argument.startswith("@"):
            yield from self._listed(argument[1:])
        elif glob.has_magic(argument):
            yield from _matches(argument, is_told)
        else:
            yield argument

    def _listed(self, file_name: str) -> Iterator[str]:
        """Names in a list; relative ones are resolved from the current folder, then from the folder of the list."""
        folder = os.path.dirname(file_name)  # noqa: PTH120
        try:
            if file_name.lower().endswith(_TABLE_ENDINGS):
                names = _table_names(Path(file_name))
                yield from (_located_cell(name, folder) for name in names)
            else:
                with Path(file_name).open("rb") as file:
                    names = _names(file, file_name, self.is_null_separated)
                    yield from (_located(name, folder) for name in names)
        except OSError as error:
            raise LabelError(f"{file_name}: this list cannot be read ({error.strerror or error})") from error


class Digest:
    """Counts and hashes the names that pass, so that two machines can check that they were given the same list.

    Attributes:
        count: names that have passed.
    """

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.sha256()

    def passing(self, names: Iterable[str]) -> Iterator[str]:
        """Yields the names on."""
        for name in names:
            self._hash.update(os.fsencode(name) + b"\0")
            self.count += 1
            yield name

    @property
    def sha256(self) -> str:
        """SHA-256 of the names so far, each followed by a NUL byte, as hex."""
        return self._hash.hexdigest()


def _names(file: BinaryIO, source: str, is_null_separated: bool) -> Iterator[str]:
    """Names in a text, whatever their encoding; empty lines are left out."""
    blocks = _blocks(file)
    if not is_null_separated:
        blocks = _as_utf8(blocks)
    for number, name in enumerate(_split(blocks, source, b"\0" if is_null_separated else b"\n"), start=1):
        if not is_null_separated:
            name = (name.removeprefix(b"\xef\xbb\xbf") if number == 1 else name).removesuffix(b"\r")
            if b"\0" in name:
                raise LabelError(
                    f"{source}, line {number}: holds NUL bytes; give --null if these separate the names, else save "
                    "the list as UTF-8 text"
                )
        if name.strip() or (is_null_separated and name):
            yield os.fsdecode(name)


def _split(blocks: Iterable[bytes], source: str, separator: bytes) -> Iterator[bytes]:
    """Pieces between separators as soon as each is complete, also from a pipe that is still written."""
    rest = b""
    for block in blocks:
        *whole, rest = (rest + block).split(separator)
        yield from whole
        if len(rest) > _LONGEST_LINE:
            raise LabelError(f"{source}: is not a list of paths: it has a line of more than {_LONGEST_LINE} bytes")
    if rest:
        yield rest


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    read1 = getattr(file, "read1", file.read)  # whatever is there, without waiting for a full block
    while block := read1(_BLOCK):
        yield block


def _as_utf8(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same text in UTF-8 where it is UTF-16, which Windows' shells write; other bytes as they are."""
    decoder = None
    for number, block in enumerate(blocks):
        if number == 0 and (encoding := encoding_of(block)) not in ("utf-8", "utf-8-sig"):
            decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        yield decoder.decode(block).encode() if decoder else block


def _table_names(path: Path) -> Iterator[str]:
    """Cells of the column with the file names, in a CSV file of any size."""
    with path.open("rb") as start:
        encoding = encoding_of(start.read(_BLOCK))
    is_utf8 = encoding == "utf-8"
    with path.open(
        encoding="utf-8-sig" if is_utf8 else encoding, errors="surrogateescape" if is_utf8 else "replace", newline=""
    ) as file:
        separator, n_skipped = separator_of(path, iter(lambda: file.readline(_LONGEST_LINE), ""))
        file.seek(0)
        for _ in range(n_skipped):
            file.readline()
        reader = csv.reader(file, delimiter=separator, strict=True)
        try:
            header = next(reader, [])
            column = file_column(header)
            if column is None:
                raise LabelError(
                    f"{path}, line 1: no column of files ({', '.join(FILE_COLUMNS)}); columns found: "
                    f"{', '.join(header)[:200] or 'none'}"
                )
            for cells in filter(any, reader):
                if cells == header:
                    continue
                if len(cells) <= column or not cells[column]:
                    raise LabelError(f"{path}, line {reader.line_num}: column {header[column]!r} names no file")
                yield cells[column]
        except csv.Error as error:
            raise LabelError(f"{path}, line {reader.line_num}: cannot be read as CSV ({error})") from error


def _located_cell(cell: str, folder: str) -> str:
    """A name in a table as it is opened; if no file has that name, it may have been escaped, see `cell_texts`."""
    name = _located(cell, folder)
    return name if "\0" in name or os.path.lexists(name) else _located(text_of(cell), folder)


def _located(name: str, folder: str) -> str:
    """A listed name as it is opened: as written, else relative to the list, else in the spelling found on disk."""
    if "\0" in name or os.path.lexists(name):
        return name
    beside = os.path.join(folder, name)  # noqa: PTH118
    if os.path.lexists(beside):
        return beside
    return respelled("", name) or (respelled(folder, name) if folder else None) or name


def _matches(pattern: str, is_told: bool) -> Iterator[str]:
    """Files that a pattern matches, in the order of a folder's; videos only, unless it names another ending."""
    ending = Path(pattern).suffix
    is_wanted = is_video_name if not ending or glob.has_magic(ending) else bool
    before, is_deep, below = pattern.partition("**")
    found = sorted(glob.iglob(before or "." if is_deep else pattern), key=lambda path: Path(path).parts)  # noqa: PTH207
    if not is_deep:
        files = (path for path in found if not os.path.isdir(path))  # noqa: PTH112
        yield from (path for path in files if is_wanted(os.path.basename(path)))  # noqa: PTH119
        return
    patterns = Path("**" + below).parts
    for folder in filter(os.path.isdir, found):
        for path in walk_files(folder, is_wanted, is_told):
            name = os.path.relpath(path, folder)
            if _fits(Path(name).parts, patterns):
                yield path if before else name


def _fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether the parts of a path match a pattern's parts; as in a shell, hidden names match only a leading dot."""
    if not names or not patterns:
        return not names and all(pattern == "**" for pattern in patterns)
    is_shown = not names[0].startswith(".") or patterns[0].startswith(".")
    if patterns[0] == "**":
        return _fits(names, patterns[1:]) or (is_shown and _fits(names[1:], patterns))
    return is_shown and fnmatch.fnmatchcase(names[0], patterns[0]) and _fits(names[1:], patterns[1:])


def _emptiness(argument: str) -> str:
    if argument == _STDIN:
        return "names no video"
    if os.path.isdir(argument):  # noqa: PTH112
        return f"no video in this folder or below (endings: {', '.join(VIDEO_EXTENSIONS)})"
    if glob.has_magic(argument) and not argument.startswith("@") and not os.path.lexists(argument):
        return "this pattern matches no video file"
    return "this list names no video"


def _shown(argument: str) -> str:
    return "standard input" if argument == _STDIN else argument
