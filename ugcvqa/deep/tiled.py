"""Exact shortcuts for chains of 3x3 convolutions on a CPU: fewer products per tile, and no tiles where nothing is."""

import functools
import math
import sys
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from ugcvqa.deep.winograd import PATCH, TILE, TileFilter, by_halves

_STAGE_TILES = 384  # of the maps that an early stage computes at once: kernels are read for enough, and memory is small
_KEPT_WEIGHTS = 9 * 128 * 128


@dataclass(frozen=True)
class Step:
    """One 3x3 convolution with ReLU, and the 2x2 maximum that may follow."""

    conv: nn.Conv2d
    pools: bool

    @property
    def side(self) -> int:
        """Side of the square that a tile becomes."""
        return TILE // 2 if self.pools else TILE


@dataclass(frozen=True)
class _Maps:
    """Maps of n frames.

    Attributes:
        rows: (r, C), pixels in any order; the first is zero.
        index: (n, h, w) int64, the row that holds each pixel.
        support: (n, h, w) bool, where the maps may differ from the response to zeros.
    """

    rows: Tensor
    index: Tensor
    support: Tensor


class _Rows:
    """Room for a step's results: a row of zeros, the response to an input of zeros, then what is computed."""

    def __init__(self, response: Tensor, n_computed: int) -> None:
        self.values = response.new_empty(len(response) + n_computed, response.shape[1])
        self.values[: len(response)] = response
        self._first = self.n_used = len(response)

    def forget(self) -> None:
        """Drops what was computed."""
        self.n_used = self._first

    def take(self, count: int) -> Tensor:
        """Returns the next rows, to be written."""
        self.n_used += count
        return self.values[self.n_used - count : self.n_used]


@dataclass(frozen=True)
class _Pass:
    """What one call works in: results of each step, and room for the kernels of one."""

    size: tuple[int, int]
    results: list[_Rows]
    kernels: Tensor


