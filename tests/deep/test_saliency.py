"""Score-CAM maps and the saliency feature against reference data, closed forms and their own plain versions."""

import dataclasses
import gc

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.support.golden import golden_arrays
from tests.support.networks_vgg import VGG_LAYER, SmallVGG, normalise, seeded_vgg16, small_vgg
from ugcvqa.deep import masking
from ugcvqa.deep.masking import unit_range, upsample
from ugcvqa.deep.saliency import MapMean, add_map, column_profile
from ugcvqa.deep.scorecam import SaliencyMaps, ScoreCAM, weighted_maps
from ugcvqa.deep.taps import tap
from ugcvqa.errors import ConfigError, WeightsError

TOLERANCE = {
    # largest absolute error, unless named otherwise; the second column of the reference data's own list
    "tiny.scores": 2e-5,
    "tiny.map": 2e-5,
    "tiny.logits": 1e-4,
    "tiny.act": 2e-5,
    "vgg.scores relative": 5e-4,
    "vgg.map": 1e-4,
    "vgg.map of stored scores": 1e-5,
    "vgg.logits": 1e-3,
    "vgg.act": 1e-4,
    "saliency224": 1e-5,
    "batching map": 2e-5,  # other batches, other memory bounds
    "batching scores": 2e-5,
    "bfloat16 map": 0.12,  # coarse: why it is no default
    "float16 map": 5e-3,
}


@pytest.fixture(scope="module")
def data():
    return golden_arrays("saliency_public")


@pytest.fixture(scope="module")
def vgg(data):
    return seeded_vgg16(data)


def cam_of(data, **settings):
    return ScoreCAM(*small_vgg(data), **settings)


def frame(data, name):
    return normalise(data[f"{name}.frame"][None])


def largest(found, expected):
    return float(np.nanmax(np.abs(np.asarray(found, np.float64) - expected)))


def on_host(result):
    return SaliencyMaps(**{field.name: getattr(result, field.name).cpu() for field in dataclasses.fields(result)})


def random_cam(seed=0, **settings):
    torch.manual_seed(seed)
    network = SmallVGG()
    return ScoreCAM(network, f"features.{len(network.features) - 1}", **settings)


@pytest.mark.parametrize("name", [f"tiny{index}" for index in range(5)])
def test_small_network_matches_reference(data, engine, name, there):
    requested = int(data[f"{name}.class_idx"])
    cam, frames = there(cam_of(data, engine=engine)), there(frame(data, name))
    result = on_host(cam(frames, None if requested < 0 else requested))
    with torch.inference_mode(), tap(cam.network, cam.layer) as found:
        cam.network(frames)
        assert largest(found.value[0].cpu(), data[f"{name}.act"]) <= TOLERANCE["tiny.act"]
    assert int(result.classes[0]) == data[f"{name}.class"]
    assert largest(result.logits[0], data[f"{name}.logits"]) <= TOLERANCE["tiny.logits"]
    skipped = np.isnan(data[f"{name}.scores"])
    assert skipped[[3, 7, 20]].all()
    np.testing.assert_array_equal(result.scores[0].isnan(), skipped)
    stable = data[f"{name}.stable"]
    assert largest(result.scores[0].numpy()[stable], data[f"{name}.scores"][stable]) <= TOLERANCE["tiny.scores"]
    assert largest(result.maps[0], data[f"{name}.map"]) <= TOLERANCE["tiny.map"]
    assert result.maps.dtype == torch.float32
    assert not result.is_empty.any()


@pytest.mark.parametrize("name", ["vgg0", "vgg1"])
def test_map_of_stored_scores_matches_reference(data, name, there):
    act, scores = (there(torch.from_numpy(data[f"{name}.{key}"])[None]) for key in ("act", "scores"))
    maps, is_empty = weighted_maps(act, scores, data[f"{name}.map"].shape)
    assert largest(maps[0].cpu(), data[f"{name}.map"]) <= TOLERANCE["vgg.map of stored scores"]
    assert not is_empty.any()


@pytest.mark.parametrize("name", ["vgg0", "vgg1"])
def test_twelve_channels_of_vgg16_match_reference(data, vgg, engine, name, there):
    cam = there(ScoreCAM(vgg, VGG_LAYER, method="top:12", engine=engine))
    result = on_host(cam(there(frame(data, name))))
    assert int(result.classes[0]) == data[f"{name}.class"]
    assert largest(result.logits[0], data[f"{name}.logits"]) <= TOLERANCE["vgg.logits"]
    scored = ~result.scores[0].isnan().numpy()
    assert scored.sum() == 12
    expected = data[f"{name}.scores"][scored]
    assert largest(result.scores[0].numpy()[scored] / expected, 1) <= TOLERANCE["vgg.scores relative"]


