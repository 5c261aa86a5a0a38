"""Artefacts in words: which are named of made clips, when, where, and how they go through JSON and onto the page."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from ugcvqa.bulk.explanation_lines import explanation_lines
from ugcvqa.demo.artefacts import Source, damages, rendered, write_versions
from ugcvqa.demo.scene import Scene
from ugcvqa.demo.scenes import render_scene
from ugcvqa.features.artefact_family import NAME, ArtefactFamily
from ugcvqa.features.extraction import extract_files
from ugcvqa.media.encode import write_video
from ugcvqa.media.sampling import Seconds
from ugcvqa.media.video import probe
from ugcvqa.pixels.artefacts import RULES, SPATIAL
from ugcvqa.scoring import uvq_score, video_model
from ugcvqa.scoring.explanation import Explanation, Timeline
from ugcvqa.scoring.found_artefacts import Artefact, artefacts_of, place_of, set_apart
from ugcvqa.scoring.model_file import load
from ugcvqa.scoring.released import released_file
from ugcvqa.scoring.result import Score
from ugcvqa.settings.features import UVQSettings

OPTIONS = {"preset": "veryfast", "mbtree": "0", "crf": "16"}


@pytest.fixture(scope="module")
def scene():
    """(100, 180, 320, 3) of four seconds in which everything moves."""
    return render_scene(Scene("leaves", 77, 320, 180, Fraction(25), 100))


def named(path):
    ((_, result),) = extract_files([path], {NAME: ArtefactFamily()})
    assert not result.reason
    return {one.name: one for one in set_apart(result)[1]}


def test_made_clips_show_what_was_done_to_them_and_the_clean_clip_nothing(tmp_path):
    """A small part of the table of the model card, see `tools/artefacts.py`."""
    source = next(rendered("held_out", 1))
    short = Source(source.name, source.frames[:, :180, :320], source.rate, source.moves)
    hits, misses = set(), set()
    for damage, path in write_versions(short, "held_out", 0, tmp_path):
        found = named(path)
        if damage is None:
            assert not found
        else:
            (hits if damage.artefact in found else misses).add(damage)
    assert {damage.artefact for damage in hits} == set(RULES) - {"banding"}  # nothing in this scene is smooth
    assert len(misses) <= 1, misses


def test_the_halves_share_neither_scenes_nor_levels():
    halves = [next(rendered(half, 1)).frames for half in ("calibration", "held_out")]
    assert not np.array_equal(*halves)
    assert not set(damages("calibration")) & set(damages("held_out"))
    assert {damage.artefact for damage in damages("held_out")} == set(RULES)


def test_time_and_place_are_those_of_the_damage(scene, tmp_path):
    rng = np.random.default_rng(0)
    spoiled = scene.astype(np.float32)
    spoiled[50:] += rng.normal(0, 12, (50, 180, 320, 3))
    spoiled[50:, :60, 220:] += rng.normal(0, 50, (50, 60, 100, 3))
    write_video(tmp_path / "noise.mp4", np.clip(spoiled, 0, 255).astype(np.uint8), 25, options=OPTIONS)
    (noise,) = [one for one in named(tmp_path / "noise.mp4").values() if one.name == "noise"]
    assert noise.stretches == ((2.0, 4.0),)
    assert noise.where == "mostly in the upper right"
    assert 2 <= noise.time_s <= 4
    assert noise.cells.shape == (9, 16)


def test_a_freeze_lasts_through_still_seconds(scene, tmp_path):
    places = np.arange(100)
    places[40:90] = 40
    write_video(tmp_path / "freeze.mp4", scene[places], 25, options=OPTIONS)
    freeze = named(tmp_path / "freeze.mp4")["freezing"]
    assert freeze.stretches == ((1.0, 4.0),)
    assert not freeze.where


@pytest.mark.parametrize(
    ("places", "rate", "note"),
    [
        (lambda k: k // 2 * 2, 25, "every frame is shown twice"),
        (lambda k: k // 3 * 3, 25, "every frame is shown 3 times"),
        (lambda k: k - (k % 5 == 4), 25, "one frame in 5 repeats the one before"),
        (lambda k: k // 5 * 2 + (k % 5 >= 3), 60, "3:2 cadence, as of 24 frames shown in 60"),
    ],
)
def test_cadences_are_named(scene, tmp_path, places, rate, note):
    write_video(tmp_path / "judder.mp4", scene[places(np.arange(100))], rate, options=OPTIONS)
    found = named(tmp_path / "judder.mp4")
    assert found["judder"].note == note
    assert "freezing" not in found


def seconds(count, **values):
    """What the family gives of so many seconds."""
    rows = np.zeros((count, len(RULES) + 3), np.float32)
    for name, column in values.items():
        rows[:, list(RULES).index(name)] = column
    return {"seconds": rows, "maps": np.ones((len(SPATIAL), 9, 16), np.float32)}


@pytest.fixture(scope="module")
def info(scene, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, np.concatenate([scene] * 3)[:250], 25)
    return probe(path)


def test_a_fifth_of_the_seconds_must_show_it_but_one_is_enough_for_a_freeze(info):
    few, some = np.zeros(10), np.zeros(10)
    few[4], some[[4, 7]] = 10, 10
    assert artefacts_of(seconds(10, noise=few, judder=few), info) == ()
    (freeze,) = artefacts_of(seconds(10, freezing=few), info)
    assert freeze.stretches == ((4.0, 5.0),)
    (noise,) = artefacts_of(seconds(10, noise=some), info)
    assert noise.stretches == ((4.0, 5.0), (7.0, 8.0))
    assert noise.sentence == "strong noise, all over the picture"


def test_edges_of_blocks_are_no_bands(info):
    found = artefacts_of(seconds(10, blocking=RULES["blocking"].slight, banding=1), info)
    assert [one.name for one in found] == ["blocking"]
    found = artefacts_of(seconds(10, blocking=RULES["blocking"].slight / 2, banding=1), info)
    assert [one.name for one in found] == ["banding"]


def test_the_strongest_comes_first(info):
    found = artefacts_of(seconds(10, blocking=0.09, noise=20, freezing=0.3), info)
    assert [(one.name, one.strength) for one in found] == [
        ("noise", "strong"),
        ("blocking", "clear"),
        ("freezing", "slight"),
    ]


def test_seconds_of_time_have_their_own_starts(info):
    uneven = replace(info, seconds=Seconds((0, 10, 60), 250, 3, 3))
    (freeze,) = artefacts_of(seconds(3, freezing=[0, 1, 0]), uneven)
    assert freeze.stretches == ((0.4, 2.4),)


@pytest.mark.parametrize(
    ("rows", "columns", "where"),
    [
        (slice(0, 9), slice(0, 16), "all over the picture"),
        (slice(0, 3), slice(0, 4), "mostly in the upper left"),
        (slice(7, 9), slice(6, 10), "mostly at the bottom"),
        (slice(0, 9), slice(10, 16), "in large parts, most at the right"),
    ],
)
def test_places_have_names(rows, columns, where):
    cells = np.zeros((9, 16), np.float32)
    cells[rows, columns] = 1
    assert place_of(cells) == where


def test_half_of_the_cells_is_all_over_and_three_in_ten_are_large_parts():
    for count, start in ((5, "all over"), (4, "in large parts"), (3, "in large parts"), (2, "mostly")):
        cells = np.zeros((10, 10), np.float32)
        cells[:count], cells[count:] = 0.6, 0.4
        cells[0, 0] = 1
        assert place_of(cells).startswith(start)


def test_they_go_through_json_and_into_the_lines():
    cells = np.round(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4), 2)
    artefact = Artefact("blur", "clear", 0.66, ((0.0, 2.0), (3.0, 4.0)), 1.5, "mostly at the top", "", cells)
    again = Artefact.from_dict(json.loads(json.dumps(artefact.as_dict())))
    assert again == artefact
    assert np.array_equal(again.cells, cells)
    timeless = Artefact("judder", "slight", 0.2, ((0.0, 2.0),), 1.0, note="one frame in 5 repeats the one before")
    assert Artefact.from_dict(json.loads(json.dumps(timeless.as_dict()))) == timeless
    timeline = Timeline((0.0,), (1.0,), (3.0,))
    explanation = Explanation({}, timeline, artefacts=(artefact, timeless), method="none")
    lines = explanation_lines(Score("a.mp4", 3.0, 3.0, timeline=timeline, explanation=explanation))
    assert (
        "    likely artefacts: clear blur, mostly at the top (0:00.0 to 0:02.0, 0:03.0 to 0:04.0); "
        "slight judder, one frame in 5 repeats the one before (0:00.0 to 0:02.0)"
    ) in lines


def test_they_come_with_explanations_only_and_change_no_score(scene, tmp_path):
    write_video(tmp_path / "soft.mp4", scene[np.arange(100) // 2 * 2], 25, options=OPTIONS)
    model = load(released_file("nss_pixels"))
    plain, explained = (model.score(tmp_path / "soft.mp4", explain=explain) for explain in (False, True))
    assert plain.explanation is None
    assert [one.name for one in explained.explanation.artefacts] == ["judder"]
    assert (explained.mos, explained.std, explained.details) == (plain.mos, plain.std, plain.details)
    in_memory = model.score_frames(scene[np.arange(100) // 2 * 2], 25, explain=True)
    assert [one.name for one in in_memory.explanation.artefacts] == ["judder"]


def test_uvq_names_them_too(monkeypatch):
    asked = []
    monkeypatch.setattr(video_model, "extract_files", lambda names, families, *rest: asked.append(families) or iter(()))
    model = uvq_score.UVQModel("uvq1.5", UVQSettings(weights="random:0"))
    for explain in (False, True):
        assert list(model.score_many(["judder.mp4"], explain=explain)) == []
    assert [NAME in families for families in asked] == [False, True]
