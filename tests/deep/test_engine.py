"""Networks prepared for inference against the same networks as they are."""

import copy
import logging
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from tests.support.networks_vgg import SmallVGG
from ugcvqa.deep import engine as engines
from ugcvqa.deep.backbones import load_backbone
from ugcvqa.deep.engine import FastNetwork, FusedConv, chosen_engine
from ugcvqa.deep.kept_memory import keep_freed_memory
from ugcvqa.deep.pooling import CNN, VSFA
from ugcvqa.deep.scorecam import ScoreCAM
from ugcvqa.deep.stages import StageStatistics
from ugcvqa.deep.trunks import features_of
from ugcvqa.errors import ConfigError
from ugcvqa.uvq.networks import UVQ15
from ugcvqa.uvq.weights import load_weights

NETWORKS = ["resnet18", "resnet50", "vgg11", "mobilenet_v3_small", "efficientnet_b0"]


def take_operators_away(monkeypatch):
    """Makes PyTorch one whose build lacks the private operators."""
    for name in ("_convolution_pointwise", "_convolution_pointwise_"):
        monkeypatch.delattr(torch.ops.mkldnn, name, raising=False)
    monkeypatch.setattr(type(torch.ops.mkldnn), "__getattr__", lambda _, name: getattr({}, name))
    engines._has_one_pass.cache_clear()
    assert not engines._has_one_pass()


@pytest.fixture(autouse=True)
def asked_again():
    """Lets no test see what another found out about this build of PyTorch."""
    engines._has_one_pass.cache_clear()
    yield
    engines._has_one_pass.cache_clear()


