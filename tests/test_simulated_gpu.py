"""Every extractor and training step on a simulated CUDA device: no mixed devices, the CPU's numbers, few waits.

The device is `tests.support.pretend_cuda`; what only a real one can show, `ugcvqa doctor --gpu-report` does.
"""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.support.pretend_cuda import PretendCuda
from ugcvqa.deep.taps import hooked
from ugcvqa.features.computing import compute
from ugcvqa.features.extraction import Assembler
from ugcvqa.features.families import build_families
from ugcvqa.features.loading import ClipDataset
from ugcvqa.features.merging import merged
from ugcvqa.features.precisions import forget
from ugcvqa.features.stream import ClipStream, Item, Task
from ugcvqa.media.encode import write_video
from ugcvqa.models.regressors import EndToEndRegressor, GRURegressor
from ugcvqa.samples.batches import Batch
from ugcvqa.samples.clips import FAMILY, ClipFamily
from ugcvqa.settings.features import DeepSettings, FamilySettings, SaliencySettings, UVQSettings
from ugcvqa.settings.training import ClipSettings

NETWORKS = ("cnn", "vsfacnn", "saliency", "vsfacnn_saliency", "vsfacnn_224", "stages")
N_FRAMES = 21
MOST_WAITS, MOST_COPIES = 0, 2  # of a training step, which takes its rows and lengths along
# waits of the host for a video: one copy back, and what Score-CAM decides by the values of each frame, UVQ by those of
# each piece
WAITS = {"saliency": (3, 3), "vsfacnn_saliency": (2, 3), "uvq": (12, 0), "uvq15": (9, 0)}


def build(names):
    cam = SaliencySettings(backbone="squeezenet1_1", layer="features.12", weights="random:0", method="top:3")
    deep = DeepSettings("resnet18", "random:0")
    return build_families(names, FamilySettings(deep=deep, saliency=cam, uvq=UVQSettings("random:0"), engine="torch"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    field = np.random.default_rng(0).integers(0, 256, (200, 240, 3), dtype=np.uint8)
    write_video(path, (field[k : k + 96, k : k + 128] for k in range(N_FRAMES)), 10)
    return path


def video(families, name, clip, gpu=None):
    """What a family finds in the clip: (arrays, number of pieces), on a GPU as a loader for it serves them."""
    one = {name: families[name]}
    assembler = Assembler(one)
    *pieces, end = ClipDataset(ClipStream([Task("a", str(clip))], one), is_on_gpu=gpu is not None)
    for item in pieces:
        here = item if gpu is None else replace(item, frames={form: gpu.tensor(x) for form, x in item.frames.items()})
        (features,) = compute(one, [here])
        assembler.add(here, features)
    result = assembler.close(end)
    assert not result.reason
    return result.features[name], len(pieces)


@pytest.mark.parametrize("name", [*NETWORKS, "uvq15", pytest.param("uvq", marks=pytest.mark.slow)])
def test_extractor_on_a_gpu(clip, name):
    """Features within rounding of the CPU's; constants travel once, results once for a video."""
    families = build((name,))
    expected, _ = video(families, name, clip)
    with PretendCuda() as gpu:
        gpu.module(families[name])
        video(families, name, clip, gpu)
        forget(families[name])
        gpu.reset()
        found, pieces = video(families, name, clip, gpu)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=2e-4, atol=2e-5)
    once, each = WAITS.get(name, (1, 0))
    assert gpu.waits.total() <= once + each * N_FRAMES // 10, gpu.waits
    assert gpu.copies.total() == 0, gpu.copies
    assert pieces == 1 or name.startswith("uvq")


def test_light_families_are_computed_where_videos_are_decoded(clip):
    """They never see the GPU: a piece comes with its features, which are the CPU's to the last bit."""
    light = {**build_families(("pixels", "container"), FamilySettings()), FAMILY: ClipFamily(ClipSettings())}
    stream = ClipStream([Task("a", str(clip))], light)
    for item, other in zip(ClipDataset(stream, is_on_gpu=True), ClipDataset(stream), strict=True):
        assert item.family == other.family
        if item.family:
            (expected,) = compute(light, [other])
            assert not item.frames
            np.testing.assert_array_equal(np.asarray(item.features), np.asarray(expected))


def test_pieces_of_a_video_are_put_together_up_to_a_budget():
    """Repeated frames keep their places, also where a piece begins with one."""
    frames = np.arange(6, dtype=np.uint8).reshape(6, 1, 1)
    pieces = [
        Item(0, "a", {"y": frames[:2]}, (0, 1, 1), (0, 0, 1), times_s=(0.0, 0.1, 0.2)),
        Item(0, "b", {"y": frames[:1]}, (0,)),
        Item(0, "a", {"y": frames[2:3]}, (-1, 0), (1, 2), times_s=(0.3, 0.4)),
        Item(0, "a", {"y": frames[:0]}, (-1,), (2,), times_s=(0.5,)),
        Item(0, "a", {"y": frames[3:]}, (0, 1, 2), (3, 3, 3), times_s=(0.6, 0.7, 0.8)),
        Item(0, content="end"),
    ]
    whole, other, end = merged(pieces, {"a", "b"})
    assert (whole.family, other.family, end.content) == ("a", "b", "end")
    np.testing.assert_array_equal(whole.frames["y"], frames)
    assert whole.places == (0, 1, 1, 1, 2, 2, 3, 4, 5)
    assert whole.entries == (0, 0, 1, 1, 2, 2, 3, 3, 3)
    assert len(whole.times_s) == 9
    first, *_ = parts = list(merged(pieces, {"a"}, most_bytes=3))
    assert [item.family for item in parts] == ["b", "a", "a", ""] or first.family == "b"
    assert [len(item.frames["y"]) for item in parts if item.family == "a"] == [3, 3]
    assert parts[-2].places == (0, 1, 2)


def gru_step():
    regressor = GRURegressor(input_dim=8, reduced_dim=4, hidden_dim=4, tau=3)
    random = torch.Generator().manual_seed(0)
    frames = torch.rand(9, 8, generator=random)
    return regressor, Batch(torch.arange(2), torch.tensor([1.0, 4.0], dtype=torch.float64), frames, (4, 5), ("a", "b"))


def end_to_end_step():
    regressor = EndToEndRegressor(backbone="resnet18", weights="random:0", frozen_stages=0)
    random = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (4, 3, 64, 64), generator=random, dtype=torch.uint8)
    return regressor, Batch(torch.arange(2), torch.tensor([1.0, 4.0], dtype=torch.float64), frames, (2, 2), ("a", "b"))


