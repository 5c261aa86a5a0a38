"""Known answers of every kind of model, with small or seeded weights: they show that an installation computes.

Source: own. The stored numbers come from plain NumPy for the heads, from torchvision's own layers for the networks,
of this package for UVQ, whose networks with the same seeded weights meet the reference code, and of the package
efficientnet_lite_pytorch in float64 for EfficientNet-Lite0 with its real weights.
"""

from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ugcvqa.deep.backbones import empty_backbone, load_backbone
from ugcvqa.deep.imagenet import normalise
from ugcvqa.deep.pooling import CNN, VSFA
from ugcvqa.deep.scorecam import ScoreCAM
from ugcvqa.devices import float32_products
from ugcvqa.errors import UgcvqaError
from ugcvqa.evaluation.metrics import Logistic
from ugcvqa.heads.end_to_end import Backbone, EndToEnd
from ugcvqa.heads.gp import FittedGP
from ugcvqa.heads.gru import VSFAHead
from ugcvqa.heads.kernels import Kernel
from ugcvqa.heads.parts import GPPart
from ugcvqa.heads.svr import FittedSVR
from ugcvqa.uvq.networks import UVQ10, UVQ15
from ugcvqa.uvq.weights import load_weights

_SVR = (0.466768967, 0.173918911, 0.279805578)
_GP = (1.86217358, 1.81693311, 1.85201598, 0.515556766, 0.50956172, 0.525691341)
_GRU = (-1.07154238, -1.14564681)
_CNN = (0.0873100244, 0.129127594, 0.615931809, -0.0308687448)
_VSFA = (0.0489921131, 0.0920260602, 0.608218312, -0.0220627207)
_END_TO_END = (-0.0107054561, -0.0143502876)
_EFFICIENTNET_LITE = (-0.0135783309, 0.515986495, 1.86001145, 0.00411304126)
_SALIENCY = (0.527497848, 0.589710805, 1.0, -0.731856447)
_UVQ = {
    "uvq": (0.0155576448, -0.657236028, -72.7367416, 0.0794380069, 20.1150347, 84.9996948, -96.2852554),
    "uvq1.5": (4.90142012,),
}
_IDENTITY = Logistic(0.0, 0.0, 0.0, 0.0, is_identity=True)


