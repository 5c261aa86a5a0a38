"""What makes a score doubtful stands in its row, in the same words in every form."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

import ugcvqa
from tests.support.media import encode_frames, rgb_frames, with_clean_aperture
from ugcvqa import score
from ugcvqa.media.facts import doubts_of
from ugcvqa.media.memory import memory_info
from ugcvqa.media.video import check_video, probe

INTERLACED = {"x264-params": "interlaced=1:tff=1"}


@pytest.fixture(scope="module")
def interlaced(tmp_path_factory):
    frames = rgb_frames(40, 96, 128)
    return encode_frames(tmp_path_factory.mktemp("doubts") / "fields.mp4", frames, options=INTERLACED)


def test_an_interlaced_video_says_so_in_every_form(interlaced, tmp_path, capsys):
    (sentence,) = doubts_of(probe(interlaced))
    assert "interlaced" in sentence
    assert "; " not in sentence
    model = ugcvqa.load()
    assert model.score(interlaced).warnings[0] == sentence
    assert score.main([str(interlaced)]) == 0
    assert f"warning: {sentence}\n" in capsys.readouterr().out
    page = tmp_path / "page.html"
    for ending in ("csv", "jsonl"):
        output = tmp_path / f"scores.{ending}"
        assert score.main([str(interlaced), "--output", str(output), "--report", str(page)]) == 0
        if ending == "csv":
            (row,) = csv.DictReader(output.open(newline=""))
            assert row["warnings"].split("; ")[0] == sentence
        else:
            assert json.loads(output.read_text())["warnings"][0] == sentence
        assert sentence in page.read_text()


def test_a_failed_row_keeps_what_was_found_until_then(tmp_path):
    short = encode_frames(tmp_path / "short.mp4", rgb_frames(8, 96, 128), options=INTERLACED)
    (failed,) = ugcvqa.load().score_many([short])
    assert "too short" in failed.reason
    assert [word in " ".join(failed.warnings) for word in ("interlaced", "only 8 frames")] == [True, True]
    assert failed.as_dict()["warnings"] == list(failed.warnings)


def solid(count, rgb=(0, 0, 0), dot=0):
    """Frames of one colour; `dot` is the side of a square that moves over them."""
    for index in range(count):
        picture = np.full((72, 96, 3), rgb, np.uint8)
        picture[:dot, 2 * index % 60 : 2 * index % 60 + dot] = 255
        yield av.VideoFrame.from_ndarray(picture, format="rgb24")


def doubts(path):
    return " | ".join(doubts_of(check_video(path)))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (lambda: solid(50), "all frames are black"),
        (lambda: solid(50, (30, 160, 90)), "plain colour"),
        (lambda: solid(50, (255, 255, 255)), "plain colour"),
        (lambda: rgb_frames(1, 72, 96) * 50, "still picture"),
        (lambda: solid(50, dot=20), ""),
        (lambda: rgb_frames(50, 72, 96), ""),
        (lambda: rgb_frames(12, 72, 96), "only 12 frames in 0.48 s"),
        (lambda: rgb_frames(1, 72, 96), "only 1 frames in 0.04 s"),
    ],
)
def test_pictures_with_nothing_to_judge(tmp_path, frames, words, full):
    path = encode_frames(tmp_path / "a.mp4", [f.reformat(format="yuv420p") for f in frames()], full=full)
    found = doubts(path)
    assert words in found if words else not found


@pytest.mark.parametrize(("pix_fmt", "codec"), [("yuv420p10le", "ffv1"), ("bgr0", "ffv1"), ("gray", "ffv1")])
def test_black_is_black_in_every_pixel_format(tmp_path, pix_fmt, codec):
    assert "all frames are black" in doubts(encode_frames(tmp_path / "a.mkv", list(solid(50)), codec, pix_fmt))


@pytest.mark.parametrize(
    ("code", "words"), [(16, "PQ"), (18, "HLG"), (8, "linear"), (10, "logarithmic"), (1, ""), (13, "")]
)
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_transfers_of_other_than_standard_video(tmp_path, code, words, ending):
    path = tmp_path / f"a.{ending}"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p10le"
        stream.codec_context.color_trc = code
        for frame in rgb_frames(50, 72, 96):
            frame = frame.reformat(format="yuv420p10le")
            frame.color_trc = code
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    found = doubts(path)
    assert words in found if words else not found


def test_a_part_that_the_container_shows_is_told(tmp_path):
    path = encode_frames(tmp_path / "a.mp4", rgb_frames(50, 72, 96))
    assert "only 96x54 of its 96x72 pixels" in doubts(with_clean_aperture(path, tmp_path / "cut.mp4", 96, 54))
    assert not doubts(path)


@pytest.mark.parametrize("trainer", [("--trainer.devices", "1"), ()])
def test_extract_tells_of_doubtful_videos_also_of_stored_ones(interlaced, tmp_path, trainer):
    encode_frames(tmp_path / "plain.mp4", rgb_frames(50, 96, 128))
    (tmp_path / "fields.mp4").write_bytes(interlaced.read_bytes())
    (tmp_path / "labels.csv").write_text("file,mos\nplain.mp4,2\nfields.mp4,3\n")
    named = ("--data.name", "own", "--data.root", ".", "--data.labels", "labels.csv", *trainer)
    (sentence,) = doubts_of(probe(interlaced))
    for _ in range(2):  # the second run finds all features in the store
        done = subprocess.run(
            [sys.executable, "-m", "ugcvqa.extract", *named], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert f"1 videos whose score will have a warning, see store/warnings-own.csv\n  own/fields: {sentence}\n" in (
            done.stderr
        )
        with (tmp_path / "store" / "warnings-own.csv").open(newline="") as file:
            assert list(csv.DictReader(file)) == [{"video_id": "own/fields", "warnings": sentence}]


def test_no_sentence_holds_the_separator_of_tables(interlaced):
    info = replace(check_video(interlaced), damage=("one; two",))
    assert all("; " not in sentence for sentence in doubts_of(info))


@pytest.mark.parametrize(
    ("n_frames", "rate", "is_short"), [(15, 8, True), (16, 8, False), (37, 25, True), (38, 25, False)]
)
def test_below_sixteen_frames_or_one_and_a_half_seconds_a_score_rests_on_little(n_frames, rate, is_short):
    info = memory_info(n_frames, 96, 128, Fraction(rate))
    assert any("rests on very little" in sentence for sentence in doubts_of(info)) == is_short
