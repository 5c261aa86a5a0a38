"""Sampled frames: which ones, how they are cut, and that what is random repeats."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from ugcvqa.errors import StoreError
from ugcvqa.features.extraction import ClipStream, Task, extract_features
from ugcvqa.files import arrays_to_bytes
from ugcvqa.media.encode import write_video
from ugcvqa.media.memory import memory_info
from ugcvqa.media.sampling import Seconds
from ugcvqa.samples.batches import FIXED, Draw
from ugcvqa.samples.clips import ClipFamily, ClipSource, central_clip, clip_plan, cut_fragments, resize_short_side
from ugcvqa.settings.training import ClipSettings


def planned(frames, phases, n_frames):
    pieces = clip_plan(frames, phases, memory_info(n_frames, 48, 64, Fraction(25)))
    return [piece.frames["shown"] for piece in pieces]


def test_plan_takes_equal_stretches_and_equal_parts_of_them():
    assert planned(2, 1, 100) == [(25,), (75,)]
    assert planned(2, 3, 60) == [(5, 15, 25), (35, 45, 55)]
    assert planned(4, 2, 3) == [(0, 0), (0, 1), (1, 2), (2, 2)]
    assert planned(3, 2, 1) == [(0, 0)] * 3


def test_short_side_is_resized_and_small_frames_are_enlarged():
    rgb = torch.randint(0, 256, (2, 3, 60, 90), dtype=torch.uint8)
    assert resize_short_side(rgb, 30, 16).shape == (2, 3, 30, 45)
    assert resize_short_side(rgb, 0, 120).shape == (2, 3, 120, 180)
    assert resize_short_side(rgb, 0, 32) is rgb
    flat = torch.full((1, 3, 50, 70), 77, dtype=torch.uint8)
    assert (resize_short_side(flat, 20, 8) == 77).all()


def test_fragments_are_pieces_of_the_frame_in_the_order_of_its_grid():
    height, width = 300, 430
    rgb = torch.stack(
        [torch.arange(height)[:, None] // 2 + torch.zeros(width), torch.arange(width).expand(height, -1) // 2]
    )
    rgb = torch.cat([rgb, rgb[:1]]).to(torch.uint8)
    joined = cut_fragments(rgb, 3)
    assert joined.shape == (3, 224, 224)
    for i in range(7):
        for j in range(7):
            patch = joined[:, 32 * i : 32 * i + 32, 32 * j : 32 * j + 32].int()
            assert (patch[0, :, 0] * 2 // (height // 7)).float().mean() == pytest.approx(i, abs=0.9)
            assert patch[0, -1, 0] - patch[0, 0, 0] in (15, 16)
            assert patch[1, 0, -1] - patch[1, 0, 0] in (15, 16)
    assert torch.equal(joined, cut_fragments(rgb, 3))
    assert not torch.equal(joined, cut_fragments(rgb, 4))
    exact = torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8)
    assert torch.equal(cut_fragments(exact, 0), exact)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "grey.mp4"
    frames = (np.full((48, 64, 3), 6 * index, np.uint8) for index in range(24))
    write_video(path, frames, 12, options={"crf": "1"})
    return path


def extracted(video, settings):
    family = ClipFamily(settings)
    families = {"clip": family}
    (result,) = extract_features(ClipStream([Task("v", str(video))], families), families)
    assert not result.reason
    return result.features["clip"]["frames"]


@pytest.mark.parametrize(("view", "shape"), [("crop", (4, 2, 3, 32, 43)), ("fragments", (4, 2, 3, 224, 224))])
def test_family_keeps_the_planned_frames_of_a_video(video, view, shape):
    stored = extracted(video, ClipSettings(4, 2, view, 32, 24))
    assert stored.shape == shape
    assert stored.dtype == np.uint8
    levels = stored.astype(float).mean((2, 3, 4)).ravel() / 6
    np.testing.assert_allclose(levels, [1, 4, 7, 10, 13, 16, 19, 22], atol=0.7)


def test_settings_that_change_pictures_change_the_key():
    keys = {
        ClipFamily(ClipSettings(**values)).spec.key
        for values in ({}, {"frames": 4}, {"phases": 1}, {"short_side": 448}, {"view": "fragments"}, {"crop": 100})
    }
    assert len(keys) == 6


@pytest.fixture
def source(tmp_path):
    random = np.random.default_rng(0)
    files = []
    for row, size in enumerate([(20, 30), (16, 16), (25, 18)]):
        array = random.integers(0, 256, (3, 4, 3, *size), np.uint8)
        files.append(tmp_path / f"{row}.safetensors")
        files[-1].write_bytes(arrays_to_bytes({"frames": array}, {}))
    return ClipSource(files, np.array([1.0, 2.0, 3.0]), ClipSettings(3, 4, "crop", 0, 16), seed=1)


def test_training_clips_are_random_but_repeat(source):
    draws = [source[Draw(epoch, 0)][1] for epoch in range(6)]
    assert all(clip.shape == (3, 3, 16, 16) for clip in draws)
    assert len({clip.numpy().tobytes() for clip in draws}) == 6
    assert torch.equal(source[Draw(3, 0)][1], draws[3])


def test_validation_clips_are_the_central_ones(source):
    from ugcvqa.files import arrays_from_file

    for row in range(3):
        stored = arrays_from_file(source.files[row])[0]["frames"]
        clip = source[Draw(FIXED, row)][1]
        np.testing.assert_array_equal(clip, central_clip(stored, 16))
    stored = arrays_from_file(source.files[0])[0]["frames"]
    np.testing.assert_array_equal(source[Draw(FIXED, 0)][1], stored[:, 2, :, 2:18, 7:23])


def test_batches_lay_clips_end_to_end(source):
    batch = source.collate([source[Draw(FIXED, 2)], source[Draw(FIXED, 0)]])
    assert batch.rows.tolist() == [2, 0]
    assert batch.mos.tolist() == [3.0, 1.0]
    assert batch.frames.shape == (6, 3, 16, 16)
    assert batch.lengths == (3, 3)


def test_damaged_file_is_a_user_error(source):
    source.files[1].write_bytes(b"nothing")
    with pytest.raises(StoreError, match=r"1\.safetensors: cannot be read"):
        source[Draw(0, 1)]


def test_parts_of_a_varying_rate_are_parts_of_time():
    times_s = np.array([*np.arange(100) / 50, *range(2, 10)])  # 50 frames a second for 2 s, then one a second
    info = replace(
        memory_info(108, 48, 64, Fraction(50)),
        times_s=times_s,
        duration_s=10.0,
        seconds=Seconds((0, 50, *range(100, 108)), 108, 10, 10),
    )
    assert [piece.frames["shown"] for piece in clip_plan(5, 1, info)] == [(50,), (101,), (103,), (105,), (107,)]
