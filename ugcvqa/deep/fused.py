"""Faster inference of convolutional networks on a CPU: fewer passes over memory, fewer products, fewer page faults.

Results differ from the plain layers by rounding only. On other devices the plain layers run.
"""

import ctypes
import gc
import math
import operator
from contextlib import suppress
from functools import cache
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from ugcvqa.deep.winograd import PATCH, TILE, transformed, transforms

_FEWEST_CHANNELS = 128  # with fewer, transforming tiles costs more than it saves
_LEAST_USED = 0.7  # share of the pixels of all tiles that lie inside the map; below, the plain convolution is faster
_FEWEST_TILES = 32  # with fewer, reading the transformed kernels costs more than the products saved
_TILES_PER_STEP = 256  # more leave the cache, fewer read the kernels too often
_ALWAYS_KEPT = 9 * 128 * 128
_KEPT_FOR_PRODUCTS = 9 * 2**24  # per tile and point; with more, transforming the kernels anew costs next to nothing
_POINTWISE = ([0, 0], [1, 1], [1, 1])  # padding, stride and dilation
_PACKED_POSITIONS = 1600  # with more results per channel, bringing the kernel in order each time costs nothing
_ONE_PASS_DTYPES = (torch.float32, torch.bfloat16)
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
_TOP_PAD_BYTES = 1 << 20
_LARGEST_KEPT_BYTES = 20 << 20  # larger ones, of which there are few, would leave holes that nothing else fits


@cache
def _has_one_pass() -> bool:
    """Whether this build of PyTorch has oneDNN's one-pass operators, which are private to it."""
    operators = torch.ops.mkldnn
    return torch.backends.mkldnn.is_available() and all(
        hasattr(operators, name) for name in ("_convolution_pointwise", "_convolution_pointwise_")
    )


class FusedConv(nn.Module):
    """A convolution, the addition of a residual if there is one, and ReLU, in one pass over memory.

    Args:
        conv: the convolution; its parameters are shared.
        rectifies: ends with ReLU; without it there is no residual.
    """

    def __init__(self, conv: nn.Conv2d, rectifies: bool = True) -> None:
        super().__init__()
        self.conv, self.rectifies = conv, rectifies
        self._tiled: _TiledConv | None = None
        self._packed: dict[torch.Size, Tensor] = {}

    def forward(self, x: Tensor, residual: Tensor | None = None, has_margins: bool = False) -> Tensor:
        """Computes relu(conv(x) + residual), or conv(x).

        Args:
            x: (n, C, H, W).
            residual: (n, K, h, w); it is overwritten.
            has_margins: `x` holds the rows of padding above and below already.
        """
        conv = self.conv
        x = x.to(conv.weight.dtype)
        padding = [0 if has_margins else int(conv.padding[0]), int(conv.padding[1])]
        if x.device.type != "cpu" or conv.weight.dtype not in _ONE_PASS_DTYPES or not _has_one_pass():
            total = functional.conv2d(x, conv.weight, conv.bias, conv.stride, padding, conv.dilation, conv.groups)
            total = total if residual is None else total.add_(residual)
            return functional.relu_(total) if self.rectifies else total
        if residual is None and self.rectifies and _is_worth_tiling(conv, x, padding[0]):
            self._tiled = self._tiled or _TiledConv(conv)
            return self._tiled(x, padding[0])
        # PyTorch's compiler calls the same operators for these chains; called directly they need no compiler.
        shape = (padding, conv.stride, conv.dilation, conv.groups)
        weight = self._weight(x)
        if residual is None:
            one_pass = torch.ops.mkldnn._convolution_pointwise.default
            activation = "relu" if self.rectifies else "none"
            return cast(Tensor, one_pass(x, weight, conv.bias, *shape, activation, [], ""))
        one_pass = torch.ops.mkldnn._convolution_pointwise_.binary
        return cast(Tensor, one_pass(residual, x, weight, conv.bias, *shape, "add", 1.0, "relu", [], None))

    def forget_kernels(self) -> None:
        """Drops the kernels that were brought in another order for maps of one size."""
        self._packed, self._tiled = {}, None

    def _weight(self, x: Tensor) -> Tensor:
        """Returns the kernel; where maps are small, in the order in which the operator computes."""
        conv = self.conv
        if len(x) * x.shape[2] * x.shape[3] > _PACKED_POSITIONS * math.prod(conv.stride):
            return conv.weight
        if x.shape not in self._packed:
            shape = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
            reorder = torch.ops.mkldnn._reorder_convolution_weight
            self._packed = {x.shape: reorder(conv.weight.detach(), *shape, list(x.shape))}
        return self._packed[x.shape]


