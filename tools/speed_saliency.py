"""Compares CPU time and results of Score-CAM with the originals' way of working, one channel per forward pass.

    python tools/speed_saliency.py [--size 112] [--channels 24] [--frames 2] [--clustered] [--engine torch] [--runs 3]
    python tools/speed_saliency.py --weights IMAGENET1K_V1 --video clip.mp4 --frames 1

One thread, least CPU seconds of some runs, in which all ways take turns; only the ratios carry over to other
machines. Unless weights are named the network
is VGG-16 with seeded ones, adjusted so that its last maps are as sparse and its class scores as spread as a trained
network's. All but a few channels of the target layer are switched off, which changes the number of passes and not the
cost of one. Errors of the reduced and approximate modes depend on the weights: random ones are a hard case. So is
their sparseness for the speed, as active cells lie scattered; with `--clustered` they lie together.

With `--weights` the network is as it is and all its channels are scored, but by the original way only `--channels`
of them per frame, evenly spread: its time is scaled up, and maps are compared with our exact ones. That takes some
ten minutes per frame.
"""

import argparse
import functools
import math
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional

from ugcvqa.deep.backbones import load_backbone
from ugcvqa.deep.engine import chosen_engine
from ugcvqa.deep.imagenet import normalise
from ugcvqa.deep.kept_memory import keep_freed_memory
from ugcvqa.deep.saliency import column_profile
from ugcvqa.deep.scorecam import PRECISIONS, SaliencyMaps, ScoreCAM
from ugcvqa.settings.features import Engine

LAYER = "features.29"
Values = NDArray[np.float64]
Result = TypeVar("Result")
MODES = [
    *(("exact", precision) for precision in PRECISIONS if precision != "tf32"),
    ("half", "float32"),
    ("top:{half}", "float32"),
    ("top:{fourth}", "float32"),
]


GIVEN: list[Any] = []
"""Network and frames of the process of the original way."""


def textured_frames(n: int, size: int, seed: int) -> Tensor:
    """Random normalised frames (n, 3, size, size) with structure at several scales."""
    random = torch.Generator().manual_seed(seed)
    total = 0.3 * torch.randn(n, 3, size, size, generator=random)
    for cells, strength in ((3, 1.0), (9, 0.7), (27, 0.4)):
        coarse = torch.randn(n, 3, cells, cells, generator=random)
        total += strength * functional.interpolate(coarse, size=(size, size), mode="bicubic")
    return total


def video_frames(path: Path, n: int) -> Tensor:
    """The first n frames (n, 3, 224, 224) that the SALIENCY row takes from a video, normalised."""
    # here, as the reader's memory settings must not reach the process of the original way
    from ugcvqa.media.sampling import saliency_frames
    from ugcvqa.media.video import probe, read_frames

    info = probe(path)
    indices = saliency_frames(info.n_frames, info.rate)[:n]
    frames = np.stack([frame for _, _, frame in read_frames(path, indices, "rgb224")])
    return normalise(torch.from_numpy(frames))


def centre(conv: Any, maps: Tensor) -> None:  # noqa: ANN401 - a convolution whose bias is there
    """Gives each output channel mean 0 and deviation 1 over these input maps."""
    conv.bias.zero_()
    spread, mean = torch.std_mean(conv(maps), dim=(0, 2, 3))
    conv.weight /= spread[:, None, None, None]
    conv.bias.copy_(-mean / spread)


@torch.no_grad()
def calibrated_vgg16(frames: Tensor, n_channels: int, is_clustered: bool = False) -> Any:  # noqa: ANN401 - torchvision has no types
    """Builds a seeded VGG-16 with centred channels of unit spread, of which the last layer keeps a few.

    Args:
        frames: (n, 3, H, W) normalised; the statistics are taken on them.
        n_channels: channels of the last convolution that stay alive, evenly spread.
        is_clustered: makes the last three convolutions smooth, so that active cells lie together.
    """
    torch.manual_seed(2308)
    network = torchvision.models.vgg16(weights=None).eval()
    maps = frames
    for index, layer in enumerate(network.features):
        if isinstance(layer, nn.Conv2d):
            if is_clustered and index >= 24:
                layer.weight.copy_(layer.weight.mean((2, 3), keepdim=True).expand_as(layer.weight))
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
def original(network: Any, frames: Tensor, n_channels: int) -> tuple[Values, Values]:  # noqa: ANN401
    """The originals' way without their unused backward pass, for at most some channels that vary, evenly spread.

    Returns:
        Scores (T, K), NaN where a channel is constant or left out, and maps (T, H, W) of these channels.
    """
    all_scores: list[Values] = []
    all_maps: list[Values] = []
    for frame in frames.split(1):
        activations = network.features[:30](frame)
        chosen = int(network(frame).argmax())
        total, scores = torch.zeros(frame.shape[2:]), np.full(activations.shape[1], np.nan)
        varying = (activations.amax((0, 2, 3)) > activations.amin((0, 2, 3))).nonzero()[:, 0]
        for channel in varying[torch.linspace(0, len(varying) - 1, min(n_channels, len(varying))).long()]:
            up = functional.interpolate(activations[:, channel, None], size=frame.shape[2:], mode="bilinear")
            if up.max() == up.min():
                continue
            mask = (up - up.min()) / (up.max() - up.min())
            scores[channel] = float(network(frame * mask).softmax(1)[0, chosen])
            total += scores[channel] * up[0, 0]
        all_scores.append(scores)
        span = float(total.max() - total.min()) or 1.0  # no map, where all scores are zero
        all_maps.append(((total - total.min()) / span).double().numpy())
    return np.array(all_scores), np.array(all_maps)


