import numpy as np
import pytest
import torch
from torch import nn

from tests.support.golden import golden_arrays
from tests.support.networks import golden_resnet50
from ugcvqa.deep import pooling as deep
from ugcvqa.deep import precision as arithmetic_formats
from ugcvqa.deep.backbones import load_backbone
from ugcvqa.deep.frame_mean import FrameMean
from ugcvqa.deep.imagenet import normalise
from ugcvqa.deep.pooling import CNN, VSFA, mean_pool, mean_std_pool
from ugcvqa.deep.saliency import add_map
from ugcvqa.errors import ConfigError, VideoError, WeightsError
from ugcvqa.media.imresize import imresize_to

# largest absolute errors; values are 0.6 to 2.5
TOLERANCE = 2e-4
BFLOAT16_ERROR, BFLOAT16_RELATIVE = 0.5, 0.1  # seeded weights amplify rounding
FLOAT16_ERROR, FLOAT16_RELATIVE = 0.12, 0.025
RESIZE_TIES = 0.03  # where the reference leaves 23 of 903168 samples to round-off, one level apart
GROUPING = 2e-4


@pytest.fixture(scope="module")
def archive():
    return golden_arrays("deep_public")


@pytest.fixture(scope="module")
def resnet50(archive):
    return golden_resnet50(archive)


@pytest.fixture(scope="module")
def vsfa(resnet50, engine):
    return VSFA(resnet50, engine=engine)


@pytest.fixture(scope="module")
def cnn(vsfa):
    return CNN(vsfa.trunk)


@pytest.fixture(scope="module")
def small(engine):
    return VSFA("resnet18", "random:0", engine=engine)


def planes(frames):
    """(T, H, W, 3) or (H, W, 3) -> (T, 3, H, W)"""
    stack = torch.from_numpy(frames if frames.ndim == 4 else frames[None])
    return stack.permute(0, 3, 1, 2).contiguous()


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def max_error(actual, expected):
    return float(np.abs(np.asarray(actual) - expected).max())


def test_vsfa_features_and_their_mean_match_the_reference(archive, vsfa, there):
    features = there(vsfa)(there(planes(archive["frames"])))
    assert features.dtype == torch.float32
    assert max_error(features.cpu(), archive["vsfa"]) < TOLERANCE
    mean = FrameMean(vsfa.trunk)
    mean.add(features)
    assert max_error(mean.result()["video"], archive["vsfacnn_video"]) < TOLERANCE


@pytest.mark.parametrize("name", ["odd", "small"])
def test_vsfa_features_match_the_reference_at_other_sizes(archive, vsfa, name, there):
    features = there(vsfa)(there(planes(archive[f"frame_{name}"])))
    assert max_error(features[0].cpu(), archive[f"vsfa_{name}"]) < TOLERANCE


def test_vsfa_features_with_and_without_a_saliency_map_match_the_reference(vsfa, there):
    file = golden_arrays("saliency_public")
    frames, maps = there(planes(file["vsfasal_frames"])), there(torch.from_numpy(file["vsfasal_maps"]))
    plain, salient, video = (file[f"vsfacnn_{name}"] for name in ("nosal", "saliency", "saliency_video"))
    features = there(vsfa).forward_normalised(add_map(normalise(frames), maps)).cpu()
    assert max_error(features, salient) < TOLERANCE
    assert max_error(features.double().mean(0), video) < TOLERANCE
    assert max_error(vsfa(frames).cpu(), plain) < TOLERANCE


@pytest.mark.parametrize(
    ("precision", "error", "relative"),
    [
        ("tf32", FLOAT16_ERROR, 5e-3),
        ("bfloat16", BFLOAT16_ERROR, BFLOAT16_RELATIVE),
        ("float16", FLOAT16_ERROR, FLOAT16_RELATIVE),
    ],
)
def test_reduced_precision_is_near_the_reference(archive, resnet50, engine, precision, error, relative, there):
    if (engine, precision) == ("openvino", "float16"):
        pytest.skip("OpenVINO has no float16 on a CPU")
    vsfa = there(VSFA(resnet50, precision=precision, engine=engine))
    frame = there(planes(archive["frame_odd"]))
    cases = ((vsfa(frame)[0].cpu().numpy(), "vsfa_odd"), (CNN(vsfa.trunk)(frame)[0].cpu().numpy(), "cnn2048_odd"))
    for features, name in cases:
        assert max_error(features, archive[name]) < error
        assert np.linalg.norm(features - archive[name]) / np.linalg.norm(archive[name]) < relative


