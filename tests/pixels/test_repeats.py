"""Repeated frames on made pictures: with and without noise, beside cuts, in steady motion."""

import numpy as np
import pytest

from ugcvqa.pixels.counts import BLOCK
from ugcvqa.pixels.repeats import chosen_frames, new_frames, shown_rate


def test_repeats_are_counted_out(luma):
    assert new_frames(luma).all()
    twice = np.repeat(luma, 2, axis=0)
    twice[1::2] ^= 1  # coding of a repeat changes a level here and there
    np.testing.assert_array_equal(new_frames(twice), [True, *[False, True] * 23, False])
    assert shown_rate(new_frames(twice), 48.0) == pytest.approx(24, rel=0.05)
    grain = np.random.default_rng(0).normal(0, 12, twice.shape)
    noisy_twice = np.clip(twice + grain, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(new_frames(noisy_twice), new_frames(twice))
    assert new_frames(noisy_twice[::2]).sum() >= 23
    steady = np.stack([np.roll(luma[0], 2 * step, axis=1) for step in range(24)])
    steady[10:] = 255 - steady[10:]  # a cut, beside which the even motion is no repeat
    assert new_frames(steady).all()
    held = luma[np.arange(24) // 6 * 6]
    assert shown_rate(new_frames(held), 24.0) == pytest.approx(24 * 3 / 23)
    assert new_frames(np.repeat(luma[:1], 24, axis=0)).all()  # stands: nothing can be told
    assert np.isnan(shown_rate(np.ones(1, bool), 24.0))


def test_frames_about_the_middle_are_those_of_the_features_where_none_repeats():
    np.testing.assert_array_equal(chosen_frames(np.ones(24, bool), 12), np.arange(8, 16))
    np.testing.assert_array_equal(chosen_frames(np.ones(24, bool), 2), np.arange(8))
    np.testing.assert_array_equal(chosen_frames(np.ones(15, bool), 12), np.arange(8, 15))
    every_second = np.arange(24) % 2 == 0
    np.testing.assert_array_equal(chosen_frames(every_second, 12), np.arange(4, 20, 2))
    np.testing.assert_array_equal(chosen_frames(np.arange(24) % 6 == 0, 12), np.arange(8, 16))  # too few are new


def changing(*changes):
    """Frames of eight flat blocks, each of which differs from the one before by a mean change of eighths of a level."""
    levels = np.full((len(changes) + 1, 8), 100)
    for number, change in enumerate(changes):
        step = np.full(8, int(change))
        step[: round(8 * (change % 1))] += 1
        levels[number + 1] = levels[number] + (-1) ** number * step
    return levels[:, None].repeat(BLOCK, 1).repeat(BLOCK, 2).astype(np.uint8)


@pytest.mark.parametrize(
    ("moving", "last", "is_new"),
    [
        (25, [1], False),  # a repeat after coding: a level at most
        (25, [1.125], True),
        (4.5, [0.5], False),  # of slow motion: 0.12 of it at most
        (4, [0.5], True),
        (25, [2, 2], False),  # two alike, far below the others: repeats under noise
        (25, [2], True),
        (25, [18, 18], True),  # not below 0.7 of the others
        (0.5, [0], False),
        (0.25, [0], True),  # the picture stands still: nothing can be told
    ],
)
def test_a_repeat_changes_little_of_what_motion_changes(moving, last, is_new):
    found = new_frames(changing(*[moving] * 5, *last))
    assert found[:6].all()
    assert (found[6:] == is_new).all()
