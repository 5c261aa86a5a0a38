"""What makes a score doubtful stands in its row, in the same words in every form."""

import csv
import json

import pytest
from media import encode_frames, rgb_frames

import ugcvqa
from ugcvqa import score
from ugcvqa.media.facts import doubts_of
from ugcvqa.media.video import probe

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
    assert "interlaced" in failed.warnings[0]
    assert failed.as_dict()["warnings"] == list(failed.warnings)
