"""What FFmpeg notices of damage: whole files have none, cut and joined ones are read, else an error or a note."""

import re

import av
import av.logging
import numpy as np
import pytest

from tests.support.media import COUNT, FORMATS, encode_frames, remux, rgb_frames, whole
from ugcvqa.errors import VideoError
from ugcvqa.features.extraction import ClipStream, Task
from ugcvqa.features.families import build_families
from ugcvqa.media.damage import DamageLog
from ugcvqa.media.survey import ends_as_ogg
from ugcvqa.media.video import check_video
from ugcvqa.settings.features import FamilySettings

X265 = "log-level=none:pools=none:frame-threads=1:keyint=10:min-keyint=10:scenecut=0:bframes=3:open-gop=1"
OPEN = {
    "libx265": {"x265-params": X265},
    "libx264": {"x264-params": "open-gop=1:bframes=3:keyint=10:min-keyint=10:scenecut=0:b-adapt=0:threads=1"},
    "mpeg2video": {"bf": "2", "g": "10"},
}
OTHERS = [
    ("a.gif", "gif", "rgb8", {}),
    ("a.flv", "libx264", "yuv420p", {}),
    ("a.asf", "wmv2", "yuv420p", {}),
    ("a.mpg", "mpeg2video", "yuv420p", {"bf": "2"}),
    ("open.mkv", "libx264", "yuv420p", OPEN["libx264"]),
    ("open.ts", "libx265", "yuv420p", OPEN["libx265"]),
    ("crc.mkv", "ffv1", "yuv420p", {"level": "3", "slicecrc": "1"}),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "options"), FORMATS + OTHERS, ids=lambda value: str(value)[:12])
def test_whole_files_have_no_damage(tmp_path, name, codec, pix_fmt, options):
    frames = rgb_frames(COUNT, 64, 64)
    if pix_fmt == "rgb8":
        frames = [frame.reformat(format="rgb8") for frame in frames]
    info = check_video(encode_frames(tmp_path / name, frames, codec, pix_fmt, options=options))
    assert (info.n_frames, info.damage, info.breaks) == (COUNT, (), ())


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mp4"])
@pytest.mark.parametrize("codec", OPEN)
def test_open_group_cuts_are_scored(tmp_path, codec, name):
    source = encode_frames(tmp_path / "whole.mkv", rgb_frames(40, 64, 96), codec, options=OPEN[codec])
    with av.open(str(source)) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    start = [number for number, is_key in enumerate(keys) if is_key][1]
    if (codec, name) == ("libx264", "a.ts"):
        pytest.skip("this remuxer leaves out the headers that the cut begins with")
    path = remux(source, tmp_path / name, lambda number: number >= start)
    info = check_video(path)
    images, _, _ = whole(path)
    assert len(images) == info.n_frames >= 20
    assert info.rate == 25
    assert not any("give no picture" in line for line in info.damage)
    if codec == "libx265":  # whose leading pictures are made to be left out
        assert not info.damage
    np.testing.assert_array_equal(images[-1], whole(source)[0][-1])


@pytest.mark.parametrize("codec", OPEN)
def test_joined_transport_streams_are_read_and_told(tmp_path, codec):
    one = encode_frames(tmp_path / "one.ts", rgb_frames(25, 64, 96), codec, options=OPEN[codec])
    path = tmp_path / "joined.ts"
    path.write_bytes(2 * one.read_bytes())
    info = check_video(path)
    assert (info.n_frames, info.rate, info.duration_s) == (50, 25, 2)
    assert [each.kind for each in info.breaks] == ["restart"]
    assert len(info.damage) == 1
    assert "lost packets, or recordings were joined" in info.damage[0]


def test_recording_that_begins_in_the_middle_of_a_group_is_read(tmp_path):
    source = encode_frames(tmp_path / "whole.ts", rgb_frames(40, 64, 96), "libx265", options=OPEN["libx265"])
    path = remux(source, tmp_path / "late.ts", lambda number: number >= 4)
    info = check_video(path)
    assert info.n_frames >= 25
    np.testing.assert_array_equal(whole(path)[0][-1], whole(source)[0][-1])


def spoiled(path, at, count=64):
    """Sets bytes at a share of a file to zero."""
    data = bytearray(path.read_bytes())
    place = int(len(data) * at)
    data[place : place + count] = bytes(count)
    path.write_bytes(data)
    return path


def ffv1(folder, name="a.mkv"):
    path = encode_frames(folder / name, rgb_frames(20), "ffv1", options={"level": "3", "slicecrc": "1"})
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][12]
        data = bytearray(path.read_bytes())
        place = data.index(bytes(packet)) + packet.size // 2
    data[place : place + 64] = bytes(64)
    path.write_bytes(data)
    return path


def test_damage_that_is_only_logged_is_noted(tmp_path):
    line = "slice CRC mismatch"
    (noted,) = check_video(ffv1(tmp_path)).damage
    assert noted.startswith("FFmpeg reports near 0.5 s: ")
    assert line in noted
    assert line in " ".join(check_video(ffv1(tmp_path, "b.mkv")).damage)  # the same line again


def test_damage_is_noted_whatever_the_caller_did_to_the_log(tmp_path):
    path = ffv1(tmp_path)
    try:
        av.logging.set_level(None)
        assert check_video(path).damage
    finally:
        av.logging.set_level(None)


def test_damaged_gif_is_noted(tmp_path):
    frames = [frame.reformat(format="rgb8") for frame in rgb_frames(20)]
    path = spoiled(encode_frames(tmp_path / "a.gif", frames, "gif", "rgb8"), 0.6)
    assert "LZW decode failed" in check_video(path).damage[0]