@pytest.mark.parametrize(("precision", "advice"), [("float16", "slower than float32"), ("tf32", "use bfloat16")])
def test_a_format_that_gains_nothing_on_a_cpu_says_so_once(caplog, precision, advice):
    arithmetic_formats._warn.cache_clear()
    network = VSFA("resnet18", "random:0", precision, "torch")
    caplog.clear()
    for _ in range(2):
        network(noise(1, 3, 32, 32))
    (record,) = caplog.records
    assert advice in record.getMessage()


def test_cnn_features_match_the_reference(archive, cnn, there):
    # frames as the reference resized them: ours differ from them in a few exact ties of rounding, by one level
    features = there(cnn)(there(planes(archive["imresize224"]))).cpu()
    assert max_error(features, archive["cnn2048"]) < TOLERANCE
    assert max_error(features.double().mean(0), archive["cnn2048_video"]) < TOLERANCE
    assert max_error(cnn(there(planes(archive["frame_odd"])))[0].cpu(), archive["cnn2048_odd"]) < TOLERANCE


def test_cnn_resizes_frames_of_full_size(archive, cnn, there):
    frames = there(planes(archive["frames"]))
    features = there(cnn)(frames).cpu()
    assert max_error(features, archive["cnn2048"]) < RESIZE_TIES
    assert max_error(features, cnn(imresize_to(frames, 224, 224)).cpu().numpy()) == 0


def test_algorithm_1_matches_the_reference_whole_and_as_scripted(archive, resnet50, cnn, there):
    frames, scripted = there(planes(archive["alg1_frames224"])), there(CNN(resnet50, skip_stem=True))
    assert max_error(there(cnn)(frames).cpu(), archive["alg1_proper"]) < TOLERANCE
    assert max_error(scripted(frames).cpu(), archive["alg1_as_scripted"]) < TOLERANCE


def test_skip_stem_is_refused_for_networks_without_a_stem():
    with pytest.raises(ConfigError, match="skip_stem is defined for ResNets only"):
        CNN("mobilenet_v3_small", "random:0", skip_stem=True)


def test_normalise_divides_by_255_first():
    frames = noise(2, 3, 4, 5)
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    expected = (frames.numpy().transpose(0, 2, 3, 1).astype(np.float32) / 255 - mean) / std
    assert np.array_equal(normalise(frames).numpy(), expected.transpose(0, 3, 1, 2))


def test_pooling_has_no_cancellation():
    maps = 1000 + 1e-2 * torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(1))
    values = maps.numpy().astype(np.float64).reshape(2, 3, -1)
    expected = np.concatenate([values.mean(2), values.std(2, ddof=1)], 1)
    np.testing.assert_allclose(mean_std_pool(maps), expected, rtol=1e-6)
    np.testing.assert_allclose(mean_pool(maps), expected[:, :3], rtol=1e-6)


def test_pooling_of_one_position_has_deviation_zero():
    maps = torch.tensor([[[[2.0]], [[5.0]]]])
    assert mean_std_pool(maps).tolist() == [[2, 5, 0, 0]]


def test_reduced_maps_are_pooled_in_full_precision():
    maps = torch.full((1, 1, 64, 64), 0.1, dtype=torch.bfloat16)
    assert mean_pool(maps).dtype == torch.float32
    assert mean_pool(maps).item() == maps[0, 0, 0, 0].item()


@pytest.mark.parametrize("size", [(96, 128), (130, 250)])
def test_features_do_not_depend_on_how_frames_are_grouped(small, monkeypatch, size):
    frames = noise(5, 3, *size)
    whole = small(frames)
    single = torch.cat([small(frame[None]) for frame in frames])
    monkeypatch.setattr(deep, "frames_at_once", lambda *_: 2)
    pairs = small(frames)
    assert max_error(single, whole.numpy()) < GROUPING
    assert max_error(pairs, whole.numpy()) < GROUPING


