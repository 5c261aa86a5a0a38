"""Compares UVQ here with the original's way on the same seeded weights: CPU seconds per second of video, and the error.

The original's way: one patch at a time, plain float32 layers in channels-first order, 3-D convolutions, normalisations
on their own, in a process of its own; ours keeps freed memory as `ugcvqa extract` does. Both take turns, after a run
that prepares them. Printed are the least CPU seconds of some runs on one thread, their spread, largest over least, and
the ratio, which counts.

    python tools/speed_uvq.py [--runs 3]
"""

import argparse
import multiprocessing
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ugcvqa.deep.kept_memory import keep_freed_memory
from ugcvqa.uvq.networks import UVQ10, UVQ15
from ugcvqa.uvq.state import COMPRESSION_EPS, MIXED, TRUNK_EPS
from ugcvqa.uvq.weights import UVQWeights, load_weights

State = Mapping[str, Tensor]
Maps = dict[str, Tensor]

VERSIONS = {"1.5": "uvq15", "1.0": "uvq10"}


def same(x: Tensor, kernel: tuple[int, ...], stride: int) -> Tensor:
    """Pads the last axes as TensorFlow does."""
    sides: list[int] = []
    for size, side in zip(reversed(x.shape[2:]), reversed(kernel), strict=True):
        total = max((-(-size // stride) - 1) * stride + side - size, 0)
        sides += [total // 2, total - total // 2]
    return functional.pad(x, sides)


def conv(state: State, key: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
    """A SAME convolution in two or three dimensions."""
    weight, bias = state[f"{key}.weight"], state.get(f"{key}.bias")
    call = functional.conv3d if weight.ndim == 5 else functional.conv2d
    return call(same(x, tuple(weight.shape[2:]), stride), weight, bias, stride, groups=groups)


def norm(state: State, key: str, x: Tensor, eps: float) -> Tensor:
    """Batch normalisation by running statistics."""
    mean, var, weight, bias = (state[f"{key}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, mean, var, weight, bias, eps=eps)


def plain_trunk(state: State, x: Tensor) -> Tensor:
    """The trunk, layer by layer."""

    def layer(key: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        return norm(state, f"{key}.1", conv(state, f"{key}.0.conv", x, stride, groups), TRUNK_EPS)

    x = functional.silu(layer("features.0", x, 2))
    for number in range(1, 17):
        keys, stride = iter(f"features.{number}.block.{place}" for place in range(4)), 1 + (number in (2, 4, 6, 12))
        hidden = functional.silu(layer(next(keys), x)) if number > 1 else x
        hidden = functional.silu(layer(next(keys), hidden, stride, hidden.shape[1]))
        gate = next(keys)
        squeezed = functional.silu(conv(state, f"{gate}.fc1", functional.adaptive_avg_pool2d(hidden, 1)))
        out = layer(next(keys), hidden * conv(state, f"{gate}.fc2", squeezed).sigmoid())
        x = out + x if out.shape == x.shape else out
    return x


def plain_compression(state: State, x: Tensor) -> Tensor:
    """CompressionNet on one patch (1, 3, 5, 180, 320), layer by layer."""
    top = "inception_block1"

    def gated(key: str, x: Tensor) -> Tensor:
        return x * conv(state, f"{key}.conv", x.mean((2, 3, 4), keepdim=True)).sigmoid()

    def layer(key: str, normalisation: str, x: Tensor, stride: int = 1) -> Tensor:
        return norm(state, normalisation, conv(state, f"{key}.conv", x, stride), COMPRESSION_EPS).relu()

    def single(key: str, x: Tensor) -> Tensor:
        return gated(f"{key}.conv3d_2", layer(f"{key}.conv3d_1", f"{key}.batch_norm", x))

    def separable(key: str, x: Tensor) -> Tensor:
        x = layer(f"{key}.conv3d_2", f"{key}.batch_norm2", layer(f"{key}.conv3d_1", f"{key}.batch_norm1", x))
        return gated(f"{key}.conv3d_4", conv(state, f"{key}.conv3d_3.conv", x).relu())

    def pool(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
        step = stride[1]
        x = same(x, kernel if stride[0] == step else (1, *kernel[1:]), step) if step > 1 else same(x, kernel, 1)
        return functional.max_pool3d(x, kernel, stride)

    x = layer(f"{top}.conv3d_1a", f"{top}.batch_norm_1a", x, 2)
    x = functional.max_pool3d(functional.pad(x, (0, 1, 0, 1)), (1, 3, 3), (1, 2, 2))
    x = separable(f"{top}.pre_2b2c", x)
    x = functional.max_pool3d(functional.pad(x, (0, 1, 1, 1)), (1, 3, 3), (1, 2, 2))
    for number, mixed in enumerate(MIXED):
        if number in (2, 7):
            side = 3 if number == 2 else 2
            x = pool(x, (side, side, side), (2, 2, 2))
        key = f"{top}.{mixed.name}"
        around = pool(x, (3, 3, 3), (1, 1, 1))
        x = torch.cat(
            [single(f"{key}.b0", x), separable(f"{key}.b1", x), separable(f"{key}.b2", x), single(f"{key}.b3", around)],
            1,
        )
    return functional.conv3d(x, state["final_conv3d.weight"])[:, :, 0]


def plain_maps(states: Mapping[str, State], frames: Tensor, small: Tensor) -> dict[str, Tensor]:
    """Feature maps of one second of UVQ 1.0: frames (5, 3, 720, 1280) and small (1, 3, 496, 496), both float64."""
    content = conv(states["content"], "features.18.conv", plain_trunk(states["content"], small.float()))
    rows = []
    for row in range(2):
        parts = []
        for column in range(2):
            patch = frames[:1, :, 360 * row : 360 * (row + 1), 640 * column : 640 * (column + 1)].float()
            maps = conv(states["distortion"], "features.17.conv", plain_trunk(states["distortion"], patch))
            parts.append(functional.max_pool2d(maps, (5, 13), 1))
        rows.append(torch.cat(parts, 3))
    distortion = torch.cat(rows, 2)
    rows = []
    for row in range(4):
        parts = []
        for column in range(4):
            patch = frames[:, :, 180 * row : 180 * (row + 1), 320 * column : 320 * (column + 1)].float()
            parts.append(plain_compression(states["compression"], patch.transpose(0, 1)[None]))
        rows.append(torch.cat(parts, 3))
    return {"compression": torch.cat(rows, 2), "content": content, "distortion": distortion}


def plain_maps15(states: Mapping[str, State], frame: Tensor) -> dict[str, Tensor]:
    """Feature maps of one frame (1, 3, 1080, 1920) of UVQ 1.5, float32."""
    small = functional.interpolate(frame, (256, 256), mode="bilinear")
    content = conv(states["content"], "features.17.conv", plain_trunk(states["content"], small))
    patches = frame.unflatten(3, (3, 640)).unflatten(2, (3, 360)).permute(2, 4, 0, 1, 3, 5).flatten(0, 2)
    maps = conv(states["distortion"], "features.17.conv", plain_trunk(states["distortion"], patches))
    maps = functional.max_pool2d(maps, (5, 13), 1).view(3, 3, 128, 8, 8)
    return {"content": content, "distortion": maps.permute(2, 0, 3, 1, 4).reshape(1, 128, 24, 24)}


@cache
def weights(version: str) -> UVQWeights:
    """The seeded weights of a version."""
    return load_weights(VERSIONS[version], "random:0")


@cache
def pictures() -> tuple[Tensor, Tensor, Tensor]:
    """Frames (N, 3, H, W) uint8: five of 720p and one of 496 x 496 for UVQ 1.0, one of 1080p for UVQ 1.5."""
    coarse = torch.rand(5, 3, 90, 160, generator=torch.Generator().manual_seed(0))
    picture = functional.interpolate(coarse, (720, 1280), mode="bicubic").clamp(0, 1).mul(255).byte()
    small = functional.interpolate(picture[:1].float(), (496, 496), mode="bilinear").byte()
    large = functional.interpolate(coarse[:1], (1080, 1920), mode="bicubic").clamp(0, 1).mul(255).byte()
    return picture, small, large


@cache
def network(version: str) -> Any:  # noqa: ANN401 (either version)
    """Our network, and the setting for memory."""
    keep_freed_memory()
    return (UVQ15 if version == "1.5" else UVQ10)(weights(version))


@torch.inference_mode()
def timed_original(version: str) -> tuple[float, Maps]:
    """Processor seconds of the original's way for one second of video, and its maps."""
    torch.set_num_threads(1)
    states, (picture, small, large) = weights(version).states, pictures()
    start = time.process_time()
    if version == "1.5":
        maps = plain_maps15(states, large.float() / 255 * 2 - 1)
    else:
        maps = plain_maps(states, picture.double() / 255 * 2 - 1, small.double() / 255 * 2 - 1)
    return time.process_time() - start, maps


@torch.inference_mode()
def timed_ours(version: str) -> tuple[float, Maps]:
    """Processor seconds of ours, and its maps."""
    torch.set_num_threads(1)
    ours, (picture, small, large) = network(version), pictures()
    start = time.process_time()
    if version == "1.5":
        maps = dict(zip(("content", "distortion"), ours.maps(large), strict=True))
    else:
        maps = ours.maps(picture[None], small)[0]
    return time.process_time() - start, maps


def compare(version: str, runs: int) -> None:
    """Prints one comparison."""
    spawn = multiprocessing.get_context("spawn")
    slow, fast = list[float](), list[float]()
    with ProcessPoolExecutor(1, spawn) as theirs, ProcessPoolExecutor(1, spawn) as our:
        for run in range(runs + 1):  # the first prepares
            seconds, expected = theirs.submit(timed_original, version).result()
            slow += [seconds] if run else []
            seconds, found = our.submit(timed_ours, version).result()
            fast += [seconds] if run else []
    errors = {name: float((found[name] - maps).abs().max() / maps.std()) for name, maps in expected.items()}
    spread = " and ".join(f"{max(times) / min(times):.2f}" for times in (slow, fast))
    print(
        f"UVQ {version}: original's way {min(slow):.2f} s, ours {min(fast):.2f} s per second of video, ratio "
        f"{min(slow) / min(fast):.2f} (spread {spread})"
    )
    worst = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    print(f"  largest difference, in standard deviations: {worst}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="speed and error of UVQ, one thread")
    parser.add_argument("--runs", type=int, default=3)
    for each in VERSIONS:
        compare(each, parser.parse_args().runs)
