"""Kernels: loops over arrays, compiled to machine code once per machine and run in later processes without Numba.

Machine code is kept in a folder of the user, under names that depend on the functions, the constants they use, the
processor and the versions, so that another version of the package never meets it.
"""

import contextlib
import ctypes
import hashlib
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from llvmlite import binding

from ugcvqa.errors import StoreError
from ugcvqa.files import write_atomic

if find_spec("numba") is None:
    raise ImportError("No module named 'numba'", name="numba")

log = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])
Kinds = tuple[tuple[str, int], ...]
"""For each argument the code of its data type and its number of dimensions; ("", 0) for a whole number."""

_FREED = "NRT_MemInfo_call_dtor"  # what machine code of Numba calls to free arrays of its own: kernels make none
_KNOWN = {_FREED, "sqrt", "sqrtf", "floor", "floorf"}  # outside of kernels; every process has the functions of C
_BORDER = 16  # samples by which a row of a work area is longer than any array
_DIGEST = 32  # bytes

_inlined: set[Callable[..., Any]] = set()
_NOWHERE = ctypes.byref(ctypes.c_void_p())  # for results and errors, which kernels have none of
_scratch = threading.local()
_lock = threading.Lock()


class Kernel:
    """A function of arrays as machine code, compiled for each new combination of data types.

    It releases the interpreter lock, checks no bounds and uses one thread.
    """

    def __init__(self, function: Callable[..., None], n_rows: int, dtype: str) -> None:
        """See `kernel`."""
        self.function, self._n_rows, self._dtype = function, n_rows, np.dtype(dtype)
        self._entries: dict[Kinds, Callable[..., int]] = {}

    def __call__(self, *arguments: npt.NDArray[Any] | int) -> None:
        """Runs it.

        Args:
            arguments: as the function takes them, without `work`; arrays in C order.

        Raises:
            ValueError: for an array in another order, or of another byte order than this machine's.
        """
        kinds: list[tuple[str, int]] = []
        values: list[int] = []
        for each in (*arguments, self._work(arguments)) if self._n_rows else arguments:
            if isinstance(each, np.ndarray):
                if not (each.flags.c_contiguous and each.dtype.isnative):
                    raise ValueError(
                        f"{self.function.__name__} takes arrays in C order and the byte order of this machine, got "
                        f"strides {each.strides} and {each.dtype.str}"
                    )
                kinds.append((each.dtype.char, each.ndim))
                values += [each.__array_interface__["data"][0], *each.shape]
            else:
                kinds.append(("", 0))
                values.append(int(each))
        entry = self._entries.get(tuple(kinds)) or self._loaded(tuple(kinds))
        if entry(_NOWHERE, _NOWHERE, *values):
            raise RuntimeError(f"kernel {self.function.__name__} failed")

    def _work(self, arguments: tuple[npt.NDArray[Any] | int, ...]) -> npt.NDArray[Any]:
        """This thread's work area, kept from call to call: fresh memory would cost more time than many a kernel."""
        length = max(max(each.shape) for each in arguments if isinstance(each, np.ndarray)) + _BORDER
        n_bytes = self._n_rows * length * self._dtype.itemsize
        area: npt.NDArray[np.uint8] | None = getattr(_scratch, "area", None)
        if area is None or len(area) < n_bytes:
            area = _scratch.area = np.empty(n_bytes, np.uint8)
        return area[:n_bytes].view(self._dtype).reshape(self._n_rows, length)

    def _loaded(self, kinds: Kinds) -> Callable[..., int]:
        """Loads what an earlier process compiled, or compiles it."""
        content = hashlib.sha256(repr(kinds).encode())
        for part in _content(self.function):
            content.update(part)
        name = f"{self.function.__name__}-{content.hexdigest()[:32]}"
        with _lock:
            if kinds not in self._entries:
                _engine().add_object_file(binding.ObjectFileRef.from_data(_machine_code(self.function, kinds, name)))
                _engine().finalize_object()
                types: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
                for _, n_dimensions in kinds:
                    types += (
                        [ctypes.c_void_p, *[ctypes.c_ssize_t] * n_dimensions] if n_dimensions else [ctypes.c_ssize_t]
                    )
                self._entries[kinds] = ctypes.CFUNCTYPE(ctypes.c_int32, *types)(_engine().get_function_address(name))
        return self._entries[kinds]