def test_frames_that_differ_in_one_value_are_told_apart(small):
    a = noise(3, 64, 64)
    b = a.clone()
    b[2, 63, 63] ^= 128
    features = small(torch.stack([a, b]))
    assert not torch.equal(features[0], features[1])


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (32, 32), (33, 33), (8, 300)])
def test_tiny_frames_give_finite_features(small, size):
    features = small(noise(2, 3, *size))
    assert features.shape == (2, small.dim)
    assert torch.isfinite(features).all()
    if max(size) <= 32:
        assert not features[:, small.dim // 2 :].any()


def test_frames_too_small_for_the_network_are_named(engine):
    network = VSFA("vgg11", "random:0", engine=engine)
    with pytest.raises(VideoError, match="frames of 20 x 16 pixels are too small for vgg11"):
        network(noise(1, 3, 16, 20))


def test_black_frames_and_clips_of_one_or_no_frame(small):
    black = torch.zeros(3, 3, 48, 64, dtype=torch.uint8)
    assert torch.isfinite(small(black)).all()
    assert small(black[:1]).shape == (1, 1024)
    assert small(black[:0]).shape == (0, 1024)
    cnn = CNN("resnet18", "random:0")
    assert cnn.dim == 512
    assert cnn(black[:0]).shape == (0, 512)


@pytest.mark.parametrize(
    "frames",
    [torch.zeros(1, 3, 8, 8), noise(3, 8, 8), noise(1, 4, 8, 8), noise(1, 3, 0, 8)],
    ids=["float", "no frame axis", "four channels", "no pixels"],
)
def test_other_input_is_refused(small, frames):
    with pytest.raises(ValueError, match=r"frames must be \(T, 3, H, W\) uint8"):
        small(frames)


def test_normalised_input_must_be_float32(small):
    with pytest.raises(ValueError, match="float32"):
        small.forward_normalised(noise(1, 3, 8, 8))


def test_overflow_is_an_error():
    network = load_backbone("resnet18", "random:0")
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias += 1e4
    with pytest.raises(ConfigError, match="features of ResNet are not finite in float16; use float32"):
        VSFA(network, precision="float16")(noise(1, 3, 32, 32))
    assert torch.isfinite(VSFA(network)(noise(1, 3, 32, 32))).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_named_before_an_operator_can_hide_them(value):
    network = load_backbone("resnet18", "random:0")
    with torch.no_grad():
        network.layer3[0].conv1.weight[0, 0, 0, 0] = value
    with pytest.raises(WeightsError, match=r"layer3\.0\.conv1\.weight holds NaN or infinite values"):
        VSFA(network)


def test_negative_variances_and_overflow_are_named_before_an_operator_can_hide_them():
    network = load_backbone("resnet18", "random:0")
    network.layer2[0].bn1.running_var[5] = -1
    with pytest.raises(WeightsError, match=r"layer2\.0\.bn1\.running_var holds negative variances"):
        VSFA(network)
    network = load_backbone("resnet18", "random:0")
    network.conv1.weight.mul_(1e20), network.layer1[0].conv1.weight.mul_(1e30)
    with pytest.raises(WeightsError, match="maps are not finite"):
        VSFA(network)


def test_trunk_can_be_shared(small):
    cnn, frames = CNN(small.trunk), noise(2, 3, 224, 224)
    assert cnn.dim == small.dim // 2
    assert max_error(cnn(frames), small(frames)[:, : cnn.dim].numpy()) < GROUPING


def test_given_network_is_not_changed():
    network = load_backbone("resnet18", "random:0")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    VSFA(network, precision="bfloat16")
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) and after[name].dtype == value.dtype for name, value in before.items())


def test_precision_of_products_is_restored(small):
    before = torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision
    small(noise(1, 3, 32, 32))
    assert before == (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)


def test_frame_mean_does_not_depend_on_grouping(small):
    features = torch.randn(23, 7, generator=torch.Generator().manual_seed(3)) * 1e3
    one, grouped = FrameMean(small.trunk, keep=True), FrameMean(small.trunk, keep=True)
    for row in features:
        one.add(row)
    for part in features.split(5):
        grouped.add(part)
    assert torch.equal(one.result()["video"], grouped.result()["video"])
    assert torch.equal(one.result()["frames"], features)
    assert torch.equal(grouped.result()["frames"], features)
    np.testing.assert_allclose(one.result()["video"], features.double().numpy().mean(0), rtol=1e-13)


def test_frame_mean_of_nothing_is_refused(small):
    with pytest.raises(ValueError, match="mean over no frames"):
        FrameMean(small.trunk, keep=True).result()
