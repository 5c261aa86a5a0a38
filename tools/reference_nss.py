"""NumPy and SciPy version of the NSS features in float64, map by map as the public MATLAB code is.

It shares no code with `ugcvqa` and serves as the yardstick of `speed_nss.py`. It is what a careful user of SciPy would
write: windows that separate are applied along one axis after the other, and what does not change is computed once.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, correlate, correlate1d
from scipy.sparse import csr_array
from scipy.special import gamma

Array = NDArray[np.float64]

EPS = 2.0**-52
GRID = np.arange(100, 6001) / 1000
GGD_RATIO = gamma(1 / GRID) * gamma(3 / GRID) / gamma(2 / GRID) ** 2
AGGD_RATIO = 1 / GGD_RATIO
BAND_SIGNS = ("++++----", "++--++--", "++----++", "+-+-+-+-", "+-+--+-+", "+--++--+", "+--+-++-")


def bell(offsets: Array, sigma: float) -> Array:
    """Gaussian weights of sum 1 on the given offsets."""
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum())


def blur(x: Array, weights: Array, origin: int = 0) -> Array:
    """Correlates with a window that is the same along both axes; edges are repeated."""
    down = correlate1d(x, weights, axis=0, mode="nearest", origin=origin)
    return np.asarray(correlate1d(down, weights, axis=1, mode="nearest", origin=origin))


def resize(x: Array, scale: float) -> Array:
    """Bicubic antialiased resize of one plane with mirrored borders, rows first."""
    rows = resize_matrix(x.shape[0], scale) @ x
    return np.asarray((resize_matrix(x.shape[1], scale) @ rows.T).T)


@cache
def resize_matrix(n: int, scale: float) -> csr_array:
    """Sparse (ceil(scale * n), n) matrix of one axis."""
    m = math.ceil(scale * n)
    shrink = min(scale, 1.0)
    matrix = np.zeros((m, n))
    for row in range(m):
        centre = (row + 1) / scale + 0.5 * (1 - 1 / scale)
        taps = np.floor(centre - 2 / shrink) + np.arange(math.ceil(4 / shrink) + 2)
        t = np.abs(shrink * (centre - taps))
        near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        weights = np.where(t <= 1, near, np.where(t <= 2, far, 0))
        period = np.concatenate((np.arange(n), np.arange(n)[::-1]))
        np.add.at(matrix[row], period[(taps.astype(int) - 1) % (2 * n)], weights / weights.sum())
    return csr_array(matrix)


def gradient(x: Array) -> Array:
    """Magnitude of the 11 x 11 derivative of a Gaussian of sigma 1.66, zero border."""
    t = np.arange(-5.0, 6.0)
    smooth = np.exp(-(t**2) / (2 * 1.66**2))
    horizontal = convolve1d(convolve1d(x, t * smooth, axis=1, mode="constant"), smooth, axis=0, mode="constant")
    vertical = convolve1d(convolve1d(x, t * smooth, axis=0, mode="constant"), smooth, axis=1, mode="constant")
    return np.asarray(np.sqrt(horizontal**2 + vertical**2) + EPS)


def round_to_8bit(x: Array) -> Array:
    """Rounds half up and clamps to 0..255."""
    return np.clip(np.floor(x + 0.5), 0, 255)


@cache
def linear_levels() -> Array:
    """Linear light of the 256 levels: a curve of 1,024 entries of 16 bits, interpolated."""
    v = np.arange(1024) / 1023
    curve = np.floor(65535 * np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4) + 0.5) / 65535
    return np.interp(np.arange(256) / 255, v, curve)


def lab(rgb: Array) -> tuple[Array, Array]:
    """8-bit coded a* and b* of (3, H, W) levels after a 3 x 3 blur."""
    weights = bell(np.arange(-1.0, 2.0), 3)
    blurred = np.stack([round_to_8bit(blur(channel, weights)) for channel in rgb])
    linear = linear_levels()[blurred.astype(np.uint8)]
    matrix = np.array(
        [
            [0.412414794645311, 0.35761181697493216, 0.1804490184539688],
            [0.21264364470885586, 0.7151490085743925, 0.07217403969994776],
            [0.01931719422031574, 0.1191749261302743, 0.9503941838852271],
        ]
    )
    white = np.array([0.9504, 1, 1.0889])
    t = np.einsum("ij,jhw->ihw", matrix / white[:, None], linear)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    coded = (500 * (f[0] - f[1]), 200 * (f[1] - f[2]))
    a, b = (round_to_8bit(np.floor((x + 128) * 256 + 0.5) / 256) for x in coded)
    return a, b


def spatial_maps(frame: NDArray[np.uint8]) -> list[Array]:
    """The 16 maps of an (H, W, 3) 8-bit frame."""
    red, green, blue = rgb = np.moveaxis(frame, -1, 0).astype(np.float64)
    grey = round_to_8bit(0.29893602129377539 * red + 0.58704307445112136 * green + 0.11402090425510325 * blue)
    sobel = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    gradient_magnitude = np.hypot(correlate(grey, sobel, mode="nearest"), correlate(grey, sobel.T, mode="nearest"))
    t = np.arange(-4.0, 5.0)
    square = t[:, None] ** 2 + t**2
    laplacian = np.outer(bell(t, 1.5), bell(t, 1.5)) * (square - 2 * 1.5**2) / 1.5**4
    laplacian -= laplacian.mean()
    laplacian /= np.abs(laplacian).sum()
    # origin -1: SciPy centres an even window on its fifth tap, MATLAB on its fourth
    blurred = blur(grey, bell(np.arange(-3.5, 4.5), 1), origin=-1)
    logs = [np.log(x + 0.1) - np.log(x + 0.1).mean() for x in rgb]
    pairs = (
        (0.30 * red + 0.04 * green - 0.35 * blue, 0.34 * red - 0.60 * green + 0.17 * blue),
        ((logs[0] + logs[1] - 2 * logs[2]) / math.sqrt(6), (logs[0] - logs[1]) / math.sqrt(2)),
        lab(rgb),
    )
    maps = [grey, gradient_magnitude, np.abs(correlate(grey, laplacian, mode="nearest")), grey - blurred]
    for first, second in pairs:
        maps += [first, second, gradient(first), gradient(second)]
    return maps


def fit_ggd(v: Array) -> tuple[float, float]:
    """Shape and root mean square."""
    mean_square = (v**2).mean()
    with np.errstate(invalid="ignore"):
        rho = mean_square / np.abs(v).mean() ** 2
    return float(GRID[np.argmin(np.abs(rho - GGD_RATIO))]), float(np.sqrt(mean_square))


def fit_aggd(v: Array) -> tuple[float, float, float, float]:
    """Shape, mean, left and right deviation."""
    left = np.sqrt((v[v < 0] ** 2).mean()) if (v < 0).any() else math.nan
    right = np.sqrt((v[v > 0] ** 2).mean()) if (v > 0).any() else math.nan
    skew = left / right
    ratio = np.abs(v).mean() ** 2 / (v**2).mean()
    target = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    alpha = GRID[np.argmin((AGGD_RATIO - target) ** 2)]
    first, second, third = (gamma(k / alpha) for k in (1, 2, 3))
    eta = (right - left) * second / first * math.sqrt(first) / math.sqrt(third)
    return float(alpha), float(eta), float(left), float(right)


def statistics(x: Array) -> list[float]:
    """The 34 numbers of one map."""
    weights = bell(np.arange(-3.0, 4.0), 7 / 6)
    mean = blur(x, weights)
    deviation = np.sqrt(np.abs(blur(x * x, weights) - mean * mean))
    mscn = (x - mean) / (deviation + 1)
    deviation += EPS
    values = [*fit_ggd(mscn), float(deviation.mean()), float((deviation.mean() / deviation.std(ddof=1)) ** 2)]
    for shift in ((0, 1), (1, 0), (1, 1), (-1, 1)):
        values += fit_aggd(mscn * np.roll(mscn, shift, (0, 1)))
    j = np.log(np.abs(mscn) + 0.1)
    for shift in ((0, 1), (1, 0), (1, 1), (-1, 1)):
        values += fit_ggd(j - np.roll(j, shift, (0, 1)))
    rolled = [np.roll(j, shift, (0, 1)) for shift in ((1, 1), (0, 1), (1, 0))]
    values += fit_ggd(j + rolled[0] - rolled[1] - rolled[2])
    for kernel in ([[0, 1, 0], [-1, 0, -1], [0, 1, 0]], [[1, 0, -1], [0, 0, 0], [-1, 0, 1]]):
        values += fit_ggd(correlate(j, np.array(kernel, dtype=np.float64), mode="nearest"))
    return values


def spatial_features(frame: NDArray[np.uint8]) -> Array:
    """The 680 numbers of one (H, W, 3) frame at its working size."""
    values: list[float] = []
    for index, single in enumerate(spatial_maps(frame)):
        if index < 4:
            values += statistics(single)
        values += statistics(resize(single, 0.5))
    return np.array(values)


def temporal_features(luma: NDArray[np.uint8]) -> Array:
    """The 476 numbers of an (8, H, W) luma stack at its working size."""
    values: list[float] = []
    for signs in BAND_SIGNS:
        band = sum(float(sign + "1") * frame.astype(np.float64) for sign, frame in zip(signs, luma, strict=True))
        values += statistics(np.asarray(band)) + statistics(resize(np.asarray(band), 0.5))
    return np.array(values)
