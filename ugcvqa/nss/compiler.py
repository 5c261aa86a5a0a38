"""Compiles the NSS kernels with Numba, once per machine and version.

Only this module knows Numba. Machine code is kept in a folder of the user that is named after the content of the
kernels' sources, so that another version of the package never meets it.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba.core import event
from numba.extending import intrinsic

log = logging.getLogger(__name__)

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_SOURCES = ("compiler.py", "compiled_resize.py", "compiled_maps.py", "compiled_statistics.py")
# Sums may be reordered and products fused, as vector code needs; NaN and infinities keep their meaning.
_FAST = {"reassoc", "contract", "nsz", "arcp"}


def jit(kernel: Kernel) -> Kernel:
    """Compiles a function that Python calls, on its first call, or loads what an earlier process compiled.

    Args:
        kernel: a function of NumPy arrays and numbers, in the part of Python that Numba knows. What it calls must be
            declared by `inlined`.

    Returns:
        The compiled function. It releases the interpreter lock, checks no bounds and uses one thread.
    """
    return _compiled(kernel)


def inlined(kernel: Kernel) -> Kernel:
    """Compiles a function as a part of each kernel that calls it.

    It has no machine code that kernels share. Shared code was optimized once for each of its callers, and which copy a
    process ran depended on what it had compiled itself and what it had loaded: sums differed in their last bits.
    """
    return _compiled(kernel, forceinline=True)


def _compiled(kernel: Kernel, **more: bool) -> Kernel:
    folder = _cache_folder()
    options = {"fastmath": _FAST, "error_model": "numpy", "nogil": True, "cache": folder is not None, **more}
    before = numba.config.CACHE_DIR  # read when a function is declared; a user's own kernels keep their folder
    numba.config.CACHE_DIR = folder or before
    try:
        compiled: Kernel = numba.njit(**options)(kernel)
    finally:
        numba.config.CACHE_DIR = before
    return compiled


@cache
def _cache_folder() -> str | None:
    """The user's own folder for these kernels; None where no folder can be written."""
    here = Path(__file__).parent
    content = hashlib.sha256(b"".join((here / name).read_bytes() for name in _SOURCES)).hexdigest()[:16]
    home, who = os.environ.get("XDG_CACHE_HOME") or "~/.cache", os.getuid() if hasattr(os, "getuid") else 0
    for parent in (home, tempfile.gettempdir()):
        with contextlib.suppress(OSError, RuntimeError):
            folder = Path(parent).expanduser() / f"ugcvqa-{who}" / f"kernels-{content}"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Loading machine code runs it: never from a folder that others can write to.
            states = [path.lstat() for path in (folder, folder.parent)]
            if os.name != "nt" and any(state.st_uid != who or state.st_mode & 0o022 for state in states):
                continue
            if os.access(folder, os.W_OK):
                return str(folder)
    log.warning("no folder can keep the compiled NSS kernels: each process compiles them again (about 10 s)")
    return None


@intrinsic
def bits_of(_context: Any, _value: Any) -> Any:  # noqa: ANN401 (Numba's own types)
    """The bits of a float32 as an int32."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        return builder.bitcast(arguments[0], ir.IntType(32))

    return numba.types.int32(numba.types.float32), generate


@intrinsic
def float_of(_context: Any, _bits: Any) -> Any:  # noqa: ANN401
    """The float32 that has the bits of an int32."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        return builder.bitcast(arguments[0], ir.FloatType())

    return numba.types.float32(numba.types.int32), generate


class _Announcement(event.Listener):
    """Logs once that kernels are being compiled, which makes the first command some seconds slower."""

    def __init__(self) -> None:
        self._is_made = False

    def on_start(self, started: Any) -> None:  # noqa: ANN401
        """Reports the first compilation of one of our kernels."""
        if not self._is_made and started.data["dispatcher"].py_func.__module__.startswith(__package__):
            self._is_made = True
            log.warning("compiling the NSS kernels for this processor (about 10 s, once)")

    def on_end(self, ended: Any) -> None:  # noqa: ANN401
        """Nothing to report."""


event.register("numba:compile", _Announcement())
