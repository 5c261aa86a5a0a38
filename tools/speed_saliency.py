"""Compares CPU time and results of Score-CAM with the originals' way of working, one channel per forward pass.

    python tools/speed_saliency.py [--size 112] [--channels 24] [--frames 2]

One thread, CPU seconds, one run; only the ratios carry over to other machines. The network is VGG-16 with seeded
weights, adjusted so that its last maps are as sparse and its class scores as spread as a trained network's. All but
a few channels of the target layer are switched off, which changes the number of passes and not the cost of one.
Errors of the reduced and approximate modes depend on the weights: random ones are a hard case.
"""

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.deep.saliency import column_profile
from ugcvqa.deep.scorecam import PRECISIONS, ScoreCAM

LAYER = "features.29"
Values = NDArray[np.float64]
Result = TypeVar("Result")
MODES = [
    *(("exact", precision) for precision in PRECISIONS if precision != "tf32"),
    ("half", "float32"),
    ("top:{half}", "float32"),
    ("top:{fourth}", "float32"),
]


def textured_frames(n: int, size: int, seed: int) -> Tensor:
    """Random normalised frames (n, 3, size, size) with structure at several scales."""
    random = torch.Generator().manual_seed(seed)
    total = 0.3 * torch.randn(n, 3, size, size, generator=random)
    for cells, strength in ((3, 1.0), (9, 0.7), (27, 0.4)):
        coarse = torch.randn(n, 3, cells, cells, generator=random)
        total += strength * functional.interpolate(coarse, size=(size, size), mode="bicubic")
    return total


def centre(conv: Any, maps: Tensor) -> None:  # noqa: ANN401 - a convolution whose bias is there
    """Gives each output channel mean 0 and deviation 1 over these input maps."""
    conv.bias.zero_()
    spread, mean = torch.std_mean(conv(maps), dim=(0, 2, 3))
    conv.weight /= spread[:, None, None, None]
    conv.bias.copy_(-mean / spread)


@torch.no_grad()
def calibrated_vgg16(frames: Tensor, n_channels: int) -> Any:  # noqa: ANN401 - a torchvision network, which has no types
    """Builds a seeded VGG-16 with centred channels of unit spread, of which the last layer keeps a few.

    Args:
        frames: (n, 3, H, W) normalised; the statistics are taken on them.
        n_channels: channels of the last convolution that stay alive, evenly spread.
    """
    torch.manual_seed(2308)
    network = torchvision.models.vgg16(weights=None).eval()
    maps = frames
    for index, layer in enumerate(network.features):
        if isinstance(layer, nn.Conv2d):
            centre(layer, maps)
        if index == 28:
            alive = torch.linspace(0, len(layer.bias) - 1, n_channels).long()
            dead = torch.ones_like(layer.bias).index_fill_(0, alive, 0)
            layer.bias -= 1 + 1000 * dead  # one deviation lower: five cells in six are zero
        maps = layer(maps)
    values = network.avgpool(maps).flatten(1)
    for layer in network.classifier:
        if isinstance(layer, nn.Linear):
            layer.bias.zero_()
            spread = layer(values).std()
            layer.weight *= (1.5 if layer.out_features == 1000 else 1) / spread
        values = layer(values)
    return network


@torch.no_grad()
def original(network: Any, frames: Tensor) -> tuple[Values, Values]:  # noqa: ANN401
    """The originals' way without their unused backward pass: scores (T, K) and maps (T, H, W)."""
    all_scores: list[list[float]] = []
    all_maps: list[Values] = []
    for frame in frames.split(1):
        activations = network.features[:30](frame)
        chosen = int(network(frame).argmax())
        total, scores = torch.zeros(frame.shape[2:]), list[float]()
        for channel in range(activations.shape[1]):
            up = functional.interpolate(activations[:, channel : channel + 1], size=frame.shape[2:], mode="bilinear")
            if up.max() == up.min():
                scores.append(torch.nan)
                continue
            mask = (up - up.min()) / (up.max() - up.min())
            scores.append(float(network(frame * mask).softmax(1)[0, chosen]))
            total += scores[-1] * up[0, 0]
        all_scores.append(scores)
        all_maps.append(((total - total.min()) / (total.max() - total.min())).double().numpy())
    return np.array(all_scores), np.array(all_maps)


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Processor seconds of one call, and its result."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def report(size: int, n_channels: int, n_frames: int) -> list[str]:
    """Measures everything in one run.

    Returns:
        The lines of a table: mode, precision, processor seconds, ratio to the original way, largest relative error
        of a score, largest absolute errors of map and column vector, SRCC of the vectors.
    """
    frames = textured_frames(n_frames, size, seed=1)
    network = calibrated_vgg16(frames, n_channels)
    with torch.no_grad():
        network(frames[:1])
    slow, (scores, maps) = timed(lambda: original(network, frames))
    vectors = maps.mean(1)
    head = f"{'mode':10}{'precision':>10}{'CPU s':>9}{'ratio':>7}{'score rel':>11}{'map':>10}{'vector':>10}{'SRCC':>8}"
    lines = [head, f"{'original':10}{'float32':>10}{slow:9.2f}{1:7.2f}"]
    for mode, precision in MODES:
        method = mode.format(half=n_channels // 2, fourth=n_channels // 4)
        cam = ScoreCAM(network, LAYER, precision=precision, method=method)
        cam(frames[:1].flip(3))  # weights prepared, response to zeros known: once per process, not per frame
        fast, found = timed(functools.partial(cam, frames))
        ratio = np.abs(found.scores.double().numpy() / scores - 1)
        profile = np.stack([column_profile(one).numpy() for one in found.maps])
        srcc = np.mean([spearmanr(one, other).statistic for one, other in zip(profile, vectors, strict=True)])
        lines.append(
            f"{method:10}{precision:>10}{fast:9.2f}{slow / fast:7.2f}{np.nanmax(ratio):11.1e}"
            f"{np.abs(found.maps.double().numpy() - maps).max():10.1e}"
            f"{np.abs(profile - vectors).max():10.1e}{srcc:8.4f}"
        )
    return lines


def main(argv: Sequence[str] | None = None) -> list[str]:
    """Prints the table on one thread and returns its lines."""
    parser = argparse.ArgumentParser(description="speed and error of Score-CAM, one run, one thread")
    parser.add_argument("--size", type=int, default=112, help="side of the square frames in pixels (the feature: 224)")
    parser.add_argument("--channels", type=int, default=24, help="channels scored per frame, of 512")
    parser.add_argument("--frames", type=int, default=2)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    lines = report(arguments.size, arguments.channels, arguments.frames)
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    main()
