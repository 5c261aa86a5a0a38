"""Whether the pictures of a video as a whole are black, of one colour, or still."""

import numpy as np
import numpy.typing as npt

GLANCE_PX = 64
"""Rows and columns of the levels that are looked at of each frame."""

_BLACK = 16  # of 255; noise and coding leave some levels
_PLAIN = 6
_STILL = 0.6  # mean difference to the first frame, which coding of a picture that stands still stays below


class Levels:
    """The extremes of a video, gathered frame by frame in constant memory."""

    def __init__(self) -> None:
        self._first: npt.NDArray[np.int16] | None = None
        self._n_frames = 0
        self._brightest, self._widest, self._change = 0, 0, 0.0

    @property
    def is_settled(self) -> bool:
        """Whether no further frame can change the summary: the picture is not black, has detail, and moves."""
        return self._brightest > _BLACK and self._widest > _PLAIN and self._change >= _STILL

    def add(self, levels: npt.NDArray[np.uint8]) -> None:
        """Takes some levels of the next frame, always of the same places.

        Args:
            levels: (GLANCE_PX, GLANCE_PX) uint8, 0 black to 255 white.
        """
        self._n_frames += 1
        low, high = int(levels.min()), int(levels.max())
        self._brightest, self._widest = max(self._brightest, high), max(self._widest, high - low)
        if self._first is None:
            self._first = levels.astype(np.int16)
        elif self._change < _STILL:
            self._change = max(self._change, float(np.abs(levels - self._first).mean()))

    def summary(self) -> str:
        """Says in a sentence why a score of such a video is doubtful; empty if it is not, or nothing was seen."""
        if not self._n_frames:
            return ""
        if self._brightest <= _BLACK:
            return "all frames are black, so there is nothing to judge"
        if self._widest <= _PLAIN:
            return "all frames show a plain colour, so there is nothing to judge"
        if self._n_frames > 1 and self._change < _STILL:
            return "the video shows one still picture, while the models were trained on moving ones"
        return ""
