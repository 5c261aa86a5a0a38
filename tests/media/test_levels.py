"""What counts as black, plain and still: the levels just inside and just outside."""

import numpy as np
import pytest

from ugcvqa.media.levels import GLANCE_PX, Levels


def said_of(*frames):
    levels = Levels()
    for frame in frames:
        levels.add(frame)
    assert not (levels.is_settled and levels.summary())
    return levels.summary().partition(",")[0]


def frame(low, high):
    levels = np.full((GLANCE_PX, GLANCE_PX), low, np.uint8)
    levels[0, 0] = high
    return levels


def moved(by, share):
    """A frame of detail, and the same with a share of its pixels brighter by some levels."""
    levels = np.tile(np.arange(100, 100 + GLANCE_PX, dtype=np.uint8), (GLANCE_PX, 1))
    other = levels.copy()
    other.flat[: round(share * other.size)] += np.uint8(by)
    return levels, other


def test_black_reaches_up_to_the_black_of_limited_range():
    """Level 16 is black in limited range (ITU-R BT.601), read here as full range."""
    assert said_of(frame(0, 16)) == "all frames are black"
    assert "black" not in said_of(frame(0, 17))


def test_plain_pictures_differ_by_six_levels_at_most():
    assert said_of(frame(100, 106), frame(110, 116)) == "all frames show a plain colour"
    assert said_of(frame(100, 107), frame(110, 117)) == ""


@pytest.mark.parametrize(("share", "said"), [(0.59, "the video shows one still picture"), (0.61, "")])
def test_still_pictures_change_by_less_than_six_tenths_of_a_level(share, said):
    assert said_of(*moved(1, share)) == said


def test_a_single_frame_is_not_called_still():
    assert said_of(moved(1, 0)[0]) == ""
    assert Levels().summary() == ""
