"""Processes: unique names, whether the process of a name is still alive, and children that end with their parent."""

import builtins
import contextlib
import functools
import hashlib
import multiprocessing
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from ugcvqa.errors import UgcvqaError

_NAME = re.compile(r"([0-9a-f]{6})-([0-9a-f]+)-([0-9a-f]+)")
_POLL_S = 1.0
_LOST_LOADER = "DataLoader worker (pid"
_OF_LOADER = re.compile(r"(?s)Caught \w+ in DataLoader worker process.*\nugcvqa\.errors\.\w+: (.*?)\s*")
_SYSTEM_ERRORS = frozenset(
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, OSError)
)
_PLACE = re.compile(r'(?m)^ +File "([^"]+)", line')
_CURE = (
    "a loading process ended early, perhaps for lack of memory, or of /dev/shm; what is finished is kept: run the same "
    "command again, with fewer --loader.workers if that happens again"
)
_PR_SET_PDEATHSIG = 1  # of prctl(2)
_ENDED = "ZX"  # states of proc(5): killed, but not yet waited for


def process_name() -> str:
    """Name of this process, HOST-PID-START in hexadecimal; a later process of the same number has another."""
    try:
        start = _start(os.getpid())
    except OSError:
        start = 0
    return f"{_host()}-{os.getpid():x}-{start or 0:x}"


def has_ended(name: str) -> bool | None:
    """Whether the process of a name is gone; None where that cannot be known, such as on another machine.

    Args:
        name: what `process_name` gave there.
    """
    match = _NAME.fullmatch(name)
    if match is None or match[1] != _host() or sys.platform == "win32":
        return None
    number, start = int(match[2], 16), int(match[3], 16)
    try:
        os.kill(number, 0)  # sends nothing
        present = _start(number)
    except ProcessLookupError:
        return True
    except PermissionError:  # of another user
        return False
    except OSError:
        return None
    return present is None or (0 not in (start, present) and start != present)


def use_one_thread() -> None:
    """Keeps arithmetic to one thread, in libraries that are loaded already and in those to come."""
    from threadpoolctl import threadpool_limits

    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def end_with_parent(parent: int | None = None) -> None:
    """Lets this process end as soon as the one that started it is gone, for whatever reason; called in the child.

    Linux ends it at once, whatever it is doing. On other systems, and where a server forked it for its parent, a thread
    watches.

    Args:
        parent: number of the process that started it, where the caller knows; if that is gone already, this one ends.
    """
    present = os.getppid()
    is_linux = sys.platform.startswith("linux")
    if is_linux:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent not in (None, os.getppid()):
        os._exit(1)
    served = multiprocessing.parent_process()
    if not is_linux or (served is not None and served.pid != present):
        threading.Thread(target=_watch, args=(present, served), daemon=True).start()


def watch_parent(worker: int = 0) -> None:
    """Lets this process end within a second or so of the one that started it; a `worker_init_fn` of torch's loaders.

    Unlike `end_with_parent` it may be used where the thread that started this process ends first, as in a server.
    """
    del worker
    threading.Thread(target=_watch, args=(os.getppid(), multiprocessing.parent_process()), daemon=True).start()


def is_lost_loader(error: BaseException) -> bool:
    """Whether an error reports the death of a torch loader process, wherever this process happened to be.

    Torch says so by a signal. Where tensors of the dead process were still to be fetched, the connection for them fails
    within `multiprocessing`; an error of the same type that a file or a decoder raises is another thing.
    """
    return isinstance(error, RuntimeError | OSError | EOFError) and _is_lost("".join(traceback.format_exception(error)))


def _is_lost(trace: str) -> bool:
    places = _PLACE.findall(trace)
    is_cut = bool(places) and Path(places[-1]).parent.name == "multiprocessing"
    return is_cut or _LOST_LOADER in trace.strip().rpartition("\n")[2]


@contextlib.contextmanager
def loader_errors() -> Iterator[None]:
    """Turns the death of a process of torch's loaders, and what such a process raises for the user, into user errors.

    Raises:
        UgcvqaError: with what to do, or with what that process said.
    """
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        if not is_lost_loader(error):
            raise
        raise UgcvqaError(_CURE) from error
    except UgcvqaError as error:
        if found := _OF_LOADER.fullmatch(str(error)):  # torch puts the whole traceback into the message
            raise type(error)(found[1]) from error
        raise


def error_of_process(trace: str) -> UgcvqaError | None:
    """The user error that ended another process, by the text of its traceback; None where it is a bug.

    Args:
        trace: as `traceback.format_exc` writes it.
    """
    kind, _, reason = trace.strip().rpartition("\n")[2].partition(": ")
    if _is_lost(trace):
        return UgcvqaError(_CURE)
    is_of_system = kind in _SYSTEM_ERRORS  # a disk, a folder, a name, as where it happens in this process
    return UgcvqaError(reason) if is_of_system or kind.startswith("ugcvqa.errors.") else None


def end_forks_with_this_process() -> None:
    """Lets every process that this one forks from now on, through any library, end with it; so do their forks."""
    if not hasattr(os, "register_at_fork"):
        return
    import ctypes  # noqa: F401 (a fork must not import anything)

    forking = [0]

    def note() -> None:
        forking[0] = os.getpid()

    def end_with() -> None:
        end_with_parent(forking[0])

    os.register_at_fork(before=note, after_in_child=end_with)


def _watch(present: int, parent: BaseProcess | None) -> None:
    sentinels = [] if parent is None else [parent.sentinel]
    while os.getppid() == present and not wait(sentinels, _POLL_S):
        if not sentinels:
            time.sleep(_POLL_S)
    os._exit(1)


@functools.cache
def _host() -> str:
    """Hash of what distinguishes machines, and containers on one machine."""
    facts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        facts.append(Path("/etc/machine-id").read_text())
    with contextlib.suppress(OSError):
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:6]


def _start(number: int) -> int | None:
    """When a process started, in ticks since the machine did; 0 where the system does not say, None if it has ended."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else 0
    return None if fields[0] in _ENDED else int(fields[19])