def given(network: Any, frames: Tensor) -> None:  # noqa: ANN401
    """Prepares the process of the original way, which keeps freed memory as PyTorch does by itself."""
    torch.set_num_threads(1)
    GIVEN[:] = network, frames


def timed_original(n_channels: int) -> tuple[float, tuple[Values, Values]]:
    """Processor seconds of the original way in its process, and what it gives."""
    network, frames = GIVEN
    return timed(lambda: original(network, frames, n_channels))


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Processor seconds of one call, and its result."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def report(network: Any, frames: Tensor, n_channels: int, engine: Engine, runs: int) -> list[str]:  # noqa: ANN401
    """Measures both ways in turns, the original one in a process of its own and for at most `n_channels` of each frame.

    Returns:
        The lines of a table: mode, precision, processor seconds, ratio to the original way, largest relative error
        of a score, largest absolute errors of map and column vector, SRCC of the vectors.
    """
    with torch.no_grad():
        network(frames[:1])
        active = network.features[:30](frames) > 0
    cams: dict[tuple[str, str], ScoreCAM] = {}
    n_most = int(active.any(3).any(2).sum(1).max())
    for mode, precision in MODES:
        if (engine, precision) == ("openvino", "float16"):
            continue  # which it has not on a CPU
        method = mode.format(half=max(1, n_most // 2), fourth=max(1, n_most // 4))
        cam = cams[method, precision] = ScoreCAM(network, LAYER, None, precision, method, engine)
        # weights prepared: once per process, not per frame; one channel is enough for that
        top, cam.top = cam.top, 1
        cam(frames[:1].flip(3))
        cam.top = top
    keep_freed_memory()  # as extract does
    without = slow = math.inf
    times = dict.fromkeys(cams, math.inf)
    results: dict[tuple[str, str], SaliencyMaps] = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=given, initargs=(network, frames)) as theirs:
        theirs.submit(timed_original, 1).result()  # prepares
        for _ in range(runs):
            seconds, _ = theirs.submit(timed_original, 0).result()
            without = min(without, seconds)  # what does not grow with the channels
            seconds, (scores, maps) = theirs.submit(timed_original, n_channels).result()
            slow = min(slow, seconds)
            for way, cam in cams.items():
                seconds, results[way] = timed(functools.partial(cam, frames))
                times[way] = min(times[way], seconds)
    exact = results["exact", "float32"]
    n_scored, n_all = np.isfinite(scores).sum(), int(exact.scores.isfinite().sum())
    slow = without + (slow - without) * n_all / n_scored
    if n_all > n_scored:
        maps = exact.maps.double().numpy()
    head = f"{'mode':10}{'precision':>10}{'CPU s':>9}{'ratio':>7}{'score rel':>11}{'map':>10}{'vector':>10}{'SRCC':>8}"
    share = active[active.any(3).any(2)].float().mean()
    return [
        f"{len(frames)} frame(s), {n_all} channels scored, {share:.0%} of their cells active, engine "
        f"{chosen_engine(engine)}",
        head,
        f"{'original':10}{'float32':>10}{slow:9.2f}{1:7.2f}",
        *(
            f"{way[0]:10}{way[1]:>10}{fast:9.2f}{slow / fast:7.2f}" + errors(results[way], scores, maps)
            for way, fast in times.items()
        ),
    ]


def errors(found: SaliencyMaps, scores: Values, maps: Values) -> str:
    """Formats the errors of scores, maps and column vectors."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(found.scores.double().numpy() / scores - 1)
    # none where a mode scores no channel that the original way did
    worst = np.nanmax(ratio) if np.isfinite(ratio).any() else np.nan
    profile, expected = np.stack([column_profile(one).numpy() for one in found.maps]), maps.mean(1)
    srcc = np.mean([spearmanr(one, other).statistic for one, other in zip(profile, expected, strict=True)])
    largest = np.abs(found.maps.double().numpy() - maps).max()
    return f"{worst:11.1e}{largest:10.1e}{np.abs(profile - expected).max():10.1e}{srcc:8.4f}"


def main(argv: Sequence[str] | None = None) -> list[str]:
    """Prints the table on one thread and returns its lines."""
    parser = argparse.ArgumentParser(description="speed and error of Score-CAM, one thread")
    parser.add_argument("--size", type=int, default=112, help="side of the random frames in pixels (the feature: 224)")
    parser.add_argument("--channels", type=int, default=24, help="channels scored per frame, of 512")
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--engine", choices=("auto", "torch", "openvino"), default="auto")
    parser.add_argument("--runs", type=int, default=3, help="of which the least time counts")
    parser.add_argument("--video", type=Path, help="video to take the frames from, instead of random ones")
    network = parser.add_mutually_exclusive_group()
    network.add_argument("--weights", metavar="NAME|FILE|FOLDER", help="weights of VGG-16, instead of seeded ones")
    network.add_argument("--clustered", action="store_true", help="seeded weights whose active cells lie together")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    if arguments.video:
        frames = video_frames(arguments.video, arguments.frames)
    else:
        frames = textured_frames(arguments.frames, arguments.size, seed=1)
    if arguments.weights:
        vgg: Any = load_backbone("vgg16", arguments.weights)
    else:
        vgg = calibrated_vgg16(frames, arguments.channels, arguments.clustered)
    lines = report(vgg, frames, arguments.channels, arguments.engine, arguments.runs)
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    main()
