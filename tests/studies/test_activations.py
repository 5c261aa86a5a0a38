"""Activations: order of the layers, the strongest channel, what an in-place activation leaves."""

import pytest
import torch
from torch import nn

from tests.support.golden import golden_arrays
from tests.support.networks_vgg import SmallVGG, normalise, seeded_vgg16
from ugcvqa.deep.backbones import load_backbone
from ugcvqa.studies.activations import FIRST_CHANNELS, layer_activations


class Crossed(nn.Module):
    """Two convolutions that run in another order than they are listed."""

    def __init__(self):
        super().__init__()
        self.later, self.sooner = nn.Conv2d(70, 2, 1), nn.Conv2d(3, 70, 3)

    def forward(self, frames):
        return self.later(self.sooner(frames))


def test_layers_come_in_the_order_in_which_they_run():
    found = layer_activations(Crossed().eval(), torch.rand(1, 3, 8, 8))
    assert [layer.layer for layer in found] == ["sooner", "later"]
    assert [layer.n_channels for layer in found] == [70, 2]
    assert [tuple(layer.first_maps.shape) for layer in found] == [(FIRST_CHANNELS, 6, 6), (2, 6, 6)]


def test_strongest_channel_is_that_of_the_largest_mean_not_of_the_largest_peak():
    network = nn.Conv2d(3, 3, 1, bias=False).eval()
    network.weight.data = torch.eye(3)[:, :, None, None]
    frame = torch.zeros(1, 3, 4, 4)
    frame[0, 0, 0, 0], frame[0, 1], frame[0, 2] = 9.0, 1.0, 0.5
    layer = layer_activations(network, frame)[0]
    assert layer.strongest == 1
    assert torch.equal(layer.strongest_map, frame[0, 1])


def test_values_are_those_that_an_activation_in_place_leaves():
    torch.manual_seed(0)
    frame = torch.randn(1, 3, 6, 6)
    conv = nn.Conv2d(3, 4, 3)
    behind, before = (layer_activations(nn.Sequential(conv, nn.ReLU(flag)).eval(), frame)[0] for flag in (True, False))
    assert behind.is_after_activation
    assert not before.is_after_activation
    assert torch.equal(behind.first_maps, before.first_maps.relu())


@pytest.mark.slow
def test_vgg16_has_the_reference_channels():
    data = golden_arrays("saliency_public")
    found = layer_activations(seeded_vgg16(data), normalise(data["vgg0.frame"][None]))
    assert [layer.layer for layer in found] == data["vgg_maxchan_layers"].tolist()
    assert [layer.strongest for layer in found] == data["vgg_maxchan_post"].tolist()


def test_resnet_shows_its_convolutions_themselves_in_network_order():
    network = load_backbone("resnet18", "random:0")
    found = layer_activations(network, torch.rand(1, 3, 64, 64))
    names = [layer.layer for layer in found]
    assert names[:3] == ["conv1", "layer1.0.conv1", "layer1.0.conv2"]
    assert names[5:8] == ["layer2.0.conv1", "layer2.0.conv2", "layer2.0.downsample.0"]
    assert len(names) == 20
    assert not any(layer.is_after_activation for layer in found)


def test_convolutions_of_a_single_position_are_left_out():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1)).eval()
    assert [layer.layer for layer in layer_activations(network, torch.rand(1, 3, 8, 8))] == ["0"]


def test_hooks_are_gone_afterwards():
    network = SmallVGG().eval()
    layer_activations(network, torch.rand(1, 3, 64, 64))
    assert not any(module._forward_hooks for module in network.modules())


def test_more_than_one_frame_is_refused():
    with pytest.raises(ValueError, match="one frame"):
        layer_activations(SmallVGG(), torch.rand(2, 3, 64, 64))
