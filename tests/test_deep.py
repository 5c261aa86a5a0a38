import itertools

import numpy as np
import pytest
import torch
from networks import golden_resnet50
from torch import fx, nn
from torch.profiler import ProfilerActivity, profile

from ugcvqa.deep import pooling as deep
from ugcvqa.deep import precision as arithmetic_formats
from ugcvqa.deep.backbones import load_backbone
from ugcvqa.deep.banded import BandedBlock, BandedConv, in_bands
from ugcvqa.deep.fused import FusedConv, fuse_activations
from ugcvqa.deep.pooling import CNN, VSFA, FrameMean, mean_pool, mean_std_pool, normalise
from ugcvqa.errors import ConfigError, VideoError, WeightsError
from ugcvqa.media.imresize import imresize_to

# largest absolute errors; values are 0.6 to 2.5
TOLERANCE = 2e-4
BFLOAT16_ERROR, BFLOAT16_RELATIVE = 0.5, 0.1  # seeded weights amplify rounding
FLOAT16_ERROR, FLOAT16_RELATIVE = 0.12, 0.025
RESIZE_TIES = 0.03  # where the reference leaves 23 of 903168 samples to round-off, one level apart
GROUPING = 2e-4


@pytest.fixture(scope="module")
def archive(shared):
    with np.load(shared / "golden" / "deep_public.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def resnet50(archive):
    return golden_resnet50(archive)


@pytest.fixture(scope="module")
def vsfa(resnet50):
    return VSFA(resnet50)


@pytest.fixture(scope="module")
def cnn(resnet50):
    return CNN(resnet50)


@pytest.fixture(scope="module")
def small():
    return VSFA("resnet18", "random:0")


def planes(frames):
    """(T, H, W, 3) or (H, W, 3) -> (T, 3, H, W)"""
    stack = torch.from_numpy(frames if frames.ndim == 4 else frames[None])
    return stack.permute(0, 3, 1, 2).contiguous()


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def max_error(actual, expected):
    return float(np.abs(np.asarray(actual) - expected).max())


def test_vsfa_features_and_their_mean_match_the_reference(archive, vsfa):
    features = vsfa(planes(archive["frames"]))
    assert features.dtype == torch.float32
    assert max_error(features, archive["vsfa"]) < TOLERANCE
    mean = FrameMean()
    mean.add(features)
    assert max_error(mean.result(), archive["vsfacnn_video"]) < TOLERANCE


@pytest.mark.parametrize("name", ["odd", "small"])
def test_vsfa_features_match_the_reference_at_other_sizes(archive, vsfa, name):
    assert max_error(vsfa(planes(archive[f"frame_{name}"]))[0], archive[f"vsfa_{name}"]) < TOLERANCE


def test_vsfa_features_with_and_without_a_saliency_map_match_the_reference(shared, vsfa):
    with np.load(shared / "golden" / "saliency_public.npz") as file:
        frames, maps = planes(file["vsfasal_frames"]), torch.from_numpy(file["vsfasal_maps"])
        plain, salient, video = (file[f"vsfacnn_{name}"] for name in ("nosal", "saliency", "saliency_video"))
    features = vsfa.forward_normalised(normalise(frames) + maps[:, None])
    assert max_error(features, salient) < TOLERANCE
    assert max_error(features.double().mean(0), video) < TOLERANCE
    assert max_error(vsfa(frames), plain) < TOLERANCE


@pytest.mark.parametrize(
    ("precision", "error", "relative"),
    [("bfloat16", BFLOAT16_ERROR, BFLOAT16_RELATIVE), ("float16", FLOAT16_ERROR, FLOAT16_RELATIVE)],
)
def test_reduced_precision_is_near_the_reference(archive, resnet50, precision, error, relative):
    vsfa = VSFA(resnet50, precision=precision)
    frame = planes(archive["frame_odd"])
    cases = ((vsfa(frame)[0].numpy(), "vsfa_odd"), (CNN(vsfa.trunk)(frame)[0].numpy(), "cnn2048_odd"))
    for features, name in cases:
        assert max_error(features, archive[name]) < error
        assert np.linalg.norm(features - archive[name]) / np.linalg.norm(archive[name]) < relative


@pytest.mark.parametrize(("precision", "advice"), [("float16", "slower than float32"), ("tf32", "use bfloat16")])
def test_a_format_that_gains_nothing_on_a_cpu_says_so_once(caplog, precision, advice):
    arithmetic_formats._warn.cache_clear()
    network = VSFA("resnet18", "random:0", precision)
    caplog.clear()
    for _ in range(2):
        network(noise(1, 3, 32, 32))
    (record,) = caplog.records
    assert advice in record.getMessage()


def test_cnn_features_match_the_reference(archive, cnn):
    # frames as the reference resized them: ours differ from them in a few exact ties of rounding, by one level
    resized = planes(archive["imresize224"])
    features = cnn(resized)
    assert max_error(features, archive["cnn2048"]) < TOLERANCE
    assert max_error(features.double().mean(0), archive["cnn2048_video"]) < TOLERANCE
    assert max_error(cnn(planes(archive["frame_odd"]))[0], archive["cnn2048_odd"]) < TOLERANCE


def test_cnn_resizes_frames_of_full_size(archive, cnn):
    frames = planes(archive["frames"])
    features = cnn(frames)
    assert max_error(features, archive["cnn2048"]) < RESIZE_TIES
    assert max_error(features, cnn(imresize_to(frames, 224, 224)).numpy()) == 0


def test_algorithm_1_matches_the_reference_whole_and_as_scripted(archive, resnet50, cnn):
    frames = planes(archive["alg1_frames224"])
    assert max_error(cnn(frames), archive["alg1_proper"]) < TOLERANCE
    assert max_error(CNN(resnet50, skip_stem=True)(frames), archive["alg1_as_scripted"]) < TOLERANCE


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
    monkeypatch.setattr(deep, "_CPU_STEP_BYTES", 2 * size[0] * size[1] * deep._BYTES_PER_PIXEL)
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


def test_frames_too_small_for_the_network_are_named():
    network = VSFA("vgg11", "random:0")
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


def test_frames_of_another_size_free_the_ordered_kernels_and_change_no_value(small):
    frames, others = noise(2, 3, 224, 224), noise(1, 3, 480, 640, seed=1)
    convs = [module for module in small.trunk.layers.modules() if isinstance(module, FusedConv)]
    before = small(frames)
    assert any(conv._packed for conv in convs)
    small(others)
    kept = {shape for conv in convs for shape in conv._packed}
    assert torch.equal(small(frames), before)
    assert not kept & {shape for conv in convs for shape in conv._packed}


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "ceil_mode"), [(7, 2, 3, False), (3, 2, 0, True), (5, 1, 2, False)]
)
@pytest.mark.parametrize("height", [64, 67])
def test_first_maps_in_bands_are_the_whole_ones(monkeypatch, kernel, stride, padding, ceil_mode, height):
    conv = nn.Conv2d(3, 8, kernel, stride, padding).requires_grad_(False)
    pool = nn.MaxPool2d(3, 2, padding=0 if ceil_mode else 1, ceil_mode=ceil_mode)
    layers = fx.symbolic_trace(nn.Sequential(conv, nn.ReLU(), pool, nn.Conv2d(8, 4, 1)))
    frames = torch.randn(2, 3, height, 40, generator=torch.Generator().manual_seed(0))
    expected = layers(frames)
    banded = in_bands(fuse_activations(layers))
    monkeypatch.setattr("ugcvqa.deep.banded._BAND_PIXELS", 2 * 40 * 8)
    found = banded(frames.contiguous(memory_format=torch.channels_last))
    assert any(isinstance(module, BandedConv) for module in banded.modules())
    assert found.shape == expected.shape
    assert max_error(found.detach(), expected.detach().numpy()) < 1e-5


