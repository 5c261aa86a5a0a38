"""Explanations: contributions add up, lines and pictures say what numbers say, the verb carries them everywhere."""

import csv
import io
import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from matplotlib.image import imread

from tests.support.stub_scorer import StubScorer
from ugcvqa import score as verb
from ugcvqa.bulk.explanation_lines import explanation_lines, low_stretches, sparkline, write_pictures
from ugcvqa.bulk.printing import print_scores
from ugcvqa.evaluation.metrics import IDENTITY
from ugcvqa.heads.gp_fit import fit_gp
from ugcvqa.heads.parts import gp_parts
from ugcvqa.heads.svr import FittedSVR
from ugcvqa.media.encode import png_bytes, write_video
from ugcvqa.media.memory import memory_info
from ugcvqa.media.video import picture_at, probe, read_frames
from ugcvqa.scoring.contributions import SUMS, contributions_of
from ugcvqa.scoring.explanation import Explanation, Moment, Timeline
from ugcvqa.scoring.model import FILE_NAME, QualityModel
from ugcvqa.scoring.moments import LONG_SIDE_PX, worst_and_best
from ugcvqa.scoring.result import Score
from ugcvqa.settings.features import FamilySettings


@pytest.fixture(scope="module")
def model():
    random = np.random.default_rng(0)
    vectors = 100 * np.abs(random.normal(size=(20, 1839)))
    head = FittedSVR(np.zeros(1839), np.full(1839, 100.0), vectors, random.normal(size=20), 3.0, 1e-3, 1.0, IDENTITY)
    return QualityModel(head, "NSS_CONTAINER", FamilySettings(), "MOS", (1.0, 5.0), "noise (20 videos)")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Three seconds of moving noise whose second second is flat; H.264, so that frames depend on each other."""
    path = tmp_path_factory.mktemp("clip") / "a clip.mp4"
    field = np.random.default_rng(1).integers(0, 256, (90, 110, 3), dtype=np.uint8)
    frames = [field[k : k + 48, k : k + 64] for k in range(24)]
    frames[8:16] = [np.full((48, 64, 3), 90 + k, np.uint8) for k in range(8)]
    write_video(path, frames, 8, gop=12)
    return path


class Sums:
    """A head that is a sum."""

    kind = "sums"

    def contributions(self, features):
        return {"left": features[:, 0] - 1, "right": features[:, 1] + 2}


def test_sums_of_an_additive_head_are_taken_as_they_are():
    found, method = contributions_of(Sums(), "NSS", np.array([[3.0, -7.0]]))
    assert found == {"left": 2.0, "right": -5.0}
    assert "the sum is the prediction" in method


def test_contributions_of_a_process_add_up_to_the_prediction_with_its_base():
    random = np.random.default_rng(5)
    table = np.concatenate([random.random((16, 1836)), random.integers(100, 900, (16, 3))], axis=1)
    head, _ = fit_gp(table, random.random(16) * 4 + 1, gp_parts("NSS_CONTAINER", 1839))
    found, method = contributions_of(head, "NSS_CONTAINER", table[:1] + 0.1)
    assert sum(found.values()) + head.base == pytest.approx(head.predict(table[:1] + 0.1).item(), abs=1e-9)
    assert method == SUMS


def test_contribution_of_an_svr_is_the_change_when_the_part_is_typical(model):
    features = np.random.default_rng(3).random((1, 1839)) * 100
    found, method = contributions_of(model.head, model.row, features)
    assert list(found) == [
        *("nss/mean", "nss/difference", "nss/temporal"),
        *("container/height", "container/width", "container/rate"),
    ]
    other = features.copy()
    other[:, 680:1360] = model.head.support_vectors[:, 680:1360].mean(0)
    expected = model.head.predict(features) - model.head.predict(other)
    assert found["nss/difference"] == pytest.approx(expected.item())
    assert "need not add up" in method


def test_worst_and_best_are_taken_in_the_middle_of_their_seconds(model, clip):
    score = model.score(clip, explain=True)
    mos, explanation = np.array(score.timeline.mos), score.explanation
    for moment, entry in ((explanation.worst, mos.argmin()), (explanation.best, mos.argmax())):
        assert moment.mos == mos[entry]
        assert moment.start_s == score.timeline.start_s[entry]
        assert moment.start_s <= moment.time_s < score.timeline.stop_s[entry]
        ((_, _, image),) = read_frames(clip, [round(moment.time_s * 8)])
        np.testing.assert_array_equal(moment.frame, image.transpose(1, 2, 0))


def test_picture_by_seeking_is_the_picture_of_a_whole_pass(clip):
    info = probe(clip)
    for index, _, image in read_frames(clip):
        time_s, picture = picture_at(clip, index, info)
        assert time_s == pytest.approx(index / 8)
        np.testing.assert_array_equal(picture, image.transpose(1, 2, 0))


def test_video_that_is_gone_after_scoring_has_no_pictures_but_a_score(model, clip):
    def gone(index, info):
        return picture_at("gone.mp4", index, info)

    assert worst_and_best(model.score(clip, timeline=True).timeline, probe(clip), gone) == (None, None)
    assert worst_and_best(Timeline((0.0,), (1.0,), (math.nan,)), probe(clip), gone) == (None, None)


def test_pictures_of_moments_are_small_and_keep_their_shape():
    def portrait(index, info):
        return 0.5, np.full((2000, 1000, 3), 77, np.uint8)

    worst, _ = worst_and_best(Timeline((0.0,), (1.0,), (3.0,)), memory_info(10, 2000, 1000, Fraction(10)), portrait)
    assert worst.frame.shape == (LONG_SIDE_PX, LONG_SIDE_PX // 2, 3)
    assert (worst.frame == 77).all()


def test_png_keeps_every_pixel():
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    read = imread(io.BytesIO(png_bytes(image)))[..., :3]
    np.testing.assert_array_equal(np.round(read * 255).astype(np.uint8), image)


@pytest.mark.parametrize(
    ("mos", "expected"),
    [
        ([1.0, 2.0, 3.0], "▁▅█"),
        ([3.0, math.nan, 3.1], "▄·▅"),  # a steady video looks steady
        ([math.nan], "·"),
        ([3.0] * 100, "▅" * 60),
    ],
)
def test_sparkline(mos, expected):
    assert sparkline(mos) == expected


def test_stretches_below_the_score_are_found_lowest_first():
    mos = (3.0, 2.5, 2.7, 3.0, math.nan, 2.0, 3.2)
    timeline = Timeline(tuple(map(float, range(7))), tuple(map(float, range(1, 8))), mos)
    assert low_stretches(timeline, 3.0) == [(5.0, 6.0, 2.0), (1.0, 3.0, pytest.approx(2.6))]
    assert low_stretches(timeline, 2.0) == []


def explained(path="a/b clip.mp4", best_mos=2.5):
    moment = Moment(61.0, 1.5, 61.5, np.zeros((4, 6, 3), np.uint8))
    best = replace(moment, start_s=0.0, mos=best_mos)
    timeline = Timeline((0.0, 61.0), (61.0, 62.0), (2.5, 1.5))
    explanation = Explanation({"nss": -0.4, "container": 0.25}, timeline, moment, best, "sums")
    return Score(path, 2.0, 2.0, low=1.25, high=2.75, timeline=timeline, explanation=explanation)


def test_lines_say_timeline_moments_and_parts():
    assert explanation_lines(explained()) == [
        "    timeline █▁ 1.50 to 2.50, 2 entries in 1:02.0",
        "    seconds that pull down: 1:01.0 to 1:02.0 (1.50)",
        "    worst second 1.50 at 1:01.0",
        "    best second 2.50 at 0:00.0",
        "    parts that pull down: statistics of the picture (sharpness, noise, colour) -0.40",
        "    parts that lift: frame size and rate +0.25",
    ]
    assert explanation_lines(Score("a", 2.0, 2.0)) == []


def test_seconds_that_differ_by_noise_only_are_not_called_worst_and_best():
    assert "    worst second 1.50 at 1:01.0" in explanation_lines(explained(best_mos=1.61))
    (line,) = [line for line in explanation_lines(explained(best_mos=1.59)) if "worst" in line]
    assert line == "    worst and best second differ by noise only: 1.50 and 1.59"


def test_table_tells_interval_and_warnings(capsys):
    one = replace(explained("a.mp4"), warnings=("frame height 9 is below 240..1080",), timeline=None)
    print_scores([one, Score("b.mp4", 3.0, 3.0)], StubScorer(), "table")
    assert capsys.readouterr().out.splitlines()[1:] == [
        "2.0000\ta.mp4\t90 % interval 1.25 to 2.75",
        "    warning: frame height 9 is below 240..1080",
        "3.0000\tb.mp4",
    ]


def test_score_as_a_dictionary_is_plain_json():
    record = explained().as_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["timeline"] == {"start_s": [0.0, 61.0], "stop_s": [61.0, 62.0], "mos": [2.5, 1.5]}
    assert record["explanation"]["worst"] == {"start_s": 61.0, "mos": 1.5, "time_s": 61.5}
    assert record["std"] is None
    assert "timeline" not in Score("a", 2.0, 2.0).as_dict()


@pytest.mark.parametrize("name", ["../x.mp4", "/a/b.mp4", "n" * 300 + ".mp4", "ü\udcff\n.mkv"])
def test_pictures_have_names_that_any_path_allows(tmp_path, name):
    first, second = write_pictures(explained(name), tmp_path)
    assert first.parent == second.parent == tmp_path
    assert first.name.endswith(".worst.png")
    assert imread(first).shape[:2] == (4, 6)


def test_pictures_of_videos_of_one_name_do_not_replace_each_other(tmp_path):
    for name in ("a/b.mp4", "a_b.mp4", "b.mp4", "../b.mp4", "c/b.mp4"):
        write_pictures(explained(name), tmp_path)
    assert len(list(tmp_path.iterdir())) == 10


def test_verb_explains_in_table_and_json_and_writes_pictures(model, clip, tmp_path, capsys):
    model.save(tmp_path / FILE_NAME)
    folder = tmp_path / "frames"
    assert verb.main([str(clip), "--checkpoint", str(tmp_path), "--explain", "--frames", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["timeline", "worst", "likely", "parts", "parts"]
    assert sorted(path.suffixes[-2] for path in folder.iterdir()) == [".best", ".worst"]
    assert verb.main([str(clip), "--checkpoint", str(tmp_path), "--json", "--timeline"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert len(record["timeline"]["mos"]) == 3
    assert "explanation" not in record


def test_verb_explains_from_several_processes_into_a_file(model, clip, tmp_path, capsys):
    model.save(tmp_path / FILE_NAME)
    output = tmp_path / "scores.jsonl"
    more = ["--checkpoint", str(tmp_path), "--output", str(output)]
    assert verb.main([str(clip), *more, "--explain", "--workers", "1"]) == 0
    record = json.loads(output.read_text())
    assert set(record["explanation"]) == {"contributions", "method", "artefacts", "worst", "best"}
    assert verb.main([str(clip), *more]) == 2  # rows without explanations do not belong in the same file
    assert "rows of another run" in capsys.readouterr().err


def test_verb_says_that_columns_hold_no_explanation_but_takes_pictures(model, clip, tmp_path, capsys):
    model.save(tmp_path / FILE_NAME)
    more = [str(clip), "--checkpoint", str(tmp_path), "--csv"]
    assert verb.main([*more, "--explain"]) == 2
    assert "have no columns" in capsys.readouterr().err
    assert verb.main([*more, "--frames", str(tmp_path / "frames")]) == 0
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert row["mos"]
    assert len(list((tmp_path / "frames").iterdir())) == 2
