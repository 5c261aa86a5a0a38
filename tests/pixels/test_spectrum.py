"""The share of native lines of made pictures: as they are, enlarged, smoothed, with noise and captions."""

import numpy as np
import pytest

from tests.pixels.conftest import luma_of
from ugcvqa.demo.paint import noise
from ugcvqa.demo.versions import doubled, halved, noisy, picture_changes, shrunk_and_back, smoothed
from ugcvqa.pixels.spectrum import _without_noise, band_powers, native_share


def share(frames):
    return native_share(np.mean([band_powers(one) for one in luma_of(frames)[:2]], axis=0))


def test_spectrum_tells_enlarged_pictures():
    texture = noise(np.random.default_rng(0), 360, 640, 1.0)  # a spectrum of 1/f up to the last band
    frames = np.clip(128 + 40 * texture[None, :, :, None], 0, 255).astype(np.uint8).repeat(3, axis=3)
    assert share(frames) > 0.9
    for factor in (2, 3):
        assert share(shrunk_and_back(frames, factor)) == pytest.approx(1 / factor, rel=0.3)
    assert share(doubled(frames)) == pytest.approx(0.45, abs=0.1)
    assert share(halved(frames)) > 0.8
    assert share(smoothed(frames, 3)) < 0.3
    soft = smoothed(frames, 1.8)
    assert share(noisy(12)(soft, np.random.default_rng(0))) < 1.3 * share(soft)  # noise is no detail
    captioned = picture_changes()["captions"](soft, np.random.default_rng(0))
    assert (captioned != soft).any()
    assert share(captioned) == pytest.approx(share(soft), rel=0.05)  # nor is what was laid over a part of it


def power_law(slope):
    """Binary logarithms of band powers that fall by `slope` per octave, far above what is taken for nothing."""
    return 40 + slope * np.log2((np.arange(64) + 0.5) / 64)


def test_shares_of_power_laws_have_a_closed_form():
    """A band on the line counts by a logistic function 2 above its middle; bands from 10 of 64 on are looked at."""
    missing = 1 / (1 + np.exp(2 / 0.6))
    for slope in (-2.2, -1.9, -1.6):
        # smoothing lifts the bent lowest bands a little, and the line with them
        assert native_share(power_law(slope)) == pytest.approx((10 / 64) ** missing, rel=3e-3)
    assert native_share(power_law(-40)) == pytest.approx(10 / 64, rel=1e-3)


def test_line_of_a_power_law_is_kept_within_its_slopes():
    """Where the low bands are steeper or flatter, the line through their middle has the nearest slope allowed."""
    octaves = np.log2((np.arange(64) + 0.5) / 64)
    middle = octaves[3:14].mean()
    for slope, line in ((-3.0, -2.2), (-2.5, -2.2), (-1.4, -1.6)):
        present = np.minimum.accumulate(1 / (1 + np.exp(-((slope - line) * (octaves[10:] - middle) + 2) / 0.6)))
        expected = 2 ** -np.sum((1 - present) * np.diff(np.log2(np.arange(10, 65))))
        assert native_share(power_law(slope)) == pytest.approx(expected, rel=0.02)


def test_half_of_a_floor_of_noise_is_taken_away_at_a_slope_of_minus_0_8():
    """By the slope from bands 36..43 to 56..63: nothing below -1.2, the geometric mean of bands 52..63 above -0.4."""
    floor = 30.0
    for slope, share in ((-1.3, 0), (-0.8, 0.5), (-0.4, 1), (0.0, 1)):
        powers = np.full(64, floor)
        powers[:36] += 12
        powers[36:44] -= slope * np.log2(60 / 40)
        powers[36:44] += np.linspace(-1, 1, 8)
        powers[56:] += np.linspace(-0.4, 0.4, 8)
        powers[52:56] += 0.3
        left = 2**powers - share * 2 ** np.mean(powers[52:64])
        expected = np.log2(np.maximum(left, 0.02 * 2**powers) + 1e-6)
        np.testing.assert_allclose(_without_noise(powers), expected, atol=1e-9)
