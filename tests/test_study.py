"""The study from videos to page: bad input, resuming, what is kept, and captions that say what is shown."""

import csv
import json
import re
import sys

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from tests.support.small_study import moving, small_network, small_study
from tests.support.wandb_files import offline_run
from ugcvqa import study
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import read_frames
from ugcvqa.settings.study import StudySettings
from ugcvqa.settings.training import WandbSettings
from ugcvqa.studies import study_run
from ugcvqa.studies.frames import build_study
from ugcvqa.studies.page import Exhibit, Page, Section

QUICK = ("--measures.permutations", "19", "--measures.curve_steps", "2", "--pictures.animation_frames", "1")


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
    assert [path.name for path in (tmp_path / "out" / "figure7").iterdir()] == ["published.png"]


def test_figures_come_in_other_kinds_and_fonts(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"deep": rng.random((2, 9)), "saliency": rng.random((2, 3, 3)), "cosine": np.ones(2)}
    np.savez(tmp_path / "frames.npz", **arrays)
    more = ["--pictures.figures", "[pdf,svg]", "--pictures.font", "serif"]
    assert run(tmp_path, "--published", str(tmp_path / "frames.npz"), *more) == 0
    folder = tmp_path / "out" / "figure7"
    assert {path.name for path in folder.iterdir()} == {"published.png", "published.pdf", "published.svg"}
    assert b"STIXGeneral" in (folder / "published.pdf").read_bytes()


def test_damaged_measures_are_made_again(videos, tmp_path):
    assert run(tmp_path, str(videos / "plain0.mp4"), "--frames", "1", "--pictures.videos", "0") == 0
    (part,) = (tmp_path / "out" / "parts").rglob("*.safetensors")
    good = part.read_bytes()
    part.write_bytes(good[: len(good) // 2])
    assert run(tmp_path, str(videos / "plain0.mp4"), "--frames", "1", "--pictures.videos", "0") == 0
    assert part.read_bytes() == good


def test_images_and_answers_go_to_wandb_when_it_is_on(tmp_path):
    plt.imsave(tmp_path / "a.png", np.zeros((4, 4, 3)))
    page = Page("title", (), {"why?": ("because",)}, (Section("part", (), (Exhibit("a.png", "still"),)),), ())
    study_run.Study(StudySettings(["a.mp4"], out=str(tmp_path), frames=2)).log_images(page, WandbSettings())
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
