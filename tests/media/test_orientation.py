"""What is displayed is what is read: eight orientations, in every form, and pixels that are not square."""

import math
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.support.media import encode_frames, rgb_frames, whole
from ugcvqa.media.orientation import Orientation, orientation_of
from ugcvqa.media.video import picture_at, probe

ONE, UNIT = 1 << 16, 1 << 30
# (a, b, c, d) of the matrix, and what numpy does to the rows and columns of the coded picture.
EIGHT = {
    "upright": ((1, 0, 0, 1), lambda p: p),
    "counter-clockwise": ((0, -1, 1, 0), lambda p: p.swapaxes(0, 1)[::-1]),
    "half": ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
    "clockwise": ((0, 1, -1, 0), lambda p: p.swapaxes(0, 1)[:, ::-1]),
    "left and right": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "top and bottom": ((1, 0, 0, -1), lambda p: p[::-1]),
    "main diagonal": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
    "other diagonal": ((0, -1, -1, 0), lambda p: p.swapaxes(0, 1)[::-1, ::-1]),
}


def packed(a, b, c, d, scale=ONE):
    return struct.pack(
        "=9i", *(round(v * scale) for v in (a, b)), 0, *(round(v * scale) for v in (c, d)), 0, 0, 0, UNIT
    )


def with_matrix(source, target, numbers):
    """The same MP4 with another matrix in its track header."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (ONE * number for number in numbers)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, UNIT)
    target.write_bytes(data)
    return target


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    path = encode_frames(tmp_path_factory.mktemp("coded") / "coded.mp4", rgb_frames(30, 54, 96))
    rgb, _, _ = whole(path)
    return path, rgb[3].transpose(1, 2, 0)


@pytest.mark.parametrize("name", EIGHT)
def test_each_orientation_is_shown_in_every_form(coded, tmp_path, name):
    numbers, displayed = EIGHT[name]
    source, picture = coded
    path = with_matrix(source, tmp_path / "turned.mp4", numbers)
    expected, info = displayed(picture), probe(path)
    assert (info.height, info.width) == expected.shape[:2]
    rgb, _, _ = whole(path)
    np.testing.assert_array_equal(rgb[3].transpose(1, 2, 0), expected)
    np.testing.assert_array_equal(picture_at(path, 3, info)[1], expected)
    luma, plain = whole(path, "y")[0][3], whole(source, "y")[0][3]
    np.testing.assert_array_equal(luma, displayed(plain[..., None])[..., 0])
    for form in ("rgb224", "stretch1080", "fit720"):
        seen = whole(path, form)[0][3].transpose(1, 2, 0)
        upright = whole(encode_lossless(tmp_path / "same.mkv", expected), form)[0][0].transpose(1, 2, 0)
        assert np.abs(seen.astype(int) - upright).mean() < 4, form


def encode_lossless(path, picture):
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return encode_frames(path, [frame] * 2, "ffv1", "bgr0")


def test_matrices_in_any_scale_and_of_odd_angles():
    for numbers, _ in EIGHT.values():
        assert orientation_of(packed(*numbers)) == orientation_of(packed(*numbers, scale=3 * ONE))
    assert orientation_of(bytes(36)) == orientation_of(b"") == Orientation()
    for angle, quarter_turns in ((3, 0), (40, 0), (50, 1), (-100, 3), (170, 2)):
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        assert orientation_of(packed(cos, -sin, sin, cos)) == Orientation(quarter_turns, is_exact=False)
    assert not orientation_of(packed(1, 0, 0.5, 1)).is_exact


def test_stills_have_square_pixels_and_features_the_coded_ones(tmp_path):
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for frame in rgb_frames(30, 72, 96):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    info = probe(path)
    assert (info.height, info.width, info.pixel_aspect) == (72, 96, Fraction(4, 3))
    assert info.shown_size == (72, 128)
    assert picture_at(path, 9, info)[1].shape == (72, 128, 3)
    assert whole(path, "rgb")[0].shape[2:] == (72, 96)
    turned = with_matrix(path, tmp_path / "turned.mp4", (0, 1, -1, 0))
    info = probe(turned)
    assert info.shown_size == (128, 72)
    assert picture_at(turned, 9, info)[1].shape == (128, 72, 3)


@pytest.mark.parametrize(("degrees", "is_exact"), [(0.5, True), (0.6, False), (-90.5, True), (-90.6, False)])
def test_angles_within_half_a_degree_are_taken_for_quarter_turns(degrees, is_exact):
    turn = np.exp(1j * np.radians(degrees))
    found = orientation_of(packed(turn.real, -turn.imag, turn.imag, turn.real))
    assert (found.quarter_turns, found.is_exact) == (round(degrees / 90) % 4, is_exact)
