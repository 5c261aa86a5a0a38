"""The study from videos to page: bad input, resuming, what is kept, and captions that say what is shown."""

import csv
import json
import re
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from tests.support.networks_vgg import SmallVGG
from tests.support.wandb_files import offline_run
from ugcvqa import study
from ugcvqa.datasets.catalogue import Dataset, Video
from ugcvqa.deep.pooling import CNN
from ugcvqa.deep.saliency import KnownMaps
from ugcvqa.deep.scorecam import ScoreCAM
from ugcvqa.errors import ConfigError, LabelError
from ugcvqa.features.network_families import SaliencyFamily
from ugcvqa.features.store import FeatureStore
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import read_frames
from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.features import FamilySettings, SaliencySettings
from ugcvqa.settings.study import MeasureSettings
from ugcvqa.settings.training import WandbSettings
from ugcvqa.studies import study_run
from ugcvqa.studies.analysis import Collection, published_frames
from ugcvqa.studies.frames import (
    NetworkFacts,
    StudyDeep,
    StudyMaps,
    StudyNetworks,
    adopt_maps,
    build_study,
    given_videos,
    spread,
    study_frames,
)
from ugcvqa.studies.measures import MeasureFolder, VideoMeasures, measure_arrays, measure_dataset, measure_folder
from ugcvqa.studies.page import Exhibit, Page, Section

SMALL = (4, "M", 6, "M", 8, "M", 8, "M", 40)
QUICK = ("--measures.permutations", "19", "--measures.curve_steps", "2", "--pictures.animation_frames", "1")


def small_network(dead=False):
    torch.manual_seed(0)
    network = SmallVGG(SMALL).eval()
    if dead:
        network.features[-2].bias.data.fill_(-1000.0)
    return network


def small_study(settings=None, network="complete", limit=2, dead=False):
    """The study's families on a small network."""
    del settings
    values = FamilySettings(
        saliency=SaliencySettings("small", "features.13", "random:0", method="top:2", keep_maps=True)
    )
    vgg = small_network(dead)
    cam = ScoreCAM(vgg, f"features.{len(vgg.features) - 1}", method="top:2")
    saliency = SaliencyFamily(values, cam, "", KnownMaps())
    deep = StudyDeep(CNN(small_network()), {"backbone": "small"}, limit)
    facts = (
        NetworkFacts("deep features", "small", "random:0", deep.spec.weights, "as published" * (network != "complete")),
        NetworkFacts("saliency", "small", "random:0", saliency.spec.weights),
    )
    return StudyNetworks(saliency, StudyMaps(saliency, limit), deep, facts)


def moving(seed, count, height=48, width=64, grey=False):
    random = np.random.default_rng(seed)
    field = random.integers(0, 256, (height, width + 4 * count, 1 if grey else 3), dtype=np.uint8)
    field = np.repeat(field, 3, 2) if grey else field
    return (field[:, 4 * k : 4 * k + width] for k in range(count))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Nine plain videos, a grey one, one shorter than a second, and one that is none."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(9):
        write_video(folder / f"plain{number}.mp4", moving(number, 12), 4)
    write_video(folder / "grey.mp4", moving(20, 12, grey=True), 4)
    write_video(folder / "short.mp4", moving(21, 3), 30)
    (folder / "broken.mp4").write_text("no video")
    return folder


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch):
    monkeypatch.setattr(study_run, "build_study", small_study)


