"""Bars on made pictures: each is found to the line, and nothing else is taken for one."""

import numpy as np
import pytest

from ugcvqa.pixels.bars import Box, content_box


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (20, 0), (0, 36), (24, 30)])
def test_bars_are_found_to_the_line(luma, rows, columns):
    frames = luma[:3].copy()
    rng = np.random.default_rng(0)
    for part in (np.s_[:, :rows], np.s_[:, 180 - rows :], np.s_[:, :, :columns], np.s_[:, :, 320 - columns :]):
        frames[part] = 16 + rng.integers(0, 2, frames[part].shape)  # as coding leaves them
    assert content_box(frames) == Box(rows, 180 - rows, columns, 320 - columns)


def test_captions_on_bars_hide_none(luma):
    frames = luma[:3].copy()
    frames[:, :, :40], frames[:, :, 280:] = 16, 16
    frames[:, 150:164, 30:300] = 235
    assert content_box(frames) == Box(0, 180, 40, 280)


def test_dark_scenery_and_black_frames_are_no_bars(luma):
    ramp = luma[:3].copy()
    ramp[:, :60] = (16 + np.arange(60) // 4).astype(np.uint8)[:, None]  # night sky, brighter line by line
    assert content_box(ramp) == Box(0, 180, 0, 320)
    assert content_box(np.full((3, 180, 320), 16, np.uint8)) == Box(0, 180, 0, 320)


def barred(height, top, bottom, level=16, picture=128):
    """Rows of a level above and below a picture of another."""
    frame = np.full((1, height, 96), picture, np.uint8)
    frame[:, :top] = level
    frame[:, height - bottom :] = level
    return frame


@pytest.mark.parametrize(
    ("found", "missed"),
    [
        ({"height": 200, "top": 20, "bottom": 20, "level": 30}, {"level": 31}),
        ({"height": 200, "top": 20, "bottom": 20, "picture": 27}, {"picture": 26}),
        ({"height": 104, "top": 20, "bottom": 20}, {"top": 22}),
        ({"height": 300, "top": 40, "bottom": 30}, {"bottom": 28}),
        ({"height": 200, "top": 4, "bottom": 4}, {"top": 2, "bottom": 2}),
        ({"height": 500, "top": 210, "bottom": 210}, {"top": 212, "bottom": 212}),
    ],
    ids=["black up to 30", "edge above 10", "64 pixels remain", "alike to 0.75", "1.5 % or more", "42 % or less"],
)
def test_a_bar_is_dark_sharp_and_neither_narrow_nor_wide(found, missed):
    height = found["height"]
    assert content_box(barred(**found)) == Box(found["top"], height - found["bottom"], 0, 96)
    assert content_box(barred(**(found | missed))) == Box(0, height, 0, 96)


@pytest.mark.parametrize(("step", "top"), [(5, 20), (6, 0)])
def test_lines_of_a_bar_differ_by_five_levels_at_most(step, top):
    frame = barred(200, 20, 20)
    frame[:, 10:20] += np.uint8(step)
    frame[:, 180:190] += np.uint8(step)
    assert content_box(frame) == Box(top, 200 - top, 0, 96)