def kernel(n_rows: int = 0, dtype: str = "float32") -> Callable[[Callable[..., None]], Kernel]:
    """Declares a function to be compiled when it is first called.

    Args:
        n_rows: rows of the work area that the function takes as its last argument, `work`: (n_rows, L), where L is the
            longest side of any array plus 16; its content is arbitrary. With 0 there is none.
        dtype: data type of the work area.

    Returns:
        A decorator for a function of NumPy arrays in C order and whole numbers, in the part of Python that Numba knows.
        It writes its results into arrays, makes none, and calls only what `inlined` declares.
    """
    return lambda function: Kernel(function, n_rows, dtype)


def inlined(function: Function) -> Function:
    """Declares a function to be compiled as a part of each kernel that calls it.

    It has no machine code that kernels share. Shared code was optimized once for each of its callers, and which copy a
    process ran depended on what it had compiled itself and what it had loaded: sums differed in their last bits.
    """
    _inlined.add(function)
    return function


def _content(function: Any) -> Iterator[bytes]:  # noqa: ANN401
    """What the machine code of a function depends on: its code, the constants it uses, and what it calls."""
    code = function.__code__
    if code.co_freevars or any(isinstance(each, CodeType) for each in code.co_consts):
        raise TypeError(f"kernel {code.co_name} has a function inside, or uses variables of one around it")
    yield repr((code.co_code, code.co_consts, code.co_names)).encode()
    for name in code.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, np.ndarray):
            yield value.tobytes()
        elif isinstance(value, FunctionType) and value in _inlined:
            yield from _content(value)
        elif isinstance(value, int | float | str | tuple | np.generic):
            yield repr(value).encode()


def _machine_code(function: Callable[..., None], kinds: Kinds, name: str) -> bytes:
    """An object file that defines a function of this name; see `kernel_compiler.compiled`."""
    folder = _cache_folder()
    path = Path(folder) / f"{name}.o" if folder else None
    if path:
        with contextlib.suppress(OSError):
            kept = path.read_bytes()
            if hashlib.sha256(kept[_DIGEST:]).digest() == kept[:_DIGEST]:
                return kept[_DIGEST:]
    from ugcvqa.kernel_compiler import compiled

    code = compiled(function, _inlined, kinds, name, _target_machine(), _KNOWN)
    if path:
        with contextlib.suppress(StoreError):  # another process can compile it again
            write_atomic(path, hashlib.sha256(code).digest() + code)
    return code


@cache
def _cache_folder() -> str | None:
    """The user's own folder for machine code of these versions; None where no folder can be written."""
    versions = (version("numba"), version("llvmlite"), sys.version_info[:2], binding.get_host_cpu_name(), _features())
    content = hashlib.sha256(repr(versions).encode()).hexdigest()[:16]
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
    log.warning("no folder can keep the compiled NSS kernels: each process compiles them again (about 20 s)")
    return None


def _features() -> str:
    """Instruction sets of this processor, as LLVM names them."""
    return str(binding.get_host_cpu_features().flatten())


def _target_machine() -> Any:  # noqa: ANN401 (LLVM's own type)
    """This processor, for code that is loaded into memory."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=_features(), opt=3, codemodel="jitdefault", jit=True
    )


@cache
def _engine() -> Any:  # noqa: ANN401 (LLVM's own type)
    """What loads object files into this process."""
    target = _target_machine()
    binding.add_symbol(_FREED, ctypes.cast(ctypes.pythonapi.Py_FatalError, ctypes.c_void_p).value)
    return binding.create_mcjit_compiler(binding.parse_assembly(""), target)
