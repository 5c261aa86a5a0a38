"""Resources of this machine: processor cores and memory."""

import contextlib
import os
from pathlib import Path

_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def n_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory of this machine, or what a container may use of it; 4 GiB where that is unknown."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 4 << 30
    for name in _CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such file, or the word `max`
            whole = min(whole, int(Path(name).read_text()))
    return whole