def test_damage_found_while_decoding_reaches_the_result(tmp_path):
    path = ffv1(tmp_path)
    stream = ClipStream([Task("a", str(path))], build_families(("nss",), FamilySettings()))
    *_, last = stream
    assert last.reason == ""
    assert last.info.damage == check_video(path).damage != ()


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.webm", "libvpx"), ("a.flv", "flv"), ("a.asf", "wmv2"), ("a.mkv", "mjpeg"), ("a.ts", "mpeg2video")],
)
def test_lost_stretch_is_told_in_every_container(tmp_path, name, codec):
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = {"bf": "0", "g": "1"} if codec != "libvpx" else {"g": "1"}
    source = encode_frames(tmp_path / f"whole-{name}", rgb_frames(50, 64, 64), codec, pix_fmt, options=options)
    path = remux(source, tmp_path / name, lambda number: not 20 <= number < 35)
    info = check_video(path)
    assert info.rate == 25
    (gap,) = info.breaks
    assert gap.kind == "gap"
    assert (gap.at_s, gap.length_s) == pytest.approx((19 / 25, 15 / 25), abs=2e-3)


def test_end_of_an_ogg_file_is_marked(tmp_path):
    # RFC 3533, section 6: "OggS", version 0, then the header type, whose bit 4 marks the last page
    for flag in (0, 4):
        path = tmp_path / f"{flag}.ogg"
        path.write_bytes(b"OggS\0\0" + bytes(3000) + b"OggS\0" + bytes([flag]) + bytes(300))
        assert ends_as_ogg(path) == (flag == 4)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg"])
def test_check_agrees_with_reading(tmp_path, codec):
    path = encode_frames(tmp_path / "a.mov", rgb_frames(40), codec, "yuvj420p" if codec == "mjpeg" else "yuv420p")
    spoiled(path, 0.5, 400)
    reasons = []
    for read in (check_video, whole):
        with pytest.raises(VideoError) as caught:
            read(path)
        reasons.append(str(caught.value))
    assert reasons[0] == reasons[1]


def test_log_is_bounded_and_plain():
    log = DamageLog()
    for number in range(1000):
        log.note(number, f"bad\nblock {number} at 0x{number:x}\x1b[31m!")
    for number in range(5):
        log.note(9, "x" * (50 + number))
    lines = log.lines(np.arange(100) / 10)
    assert lines[0] == "FFmpeg reports near 0.0 s: bad block 0 at 0x0[31m (1000 times)"
    assert len(lines) == 4
    assert lines[3] == "FFmpeg reports 3 more kinds of damage"


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mov", "mpeg4"), ("a.flv", "flv"), ("a.asf", "wmv2")]
)
def test_joined_files_of_which_only_the_first_is_read_are_told(tmp_path, name, codec):
    one = encode_frames(tmp_path / name, rgb_frames(30, 64, 96), codec)
    n_bytes = one.stat().st_size
    assert check_video(one).damage == ()
    one.write_bytes(2 * one.read_bytes())
    info = check_video(one)
    assert info.n_frames == 30
    (line,) = info.damage
    place = int(re.search("another recording was joined to it at byte ([0-9]+)", line)[1])
    assert n_bytes <= place < 2 * n_bytes


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx")])
def test_joined_files_that_are_read_whole_have_all_frames(tmp_path, name, codec):
    one = encode_frames(tmp_path / name, rgb_frames(30, 64, 96), codec)
    one.write_bytes(2 * one.read_bytes())
    info = check_video(one)
    assert (info.n_frames, info.rate, info.duration_s, info.damage) == (60, 25, 2.4, ())


@pytest.mark.parametrize("ending", ["mkv", "ts", "mp4", "flv"])
@pytest.mark.parametrize("first", [1, 30, 35])
def test_cuts_of_streams_without_key_pictures_tell_what_is_left_out(tmp_path, ending, first):
    options = {"x264-params": "intra-refresh=1:keyint=30:bframes=0"}
    source = encode_frames(tmp_path / f"a.{ending}", rgb_frames(90, 64, 96), options=options)
    assert check_video(source).damage == ()
    path = remux(source, tmp_path / f"cut.{ending}", lambda number: number >= first)
    info = check_video(path)
    assert 20 < info.n_frames < 90 - first
    left_out = 90 - first - info.n_frames
    assert info.damage == (f"it begins in the middle of a group of pictures, so {left_out} packets are left out",)
    np.testing.assert_array_equal(whole(path)[0], whole(source)[0][-info.n_frames :])


@pytest.mark.parametrize(("name", "codec"), [("a.webm", "libvpx"), ("a.avi", "mpeg4")])
def test_damage_that_is_reported_as_a_file_is_opened_is_noted(tmp_path, name, codec):
    path = encode_frames(tmp_path / name, rgb_frames(30, 64, 96), codec)
    data = bytearray(path.read_bytes())
    if codec == "mpeg4":
        place = data.index(b"LIST", data.index(b"strl"))  # the next list of the header
        del data[place : place + 1]
    else:
        place = data.index(b"\xe0", data.index(b"V_VP8")) + 1  # the size of the element Video, one byte
        data[place] = 0x81
    path.write_bytes(data)
    info = check_video(path)
    assert info.n_frames == 30
    (line,) = info.damage
    assert re.search("went wrong during header parsing|exceeds containing master element", line)


def test_frames_that_are_missing_from_an_avi_file_are_told(tmp_path):
    path = encode_frames(tmp_path / "a.avi", rgb_frames(30, 64, 96), "mpeg4")
    data = bytearray(path.read_bytes())
    place = data.index(b"strh") + 8 + 32  # dwLength of AVISTREAMHEADER
    assert data[place] == 30
    data[place] = 31
    path.write_bytes(data)
    assert check_video(path).damage == ("holds 30 of 31 frames that its header states",)
