import hashlib
import logging
import urllib.error
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from ugcvqa import extract
from ugcvqa.deep import backbones, weight_files
from ugcvqa.deep.backbones import load_backbone, weights_checksum
from ugcvqa.deep.trunks import features_of, split_at_maps
from ugcvqa.errors import ConfigError, WeightsError

FILE = "resnet18-f37072fd.pth"  # torchvision's IMAGENET1K_V1 of resnet18


@pytest.fixture(scope="module")
def state():
    return load_backbone("resnet18", "random:3").state_dict()


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Our own folder and torch hub's, both empty, and no network."""
    own, hub = tmp_path / "own", tmp_path / "hub"
    own.mkdir()
    (hub / "checkpoints").mkdir(parents=True)
    monkeypatch.setenv("UGCVQA_WEIGHTS", str(own))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(hub))

    def offline(*_, **__):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(weight_files.urllib.request, "urlopen", offline)
    return own, hub / "checkpoints"


def calibrated(network):
    """Gives batch normalisations statistics far from 0 and 1."""
    generator = torch.Generator().manual_seed(5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.uniform_(0.5, 1.5, generator=generator)
            module.bias.normal_(0, 0.2, generator=generator)
    return network


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_local_file_is_read(tmp_path, state, suffix):
    path = tmp_path / f"mine{suffix}"
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    network = load_backbone("resnet18", str(path))
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_random_weights_are_seeded_and_leave_the_generator_alone(caplog):
    torch.manual_seed(11)
    expected_next = torch.rand(3)
    torch.manual_seed(11)
    with caplog.at_level(logging.WARNING):
        network = load_backbone("resnet18", "random:4")
    assert torch.equal(torch.rand(3), expected_next)
    assert "RANDOM" in caplog.text
    torch.manual_seed(4)
    reference = models.resnet18(weights=None)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), reference.parameters(), strict=True))


@pytest.mark.parametrize("place", [0, 1])
def test_named_weights_are_found_in_both_folders_and_by_folder(folders, state, monkeypatch, place):
    path = folders[place] / FILE
    torch.save(state, path)
    monkeypatch.setitem(weight_files._SHA256, FILE, hashlib.sha256(path.read_bytes()).hexdigest())
    for weights in ("IMAGENET1K_V1", str(folders[place]), str(path)):
        assert torch.equal(load_backbone("resnet18", weights).fc.weight, state["fc.weight"])


@pytest.mark.parametrize("by", ["name", "folder", "file"])
def test_wrong_file_under_the_right_name_is_refused(folders, state, by):
    path = folders[0] / FILE
    torch.save(state, path)
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(WeightsError, match=f"SHA-256 is {actual}.* begins with f37072fd") as error:
        load_backbone("resnet18", {"name": "IMAGENET1K_V1", "folder": str(folders[0]), "file": str(path)}[by])
    assert "\n" not in str(error.value)


def test_missing_file_offline_says_what_to_put_where(folders):
    with pytest.raises(WeightsError) as error:
        load_backbone("resnet50", "IMAGENET1K_V1")
    text = str(error.value)
    assert "\n" not in text
    for part in ("resnet50-0676ba61.pth", weight_files._SHA256["resnet50-0676ba61.pth"], str(folders[0]), "https://"):
        assert part in text
    assert not list(folders[0].iterdir())


def test_missing_file_offline_is_one_line_and_no_word_of_fetching(folders, tmp_path, capfd):
    assert extract.main(["--rows", "[CNN]", "--store", str(tmp_path / "store")]) == 2
    told = capfd.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert "put it into" in told[0]


def test_download_is_checked_before_it_is_kept(folders, state, tmp_path, monkeypatch):
    source = tmp_path / "served.pth"
    torch.save(state, source)
    monkeypatch.setattr(weight_files.urllib.request, "urlopen", lambda *_, **__: source.open("rb"))
    with pytest.raises(WeightsError, match="SHA-256"):
        load_backbone("resnet18", "IMAGENET1K_V1")
    assert not list(folders[0].iterdir())
    monkeypatch.setitem(weight_files._SHA256, FILE, hashlib.sha256(source.read_bytes()).hexdigest())
    assert torch.equal(load_backbone("resnet18", "IMAGENET1K_V1").fc.weight, state["fc.weight"])
    assert [path.name for path in folders[0].iterdir()] == [FILE]


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V9", "random:", "random:x"])
def test_weights_that_do_not_exist_are_a_config_error(weights):
    with pytest.raises(ConfigError, match="weights"):
        load_backbone("resnet18", weights)


def test_unknown_network_and_missing_path():
    with pytest.raises(ConfigError, match="not a classification network"):
        load_backbone("fasterrcnn_resnet50_fpn", "random:0")
    with pytest.raises(WeightsError, match="no such file"):
        load_backbone("resnet18", "nowhere/mine.pth")


