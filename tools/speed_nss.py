"""Compares CPU time and values of the NSS features with a plain SciPy version, on one thread.

Prints processor seconds, ratios and largest differences for one 910 x 512 colour frame and for eight luma frames of
that size. Only the ratios carry over to other machines.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import reference_nss
import torch
from numpy.typing import NDArray

from ugcvqa.nss.features import NSS

HEIGHT_PX, WIDTH_PX = 512, 910
REPEATS = 5


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


def cpu_seconds(call: Callable[[], NDArray[np.float64]], repeats: int) -> tuple[float, NDArray[np.float64]]:
    """Median processor time of a call after one unmeasured call, and its result."""
    result = call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times), result


def report() -> list[str]:
    """Measures everything in one run.

    Returns:
        The lines of a table: task, precision, processor seconds of the reference and of `NSS`, ratio, largest
        absolute difference, largest difference relative to max(1, |reference|).
    """
    frames = textured_frames(3, seed=1).transpose(1, 2, 0).copy()
    luma = textured_frames(8, seed=2)
    rgb = torch.from_numpy(frames).permute(2, 0, 1)[None].contiguous()
    stack = torch.from_numpy(luma)
    lines = [f"{'task':10}{'precision':>10}{'scipy s':>10}{'ours s':>10}{'ratio':>8}{'max abs':>12}{'max rel':>12}"]
    for task in ("spatial", "temporal"):
        if task == "spatial":
            slow, expected = cpu_seconds(lambda: reference_nss.spatial_features(frames), 3)
        else:
            slow, expected = cpu_seconds(lambda: reference_nss.temporal_features(luma), 3)
        for precision in ("float64", "float32", "compiled"):
            model = NSS(engine="compiled") if precision == "compiled" else NSS(precision=precision)

            def call(task: str = task, model: NSS = model) -> NDArray[np.float64]:
                return (model.spatial(rgb)[0] if task == "spatial" else model.temporal(stack)).numpy()

            fast, values = cpu_seconds(call, REPEATS)
            difference = np.abs(values - expected)
            relative = difference / np.maximum(1, np.abs(expected))
            lines.append(
                f"{task:10}{precision:>10}{slow:10.3f}{fast:10.3f}{slow / fast:8.1f}"
                f"{difference.max():12.1e}{relative.max():12.1e}"
            )
    return lines


def main() -> list[str]:
    """Prints the table on one thread and returns its lines."""
    torch.set_num_threads(1)
    lines = report()
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    main()
