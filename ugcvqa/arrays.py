"""The array type of most signatures, and a median."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
"""float64 of any shape; docstrings give it."""


def median(values: npt.NDArray[Any]) -> float:
    """Median of numbers in one dimension, as NumPy's, which imports masked arrays first."""
    ordered = np.sort(values)
    return float(ordered[(len(ordered) - 1) // 2] / 2 + ordered[len(ordered) // 2] / 2)
