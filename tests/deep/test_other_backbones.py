"""Other torchvision networks in place of ResNet-50 and VGG-16, from the command line to a scored video."""

import json

import numpy as np
import pytest

from ugcvqa import extract, fit, score
from ugcvqa.deep.backbones import load_backbone
from ugcvqa.deep.scorecam import ScoreCAM
from ugcvqa.deep.trunks import last_maps_layer
from ugcvqa.features.families import build_families
from ugcvqa.media.encode import write_video
from ugcvqa.settings.features import DeepSettings, FamilySettings, SaliencySettings

RANDOM = ["--families.deep.weights", "random:0", "--families.saliency.weights", "random:0"]
QUICK = ["--families.saliency.method", "top:1", "--trainer.devices", "1"]
GRID = ["--svr.c_exponents", "[1,3]", "--svr.gamma_exponents", "[-8,-4]"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    random = np.random.default_rng(0)
    rows = []
    for number in range(13):
        frame = np.kron(random.integers(0, 256, (6, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
        write_video(folder / f"v{number}.mp4", (np.roll(frame, k, 1) for k in range(6)), 4)
        rows.append(f"v{number}.mp4,{1 + number % 5}\n")
    (folder / "labels.csv").write_text("file,mos\n" + "".join(rows))
    return ["--data.name", "own", "--data.root", str(folder), "--data.labels", str(folder / "labels.csv")]


def test_networks_without_stages_go_from_extract_to_fit_to_score(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = [*videos, *RANDOM, *QUICK, "--backbone", "squeezenet1_1", "--saliency_backbone", "mobilenet_v3_small"]
    assert extract.main([*flags, "--rows", "CNN_SALIENCY"]) == 0
    stored = {folder.name.split("-")[0] for folder in (tmp_path / "store").glob("*-*/")}
    assert stored == {"cnn_squeezenet1_1", "saliency_mobilenet_v3_small"}
    monkeypatch.setattr("ugcvqa.features.stream.read_clips", lambda *_: pytest.fail("extracted again"))
    assert fit.main([*flags, *GRID, "--row", "CNN_SALIENCY"]) == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    run = tmp_path / "runs" / "own_cnn_saliency_svr"
    video = f"{videos[3]}/v3.mp4"
    assert score.main([video, "--checkpoint", str(run), "--json"]) == 0
    assert 1 <= json.loads(capsys.readouterr().out)["mos"] <= 5


def test_short_flags_are_the_long_ones():
    families = FamilySettings().with_backbones("resnet18", "alexnet")
    assert families == FamilySettings(deep=DeepSettings("resnet18"), saliency=SaliencySettings("alexnet"))
    assert families.with_backbones("resnet18", None) == families
    assert FamilySettings().with_backbones(None, None).has_paper_backbones
    assert not families.has_paper_backbones


@pytest.mark.parametrize("verb", [extract, fit])
def test_two_different_backbones_are_one_clear_line(videos, verb, capsys):
    assert verb.main([*videos, "--backbone", "resnet18", "--families.deep.backbone", "resnet34"]) == 2
    message = "--backbone resnet18 and --families.deep.backbone resnet34 contradict each other; give one"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vgg16", "features.29"),
        ("resnet18", "layer4.1.relu"),
        ("squeezenet1_1", "features.12"),
        ("mobilenet_v3_small", "features.12.2"),
        ("densenet121", "features.norm5"),
        ("convnext_tiny", "features.7.2"),
    ],
)
def test_map_layer_is_the_last_before_the_global_pooling(name, layer):
    import torch

    from ugcvqa.deep.backbones import _build

    with torch.device("meta"):
        assert last_maps_layer(_build(name).eval(), name) == layer


def test_map_layer_gives_maps():
    import torch

    network = load_backbone("squeezenet1_1", "random:0")
    cam = ScoreCAM(network, last_maps_layer(network, "squeezenet1_1"), method="top:2")
    assert cam(torch.randn(1, 3, 96, 96)).scores.shape == (1, 512)


def test_layer_found_and_layer_named_are_stored_alike():
    settings = [SaliencySettings("resnet18", layer, "random:0") for layer in (None, "layer4.1.relu", "layer3")]
    keys = [build_families(("saliency",), FamilySettings(saliency=one))["saliency"].spec.key for one in settings]
    assert keys[0] == keys[1] != keys[2]


def test_fused_family_is_named_by_both_networks():
    settings = FamilySettings(
        deep=DeepSettings("resnet18", "random:0"), saliency=SaliencySettings("squeezenet1_1", None, "random:0")
    )
    spec = build_families(("vsfacnn_saliency",), settings)["vsfacnn_saliency"].spec
    assert spec.family == "vsfacnn_saliency_resnet18_squeezenet1_1"