def test_dead_and_constant_channels_of_vgg16_are_skipped(data, vgg, there):
    cam = there(ScoreCAM(vgg, VGG_LAYER))
    with torch.inference_mode():
        _, activations = cam._first_pass(there(frame(data, "vgg1")))
        used = cam._channels(activations, (112, 112))
    assert largest(activations[0].cpu(), data["vgg1.act"]) <= TOLERANCE["vgg.act"]
    np.testing.assert_array_equal(used[0].cpu(), ~np.isnan(data["vgg1.scores"]))


@pytest.mark.slow
def test_all_channels_of_vgg16_match_reference(data, vgg, engine, there):
    result = on_host(there(ScoreCAM(vgg, VGG_LAYER, engine=engine))(there(frame(data, "vgg1"))))
    scored = ~np.isnan(data["vgg1.scores"])
    np.testing.assert_array_equal(~result.scores[0].isnan(), scored)
    ratio = result.scores[0].numpy()[scored] / data["vgg1.scores"][scored]
    assert largest(ratio, 1) <= TOLERANCE["vgg.scores relative"]
    assert largest(result.maps[0], data["vgg1.map"]) <= TOLERANCE["vgg.map"]


def test_feature_of_a_video_matches_reference(data, there):
    mean = MapMean()
    mean.add(there(torch.from_numpy(data["pool_maps"])), there(torch.zeros(3, dtype=torch.bool)))
    assert largest(mean.mean_map(), data["pool_mean_map"]) <= TOLERANCE["saliency224"]
    assert largest(mean.result(), data["saliency224"]) <= TOLERANCE["saliency224"]
    assert mean.result().dtype == torch.float64


def test_fusion_maps_match_reference(data, there):
    result = on_host(there(cam_of(data))(there(normalise(data["vsfasal_frames"]))))
    assert largest(result.maps, data["vsfasal_maps"]) <= TOLERANCE["tiny.map"]


def plain_score_cam(network, layer, frame):
    """The definition, one channel at a time, in float64: (map, scores)."""
    network, frame = network.double(), frame.double()
    with tap(network, layer) as found, torch.no_grad():
        logits = network(frame)
        activations = found.value[0]
    chosen, total, scores = int(logits.argmax()), torch.zeros(frame.shape[2:]).double(), []
    for activation in activations:
        up = functional.interpolate(activation[None, None], size=frame.shape[2:], mode="bilinear")[0, 0]
        if up.max() - up.min() <= 1e-6 * up.max():
            scores.append(float("nan"))
            continue
        with torch.no_grad():
            scores.append(float(network(frame * (up - up.min()) / (up.max() - up.min())).softmax(1)[0, chosen]))
        total += scores[-1] * up
    network.float()
    return (total - total.min()) / (total.max() - total.min()), scores


@pytest.mark.parametrize("size", [(64, 64), (53, 90), (17, 33)])
def test_map_equals_the_definition_at_any_size(engine, size):
    cam = random_cam(engine=engine)
    frames = torch.randn(1, 3, *size)
    result = cam(frames)
    expected, scores = plain_score_cam(cam.network, cam.layer, frames)
    assert largest(result.scores[0], np.array(scores)) <= TOLERANCE["tiny.scores"]
    assert largest(result.maps[0], expected.numpy()) <= TOLERANCE["tiny.map"]


def test_network_of_another_form_needs_no_shortcut(engine):
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 5)
    )
    frames = torch.randn(1, 3, 40, 48)
    result = ScoreCAM(network, "1", engine=engine)(frames)
    expected, _ = plain_score_cam(network, "1", frames)
    assert largest(result.maps[0], expected.numpy()) <= TOLERANCE["tiny.map"]


