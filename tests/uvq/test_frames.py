"""Frames that UVQ looks at, against what the ffmpeg program delivered: choice, groups, pixels."""

import hashlib
from fractions import Fraction

import numpy as np
import pytest

from tests.support.golden import golden_arrays
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import probe, read_frames
from ugcvqa.uvq.frames import Group, frame_groups, picked_frames, uvq_pieces

RATES = {"23.976": Fraction(24000, 1001), "29.97": Fraction(30000, 1001), "59.94": Fraction(60000, 1001)}
CLIPS = ("1724", "eWgy8eG3stA_000164_000174")


@pytest.fixture(scope="module")
def golden():
    return golden_arrays("uvq_public")


@pytest.fixture(scope="module")
def clips(golden, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name in CLIPS:
        (folder / f"{name}.mp4").write_bytes(golden[f"file|{name}.mp4"].tobytes())
    return folder


def test_every_rate_pair_picks_the_frames_that_ffmpeg_picked(golden):
    cases = [key for key in golden if key.startswith("sel|")]
    assert len(cases) == 60
    for case in cases:
        _, rate, count, fps = case.split("|")
        exact = RATES.get(rate) or Fraction(rate)
        times = [float(index / exact) for index in range(int(count))]
        assert list(picked_frames(times, exact, int(fps), "ffmpeg-cfr")) == golden[case].tolist(), case


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("fps", [1, 5])
def test_real_clips_give_the_frames_that_ffmpeg_picked(golden, clips, name, fps):
    info = probe(clips / f"{name}.mp4")
    np.testing.assert_allclose(info.times_s, golden[f"pre|{name}|pts_seconds"], atol=1e-9)
    picked = picked_frames(info.times_s, info.rate, fps, "ffmpeg-cfr")
    assert list(picked) == golden[f"pre|{name}|select_{fps}fps"].tolist()


@pytest.mark.parametrize(
    ("name", "form", "key", "fps"),
    [
        (CLIPS[0], "fit720", "v10big", 5),
        (CLIPS[0], "fit496", "v10small", 5),
        (CLIPS[0], "stretch1080", "v15", 1),
        (CLIPS[1], "fit496", "v10small", 5),
    ],
)
def test_pixels_are_those_of_ffmpeg_bit_for_bit(golden, clips, name, form, key, fps):
    chosen = golden[f"pre|{name}|select_{fps}fps"].tolist()
    expected = dict(zip(chosen, golden[f"pre|{name}|{key}_sha"], strict=True))
    wanted = sorted(expected)[:: 1 + len(expected) // 8]
    for index, _, image in read_frames(clips / f"{name}.mp4", wanted, form):
        assert hashlib.sha256(image.transpose(1, 2, 0).tobytes()).hexdigest() == expected[index], index


def test_uniform_sampling_takes_the_nearest_frames():
    times = [index / 30 for index in range(61)]
    assert list(picked_frames(times, Fraction(30), 5, "uniform")) == [0, 6, 12, 18, 24, 30, 36, 42, 48, 54, 60]
    assert list(picked_frames([0.0], Fraction(25), 5, "uniform")) == [0]
    assert list(picked_frames([0, 0.5, 0.7, 2], Fraction(2), 2, "uniform")) == [0, 1, 2, 3, 3]


def groups(n_picked, n_groups, counting):
    return list(frame_groups(iter(range(n_picked)), 5, n_groups, counting))


def test_reference_fills_up_and_real_ends_with_the_frames():
    assert [group.frames for group in groups(12, 4, "reference")] == [
        (0, 1, 2, 3, 4),
        (5, 6, 7, 8, 9),
        (10, 11),
        (),
    ]
    assert groups(12, 4, "real")[2:] == [Group((7, 8, 9, 10, 11), 0.4)]
    assert groups(10, 4, "real") == groups(10, 2, "reference")
    assert groups(12, 2, "real") == groups(12, 2, "reference")


def test_a_clip_of_few_frames_repeats_its_last_one():
    assert groups(1, 1, "real") == [Group((0, 0, 0, 0, 0), 0.2)]
    assert groups(3, 1, "real") == [Group((0, 1, 2, 2, 2), 0.6)]


def pieces(info, counting, groups_per_piece=2):
    return list(uvq_pieces("ffmpeg-cfr", counting, 5, 5, "fit496", "fit720", groups_per_piece, info))


def test_pieces_hold_whole_groups_in_order_and_count_black_ones(tmp_path):
    write_video(tmp_path / "a.mkv", (np.full((32, 48, 3), index, np.uint8) for index in range(23)), 5)
    info = probe(tmp_path / "a.mkv")
    real = pieces(info, "real")
    assert [piece.facts["weights"].tolist() for piece in real] == [[1, 1], [1, 1], [0.6]]
    assert all(len(piece.frames["fit496"]) * 5 == len(piece.frames["fit720"]) for piece in real)
    assert [piece.first for piece in real] == sorted(piece.first for piece in real)
    object.__setattr__(info, "container_s", 8.2)  # an audio track may be longer than the picture
    reference = pieces(info, "reference")
    assert [piece.facts["counts"].tolist() for piece in reference] == [[5, 5], [5, 5], [3]]
    assert [int(piece.facts["n_black"]) for piece in reference] == [0, 0, 4]
    assert int(pieces(info, "reference", 5)[-1].facts["n_black"]) == 4


def test_own_rate_is_rounded_up(tmp_path):
    write_video(tmp_path / "a.mkv", (np.zeros((32, 48, 3), np.uint8) for _ in range(24)), Fraction(24000, 1001))
    found = uvq_pieces("ffmpeg-cfr", "real", -1, 1, None, "stretch1080", 8, probe(tmp_path / "a.mkv"))
    assert sum(len(piece.frames["stretch1080"]) for piece in found) == 24


@pytest.mark.parametrize(
    ("height", "width", "box"), [(64, 32, (720, 360)), (32, 64, (640, 1280)), (36, 64, (720, 1280))]
)
def test_pictures_keep_their_aspect_ratio_between_black_borders(tmp_path, height, width, box):
    write_video(tmp_path / "a.mkv", [np.full((height, width, 3), 255, np.uint8)] * 2, 5, "ffv1", "yuv444p")
    (_, _, image), _ = read_frames(tmp_path / "a.mkv", form="fit720")
    rows, columns = (image > 128).any((0, 2)).sum(), (image > 128).any((0, 1)).sum()
    assert (rows, columns) == box
    np.testing.assert_array_equal(image, image[:, ::-1, ::-1])


@pytest.mark.parametrize("pix_fmt", ["gray", "rgb24", "yuv420p10le"])
def test_other_pixel_formats_are_converted(tmp_path, pix_fmt):
    codec = "ffv1" if pix_fmt != "rgb24" else "libx264rgb"
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (36, 64, 3))
    write_video(tmp_path / "a.mkv", [ramp] * 2, 5, codec, pix_fmt)
    (_, _, image), _ = read_frames(tmp_path / "a.mkv", form="stretch1080")
    centres = image[:, 540, 15::30].astype(int)
    assert np.abs(centres - 4 * np.arange(64)).max() <= 12
