"""Which frame shows a second: the one on screen in its middle."""

from types import SimpleNamespace

import numpy as np
import pytest

from ugcvqa.scoring.explanation import Timeline
from ugcvqa.scoring.moments import worst_and_best


def timeline(starts, stops, mos):
    return Timeline(tuple(starts), tuple(stops), tuple(mos))


@pytest.mark.parametrize(
    ("rate", "worst", "best"),
    [
        (8, 12, 4),  # 1.5 s and 0.5 s are the times of frames
        (5, 7, 2),  # 1.5 s falls between frames 7 and 8, of which 7 is on screen
        (1, 1, 0),
    ],
)
def test_frame_in_the_middle_of_a_second_is_shown(rate, worst, best):
    info = SimpleNamespace(times_s=np.arange(3 * rate) / rate, n_frames=3 * rate)
    asked = []

    def picture(index, info):
        asked.append(index)
        return info.times_s[index], np.zeros((4, 4, 3), np.uint8)

    low, high = worst_and_best(timeline([0, 1, 2], [1, 2, 3], [4.0, 2.0, 3.0]), info, picture)
    assert asked == [worst, best]
    assert (low.time_s, high.time_s) == (worst / rate, best / rate)
    assert (low.start_s, high.start_s) == (1, 0)


def test_middle_of_seconds_of_uneven_length_is_a_time_not_a_count():
    times = np.array([0.0, 0.1, 0.2, 0.3, 0.9, 1.0])  # five frames in the first second, four of them early
    info, asked = SimpleNamespace(times_s=times, n_frames=6), []

    def picture(index, info):
        asked.append(index)
        return info.times_s[index], np.zeros((4, 4, 3), np.uint8)

    worst_and_best(timeline([0.0], [1.0], [3.0]), info, picture)
    assert asked == [3, 3]  # on screen from 0.3 to 0.9 s


def test_pictures_are_shrunk_to_640_pixels():
    info = SimpleNamespace(times_s=np.array([0.0, 0.5]), n_frames=2)
    large = np.zeros((720, 1280, 3), np.uint8)
    worst, _ = worst_and_best(timeline([0.0], [1.0], [3.0]), info, lambda index, info: (0.0, large))
    assert worst.frame.shape == (360, 640, 3)
