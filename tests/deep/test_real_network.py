"""Every path of a deep network on real ImageNet weights (EfficientNet-Lite0), from maps to trained models."""

import csv
import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import sklearn
import torch
from PIL import Image
from scipy.stats import spearmanr

from tests.support.trainings import kill_at
from ugcvqa import extract, fit, score, study, timings
from ugcvqa.deep.backbones import load_backbone
from ugcvqa.deep.imagenet import normalise
from ugcvqa.deep.pooling import VSFA
from ugcvqa.deep.saliency import column_profile
from ugcvqa.deep.scorecam import ScoreCAM
from ugcvqa.errors import WeightsError
from ugcvqa.heads.exporting import export_model
from ugcvqa.media.encode import write_video
from ugcvqa.reports import reporter
from ugcvqa.scoring.model_file import load
from ugcvqa.settings.features import SaliencySettings
from ugcvqa.studies.map_quality import pixel_curves, shifted_map

NAME = "efficientnet_lite0"
BOTH = ["--backbone", NAME, "--saliency_backbone", NAME, "--families.saliency.method", "top:8"]
ONE = ["--trainer.accelerator", "cpu", "--trainer.devices", "1"]
_SKLEARN = Path(sklearn.__file__).parent / "datasets" / "images"
PHOTOGRAPHS = (
    Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
    _SKLEARN / "china.jpg",
    _SKLEARN / "flower.jpg",
)


