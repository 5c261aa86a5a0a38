"""UVQ's networks with seeded weights, against features, labels and scores of the published definition."""

import zlib

import numpy as np
import pytest
import torch

from tests.support.golden import golden_arrays
from ugcvqa.deep.efficientnet_lite import SamePad
from ugcvqa.uvq.layers import WideConv, same_padding
from ugcvqa.uvq.networks import UVQ10, UVQ15, Aggregation, Aggregation15, _black_once, pooled
from ugcvqa.uvq.state import SCORE_NAMES, network_shapes, seeded_state
from ugcvqa.uvq.weights import UVQWeights

DEFAULT = SCORE_NAMES[-1]
# Largest difference in units of the reference's standard deviation.
TOLERANCES = {"content": 2e-4, "distortion": 2e-4, "compression": 1e-3}


@pytest.fixture(scope="module")
def golden():
    return golden_arrays("uvq_public")


def tensors(golden, prefix):
    assert golden[f"{prefix}conv1.weight"].size
    return {key.removeprefix(prefix): torch.from_numpy(golden[key]) for key in golden if key.startswith(prefix)}


def assert_near(actual, expected, tolerance):
    actual = np.asarray(actual).reshape(expected.shape)
    assert np.abs(actual - expected).max() <= tolerance * expected.std() + 1e-6


@pytest.fixture(scope="module")
def first_second(golden):
    """The five frames (1, 5, 3, 720, 1280) and the small first one (1, 3, 496, 496)."""
    frames = np.zeros((1, 5, 720, 1280, 3), np.uint8)
    start, stop = golden["v10_x0x1"]
    frames[0, :, :, start:stop] = golden["v10_frames"]
    return torch.from_numpy(frames).permute(0, 1, 4, 2, 3), torch.from_numpy(golden["v10_small0"])[None].permute(
        0, 3, 1, 2
    )


@pytest.fixture(scope="module")
def uvq10(golden, engine):
    states = {part: seeded_state(f"uvq10.{part}") for part in ("content", "distortion", "compression")}
    for number in range(5):
        states[f"aggregation.{DEFAULT}.{number}"] = tensors(golden, f"w10|ytugc20s_{number}_avgpool_{DEFAULT}|")
    return UVQ10(UVQWeights(states, {}, "random:0"), engine)


@pytest.fixture(scope="module")
def uvq15(golden, engine):
    states = {part: seeded_state(f"uvq15.{part}") for part in ("content", "distortion")}
    return UVQ15(UVQWeights({**states, "aggregation": tensors(golden, "w15|")}, {}, "random:0"), engine)


@pytest.mark.parametrize(
    "network", ["uvq10.content", "uvq10.distortion", "uvq10.compression", "uvq15.content", "uvq15.distortion"]
)
def test_state_dicts_have_the_released_names_and_shapes(golden, network):
    shapes = ["x".join(map(str, shape)) for shape in network_shapes(network).values()]
    assert list(network_shapes(network)) == golden[f"keys_{network}"].tolist()
    assert shapes == golden[f"shapes_{network}"].tolist()


def test_seeded_weights_are_those_of_the_reference(golden):
    state = seeded_state("uvq15.content")
    sums = [(float(w.double().mean()), float(w.double().abs().sum())) for w in state.values()]
    np.testing.assert_allclose(sums, golden["fp_uvq15.content"][:, :2], rtol=1e-6, atol=1e-9)


def test_uvq10_has_the_reference_maps_labels_and_score(golden, uvq10, first_second, there):
    with torch.inference_mode():
        maps, *labels = there(uvq10).maps(*map(there, first_second))
        score = uvq10._score(DEFAULT, maps)
    topics, distortions, levels = (part.cpu() for part in labels)
    for name, values in maps.items():
        assert_near(values.permute(0, 2, 3, 1).cpu(), golden[f"v10_{name}_features"], TOLERANCES[name])
    assert_near(topics, golden["v10_content_labels"], 2e-4)
    assert_near(distortions, golden["v10_distortion_labels"], 2e-4)
    assert_near(levels, golden["v10_compression_labels"], 1e-3)
    assert abs(float(score) - golden[f"v10_score_{DEFAULT}"]) < 2e-5


