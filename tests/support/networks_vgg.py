"""The networks of the saliency reference data, rebuilt: a seeded VGG-16 and a small network of stored weights."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

VGG_LAYER = "features.29"


def normalise(frames):
    """(T, H, W, 3) uint8 as stored -> (T, 3, H, W) float32, ImageNet-normalised."""
    mean = torch.tensor((0.485, 0.456, 0.406)).reshape(3, 1, 1)
    std = torch.tensor((0.229, 0.224, 0.225)).reshape(3, 1, 1)
    return (torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2) / 255 - mean) / std


class SmallVGG(nn.Module):
    """VGG in small: `features`, average pool to 2 x 2, two linear layers."""

    def __init__(self, widths=(8, "M", 16, "M", 24, "M", 32, "M", 48, 48), n_classes=10):
        super().__init__()
        layers, channels = [], 3
        for width in widths:
            if width == "M":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, int(width), 3, padding=1), nn.ReLU(inplace=True)]
                channels = int(width)
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(nn.Linear(4 * channels, 24), nn.ReLU(inplace=True), nn.Linear(24, n_classes))

    def forward(self, frames):
        return self.classifier(self.avgpool(self.features(frames)).flatten(1))


def small_vgg(data):
    """The small network of the reference data and the name of its target layer."""
    network = SmallVGG(tuple(data["tiny.cfg"]))
    network.load_state_dict(
        {name[5:]: torch.from_numpy(data[name]) for name in data if name.startswith(("tiny.f", "tiny.classifier."))}
    )
    return network.eval(), f"features.{len(network.features) - 1}"


def seeded_vgg16(data):
    """VGG-16 of the reference data; skips where seeds give other numbers."""
    torch.manual_seed(int(data["vgg.seed"]))
    network = torchvision.models.vgg16(weights=None)
    for row, name in enumerate(data["vgg.ck_names"]):
        weight = network.get_parameter(name).detach()
        if abs(float(weight.double().sum()) - data["vgg.ck_sum"][row]) > 1e-6 * data["vgg.ck_abs"][row]:
            pytest.skip("this build of torch draws other numbers from the seed of the reference VGG-16")
    with torch.no_grad():
        for name, layer in network.named_modules():
            if f"vgg.{name}.scale" in data:
                scale = torch.from_numpy(data[f"vgg.{name}.scale"])
                layer.weight *= scale.reshape(-1, 1, 1, 1) if scale.ndim else scale
                layer.bias.copy_(torch.from_numpy(data[f"vgg.{name}.bias"]))
    return network.eval()
