"""Compares UVQ here with the original's way on the same seeded weights: CPU seconds per second of video, and the error.

The original's way: one patch at a time, plain float32 layers in channels-first order, 3-D convolutions, normalisations
on their own. Times are CPU seconds of one thread, so other work on the machine changes them little; the ratio counts.

    python tools/speed_uvq.py            # one second of video
    python tools/speed_uvq.py 2          # the best of two runs of each
"""

import math
import sys
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from ugcvqa.deep.kept_memory import keep_freed_memory
from ugcvqa.uvq.networks import UVQ10, UVQ15
from ugcvqa.uvq.state import COMPRESSION_EPS, MIXED, TRUNK, TRUNK_EPS
from ugcvqa.uvq.weights import load_weights

State = Mapping[str, Tensor]


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
    for number, block in enumerate(TRUNK, start=1):
        keys = iter(f"features.{number}.block.{place}" for place in range(4))
        hidden = functional.silu(layer(next(keys), x)) if block.expand != 1 else x
        hidden = functional.silu(layer(next(keys), hidden, block.stride, block.width))
        gate = next(keys)
        squeezed = functional.silu(conv(state, f"{gate}.fc1", functional.adaptive_avg_pool2d(hidden, 1)))
        out = layer(next(keys), hidden * conv(state, f"{gate}.fc2", squeezed).sigmoid())
        x = out + x if out.shape == x.shape and block.stride == 1 else out
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


def measure(call: Callable[[], dict[str, Tensor]], runs: int) -> tuple[float, dict[str, Tensor]]:
    """Least CPU seconds of some runs, and the result."""
    best, result = math.inf, dict[str, Tensor]()
    for _ in range(runs):
        start = time.process_time()
        result = call()
        best = min(best, time.process_time() - start)
    return best, result


def report(
    title: str, runs: int, original: Callable[[], dict[str, Tensor]], ours: Callable[[], dict[str, Tensor]]
) -> None:
    """Prints one comparison."""
    slow, expected = measure(original, runs)
    fast, found = measure(ours, runs)
    errors = {name: float((found[name] - maps).abs().max() / maps.std()) for name, maps in expected.items()}
    worst = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    print(f"{title}: original's way {slow:.2f} s, ours {fast:.2f} s per second of video, ratio {slow / fast:.1f}")
    print(f"  largest difference, in standard deviations: {worst}", flush=True)


@torch.inference_mode()
def main() -> None:
    """Prints both tables on one thread."""
    torch.set_num_threads(1)
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    source = torch.Generator().manual_seed(0)
    weights10, weights15 = load_weights("uvq10", "random:0"), load_weights("uvq15", "random:0")
    uvq10, uvq15 = UVQ10(weights10), UVQ15(weights15)
    keep_freed_memory()
    coarse = torch.rand(5, 3, 90, 160, generator=source)
    picture = functional.interpolate(coarse, (720, 1280), mode="bicubic").clamp(0, 1).mul(255).byte()
    small = functional.interpolate(picture[:1].float(), (496, 496), mode="bilinear").byte()
    large = functional.interpolate(coarse[:1], (1080, 1920), mode="bicubic").clamp(0, 1).mul(255).byte()

    def original15() -> dict[str, Tensor]:
        return plain_maps15(weights15.states, large.float() / 255 * 2 - 1)

    def original10() -> dict[str, Tensor]:
        return plain_maps(weights10.states, picture.double() / 255 * 2 - 1, small.double() / 255 * 2 - 1)

    def ours15() -> dict[str, Tensor]:
        return dict(zip(("content", "distortion"), uvq15.maps(large), strict=True))

    report("UVQ 1.5", runs, original15, ours15)
    report("UVQ 1.0", runs, original10, lambda: uvq10.maps(picture[None], small)[0])


if __name__ == "__main__":
    main()
