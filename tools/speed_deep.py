"""Compares CPU time and values of the deep features with the original way of computing them, on one thread.

    python tools/speed_deep.py [--large] [--runs 3]

The original way: float32, the whole clip in one batch through torchvision's ResNet-50 as it is, in a process of its
own. Ours run in another process, which keeps freed memory as `ugcvqa extract` does. Both take turns. Prints the least
processor seconds per frame of some runs, ratios to the original way, and errors against it, for each engine that is
installed, with the spread of the runs, largest over least; then peak memory. `--large` adds 1920 x 1080.

Only the ratios carry over to other machines: they are the higher, the faster a processor computes compared with its
memory. What a float32 computation of the same products can hardly exceed on this one stands below each table: the ratio
at the rate of a product of large matrices, which takes its time for arithmetic alone.
"""

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ugcvqa.deep.backbones import load_backbone
from ugcvqa.deep.imagenet import normalise
from ugcvqa.deep.kept_memory import keep_freed_memory
from ugcvqa.deep.pooling import CNN, VSFA
from ugcvqa.deep.trunks import features_of
from ugcvqa.settings.features import Engine

SIZES = {"VSFACNN 480 x 270": (4, 270, 480), "VSFACNN 960 x 540": (3, 540, 960), "VSFACNN 1920 x 1080": (2, 1080, 1920)}
SMALL = "CNN, the 20 frames of 224 x 224 of a 20 s clip (no resize)"


def textured_frames(n: int, height: int, width: int, seed: int) -> Tensor:
    """Random frames (n, 3, height, width) uint8 with structure at several scales."""
    random = torch.Generator().manual_seed(seed)
    total = torch.full((n, 3, height, width), 128.0)
    for cells, strength in ((8, 40.0), (32, 20.0), (128, 10.0)):
        coarse = torch.randn(n, 3, cells, 2 * cells, generator=random)
        total += strength * nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    total += 4 * torch.randn(total.shape, generator=random)
    return total.round().clamp(0, 255).to(torch.uint8)


@cache
def calibrated_resnet50() -> nn.Module:
    """A seeded ResNet-50 whose running statistics are those of one batch of frames, so that features keep content."""
    network = load_backbone("resnet50", "random:0").train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(normalise(textured_frames(2, 270, 480, seed=1)))
    return network.eval()


@cache
def clip(title: str) -> Tensor:
    """The frames of a table."""
    n, height, width = SIZES.get(title, (20, 224, 224))
    return textured_frames(n, height, width, seed=2)


def timed_original(title: str) -> tuple[float, Tensor]:
    """Processor seconds per frame of the public code's computation, and features: one batch, pooled in float32."""
    torch.set_num_threads(1)
    trunk, _ = features_of(calibrated_resnet50(), "resnet50")
    rgb = clip(title)
    start = time.process_time()
    with torch.inference_mode():
        maps = trunk(normalise(rgb)).flatten(2)
        features = maps.mean(2) if title == SMALL else torch.cat([maps.mean(2), maps.std(2)], 1)
    return (time.process_time() - start) / len(rgb), features


@cache
def ours(engine: Engine, precision: str) -> VSFA:
    """Our network, and the setting for memory."""
    model = VSFA(calibrated_resnet50(), precision=precision, engine=engine)  # type: ignore[arg-type]
    keep_freed_memory()
    return model


def timed_ours(title: str, engine: Engine, precision: str) -> tuple[float, Tensor]:
    """Processor seconds per frame of ours, and features."""
    torch.set_num_threads(1)
    model, rgb = ours(engine, precision), clip(title)
    start = time.process_time()
    features = CNN(model.trunk)(rgb) if title == SMALL else model(rgb)
    return (time.process_time() - start) / len(rgb), features


def matrix_rate() -> float:
    """Floating-point operations per processor second of a product of large float32 matrices, the best of some."""
    torch.set_num_threads(1)
    a, b = torch.randn(2, 1024, 1024, generator=torch.Generator().manual_seed(3))
    seconds = []
    for _ in range(10):
        start = time.process_time()
        torch.mm(a, b)
        seconds.append(time.process_time() - start)
    return 2 * 1024**3 / min(seconds)


def operations(title: str) -> int:
    """Floating-point operations of the original way per frame."""
    trunk, _ = features_of(calibrated_resnet50(), "resnet50")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        trunk(normalise(clip(title)[:1]))
    return int(counter.get_total_flops())


def peak_bytes(height: int, width: int, engine: Engine, precision: str) -> int:
    """Peak memory of a process that computes VSFA features of four frames, on Linux."""
    torch.set_num_threads(1)
    model = VSFA("resnet50", "random:0", precision, engine)  # type: ignore[arg-type]
    keep_freed_memory()
    for frame in torch.randint(0, 256, (4, 3, height, width), dtype=torch.uint8).split(1):
        model(frame)
    # getrusage would give the parent's peak if that is higher
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status["VmHWM"].split()[0])


def alone() -> ProcessPoolExecutor:
    """A process for one way of computing."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def compare(title: str, settings: list[tuple[Engine, str]], runs: int) -> None:
    """Prints one table."""
    print(f"\n{title}\n{'':24}{'s/frame':>9}{'spread':>8}{'ratio':>7}{'max abs':>10}{'relative':>10}", flush=True)
    slow: list[float] = []
    times: dict[tuple[Engine, str], list[float]] = {setting: [] for setting in settings}
    with alone() as theirs, alone() as our:
        for run in range(runs + 1):  # the first prepares
            seconds, expected = theirs.submit(timed_original, title).result()
            slow += [seconds] if run else []
            for setting, fast in times.items():
                seconds, found = our.submit(timed_ours, title, *setting).result()
                fast += [seconds] if run else []
                if run == runs:
                    error = found - expected
                    print(
                        f"{' '.join(setting):24}{min(fast):9.3f}{max(fast) / min(fast):8.2f}"
                        f"{min(slow) / min(fast):7.2f}"
                        f"{float(error.abs().max()):10.1e}{float(error.norm() / expected.norm()):10.1e}",
                        flush=True,
                    )
        needed, rate = theirs.submit(operations, title).result(), theirs.submit(matrix_rate).result()
    print(f"{'original':24}{min(slow):9.3f}{max(slow) / min(slow):8.2f}{1:7.2f}")
    print(f"{'rate of matrix products':24}{needed / rate:9.3f}{'':8}{min(slow) * rate / needed:7.2f}  {rate:.3g} per s")


def main(is_large: bool = False, runs: int = 3) -> None:
    """Prints all tables; `is_large` adds 1920 x 1080."""
    engines: list[Engine] = ["torch", *(["openvino"] if find_spec("openvino") else [])]  # type: ignore[list-item]
    settings = [(engine, precision) for engine in engines for precision in ("float32", "bfloat16")]
    for title in (*list(SIZES)[: 3 if is_large else 2], SMALL):
        compare(title, settings, runs)
    height, width = list(SIZES.values())[2 if is_large else 1][1:]
    for setting in settings:
        with alone() as process:
            peak = process.submit(peak_bytes, height, width, *setting).result()
        print(f"peak memory at {width} x {height}, {' '.join(setting)}: {peak / 1e9:.2f}e9 bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="speed and error of the deep features, one thread")
    parser.add_argument("--large", action="store_true", help="also 1920 x 1080")
    parser.add_argument("--runs", type=int, default=3)
    main(parser.parse_args().large, parser.parse_args().runs)
