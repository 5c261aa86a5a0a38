"""Cropped videos: pictures for people and end-to-end networks hold the part that is shown, features whole frames."""

import av
import numpy as np
import pytest
import torch

from tests.media.test_orientation import EIGHT, with_matrix
from tests.support.media import encode_frames, rgb_frames, whole, with_clean_aperture
from ugcvqa.media.video import picture_at, probe
from ugcvqa.reports.thumbnails import read_shots
from ugcvqa.samples.clips import ClipFamily
from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.training import ClipSettings

HEIGHT, WIDTH = 54, 96


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    path = encode_frames(tmp_path_factory.mktemp("coded") / "coded.mp4", rgb_frames(30, HEIGHT, WIDTH))
    return path, whole(path)[0][3].transpose(1, 2, 0)


@pytest.mark.parametrize("name", EIGHT)
def test_the_part_is_cut_out_before_the_turn(coded, tmp_path, name):
    numbers, displayed = EIGHT[name]
    source, picture = coded
    # 80x30 whose centre lies 3 to the right of and 7 above the middle: columns 8 + 3, rows 12 - 7.
    cut = with_clean_aperture(source, tmp_path / "cut.mp4", 80, 30, right=6, down=-14)
    path = with_matrix(cut, tmp_path / "turned.mp4", numbers)
    info, expected = probe(path), displayed(picture[5:35, 11:91])
    assert info.shown_size == expected.shape[:2]
    np.testing.assert_array_equal(picture_at(path, 3, info)[1], expected)
    np.testing.assert_array_equal(whole(path, "shown")[0][3].transpose(1, 2, 0), expected)
    np.testing.assert_array_equal(whole(path)[0][3].transpose(1, 2, 0), displayed(picture))
    small = info.cut_to_shown(np.zeros((224, 224))).shape
    np.testing.assert_allclose(small, np.divide(expected.shape[:2], (info.height, info.width)) * 224, atol=2)


def test_reports_and_end_to_end_networks_see_the_part(coded, tmp_path):
    source, _ = coded
    path = with_clean_aperture(source, tmp_path / "cut.mp4", 60, 40)
    info = probe(path)
    (shot,) = read_shots(info, [0.1], DecodeLimits())
    assert shot.image.shape == (40, 60, 3)
    (long,) = read_shots(info, [0.1], DecodeLimits(), squash=True)
    np.testing.assert_array_equal(long.image, shot.image)
    family = ClipFamily(ClipSettings(frames=1, phases=1, view="crop", short_side=0, crop=8))
    frames = torch.from_numpy(whole(path, "shown")[0][:1])
    assert family({"shown": frames}).shape == (1, 3, 40, 60)


@pytest.mark.parametrize(
    ("width", "height", "right"), [(WIDTH, HEIGHT, 0), (120, 40, 0), (60, 40, 60), (0, 40, 0)], ids=str
)
def test_apertures_of_all_or_outside_are_ignored(coded, tmp_path, width, height, right):
    path = with_clean_aperture(coded[0], tmp_path / "cut.mp4", width, height, right)
    assert probe(path).shown_part is None


def test_cropping_of_matroska_leaves_the_pixels_square(tmp_path):
    plain = tmp_path / "plain.mkv"
    with av.open(str(plain), "w", container_options={"live": "1", "write_crc32": "0", "fflags": "+bitexact"}) as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for frame in rgb_frames(30, HEIGHT, WIDTH):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    path = tmp_path / "cut.mkv"
    bottom, top, left = b"\x54\xaa\x81\x07", b"\x54\xbb\x81\x05", b"\x54\xcc\x81\x0b"
    path.write_bytes(inserted(plain.read_bytes(), bottom + top + left))
    info, picture = probe(path), whole(plain)[0][3].transpose(1, 2, 0)
    assert info.shown_part == (5, 11, HEIGHT - 12, WIDTH - 11)
    assert info.pixel_aspect == 1
    np.testing.assert_array_equal(picture_at(path, 3, info)[1], picture[5:-7, 11:])


def inserted(data, crop):
    """Adds elements to the video settings of a Matroska file of one track, whose headers FFmpeg writes one by one."""
    at, ends = data.rindex(b"\x16\x54\xae\x6b"), []  # the list of places before it names it too
    for name in (b"\x16\x54\xae\x6b", b"\xae", b"\xe0"):
        at = data.index(name, at) + len(name)
        ends.append(at)
        at += 9 - data[at].bit_length()
    grown = bytearray(data[:at] + crop + data[at:])
    for end in ends:
        n_bytes = 9 - data[end].bit_length()
        size = int.from_bytes(data[end : end + n_bytes], "big") + len(crop)
        grown[end : end + n_bytes] = size.to_bytes(n_bytes, "big")
    return grown
