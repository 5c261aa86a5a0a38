"""Prints what reduced precision and approximate Score-CAM cost in error on real weights, those of EfficientNet-Lite0.

    python tools/errors_lite.py clip.mp4 [--frames 1]

One thread, CPU seconds, one run. Features are those of row VSFACNN, frames and maps those of row SALIENCY. Errors of
approximations are against the exact map, those of reduced precision against float32 in the same mode; `moved` is the
deletion area of the same map elsewhere in the frame (mean over four places): a map points at what the network uses if
its own area is smaller.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from ugcvqa.deep.backbones import load_backbone
from ugcvqa.deep.imagenet import normalise
from ugcvqa.deep.pooling import VSFA
from ugcvqa.deep.saliency import column_profile
from ugcvqa.deep.scorecam import PRECISIONS, SaliencyMaps, ScoreCAM
from ugcvqa.deep.trunks import last_maps_layer
from ugcvqa.media.sampling import saliency_frames
from ugcvqa.media.video import probe, read_frames
from ugcvqa.studies.map_quality import pixel_curves, shifted_map

NAME, WEIGHTS = "efficientnet_lite0", "IMAGENET1K_V1"
MODES = [
    *((method, "float32") for method in ("exact", "half", "top:256", "top:128", "top:24")),
    *(("top:24", precision) for precision in PRECISIONS if precision != "float32"),
]
Result = TypeVar("Result")


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Processor seconds of one call, and its result."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def feature_lines(frames: Tensor) -> list[str]:
    """CPU seconds and relative errors of the features of frames (T, 3, H, W) uint8 in every precision."""
    exact, lines = None, [f"{'features':10}{'precision':>10}{'CPU s':>9}{'relative error':>16}"]
    for precision in PRECISIONS:
        network = VSFA(NAME, WEIGHTS, precision)
        network(frames[:1])  # whatever is prepared once
        seconds, found = timed(lambda network=network: network(frames))  # type: ignore[misc]
        exact = found if exact is None else exact
        error = float((found - exact).norm() / exact.norm())
        lines.append(f"{'VSFACNN':10}{precision:>10}{seconds:9.2f}{error:16.1e}")
    return lines


def deletion(network: nn.Module, frames: Tensor, maps: SaliencyMaps) -> tuple[float, float]:
    """Mean deletion area of maps, and that of the same maps moved."""
    own, moved = [], []
    for frame, one, label in zip(frames, maps.maps, maps.classes.tolist(), strict=True):
        own.append(pixel_curves(network, frame, one, label, 16).deletion_auc)
        places = (shifted_map(one, seed) for seed in range(4))
        moved += [pixel_curves(network, frame, place, label, 16).deletion_auc for place in places]
    return float(np.mean(own)), float(np.mean(moved))


def map_lines(frames: Tensor) -> list[str]:
    """CPU seconds, errors and deletion areas of the maps of normalised frames (T, 3, 224, 224) in every mode."""
    network = load_backbone(NAME, WEIGHTS)
    layer = last_maps_layer(network, NAME)
    columns = (
        f"{'mode':10}{'precision':>10}{'CPU s':>9}{'map':>10}{'vector':>10}{'SRCC':>8}{'deletion':>10}{'moved':>8}"
    )
    references, lines = dict[str, SaliencyMaps](), [columns]
    for method, precision in MODES:
        cam = ScoreCAM(network, layer, precision=precision, method=method)
        seconds, found = timed(lambda cam=cam: cam(frames))  # type: ignore[misc]
        if precision == "float32":
            references[method] = found
        exact = references["exact" if precision == "float32" else method]
        profile, expected = (np.stack([column_profile(one).numpy() for one in maps.maps]) for maps in (found, exact))
        srcc = np.mean([spearmanr(one, other).statistic for one, other in zip(profile, expected, strict=True)])
        largest, vector = float((found.maps - exact.maps).abs().max()), np.abs(profile - expected).max()
        own, moved = deletion(network, frames, found)
        lines.append(
            f"{method:10}{precision:>10}{seconds:9.2f}{largest:10.1e}{vector:10.1e}{srcc:8.4f}{own:10.3f}{moved:8.3f}"
        )
    return lines


def main(argv: Sequence[str] | None = None) -> list[str]:
    """Prints both tables on one thread and returns their lines."""
    parser = argparse.ArgumentParser(description="errors of reduced precision and approximate maps on real weights")
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", type=int, default=1, help="frames of the video, one per second")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    info = probe(arguments.video)
    indices = saliency_frames(info.n_frames, info.rate, info.seconds)[: arguments.frames]
    whole, small = (
        torch.from_numpy(np.stack([frame for _, _, frame in read_frames(arguments.video, indices, form)]))
        for form in ("rgb", "rgb224")
    )
    lines = [*feature_lines(whole), "", *map_lines(normalise(small))]
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    main()