def test_folder_without_weights_is_named(tmp_path):
    with pytest.raises(WeightsError, match=f"holds no weights of resnet18; put {FILE}"):
        load_backbone("resnet18", str(tmp_path))


def changed(state, case):
    state = dict(state)
    if case == "missing":
        del state["conv1.weight"]
    elif case == "unexpected":
        state["extra"] = torch.zeros(1)
    elif case == "shape":
        state["fc.bias"] = torch.zeros(7)
    else:
        state["layer1.0.conv1.weight"] = torch.full((64, 64, 3, 3), float("nan"))
    return state


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("missing", "1 tensors missing, first conv1.weight"),
        ("unexpected", "1 tensors unexpected, first extra"),
        ("shape", "size mismatch for fc.bias"),
        ("nan", "layer1.0.conv1.weight holds NaN or infinite values"),
    ],
)
def test_file_that_does_not_fit_is_one_clear_line(tmp_path, state, case, reason):
    path = tmp_path / "mine.pth"
    torch.save(changed(state, case), path)
    with pytest.raises(WeightsError, match=reason) as error:
        load_backbone("resnet18", str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_file_is_one_clear_line(tmp_path, content, suffix):
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as weights") as error:
        load_backbone("resnet18", str(path))
    assert "\n" not in str(error.value)
    assert "weights_only" not in str(error.value)


def test_pickled_objects_are_refused(tmp_path):
    path = tmp_path / "mine.pth"
    torch.save({"model": Path("x")}, path)
    with pytest.raises(WeightsError):
        load_backbone("resnet18", str(path))
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}}, path)
    with pytest.raises(WeightsError, match="no plain state dict"):
        load_backbone("resnet18", str(path))


def test_released_densenet_names_are_understood(tmp_path):
    network = load_backbone("densenet121", "random:1")
    old = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for name, value in network.state_dict().items()
    }
    torch.save(old, tmp_path / "old.pth")
    assert weights_checksum(load_backbone("densenet121", str(tmp_path / "old.pth"))) == weights_checksum(network)


def test_checksum_sees_every_value_and_name():
    layer = nn.BatchNorm1d(3)
    first = weights_checksum(layer)
    assert first == weights_checksum(nn.BatchNorm1d(3))
    layer.running_var[2] += 1e-6
    assert weights_checksum(layer) != first
    assert weights_checksum(nn.Sequential(nn.BatchNorm1d(3))) != first


@pytest.mark.parametrize(
    ("name", "width", "stop"),
    [
        ("resnet18", 512, None),
        ("vgg11", 512, "features"),
        ("mobilenet_v3_small", 576, "features"),
        ("convnext_tiny", 768, "features"),
        ("squeezenet1_1", 512, "features"),
        ("shufflenet_v2_x0_5", 1024, None),
        ("regnet_y_400mf", 440, None),
    ],
)
def test_trunk_ends_before_the_global_pooling(name, width, stop):
    network = calibrated(load_backbone(name, "random:0"))
    trunk, channels = features_of(network, name)
    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = trunk(x)
        assert maps.shape[:2] == (1, channels) == (1, width)
        if stop:
            assert torch.equal(maps, getattr(network, stop)(x))
        elif name == "resnet18":
            assert torch.allclose(network.fc(maps.mean((2, 3))), network(x), rtol=1e-4, atol=1e-5)


def test_densenet_ends_with_its_last_activation():
    network = calibrated(load_backbone("densenet121", "random:0"))
    trunk, width = features_of(network, "densenet121")
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert width == 1024
        assert torch.equal(trunk(x), network.features(x).relu())


def test_network_without_maps_is_refused():
    with pytest.raises(ConfigError, match="backbone vit_b_32: has no convolutional maps"):
        features_of(load_backbone("vit_b_32", "random:0"), "vit_b_32")


def test_network_without_maps_is_refused_before_its_weights_are_asked_for(folders):
    with pytest.raises(ConfigError, match="vit_b_16: has no convolutional maps"):
        load_backbone("vit_b_16", "IMAGENET1K_V1")


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "squeezenet1_1", "densenet121"])
def test_network_is_split_before_its_global_pooling(name):
    network = load_backbone(name, "random:0")
    trunk, head = split_at_maps(network)
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert trunk(x).ndim == 4
        assert torch.equal(head(trunk(x)), network(x))
    weights = [sum(parameter.numel() for parameter in part.parameters()) for part in (trunk, head, network)]
    assert weights[0] + weights[1] == weights[2]


def test_network_that_cannot_be_split_is_left_whole():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    assert split_at_maps(network)[0] is network


def test_asking_for_weights_fetches_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("UGCVQA_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(weight_files, "_download", lambda *_: pytest.fail("fetched"))
    assert not backbones.has_weights("vgg16", "IMAGENET1K_V1")
    assert not backbones.has_weights("nonsense", "random:0")
    assert backbones.has_weights("vgg16", "random:0")
