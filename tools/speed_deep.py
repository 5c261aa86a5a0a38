"""Compares CPU time and values of the deep features with the original way of computing them, on one thread.

    python tools/speed_deep.py [--large]

The original way: float32, the whole clip in one batch through torchvision's ResNet-50 as it is. Prints processor
seconds per frame, ratios to the original way in the same run, page faults, and errors against it, for each setting on
the way to ours; then peak memory. `--large` adds 1920 x 1080. Only the ratios carry over to other machines.
"""

import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

from ugcvqa.deep import fused
from ugcvqa.deep.backbones import features_of, fold_batchnorm, load_backbone
from ugcvqa.deep.fused import fuse_activations, keep_freed_memory
from ugcvqa.deep.pooling import CNN, VSFA, mean_pool, mean_std_pool, normalise

REPEATS = 3
Features = Callable[[Tensor], Tensor]


def textured_frames(n: int, height: int, width: int, seed: int) -> Tensor:
    """Random frames (n, 3, height, width) uint8 with structure at several scales."""
    random = torch.Generator().manual_seed(seed)
    total = torch.full((n, 3, height, width), 128.0)
    for cells, strength in ((8, 40.0), (32, 20.0), (128, 10.0)):
        coarse = torch.randn(n, 3, cells, 2 * cells, generator=random)
        total += strength * nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    total += 4 * torch.randn(total.shape, generator=random)
    return total.round().clamp(0, 255).to(torch.uint8)


def calibrated_resnet50() -> nn.Module:
    """A seeded ResNet-50 whose running statistics are those of one batch of frames, so that features keep content."""
    network = load_backbone("resnet50", "random:0").train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(normalise(textured_frames(2, 270, 480, seed=1)))
    return network.eval()


def original_vsfa(trunk: nn.Module) -> Features:
    """The public code's computation: one batch, mean and deviation in float32."""

    @torch.inference_mode()
    def features(rgb: Tensor) -> Tensor:
        maps = trunk(normalise(rgb)).flatten(2)
        return torch.cat([maps.mean(2), maps.std(2)], 1)

    return features


def step_by_step(network: nn.Module, pool: Callable[[Tensor], Tensor]) -> dict[str, Features]:
    """The settings between the original way and ours, each with all before it, one frame at a time."""
    trunk, _ = features_of(network, "resnet50")
    folded = fold_batchnorm(trunk)
    ordered = fold_batchnorm(trunk).to(memory_format=torch.channels_last)
    one_pass = fuse_activations(fold_batchnorm(trunk)).to(memory_format=torch.channels_last)

    def run(layers: nn.Module, order: torch.memory_format) -> Features:
        @torch.inference_mode()
        def features(rgb: Tensor) -> Tensor:
            return torch.cat([pool(layers(normalise(frame).contiguous(memory_format=order))) for frame in rgb.split(1)])

        return features

    def without_tiles(rgb: Tensor) -> Tensor:
        with patch.object(fused, "_is_worth_tiling", return_value=False):
            return run(one_pass, torch.channels_last)(rgb)

    return {
        "one frame at a time": run(trunk, torch.contiguous_format),
        "normalisation folded": run(folded, torch.contiguous_format),
        "channels last": run(ordered, torch.channels_last),
        "sums and ReLU joined": without_tiles,
    }


