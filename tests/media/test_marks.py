"""What frames say of themselves reaches the row, also where only later frames say it, and streams that are not read."""

import re
from types import SimpleNamespace

import av
import numpy as np
import pytest

from tests.support.media import encode_frames, rgb_frames
from ugcvqa.media.encode import kept_scheduling
from ugcvqa.media.facts import doubts_of
from ugcvqa.media.marks import Marks, mark_of
from ugcvqa.media.video import check_video

COUNT = 40


def sentences(path):
    return " | ".join(doubts_of(check_video(path)))


def elementary(path, options, full=False):
    """An elementary stream of H.264."""
    with kept_scheduling(), path.open("wb") as file:
        encoder = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = 96, 64, "yuv420p", 25
        encoder.options, encoder.thread_count = options, 1
        encoder.color_range = 2 if full else 1
        for frame in [*rgb_frames(COUNT, 64, 96), None]:
            for packet in encoder.encode(frame and frame.reformat(format="yuv420p")):
                file.write(bytes(packet))
    return path


def joined(folder, *parts):
    path = folder / "joined.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def test_dolby_vision_is_told_by_the_name_of_its_stream(tmp_path):
    options = {"x265-params": "log-level=none:pools=none:frame-threads=1:bframes=0"}
    path = encode_frames(tmp_path / "a.mp4", rgb_frames(COUNT, 64, 96), "libx265", options=options)
    assert "Dolby" not in sentences(path)
    path.write_bytes(path.read_bytes().replace(b"hev1", b"dvhe"))
    assert "Dolby Vision" in sentences(path)


def test_two_views_in_a_frame_are_told(tmp_path):
    path = encode_frames(tmp_path / "a.mp4", rgb_frames(COUNT), options={"x264-params": "frame-packing=3"})
    assert "two views (stereo 3D)" in sentences(path)


def test_levels_that_change_are_told(tmp_path):
    parts = [elementary(tmp_path / f"{full}.h264", {}, full=full) for full in (False, True)]
    assert re.search(r"colour range change from 1\.[56] s on", sentences(joined(tmp_path, *parts)))
    assert "change" not in sentences(joined(tmp_path, parts[0], parts[0]))


def test_fields_that_come_later_are_told(tmp_path):
    plain, fields = elementary(tmp_path / "a.h264", {}), elementary(tmp_path / "b.h264", {"x264-params": "tff=1"})
    assert f"{COUNT} of {2 * COUNT} frames are interlaced" in sentences(joined(tmp_path, plain, fields))
    assert "is interlaced" in sentences(fields)
    assert "frames are interlaced" not in sentences(fields)


def test_other_video_streams_are_told_and_the_main_one_is_named(tmp_path):
    path = tmp_path / "two.mp4"
    with kept_scheduling(), av.open(str(path), "w") as output:
        streams = [output.add_stream("libx264", rate=25), output.add_stream("mpeg4", rate=25)]
        for stream, (height, width) in zip(streams, ((64, 96), (32, 48)), strict=True):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for stream in streams:
            for frame in rgb_frames(COUNT, stream.height, stream.width):
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    words = "the file holds other video too (48x32 mpeg4), only its main stream (96x64 h264) is scored"
    assert words in sentences(path)


def frame(kinds=(), transfer=1, **more):
    """A frame as PyAV shows it."""
    matrix = np.array(more.get("matrix", (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)), np.int32).tobytes()
    data = [("DISPLAYMATRIX", matrix), *kinds]
    return SimpleNamespace(
        side_data=[type("Data", (bytes,), {"type": SimpleNamespace(name=name)})(value) for name, value in data],
        format=SimpleNamespace(name="yuv420p"),
        color_range=1,
        color_trc=transfer,
        interlaced_frame=False,
    )


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([frame()] * 3, ""),
        ([frame(), frame(matrix=(0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))], "turned otherwise from 0.1 s on"),
        ([frame(), frame(), frame(transfer=16)], "coded for HDR (PQ, SMPTE ST 2084) from 0.2 s on"),
        ([frame(transfer=18), frame(transfer=1)], "another colour transfer from 0.1 s on"),
        ([frame([("SPHERICAL", bytes(40))])], "spherical"),
        ([frame([("SPHERICAL", b"\4" + bytes(39))])], ""),
        ([frame([("STEREO3D", b"\1" + bytes(15))])], "two views"),
        ([frame([("STEREO3D", bytes(16))])], ""),
        ([frame([("DOVI_METADATA", b"")])], "Dolby Vision"),
        ([frame([("SEI_UNREGISTERED", b"")])], ""),
    ],
)
def test_what_single_frames_say_is_told_once(monkeypatch, frames, words):
    monkeypatch.setattr("ugcvqa.media.marks.SideDataContainer", lambda frame: frame.side_data)
    marks = Marks()
    for each in frames:
        marks.add(mark_of(each))
    found = list(marks.sentences(np.arange(len(frames)) / 10))
    assert len(found) == bool(words)
    assert words in "".join(found)
