"""Compares CPU time and values of the NSS features with a SciPy version, on one thread.

Prints processor seconds, ratios with their range over some rounds in turns, and largest differences for one 910 x 512
colour frame and for eight luma frames of that size; where scikit-video is installed, also its BRISQUE features. Only
the ratios carry over to other machines.
"""

import builtins
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import reference_nss
import torch
from numpy.typing import NDArray

from ugcvqa.nss.features import NSS

HEIGHT_PX, WIDTH_PX = 512, 910
ROUNDS = 5


def textured_frames(n: int, seed: int) -> NDArray[np.uint8]:
    """Random frames (n, H, W) with structure at several scales and no flat areas."""
    random = torch.Generator().manual_seed(seed)
    total = torch.full((n, HEIGHT_PX, WIDTH_PX), 128.0)
    for cells, strength in ((8, 40.0), (32, 20.0), (128, 10.0)):
        coarse = torch.randn(n, 1, cells, 2 * cells, generator=random)
        fine = torch.nn.functional.interpolate(coarse, size=(HEIGHT_PX, WIDTH_PX), mode="bicubic")
        total += strength * fine[:, 0]
    total += 4 * torch.randn(total.shape, generator=random)
    return total.round().clamp(0, 255).to(torch.uint8).numpy()


def peer_features(luma: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The 36 values per frame of scikit-video's BRISQUE, for (n, H, W) luma frames.

    Raises:
        ImportError: if the package is not here.
    """
    for name in ("float", "int", "bool"):  # names that it uses and NumPy has dropped
        setattr(np, name, getattr(builtins, name))
    from skvideo.measure.brisque import brisque_features  # type: ignore[import-not-found]

    return np.asarray(brisque_features(luma[..., None].astype(np.float32)))


def timed(call: Callable[[], NDArray[np.float64]]) -> tuple[float, NDArray[np.float64]]:
    """Processor seconds of a call, and its result."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def compare(ways: dict[str, Callable[[], NDArray[np.float64]]]) -> list[str]:
    """Times ways to compute the same numbers in turns.

    Args:
        ways: name -> what computes them; the first is the reference.

    Returns:
        A line each: name, median processor seconds, median ratio with its range, largest absolute difference, and
        largest difference relative to max(1, |reference|).
    """
    results = {name: call() for name, call in ways.items()}  # unmeasured: what is prepared once
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, call in ways.items():
            seconds[name].append(timed(call)[0])
    first = next(iter(ways))
    lines = []
    for name in ways:
        ratios = [slow / fast for slow, fast in zip(seconds[first], seconds[name], strict=True)]
        difference = np.abs(results[name] - results[first])
        relative = difference / np.maximum(1, np.abs(results[first]))
        spread = f"({min(ratios):.1f} to {max(ratios):.1f})"
        lines.append(
            f"  {name:10}{median(seconds[name]):10.3f}{median(ratios):8.1f} {spread:16}"
            f"{difference.max():12.1e}{relative.max():12.1e}"
        )
    return lines


def report() -> list[str]:
    """Measures everything in one run, and returns the lines of the tables."""
    frames = textured_frames(3, seed=1).transpose(1, 2, 0).copy()
    luma = textured_frames(8, seed=2)
    rgb, stack = torch.from_numpy(frames).permute(2, 0, 1)[None].contiguous(), torch.from_numpy(luma)
    models = {"float64": NSS(precision="float64"), "float32": NSS(), "compiled": NSS(engine="compiled")}
    spatial = {name: partial(lambda model: model.spatial(rgb)[0].numpy(), model) for name, model in models.items()}
    temporal = {name: partial(lambda model: model.temporal(stack).numpy(), model) for name, model in models.items()}
    return [
        f"{'':12}{'CPU s':>10}{'ratio':>8} {'range':16}{'max abs':>12}{'max rel':>12}",
        "spatial, one frame, 680 values",
        *compare({"scipy": partial(reference_nss.spatial_features, frames), **spatial}),
        "temporal, eight frames, 476 values",
        *compare({"scipy": partial(reference_nss.temporal_features, luma), **temporal}),
        *peer_lines(luma[:2], spatial["compiled"]),
    ]


def peer_lines(luma: NDArray[np.uint8], ours: Callable[[], NDArray[np.float64]]) -> list[str]:
    """Compares one frame of ours with one of scikit-video's, whose 36 values are others."""
    try:
        peer_features(luma)
    except ImportError:
        return ["scikit-video is not installed (pip install --no-deps scikit-video): no comparison with its BRISQUE"]
    rounds = [(timed(partial(peer_features, luma))[0] / len(luma), timed(ours)[0]) for _ in range(ROUNDS)]
    ratios = [theirs / own for theirs, own in rounds]
    return [
        f"BRISQUE of scikit-video, 36 values: {median(theirs for theirs, _ in rounds):.3f} CPU s a frame; ours, 680: "
        f"{median(own for _, own in rounds):.3f}; ratio {median(ratios):.1f} ({min(ratios):.1f} to "
        f"{max(ratios):.1f})"
    ]


def main() -> list[str]:
    """Prints the table on one thread and returns its lines."""
    torch.set_num_threads(1)
    lines = report()
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    main()
