"""The built-in demo set: plan, files, labels, resuming, and the scale of its synthetic quality."""

import csv
import hashlib
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from ugcvqa.demo import videos as demo
from ugcvqa.demo.distort import LADDERS, Distortion, distort
from ugcvqa.demo.plan import CODEC_LADDERS, DemoClip, demo_plan
from ugcvqa.demo.quality import luma, motion_energy, synthetic_quality
from ugcvqa.demo.scene import Scene
from ugcvqa.demo.scenes import KINDS, render_scene
from ugcvqa.demo.videos import build_demo, default_demo_folder, make_clip
from ugcvqa.errors import ConfigError, StoreError
from ugcvqa.leftovers import temporary_path
from ugcvqa.media.video import probe, read_frames
from ugcvqa.processes import process_name

SMALL = Scene("city", 7, 160, 120, Fraction(12), 24)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    build_demo(folder, scenes=2, versions=2)
    return folder


@pytest.fixture(scope="module")
def clean():
    return render_scene(SMALL)


def rows(folder):
    with (folder / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("scene*")}


def quality(folder, clean, distortions=(), codec="h264", crf=18):
    clip = DemoClip("demo/x", "x", "x.mkv", SMALL, tuple(distortions), codec, crf)
    return make_clip(folder / clip.file, clip, clean, motion_energy(map(luma, clean)))


# --- plan ----------------------------------------------------------------------------------------------------


def test_plan_is_repeatable_and_follows_its_settings():
    assert demo_plan() == demo_plan()
    assert demo_plan(seed=1) != demo_plan()
    assert demo_plan(scenes=3) == demo_plan()[: 3 * 6]


def test_default_plan_covers_every_kind_and_every_level():
    plan = demo_plan()
    assert len({clip.video_id for clip in plan}) == len({clip.file for clip in plan}) == len(plan) >= 150
    assert {clip.source.kind for clip in plan} == set(KINDS)
    used = Counter(distortion for clip in plan for distortion in clip.distortions)
    assert set(used) == {Distortion(name, level) for name, ladder in LADDERS.items() for level in ladder}
    alone = {(clip.codec, clip.crf) for clip in plan if not clip.distortions}
    assert alone >= {(codec, crf) for codec, ladder in CODEC_LADDERS.items() for crf in ladder}
    assert {clip.file.rsplit(".")[-1] for clip in plan} == {"mp4", "mkv", "mov", "webm"}
    assert any(clip.source.height > clip.source.width for clip in plan)
    assert len({(clip.scene, clip.degradation) for clip in plan}) == len(plan)


def test_degradation_is_told_in_words():
    clip = DemoClip("demo/x", "x", "x.mp4", SMALL, (Distortion("noise", 9.0),), "h264", 32)
    assert clip.degradation == "noise 9, h264 crf 32"


@pytest.mark.parametrize("settings", [{"scenes": 0}, {"versions": 0}, {"seed": -1}])
def test_plan_refuses_settings_that_are_too_small(settings):
    with pytest.raises(ConfigError, match="demo set of"):
        demo_plan(**settings)