@pytest.fixture(params=[True, False], ids=["one pass", "plain"])
def one_pass(request, monkeypatch):
    """With PyTorch's private operators, and in a build that lacks them."""
    if not request.param:
        take_operators_away(monkeypatch)
    assert engines._has_one_pass() == request.param


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


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def assert_same_maps(network, prepared, *sizes):
    for size in sizes:
        x = noise(2, 3, *size)
        with torch.inference_mode():
            expected = copy.deepcopy(network).double()(x.double())
            assert (prepared(x) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_are_those_of_the_plain_layers(one_pass, name):
    trunk, _ = features_of(calibrated(load_backbone(name, "random:0")), name)
    assert_same_maps(trunk, FastNetwork(trunk, "torch"), (64, 96), (75, 101))


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_of_openvino_are_those_of_the_plain_layers(name):
    pytest.importorskip("openvino", reason="needs the extra `cpu`")
    trunk, _ = features_of(calibrated(load_backbone(name, "random:0")), name)
    assert_same_maps(trunk, FastNetwork(trunk, "openvino"), (64, 96), (75, 101))


def test_signals_reach_a_process_whose_networks_of_openvino_ended_in_another_thread():
    """OpenVINO gives the thread that loads it another stack for signals, and may free it elsewhere."""
    pytest.importorskip("openvino", reason="needs the extra `cpu`")
    code = """
import faulthandler, gc, os, signal, threading
import torch
from ugcvqa.deep.engine import FastNetwork
faulthandler.enable()  # a stack for signals, as every process of pytest has it
held = [FastNetwork(torch.nn.Conv2d(3, 4, 3), "openvino")]
held[0](torch.zeros(1, 3, 8, 8))
def drop():
    held.clear()
    gc.collect()
thread = threading.Thread(target=drop)
thread.start()
thread.join()
signal.signal(signal.SIGCHLD, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGCHLD)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_normalisations_are_folded_and_activations_and_sums_joined():
    trunk, _ = features_of(load_backbone("resnet50", "random:0"), "resnet50")
    layers = FastNetwork(trunk, "torch").layers
    called = [type(layers.get_submodule(node.target)) for node in layers.graph.nodes if node.op == "call_module"]
    assert called.count(FusedConv) == 53
    assert set(called) == {FusedConv, nn.MaxPool2d}
    assert not [node for node in layers.graph.nodes if node.op == "call_function"]
    assert any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules())


class Shared(nn.Module):
    """Convolutions whose terms, results or layers are needed elsewhere too."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x):
        a = self.first(x)
        b = self.relu(self.second(a))
        c = self.second(b)
        d = self.relu(c + a)
        return d + self.second(d) + a * c + self.relu(a)


def test_what_is_needed_elsewhere_is_not_overwritten(one_pass):
    torch.manual_seed(0)
    network = Shared().requires_grad_(False).eval()
    assert_same_maps(network, FastNetwork(network, "torch"), (9, 11))


class Fed(nn.Module):
    """An addition to what a later layer still reads."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(n, 4, 3, padding=1) for n in (3, 4, 4))

    def forward(self, x):
        a = self.first(x)
        total = self.second(a) + a
        return total + self.third(a)


def test_a_term_that_a_later_layer_reads_is_not_overwritten(one_pass):
    torch.manual_seed(0)
    network = Fed().requires_grad_(False).eval()
    assert_same_maps(network, FastNetwork(network, "torch"), (9, 11))


@pytest.mark.parametrize("activation", [nn.Identity, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish])
def test_convolution_in_one_pass_is_the_plain_one(activation):
    conv = nn.Conv2d(6, 12, 3, 2, 1, groups=6).requires_grad_(False)
    x = 4 * noise(2, 6, 9, 11).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(FusedConv(conv, activation())(x), activation()(conv(x)), rtol=1e-5, atol=1e-5)
    if activation in (nn.Identity, nn.ReLU):
        residual = noise(2, 12, 5, 6).contiguous(memory_format=torch.channels_last)
        expected = activation()(conv(x) + residual)
        torch.testing.assert_close(FusedConv(conv, activation())(x, residual), expected, rtol=1e-5, atol=1e-5)


def test_an_operator_that_changed_its_arguments_is_not_used(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_convolution_pointwise", lambda: None, raising=False)
    assert not engines._has_one_pass()


def pixels(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def of_vsfa(precision, engine):
    return VSFA("resnet18", "random:0", precision, engine)(pixels(2, 3, 70, 90))


def of_cnn(precision, engine):
    return CNN("resnet18", "random:0", precision, engine=engine)(pixels(2, 3, 70, 90))


def of_stages(precision, engine):
    return StageStatistics("resnet18", "random:0", precision, (0, 2, 4), engine)(pixels(2, 3, 70, 90))


def of_score_cam(precision, engine):
    torch.manual_seed(0)
    cam = ScoreCAM(SmallVGG(), "features.10", precision=precision, engine=engine)
    return torch.nan_to_num(cam(noise(1, 3, 64, 64)).scores)


def of_uvq15(_, engine):
    content, distortion = UVQ15(load_weights("uvq15", "random:0"), engine).maps(pixels(1, 3, 1080, 1920))
    return torch.cat([content.flatten(), distortion.flatten()])


DOORS = [of_vsfa, of_cnn, of_stages, of_score_cam]


@pytest.mark.parametrize("door", [*DOORS, pytest.param(of_uvq15, marks=pytest.mark.slow)])
def test_every_door_works_without_the_private_operators(monkeypatch, door):
    expected = door("float32", "torch")
    take_operators_away(monkeypatch)
    torch.testing.assert_close(door("float32", "torch"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_works_in_bfloat16(engine, door):
    exact, found = door("float32", "torch"), door("bfloat16", engine)
    assert found.dtype == torch.float32
    assert (found - exact).norm() < 0.1 * exact.norm()
    assert not torch.equal(found, exact) or (engine == "openvino" and not has_bfloat16())


def has_bfloat16():
    """Whether this CPU has instructions for it; on others OpenVINO computes in float32, which is no less exact."""
    openvino = pytest.importorskip("openvino")
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize("door", [*DOORS, of_uvq15])
def test_every_door_tells_in_one_line_that_openvino_is_missing(monkeypatch, door):
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"^engine openvino: is not installed; pip install openvino.*$"):
        door("float32", "openvino")


def test_an_installation_that_cannot_be_imported_is_one_line(monkeypatch, caplog):
    monkeypatch.setattr(engines, "find_spec", lambda name: name == "openvino")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).requires_grad_(False).eval()
    assert_same_maps(network, FastNetwork(network), (9, 11))
    assert "OpenVINO cannot compute this network, PyTorch does: " in caplog.text
    with pytest.raises(ConfigError, match="cannot compute this network"):
        FastNetwork(network, "openvino")(noise(1, 3, 9, 11))


class Branching(nn.Module):
    """A network that cannot be traced."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        maps = self.conv(x)
        return maps if maps.mean() > 0 else -maps


def test_network_that_cannot_be_traced_runs_as_it_is():
    network = Branching().requires_grad_(False)
    assert_same_maps(network, FastNetwork(network, "torch"), (9, 11))


def test_engines_by_name(monkeypatch):
    assert chosen_engine("torch") == "torch"
    monkeypatch.setattr(engines, "find_spec", lambda name: name == "openvino")
    assert chosen_engine("openvino") == "openvino"
    assert chosen_engine("auto", "float16") == "torch"
    with pytest.raises(ConfigError, match="engine openvino: has no float16"):
        chosen_engine("openvino", "float16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_engine("auto") == "openvino"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen_engine("auto") == "torch"
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    assert chosen_engine("auto") == "torch"
    with pytest.raises(ConfigError, match=r"engine openvino: is not installed; pip install openvino"):
        chosen_engine("openvino")


def test_what_openvino_cannot_translate_is_computed_by_torch(monkeypatch, caplog):
    openvino = pytest.importorskip("openvino", reason="needs the extra `cpu`")
    monkeypatch.setattr(openvino, "convert_model", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).requires_grad_(False).eval()
    fast = FastNetwork(network)
    assert_same_maps(network, fast, (9, 11))
    assert fast.engine == "torch"
    assert "OpenVINO cannot compute this network, PyTorch does: ZeroDivisionError" in caplog.text
    with pytest.raises(ConfigError, match="cannot compute this network"):
        FastNetwork(network, "openvino")(noise(1, 3, 9, 11))


def test_openvino_reports_nothing_to_its_makers():
    """In a process of its own, as another test may have imported the package that does."""
    pytest.importorskip("openvino", reason="needs the extra `cpu`")
    program = (
        "import sys, torch; from torch import nn; from ugcvqa.deep.engine import FastNetwork;"
        "FastNetwork(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), 'openvino')(torch.zeros(1, 3, 9, 11));"
        "from openvino.tools.ovc import convert_impl;"
        "print(convert_impl.tm.__name__, sys.modules['openvino_telemetry'])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "None"]


def test_a_copy_computes_the_same(engine):
    network, frames = VSFA("resnet18", "random:0", engine=engine), torch.full((1, 3, 40, 48), 9, dtype=torch.uint8)
    expected = network(frames)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(other(frames), expected, rtol=1e-5, atol=1e-6)


def test_checksum_does_not_depend_on_what_computes(engine):
    trunks = [VSFA("resnet18", "random:0", precision, engine).trunk for precision in ("float32", "bfloat16")]
    assert {trunk.checksum for trunk in trunks} == {VSFA("resnet18", "random:0").trunk.checksum}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's setting")
def test_kept_memory_changes_no_value():
    logging.disable(logging.WARNING)
    network, frames = VSFA("resnet18", "random:0", engine="torch"), torch.full((1, 3, 40, 48), 9, dtype=torch.uint8)
    expected = network(frames)
    assert keep_freed_memory()
    assert torch.equal(network(frames), expected)
    logging.disable(logging.NOTSET)
