"""The windows, matrices and curves of the NSS features as plain numbers, for every way to compute them.

Source: the public code of RAPIQUE (Tu et al., 2021) and RAPIQUE-UGC.
"""

import math
from collections.abc import Iterable
from functools import cache

import numpy as np
import numpy.typing as npt

EPS = 2.0**-52
"""MATLAB's eps, which its code adds to deviations and gradients."""

N_MAPS = 16
N_FULL_SCALE = 4
"""Maps 0 to 3 are used at full and at half size, the others at half size only."""
N_BANDS = 7
N_SLOTS = 8
"""Frames of a temporal stack."""

BT601 = (
    (1.1643835616438358, 3.0112439739772951e-07, 1.5960268873357040, 222.92161710919436),
    (1.1643835616438358, -0.39176253994145005, -0.81296829216220534, -135.5754095229665),
    (1.1643835616438358, 2.0172326395564593, 3.0542617453304942e-06, 276.83630579503154),
)
"""Red, green, blue: factors of Y, U, V, then the constant taken off."""
GREY = (0.298936021293775390, 0.587043074451121360, 0.114020904255103250)
OPPONENT = ((0.30, 0.04, -0.35), (0.34, -0.60, 0.17))
LAB_MATRIX = (
    (0.412414794645311, 0.35761181697493216, 0.1804490184539688),
    (0.21264364470885586, 0.7151490085743925, 0.07217403969994776),
    (0.01931719422031574, 0.1191749261302743, 0.9503941838852271),
)
LAB_WHITE = (0.9504, 1.0, 1.0889)
LAB_KNEE = (6 / 29) ** 3
"""Below it the cube root of CIELAB is continued by its tangent."""
LAB_SLOPE = (29 / 6) ** 2 / 3
BAND_SIGNS: tuple[tuple[int, ...], ...] = (
    (1, 1, 1, 1, -1, -1, -1, -1),
    (1, 1, -1, -1, 1, 1, -1, -1),
    (1, 1, -1, -1, -1, -1, 1, 1),
    (1, -1, 1, -1, 1, -1, 1, -1),
    (1, -1, 1, -1, -1, 1, -1, 1),
    (1, -1, -1, 1, 1, -1, -1, 1),
    (1, -1, -1, 1, -1, 1, 1, -1),
)
"""Signs of the eight frames in each band of a three-level Haar wavelet packet."""

# 7 x 7 Gaussian of sigma 7/6, rows from the border to the centre. The exact bits matter: MATLAB normalises the window
# twice, so that it sums to 1 - 2^-52, and flat areas keep that residue.
_WINDOW_QUADRANT = (
    (0.0001577586358082699, 0.0009900950389243662, 0.0029804862989742742, 0.004303520521060793),
    (0.0009900950389243662, 0.0062138480158640775, 0.01870556678610541, 0.027008944999942323),
    (0.0029804862989742742, 0.01870556678610541, 0.05630942821519818, 0.08130511451661487),
    (0.004303520521060793, 0.027008944999942323, 0.08130511451661487, 0.11739635539001349),
)
WINDOW = tuple(tuple(_WINDOW_QUADRANT[3 - abs(y)][3 - abs(x)] for x in range(-3, 4)) for y in range(-3, 4))
DEFICIT = 2.0**-52
"""What `WINDOW` lacks to a sum of 1."""


def normalised(weights: Iterable[float]) -> tuple[float, ...]:
    """Divides weights by their sum."""
    weights = tuple(weights)
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


LINE = normalised(math.exp(-(x**2) / (2 * (7 / 6) ** 2)) for x in range(-3, 4))
"""`WINDOW` along one axis."""
SMOOTH_11 = tuple(math.exp(-(x**2) / (2 * 1.66**2)) for x in range(-5, 6))
BELL_8 = normalised(math.exp(-((x - 0.5) ** 2) / 2) for x in range(-3, 5))
BLUR_3 = normalised(math.exp(-(x**2) / 18) for x in (-1, 0, 1))


@cache
def gaussian_8() -> tuple[tuple[float, ...], ...]:
    """8 x 8 Gaussian of sigma 1, sum 1, in the order of operations of MATLAB."""
    bell = [[math.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / 2) for x in range(-3, 5)] for y in range(-3, 5)]
    total = math.fsum(weight for row in bell for weight in row)
    return tuple(tuple(weight / total for weight in row) for row in bell)


@cache
def laplacian_kernel() -> tuple[tuple[float, ...], ...]:
    """9 x 9 Laplacian of Gaussian, sigma 1.5, absolute sum 1."""
    offsets = np.arange(-4.0, 5.0)
    square = offsets[:, None] ** 2 + offsets**2
    gaussian = np.exp(-square / (2 * 1.5**2))
    kernel = gaussian / gaussian.sum() * (square - 2 * 1.5**2) / 1.5**4
    kernel = kernel - kernel.mean()
    kernel = kernel / np.abs(kernel).sum()
    return tuple(tuple(row) for row in kernel.tolist())


@cache
def log_levels() -> npt.NDArray[np.float64]:
    """ln(level + 0.1) of the 8-bit levels, (256,) float64."""
    return np.log(np.arange(256.0) + 0.1)


@cache
def linear_levels() -> npt.NDArray[np.float64]:
    """Linear light of the 8-bit sRGB levels, (256,) float64 in 0..1: a 1024-entry curve of 16-bit values, interpolated.

    Source: the curves of ICC profiles; identified by fits to published features.
    """
    v = np.arange(1024) / 1023
    curve = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    curve = np.floor(65535 * curve + 0.5) / 65535
    position = 1023 * np.arange(256.0) / 255
    below = np.minimum(np.floor(position).astype(np.int64), 1022)
    return np.asarray(curve[below] + (position - below) * (curve[below + 1] - curve[below]))
