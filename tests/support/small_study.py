"""The saliency study on a small network, which PyTorch computes (OpenVINO takes seconds to begin), and its videos."""

import numpy as np
import torch

from tests.support.networks_vgg import SmallVGG
from ugcvqa.deep.pooling import CNN
from ugcvqa.deep.saliency import KnownMaps
from ugcvqa.deep.scorecam import ScoreCAM
from ugcvqa.features.network_families import SaliencyFamily
from ugcvqa.settings.features import FamilySettings, SaliencySettings
from ugcvqa.studies.frames import NetworkFacts, StudyDeep, StudyMaps, StudyNetworks

SMALL = (4, "M", 6, "M", 8, "M", 8, "M", 40)


def small_network(dead=False):
    torch.manual_seed(0)
    network = SmallVGG(SMALL).eval()
    if dead:
        network.features[-2].bias.data.fill_(-1000.0)
    return network


def small_study(_settings=None, network="complete", limit=2, dead=False):
    """The study's families on a small network."""
    values = FamilySettings(
        saliency=SaliencySettings("small", "features.13", "random:0", method="top:2", keep_maps=True)
    )
    vgg = small_network(dead)
    cam = ScoreCAM(vgg, f"features.{len(vgg.features) - 1}", method="top:2", engine="torch")
    saliency = SaliencyFamily(values, cam, "", KnownMaps())
    deep = StudyDeep(CNN(small_network(), engine="torch"), {"backbone": "small"}, limit)
    facts = (
        NetworkFacts("deep features", "small", "random:0", deep.spec.weights, "as published" * (network != "complete")),
        NetworkFacts("saliency", "small", "random:0", saliency.spec.weights),
    )
    return StudyNetworks(saliency, StudyMaps(saliency, limit), deep, facts)


def moving(seed, count, height=48, width=64, grey=False):
    random = np.random.default_rng(seed)
    field = random.integers(0, 256, (height, width + 4 * count, 1 if grey else 3), dtype=np.uint8)
    field = np.repeat(field, 3, 2) if grey else field
    return (field[:, 4 * k : 4 * k + width] for k in range(count))
