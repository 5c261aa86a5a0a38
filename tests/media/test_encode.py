"""Writing of video files: complete or absent, repeatable, with the colours that were given."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.support.media import pattern, whole
from ugcvqa.errors import VideoError
from ugcvqa.media.encode import has_encoder, write_video
from ugcvqa.media.video import probe


def test_written_file_is_complete_and_repeatable(tmp_path):
    frames = [pattern(i) for i in range(12)]
    for name in ("a.mp4", "b.mp4", "a.mkv", "b.mkv"):
        write_video(tmp_path / name, iter(frames), Fraction(30000, 1001), options={"crf": "0"}, gop=5)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "a.mp4", "b.mkv", "b.mp4"]
    info = probe(tmp_path / "a.mp4")
    assert (info.n_frames, info.rate, info.height, info.width) == (12, Fraction(30000, 1001), 48, 64)
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert sum(keys) >= 3


@pytest.mark.skipif(not has_encoder("libsvtav1"), reason="no AV1 encoder in this build of FFmpeg")
def test_no_encoder_changes_the_scheduling_of_its_caller(tmp_path):
    before = os.sched_getscheduler(0)  # SVT-AV1 asks for real time, which only root is given
    write_video(tmp_path / "a.mp4", (pattern(i, 64, 64) for i in range(3)), 25, "libsvtav1")
    assert os.sched_getscheduler(0) == before


def test_written_colours_read_back(tmp_path):
    colours = [(200, 30, 60), (10, 220, 90), (128, 128, 128), (255, 255, 255)]
    write_video(tmp_path / "a.mp4", (np.tile(np.uint8(c), (48, 64, 1)) for c in colours), 25, options={"qp": "0"})
    read = whole(tmp_path / "a.mp4")[0][:, :, 20, 20]
    np.testing.assert_allclose(read.astype(int), colours, atol=3)


def test_bit_rate_is_heeded(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (96, 128, 3), dtype=np.uint8) for _ in range(30)]
    for rate in (100_000, 1_000_000):
        write_video(tmp_path / f"{rate}.mp4", frames, 30, bit_rate=rate)
    assert (tmp_path / "1000000.mp4").stat().st_size > 3 * (tmp_path / "100000.mp4").stat().st_size


@pytest.mark.parametrize(
    ("frames", "settings", "reason"),
    [
        ([], {}, "no frames to write"),
        ([np.zeros((48, 64, 3))], {}, "frame 0 is float64"),
        ([np.zeros((48, 64, 3), np.uint8), np.zeros((32, 64, 3), np.uint8)], {}, "frame 1 is"),
        ([np.zeros((47, 63, 3), np.uint8)], {}, "cannot be written with libx264"),
        ([np.zeros((48, 64, 3), np.uint8)], {"codec": "nonesuch"}, "cannot be written with nonesuch"),
        ([np.zeros((48, 64, 3), np.uint8)], {"codec": "aac"}, "not a video encoder"),
        ([np.zeros((48, 64, 3), np.uint8)], {"pix_fmt": "nonesuch"}, "cannot be written"),
    ],
)
def test_failed_writing_leaves_nothing(tmp_path, frames, settings, reason):
    with pytest.raises(VideoError, match=reason):
        write_video(tmp_path / "a.mp4", frames, 25, **settings)
    assert list(tmp_path.iterdir()) == []


def test_writing_into_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(VideoError, match="cannot be written"):
        write_video(tmp_path / "none" / "a.mp4", [pattern(0)], 25)
