"""Frame sampling of the NSS features, against the rules written out by hand."""

from fractions import Fraction

import pytest

from ugcvqa.media.sampling import (
    chunk_centres,
    cnn_pieces,
    every_frame_pieces,
    fused_frames,
    nss_pieces,
    rounded_rate,
    saliency_frames,
    small_pieces,
    stretch_pieces,
)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (Fraction(30000, 1001), 30),
        (Fraction(24000, 1001), 24),
        (Fraction(1998, 1000), 2),
        (Fraction(25, 2), 13),
        (Fraction(1, 10), 1),
        (Fraction(60), 60),
    ],
)
def test_rate_is_rounded_half_up_and_never_zero(rate, expected):
    assert rounded_rate(rate) == expected


def test_pieces_of_a_240_frame_clip():
    pieces = list(nss_pieces(240, Fraction(30000, 1001)))
    assert len(pieces) == 8
    assert pieces[0].frames == {"y": (5, 25, *range(11, 19)), "u": (5, 25), "v": (5, 25)}
    assert pieces[-1].frames["y"] == (215, 235, *range(221, 229))
    assert (pieces[0].first, pieces[0].last) == (5, 25)


def test_last_chunk_has_fewer_temporal_frames():
    # 29 frames at 10 per second: the last centre is 25, its temporal frames 21..26 (N - 3)
    assert list(nss_pieces(29, Fraction(10)))[-1].frames["y"] == (22, 27, *range(21, 27))


def test_slow_video_starts_its_first_chunk_at_frame_one():
    first = next(iter(nss_pieces(20, Fraction(8))))
    assert first.frames["y"] == (2, 6, *range(1, 9))


def test_frames_stay_inside_the_video():
    for n_frames in range(0, 70):
        for rate in (1, 2, 8, 24, 30):
            for piece in nss_pieces(n_frames, Fraction(rate)):
                for form, indices in piece.frames.items():
                    assert all(0 <= index < n_frames for index in indices), (n_frames, rate, form)
                assert len(piece.frames["y"]) <= 10


def test_too_short_has_no_chunk():
    assert list(nss_pieces(16, Fraction(30))) == []
    assert len(list(nss_pieces(17, Fraction(30)))) == 1
    assert list(chunk_centres(1, Fraction(1))) == []


def test_one_frame_per_second_rules_differ_at_29_97_frames_per_second():
    rate = Fraction(30000, 1001)
    assert saliency_frames(240, rate) == (29, 59, 89, 119, 149, 179, 209, 239)
    assert fused_frames(240, rate) == (0, 29, 58, 87, 116, 145, 174, 203)
    assert [piece.frames["y"] for piece in cnn_pieces(240, rate)] == [(t,) for t in range(15, 240, 30)]


def test_one_frame_per_second_of_a_short_video_is_its_middle():
    assert saliency_frames(20, Fraction(30)) == (10,)
    assert fused_frames(20, Fraction(30)) == (10,)
    assert saliency_frames(1, Fraction(25)) == (0,)
    assert fused_frames(30, Fraction(1, 2)) == tuple(range(30))


def test_all_frames_come_once_and_in_order():
    pieces = list(every_frame_pieces(11, 4))
    assert [piece.frames["rgb"] for piece in pieces] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10)]
    assert [piece.frames["rgb224"] for piece in small_pieces((3, 5, 9), 2)] == [(3, 5), (9,)]


def test_stretches_hold_twelve_frames_before_the_centre_and_twelve_from_it_on():
    first, second = stretch_pieces(120, Fraction(60))
    assert first.frames["y"][2:] == tuple(range(30 - 12, 30 + 12))
    assert second.frames["y"][2:] == tuple(range(90 - 12, 90 + 12))
    assert [int(piece.facts["middle"]) for piece in (first, second)] == [12, 12]
    assert first.frames["y"][:2] == first.frames["u"] == (10, 50)  # a third of a second before and after
    (short,) = stretch_pieces(10, Fraction(10))
    assert short.frames["y"][2:] == (1, 2, 3, 4, 5, 6, 7)  # not the first frame, and not the last two
    assert int(short.facts["middle"]) == 4
