"""Names of temporary files and folders, and the removal of what dead processes left.

One rule: a temporary file or folder is called .ugcvqa-HOST-PID-START-RANDOM with an ending, after the process that
works on it. The first time that a process makes one in a folder, it removes leftovers of dead processes. What a living
process owns is never touched; what was made on another machine, or in another container, which may live, only if it is
a file or folder beside results that has not changed for a day.
"""

import contextlib
import functools
import multiprocessing
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from ugcvqa.processes import has_ended, process_name

_PREFIX = ".ugcvqa-"
# The file of a semaphore has `sem.` before its name.
_OURS = re.compile(r"(?:sem\.)?\.ugcvqa-([0-9a-f]+-([0-9a-f]+)-[0-9a-f]+)-.*")
# Names that earlier versions gave.
_EARLIER = re.compile(r"\.[0-9a-f]{16}\.tmp|\..+\.[0-9a-f]{8}\.partial|\.outcome-[0-9a-f]{16}\.csv")
_OLD_S = 86_400.0
_SHARED_MEMORY = Path("/dev/shm")
_SHARED_MEMORY_BYTES = 2 << 30  # with less, as in many containers, it is not a place for arrays
_LONGEST_FOLDER = 60  # of 107 bytes that the path of a socket may have
_LAST = -1000  # after what multiprocessing itself removes at the end of a process

_swept: set[Path] = set()


def temporary_path(folder: Path, ending: str = ".tmp") -> Path:
    """A name for an unfinished file in a folder; the first call for a folder removes what dead processes left there.

    Args:
        folder: where it is going to be; need not exist yet.
        ending: what the name ends in, with its dot.
    """
    _sweep_once(folder, others=True)
    return folder / f"{_own_name()}{ending}"


def sweep(folder: Path, others: bool = True) -> None:
    """Removes unfinished files of dead processes from a folder, not from those below it.

    Args:
        folder: need not exist.
        others: whether that includes what other machines have not changed for a day.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        paths = [Path(entry.path) for entry in entries if any(kind.fullmatch(entry.name) for kind in (_OURS, _EARLIER))]
        for path in paths:
            with contextlib.suppress(OSError):
                _remove_if_left(path, others)


@contextlib.contextmanager
def temporary_folder(folder: Path | None = None) -> Iterator[Path]:
    """Makes a folder that is gone afterwards, and is removed by the next process that makes one there if this one dies.

    It is made in the system's folder for temporary files (`$TMPDIR`) unless another is given.

    Raises:
        OSError: if it cannot be made.
    """
    base = folder or Path(tempfile.gettempdir())
    _sweep_once(base, others=False)
    path = base / _own_name()
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def shared_memory() -> Path:
    """Best place for arrays that several processes share: shared memory if it has room, else `$TMPDIR`."""
    with contextlib.suppress(OSError, AttributeError):
        status = os.statvfs(_SHARED_MEMORY)
        if status.f_bavail * status.f_frsize >= _SHARED_MEMORY_BYTES and os.access(_SHARED_MEMORY, os.W_OK):
            return _SHARED_MEMORY
    return Path(tempfile.gettempdir())


@functools.cache
def own_folder(base: Path) -> Path:
    """Makes a folder that lasts as long as this process, the same one whenever it is asked for.

    Raises:
        OSError: if it cannot be made.
    """
    _sweep_once(base, others=False)
    path = base / _own_name()
    path.mkdir(mode=0o700)
    Finalize(None, shutil.rmtree, (path,), {"ignore_errors": True}, exitpriority=_LAST)
    return path


def use_own_folder() -> None:
    """Gives a program and all that it starts one folder for temporary files, whichever library makes them.

    It is made in `$TMPDIR`, which points to it from then on, and is removed when the program ends. What killed
    programs left is removed. Sockets and semaphores of `multiprocessing` get names of this process too.
    """
    with contextlib.suppress(OSError):
        base = Path(tempfile.gettempdir())
        is_own = _OURS.fullmatch(base.name)  # the folder of the program that started this one
        own = base if is_own else own_folder(base)
        os.environ["TMPDIR"] = tempfile.tempdir = str(own)
        place = own_folder(_SHARED_MEMORY) if os.access(_SHARED_MEMORY, os.W_OK) else own
        # Private, but nothing else names these: their names would be random, and would not show whose they are.
        names: dict[str, Any] = vars(multiprocessing.current_process())["_config"]
        if len(os.fsencode(place)) <= _LONGEST_FOLDER:
            names["tempdir"] = str(place)
        if place != own:
            names["semprefix"] = f"/{place.name}"


def _sweep_once(folder: Path, others: bool) -> None:
    if folder not in _swept:
        _swept.add(folder)
        sweep(folder, others)


def _own_name() -> str:
    return f"{_PREFIX}{process_name()}-{secrets.token_hex(4)}"


def _remove_if_left(path: Path, others: bool) -> None:
    match = _OURS.fullmatch(path.name)
    has_gone = has_ended(match[1]) if match else None
    if has_gone is None:
        has_gone = others and time.time() - path.lstat().st_mtime > _OLD_S
    if not has_gone:
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        if match and path.parent == _SHARED_MEMORY:
            for semaphore in _SHARED_MEMORY.glob(f"sem.loky-{int(match[2], 16)}-*"):  # joblib's, of the same process
                semaphore.unlink(missing_ok=True)
    else:
        path.unlink(missing_ok=True)