def test_cache_folder_depends_on_settings_code_and_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("UGCVQA_CACHE", str(tmp_path))
    folder = default_demo_folder()
    assert folder.parent == tmp_path
    others = [default_demo_folder(seed=1), default_demo_folder(scenes=5), default_demo_folder(versions=5)]
    monkeypatch.setattr(demo, "_code_key", lambda: "other code")
    assert len({folder, *others, default_demo_folder()}) == 5
    monkeypatch.delenv("UGCVQA_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_demo_folder().parent == tmp_path / ".cache" / "ugcvqa"


# --- scenes and degradations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_scene_moves_has_detail_and_is_repeatable(kind):
    scene = Scene(kind, 3, 128, 96, Fraction(10), 4)
    frames = render_scene(scene)
    assert frames.shape == (4, 96, 128, 3)
    assert frames.dtype == np.uint8
    assert np.array_equal(frames, render_scene(scene))
    assert frames.std() > 8
    assert np.abs(frames[3].astype(int) - frames[0]).mean() > 1


def test_film_is_grey():
    frames = render_scene(Scene("film", 3, 128, 96, Fraction(10), 1))
    assert np.abs(np.diff(frames.astype(int), axis=-1)).max() <= 1


def test_noise_has_the_stated_deviation_at_mid_grey_and_is_independent_in_time():
    grey = np.full((2, 120, 160, 3), 128, np.uint8)
    noisy, reference = distort(grey, Fraction(25), (Distortion("noise", 9.0),), np.random.default_rng(0))
    assert np.array_equal(reference, grey)
    first, second = (noisy.astype(float) - 128).reshape(2, -1)
    assert first.std() == pytest.approx(9.0, rel=0.02)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02


def test_gaussian_blur_spreads_a_point_by_its_deviation():
    point = np.zeros((1, 41, 41, 3), np.uint8)
    point[0, 18:23, 18:23] = 250  # variance of a 5-pixel box: (25 - 1) / 12 = 2
    blurred, _ = distort(point, Fraction(25), (Distortion("gaussian blur", 3.0),), np.random.default_rng(0))
    profile = blurred[0, :, :, 1].astype(float).sum(axis=0)
    variance = (profile * (np.arange(41) - 20) ** 2).sum() / profile.sum()
    assert variance == pytest.approx(2 + 9, rel=0.1)


def test_drops_and_freezes_repeat_frames_and_the_reference_follows(clean):
    for name, level in (("frame drop", 3.0), ("freeze", 0.5)):
        degraded, reference = distort(clean, SMALL.rate, (Distortion(name, level),), np.random.default_rng(0))
        assert np.array_equal(degraded, reference)
        still = sum(np.array_equal(a, b) for a, b in pairwise(degraded))
        assert still == (16 if name == "frame drop" else 6)


def test_odd_sizes_survive_every_degradation():
    frames = np.random.default_rng(0).integers(0, 256, (3, 37, 51, 3), dtype=np.uint8)
    for name, ladder in LADDERS.items():
        degraded, reference = distort(frames, Fraction(5), (Distortion(name, ladder[-1]),), np.random.default_rng(0))
        assert degraded.shape == reference.shape == frames.shape


# --- synthetic quality -----------------------------------------------------------------------------------------


def test_quality_of_the_clean_scene_is_five_and_of_its_opposite_near_one(clean):
    planes = [luma(picture).round().astype(np.uint8) for picture in clean]
    energy = motion_energy(map(luma, clean))
    assert synthetic_quality(planes, clean, energy) == pytest.approx(5.0, abs=0.05)
    opposite = [251 - plane for plane in planes]
    assert 1.0 <= synthetic_quality(opposite, clean, energy) < 1.3


def test_luma_is_limited_range_bt601():
    primaries = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_allclose(luma(primaries)[0], [16, 235, 81.481, 144.553, 40.966], rtol=1e-6)


@pytest.mark.parametrize("name", LADDERS)
def test_quality_falls_along_every_ladder(name, clean, tmp_path):
    scores = [quality(tmp_path, clean, [Distortion(name, level)]) for level in LADDERS[name]]
    assert scores == sorted(set(scores), reverse=True)
    assert scores[0] < quality(tmp_path, clean)


@pytest.mark.parametrize("codec", CODEC_LADDERS)
def test_quality_falls_with_the_rate_factor(codec, clean, tmp_path):
    scores = [quality(tmp_path, clean, codec=codec, crf=crf) for crf in CODEC_LADDERS[codec]]
    assert scores == sorted(set(scores), reverse=True)
    assert scores[0] - scores[-1] > 1


# --- building --------------------------------------------------------------------------------------------------


def test_labels_and_files_agree_with_the_plan(built):
    plan = demo_plan(scenes=2, versions=2)
    table = rows(built)
    assert list(table[0]) == list(demo.COLUMNS)
    for clip, row in zip(plan, table, strict=True):
        info = probe(built / row["file"])
        assert (row["video_id"], row["scene"]) == (clip.video_id, clip.scene)
        assert (info.width, info.height, info.n_frames) == (clip.source.width, clip.source.height, clip.source.n_frames)
        assert (int(row["width"]), int(row["height"]), int(row["frames"])) == (info.width, info.height, info.n_frames)
        assert Fraction(row["rate"]) == info.rate == clip.source.rate
        assert 1.0 <= float(row["synthetic_quality"]) <= 5.0
        assert sum(1 for _ in read_frames(built / row["file"])) == info.n_frames


def test_files_and_labels_do_not_depend_on_the_number_of_workers(built, tmp_path):
    steps = []
    build_demo(tmp_path, scenes=2, versions=2, workers=2, progress=lambda *step: steps.append(step))
    assert digests(tmp_path) == digests(built)
    assert (tmp_path / "labels.csv").read_bytes() == (built / "labels.csv").read_bytes()
    assert steps == [(0, 4), (2, 4), (4, 4)]


def test_finished_files_are_kept_and_the_rest_is_made_again(built, monkeypatch):
    before, labels = digests(built), (built / "labels.csv").read_bytes()
    damaged, lost = (built / clip.file for clip in demo_plan(scenes=2, versions=2)[1:3])
    damaged.write_bytes(damaged.read_bytes()[:1000])
    lost.unlink()
    young = temporary_path(built, ".part.mp4")
    stale = built / young.name.replace(process_name(), f"{process_name()}f")  # a process that started at another time
    for path in (stale, young):
        path.write_bytes(b"half a file")
    made = []
    original = demo.make_clip
    monkeypatch.setattr(demo, "make_clip", lambda path, *rest: made.append(path) or original(path, *rest))
    build_demo(built, scenes=2, versions=2)
    assert made == [damaged, lost]
    assert digests(built) == before
    assert (built / "labels.csv").read_bytes() == labels
    assert not stale.exists()
    assert young.exists()
    young.unlink()


@pytest.mark.parametrize("damage", ["missing", "half"])
def test_file_without_a_whole_record_is_made_again(damage, built, monkeypatch):
    clip = demo_plan(scenes=2, versions=2)[3]
    record = built / "records" / f"{clip.file}.json"
    if damage == "missing":
        record.unlink()
    else:
        record.write_bytes(record.read_bytes()[:20])
    made = []
    original = demo.make_clip
    monkeypatch.setattr(demo, "make_clip", lambda path, *rest: made.append(path) or original(path, *rest))
    build_demo(built, scenes=2, versions=2)
    assert made == [built / clip.file]


def test_files_of_other_settings_are_not_taken_for_finished(built, tmp_path):
    build_demo(tmp_path, scenes=1, versions=1)
    first = digests(tmp_path)
    build_demo(tmp_path, seed=1, scenes=1, versions=1)
    assert digests(tmp_path) != first


def test_build_refuses_no_workers_and_a_folder_that_cannot_be(tmp_path):
    with pytest.raises(ConfigError, match="0 workers"):
        build_demo(tmp_path, workers=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        build_demo(tmp_path / "file", scenes=1, versions=1)