@pytest.mark.parametrize("width", [8, 128])  # the second by Winograd's filtering
@pytest.mark.parametrize(("stride", "height"), [(1, 37), (1, 32), (2, 37), (2, 36)])
@pytest.mark.parametrize("rows", [1, 2, 5, 12])
def test_blocks_in_bands_equal_the_whole(width, stride, height, rows):
    torch.manual_seed(height)
    plain = [
        nn.Conv2d(16, width, 1),
        nn.Conv2d(width, width, 3, stride, padding=1),
        nn.Conv2d(width, 24 if stride == 2 else 16, 1),
    ]
    convs = [FusedConv(conv.requires_grad_(False).to(memory_format=torch.channels_last)) for conv in plain]
    shortcut = nn.Conv2d(16, 24, 1, stride).requires_grad_(False) if stride == 2 else None
    x = torch.randn(1, 16, height, 80).contiguous(memory_format=torch.channels_last)
    residual = shortcut(x) if shortcut else x
    expected = (plain[2](plain[1](plain[0](x).relu()).relu()) + residual).relu()
    block = BandedBlock(*convs, FusedConv(shortcut, rectifies=False) if shortcut else None)
    found = torch.cat(list(block.stream(x.clone().split(rows, 2), height)), 2)
    assert found.shape == expected.shape
    assert max_error(found, expected.numpy()) < 1e-5 * float(expected.max())
    assert max_error(block(x.clone()), expected.numpy()) < 1e-5 * float(expected.max())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("height", "width"), [(200, 90), (131, 77)])
