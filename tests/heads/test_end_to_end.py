"""The end-to-end network: same numbers as the frozen path, safe gradients, frozen parts, memory-saving passes."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ugcvqa.deep.backbones import load_backbone
from ugcvqa.deep.imagenet import normalise
from ugcvqa.deep.pooling import VSFA, mean_std_pool
from ugcvqa.errors import ConfigError
from ugcvqa.heads.end_to_end import Backbone, EndToEnd, calibrate_batchnorm, mean_std_with_gradient
from ugcvqa.heads.gru import VSFAHead


def pictures(count=4, side=64, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), np.uint8))


def build(name="resnet18", **settings):
    backbone = Backbone(load_backbone(name, "random:1"), name, **settings)
    torch.manual_seed(0)
    return EndToEnd(backbone, VSFAHead(2 * backbone.width, 8, 6, tau=2))


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v3_small"])
def test_features_equal_those_of_the_frozen_path(name):
    network = load_backbone(name, "random:1")
    frozen = VSFA(copy.deepcopy(network))(pictures())
    features = build(name).features(pictures())
    torch.testing.assert_close(features, frozen, rtol=2e-4, atol=2e-4)


def test_pooling_equals_the_frozen_path_and_has_a_finite_gradient_in_dead_channels():
    maps = torch.randn(2, 5, 3, 4).relu()
    maps[:, 1] = 0
    maps[:, 2] = 0.25
    maps.requires_grad_()
    pooled = mean_std_with_gradient(maps)
    torch.testing.assert_close(pooled, mean_std_pool(maps), rtol=1e-6, atol=1e-6)
    pooled.sum().backward()
    assert torch.isfinite(maps.grad).all()
    assert (mean_std_with_gradient(torch.ones(1, 3, 1, 1))[0] == torch.tensor([1.0, 1, 1, 0, 0, 0])).all()


def test_pooling_has_the_right_gradient():
    maps = torch.randn(1, 3, 2, 2)
    weight = torch.randn(1, 6)
    exact = maps.double().requires_grad_()
    (torch.cat([exact.mean((2, 3)), exact.flatten(2).std(2)], 1) * weight).sum().backward()
    ours = maps.clone().requires_grad_()
    (mean_std_with_gradient(ours) * weight).sum().backward()
    torch.testing.assert_close(ours.grad, exact.grad.float(), rtol=1e-5, atol=1e-6)


def test_first_stages_alone_give_their_own_maps():
    network = load_backbone("resnet18", "random:1")
    maps = network.layer1(network.maxpool(network.relu(network.bn1(network.conv1(normalise(pictures()))))))
    model = build(stages=2)
    assert model.backbone.width == 64
    torch.testing.assert_close(model.features(pictures()), mean_std_pool(maps), rtol=2e-4, atol=2e-4)


def test_gradient_reaches_the_first_layer_and_stops_at_frozen_stages():
    model = build().train()
    model(pictures(), (2, 2)).sum().backward()
    assert model.backbone.stages[0][0].weight.grad.abs().sum() > 0
    frozen = build(frozen_stages=3).train()
    frozen(pictures(), (2, 2)).sum().backward()
    parts = {name.split(".")[2] for name, p in frozen.named_parameters() if p.grad is not None and "stages" in name}
    assert parts == {"3", "4"}


def test_batch_normalisation_stays_as_it_is():
    model = build().train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    model(pictures(), (4,)).sum().backward()
    assert not any(norm.training or norm.weight.requires_grad for norm in norms)
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))
    assert model.head.training


def test_recomputed_stages_give_the_same_gradients():
    grads = []
    for checkpointing in (False, True):
        model = build(checkpointing=checkpointing, frozen_stages=1).train()
        model(pictures(), (1, 3)).sum().backward()
        grads.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(grads[0]) == len(grads[1]) > 10
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in zip(*grads, strict=True))


def test_calibration_gives_every_normalisation_the_statistics_of_the_frames():
    model = build()
    calibrate_batchnorm(model.backbone, pictures(8))
    seen = []
    hooks = [
        module.register_forward_hook(lambda _, __, out: seen.append((out.mean().item(), out.std().item())))
        for module in model.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    with torch.no_grad():
        model.features(pictures(8))
    assert len(hooks) == len(seen) == 20
    np.testing.assert_allclose(seen, [(0, 1)] * 20, atol=0.1)


def test_scores_of_a_video_do_not_depend_on_its_neighbours():
    model = build().eval()
    with torch.no_grad():
        together = model(pictures(5), (2, 3))
        alone = torch.cat([model(pictures(5)[:2], (2,)), model(pictures(5)[2:], (3,))])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_unusable_backbones_are_named():
    with pytest.raises(ConfigError, match="joined by more than a chain"):
        build("densenet121")
    with pytest.raises(ConfigError, match="has 5 stages: 9 cannot be frozen"):
        build(frozen_stages=9)
    with pytest.raises(ConfigError, match="has 5 stages: 6 cannot be used"):
        build(stages=6)
