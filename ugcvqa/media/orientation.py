"""How a decoded frame is turned and mirrored for display."""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Rectangle: TypeAlias = tuple[int, int, int, int]
"""First row, first column, rows and columns of a part of a picture."""

_TOLERANCE = 0.01  # of a matrix whose numbers are rounded, about half a degree


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to show a frame: mirrored first if at all, then turned.

    Attributes:
        quarter_turns: counter-clockwise, 0 to 3.
        is_mirrored: left and right are exchanged before the turn.
        is_exact: the file asks for just that, not for another angle or for a sheared picture.
    """

    quarter_turns: int = 0
    is_mirrored: bool = False
    is_exact: bool = True

    def apply(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Shows an image (H, W) or (H, W, C), as a view."""
        return np.rot90(image[:, ::-1] if self.is_mirrored else image, self.quarter_turns)

    def apply_to_part(self, part: Rectangle, height: int, width: int) -> Rectangle:
        """Where a part of an image (H, W) lies when the image is shown."""
        top, left, rows, columns = part
        if self.is_mirrored:
            left = width - left - columns
        for _ in range(self.quarter_turns):
            top, left, rows, columns = width - left - columns, top, columns, rows
            height, width = width, height
        return top, left, rows, columns


UPRIGHT = Orientation()
"""As decoded."""


def orientation_of(matrix: bytes) -> Orientation:
    """Reads a display matrix.

    Args:
        matrix: nine native 32-bit integers a b u, c d v, x y w: a step to the right in the frame leads by (a, b) to the
            right and down on the screen, a step down by (c, d). Source: FFmpeg's `libavutil/display.h`, after
            ISO/IEC 14496-12, box `tkhd`.

    Returns:
        The nearest of the eight orientations; upright where the matrix shows nothing.
    """
    if len(matrix) < 36:
        return UPRIGHT
    a, b, _, c, d = np.frombuffer(matrix[:36], np.int32)[:5].astype(float).tolist()
    right, down = math.hypot(a, b), math.hypot(c, d)
    if not right or not down:
        return UPRIGHT
    is_mirrored = a * d - b * c < 0
    sign = -1 if is_mirrored else 1
    # Where the frame's right and its upward direction, turned back by a quarter, point to: the same if nothing shears.
    step = np.array((complex(a, -b) / right, complex(-c, d) / down * -1j))
    step[0] *= sign
    turned = complex(step.sum())
    turns = round(math.atan2(turned.imag, turned.real) / (math.pi / 2)) % 4 if turned else 0
    is_exact = bool(np.abs(step - 1j**turns).max() < _TOLERANCE)
    return Orientation(turns, is_mirrored, is_exact)