@pytest.mark.parametrize("memory_mib", [1, 3, 64])
def test_batches_and_memory_bound_do_not_change_results(data, memory_mib):
    frames = torch.cat([frame(data, "tiny0"), frame(data, "tiny4"), frame(data, "tiny0").flip(3)])
    expected = [cam_of(data)(one[None]) for one in frames]
    result = cam_of(data, memory_mib=memory_mib)(frames)
    for row, one in enumerate(expected):
        assert largest(result.maps[row], one.maps[0].numpy()) <= TOLERANCE["batching map"]
        assert largest(result.scores[row], one.scores[0].numpy()) <= TOLERANCE["batching scores"]
        torch.testing.assert_close(result.logits[row], one.logits[0], rtol=0, atol=0)


def test_result_does_not_depend_on_what_came_before(monkeypatch):
    masked, scored = masking.masked, []
    monkeypatch.setattr(masking, "masked", lambda *given: scored.append(len(given[2])) or masked(*given))
    frames = torch.randn(3, 3, 48, 48)
    fresh, used = random_cam()(frames[:2]), random_cam()
    for earlier in (frames[1:], frames[:1], frames.flip(3), torch.zeros(1, 3, 48, 48), torch.randn(2, 3, 64, 40)):
        used(earlier)
    scored.clear()
    again = used(frames[:2])
    assert sum(scored) == int((~again.scores.isnan()).sum())  # nothing is taken from an earlier call
    for name in ("maps", "scores", "logits"):
        # to rounding, which depends on where arrays lie in memory
        torch.testing.assert_close(getattr(again, name), getattr(fresh, name), rtol=1e-5, atol=1e-6, equal_nan=True)


def test_returned_maps_are_the_callers_to_change():
    cam, frames = random_cam(), torch.randn(1, 3, 48, 48)
    with torch.inference_mode():
        cam(frames).maps.zero_()
    assert cam(frames).maps.max() == 1


def test_dead_layer_gives_an_empty_map_beside_others():
    cam = random_cam()
    last = cam.network.features[-2]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(-1).view(-1)[3] = 0.25  # a constant channel is skipped like a dead one
    result = cam(torch.randn(2, 3, 64, 64))
    assert result.is_empty.all()
    assert not result.maps.any()
    assert result.scores.isnan().all()


def test_black_frames_pass():
    cam = random_cam()
    assert cam(torch.zeros(2, 3, 48, 48)).maps.isfinite().all()


def test_single_cell_activations_give_an_empty_map():
    result = random_cam()(torch.randn(1, 3, 16, 20))
    assert result.is_empty.all()
    assert result.maps.shape == (1, 16, 20)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(3, 64, 64), r"must be \(T, 3, H, W\)"),
        (torch.zeros(0, 3, 64, 64), "T >= 1"),
        (torch.zeros(1, 1, 64, 64), r"got \(1, 1, 64, 64\)"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "must be float32"),
        (torch.full((1, 3, 64, 64), torch.nan), "NaN"),
        (torch.zeros(1, 3, 9, 64), "64 x 9 pixels are too small"),
    ],
)
def test_bad_frames_are_refused(frames, message):
    with pytest.raises(ValueError, match=message):
        random_cam()(frames)


def test_bad_settings_are_refused():
    for settings in ({"precision": "float8"}, {"method": "fast"}, {"method": "top:0"}, {"method": "top:"}):
        with pytest.raises(ConfigError, match="is unknown; use"):
            random_cam(**settings)
    with pytest.raises(ConfigError, match=r"no layer 'features\.99' in SmallVGG"):
        ScoreCAM(SmallVGG(), "features.99")
    with pytest.raises(ConfigError, match="not maps"):
        ScoreCAM(SmallVGG(), "classifier.0")(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match=r"class 10 does not exist: the network has classes 0\.\.9"):
        random_cam()(torch.zeros(1, 3, 64, 64), 10)


def test_broken_weights_are_named():
    cam = random_cam()
    with torch.no_grad():
        cam.network.classifier[0].weight[0, 0] = torch.nan
    with pytest.raises(WeightsError, match="not finite"):
        cam(torch.randn(1, 3, 64, 64))


def test_hooks_are_released_even_after_an_error():
    cam = random_cam()
    cam(torch.randn(1, 3, 64, 64))
    with pytest.raises(ValueError, match="too small"):
        cam(torch.randn(1, 3, 8, 8))
    with pytest.raises(RuntimeError, match="stop"), tap(cam.network, cam.layer):
        raise RuntimeError("stop")
    assert not any(module._forward_hooks for module in cam.modules())


def test_nothing_accumulates_over_calls():
    cam = random_cam()
    counts = []
    for call in range(12):
        cam(torch.randn(2, 3, 48, 48))
        if call in (2, 11):
            gc.collect()
            counts.append(sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()))
    assert counts[0] == counts[1]


