"""Decoding: planes and colours of every pixel format, rotation, and what is refused."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.media import (
    COUNT,
    FORMATS,
    encode_frames,
    naive,
    pattern,
    plain_file,
    plane_frame,
    planes,
    remux,
    rgb_frames,
    whole,
)
from ugcvqa.errors import VideoError
from ugcvqa.media.sampling import Piece
from ugcvqa.media.video import probe, read_clips
from ugcvqa.settings.data import DecodeLimits

LOSSLESS = {"qp": "0"}


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """A one-second H.264 file with detail in every frame, moov atom in front."""
    return plain_file(tmp_path_factory.mktemp("plain") / "plain.mp4")


@pytest.mark.parametrize("size", [(48, 64), (47, 63), (49, 61)], ids=str)
@pytest.mark.parametrize(("codec", "options"), [("ffv1", {}), ("libx264", LOSSLESS)])
def test_planes_are_as_coded(tmp_path, size, codec, options):
    if codec == "libx264" and size[0] % 2:
        pytest.skip("the encoder takes even sizes only")
    content = [planes(i, *size) for i in range(5)]
    path = encode_frames(tmp_path / "a.mkv", [plane_frame(p, "yuv420p") for p in content], codec, options=options)
    for form, number in (("y", 0), ("u", 1), ("v", 2)):
        np.testing.assert_array_equal(whole(path, form)[0], np.stack([p[number] for p in content]))


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("ffv1", "yuv420p"), ("libx264", "yuvj420p"), ("libx264", "yuv420p")], ids=str
)
def test_full_range_levels_are_not_rescaled(tmp_path, codec, pix_fmt):
    content = [planes(i) for i in range(3)]
    frames = [plane_frame(p, pix_fmt) for p in content]
    path = encode_frames(
        tmp_path / "a.mkv", frames, codec, pix_fmt, options=LOSSLESS if codec == "libx264" else {}, full=True
    )
    assert probe(path).colour_range == "pc"
    np.testing.assert_array_equal(whole(path, "y")[0], np.stack([p[0] for p in content]))
    np.testing.assert_array_equal(whole(path, "v")[0], np.stack([p[2] for p in content]))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p", "yuva444p", "yuv420p10le", "yuv444p10le"])
def test_subsampling_and_depth_change_but_levels_stay(tmp_path, pix_fmt, full):
    # Flat chroma has the same value at any subsampling; luma must come through level by level.
    depth = 10 if "10" in pix_fmt else 8
    height, width = 48, 64
    luma = (np.arange(height * width).reshape(height, width) % 256).astype(np.uint8)
    chroma = {"yuv422p": (48, 32), "yuv420p10le": (24, 32)}.get(pix_fmt, (48, 64))
    parts = [luma, np.full(chroma, 37, np.uint8), np.full(chroma, 201, np.uint8)]
    if depth == 10:
        parts = [part.astype("<u2") << 2 for part in parts]
    if "yuva" in pix_fmt:
        parts.append(np.full((48, 64), 3, np.uint8))
    path = encode_frames(
        tmp_path / "a.mkv", [plane_frame(parts, pix_fmt) for _ in range(2)], "ffv1", pix_fmt, full=full
    )
    info = probe(path)
    assert (info.pix_fmt, info.bit_depth) == (pix_fmt, depth)
    y, u, v = (whole(path, form)[0] for form in "yuv")
    assert (y.shape, u.shape, v.shape) == ((2, 48, 64), (2, 24, 32), (2, 24, 32))
    np.testing.assert_allclose(y[1].astype(int), luma.astype(int), atol=1 if depth == 10 else 0)
    np.testing.assert_allclose(u.astype(int), 37, atol=1 if depth == 10 else 0)
    np.testing.assert_allclose(v.astype(int), 201, atol=1 if depth == 10 else 0)


def test_alpha_over_420_is_left_out(tmp_path):
    content = [(*planes(i), np.full((48, 64), 40, np.uint8)) for i in range(2)]
    path = encode_frames(tmp_path / "a.mkv", [plane_frame(p, "yuva420p") for p in content], "ffv1", "yuva420p")
    np.testing.assert_array_equal(whole(path, "y")[0], np.stack([p[0] for p in content]))
    np.testing.assert_array_equal(whole(path, "u")[0], np.stack([p[1] for p in content]))


def test_grey_keeps_its_plane_and_has_neutral_chroma(tmp_path):
    content = [planes(i, 47, 63)[0] for i in range(2)]
    path = encode_frames(tmp_path / "a.mkv", [plane_frame([p], "gray") for p in content], "ffv1", "gray")
    np.testing.assert_array_equal(whole(path, "y")[0], np.stack(content))
    chroma = whole(path, "u")[0]
    assert chroma.shape == (2, 24, 32)
    assert (chroma == 128).all()


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"), [("a.mov", "qtrle", "argb"), ("a.mov", "png", "rgb24"), ("a.mkv", "ffv1", "bgr0")]
)
def test_rgb_codecs_become_limited_601(tmp_path, name, codec, pix_fmt):
    colours = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 140, 30]], np.uint8)
    frames = [
        av.VideoFrame.from_ndarray(np.tile(c, (48, 64, 1)), format="rgb24").reformat(format=pix_fmt) for c in colours
    ]
    path = encode_frames(tmp_path / name, frames, codec, pix_fmt)
    matrix = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
    expected = colours @ matrix.T + [16, 128, 128]
    for number, form in enumerate("yuv"):
        levels = whole(path, form)[0].reshape(len(colours), -1)
        assert np.ptp(levels, axis=1).max() == 0
        np.testing.assert_allclose(levels[:, 0], expected[:, number], atol=1)
    np.testing.assert_array_equal(whole(path, "rgb")[0][:, :, 0, 0], colours)


def test_transparency_of_rgb_is_dropped_not_blended(tmp_path):
    image = np.dstack([pattern(0), np.zeros((48, 64), np.uint8)])
    path = encode_frames(
        tmp_path / "a.mov", [av.VideoFrame.from_ndarray(image, format="rgba").reformat(format="argb")], "qtrle", "argb"
    )
    np.testing.assert_array_equal(whole(path)[0][0], pattern(0).transpose(2, 0, 1))


# The display matrix of QuickTime maps (x, y) to (ax + cy, bx + dy), y pointing down; a tool-independent definition.
MATRICES = {0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}


def turn_by_matrix(image, a, b, c, d):
    """Moves every pixel of (H, W) to where a display matrix sends it, one by one."""
    corners = [(a * x + c * y, b * x + d * y) for x in (0, image.shape[1] - 1) for y in (0, image.shape[0] - 1)]
    left, top = min(x for x, _ in corners), min(y for _, y in corners)
    size = (max(y for _, y in corners) - top + 1, max(x for x, _ in corners) - left + 1)
    turned = np.empty(size, image.dtype)
    for y, x in np.ndindex(*image.shape):
        turned[b * x + d * y - top, a * x + c * y - left] = image[y, x]
    return turned


@pytest.mark.parametrize("angle", MATRICES)
@pytest.mark.parametrize("size", [(48, 64), (47, 63)], ids=str)
def test_rotation_metadata_is_applied_to_all_forms(tmp_path, angle, size):
    content = planes(1, *size)
    path = encode_frames(tmp_path / "a.mp4", [plane_frame(content, "yuv420p") for _ in range(2)], "ffv1")
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # ISO 14496-12, track header version 0: the matrix begins 40 bytes in
    assert data[place : place + 4] == (1 << 16).to_bytes(4, "big")
    for position, value in zip((0, 4, 12, 16), MATRICES[angle], strict=True):
        data[place + position : place + position + 4] = (value << 16).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    info = probe(path)
    assert info.rotation == angle
    assert (info.height, info.width) == (size if angle % 180 == 0 else size[::-1])
    for form, plane in zip("yuv", content, strict=True):
        np.testing.assert_array_equal(whole(path, form)[0][1], turn_by_matrix(plane, *MATRICES[angle]))
    expected = [turn_by_matrix(channel, *MATRICES[angle]) for channel in naive(path)[0][1]]
    np.testing.assert_array_equal(whole(path)[0][1], np.stack(expected))


def test_odd_angles_go_to_the_nearest_right_angle(tmp_path):
    path = encode_frames(tmp_path / "a.mp4", rgb_frames(3), rotation=-83)
    assert probe(path).rotation == 270


# ---- damage and refusals ---------------------------------------------------------------------------------------


def refusal(path, **settings):
    """The one line with which a file is refused by probing and reading."""
    with pytest.raises(VideoError) as caught:
        list(read_clips(path, {"a": lambda _: [Piece({"y": (0,)})]}, **settings))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", ["plain.mp4", "h264.mkv", "vp9.webm", "mjpeg.avi"])
def test_truncated_file_is_refused(plain, tmp_path, name, part):
    source = plain
    if name != plain.name:
        entry = next(entry for entry in FORMATS if entry[0] == name)
        source = encode_frames(tmp_path / name, rgb_frames(COUNT), *entry[1:3], options=entry[3])
    path = tmp_path / f"cut-{name}"
    path.write_bytes(source.read_bytes()[: int(source.stat().st_size * part)])
    refusal(path)


def test_fragmented_file_is_whole_or_refused(tmp_path):
    source = encode_frames(tmp_path / "a.mp4", rgb_frames(30), options={"g": "10"})
    path = remux(source, tmp_path / "b.mp4", lambda number: True, movflags="frag_keyframe+empty_moov")
    assert probe(path).n_frames == 30 == len(whole(path)[1])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    refusal(path)


@pytest.mark.parametrize("cut", range(1, 900, 47))
def test_truncated_index_never_gives_a_shorter_video(tmp_path, cut):
    path = encode_frames(tmp_path / "a.mp4", rgb_frames(10))
    path.write_bytes(path.read_bytes()[:-cut])
    try:
        n_frames = probe(path).n_frames
    except VideoError:
        n_frames = 0
    assert n_frames in ((0, 10) if cut > 100 else (10,))  # the last bytes are only notes


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("a.mp4", "libx264", "yuv420p"), ("a.mov", "mjpeg", "yuvj420p"), ("a.mov", "mpeg4", "yuv420p")],
)
def test_damage_in_the_middle_is_refused(tmp_path, name, codec, pix_fmt):
    path = encode_frames(tmp_path / name, rgb_frames(50), codec, pix_fmt, options={"g": "10"})
    data = bytearray(path.read_bytes())
    for offset in range(len(data) // 2, len(data) // 2 + 400):
        data[offset] ^= 0x5A
    path.write_bytes(data)
    message = refusal(path)
    assert "damaged near" in message
    assert 0 < int(message.split("decoded ")[1].split()[0]) < 50


def test_damage_is_silent_on_stderr(tmp_path, plain):
    data = bytearray(plain.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    (tmp_path / "a.mp4").write_bytes(data)
    code = "import sys; from ugcvqa.media.video import read_frames\ntry: list(read_frames(sys.argv[1]))\n"
    code += "except Exception as error: print(error)"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.mp4")], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "decoded" in done.stdout


def test_change_of_size_is_refused(tmp_path):
    for name, size in (("a.h264", (48, 64)), ("b.h264", (64, 48))):
        encode_frames(tmp_path / name, rgb_frames(6, *size))
    path = tmp_path / "c.h264"
    path.write_bytes((tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes())
    assert "frame size changes from 64x48 to 48x64 at frame 6" in refusal(path)


def test_wrong_count_is_refused(plain):
    info = replace(probe(plain), n_frames=26)
    assert "decoded 25 of 26 frames" in refusal(plain, info=info)


def test_files_that_are_no_video(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    with av.open(str(tmp_path / "sound.mp4"), "w") as output:
        sound = output.add_stream("aac", rate=8000)
        for start in range(0, 8000, 800):
            chunk = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
            chunk.sample_rate, chunk.pts = 8000, start
            output.mux(sound.encode(chunk))
        output.mux(sound.encode(None))
    expected = {
        "": "is a folder",
        "none.mp4": "no such file",
        "empty.mp4": "is an empty file",
        "text.mp4": "cannot be read as a video|not in a video container",
        "sound.mp4": "holds no video stream",
    }
    for name, reason in expected.items():
        message = refusal(tmp_path / name)
        assert any(part in message for part in reason.split("|")), message
    assert "embedded null" in refusal_of_text("a\0b")


def refusal_of_text(name):
    """The refusal of a name that cannot be a path."""
    with pytest.raises(VideoError) as caught:
        probe(name)
    return str(caught.value)


def test_video_track_without_frames_is_refused(tmp_path):
    source = encode_frames(tmp_path / "a.mov", rgb_frames(2), "mjpeg", "yuvj420p")
    path = remux(source, tmp_path / "b.mkv", lambda number: False)
    refusal(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable_file_is_refused(plain, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(plain.read_bytes())
    path.chmod(0)
    assert "Permission denied" in refusal(path)


@pytest.mark.parametrize("name", ["-i.mp4", "http:x.mp4", "concat:a|b.mp4", "data:,x.mp4", "a b é 影.mp4", "f%03d.mp4"])
def test_strange_names_are_local_files(plain, tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(plain.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert probe(name).n_frames == 25
    assert probe(name).path == name


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/a.mp4", "file:///etc/hostname", "concat:a.mp4|b.mp4", "data:text/plain,x"]
)
def test_addresses_are_not_opened(url):
    assert "no such file" in refusal_of_text(url)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9.0,\n{}\n#EXT-X-ENDLIST\n"),
        ("a.ffconcat", "ffconcat version 1.0\nfile '{}'\n"),
        ("a.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"),
        ("a.mpd", '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{}</BaseURL></MPD>'),
    ],
)
def test_playlists_are_refused(plain, tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text.format(plain))
    refusal(path)


def test_limits_are_named(plain):
    assert probe(plain, DecodeLimits(64 * 48, 25, 1.0, plain.stat().st_size)).n_frames == 25
    assert "number of pixels per frame is 3072, over the limit of 3071" in refusal(
        plain, limits=DecodeLimits(max_pixels=3071)
    )
    assert "number of frames is 25, over the limit of 24" in refusal(plain, limits=DecodeLimits(max_frames=24))
    assert "duration in seconds is 1, over the limit of 0.5" in refusal(plain, limits=DecodeLimits(max_duration_s=0.5))
    assert "file size in bytes" in refusal(plain, limits=DecodeLimits(max_file_bytes=10))


def test_cover_picture_is_not_the_video(tmp_path, plain):
    cover = encode_frames(tmp_path / "cover.mov", rgb_frames(1, 400, 400), "mjpeg", "yuvj420p")
    with av.open(str(cover)) as container:
        picture = bytes(next(container.demux(video=0)))
    path = tmp_path / "a.mkv"
    with av.open(str(plain)) as video, av.open(str(path), "w") as output:
        output.add_attachment("cover.jpg", "image/jpeg", picture)
        copy = output.add_stream_from_template(video.streams.video[0])
        for packet in video.demux(video=0):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
    info = probe(path)
    assert (info.codec, info.height, info.width, info.n_frames) == ("h264", 48, 64, 25)
