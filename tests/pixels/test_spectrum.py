"""The share of native lines of made pictures: as they are, enlarged, smoothed, with noise and captions."""

import numpy as np
import pytest

from tests.pixels.conftest import luma_of
from ugcvqa.demo.paint import noise
from ugcvqa.demo.versions import doubled, halved, noisy, picture_changes, shrunk_and_back, smoothed
from ugcvqa.pixels.spectrum import band_powers, native_share


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