def run(tmp_path, *arguments):
    folders = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    return study.main([*QUICK, *arguments, *folders, "--trainer.accelerator", "cpu", "--trainer.devices", "1"])


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    """The folder of one study of all videos, its exit code, and what it printed."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_run, "build_study", small_study)
        code = run(folder, str(videos), "--frames", "2")
    return folder / "out", code


def test_one_command_writes_every_figure_and_table(whole):
    folder, code = whole
    assert code == 1  # one video is none
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    expected = {"conclusions.md", "conclusions.html", "numbers.json", "settings.json", "failures.csv", "content.png"}
    expected |= {"quality.png", "figure5/small.png", "figure6/small.mp4", "figure7/cosine.png"}
    expected |= {f"tables/{name}.csv" for name in ("frames", "videos", "figure7", "cosine", "tests", "nulls", "curves")}
    expected |= {"tables/activations.csv", "figure1/videos_grey/grid.png", "figure1/videos_grey/overlay.mp4"}
    assert expected <= names
    assert (
        len([name for name in names if re.fullmatch(r"figure1/videos_grey/frame_\d+_(frame|map|overlay).png", name)])
        == 6
    )


def test_bad_video_is_a_row_and_the_rest_goes_on(whole):
    folder, _ = whole
    failed = rows(folder / "failures.csv")
    assert [row["video_id"] for row in failed] == ["videos/broken"]
    assert len(rows(folder / "tables" / "videos.csv")) == 11


def test_captions_say_what_is_shown(whole):
    folder, _ = whole
    text = (folder / "conclusions.md").read_text()
    assert "RANDOM WEIGHTS in small (deep features) and small (saliency)" in text
    assert (
        "21 frames of 11 videos; 2 frames in grey; 1 video shorter than a second, middle frame used; 1 video failed"
        in text
    )
    assert "RANDOM WEIGHTS (random:0), checksum " in text
    page = (folder / "conclusions.html").read_text()
    assert 'class="warnings"' in page
    assert "data:image/png;base64," in page
    assert "data:video/mp4;base64," in page
    assert not re.search(r'src="(?!data:)|<link', page)  # pictures also link to their files


def test_tables_agree_with_each_other(whole):
    folder, _ = whole
    frames = rows(folder / "tables" / "frames.csv")
    summary = rows(folder / "tables" / "cosine.csv")[0]
    values = [float(row["cosine"]) for row in frames]
    assert float(summary["mean"]) == pytest.approx(np.mean(values))
    assert sum(int(row["frames"]) for row in rows(folder / "tables" / "figure7.csv")) == len(values) == 21
    numbers = json.loads((folder / "numbers.json").read_text())
    tests = rows(folder / "tables" / "tests.csv")
    assert [row["measure"] for row in tests] == [one["measure"] for one in numbers["tests"]["videos"]]
    assert all(0.05 <= float(row["p"]) <= 1 for row in tests)
    assert len(rows(folder / "tables" / "nulls.csv")) == 19 * len(tests)


def test_frames_have_the_same_number_in_tables_and_pictures(whole):
    folder, _ = whole
    numbers = {int(row["frame"]) for row in rows(folder / "tables" / "frames.csv") if row["video_id"] == "videos/grey"}
    drawn = (folder / "figure1" / "videos_grey").glob("frame_*_map.png")
    assert numbers == {int(path.name.split("_")[1]) for path in drawn}


def test_animations_have_a_picture_per_layer_and_frame_and_the_overlay_one_per_frame(whole):
    folder, _ = whole
    layers = sum(isinstance(module, torch.nn.Conv2d) for module in small_network().modules())
    assert len(list(read_frames(folder / "figure6" / "small.mp4"))) == layers
    overlay = list(read_frames(folder / "figure1" / "videos_grey" / "overlay.mp4"))
    assert len(overlay) == 2
    assert overlay[0][2].shape == (3, 320, 3 * 426)
    listed = [row["layer"] for row in rows(folder / "tables" / "activations.csv")]
    assert listed == [name for name, module in small_network().named_modules() if isinstance(module, torch.nn.Conv2d)]


def test_second_run_measures_nothing_again(whole, videos, monkeypatch):
    folder, _ = whole
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    monkeypatch.setattr("ugcvqa.studies.measures.pixel_curves", lambda *_: pytest.fail("measured again"))
    monkeypatch.setattr("ugcvqa.features.stream.read_clips", lambda *_: pytest.fail("decoded again"))
    names = [str(videos / f"plain{number}.mp4") for number in range(9)]
    assert run(folder.parent, *names, "--frames", "2", "--pictures.videos", "0") == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_one_clip_is_studied_but_not_tested(videos, tmp_path, capsys):
    assert run(tmp_path, str(videos / "plain0.mp4"), "--frames", "1", "--pictures.videos", "0") == 0
    printed = capsys.readouterr().out
    assert "not tested with 1 video, at least 8 are needed" in printed
    assert not (tmp_path / "out" / "content.png").exists()


def test_frames_without_a_map_are_counted_and_left_out(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study_run, "build_study", lambda *arguments: small_study(*arguments, dead=True))
    still = ("--pictures.animation_frames", "0")
    assert run(tmp_path, str(videos / "plain0.mp4"), "--frames", "2", *still) == 0
    text = (tmp_path / "out" / "conclusions.md").read_text()
    assert "2 frames without a map, left out" in text
    assert "2 of them have no map." in text
    assert "no frame has a cosine" in capsys.readouterr().out
    assert rows(tmp_path / "out" / "tables" / "frames.csv")[0]["cosine"] == ""


def test_all_videos_failing_is_exit_code_2(videos, tmp_path, capsys):
    assert run(tmp_path, str(videos / "broken.mp4")) == 2
    assert "No video could be used; 1 failed" in capsys.readouterr().out


def test_data_set_by_name_with_its_labels(videos, tmp_path):
    (tmp_path / "labels.csv").write_text("file,mos\nplain0.mp4,3\nplain1.mp4,4\ngone.mp4,2\n")
    data = ["--data.name", "mine", "--data.root", str(videos), "--data.labels", str(tmp_path / "labels.csv")]
    assert run(tmp_path, *data, "--frames", "1", "--pictures.videos", "0") == 1
    found = rows(tmp_path / "out" / "tables" / "videos.csv")
    assert [row["video_id"] for row in found] == ["mine/plain0", "mine/plain1"]
    assert "1 video failed" in (tmp_path / "out" / "conclusions.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to study"),
        (["a.mp4", "--data.name", "demo"], "exclude each other"),
        (["a.mp4", "--frames", "0"], "frames is 0"),
        (["--published", "missing.npz"], "missing.npz: cannot be read"),
        (["--benchmark", "missing"], "splits.csv: cannot be read"),
        (["a.mp4", "--device", "tpu"], "device 'tpu'"),
        (["a.mp4", "--measures.sample_frames", "0"], "at least 1"),
    ],
)
def test_wrong_requests_are_one_line(arguments, message, tmp_path, capsys):
    assert run(tmp_path, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("ugcvqa study: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_missing_weights_are_one_line(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study_run, "build_study", build_study)
    monkeypatch.setenv("UGCVQA_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def offline(*_):
        raise OSError("no network")

    monkeypatch.setattr("ugcvqa.deep.weight_files._download", offline)
    assert run(tmp_path, str(videos / "plain0.mp4")) == 2
    error = capsys.readouterr().err
    assert "vgg16 needs its weights IMAGENET1K_V1" in error
    assert error.count("\n") == 1


def test_published_frames_are_regenerated(shared, tmp_path):
    path = shared / "data" / "features" / "frames16_deep_saliency.npz"
    assert run(tmp_path, "--published", str(path)) == 0
    found = rows(tmp_path / "out" / "tables" / "published.csv")
    expected = rows(shared / "data" / "reference" / "cosine_16_frames.csv")
    column = next(name for name in expected[0] if "cos" in name)
    assert [float(row["cosine"]) for row in found] == pytest.approx([float(row[column]) for row in expected], abs=1e-6)
    assert "the 16 published cosines are met to" in (tmp_path / "out" / "conclusions.md").read_text()


def test_published_file_with_other_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", deep=np.ones((2, 9)))
    with pytest.raises(LabelError, match="arrays deep, saliency and cosine are needed"):
        published_frames(tmp_path / "a.npz", 0)
    np.savez(tmp_path / "b.npz", deep=np.ones((2, 9)), saliency=np.ones((3, 8, 8)), cosine=np.ones(2))
    with pytest.raises(LabelError, match=r"\(3, 8, 8\)"):
        published_frames(tmp_path / "b.npz", 0)
    np.savez(tmp_path / "c.npz", deep=np.ones((0, 9)), saliency=np.ones((0, 8, 8)), cosine=np.ones(0))
    with pytest.raises(LabelError, match="at least one frame"):
        published_frames(tmp_path / "c.npz", 0)


def test_frames_are_the_last_of_each_second_thinned_evenly():
    assert study_frames(100, Fraction(25), 32) == (24, 49, 74, 99)
    assert study_frames(1000, Fraction(25), 4) == (149, 399, 649, 899)
    assert study_frames(7, Fraction(25), 4) == (3,)
    assert spread(3, 5) == (0, 1, 2)


def test_files_and_folders_become_videos_of_distinct_ids(videos, tmp_path):
    (tmp_path / "grey.mp4").write_bytes((videos / "grey.mp4").read_bytes())
    found = given_videos([str(videos), str(tmp_path / "grey.mp4"), str(tmp_path / "grey.mp4")]).videos
    assert len(found) == 13
    assert {"videos/grey", "videos/grey-2"} <= {video.video_id for video in found}
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no video files"):
        given_videos([str(tmp_path / "empty")])


def test_maps_kept_by_extract_are_taken_from_the_store(videos, tmp_path):
    networks, store, path = small_study(limit=2), FeatureStore(tmp_path), videos / "plain0.mp4"
    maps = np.random.default_rng(0).random((3, 224, 224), dtype=np.float32)
    store.put(networks.saliency.spec, store.content(path), {"video": maps.mean((0, 1)), "maps": maps}, {})
    assert adopt_maps(networks, store, [path, tmp_path / "gone.mp4"], 2) == 1
    np.testing.assert_array_equal(store.get(networks.maps.spec, store.content(path))["maps"], maps[[0, 2]])
    assert adopt_maps(networks, store, [path], 2) == 0


def collected(n_groups, per_group=2):
    """A collection of made-up videos of which several show the same content."""
    found = [Video(f"own/{k}", None, 3.0, f"scene {k % n_groups}") for k in range(n_groups * per_group)]
    collection = Collection(Dataset("own", "MOS", (1, 5), tuple(found)), seed=0)
    for number, video in enumerate(found):
        random = np.random.default_rng(number % n_groups)
        maps = torch.from_numpy(random.random((3, 224, 224), dtype=np.float32))
        arrays = measure_arrays(random.random((3, 30), dtype=np.float32), maps, MeasureSettings())
        arrays |= {"frame_index": np.arange(3), "is_grey": np.zeros(3, bool)}
        arrays |= {"curve_place": np.array([0]), "curve_class": np.array([7])}
        arrays |= {"curves": random.random((1, 3, 2, 5))}
        facts = {"width": 64, "height": 48, "fps": 25.0, "duration_s": 3.0, "is_short": False}
        collection.add(VideoMeasures(video.video_id, "", facts, arrays))
    return collection


def test_videos_of_the_same_content_are_one_unit_of_the_tests():
    tests = collected(8).associations("own", MeasureSettings(permutations=9))
    assert {(one.n_videos, one.n_rows, one.unit) for one in tests} == {(8, 48, "content group")}
    assert all(len(one.null) == 9 for one in tests)
    few = collected(4, 5)
    assert {one.note for one in few.associations("own", MeasureSettings())} == {
        "not tested with 4 content groups, at least 8 are needed"
    }
    quality = few.quality("own", MeasureSettings())
    assert (quality.n_videos, quality.n_frames) == (4, 20)
    assert np.isnan(quality.p_deletion)


def test_no_repairings_means_no_tests():
    assert collected(8).associations("own", MeasureSettings(permutations=0)) == []


def test_damaged_measures_are_made_again(videos, tmp_path):
    assert run(tmp_path, str(videos / "plain0.mp4"), "--frames", "1", "--pictures.videos", "0") == 0
    (part,) = (tmp_path / "out" / "parts").rglob("*.safetensors")
    good = part.read_bytes()
    part.write_bytes(good[: len(good) // 2])
    assert run(tmp_path, str(videos / "plain0.mp4"), "--frames", "1", "--pictures.videos", "0") == 0
    assert part.read_bytes() == good


def test_measures_of_other_settings_are_not_taken(tmp_path):
    networks = small_study()
    keys = {measure_folder(tmp_path, networks, MeasureSettings(seed=seed)).key for seed in (0, 1)}
    keys.add(measure_folder(tmp_path, small_study(limit=3), MeasureSettings()).key)
    assert len(keys) == 3
    assert measure_folder(tmp_path, networks, MeasureSettings(permutations=5)).key in keys


def test_video_without_features_in_the_store_is_a_failure(videos, tmp_path):
    failures = {}
    dataset = given_videos([str(videos / "plain0.mp4")])
    folder = MeasureFolder(tmp_path, "key")
    found = measure_dataset(
        dataset, small_study(), FeatureStore(tmp_path), folder, MeasureSettings(), DecodeLimits(), "cpu", failures
    )
    assert list(found) == []
    assert "run `ugcvqa extract` first" in failures["videos/plain0"]


def test_families_of_the_study_differ_by_network_and_number_of_frames():
    settings = FamilySettings()
    settings = FamilySettings(
        deep=type(settings.deep)("resnet18", "random:0"),
        saliency=SaliencySettings("mobilenet_v3_small", "features.12", "random:0"),
    )
    made = [
        build_study(settings, network, limit)
        for network, limit in (("complete", 4), ("as_published", 4), ("complete", 5))
    ]
    assert len({one.deep.spec.key for one in made}) == 3
    assert len({one.maps.spec.key for one in made}) == 2
    frames = {"rgb224": torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)}
    whole, incomplete = (one.deep(frames)[0] for one in made[:2])
    assert whole.shape == incomplete.shape == (1, 512)
    assert not torch.allclose(whole, incomplete)
    assert [facts.is_random for facts in made[0].facts] == [True, True]
    assert "as published" in made[1].facts[0].remark


def test_images_and_answers_go_to_wandb_when_it_is_on(tmp_path):
    plt.imsave(tmp_path / "a.png", np.zeros((4, 4, 3)))
    page = Page("title", (), {"why?": ("because",)}, (Section("part", (), (Exhibit("a.png", "still"),)),), ())
    study_run.Study(tmp_path, {"frames": 2}).log_images(page, WandbSettings())
    found = offline_run(tmp_path)
    assert (found["job_type"], found["config"]["frames"]) == ("study", 2)
    assert found["history"][0]["study/a/caption"] == "still"
    assert found["summary"]["conclusions"]["why?"] == ["because"]


def test_nothing_imports_wandb_when_it_is_off(videos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import would fail
    assert run(tmp_path, str(videos / "plain0.mp4"), "--frames", "1", "--pictures.videos", "0") == 0


@pytest.mark.slow
def test_wandb_itself_takes_the_images_offline(videos, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert run(tmp_path, str(videos / "plain0.mp4"), "--frames", "1", "--wandb", "offline") == 0
    runs = list((tmp_path / "out" / "wandb").glob("offline-run-*"))
    assert len(runs) == 1
    media = {path.suffix for path in runs[0].rglob("media/**/*") if path.is_file()}
    assert media == {".png", ".mp4"}
