"""Damaged files: a bounded search with the fuzzing tool, and files that once cost too much."""

import struct
import sys
import time
from pathlib import Path

import av
import pytest

from tests.support.media import plain_file, remux
from ugcvqa.errors import ConfigError, VideoError
from ugcvqa.media import decode
from ugcvqa.media.boxes import check_boxes
from ugcvqa.media.video import probe, read_frames
from ugcvqa.settings.data import DecodeLimits

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import fuzz

    yield fuzz
    for name in ("fuzz", "fuzz_files"):
        sys.modules.pop(name)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return plain_file(tmp_path_factory.mktemp("plain") / "plain.mp4")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the tool watches processes by /proc")
def test_damaged_files_end_in_frames_or_in_one_line(fuzz, tmp_path, capsys):
    assert fuzz.main(["--files", "240", "--seed", "21", "--keep", str(tmp_path / "kept")]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("seed 21: 240 files: ")
    assert " error" in last
    assert " read" in last
    assert not (tmp_path / "kept").exists()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the tool watches processes by /proc")
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("import os; os.abort()", "crash"),
        ("while True: pass", "hang"),
        ("a = b'1' * 200_000_000; input()", "memory"),
        ("import os; os.write(2, b'oh'); print('[\"read\", \"\"]', flush=True); input()", "noise"),
    ],
)
def test_the_tool_notices_what_it_looks_for(fuzz, tmp_path, code, kind):
    reader = fuzz.Reader("read", "", 1, 150, tmp_path)
    reader._command = [sys.executable, "-c", f"print('ready', flush=True)\ninput()\n{code}"]
    assert reader.judge(tmp_path / "a.mp4")[0] == kind
    reader.close()


def test_the_tool_knows_an_error_from_a_bug(fuzz):
    assert fuzz._outcome(lambda path: ("score", "3.0"), "a") == ("score", "3.0")
    assert fuzz._outcome(lambda path: ("error", "two\nlines"), "a")[0] == "bug"
    assert fuzz._outcome(lambda path: ("error", "unexpected KeyError"), "a")[0] == "bug"
    kind, reason = fuzz._outcome(lambda path: 1 / 0, "a")
    assert kind == "bug"
    assert reason.startswith("ZeroDivisionError")


def edited(path, source, box, *numbers, offset=4):
    """Writes a copy in which 32-bit numbers follow the name of a box at an offset."""
    data = bytearray(source.read_bytes())
    struct.pack_into(f">{len(numbers)}I", data, data.index(box) + 4 + offset, *numbers)
    path.write_bytes(data)
    return path


def test_a_header_that_promises_more_than_the_file_holds_is_refused_at_once(tmp_path, plain):
    check_boxes(plain)
    # one size for forty million frames: the demuxer would take 2 GiB
    path = edited(tmp_path / "a.mp4", plain, b"stsz", 1, 40_000_000)
    with pytest.raises(VideoError, match="its header promises 40000000 frames or bytes"):
        probe(path)


def test_a_fragment_that_promises_frames_without_listing_them_is_refused(tmp_path, plain):
    whole = remux(plain, tmp_path / "f.mp4", lambda number: True, movflags="frag_keyframe+empty_moov+default_base_moof")
    assert probe(whole).n_frames == 25
    path = edited(tmp_path / "b.mp4", whole, b"trun", 0, 40_000_000, offset=0)
    with pytest.raises(VideoError, match="header promises"):
        probe(path)


def test_edits_that_repeat_all_frames_are_refused(tmp_path, plain):
    data = plain.read_bytes()
    edits = struct.pack(">II", 0, 50_000) + struct.pack(">IiI", 1000, 0, 0x10000) * 50_000
    free = struct.pack(">I4s", 8 + 8 + len(edits), b"moov") + struct.pack(">I4s", 8 + len(edits), b"elst") + edits
    (tmp_path / "c.mp4").write_bytes(free + data)
    check_boxes(tmp_path / "c.mp4")  # 50,000 edits of 25 frames may be meant
    many = edited(tmp_path / "d.mp4", tmp_path / "c.mp4", b"stsz", 0, 90_000)
    with pytest.raises(VideoError, match="header promises"):
        check_boxes(many)


def test_other_files_are_not_taken_for_mp4(tmp_path):
    for name, data in {
        "a.mkv": b"\x1aE\xdf\xa3stsz" + b"\xff" * 40,
        "b.ts": b"G" * 400,
        "c": b"",
        "d": b"ftyp",
    }.items():
        (tmp_path / name).write_bytes(data)
        check_boxes(tmp_path / name)


def test_boxes_are_found_wherever_blocks_of_reading_end(tmp_path, monkeypatch, plain):
    path = edited(tmp_path / "a.mp4", plain, b"stsz", 1, 40_000_000)
    for block in (64, 97, 1001):
        monkeypatch.setattr("ugcvqa.media.boxes._BLOCK", block)
        with pytest.raises(VideoError, match="promises 40000000 "):
            check_boxes(path)


def test_time_of_decoding_is_limited_but_not_that_of_the_caller(monkeypatch, plain):
    clock = [0.0]
    monkeypatch.setattr(time, "thread_time", lambda: clock[0])
    limits = DecodeLimits(max_decode_s=5)
    for _ in read_frames(plain, limits=limits):
        clock[0] += 3  # what a user of the frames takes
    inner = decode.Decoder.__call__

    def slow(decoder, packet):
        clock[0] += 1
        return inner(decoder, packet)

    monkeypatch.setattr(decode.Decoder, "__call__", slow)
    with pytest.raises(VideoError, match=r"takes longer to read than the limit of 5 s; raise limits\.max_decode_s"):
        list(read_frames(plain, limits=limits))
    assert len(list(read_frames(plain, limits=DecodeLimits(max_decode_s=None)))) == 25


def test_a_file_that_ffmpeg_gives_up_on_by_the_clock_is_one_line(monkeypatch, plain):
    def never(*arguments, timeout, **settings):
        assert timeout == 7
        raise av.ExitError(1, "Immediate exit requested")

    monkeypatch.setattr(decode.av, "open", never)
    with pytest.raises(VideoError, match="takes longer to read than the limit of 7 s"):
        probe(plain, DecodeLimits(max_decode_s=7))


@pytest.mark.parametrize("name", ["max_pixels", "max_frames", "max_duration_s", "max_file_bytes", "max_decode_s"])
def test_limits_that_let_nothing_through_are_refused(name):
    with pytest.raises(ConfigError, match=f"limits.{name} is 0"):
        DecodeLimits(**{name: 0})