def photograph(path, side=224):
    """The central square of a photograph, (side, side, 3) uint8."""
    with Image.open(path) as image:
        least = min(image.size)
        left, top = ((length - least) // 2 for length in image.size)
        square = image.convert("RGB").crop((left, top, left + least, top + least))
        return np.array(square.resize((side, side), Image.BICUBIC))


@pytest.fixture(scope="module")
def network():
    return load_backbone(NAME, "IMAGENET1K_V1")


@pytest.fixture(scope="module")
def frames():
    pictures = np.stack([photograph(path) for path in PHOTOGRAPHS])
    return normalise(torch.from_numpy(pictures).permute(0, 3, 1, 2))


@pytest.fixture(scope="module")
def maps(network, frames):
    return ScoreCAM(network, "features.8.2", method="top:24")(frames)


def test_maps_point_at_what_the_network_uses(network, frames, maps):
    """Deleting what a map calls important costs the class sooner than the same map at other places."""
    own, moved = [], []
    for frame, one, label in zip(frames, maps.maps, maps.classes.tolist(), strict=True):
        own.append(pixel_curves(network, frame, one, label, 4).deletion_auc)
        others = (pixel_curves(network, frame, shifted_map(one, seed), label, 4) for seed in range(2))
        moved.append(np.mean([curves.deletion_auc for curves in others]))
    assert np.mean(own) < 0.6 * np.mean(moved), (own, moved)


def test_maps_lie_on_the_subject(maps):
    """The officer fills the middle columns of the photograph, the daisy the middle of hers."""
    for number in (0, 2):
        profile = column_profile(maps.maps[number])
        assert profile[56:168].mean() > 1.5 * torch.cat([profile[:56], profile[168:]]).mean()


@pytest.mark.parametrize(("precision", "largest"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_reduced_precision_of_features_costs_little(frames, precision, largest):
    trunks = (VSFA(NAME, precision=name, engine="torch") for name in ("float32", precision))
    exact, reduced = (trunk.forward_normalised(frames) for trunk in trunks)  # OpenVINO has no bfloat16 on some CPUs
    assert 0 < (reduced - exact).norm() / exact.norm() < largest


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Fifteen videos: cameras that move over photographs, under ever more noise, which is their label."""
    folder = tmp_path_factory.mktemp("videos")
    random = np.random.default_rng(0)
    rows = []
    for number in range(15):
        picture = photograph(PHOTOGRAPHS[number % 3], 160)[:, : 120 + 8 * (number % 5)]
        clip = (picture[k : k + 90] + random.normal(0, 1 + 4 * number, (90, *picture.shape[1:])) for k in range(8))
        write_video(folder / f"v{number:02d}.mp4", (f.clip(0, 255).astype(np.uint8) for f in clip), 4)
        rows.append(f"v{number:02d}.mp4,{5 - number / 4}\n")
    (folder / "labels.csv").write_text("file,mos\n" + "".join(rows))
    return folder


def named(videos):
    return ["--data.name", "own", "--data.root", str(videos), "--data.labels", str(videos / "labels.csv")]


def test_rows_go_from_extract_to_fit_to_score(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    few = [*BOTH[:-1], "top:2"]
    assert extract.main([*named(videos), *few, *ONE, "--rows", "[CNN,VSFACNN,SALIENCY]"]) == 0
    stored = {folder.name.split("-")[0] for folder in (tmp_path / "store").glob("*-*/")}
    assert {f"{row}_{NAME}" for row in ("cnn", "vsfacnn", "saliency")} <= stored
    monkeypatch.setattr("ugcvqa.features.stream.read_clips", lambda *_: pytest.fail("extracted again"))
    grid = ["--svr.c_exponents", "[1,3]", "--svr.gamma_exponents", "[-8,-4]"]
    for row in ("CNN", "VSFACNN", "SALIENCY"):
        assert fit.main([*named(videos), *few, *ONE, *grid, "--row", row]) == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    files = [str(videos / f"v{number:02d}.mp4") for number in (0, 7, 14)]
    for row in ("cnn", "vsfacnn", "saliency"):
        run = f"runs/own_{row}_svr"
        assert score.main([*files, "--checkpoint", run, "--json", "--workers", "0"]) == 0
        best, middle, worst = (json.loads(line)["mos"] for line in capsys.readouterr().out.splitlines())
        assert 1 <= worst <= 5
        if row != "saliency":  # where a map lies says little about noise
            assert best > middle > worst


def test_study_finds_that_its_cosine_is_the_shape_of_a_map(videos, tmp_path, monkeypatch):
    """Shuffled channels give the same cosine: the paper's conclusion about its statistic, on a real network."""
    monkeypatch.chdir(tmp_path)
    quick = ["--frames", "2", "--measures.permutations", "19", "--measures.curve_steps", "2"]
    files = [str(videos / f"v{number:02d}.mp4") for number in range(3)]
    assert study.main([*files, *BOTH, *quick, "--pictures.videos", "0", *ONE]) == 0
    with Path("study/tables/frames.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    own, shuffled = (np.array([float(row[name]) for row in rows]) for name in ("cosine", "permuted"))
    assert len(rows) == 6
    assert abs(own.mean() - shuffled.mean()) < 0.05 < own.mean()
    text = Path("study/conclusions.md").read_text(encoding="utf-8")
    assert NAME in text
    assert "RANDOM" not in text


def test_timings_take_the_flags(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert timings.main([str(videos / "v00.mp4"), "--rows", "[CNN]", "--backbone", NAME]) == 0
    assert f"backbone is {NAME}, not the paper's resnet50" in capsys.readouterr().out


def test_end_to_end_model_resumes_scores_and_leaves(videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ["--head", "end_to_end", "--backbone", NAME, "--end_to_end.stages", "4", "--end_to_end.frozen_stages", "2"]
    clip = ["--end_to_end.clip.frames", "2", "--end_to_end.clip.short_side", "0", "--end_to_end.clip.crop", "80"]
    recipe = ["--end_to_end.head_epochs", "2", "--end_to_end.recipe.epochs", "2", "--end_to_end.recipe.batch_size", "4"]
    arguments = [*named(videos), *model, *clip, *recipe, *ONE, "--trainer.enable_progress_bar", "false"]
    kill_at(1, 1, lambda: fit.main(arguments))
    assert fit.main(arguments) == 0
    assert fit.main([*arguments, "--name", "unbroken"]) == 0
    folder = Path("runs/own_clip_end_to_end")
    assert (folder / "model.safetensors").read_bytes() == Path("runs/unbroken/model.safetensors").read_bytes()
    loaded = load(folder)
    with (folder / "predictions.csv").open() as file:
        expected = {row["video_id"].split("/")[1]: float(row["pred"]) for row in csv.DictReader(file)}
    assert loaded.score(videos / "v05.mp4").pred == pytest.approx(expected["v05"], abs=1e-4)
    clips = np.random.default_rng(0).integers(0, 256, (2, 3, 80, 80), np.uint8)
    export_model(loaded.head, Path("model.pt2"))
    exported = torch.export.load("model.pt2").module()(torch.from_numpy(clips))
    assert exported.item() == pytest.approx(loaded.head.predict([clips])[0], abs=1e-4)


def test_report_has_quick_maps_where_the_weights_are_installed(videos, tmp_path, monkeypatch, caplog):
    settings = reporter.chosen_maps(None, SaliencySettings())
    assert (settings.backbone, settings.method) == (NAME, "top:24")
    assert reporter.chosen_maps(False, SaliencySettings()) is None
    own = SaliencySettings(backbone="resnet18", weights="random:0")
    assert reporter.chosen_maps(None, own) == reporter.chosen_maps(True, own) == own
    page = tmp_path / "page.html"
    assert score.main([str(videos / "v00.mp4"), "--report", str(page)]) == 0
    text = page.read_text()
    assert f"Score-CAM of {NAME}, weights IMAGENET1K_V1, approximate (top:24)" in text
    assert score.main([str(videos / "v00.mp4"), "--report", str(page), "--report_saliency", "false"]) == 0
    assert "Score-CAM" not in page.read_text()
    monkeypatch.setattr("ugcvqa.deep.backbones.has_weights", lambda *_: False)
    assert reporter.chosen_maps(None, SaliencySettings()) is None

    def broken(*_):
        raise WeightsError("another file")

    monkeypatch.setattr("ugcvqa.deep.backbones.has_weights", broken)
    assert reporter.chosen_maps(None, SaliencySettings()) is None
    assert "the report has no saliency maps: another file" in caplog.text


def test_two_networks_for_the_maps_of_a_report_are_one_line(videos, capsys):
    flags = ["--saliency_backbone", NAME, "--saliency.backbone", "resnet18"]
    assert score.main([str(videos / "v00.mp4"), *flags]) == 2
    assert "contradict each other; give one" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("row", "least"), [("CNN", 0.4), ("VSFACNN", 0.45), ("SALIENCY", 0.1), ("STAGES", 0.5)])
def test_rows_are_far_above_chance_on_scenes_they_never_saw(tmp_path, monkeypatch, row, least):
    """Means over ten splits: with six scenes to test on, one split says little (CNN: 0.20 to 0.78 over twenty)."""
    monkeypatch.chdir(tmp_path)
    common, found = [*BOTH[:-1], "top:2", "--row", row], []
    for seed in range(10):
        assert fit.main([*common, "--split.seed", str(seed), "--name", f"seed{seed}"]) == 0
        with Path(f"runs/seed{seed}/predictions.csv").open() as file:
            rows = [line for line in csv.DictReader(file) if line["part"] == "test"]
        found.append(spearmanr(*([float(line[name]) for line in rows] for name in ("label", "pred"))).statistic)
    assert np.mean(found) > least, found
