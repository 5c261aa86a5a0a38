"""The stack on which a thread handles signals, where a library takes it for itself."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_DISABLED = 2  # SS_DISABLE of Linux


class _Stack(ctypes.Structure):
    """stack_t of Linux: address, flags, bytes."""

    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Gives this thread back the stack for signals that it had before the block.

    OpenVINO's CPU plugin gives the thread that loads it another stack and frees it with the core, in whatever
    thread that is; the next signal that Python handles would then end the process (SIGSEGV). Keeping the core instead
    makes networks crash that follow others in one process.
    """
    try:
        exchange = ctypes.CDLL(None).sigaltstack
    except (AttributeError, OSError, TypeError):
        yield
        return
    before = _Stack()
    exchange(None, ctypes.byref(before))
    try:
        yield
    finally:
        before.flags &= _DISABLED
        exchange(ctypes.byref(before), None)
