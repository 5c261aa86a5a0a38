"""Reading and writing of video files: planes, colours, counts, times, damage."""

import hashlib
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.support.media import COUNT, FORMATS, encode_frames, naive, pattern, plain_file, remux, rgb_frames, whole
from ugcvqa.media.sampling import Piece, nss_pieces
from ugcvqa.media.video import Clip, VideoInfo, probe, read_clips, read_frames


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """A one-second H.264 file with detail in every frame, moov atom in front."""
    return plain_file(tmp_path_factory.mktemp("plain") / "plain.mp4")


# ---- what is decoded -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "options"), FORMATS, ids=[entry[0] for entry in FORMATS])
def test_each_format_gives_every_frame_once(tmp_path, name, codec, pix_fmt, options):
    size = (64, 64) if codec == "libsvtav1" else (48, 64)
    path = encode_frames(tmp_path / name, rgb_frames(COUNT, *size), codec, pix_fmt, options=options)
    info = probe(path)
    assert (info.n_frames, info.rate, info.height, info.width) == (COUNT, 25, *size)
    assert info.pix_fmt == pix_fmt
    assert not info.is_variable_rate
    assert info.duration_s == pytest.approx(COUNT / 25)
    assert info.file_bytes == path.stat().st_size
    images, indices, times = whole(path)
    expected, expected_times = naive(path)
    np.testing.assert_array_equal(images, np.stack(expected))
    assert indices == tuple(range(COUNT))
    assert list(times) == pytest.approx(expected_times)
    assert np.abs(images[3].astype(int) - pattern(3, *size).transpose(2, 0, 1)).mean() < 60  # in order, not mixed up


# ---- counts, rates, times --------------------------------------------------------------------------------------


def test_variable_frame_rate_is_measured(tmp_path):
    pts = [0, 1, 2, 5, 6, 7, 12, 13, 14, 15]
    path = encode_frames(tmp_path / "a.mkv", rgb_frames(10), rate=25, pts=pts)
    info = probe(path)
    assert info.is_variable_rate
    assert info.rate == 25  # where frames are; the mean would be 15
    assert [t for _, t, _ in read_frames(path)] == pytest.approx([p / 25 for p in pts], abs=1e-3)