class TiledConvs(nn.Module):
    """Computes a chain of 3x3 convolutions, ReLUs and 2x2 maxima, skipping regions that the input leaves untouched.

    Where the input is zero, every map away from the rim of that region equals the chain's response to an input of
    zeros, which is computed once per frame size. So only tiles within reach of non-zero pixels are computed, and
    the rest is taken from there. Results differ from the plain chain by rounding only.

    Source: Lavin and Gray (2016) for the filtering; the rest is ours, exact by the layers' receptive fields.

    Args:
        layers: the chain, at least two convolutions (stride and padding 1) each with a ReLU and perhaps a 2x2
            maximum; float32 on the CPU. Its weights are shared and must not change.

    Raises:
        ValueError: if the layers are not such a chain.
    """

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        groups = _groups(layers)
        if groups is None:
            raise ValueError("the layers are not a chain of 3x3 convolutions, ReLUs and 2x2 maxima")
        self._filter = TileFilter()
        # the first convolution has so few inputs that the plain one is the faster
        (self._first, self._first_pools), *later = groups
        self._steps = [Step(conv, pools) for conv, pools in later]
        ends = [index + 1 for index, step in enumerate(self._steps[:-1]) if step.pools]
        self._stages = [range(*ends) for ends in pairwise([0, *ends, len(self._steps)])]
        self._responses: dict[tuple[int, int], list[Tensor]] = {}
        self._kept: dict[nn.Conv2d, Tensor] = {}

    def forward(self, frames: Tensor) -> Tensor:
        """Computes the chain's output for frames (n, C, H, W) float32 that may hold large regions of zeros."""
        size = (frames.shape[2], frames.shape[3])
        if size not in self._responses:
            self._responses[size] = self._response(torch.zeros_like(frames[:1]))
        support = (frames != 0).any(1)
        maps = self._until(len(self._stages) - 1, frames, support, self._room(size, len(frames)))
        return _pixels(maps).permute(0, 3, 1, 2)

    def frame_bytes(self, size: tuple[int, int]) -> int:
        """Bytes that each frame of a batch takes; what early stages need does not grow with the batch."""
        return self._stage_bytes(self._stages[-1], size)

    def _response(self, nothing: Tensor) -> list[Tensor]:
        """Computes what each step gives for a frame of zeros: a row of zeros, then the pixels, (1 + h w, K)."""
        maps = self._first_maps(nothing, torch.ones_like(nothing[:, 0], dtype=torch.bool))
        sizes = self._sizes((nothing.shape[2], nothing.shape[3]))
        if not math.prod(sizes[-1]):
            raise RuntimeError("no pixel is left of the frame after the last maximum")  # as the plain layers would
        responses = []
        for step, size in zip(self._steps, sizes[1:], strict=True):
            zeros = nothing.new_zeros(1, step.conv.out_channels)
            height, width = maps.index.shape[1:]
            room = _Rows(zeros.expand(1 + math.prod(size), -1), _n_rows(step, (height, width)))
            maps = self._advance(step, maps, room, self._kernels(step))
            responses.append(torch.cat([zeros, _pixels(maps).flatten(0, 2)]))
        return responses

    def _room(self, size: tuple[int, int], n_frames: int) -> _Pass:
        """Takes memory for one call."""
        results = []
        for number, stage in enumerate(self._stages):
            for index in stage:
                # the next stage's input is gathered from several runs of this one
                n = min(n_frames, self._at_once(number + (index == stage[-1]), size))
                count = n * _n_rows(self._steps[index], self._sizes(size)[index])
                results.append(_Rows(self._responses[size][index], count))
        largest = max(step.conv.weight.numel() for step in self._steps)
        return _Pass(size, results, torch.empty(largest // 9 * PATCH**2 if largest > _KEPT_WEIGHTS else 0))

    def _at_once(self, stage: int, size: tuple[int, int]) -> int:
        """How many frames a stage computes at once: of large maps few, as they take memory; the last takes all."""
        if stage >= len(self._stages) - 1:
            return sys.maxsize
        height, width = self._sizes(size)[self._stages[stage].start]
        return max(1, round(_STAGE_TILES / (math.ceil(height / TILE) * math.ceil(width / TILE))))

    def _until(self, stage: int, frames: Tensor, support: Tensor, run: _Pass) -> _Maps:
        """Computes all steps to the end of a stage, adding the results to those of its last step."""
        if stage == 0:
            maps = self._first_maps(frames, support)
        else:
            before = run.results[self._stages[stage].start - 1]
            before.forget()
            at_once = self._at_once(stage - 1, run.size)
            parts = [
                self._until(stage - 1, *part, run)
                for part in zip(frames.split(at_once), support.split(at_once), strict=True)
            ]
            index, reached = (torch.cat([getattr(part, name) for part in parts]) for name in ("index", "support"))
            maps = _Maps(before.values, index, reached)
        for number in self._stages[stage]:
            step, room = self._steps[number], run.results[number]
            if number != self._stages[stage][-1]:
                room.forget()
            maps = self._advance(step, maps, room, self._kernels(step, run.kernels))
        return maps

    def _stage_bytes(self, stage: range, size: tuple[int, int]) -> int:
        """Bytes of one frame's map before and after the step of a stage that needs most."""
        channels = [self._first.out_channels, *(step.conv.out_channels for step in self._steps)]
        maps = [4 * math.prod(one) * depth for one, depth in zip(self._sizes(size), channels, strict=True)]
        return max(maps[index] + maps[index + 1] for index in stage)

    def _first_maps(self, frames: Tensor, support: Tensor) -> _Maps:
        """Computes the first convolution."""
        # an added line makes room for the row of zeros
        frames = functional.pad(frames, (0, 0, 1, 0)).contiguous(memory_format=torch.channels_last)
        maps = functional.relu_(self._first(frames))
        if self._first_pools:
            maps = functional.pad(functional.max_pool2d(maps[:, :, 1:], 2), (0, 0, 1, 0))
        maps = maps.permute(0, 2, 3, 1)
        maps[:, 0] = 0
        index = torch.arange(maps[..., 0].numel()).view(maps.shape[:3])
        support = _grown(support)
        support = _any_in_squares(support, 2) if self._first_pools else support
        return _Maps(maps.reshape(-1, maps.shape[3]), index[:, 1:], support)

    def _advance(self, step: Step, maps: _Maps, room: _Rows, kernels: Tensor) -> _Maps:
        """Computes one step where the support reaches, and adds the pixels to `room`."""
        n, *size = maps.index.shape
        height, width = ((side // 2 if step.pools else side) for side in size)
        down, across = (math.ceil(side / TILE) for side in size)
        # in whole tiles; what they hold beyond the map is never used
        index = torch.arange(1, height * width + 1).view(height, width)
        beyond = (0, across * step.side - width, 0, down * step.side - height)
        index = functional.pad(index, beyond).repeat(n, 1, 1)
        reached = _grown(maps.support)
        tiles = _any_in_squares(
            functional.pad(reached, (0, across * TILE - size[1], 0, down * TILE - size[0])), TILE
        ).nonzero()
        if len(tiles):
            margins = (1, across * TILE - size[1] + 1, 1, down * TILE - size[0] + 1)
            sources = functional.pad(maps.index, margins)
            sources = sources.take(_cells(sources, tiles, TILE, by_halves(_square(sources, PATCH))))
            square = _square(index, step.side)
            targets = _cells(index, tiles, step.side, square.flatten() if step.pools else by_halves(square))
            first = room.n_used
            order = self._filter(maps.rows, sources, kernels, step.conv.bias, room.take(targets.numel()))
            index.view(-1)[targets] = order + first
        support = _any_in_squares(reached, 2) if step.pools else reached
        return _Maps(room.values, index[:, :height, :width], support)

    def _sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """Height and width of the map after the first convolution and after each step."""
        sizes = []
        for pools in (self._first_pools, *(step.pools for step in self._steps)):
            size = (size[0] // 2, size[1] // 2) if pools else size
            sizes.append(size)
        return sizes

    def _kernels(self, step: Step, out: Tensor | None = None) -> Tensor:
        """Returns the transformed kernels (36, C, K); kept are small ones only, as all take four times the memory."""
        if step.conv.weight.numel() > _KEPT_WEIGHTS:
            return self._filter.kernels(step.conv, out)
        if step.conv not in self._kept:
            self._kept[step.conv] = self._filter.kernels(step.conv)
        return self._kept[step.conv]


def _pixels(maps: _Maps) -> Tensor:
    """The maps in order, (n, h, w, C)."""
    return maps.rows.index_select(0, maps.index.flatten()).view(*maps.index.shape, maps.rows.shape[1])


def _grown(region: Tensor) -> Tensor:
    """Where a 3x3 convolution's result depends on a region (n, h, w) of its input."""
    across = region.clone()
    across[:, :, 1:] |= region[:, :, :-1]
    across[:, :, :-1] |= region[:, :, 1:]
    grown = across.clone()
    grown[:, 1:] |= across[:, :-1]
    grown[:, :-1] |= across[:, 1:]
    return grown


def _any_in_squares(region: Tensor, side: int) -> Tensor:
    """Whether any pixel of a square is in a region (n, h, w); pixels beyond the last whole square do not count."""
    height, width = (length // side * side for length in region.shape[1:])
    lines = functools.reduce(torch.logical_or, (region[:, start:height:side, :width] for start in range(side)))
    return functools.reduce(torch.logical_or, (lines[:, :, start::side] for start in range(side)))


def _n_rows(step: Step, size: tuple[int, int]) -> int:
    """Rows that the results of all tiles of a map (h, w) take."""
    return math.prod(math.ceil(side / TILE) for side in size) * step.side**2


def _square(maps: Tensor, side: int) -> Tensor:
    """Positions (side, side) of a square's pixels in maps (n, h, w), from its corner."""
    offset = torch.arange(side)
    return offset[:, None] * maps.shape[2] + offset


def _cells(maps: Tensor, tiles: Tensor, step: int, offsets: Tensor) -> Tensor:
    """Positions (offsets, tiles) in maps (n, h, w) of pixels at some offsets from the corners of tiles."""
    frame, row, column = tiles.unbind(1)
    _, height, width = maps.shape
    return offsets[:, None] + (frame * height + step * row) * width + step * column


def _groups(layers: nn.Sequential) -> list[tuple[nn.Conv2d, bool]] | None:
    """The convolutions of a chain, each with whether a 2x2 maximum follows; None if the chain is of another form."""
    groups: list[tuple[nn.Conv2d, bool]] = []
    rest = list(layers)
    while rest:
        conv, relu, *rest = rest if len(rest) > 1 else [*rest, nn.Identity()]
        if not (isinstance(conv, nn.Conv2d) and _is_plain(conv) and isinstance(relu, nn.ReLU)):
            return None
        pools = bool(rest) and isinstance(rest[0], nn.MaxPool2d)
        if pools and not _is_halving(rest.pop(0)):
            return None
        groups.append((conv, pools))
    return groups if len(groups) > 1 else None


def _is_plain(conv: nn.Conv2d) -> bool:
    form = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode)
    return form == ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros") and conv.weight.dtype == torch.float32


def _is_halving(pool: nn.Module) -> bool:
    form = [getattr(pool, name) for name in ("kernel_size", "stride", "padding", "dilation", "ceil_mode")]
    return form in ([2, 2, 0, 1, False], [(2, 2), (2, 2), 0, 1, False])


class _LayerTracer(fx.Tracer):
    """Follows the path of a frame from layer to layer, into none."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(m.children())


def leading_chain(network: nn.Module) -> str:
    """Finds the chain of 3x3 convolutions that a network begins with.

    Args:
        network: in evaluation mode.

    Returns:
        Name of the child that `TiledConvs` can stand in for and that takes the network's input; empty if there is
        none.
    """
    try:
        image, *nodes = _LayerTracer().trace(network).nodes
    except (fx.proxy.TraceError, TypeError, ValueError):  # the path of a frame depends on its values
        return ""
    first = str(nodes[0].target).partition(".")[0]
    child = dict(network.named_children()).get(first)
    is_chain = isinstance(child, nn.Sequential) and _groups(child) is not None
    return first if is_chain and list(image.users) == [nodes[0]] else ""