def test_uvq15_has_the_reference_maps_and_scores(golden, uvq15, there):
    frames = torch.from_numpy(golden["v10_frames"]).permute(0, 3, 1, 2)[..., 180:540, :]
    inputs = [torch.cat([frames[j], frames[j + 1]], 2)[..., :640] for j in (0, 3)]
    inputs = torch.stack(inputs).repeat_interleave(3, 2).repeat_interleave(3, 3)
    with torch.inference_mode():
        maps = there(uvq15).maps(there(inputs))
        hidden, scores = uvq15.head.hidden(*maps).cpu(), uvq15.head(*maps).cpu()
    content, distortion = (part.cpu() for part in maps)
    assert_near(content.permute(0, 2, 3, 1), golden["v15_content_features"], 2e-4)
    assert_near(distortion.permute(0, 2, 3, 1), golden["v15_distortion_features"], 2e-4)
    assert_near(hidden, golden["v15_hidden"], 2e-4)
    np.testing.assert_allclose(scores, golden["v15_scores"], atol=2e-5)


def fixed_maps(name, shape):
    z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.from_numpy(z).permute(0, 3, 1, 2)


def test_real_aggregation_networks_have_the_reference_scores(golden, there):
    names = ("compression", "content", "distortion")
    maps = [(0.5 * fixed_maps(f"uvq/agg/public/{name}", (3, 16, 16, 100)) + 0.1).clamp(min=0).float() for name in names]
    head = Aggregation([tensors(golden, f"w10|ytugc20s_{number}_avgpool_{DEFAULT}|") for number in range(5)])
    expected = dict(zip(golden["agg10_names"].tolist(), golden["agg10_values"].tolist(), strict=True))
    each = there(head)(there(torch.cat(maps, 1))).double().mean(0).tolist()
    np.testing.assert_allclose(each, [expected[f"ytugc20s_{n}_avgpool_{DEFAULT}"] for n in range(5)], atol=2e-5)
    assert abs(np.mean(each) - golden[f"agg10_mean_{DEFAULT}"]) < 2e-5


def test_real_aggregation_of_uvq15_has_the_reference_scores(golden, there):
    head = there(Aggregation15(tensors(golden, "w15|")))
    maps = [
        0.05 * fixed_maps(f"uvq/agg15b/public/{n}", (3, s, s, 128)) for n, s in (("content", 8), ("distortion", 24))
    ]
    np.testing.assert_allclose(head(*(there(part.float()) for part in maps)).cpu(), golden["agg15b_scores"], atol=2e-5)


def test_patches_computed_together_or_alone_agree(uvq10, first_second, monkeypatch):
    patches = torch.stack([first_second[0][0, :, :, 180:360, column : column + 320] for column in (320, 480, 640)])
    with torch.inference_mode():
        monkeypatch.setattr("ugcvqa.uvq.compression.step_size", lambda *_: 3)
        together, _ = uvq10.compression(patches)
        monkeypatch.setattr("ugcvqa.uvq.compression.step_size", lambda *_: 1)
        alone, _ = uvq10.compression(patches)
    assert_near(together.numpy(), alone.numpy(), 1e-4)


@pytest.mark.parametrize("size", [(12, 20), (5, 8), (16, 16)])
def test_wide_convolution_agrees_with_the_direct_one(size):
    source = torch.Generator().manual_seed(0)
    weight, maps = torch.randn(7, 4, *size, generator=source), torch.randn(2, 4, *size, generator=source)
    padded = torch.nn.functional.pad(maps, same_padding(size, size, 1)).double()
    torch.testing.assert_close(
        WideConv(weight)(maps).double(), torch.nn.functional.conv2d(padded, weight.double()), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [(496, 3, 2, (0, 1)), (31, 5, 2, (2, 2)), (23, 5, 1, (2, 2)), (8, 2, 1, (0, 1))],
)
def test_odd_padding_comes_after(size, kernel, stride, expected):
    left, right, top, bottom = same_padding((size, size), (kernel, kernel), stride)
    assert (left, right) == (top, bottom) == expected


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(9, 16), (16, 9)])
def test_padding_before_a_stride_of_two_is_the_same(kernel, size):
    padded = SamePad(kernel)(torch.ones(1, 1, *size))
    sides = same_padding(size, (kernel, kernel), 2)
    torch.testing.assert_close(padded, torch.nn.functional.pad(torch.ones(1, 1, *size), sides))


def test_pooled_features_are_means_then_maxima():
    maps = torch.arange(24, dtype=torch.float32).view(1, 2, 3, 4)
    assert pooled(maps).tolist() == [[5.5, 17.5, 11.0, 23.0]]


def test_black_patches_are_computed_once_and_put_in_their_places():
    seen = []

    def network(patches):
        seen.append(len(patches))
        return patches.float() + 1, patches.float().sum((1, 2))

    patches = torch.zeros(6, 2, 2, dtype=torch.uint8)
    patches[1], patches[4] = 3, 5
    maps, sums = _black_once(network, patches)
    assert seen == [3]
    torch.testing.assert_close(maps, patches.float() + 1)
    assert sums.tolist() == [0, 12, 0, 0, 20, 0]