def uniform(*shape: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """Gives numbers in -1..1 that are the same everywhere, as NumPy never changes this generator."""
    return 2 * np.random.RandomState(seed).random_sample(shape) - 1


def picture(*shape: int) -> Tensor:
    """Gives uint8 frames of smooth blobs, the same everywhere."""
    coarse = uniform(*shape[:-2], shape[-2] // 16, shape[-1] // 16, seed=1)
    return torch.from_numpy((127.5 + 127 * coarse.repeat(16, -2).repeat(16, -1)).astype(np.uint8))


@torch.no_grad()
def fill(network: nn.Module) -> nn.Module:
    """Gives a network weights that let it react to its input, the same everywhere.

    Args:
        network: convolutions, linear maps, batch normalisations and GRUs.

    Returns:
        The network, frozen and in evaluation mode.
    """
    for number, (name, tensor) in enumerate(network.state_dict().items()):
        if not tensor.is_floating_point():
            continue
        values = torch.from_numpy(uniform(*tensor.shape, seed=number))
        if tensor.ndim > 1:
            values *= (6 / tensor[0].numel()) ** 0.5
        elif name.endswith("running_var"):
            values = 1 + values.abs()
        elif name.endswith("weight"):
            values = 0.5 + 0.2 * values
        else:
            values *= 0.1
        tensor.copy_(values)
    return network.eval().requires_grad_(False)


def svr_head() -> FittedSVR:
    """Makes an SVR head of five support vectors and four columns."""
    return FittedSVR(
        minimum=np.full(4, -1.0),
        span=np.array([2.0, 2.0, 0.0, 1.5]),
        support_vectors=uniform(5, 4),
        dual_coef=2 * uniform(5, seed=1),
        intercept=3.0,
        gamma=0.5,
        C=2.0,
        logistic=_IDENTITY,
    )


def gp_head() -> FittedGP:
    """Makes a Gaussian process of six training videos and two parts."""
    return FittedGP(
        parts=(GPPart("a/x", 0, 3, "root"), GPPart("b/y", 3, 5, "root")),
        tables=(np.empty((0, 3), np.float32), np.empty((0, 2), np.float32)),
        values=uniform(6, 5).astype(np.float32),
        unit_distances=np.array([1.5, 0.8]),
        kernel=Kernel(0.2, np.array([0.7, 0.4]), np.array([1.0, 3.0]), np.array([[1.0, 0.0], [0.0, 1.0]])),
        noise=0.3,
        coefficients=uniform(6, seed=1),
        mos_mean=3.2,
        mos_deviation=0.6,
        logistic=_IDENTITY,
    )


def check_svr() -> str:
    """Compares predictions of a support vector regression.

    Returns:
        What was found.

    Raises:
        UgcvqaError: if they differ.
    """
    return _met("the SVR head", svr_head().predict(uniform(3, 4, seed=2)), _SVR, 1e-9)


def check_gp() -> str:
    """Compares predictions and deviations of a Gaussian process; as `check_svr`."""
    pred, std = gp_head().predict_with_std(np.abs(uniform(3, 5, seed=2)))
    return _met("the Gaussian process", [*pred, *std], _GP, 1e-6)


@float32_products()
@torch.no_grad()
def check_gru(device: str = "cpu") -> str:
    """Compares scores of VSFA's head for two videos of different lengths, computed on a device; as `check_svr`."""
    head = cast(VSFAHead, fill(VSFAHead(input_dim=12, reduced_dim=6, hidden_dim=4, tau=3))).to(device)
    frames = torch.from_numpy(uniform(9, 12, seed=2)).float().to(device)
    return _met("the GRU head", head(frames, [5, 4]).tolist(), _GRU, 1e-4)


@float32_products()
@torch.no_grad()
def check_resnet(device: str = "cpu") -> str:
    """Compares rows CNN and VSFACNN and an end-to-end model, with a ResNet-50 of seeded weights; as `check_gru`."""
    network, frames = fill(empty_backbone("resnet50")), picture(2, 3, 96, 128).to(device)
    cnn, vsfa = CNN(network).to(device)(frames), VSFA(network).to(device)(frames)
    head = cast(VSFAHead, fill(VSFAHead(input_dim=4096, reduced_dim=8, hidden_dim=4)))
    scores = EndToEnd(Backbone(network, "resnet50"), head).eval().to(device)(frames, [1, 1])
    found = [
        _met("row CNN", picks(cnn), _CNN, 1e-3),
        _met("row VSFACNN", picks(vsfa), _VSFA, 1e-3),
        _met("the end-to-end model", scores.tolist(), _END_TO_END, 1e-3),
    ]
    return f"CNN, VSFACNN, end to end: {'; '.join(found)}"


@float32_products()
@torch.no_grad()
def check_efficientnet_lite(device: str = "cpu") -> str:
    """Compares class scores of EfficientNet-Lite0 with its real weights; as `check_gru`."""
    network = load_backbone("efficientnet_lite0", "IMAGENET1K_V1").to(device)
    scores = network(normalise(picture(1, 3, 96, 128).to(device)))
    return f"{_met('class scores', picks(scores), _EFFICIENTNET_LITE, 1e-3)} from another program"


def check_saliency(device: str = "cpu") -> str:
    """Compares a Score-CAM map of two channels, with a VGG-16 of seeded weights; as `check_gru`."""
    network = empty_backbone("vgg16")
    network.classifier = nn.Linear(25088, 10)  # the real one has 120 million weights more
    cam = ScoreCAM(fill(network), "features.29", method="top:2").to(device)
    return _met("Score-CAM", picks(cam(normalise(picture(1, 3, 96, 128).to(device))).maps), _SALIENCY, 1e-3)


def check_uvq_networks(version: Literal["uvq", "uvq1.5"], device: str = "cpu") -> str:
    """Compares scores of UVQ with seeded weights for one second of video; as `check_gru`."""
    if version == "uvq":
        network = UVQ10(load_weights("uvq10", "random:0")).to(device)
        scores = network(picture(1, 5, 3, 720, 1280).to(device), picture(1, 3, 496, 496).to(device)).scores
    else:
        frames = picture(1, 3, 1088, 1920)[:, :, :1080].to(device)
        scores = UVQ15(load_weights("uvq15", "random:0")).to(device)(frames).scores
    return _met(f"{version} with seeded weights", scores.flatten().tolist(), _UVQ[version], 1e-3)


def picks(values: Tensor) -> list[float]:
    """A few numbers of a tensor: its mean, root mean square, maximum, and a sum that depends on the order."""
    flat = values.double().cpu().flatten()
    places = torch.from_numpy(uniform(len(flat), seed=3))
    return [float(x) for x in (flat.mean(), flat.square().mean().sqrt(), flat.max(), flat @ places / len(flat) ** 0.5)]


def _met(name: str, found: Sequence[float] | npt.NDArray[np.float64], known: Sequence[float], tolerance: float) -> str:
    """Compares numbers with known ones, relative to the largest of them."""
    scale = max(map(abs, known))
    worst = float(np.abs(np.subtract(found, known)).max()) / scale
    if not worst <= tolerance:
        raise UgcvqaError(
            f"{name} gives other numbers than it should, by {worst:.1e} of {scale:.3g}; reinstall PyTorch"
        )
    return f"{len(known)} numbers within {worst:.0e}"