class _TiledConv:
    """A 3x3 convolution and ReLU by Winograd's minimal filtering, 36 instead of 144 products per tile and channel.

    The 36 matrix products of a step are one pointwise convolution in 36 groups: oneDNN's is faster than products in
    a batch. Not a module, so that the transformed kernels stay in float32 on the CPU wherever the network goes.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        patch, kernel, output = transforms()
        self._patch = torch.kron(patch, patch).float()
        self._output = torch.kron(output, output).float()
        self._kernel = torch.kron(kernel, kernel).float()
        self._conv = conv
        self._bias = None
        if conv.bias is not None:  # what adds it to every value of a tile when it is added to the products
            ones = torch.linalg.pinv(output).sum(1)
            self._bias = torch.outer(torch.kron(ones, ones), conv.bias.detach().double()).float().flatten()
        self._kept: tuple[int, Tensor] | None = None

    def __call__(self, x: Tensor, margin: int) -> Tensor:
        """Computes (n, C, H, W) -> (n, K, H - 2 + 2 margin, W), both in channels-last order.

        Args:
            x: the map.
            margin: rows of zeros to add above and below, 1 or 0.
        """
        n, depth, height, width = x.shape
        height += 2 * margin - 2
        rows, columns = math.ceil(height / TILE), math.ceil(width / TILE)
        room = (0, 0, 1, TILE * columns - width + 1, margin, TILE * rows - height + margin)
        sources = _tiles(functional.pad(x.permute(0, 2, 3, 1), room), PATCH, rows, columns)
        out = x.new_empty(n, TILE * rows, TILE * columns, self._conv.out_channels)
        targets = _tiles(out, TILE, rows, columns)
        frames_per_step = _even_share(n, rows * columns)
        rows_per_step = _even_share(rows, columns)
        n_tiles = frames_per_step * rows_per_step * columns
        weight = self._weight(n_tiles, n * rows * columns)
        gathered, patches = (x.new_empty(n_tiles, PATCH**2, depth) for _ in range(2))
        values = x.new_empty(n_tiles, TILE**2, out.shape[3])
        forward, back = (matrix.expand(n_tiles, -1, -1) for matrix in (self._patch, self._output))
        for source, target in zip(sources.split(frames_per_step), targets.split(frames_per_step), strict=True):
            for part, place in zip(source.split(rows_per_step, 1), target.split(rows_per_step, 1), strict=True):
                used = math.prod(part.shape[:3])  # the last steps may be smaller; the rest is computed in vain
                gathered[:used].view(part.shape).copy_(part)
                torch.bmm(forward, gathered, out=patches)
                torch.bmm(back, self._products(patches, weight), out=values)
                torch.clamp_min(values[:used].view(place.shape), 0, out=place)
        return out[:, :height, :width].permute(0, 3, 1, 2)

    def _products(self, patches: Tensor, weight: Tensor) -> Tensor:
        """Multiplies transformed patches (n, 36, C) with the transformed kernels -> (n, 36, K)."""
        as_map = patches.view(1, len(patches), 1, -1).permute(0, 3, 1, 2)
        one_pass = torch.ops.mkldnn._convolution_pointwise.default
        products = one_pass(as_map, weight, self._bias, *_POINTWISE, PATCH**2, "none", [], "")
        return cast(Tensor, products.permute(0, 2, 3, 1).view(len(patches), PATCH**2, -1))

    def _weight(self, n_tiles: int, n_all: int) -> Tensor:
        """Returns the transformed kernels; they take four times the memory, so not all are kept.

        Args:
            n_tiles: tiles of a step, on which oneDNN's order of the kernels depends.
            n_all: tiles of the map.
        """
        if self._kept is not None and self._kept[0] == n_tiles:
            return self._kept[1]
        weight = transformed(self._kernel, self._conv).transpose(1, 2).reshape(-1, self._conv.in_channels, 1, 1)
        shape = [1, PATCH**2 * self._conv.in_channels, n_tiles, 1]
        weight = cast(Tensor, torch.ops.mkldnn._reorder_convolution_weight(weight, *_POINTWISE, PATCH**2, shape))
        is_kept = self._conv.weight.numel() <= max(_ALWAYS_KEPT, _KEPT_FOR_PRODUCTS // n_all)
        self._kept = (n_tiles, weight) if is_kept else None
        return weight


def _even_share(count: int, tiles_of_each: int) -> int:
    """How many of some frames, or rows of tiles, make a step, so that steps are about equal."""
    steps = math.ceil(count / max(1, _TILES_PER_STEP // tiles_of_each))
    return math.ceil(count / steps)


def _tiles(maps: Tensor, side: int, rows: int, columns: int) -> Tensor:
    """Views maps (n, h, w, C) as tiles (n, rows, columns, side, side, C) whose corners are `TILE` apart."""
    frame, row, column, channel = maps.stride()
    return maps.as_strided(
        (len(maps), rows, columns, side, side, maps.shape[3]),
        (frame, TILE * row, TILE * column, row, column, channel),
    )


def _is_worth_tiling(conv: nn.Conv2d, x: Tensor, margin: int) -> bool:
    form = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups)
    if form != ((3, 3), (1, 1), (1, 1), (1, 1), 1) or x.dtype != torch.float32:
        return False
    if min(conv.in_channels, conv.out_channels) < _FEWEST_CHANNELS:
        return False
    height, width = x.shape[2] + 2 * margin - 2, x.shape[3]
    n_tiles = math.ceil(height / TILE) * math.ceil(width / TILE)
    return len(x) * n_tiles >= _FEWEST_TILES and height * width >= _LEAST_USED * n_tiles * TILE**2


def forget_kernels(network: nn.Module) -> None:
    """Drops what a network's fused convolutions hold to be faster; they make it again when they need it."""
    for module in network.modules():
        if isinstance(module, FusedConv):
            module.forget_kernels()


