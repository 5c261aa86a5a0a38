"""The true resolution of a picture: where its spectrum ends, whatever its number of pixels."""

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array

N_BANDS = 64
"""Bands of equal width from frequency 0 to half a cycle per pixel."""


_LINES = 256  # rows or columns at most that a spectrum is the mean of
_STRIPS = 4  # of the picture, of which the second strongest counts: captions, and what else was laid over one, do not
_LINE_BANDS = slice(3, 14)  # bands that every upscaled picture still has: they determine the 1/f line
_STEEPEST, _FLATTEST = -2.2, -1.6  # binary logarithms of power per octave; steeper pictures are soft in the line too
_FIRST_BAND = 10  # no statement is made below a sixth of the resolution
_DROP, _SOFTNESS = 2.0, 0.6  # binary logarithms below the line at which half of a band counts as missing
_TAIL, _TAIL_START, _MIDDLE = slice(52, 64), slice(56, 64), slice(36, 44)
_NOISE_SLOPE, _NOISE_RANGE = -1.2, 0.8  # per octave at the end: flatter spectra end in noise, not in detail
_SMALLEST = 1e-6


def band_powers(luma: npt.NDArray[np.uint8]) -> Array:
    """Power of the rows and of the columns of a picture in each band, so that a caption does not count.

    Args:
        luma: (H, W) uint8, sides of at least 8.

    Returns:
        (64,) binary logarithms, mean of both directions; in each band from the strip with the second largest power.
    """
    strips = [(_powers(strip) + _powers(strip.T)) / 2 for strip in np.array_split(luma, _STRIPS)]
    second: Array = np.sort(strips, axis=0)[-2]
    return second


def _powers(luma: npt.NDArray[np.uint8]) -> Array:
    lines = luma[:: max(1, len(luma) * _STRIPS // _LINES)].astype(np.float32)
    window = np.hanning(lines.shape[1]).astype(np.float32)
    lines = (lines - lines.mean(axis=1, keepdims=True)) * window
    power = (np.abs(np.fft.rfft(lines, axis=1)) ** 2).mean(axis=0)[1:] / np.sum(window**2)
    places = np.arange(1, len(power) + 1) * N_BANDS / len(power)
    band = np.minimum(places.astype(int), N_BANDS - 1)
    counts = np.bincount(band, minlength=N_BANDS)
    sums = np.bincount(band, power, N_BANDS)
    known = np.flatnonzero(counts)
    return np.interp(np.arange(N_BANDS), known, np.log2(sums[known] / counts[known] + _SMALLEST))


def native_share(powers: Array) -> float:
    """Estimates which share of its lines a picture needs: 1 for a sharp one, about 0.5 for one enlarged twice.

    Source: own. Pictures have spectra near a power law; upscaling and blur leave the higher frequencies without power.
    Each band counts by how far it lies below the line through the low ones, softly, so that the estimate moves little
    from frame to frame; above the first gap nothing counts, since that is ringing. Where the spectrum ends flat, that
    power is noise and is taken away before.

    Args:
        powers: (64,) as of `band_powers`, or the mean of several pictures.

    Returns:
        0.15 to 1.
    """
    octaves = np.log2((np.arange(N_BANDS) + 0.5) / N_BANDS)
    padded = np.pad(powers, 1, mode="edge")
    smooth = _without_noise((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4)
    x, y = octaves[_LINE_BANDS], smooth[_LINE_BANDS]
    slope = float(np.clip(np.polyfit(x, y, 1)[0], _STEEPEST, _FLATTEST))
    below = smooth - (y.mean() + slope * (octaves - x.mean()))
    present = np.minimum.accumulate(1 / (1 + np.exp(-(below[_FIRST_BAND:] + _DROP) / _SOFTNESS)))
    widths = np.diff(np.log2(np.arange(_FIRST_BAND, N_BANDS + 1)))
    return float(2 ** -np.sum((1 - present) * widths))


def _without_noise(powers: Array) -> Array:
    slope = (powers[_TAIL_START].mean() - powers[_MIDDLE].mean()) / np.log2(60 / 40)
    share = np.clip((slope - _NOISE_SLOPE) / _NOISE_RANGE, 0, 1)
    power = 2**powers
    left: Array = np.log2(np.maximum(power - share * 2 ** powers[_TAIL].mean(), 0.02 * power) + _SMALLEST)
    return left