class Recurrent(torch.nn.Module):
    """In place of PyTorch's GRU, which on a GPU is one operator without a counterpart on a CPU."""

    def __init__(self, gru):
        super().__init__()
        self.given = torch.nn.Linear(gru.input_size, gru.hidden_size)
        self.own = torch.nn.Linear(gru.hidden_size, gru.hidden_size)

    def forward(self, frames):
        states = [torch.zeros(len(frames), self.own.in_features, device=frames.device)]
        for frame in frames.unbind(1):
            states.append(torch.tanh(self.given(frame) + self.own(states[-1])))
        return torch.stack(states[1:], 1), states[-1]


def stepped(make, gpu):
    """A regressor whose training step can run, and the batch, on a GPU if there is one."""
    torch.manual_seed(0)
    regressor, batch = make()
    regressor._trainer, regressor.log = SimpleNamespace(world_size=1), lambda *_, **__: None
    head = getattr(regressor.network, "head", regressor.network)
    head.gru = Recurrent(head.gru)
    if gpu is not None:
        gpu.module(regressor)
        batch = batch._replace(frames=gpu.tensor(batch.frames), mos=gpu.tensor(batch.mos))
    return regressor, batch


@pytest.mark.parametrize("make", [gru_step, end_to_end_step])
def test_loss_of_a_training_step_on_a_gpu(make):
    """Within rounding of the CPU's, with few waits."""
    losses = []
    for is_on_gpu in (False, True):
        with PretendCuda() if is_on_gpu else nullcontext() as gpu, torch.no_grad():
            regressor, batch = stepped(make, gpu)
            loss = regressor.training_step(batch, 0)
            if gpu is not None:
                gpu.reset()
                loss = regressor.training_step(batch, 0)
                assert gpu.waits.total() <= MOST_WAITS, gpu.waits
                assert gpu.copies.total() <= MOST_COPIES, gpu.copies
            losses.append(float(loss.cpu()))
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.parametrize("make", [gru_step, end_to_end_step])
def test_gradients_of_a_training_step_on_a_gpu(make):
    """Forward and backward: the gradients within rounding of the CPU's, with few waits."""
    gradients = []
    for is_on_gpu in (False, True):
        with PretendCuda(has_backward=True) if is_on_gpu else nullcontext() as gpu:
            regressor, batch = stepped(make, gpu)
            if gpu is not None:
                gpu.reset()
            regressor.training_step(batch, 0).backward()
            if gpu is not None:
                assert gpu.waits.total() <= MOST_WAITS, gpu.waits
                assert gpu.copies.total() <= MOST_COPIES, gpu.copies
            found = [parameter.grad for parameter in regressor.parameters() if parameter.grad is not None]
            gradients.append([one.inner if gpu else one for one in found])
    assert len(gradients[0]) == len(gradients[1]) >= 8
    for ours, expected in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "backbone"), [("vsfacnn", "resnet50"), pytest.param("saliency", "vgg16", marks=pytest.mark.slow)]
)
def test_networks_compute_in_channels_last_on_a_gpu(name, backbone):
    """Convolutions get weights and maps in the order that tensor cores want; but those of Score-CAM's first pass."""
    deep, cam = DeepSettings(backbone, "random:0"), SaliencySettings(backbone, weights="random:0", method="top:2")
    family = build_families((name,), FamilySettings(deep=deep, saliency=cam, engine="torch"))[name]
    seen = []

    def look(module, inputs, _):
        layouts = (value.is_contiguous(memory_format=torch.channels_last) for value in (module.weight, *inputs))
        seen.append(all(layouts))

    with PretendCuda() as gpu:
        gpu.module(family)
        frames = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
        form, size = ("rgb", 64) if name == "vsfacnn" else ("rgb224", 224)
        frames = {form: gpu.tensor(frames[..., :size, :size].contiguous())}
        family(frames)  # Score-CAM splits its network at the first frame
        forget(family)
        scoring = family.network if name == "vsfacnn" else next(iter(family.cam._score._parts.values()))[0]
        with hooked([module for module in scoring.modules() if isinstance(module, torch.nn.Conv2d)], look):
            family(frames)
    assert len(seen) >= 13
    assert all(seen)