def measure(call: Features, rgb: Tensor) -> tuple[float, int, Tensor]:
    """Median processor seconds per frame, page faults per frame, and the features."""
    result = call(rgb)
    times, faults = [], []
    for _ in range(REPEATS):
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.process_time()
        call(rgb)
        times.append((time.process_time() - start) / len(rgb))
        faults.append((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // len(rgb))
    return statistics.median(times), int(statistics.median(faults)), result


def compare(
    title: str, rgb: Tensor, original: Features, others: Mapping[str, Features], alone: float = 0
) -> tuple[dict[str, Tensor], float]:
    """Prints one table; returns the features by setting, and seconds per frame of the original way.

    Args:
        title: of the table.
        rgb: the frames.
        original: the original way, to which ratios and errors refer.
        others: the settings.
        alone: seconds per frame of the original way in a process that gives freed memory back, for a second ratio.
    """
    print(f"\n{title}\n{'':32}{'s/frame':>9}{'ratio':>7}{'faults':>8}{'max abs':>10}{'relative':>10}")
    results: dict[str, Tensor] = {}
    slow, expected = 0.0, torch.empty(0)
    for name, call in {"original": original, **others}.items():
        seconds, faults, features = measure(call, rgb)
        if name == "original":
            slow, expected = seconds, features
        error = features - expected
        relative = float(error.norm() / expected.norm())
        print(
            f"{name:32}{seconds:9.3f}{slow / seconds:7.2f}{faults:8}{float(error.abs().max()):10.1e}{relative:10.1e}"
            + (f"   {alone / seconds:.2f} of the original alone" if alone else ""),
            flush=True,
        )
        results[name] = features
    return results, slow


def peak_mib(height: int, width: int, precision: str) -> float:
    """Peak memory of a process that computes VSFA features of four frames, on Linux."""
    torch.set_num_threads(1)
    model = VSFA("resnet50", "random:0", precision)  # type: ignore[arg-type]
    keep_freed_memory()
    frames = torch.randint(0, 256, (4, 3, height, width), dtype=torch.uint8)
    for frame in frames.split(1):
        model(frame)
    # getrusage would give the parent's peak if that is higher
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def main(is_large: bool = False) -> None:
    """Prints all tables on one thread; `is_large` adds 1920 x 1080."""
    torch.set_num_threads(1)
    network = calibrated_resnet50()
    trunk, _ = features_of(network, "resnet50")
    sizes = [(270, 480, 4), (540, 960, 3), *([(1080, 1920, 2)] if is_large else [])]
    clips = {f"{width} x {height}": textured_frames(n, height, width, seed=2) for height, width, n in sizes}
    small = textured_frames(20, 224, 224, seed=3)
    vsfa, cnn = VSFA(network), CNN(network)
    vsfa_bf16, cnn_bf16 = VSFA(network, precision="bfloat16"), CNN(network, precision="bfloat16")
    steps = step_by_step(network, mean_std_pool)
    plain, alone = {}, {}
    for size, rgb in clips.items():
        title = f"VSFACNN {size}, {len(rgb)} frames"
        others: dict[str, Features] = {**steps, "ours float32": vsfa, "ours bfloat16": vsfa_bf16}
        plain[size], alone[size] = compare(title, rgb, original_vsfa(trunk), others)

    def original_cnn(rgb: Tensor) -> Tensor:
        with torch.inference_mode():
            return mean_pool(trunk(normalise(rgb)))

    title = "CNN, the 20 frames of 224 x 224 of a 20 s clip (no resize)"
    ours: dict[str, Features] = {"ours float32": cnn, "ours bfloat16": cnn_bf16}
    half = {"ours float16 (GPUs only)": CNN(network, precision="float16")}
    _, alone["cnn"] = compare(title, small, original_cnn, {**ours, **half})
    if keep_freed_memory():
        compare(f"{title}, freed memory kept", small, original_cnn, ours, alone["cnn"])
        for size, rgb in clips.items():
            title = f"VSFACNN {size}, freed memory kept"
            ours = {"ours float32": vsfa, "ours bfloat16": vsfa_bf16}
            kept, _ = compare(title, rgb, original_vsfa(trunk), ours, alone[size])
            print("bit-identical to the above:", all(torch.equal(kept[name], plain[size][name]) for name in kept))
    sides = (1080, 1920) if is_large else (540, 960)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for precision in ("float32", "bfloat16"):
            peak = pool.apply(peak_mib, (*sides, precision))
            print(f"peak memory at {sides[1]} x {sides[0]}, {precision}: {peak:.0f} MiB")


if __name__ == "__main__":
    main("--large" in sys.argv)
