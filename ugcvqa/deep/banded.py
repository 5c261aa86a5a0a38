"""Inference of large images in bands of rows: a network's largest maps never lie in memory as a whole.

A band's maps stay in cache, so this costs no time. Results are those of the whole maps up to rounding.
"""

import math
from typing import cast

import torch
from torch import Tensor, fx, nn

from ugcvqa.deep.fused import FusedConv
from ugcvqa.deep.winograd import TILE

_BAND_PIXELS = 2**18  # of the image; the first maps of a band then stay in cache
_BLOCK_BAND_BYTES = 16 << 20  # of a block's input; smaller ones cost more than they save
_LARGE_MAP_BYTES = 64 << 20


def in_bands(network: fx.GraphModule) -> fx.GraphModule:
    """Makes the first layers of a network, and its bottleneck blocks, work through large maps in bands of rows.

    Args:
        network: traced network after `fuse_activations`; it is changed.

    Returns:
        The network.
    """
    _band_first_maps(network)
    for node in list(network.graph.nodes):
        _band_block(network, node)
    network.delete_all_unused_submodules()
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
        (fused,), conv, pool = self._fused, self.conv, self.pool
        stride = conv.stride[0] * _side(pool.stride)
        rows = max(1, _BAND_PIXELS // (len(x) * x.shape[3]) // stride) * stride
        if x.device.type != "cpu" or rows >= x.shape[2]:
            return cast(Tensor, pool(fused(x)))
        reach = conv.dilation[0] * (conv.kernel_size[0] - 1) + conv.stride[0] * _side(pool.kernel_size)
        margin = math.ceil(reach / stride) * stride
        bands = []
        for start in range(0, x.shape[2], rows):
            top, end = max(0, start - margin), start + rows
            results = pool(fused(x[:, :, top : end + margin].contiguous(memory_format=torch.channels_last)))
            last = None if end >= x.shape[2] else (end - top) // stride
            bands.append(results[:, :, (start - top) // stride : last])
        return torch.cat(bands, 2).contiguous(memory_format=torch.channels_last)


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


class BandedBlock(nn.Module):
    """A bottleneck block, computed in bands of rows: 1x1, 3x3 and 1x1 convolution, sum with a residual, and ReLU.

    Source: the block is that of ResNet (He et al., 2016). Nothing is computed twice: the rows of the first
    convolution that the next band needs too are handed on. The residual, which may be the input, is overwritten.

    Args:
        first: 1x1, without stride.
        second: 3x3 with a padding of 1, of any stride.
        third: 1x1, without stride.
    """

    def __init__(self, first: FusedConv, second: FusedConv, third: FusedConv) -> None:
        super().__init__()
        self.first, self.second, self.third = first, second, third

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Computes relu(third(second(first(x))) + residual)."""
        # as many rows as fill whole tiles
        row_bytes = x[0, :, :1].nbytes * self.second.conv.stride[0]
        rows = max(1, _BLOCK_BAND_BYTES // row_bytes // TILE) * TILE
        largest = max(x[0].nbytes, residual[0].nbytes)
        if x.device.type != "cpu" or largest < _LARGE_MAP_BYTES or rows >= residual.shape[2]:
            return cast(Tensor, self.third(self.second(self.first(x)), residual))
        for one, total in zip(x.split(1), residual.split(1), strict=True):
            self._add_bands(one, total, rows)
        return residual

    def _add_bands(self, x: Tensor, total: Tensor, rows: int) -> None:
        """Computes one frame (1, C, H, W) into its residual (1, K, h, w), some rows of the result at a time."""
        stride, height = self.second.conv.stride[0], x.shape[2]
        done, kept = 0, list[Tensor]()  # rows of x that are used up, and what the next band needs of them
        for start in range(0, total.shape[2], rows):
            band = total[:, :, start : start + rows]
            end = (start + band.shape[2] - 1) * stride + 2
            if done < height:
                kept.append(self.first(x[:, :, done : min(end, height)]))
            margin = torch.zeros_like(kept[-1][:, :, :1])
            maps = torch.cat([*([] if start else [margin]), *kept, *([margin] if end > height else [])], 2)
            self.third(self.second(maps, has_margins=True), band)
            done = min(end, height)
            kept = [maps[:, :, rows * stride :].clone()]


def _band_first_maps(network: fx.GraphModule) -> None:
    """Replaces the convolution and the maximum that a network begins with, if it begins so."""
    image, first, second = list(network.graph.nodes)[:3]
    is_chain = first.op == second.op == "call_module" and first.args[:1] == (image,) and len(image.users) == 1
    if not (is_chain and second.args[:1] == (first,) and len(first.users) == 1):
        return
    conv, pool = (network.get_submodule(str(node.target)) for node in (first, second))
    if isinstance(conv, FusedConv) and isinstance(pool, nn.MaxPool2d) and not pool.return_indices:
        network.set_submodule(str(first.target), BandedConv(conv, pool))
        second.replace_all_uses_with(first)
        network.graph.erase_node(second)


def _band_block(network: fx.GraphModule, last: fx.Node) -> None:
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
    network.set_submodule(str(last.target), BandedBlock(first, second, third))
    last.args = (nodes[0].args[0], last.args[1])
    for node in (nodes[1], nodes[0]):
        network.graph.erase_node(node)


def _is_pointwise(conv: nn.Conv2d) -> bool:
    return (conv.kernel_size, conv.stride, conv.padding) == ((1, 1), (1, 1), (0, 0))


def _is_three_by_three(conv: nn.Conv2d) -> bool:
    return (conv.kernel_size, conv.padding, conv.dilation) == ((3, 3), (1, 1), (1, 1))
