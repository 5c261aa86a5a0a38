"""The seeded ResNet-50 of the reference features."""

import numpy as np
import pytest
import torch
import torchvision


def golden_resnet50(archive):
    """Rebuilds the network of `deep_public.npz`, or skips where seeding gives other numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(archive["seed"]))
        network = torchvision.models.resnet50(weights=None)
    weights = dict(network.named_parameters())
    names = [str(name) for name in archive["ck_names"]]
    sums = np.array([weights[name].detach().double().sum() for name in names])
    absolute = np.array([weights[name].detach().double().abs().sum() for name in names])
    first = np.stack([weights[name].detach().flatten()[:4].numpy() for name in names])
    is_same = (
        np.allclose(sums, archive["ck_sum"], rtol=1e-6, atol=1e-6)
        and np.allclose(absolute, archive["ck_abs"], rtol=1e-6)
        and np.allclose(first, archive["ck_first4"], rtol=1e-6)
    )
    if not is_same:
        pytest.skip("seeded weights differ on this platform, so the reference network cannot be rebuilt")
    start = 0
    modules = dict(network.named_modules())
    for name, size in zip(archive["bn_names"], archive["bn_size"], strict=True):
        norm = modules[str(name)]
        norm.running_mean = torch.from_numpy(archive["bn_mean"][start : start + size]).clone()
        norm.running_var = torch.from_numpy(archive["bn_var"][start : start + size]).clone()
        start += int(size)
    return network.eval().requires_grad_(False)
