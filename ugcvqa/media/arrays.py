"""Reused memory for frames: fresh memory costs a page fault for every 4 KiB."""

import contextlib
import ctypes
import sys
from collections.abc import Hashable

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
        self._contents: list[Hashable] = []

    def take(self, shape: tuple[int, ...], content: Hashable) -> tuple[npt.NDArray[np.uint8], bool]:
        """Takes an array.

        Args:
            shape: of the array.
            content: identifies what will be in it, once and for all: a caller who asks for the same content gets the
                same array.

        Returns:
            The array, and whether the caller has to fill it; arbitrary values are in it then.
        """
        if content in self._contents:
            return self._arrays[self._contents.index(content)][: shape[0]], False
        length = shape[0]
        alike = [k for k in range(len(self._arrays)) if self._arrays[k].shape[1:] == shape[1:] and self._is_idle(k)]
        for index in alike:
            if length <= len(self._arrays[index]) <= 2 * length:
                self._contents[index] = content
                return self._arrays[index][:length], True
        # the first and last pieces of a video are shorter than the others, and give way to these
        kept = [k for k in range(len(self._arrays)) if k not in alike or len(self._arrays[k]) < length // 2]
        kept = kept[1 - _MOST_ARRAYS :]
        self._arrays = [*(self._arrays[k] for k in kept), np.empty(shape, np.uint8)]
        self._contents = [*(self._contents[k] for k in kept), content]
        return self._arrays[-1], True

    def _is_idle(self, index: int) -> bool:
        return _references(self._arrays, index) == _IDLE


def _keep_freed_frames() -> None:
    """Lets the C library keep the memory of some frames for the next ones, which the decoder and scaler ask it for.

    Without that, glibc returns it to the system and requests it again up to once per frame.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # other C libraries have no such setting
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


_keep_freed_frames()  # here and not where frames are read, as networks may ask for more before the first is
