"""The array type of most signatures."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
"""float64 of any shape; docstrings give it."""
