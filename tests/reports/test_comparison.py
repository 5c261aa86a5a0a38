"""Versions of one video: what counts as such, and the part of the picture in which they differ."""

import numpy as np
import pytest

from ugcvqa.display.images import resized
from ugcvqa.reports.comparison import are_versions, deviation, most_different, most_different_part

RANDOM = np.random.default_rng(0)


def picture(height=90, width=160):
    coarse = RANDOM.integers(0, 255, (9, 16, 3), dtype=np.uint8)
    return resized(coarse, width, height)


def test_other_sizes_and_noise_are_versions_and_other_pictures_are_not():
    frames = [picture() for _ in range(3)]
    noisy = [np.clip(one + RANDOM.normal(0, 12, one.shape), 0, 255).astype(np.uint8) for one in frames]
    small = [resized(one, 80, 45) for one in frames]
    assert are_versions([8.0, 8.02, 7.9], [frames, noisy, small])
    assert not are_versions([8.0, 8.0], [frames, [picture() for _ in range(3)]])
    assert not are_versions([8.0, 12.0], [frames, noisy])
    assert not are_versions([8.0, 8.0], [frames, [resized(one, 90, 160) for one in frames]])
    assert not are_versions([8.0], [frames])


def test_most_different_moment_and_deviation():
    one = np.full((4, 6, 3), 100, dtype=np.uint8)
    assert most_different([[one, one, one], [one, one + 20, one + 5]]) == 1
    assert deviation([one, one + 20]) == pytest.approx(np.full((4, 6), 10.0))  # half of the difference of two


@pytest.mark.parametrize(("top", "left"), [(0, 0), (31, 70), (60, 120)])
def test_crop_holds_what_differs_at_each_resolution(top, left):
    frame = np.full((90, 160, 3), 90, dtype=np.uint8)
    spoilt = frame.copy()
    spoilt[top : top + 30, left : left + 40] += np.uint8(80)
    half = resized(spoilt, 80, 45)
    versions = [frame, spoilt, half]
    part = most_different_part(versions, [one.shape[1::-1] for one in versions], 40, 30)
    cut = [part.cut(one) for one in versions]
    assert [one.image.shape for one in cut] == [(30, 40, 3), (30, 40, 3), (15, 20, 3)]
    assert np.abs(np.array(cut[1].position) - (left, top)).max() <= 4
    assert cut[1].image.mean() > 150
    assert cut[0].image.mean() == 90