@pytest.mark.parametrize("rate", ["30000/1001", "24000/1001", "25", "60", "15", "120", "1"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_constant_rates_are_exact_despite_rounded_times(tmp_path, rate, name):
    info = probe(encode_frames(tmp_path / name, rgb_frames(20), "mjpeg", "yuvj420p", rate=rate))
    assert info.rate == Fraction(rate)
    assert not info.is_variable_rate


def test_one_frame_has_the_header_rate(tmp_path):
    info = probe(encode_frames(tmp_path / "a.mp4", rgb_frames(1), rate=30))
    assert (info.n_frames, info.rate) == (1, 30)


def test_raw_stream_without_times_still_has_them(tmp_path):
    path = encode_frames(tmp_path / "a.h264", rgb_frames(10), rate=25)
    info = probe(path)
    assert info.n_frames == 10
    assert 0 < info.rate <= 1000
    times = whole(path)[2]
    assert np.diff(times).min() > 0


def test_interlaced_is_marked_and_counted_by_decoding(tmp_path):
    path = encode_frames(tmp_path / "a.mp4", rgb_frames(12, 64), options={"x264-params": "interlaced=1:tff=1"})
    info = probe(path)
    assert info.is_interlaced
    assert info.n_frames == 12 == len(whole(path)[1])


def test_longer_audio_is_not_missing_video(tmp_path):
    for name in ("a.mp4", "a.mkv", "a.mov"):
        path = encode_frames(tmp_path / name, rgb_frames(12), audio_s=2.0)
        info = probe(path)
        assert info.has_audio
        assert (info.n_frames, info.rate) == (12, 25)


def test_cut_in_the_middle_of_a_group_counts_what_decodes(tmp_path):
    options = {"x265-params": "log-level=none:pools=none:frame-threads=1:keyint=10:min-keyint=10:open-gop=1:scenecut=0"}
    source = encode_frames(tmp_path / "a.mov", rgb_frames(40), "libx265", options=options)
    path = remux(source, tmp_path / "b.mkv", lambda number: number >= 20)
    images, indices, _ = whole(path)
    assert probe(path).n_frames == len(indices)
    np.testing.assert_array_equal(images[-1], whole(source)[0][-1])


def test_edit_list_cuts_frames_away(tmp_path):
    source = encode_frames(tmp_path / "a.mp4", rgb_frames(50), options={"g": "10"})
    data = bytearray(source.read_bytes())
    # ISO 14496-12, edit list box version 0: after the entry count come the segment's duration and media time.
    place = data.index(b"elst") + 12
    duration, start = (int.from_bytes(data[place + at : place + at + 4], "big") for at in (0, 4))
    step = 512  # the muxer's time scale is 12800 per second
    data[place : place + 8] = (duration // 2).to_bytes(4, "big") + (start + 5 * step).to_bytes(4, "big")
    path = tmp_path / "b.mp4"
    path.write_bytes(data)
    info = probe(path)
    assert (info.n_frames, info.rate, info.is_variable_rate) == (25, 25, False)
    np.testing.assert_array_equal(whole(path)[0], whole(source)[0][5:30])


def test_dropped_frames_of_an_avi_are_not_missing(tmp_path):
    path = encode_frames(
        tmp_path / "a.avi", rgb_frames(12), "mpeg4", options={"bf": "0"}, pts=[*range(6), *range(8, 14)]
    )
    info = probe(path)
    assert info.n_frames == len(whole(path)[1]) == 12
    assert info.is_variable_rate


def test_info_is_picklable(plain):
    info = probe(plain)
    assert isinstance(info, VideoInfo)
    assert pickle.loads(pickle.dumps(info)) == info


# ---- clips -----------------------------------------------------------------------------------------------------


def mixed_plans():
    """Three families that overlap, repeat frames and leave gaps."""

    def windows(info):
        for start in range(0, info.n_frames - 7, 4):
            yield Piece({"y": (start, start + 3, start + 7, start + 3), "rgb": (start + 7,)})

    def every(info):
        for start in range(0, info.n_frames, 4):
            yield Piece({"rgb": tuple(range(start, min(info.n_frames, start + 4)))})

    return {"windows": windows, "every": every, "nss": lambda info: nss_pieces(info.n_frames, Fraction(8))}


def test_clips_equal_a_plain_reading_of_the_whole_file(plain):
    rgb, times = naive(plain)
    luma, _ = naive(plain, "y")
    seen = {}
    for clip in read_clips(plain, mixed_plans()):
        assert clip.piece_index == seen.get(clip.family, 0)
        seen[clip.family] = clip.piece_index + 1
        for form, images in clip.frames.items():
            assert images.dtype == np.uint8
            assert clip.pts_s[form] == pytest.approx([times[i] for i in clip.frame_index[form]])
            if form in ("rgb", "y"):
                expected = [(rgb if form == "rgb" else luma)[i] for i in clip.frame_index[form]]
                np.testing.assert_array_equal(images, np.stack(expected))
    assert seen == {"windows": 5, "every": 7, "nss": 3}


def test_clips_come_as_soon_as_complete_and_pieces_are_drawn_late(plain):
    drawn = []

    def plan(info):
        for index in range(info.n_frames):
            drawn.append(index)
            yield Piece({"y": (index,)})

    clips = read_clips(plain, {"a": plan})
    next(clips)
    assert len(drawn) <= 2
    clips.close()


def test_each_form_is_converted_once_per_frame(plain, monkeypatch):
    from ugcvqa.media import convert

    calls = []
    call = convert.Converter.__call__

    def counted(self, frame, forms):
        calls.append(sorted(forms))
        return call(self, frame, forms)

    monkeypatch.setattr(convert.Converter, "__call__", counted)
    plans = {name: lambda _: [Piece({"rgb": (3, 5)}), Piece({"rgb": (5,), "y": (9, 9)})] for name in "ab"}
    assert len(list(read_clips(plain, plans))) == 4
    assert calls == [["rgb"], ["rgb"], ["y"]]


def test_plan_gets_measured_values(tmp_path):
    path = encode_frames(tmp_path / "a.mp4", rgb_frames(12), rotation=90)
    got = []
    assert list(read_clips(path, {"a": lambda info: got.append(info) or ()})) == []
    assert [(info.n_frames, info.rate, info.height, info.width) for info in got] == [(12, Fraction(25), 64, 48)]


@pytest.mark.parametrize("indices", [(30,), (-1,), (7, 25)], ids=str)
def test_plan_that_asks_for_missing_frames_is_a_bug(plain, indices):
    with pytest.raises(ValueError, match="asks for frames"):
        list(read_clips(plain, {"a": lambda _: [Piece({"y": indices})]}))


def test_plan_that_goes_back_is_a_bug(plain):
    with pytest.raises(ValueError, match="asks for frames 2 to 2 when 5 to 24 are left"):
        list(read_clips(plain, {"a": lambda _: [Piece({"y": (5,)}), Piece({"y": (2,)})]}))


def test_clip_shows_shapes_and_checks_them(plain):
    (clip,) = read_clips(plain, {"a": lambda _: [Piece({"rgb": (1, 2), "u": (0,)})]})
    assert "rgb (2, 3, 48, 64), u (1, 24, 32)" in repr(clip)
    with pytest.raises(ValueError, match="a piece 0: y is uint8"):
        Clip("a", 0, {"y": clip.frames["u"]}, {"y": (0,)}, clip.info)


def test_frames_outlive_the_file(plain):
    frames = list(read_frames(plain, [4, 2, 4]))
    assert [index for index, _, _ in frames] == [2, 4]
    np.testing.assert_array_equal(frames[0][2], naive(plain)[0][2])
    assert list(read_frames(plain, [])) == []
    with pytest.raises(ValueError, match="unknown form"):
        next(read_frames(plain, form="bgr"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux to list open files")
def test_closed_iterator_lets_go_of_the_file(plain):
    def held():
        return sum(link.resolve() == plain for link in Path("/proc/self/fd").iterdir())

    frames = read_frames(plain)
    next(frames)
    assert held() == 1
    frames.close()
    assert held() == 0


# ---- real clips ------------------------------------------------------------------------------------------------

REAL = {  # size, rate, frames, variable, first time, last time; measured by hand when the clips were collected
    "vsfa_test.mp4": (540, 960, Fraction(30000, 1001), 240, False, 0.0, 239239 / 30000),
    "dover_1724_portrait.mp4": (720, 406, Fraction(30000, 1001), 243, False, 0.033, 244233 / 30000),
    "dover_eWgy8eG3stA.mp4": (360, 480, Fraction(25), 250, False, 0.0, 9.96),
}


@pytest.mark.parametrize("name", REAL)
def test_real_clip(shared, name):
    height, width, rate, n_frames, is_variable, first_s, last_s = REAL[name]
    path = shared / "data" / "videos" / name
    info = probe(path)
    assert (info.height, info.width, info.rate, info.n_frames) == (height, width, rate, n_frames)
    assert (info.codec, info.pix_fmt, info.bit_depth, info.rotation) == ("h264", "yuv420p", 8, 0)
    assert (info.is_variable_rate, info.is_interlaced) == (is_variable, False)
    times = [
        clip.pts_s["y"][0]
        for clip in read_clips(path, {"a": lambda info: (Piece({"y": (i,)}) for i in range(info.n_frames))})
    ]
    assert len(times) == n_frames
    assert (times[0], times[-1]) == pytest.approx((first_s, last_s), abs=1e-9)


def test_real_planes_match_golden_checksum(shared, tmp_path):
    golden = np.load(shared / "golden" / "nss_public.npz")
    path = tmp_path / "full.mp4"
    path.write_bytes(golden["full_test_mp4"].tobytes())
    height, width, _, n_frames = (golden["full_test_info"][i] for i in range(4))
    info = probe(path)
    assert (info.height, info.width, info.n_frames) == (height, width, n_frames)
    digest = hashlib.sha256()
    pieces = lambda info: (Piece({form: (i,) for form in "yuv"}) for i in range(info.n_frames))  # noqa: E731
    for clip in read_clips(path, {"all": pieces}):
        for form in "yuv":
            digest.update(clip.frames[form].tobytes())
    assert digest.hexdigest() == str(golden["full_test_yuv_sha256"])


def test_reading_does_not_import_torch():
    root = Path(__file__).parents[2]
    code = "import sys, ugcvqa.media.video; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


@pytest.mark.parametrize("name", ["vsfa_test", "dover_1724_portrait"])
def test_small_frames_equal_the_lanczos_chain_of_the_published_code(shared, name):
    with np.load(shared / "golden/saliency_public.npz") as golden:
        indices, expected = golden[f"prep_{name}.index"], golden[f"prep_{name}.rgb"]
    path = shared / "data/videos" / f"{name}.mp4"
    frames = {index: image for index, _, image in read_frames(path, indices.tolist(), "rgb224")}
    for index, image in zip(indices.tolist(), expected, strict=True):
        np.testing.assert_array_equal(frames[index].transpose(1, 2, 0), image)
