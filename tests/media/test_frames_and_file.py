"""A file and its frames in memory get the same score: full and limited range, RGB, 4:2:0, 10 bit, turned."""

from fractions import Fraction

import av
import numpy as np
import pytest

import ugcvqa
from tests.support.media import encode_frames
from ugcvqa.errors import VideoError
from ugcvqa.media.convert import Converter
from ugcvqa.media.memory import frames_of, memory_info

RATE = 12
SOURCES = {
    "limited": ("libx264", "yuv420p", "mp4"),
    "full": ("mjpeg", "yuvj420p", "avi"),
    "rgb": ("ffv1", "bgr0", "mkv"),
    "ten": ("libx264", "yuv420p10le", "mp4"),
    "chroma": ("ffv1", "yuv422p", "mkv"),
}


def scene(count=14, height=96, width=136):
    """Soft colours under texture that moves: nothing is cut off at black or white."""
    rng = np.random.default_rng(3)
    texture = rng.normal(0, 14, (height + count, width + count))
    y, x = np.mgrid[:height, :width]
    tint = np.stack([90 + x / 3, 130 - y / 4, 100 + (x + y) / 6], -1)
    for k in range(count):
        picture = tint + texture[k : k + height, k : k + width, None]
        yield av.VideoFrame.from_ndarray(picture.round().clip(0, 255).astype(np.uint8), format="rgb24")


@pytest.fixture(scope="module")
def model():
    return ugcvqa.load()


@pytest.fixture(scope="module", params=SOURCES)
def source(request, tmp_path_factory, model):
    codec, pix_fmt, ending = SOURCES[request.param]
    path = tmp_path_factory.mktemp("source") / f"a.{ending}"
    encode_frames(path, scene(), codec, pix_fmt, RATE)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return request.param, frames, model.score(path).pred


def test_decoded_frames_get_the_score_of_the_file(model, source):
    _, frames, expected = source
    assert model.score_frames(frames, RATE).pred == pytest.approx(expected, abs=1e-9)


def test_planes_get_the_score_of_the_file(model, source):
    kind, frames, expected = source
    if kind not in ("limited", "full"):
        pytest.skip("not stored as 8-bit 4:2:0")
    planes = []
    for frame in frames:
        flat, rows, columns = frame.to_ndarray(), frame.height, frame.width
        chroma = flat[rows:].reshape(2, rows // 2, columns // 2)
        planes.append((flat[:rows], chroma[0], chroma[1]))
    assert model.score_frames(planes, RATE, full_range=kind == "full").pred == pytest.approx(expected, abs=1e-9)


def test_rgb_frames_come_near_the_file_and_those_of_an_rgb_file_reach_it(model, source):
    kind, frames, expected = source
    rgb = [frame.to_ndarray(format="rgb24") for frame in frames]
    is_full = kind == "full"
    found = model.score_frames(rgb, RATE, full_range=is_full).pred
    assert found == pytest.approx(expected, abs=1e-9 if kind == "rgb" else 0.2)
    assert model.score_frames(iter(rgb), RATE, full_range=is_full).pred == pytest.approx(found, abs=1e-9)
    if is_full:  # the luma of the file, not squeezed into the limited range
        info = memory_info(len(rgb), 96, 136, Fraction(RATE), full_range=True)
        luma = Converter(info)(next(frames_of(rgb)), {"y"})["y"]
        assert np.abs(luma.astype(int) - frames[0].to_ndarray()[:96]).mean() < 1


def test_what_is_no_frame_of_the_video_is_one_line(model):
    plane, half = np.zeros((96, 136), np.uint8), np.zeros((48, 68), np.uint8)
    for frames, words in (
        ([(plane, half)] * 20, "frame 0 is a tuple"),
        ([(plane, half.astype(float), half)] * 20, "frame 0 is a tuple"),
        ([(plane, plane, plane)] * 20, "4:2:0"),
        ([(plane, half, half)] * 15 + [(half, half, half)], "another size"),
        (iter([(plane, half, half)] * 20), "as a list"),
    ):
        with pytest.raises(VideoError, match=words):
            model.score_frames(frames, RATE)