def fuse_activations(network: fx.GraphModule) -> fx.GraphModule:
    """Joins convolutions with the additions and ReLUs that follow them, if any do.

    Args:
        network: traced network in evaluation mode; it is changed.

    Returns:
        The network.
    """
    graph = network.graph
    for node in list(graph.nodes):
        source = node.args[0] if node.args else None
        if not (_is_a(network, node, nn.ReLU) and isinstance(source, fx.Node) and len(source.users) == 1):
            continue
        if _is_a(network, source, nn.Conv2d):
            conv, inputs = source, source.args
        elif source.target in (operator.add, operator.iadd):
            found = _conv_and_residual(network, source)
            if found is None:
                continue
            conv, inputs = found[0], (found[0].args[0], found[1])
        else:
            continue
        layer = network.get_submodule(str(conv.target))
        network.set_submodule(str(conv.target), FusedConv(cast(nn.Conv2d, layer)))
        with graph.inserting_before(node):
            fused = graph.call_module(str(conv.target), inputs)
        node.replace_all_uses_with(fused)
        graph.erase_node(node)
        for replaced in dict.fromkeys((source, conv)):
            graph.erase_node(replaced)
    for node in graph.nodes:  # those that nothing joins still keep their kernels in order
        if _is_a(network, node, nn.Conv2d):
            layer = cast(nn.Conv2d, network.get_submodule(str(node.target)))
            network.set_submodule(str(node.target), FusedConv(layer, rectifies=False))
    network.delete_all_unused_submodules()
    network.recompile()
    return network


def _conv_and_residual(network: fx.GraphModule, addition: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """The two terms of a sum, if one is a convolution and the other may be overwritten."""
    order = {node: place for place, node in enumerate(network.graph.nodes)}
    first, second = addition.args
    for conv, residual in ((first, second), (second, first)):
        if not (isinstance(conv, fx.Node) and _is_a(network, conv, nn.Conv2d) and len(conv.users) == 1):
            continue
        if not (isinstance(residual, fx.Node) and residual.op == "call_module"):
            continue
        if all(order[user] <= order[addition] for user in residual.users):
            return conv, residual
    return None


def _is_a(network: fx.GraphModule, node: fx.Node, kind: type[nn.Module]) -> bool:
    if node.op != "call_module":
        return False
    module = network.get_submodule(str(node.target))
    return type(module) is kind and getattr(module, "padding_mode", "zeros") == "zeros"


def keep_freed_memory() -> bool:
    """Makes this process keep memory that it frees, for its next arrays, instead of giving it back to the system.

    Large arrays that are made again for every frame otherwise cost a page fault per 4 KiB, up to a third of the
    time. Only the largest, which few layers make, still go back. No value changes. Call it once the networks are
    built: what building them freed is given back first.

    Returns:
        Whether the C library has such a setting (glibc has).
    """
    gc.collect()  # traced networks refer to themselves
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    give_back_freed_memory()
    settings = ((_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, _TOP_PAD_BYTES))
    return all([mallopt(name, value) == 1 for name, value in settings])


def give_back_freed_memory() -> None:
    """Gives the memory that this process has freed back to the system, where the C library can (glibc does).

    After `keep_freed_memory`, call it where one network's work ends and another's begins: their arrays differ in
    size, so what one has freed rarely serves the other.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
