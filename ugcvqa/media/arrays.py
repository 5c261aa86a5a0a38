"""Reused memory for frames: fresh memory costs a page fault for every 4 KiB."""

import contextlib
import ctypes
import sys

import numpy as np
import numpy.typing as npt

_MOST_ARRAYS = 16
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_KEPT_BYTES, _LARGEST_KEPT_BYTES = 64 << 20, 32 << 20  # a frame of 2160p as RGB has 24 MiB


def _references(arrays: list[npt.NDArray[np.uint8]], index: int) -> int:
    return sys.getrefcount(arrays[index])


_IDLE = _references([np.empty(0, np.uint8)], 0)  # how many an array has that only its list holds; Pythons differ


class Memory:
    """Arrays that return to the pool once nobody holds them, or a view of them, any more."""

    def __init__(self) -> None:
        self._arrays: list[npt.NDArray[np.uint8]] = []

    def take(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """An array with arbitrary content; new memory if all arrays of that shape are in use."""
        for index in range(len(self._arrays)):
            if self._arrays[index].shape == shape and _references(self._arrays, index) == _IDLE:
                return self._arrays[index]
        array = np.empty(shape, np.uint8)
        self._arrays = [*self._arrays[1 - _MOST_ARRAYS :], array]
        return array


def _keep_freed_frames() -> None:
    """Lets the C library keep the memory of some frames for the next ones, which the decoder and scaler ask it for.

    Without that, glibc returns it to the system and requests it again up to once per frame.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # other C libraries have no such setting
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


_keep_freed_frames()  # here and not where frames are read, as networks may ask for more before the first is
