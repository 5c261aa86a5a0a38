"""Time: breaks in time stamps are closed up, the rate is that where frames are, seconds are seconds where it varies."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.support.media import encode_frames, rgb_frames, whole
from ugcvqa.errors import VideoError
from ugcvqa.features.by_second import Grid
from ugcvqa.media.clock import NO_STAMP, StampError, filled, measure_clock, recordings
from ugcvqa.media.facts import doubts_of
from ugcvqa.media.memory import memory_info
from ugcvqa.media.sampling import chunk_centres, fused_frames, nss_pieces, saliency_frames
from ugcvqa.media.video import picture_at, probe

MS = Fraction(1, 1000)
EVEN = [round(k * 1000 / 30) for k in range(300)]  # 30 frames per second as Matroska rounds them


def clock(stamps, time_base=MS, rates=(Fraction(30),), last_s=0.0):
    return measure_clock(recordings(np.array(stamps, np.int64)), time_base, rates, last_s)


def later(stamps, by):
    return [stamp + by for stamp in stamps]


BROKEN = {  # what was done to an even clock -> what is found
    "even": (EVEN, []),
    "paused": (EVEN[:150] + later(EVEN[150:], 60_000), ["pause"]),
    "paused for an hour": (EVEN[:77] + later(EVEN[77:], 3_600_000), ["pause"]),
    "joined": (EVEN[:150] + EVEN[:150], ["restart"]),
    "joined, overlapping": (EVEN[:150] + later(EVEN[:150], 2_000), ["restart"]),
    "joined, much later": (EVEN[:150] + later(EVEN[:150], 40_000_000), ["pause"]),
    "three parts": (EVEN[:100] + EVEN[:100] + EVEN[:100], ["restart", "restart"]),
    "counter ran over": (later(EVEN[:150], 2**31 - 5000) + later(EVEN[150:], -(2**31) - 5000), ["restart"]),
    "one stamp far ahead": ([*EVEN[:150], 10**9, *EVEN[151:]], ["pause", "restart"]),
    "one stamp far behind": ([*EVEN[:150], -(10**9), *EVEN[151:]], ["restart", "pause"]),
    "last frame far ahead": ([*EVEN[:-1], 10**7], ["pause"]),
    "negative": (later(EVEN, -5000), []),
    "jittering": ([stamp + (7 * k % 11 - 5) for k, stamp in enumerate(EVEN)], []),
}


@pytest.mark.parametrize("name", BROKEN)
def test_breaks_are_closed_up_and_the_rest_is_an_even_clock(name):
    stamps, kinds = BROKEN[name]
    found = clock(stamps)
    assert [each.kind for each in found.breaks] == kinds
    assert (found.rate, found.seconds, found.duration_s) == (30, None, pytest.approx(10))
    np.testing.assert_allclose(found.times_s, np.arange(300) / 30, atol=0.011)
    assert found.start_s == pytest.approx(stamps[0] / 1000)


@pytest.mark.parametrize(
    ("rate", "time_base"),
    [
        *((Fraction(rate, 1001), Fraction(1, 90000)) for rate in (24000, 30000, 60000)),
        *((Fraction(rate), MS) for rate in (1, 12, 15, 24, 25, 50, 60, 120, 240)),
        *((Fraction(1, seconds), MS) for seconds in (5, 15)),
    ],
    ids=str,
)
def test_constant_rates_stay_exact_and_are_counted_in_frames(rate, time_base):
    stamps = [round(k / rate / time_base) for k in range(max(30, int(4 * rate)))]
    found = clock(stamps, time_base, (rate,))
    assert (found.rate, found.seconds, found.breaks) == (rate, None, ())


@pytest.mark.parametrize("pattern", [(2, 3), (2, 3, 3, 2), (2,) * 11 + (3,)], ids=str)
def test_telecine_patterns_have_their_mean_rate_and_do_not_vary(pattern):
    steps = np.tile(pattern, 240 // len(pattern)) * 1500
    found = clock([0, *np.cumsum(steps).tolist()], Fraction(1, 90000), ())
    assert float(found.rate) == pytest.approx(60 * len(pattern) / sum(pattern), rel=1e-3)
    assert found.seconds is None


def test_dropped_frames_of_a_telephone_do_not_make_a_rate_variable():
    stamps = np.delete(EVEN, np.random.default_rng(0).choice(np.arange(1, 299), 20, replace=False))
    found = clock(stamps.tolist(), rates=())
    assert float(found.rate) == pytest.approx(28, rel=1e-2)  # frames per second of time
    assert found.seconds is None


def test_half_at_30_half_at_24_frames_has_seconds_of_time():
    found = clock(EVEN[:150] + [5000 + round(k * 1000 / 24) for k in range(120)])
    assert found.seconds.starts == (0, 30, 60, 90, 120, 150, 174, 198, 222, 246)
    assert (found.seconds.n_chunks, found.seconds.n_whole) == (10, 10)


def test_screen_recording_has_an_entry_per_second_of_time():
    stamps = [750 * k for k in range(240)] + [90_000 * (2 + k) for k in range(18)]  # 120 per second, then 1
    found = clock(stamps, Fraction(1, 90000), (Fraction(3440, 227), Fraction(120)), last_s=1.0)
    assert (found.rate, found.duration_s) == (120, 20)
    starts = (0, 120, *range(240, 258))
    assert found.seconds.starts == starts
    assert tuple(Grid.of(258, found.rate, found.seconds).starts) == starts
    assert list(chunk_centres(258, found.rate, found.seconds)) == [60, 180, *range(240, 257), 256]
    assert saliency_frames(258, found.rate, found.seconds) == (119, 239, *range(240, 258))
    assert fused_frames(258, found.rate, found.seconds) == starts
    first, *_, last = nss_pieces(258, found.rate, found.seconds)
    assert first.frames["u"] == (20, 100)  # a third of the second's frames on both sides, as at a constant rate
    assert last.frames["u"] == (256, 256)


@pytest.mark.parametrize(("length_s", "kinds"), [(0.24, []), (0.26, ["gap"]), (9.9, ["gap"]), (10.1, ["pause"])])
def test_a_quarter_of_a_second_without_frames_is_a_gap_and_ten_seconds_are_a_pause(length_s, kinds):
    stamps = [0]
    for _ in range(299):
        stamps.append(stamps[-1] + (round(1000 * length_s) if len(stamps) == 150 else 20))
    assert [each.kind for each in clock(stamps, rates=(Fraction(50),)).breaks] == kinds


@pytest.mark.parametrize(("step_ms", "kinds"), [(100, []), (40, ["gap"])])
def test_a_gap_is_longer_than_five_usual_steps(step_ms, kinds):
    stamps = np.arange(100) * step_ms
    stamps[50:] += 450 - step_ms
    assert [each.kind for each in clock(stamps, rates=(Fraction(1000, step_ms),)).breaks] == kinds


@pytest.mark.parametrize("held_s", [0.7, 2, 4.3, 9])
def test_short_pause_counts_as_time_and_seconds_begin_anew_behind_it(held_s):
    found = clock(EVEN[:150] + later(EVEN[150:], round(1000 * held_s)))
    assert found.rate == 30
    assert found.duration_s == pytest.approx(10 + held_s, abs=1e-3)
    assert [each.kind for each in found.breaks] == ["gap"]
    assert found.breaks[0].length_s == pytest.approx(held_s, abs=2e-3)
    if held_s > 1:
        assert found.seconds.starts == tuple(range(0, 300, 30))


def test_held_last_frame_changes_no_rate():
    found = clock([*EVEN[:-1], EVEN[-1] + 5000])
    assert found.rate == 30
    assert found.seconds.starts[:10] == tuple(range(0, 300, 30))
    assert found.seconds.n_chunks == 10


@pytest.mark.parametrize(
    ("stamps", "reason"),
    [([7] * 20, "all of its frames"), ([0] * 15 + [40], "most of"), ([0, 10**15, 2 * 10**15], "over decades")],
)
def test_unusable_stamps_are_told(stamps, reason):
    with pytest.raises(StampError, match=reason):
        clock(stamps)


def test_unknown_stamps_between_known_ones_are_filled():
    stamps = np.array([0, NO_STAMP, 80, NO_STAMP, 160])
    assert filled(stamps).tolist() == [0, 40, 80, 120, 160]
    assert filled(np.array([0, NO_STAMP, NO_STAMP])) is None


def test_reordered_frames_are_no_restart():
    # I P B B P B B in decoding order, with and without decoding stamps
    stamps = np.array([0, 3, 1, 2, 6, 4, 5, 9, 7, 8]) * 40
    for decoding in (np.arange(-1, 9) * 40, np.full(10, NO_STAMP)):
        (part,) = recordings(stamps, decoding)
        assert part.tolist() == list(range(0, 400, 40))


# ---- files -----------------------------------------------------------------------------------------------------

CONTAINERS = ["a.mp4", "a.mkv", "a.ts", "a.avi", "a.flv", "a.asf", "a.nut", "a.mov"]


def copied(source, target, change):
    """Copies packets with other stamps: `change` maps (number, stamp in frames) to the new stamp in frames."""
    with av.open(str(source)) as given, av.open(str(target), "w") as output:
        stream = given.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in given.demux(stream) if packet.size):
            tick = 1 / (stream.average_rate * packet.time_base)
            packet.pts, packet.dts = (round(change(number, float(s / tick)) * tick) for s in (packet.pts, packet.dts))
            packet.stream = copy
            output.mux(packet)
    return target


@pytest.fixture(scope="module")
def even_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("even")
    return encode_frames(folder / "a.mp4", rgb_frames(60), rate=30, options={"g": "15", "bf": "0"})


@pytest.mark.parametrize("name", CONTAINERS)
def test_pause_in_every_container(tmp_path, even_file, name):
    if name == "a.avi":  # fills pauses with empty packets
        path, pts = tmp_path / name, [*range(30), *range(930, 960)]
        encode_frames(path, rgb_frames(60), "mpeg4", rate=30, pts=pts)
    else:
        path = copied(even_file, tmp_path / name, lambda number, at: at + (900 if number >= 30 else 0))
    info = probe(path)
    assert info.rate == 30
    assert not info.is_variable_rate
    assert info.duration_s == pytest.approx(2)
    assert [each.kind for each in info.breaks] == ["pause"]
    _, _, times = whole(path)
    assert np.diff(times) == pytest.approx(1 / 30, abs=2e-3)


@pytest.mark.parametrize("second", [{}, {"g": "5"}], ids=["one", "other"])
def test_joined_transport_streams_are_one_video(tmp_path, even_file, second):
    one = encode_frames(tmp_path / "one.ts", rgb_frames(60), rate=30, options={"bf": "2", "g": "15"})
    other = encode_frames(tmp_path / "other.ts", rgb_frames(60), rate=30, options={"bf": "2", **second})
    path = tmp_path / "joined.ts"
    path.write_bytes(one.read_bytes() + other.read_bytes())
    info = probe(path)
    assert (info.n_frames, info.rate, info.duration_s, info.is_variable_rate) == (120, 30, 4, False)
    assert [each.kind for each in info.breaks] == ["restart"]
    assert info.breaks[0].at_s == pytest.approx(59 / 30)
    images, _, times = whole(path)
    assert np.diff(times) == pytest.approx(1 / 30)
    np.testing.assert_array_equal(images, np.concatenate([whole(one)[0], whole(other)[0]]))
    np.testing.assert_array_equal(picture_at(path, 90, info)[1], images[90].transpose(1, 2, 0))


@pytest.mark.parametrize("name", ["a.mkv", "a.flv", "a.mp4"])
def test_equal_stamps_are_refused_in_one_line(tmp_path, even_file, name):
    step = name == "a.mp4"  # this muxer takes ascending stamps only
    path = copied(even_file, tmp_path / name, lambda number, at: number * step)
    if name == "a.mp4":  # ISO 14496-12, time to sample box: after the entry count come pairs of count and step
        data = bytearray(path.read_bytes())
        place = data.index(b"stts") + 8
        for entry in range(int.from_bytes(data[place : place + 4], "big")):
            data[place + 8 + 8 * entry : place + 12 + 8 * entry] = bytes(4)
        path.write_bytes(data)
    with pytest.raises(VideoError) as caught:
        probe(path)
    assert "have the same time stamp; rewrite it" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_raw_stream_says_that_it_has_no_stamps(tmp_path):
    info = probe(encode_frames(tmp_path / "a.h264", rgb_frames(10), rate=25))
    assert not info.has_stamps
    assert info.rate == 25


def sentences(stamps, rates=(Fraction(30),)):
    found = clock(stamps, rates=rates)
    info = replace(
        memory_info(len(stamps), 48, 64, found.rate),
        times_s=found.times_s,
        is_variable_rate=found.seconds is not None,
        breaks=found.breaks,
    )
    return doubts_of(info)


def test_breaks_are_told_in_the_row():
    assert sentences(EVEN) == ()
    assert sentences(BROKEN["paused"][0]) == ("60.0 s without frames are left out of all times after 5.0 s",)
    (joined,) = sentences(BROKEN["three parts"][0])
    assert joined == "time stamps start again after 3.3, 6.6 s, as in joined recordings, and are joined end to end"
    varies, held = sentences(EVEN[:90] + later(EVEN[90:240], 2000) + later(EVEN[240:], 3000))
    assert "rate varies" in varies
    assert held == "no frames come for 2.0 s after 3.0 s, and 1 more times: held, or lost"


def test_missing_stamps_are_told(tmp_path):
    info = probe(encode_frames(tmp_path / "a.h264", rgb_frames(10), rate=25))
    assert "the file holds no time stamps, so 25 frames per second are assumed" in doubts_of(info)


def test_reordered_frames_of_a_varying_rate_are_one_recording(tmp_path):
    stamps = [*range(120), *(120 + 120 * k for k in range(1, 13))]
    options = {"x264-params": "b-adapt=0:bframes=3"}
    for ending in ("mkv", "mp4"):  # Matroska has no decoding stamps
        path = encode_frames(tmp_path / f"a.{ending}", rgb_frames(len(stamps)), rate=120, options=options, pts=stamps)
        info = probe(path)
        assert (info.n_frames, info.rate, info.duration_s) == (132, 120, pytest.approx(14.0, abs=0.01))
        assert {each.kind for each in info.breaks} == {"gap"}


def test_a_clock_that_stands_still_for_long_is_refused():
    stamps = np.array([*range(60), *[60] * 20], np.int64)
    with pytest.raises(StampError, match="20 frames in a row have the same time stamp"):
        measure_clock([stamps], Fraction(1, 25), [Fraction(25)])
    measure_clock([np.array([*range(60), *[60] * 10], np.int64)], Fraction(1, 25), [Fraction(25)])