def test_state_holds_the_network_only_and_stays_frozen():
    cam = random_cam()
    cam(torch.randn(1, 3, 48, 48))
    assert list(cam.state_dict()) == [f"network.{name}" for name in SmallVGG().state_dict()]
    assert not cam.train().network.training
    assert not any(parameter.requires_grad for parameter in cam.parameters())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_touches_scores_only(data, engine, precision, there):
    if (engine, precision) == ("openvino", "float16"):
        pytest.skip("OpenVINO has no float16 on a CPU")
    exact, reduced = (
        on_host(there(cam_of(data, precision=name, engine=engine))(there(frame(data, "tiny0"))))
        for name in ("float32", precision)
    )
    torch.testing.assert_close(reduced.logits, exact.logits, rtol=0, atol=0)
    assert reduced.maps.dtype == reduced.scores.dtype == torch.float32
    assert 0 < largest(reduced.maps, exact.maps.numpy()) <= TOLERANCE[f"{precision} map"]


def test_top_channels_are_those_of_largest_mean(data):
    scores = cam_of(data, method="top:5")(frame(data, "tiny2")).scores[0]
    energy = np.where(np.isnan(data["tiny2.scores"]), -1, data["tiny2.act"].mean((1, 2)))
    best = np.sort(np.argsort(-energy)[:5])
    np.testing.assert_array_equal(np.flatnonzero(~scores.isnan()), best)
    assert largest(scores[best], data["tiny2.scores"][best]) <= TOLERANCE["tiny.scores"]


def test_half_scores_at_half_size_and_maps_at_full(data):
    result = cam_of(data, method="half")(frame(data, "tiny2"))
    assert result.maps.shape == (1, 224, 224)
    np.testing.assert_array_equal(result.scores[0].isnan(), np.isnan(data["tiny2.scores"]))
    assert largest(result.maps[0], data["tiny2.map"]) > TOLERANCE["tiny.map"]
    assert result.maps.max() == 1


def test_masks_use_the_range_of_the_enlarged_map():
    activations = torch.zeros(1, 14, 14)
    activations[0, 6, 6] = 1
    enlarged = upsample(activations, (224, 224))
    assert enlarged.max() < 1  # no pixel falls on the centre of a cell
    masks, is_flat = unit_range(torch.cat([enlarged, torch.full((1, 224, 224), 0.25)]))
    assert masks[0].max() == 1
    assert is_flat.tolist() == [False, True]
    assert not masks[1].any()


def test_mean_of_maps_does_not_depend_on_grouping():
    maps, empty = torch.rand(7, 6, 5), torch.zeros(7, dtype=torch.bool)
    maps[4], empty[4] = 0, True
    results = []
    for cuts in ([7], [1] * 7, [3, 4]):
        mean = MapMean()
        for part, flags in zip(maps.split(cuts), empty.split(cuts), strict=True):
            mean.add(part, flags)
        assert (mean.n_maps, mean.n_empty) == (7, 1)
        results.append(mean.result())
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    np.testing.assert_allclose(results[0], maps.double().numpy().mean((0, 1)), rtol=1e-14)


def test_column_profile_runs_from_left_to_right():
    ramp = torch.arange(5.0).expand(3, 5)
    torch.testing.assert_close(column_profile(ramp), torch.arange(5, dtype=torch.float64))


def test_map_is_added_to_each_channel():
    frames, maps = torch.randn(2, 3, 4, 5), torch.rand(2, 4, 5)
    result = add_map(frames, maps)
    for channel in range(3):
        torch.testing.assert_close(result[:, channel], frames[:, channel] + maps)


def test_feature_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="no saliency map"):
        MapMean().result()
    mean = MapMean()
    mean.add(torch.zeros(1, 4, 4), torch.ones(1, dtype=torch.bool))
    with pytest.raises(ValueError, match="follow maps"):
        mean.add(torch.zeros(1, 5, 4), torch.ones(1, dtype=torch.bool))
    with pytest.raises(ValueError, match="with T flags"):
        mean.add(torch.zeros(2, 4, 4), torch.ones(1, dtype=torch.bool))
    with pytest.raises(ValueError, match="do not match"):
        add_map(torch.zeros(2, 3, 4, 4), torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="mean map must be"):
        column_profile(torch.zeros(2, 4, 4))
