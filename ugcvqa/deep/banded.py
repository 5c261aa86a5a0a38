"""Inference of large images in bands of rows: a network's largest maps never lie in memory as a whole.

Most of a band's maps stay in cache, so this costs no time. Results are those of the whole maps up to rounding.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, takewhile
from typing import cast

import torch
from torch import Tensor, fx, nn

from ugcvqa.deep.fused import FusedConv

_BAND_PIXELS = 2**19  # of the image; smaller bands compute more rows twice than the cache saves
_BLOCK_BAND_BYTES = 16 << 20  # of the first block's result; smaller ones cost more than they save
_LARGE_MAP_BYTES = 64 << 20


def in_bands(network: fx.GraphModule) -> fx.GraphModule:
    """Makes the first layers of a network, and its bottleneck blocks, work through large maps in bands of rows.

    Args:
        network: traced network after `fuse_activations`; it is changed.

    Returns:
        The network.
    """
    for node in list(network.graph.nodes):
        _join_block(network, node)
    start = _band_first_maps(network)
    network.delete_all_unused_submodules()  # not yet those of the shortcuts, whose nodes are still there
    network.graph.eliminate_dead_code()
    if start is not None:
        _chain_blocks(network, start)
    network.recompile()
    return network


class BandedConv(nn.Module):
    """A convolution, ReLU and maximum over a large image, computed in bands of rows that stay in cache.

    The first maps of a network are its largest; so they never lie in memory as a whole. Exact: a band is computed
    with as many rows around it as reach its results.

    Args:
        conv: the convolution with its ReLU.
        pool: the maximum.
    """

    def __init__(self, conv: FusedConv, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.conv, self.pool = conv.conv, pool
        self._fused = [conv]  # not a submodule: its parameters are listed as those of `conv`

    def forward(self, x: Tensor) -> Tensor:
        """Computes pool(relu(conv(x)))."""
        bands = list(self.stream(x))
        return bands[0] if len(bands) == 1 else torch.cat(bands, 2).contiguous(memory_format=torch.channels_last)

    def stream(self, x: Tensor) -> Iterator[Tensor]:
        """Computes the result and yields it in bands of rows, top to bottom."""
        (fused,), conv, pool = self._fused, self.conv, self.pool
        stride = conv.stride[0] * _side(pool.stride)
        rows = max(1, _BAND_PIXELS // (len(x) * x.shape[3]) // stride) * stride
        if x.device.type != "cpu" or rows >= x.shape[2]:
            yield pool(fused(x))
            return
        reach = conv.dilation[0] * (conv.kernel_size[0] - 1) + conv.stride[0] * _side(pool.kernel_size)
        margin = math.ceil(reach / stride) * stride
        for start in range(0, x.shape[2], rows):
            top, end = max(0, start - margin), start + rows
            results = pool(fused(x[:, :, top : end + margin].contiguous(memory_format=torch.channels_last)))
            last = None if end >= x.shape[2] else (end - top) // stride
            yield results[:, :, (start - top) // stride : last]


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


class BandedBlock(nn.Module):
    """A bottleneck block: 1x1, 3x3 and 1x1 convolution, sum with what bypasses them, and ReLU.

    Source: the block is that of ResNet (He et al., 2016).

    Args:
        first: 1x1, without stride.
        second: 3x3 with a padding of 1, of any stride.
        third: 1x1, without stride.
        shortcut: 1x1 with the stride of `second`; None adds the input itself, which is overwritten.
    """

    def __init__(self, first: FusedConv, second: FusedConv, third: FusedConv, shortcut: FusedConv | None) -> None:
        super().__init__()
        self.first, self.second, self.third = first, second, third
        self._shortcut = [] if shortcut is None else [shortcut]  # its parameters are listed elsewhere
        self.stride = second.conv.stride[0]

    def forward(self, x: Tensor) -> Tensor:
        """Computes relu(third(second(first(x))) + shortcut(x))."""
        maps = self.second(self.first(x))
        return cast(Tensor, self.third(maps, self._bypassed(x)))

    def stream(self, bands: Iterable[Tensor], height: int) -> Iterator[Tensor]:
        """Computes the block from its input's bands of rows, top to bottom, and yields bands of its result.

        Nothing is computed twice: rows that the next band needs too are handed on.

        Args:
            bands: (1, C, rows, W) each; they may be overwritten.
            height: rows of all bands together.
        """
        seen, stride = 0, self.stride
        maps, waiting = None, None  # of the rows whose results are not out yet: after the first convolution, and before
        for band in bands:
            seen += band.shape[2]
            rows = self.first(band)
            margin = torch.zeros_like(rows[:, :, :1])
            maps = torch.cat([margin if maps is None else maps, rows, *([margin] if seen == height else [])], 2)
            waiting = band if waiting is None else torch.cat([waiting, band], 2)
            count = (maps.shape[2] - 3) // stride + 1
            del band, rows, margin  # nothing of a band stays in memory while blocks further down work on its results
            if count > 0:
                ready = [maps, waiting]
                maps, waiting = (part[:, :, stride * count :].clone() for part in ready)
                yield self._finished(ready, count)

    def _finished(self, ready: list[Tensor], count: int) -> Tensor:
        """Computes rows of the result from `maps` and `waiting` of `stream`, which are taken out of the list."""
        last = self.stride * (count - 1)
        residual = self._bypassed(ready.pop()[:, :, : last + 1])
        maps = self.second(ready.pop()[:, :, : last + 3], has_margins=True)
        return cast(Tensor, self.third(maps, residual))

    def _bypassed(self, x: Tensor) -> Tensor:
        return cast(Tensor, self._shortcut[0](x)) if self._shortcut else x


class BandedChain(nn.Module):
    """The first maps of a network and the bottleneck blocks behind them; blocks of large maps work band by band.

    A band goes through all of these blocks before the next one is begun, so that none of the large maps ever lies in
    memory as a whole, and most of a band stays in cache.

    Args:
        start: the first maps.
        blocks: the blocks.
    """

    def __init__(self, start: BandedConv, blocks: Sequence[BandedBlock]) -> None:
        super().__init__()
        self._start, self._blocks = [start], list(blocks)  # not submodules: they stay where the network lists them

    def forward(self, x: Tensor) -> Tensor:
        """Computes the last block's result for images (n, C, H, W)."""
        (start,) = self._start
        sizes = self._sizes((x.shape[2], x.shape[3])) if x.device.type == "cpu" else []
        banded = len(list(takewhile(lambda pair: max(map(_map_bytes, pair)) >= _LARGE_MAP_BYTES, pairwise(sizes))))
        maps = self._stream(x, sizes[: banded + 1]) if banded else start(x)
        for block in self._blocks[banded:]:
            maps = block(maps)
        return cast(Tensor, maps)

    def _stream(self, x: Tensor, sizes: Sequence[torch.Size]) -> Tensor:
        """Computes the blocks between maps of these sizes (C, H, W), frame by frame."""
        dtype = self._blocks[0].third.conv.weight.dtype
        out = x.new_empty(len(x), *sizes[-1], dtype=dtype).contiguous(memory_format=torch.channels_last)
        for image, place in zip(x.split(1), out.split(1), strict=True):
            rows = max(1, _BLOCK_BAND_BYTES // (4 * sizes[1][0] * sizes[1][2]))
            bands: Iterator[Tensor] = (band for part in self._start[0].stream(image) for band in part.split(rows, 2))
            for block, size in zip(self._blocks, sizes[:-1], strict=False):
                bands = block.stream(bands, size[1])
            done = 0
            for band in bands:
                place[:, :, done : done + band.shape[2]] = band
                done += band.shape[2]
        return out

    def _sizes(self, size: tuple[int, int]) -> list[torch.Size]:
        """Sizes (C, H, W) of the first maps and of each block's result."""
        conv, pool = self._start[0].conv, self._start[0].pool
        height, width = (_pooled_side(_pooled_side(side, conv), pool) for side in size)
        sizes = [torch.Size((conv.out_channels, height, width))]
        for block in self._blocks:
            height, width = (-(-side // block.stride) for side in (height, width))
            sizes.append(torch.Size((block.third.conv.out_channels, height, width)))
        return sizes


def _map_bytes(size: torch.Size) -> int:
    return 4 * math.prod(size)


def _pooled_side(side: int, layer: nn.Conv2d | nn.MaxPool2d) -> int:
    kernel, padding, dilation = _side(layer.kernel_size), _side(cast(int, layer.padding)), _side(layer.dilation)
    stride = _side(layer.stride)
    return (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _band_first_maps(network: fx.GraphModule) -> fx.Node | None:
    """Replaces the convolution and the maximum that a network begins with; None if it does not begin so."""
    image, first, second = list(network.graph.nodes)[:3]
    is_chain = first.op == second.op == "call_module" and first.args[:1] == (image,) and len(image.users) == 1
    if not (is_chain and second.args[:1] == (first,) and len(first.users) == 1):
        return None
    conv, pool = (network.get_submodule(str(node.target)) for node in (first, second))
    if not (isinstance(conv, FusedConv) and isinstance(pool, nn.MaxPool2d)) or pool.return_indices:
        return None
    network.set_submodule(str(first.target), BandedConv(conv, pool))
    second.replace_all_uses_with(first)
    network.graph.erase_node(second)
    return cast(fx.Node, first)


def _join_block(network: fx.GraphModule, last: fx.Node) -> None:
    """Replaces a bottleneck block that ends with this node, if one does."""
    nodes = [last]
    while len(nodes) < 3:
        source = nodes[0].args[0] if nodes[0].op == "call_module" else None
        if not isinstance(source, fx.Node) or len(source.users) > 1:
            return
        nodes.insert(0, source)
    convs = [network.get_submodule(str(node.target)) for node in nodes if node.op == "call_module"]
    if len(last.args) != 2 or not all(isinstance(conv, FusedConv) for conv in convs) or len(convs) < 3:
        return
    first, second, third = (cast(FusedConv, conv) for conv in convs)
    if not (_is_pointwise(first.conv) and _is_pointwise(third.conv) and _is_three_by_three(second.conv)):
        return
    x, residual = nodes[0].args[0], cast(fx.Node, last.args[1])
    shortcut = None
    if residual is not x:
        found = network.get_submodule(str(residual.target)) if residual.op == "call_module" else None
        if not isinstance(found, FusedConv) or residual.args != (x,) or len(residual.users) > 1:
            return
        if found.rectifies or not _is_shortcut(found.conv, second.conv):
            return
        shortcut = found
    network.set_submodule(str(last.target), BandedBlock(first, second, third, shortcut))
    last.args = (x,)
    for node in (nodes[1], nodes[0]):
        network.graph.erase_node(node)


def _chain_blocks(network: fx.GraphModule, start: fx.Node) -> None:
    """Joins the blocks that follow the first maps, and these, into one node; the modules stay where they are."""
    nodes = [start]
    while len(users := list(nodes[-1].users)) == 1 and users[0].op == "call_module":
        if not isinstance(network.get_submodule(str(users[0].target)), BandedBlock):
            break
        nodes.append(users[0])
    first, *blocks = (network.get_submodule(str(node.target)) for node in nodes)
    if not blocks or cast(BandedConv, first).pool.ceil_mode:
        return
    network.add_submodule("banded", BandedChain(cast(BandedConv, first), cast(list[BandedBlock], blocks)))
    with network.graph.inserting_before(start):
        chain = network.graph.call_module("banded", start.args)
    nodes[-1].replace_all_uses_with(chain)
    for node in reversed(nodes):
        network.graph.erase_node(node)


def _is_shortcut(conv: nn.Conv2d, second: nn.Conv2d) -> bool:
    return (conv.kernel_size, conv.stride, conv.padding) == ((1, 1), second.stride, (0, 0))


def _is_pointwise(conv: nn.Conv2d) -> bool:
    return (conv.kernel_size, conv.stride, conv.padding) == ((1, 1), (1, 1), (0, 0))


def _is_three_by_three(conv: nn.Conv2d) -> bool:
    return (conv.kernel_size, conv.padding, conv.dilation) == ((3, 3), (1, 1), (1, 1))