def test_chains_of_blocks_in_bands_equal_the_whole(monkeypatch, height, width, precision):
    trunk = VSFA("resnet50", "random:0", precision).trunk._maps
    tolerance = {"float32": 1e-5, "bfloat16": 0.05}[precision]
    frames = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    frames = frames.contiguous(memory_format=torch.channels_last)
    expected = trunk(frames)
    monkeypatch.setattr("ugcvqa.deep.banded._BAND_PIXELS", 2 * 24 * width)
    monkeypatch.setattr("ugcvqa.deep.banded._BLOCK_BAND_BYTES", 4 * 64 * width)
    for least in (0, 4 * 300 * (height // 8) * (width // 8)):  # all blocks, and the first few
        monkeypatch.setattr("ugcvqa.deep.banded._LARGE_MAP_BYTES", least)
        assert max_error(trunk(frames).float(), expected.float().numpy()) < tolerance * float(expected.max())


def test_large_maps_never_lie_in_memory_as_a_whole():
    # the first stage's maps of these frames take 68 MB, the whole of them several times that
    trunk = VSFA("resnet50", "random:0").trunk.layers
    frame = torch.randn(1, 3, 776, 1376).contiguous(memory_format=torch.channels_last)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record, torch.inference_mode():
        trunk(frame)
    sizes = [event.nbytes() for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert max(sizes) < 40e6
    assert max(itertools.accumulate(sizes)) < 150e6


def test_bottlenecks_of_a_resnet_work_in_bands():
    trunk = VSFA("resnet50", "random:0").trunk.layers
    assert sum(isinstance(module, BandedBlock) for module in trunk.modules()) == 16


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


def test_frame_mean_does_not_depend_on_grouping():
    features = torch.randn(23, 7, generator=torch.Generator().manual_seed(3)) * 1e3
    one, grouped = FrameMean(keep=True), FrameMean(keep=True)
    for row in features:
        one.add(row)
    for part in features.split(5):
        grouped.add(part)
    assert torch.equal(one.result(), grouped.result())
    assert torch.equal(one.sequence(), features)
    assert torch.equal(grouped.sequence(), features)
    np.testing.assert_allclose(one.result(), features.double().numpy().mean(0), rtol=1e-13)


def test_frame_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match="mean over no frames"):
        FrameMean().result()
    with pytest.raises(ValueError, match="were kept"):
        FrameMean().sequence()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    ("precision", "relative"), [("float32", 1e-5), ("tf32", 5e-3), ("bfloat16", BFLOAT16_RELATIVE)]
)
def test_gpu_matches_the_reference(archive, resnet50, precision, relative):
    features = VSFA(resnet50, precision=precision).cuda()(planes(archive["frames"]).cuda()).cpu().numpy()
    assert np.linalg.norm(features - archive["vsfa"]) / np.linalg.norm(archive["vsfa"]) < relative
    if precision == "float32":
        assert max_error(features, archive["vsfa"]) < 1e-3


def test_without_one_pass_operators_the_plain_layers_give_the_same(monkeypatch):
    network, frames = VSFA("resnet18", "random:0"), torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    fast = network(frames)
    monkeypatch.setattr("ugcvqa.deep.fused._has_one_pass", lambda: False)
    torch.testing.assert_close(network(frames), fast, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "has_bias"), [((1, 45, 80), True), ((3, 14, 15), True), ((5, 28, 28), False)])
def test_tiles_in_several_steps_give_the_plain_convolution(size, has_bias):
    n, height, width = size
    conv = nn.Conv2d(128, 160, 3, padding=1, bias=has_bias).requires_grad_(False)
    maps = torch.randn(n, 128, height, width).contiguous(memory_format=torch.channels_last)
    layer = FusedConv(conv)
    for _ in range(2):  # the second time with kernels that were kept
        torch.testing.assert_close(layer(maps), conv(maps).relu(), rtol=1e-4, atol=1e-4)
    assert layer._tiled is not None


def test_a_convolution_without_activation_stays_linear():
    network = fuse_activations(fx.symbolic_trace(nn.Sequential(nn.Conv2d(8, 16, 1, stride=2)).eval()))
    maps = torch.randn(2, 8, 7, 9)
    found = network.get_submodule("0")
    assert isinstance(found, FusedConv)
    with torch.inference_mode():
        torch.testing.assert_close(network(maps), found.conv(maps), rtol=1e-5, atol=1e-5)
    assert network(maps).min() < 0
