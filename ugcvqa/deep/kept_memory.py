"""What happens to memory that networks free: this process keeps it for their next arrays, or returns it."""

import ctypes
import gc
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Makes this process keep freed memory for its next arrays instead of returning it to the system.

    Large arrays that are made again for every frame otherwise cost a page fault per 4 KiB, up to a third of the
    time. No value changes. Call it once the networks are built: what building them freed is given back first.

    Returns:
        Whether the C library has such a setting (glibc has).
    """
    gc.collect()  # traced networks refer to themselves
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    give_back_freed_memory()
    return all([mallopt(name, value) == 1 for name, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1))])


def give_back_freed_memory() -> None:
    """Returns the memory that this process has freed to the system, where the C library can (glibc does).

    After `keep_freed_memory`, call it where one network's work ends and another's begins: their arrays differ in
    size, so what one has freed rarely serves the other.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
