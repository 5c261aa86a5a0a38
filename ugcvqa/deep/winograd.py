"""Exact shortcuts for chains of 3x3 convolutions on a CPU: fewer products per tile, and no tiles where nothing is."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

TILE = 4
"""Side of an output tile; its input patch is two pixels larger."""

_PATCH = TILE + 2
_STAGE_BYTES = 32 << 20  # of the maps that an early stage computes at once
_KEPT_WEIGHTS = 9 * 128 * 128

_POINTS = (0.0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)
"""Interpolation points: less than half the rounding error of the usual 0, +-1, +-2."""


def transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Builds the matrices of Winograd's minimal filtering F(4x4, 3x3).

    Source: Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016), section 4; the construction
    from interpolation points and infinity is Toom and Cook's.

    Returns:
        Float64 matrices: input (6, 6), kernel (6, 3), output (4, 6). With them, four neighbouring values of a
        row d of six filtered by g are output @ ((kernel @ g) * (input @ d)).
    """
    points = torch.tensor(_POINTS, dtype=torch.float64)
    patch = torch.zeros(_PATCH, _PATCH, dtype=torch.float64)
    kernel = torch.zeros(_PATCH, 3, dtype=torch.float64)
    output = torch.zeros(TILE, _PATCH, dtype=torch.float64)
    for row, point in enumerate(points):
        others = torch.cat([points[:row], points[row + 1 :]])
        patch[row, :-1] = _coefficients(others)
        kernel[row] = point ** torch.arange(3) / (point - others).prod()
        output[:, row] = point ** torch.arange(TILE)
    patch[-1] = _coefficients(points)
    kernel[-1, -1] = output[-1, -1] = 1
    return patch, kernel, output


def transformed(kernel: Tensor, conv: nn.Conv2d) -> Tensor:
    """Transforms the kernels of a 3x3 convolution.

    Args:
        kernel: (36, 9), Kronecker square of the kernel matrix of `transforms`.
        conv: with weights (K, C, 3, 3).

    Returns:
        (36, C, K), in the weights' dtype.
    """
    outputs, inputs = conv.weight.shape[:2]
    weights = conv.weight.detach().contiguous().view(-1, 9)
    result = weights.new_empty(len(kernel), outputs * inputs)
    torch.mm(kernel, weights.t(), out=result)
    return result.view(-1, outputs, inputs).transpose(1, 2)


def _coefficients(roots: Tensor) -> Tensor:
    """Coefficients of the monic polynomial with these roots, constant first."""
    polynomial = torch.ones(1, dtype=torch.float64)
    for root in roots:
        shifted = functional.pad(polynomial, (1, 0))
        polynomial = shifted - root * functional.pad(polynomial, (0, 1))
    return polynomial


@dataclass(frozen=True)
class Step:
    """One 3x3 convolution with ReLU, and the 2x2 maximum that may follow."""

    conv: nn.Conv2d
    pools: bool


class TiledConvs(nn.Module):
    """Computes a chain of 3x3 convolutions, ReLUs and 2x2 maxima, skipping regions that the input leaves untouched.

    Where the input is zero, every map away from the rim of that region equals the chain's response to an input of
    zeros, which is computed once per frame size. So only tiles within reach of non-zero pixels are computed, and
    the rest is copied. Results differ from the plain chain by rounding only.

    Source: Lavin and Gray (2016) for the filtering; the copying is ours, exact by the layers' receptive fields.

    Args:
        layers: the chain, at least two convolutions (stride and padding 1) each with a ReLU and perhaps a 2x2
            maximum; float32 on the CPU. Its weights are shared and must not change.

    Raises:
        ValueError: if the layers are not such a chain.
    """

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        patch, kernel, output = transforms()
        self._patch = torch.kron(patch, patch).float()
        self._output = torch.kron(output, output).float()
        self._kernel = torch.kron(kernel, kernel).float()
        groups = _groups(layers)
        if groups is None:
            raise ValueError("the layers are not a chain of 3x3 convolutions, ReLUs and 2x2 maxima")
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
            nothing = torch.zeros_like(frames[:1])
            blank = self._blank(size)
            self._advance(nothing, torch.ones_like(nothing[:, :1]), blank, size, range(len(blank)), blank)
            self._responses[size] = blank
        maps, _ = self._until(len(self._stages) - 1, frames, (frames != 0).any(1, keepdim=True).float(), size)
        height, width = self._sizes(size)[-1]
        return maps[:, 1 : height + 1, 1 : width + 1].permute(0, 3, 1, 2)

    def frame_bytes(self, size: tuple[int, int]) -> int:
        """Bytes that each frame of a batch takes; what early stages need does not grow with the batch."""
        return self._stage_bytes(self._stages[-1], size)

    def _until(self, stage: int, maps: Tensor, support: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Computes all steps to the end of a stage, each stage with as many frames at once as its maps allow.

        Early maps are large and stay in cache; late ones are small and fill the matrix unit only together.
        """
        if stage:
            at_once = max(1, _STAGE_BYTES // self._stage_bytes(self._stages[stage - 1], size))
            parts = [
                self._until(stage - 1, *part, size)
                for part in zip(maps.split(at_once), support.split(at_once), strict=True)
            ]
            maps, support = (torch.cat(part) for part in zip(*parts, strict=True))
        return self._advance(maps, support, self._responses[size], size, self._stages[stage])

    def _stage_bytes(self, stage: range, size: tuple[int, int]) -> int:
        """Bytes of one frame's map before and after the step of a stage that needs most."""
        channels = [self._first.out_channels, *(step.conv.out_channels for step in self._steps)]
        maps = [4 * math.prod(one) * depth for one, depth in zip(self._sizes(size), channels, strict=True)]
        return max(maps[index] + maps[index + 1] for index in stage)

    def _advance(
        self,
        maps: Tensor,
        support: Tensor,
        responses: list[Tensor],
        size: tuple[int, int],
        steps: range,
        collected: list[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Computes some steps, one after the other.

        Args:
            maps: (n, C, H, W), one frame, if the first step is among them; else the map before them (n, h', w', K) with
                margins of zeros.
            support: (n, 1, h, w), 1 where the maps may differ from the response to zeros, else 0.
            responses: what each step gives where the support does not reach, (1, h', w', K) each.
            size: of the frames.
            steps: which steps.
            collected: takes the map after each step, if given.

        Returns:
            The map after the last step, with margins of zeros, and its support.
        """
        for index in steps:
            step, (height, width) = self._steps[index], self._sizes(size)[index + 1]
            if index == 0:
                maps, support = self._first_maps(maps), _spread(support, self._first_pools)
            marks = functional.max_pool2d(_spread(support, False), TILE, ceil_mode=True)[:, 0]
            after = responses[index].expand(len(maps), -1, -1, -1).clone()
            self._compute(step, self._weight(step), maps, marks, after)
            after[:, height + 1 :] = 0  # what partial tiles wrote beyond the map
            after[:, :, width + 1 :] = 0
            support = _spread(support, step.pools)
            maps = after
            if collected is not None:
                collected[index] = after
        return maps, support

    def _weight(self, step: Step) -> Tensor:
        """Returns the transformed kernels (36, C, K); kept are small ones only, as all take four times the memory."""
        if step.conv.weight.numel() > _KEPT_WEIGHTS:
            return transformed(self._kernel, step.conv)
        if step.conv not in self._kept:
            self._kept[step.conv] = transformed(self._kernel, step.conv)
        return self._kept[step.conv]

    def _first_maps(self, frames: Tensor) -> Tensor:
        """Computes the first convolution (n, h', w', K), with margins of zeros."""
        maps = functional.relu_(self._first(frames.contiguous(memory_format=torch.channels_last)))
        if self._first_pools:
            maps = functional.max_pool2d(maps, 2)
        height, width = maps.shape[2:]
        return functional.pad(maps.permute(0, 2, 3, 1), (0, 0, 1, -width % TILE + 1, 1, -height % TILE + 1))

    def _compute(self, step: Step, weight: Tensor, maps: Tensor, marks: Tensor, after: Tensor) -> None:
        """Computes the tiles marked in `marks` (n, rows, columns) from `maps` into `after`."""
        tiles = marks.nonzero()
        depth, side = step.conv.in_channels, TILE // 2 if step.pools else TILE
        sources = _cells(maps, tiles, TILE, _PATCH, 0)
        targets = _cells(after, tiles, side, side, 1)
        pixels, results = maps.view(-1, depth), after.view(-1, step.conv.out_channels)
        # as many tiles at once as keep the products in cache and still fill the matrix unit
        width = max(96, depth)
        for source, target in zip(sources.split(width, dim=1), targets.split(width, dim=1), strict=True):
            patches = pixels.index_select(0, source.reshape(-1)).view(_PATCH**2, -1)
            products = torch.bmm((self._patch @ patches).view(_PATCH**2, -1, depth), weight)
            values = (self._output @ products.view(_PATCH**2, -1)).view(TILE, TILE, -1)
            if step.pools:
                values = torch.maximum(values[0::2], values[1::2])
                values = torch.maximum(values[:, 0::2], values[:, 1::2])
            values = values.reshape(-1, results.shape[1])
            if step.conv.bias is not None:
                values += step.conv.bias
            values.relu_()
            results.index_copy_(0, target.reshape(-1), values)

    def _sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """Height and width of the map after the first convolution and after each step."""
        sizes = []
        for pools in (self._first_pools, *(step.pools for step in self._steps)):
            size = (size[0] // 2, size[1] // 2) if pools else size
            sizes.append(size)
        return sizes

    def _blank(self, size: tuple[int, int]) -> list[Tensor]:
        """Zeros (1, h', w', K) for the map after each step, with room for a margin and for partial tiles."""
        blank = []
        for step, (before, after) in zip(self._steps, pairwise(self._sizes(size)), strict=True):
            side = TILE // 2 if step.pools else TILE
            height, width = (
                max(math.ceil(old / TILE) * side, math.ceil(new / TILE) * TILE) + 2
                for old, new in zip(before, after, strict=True)
            )
            blank.append(torch.zeros(1, height, width, step.conv.out_channels))
        return blank


def _spread(support: Tensor, pools: bool) -> Tensor:
    """Where the result of one 3x3 convolution, and of a 2x2 maximum after it, depends on a region."""
    reached = functional.max_pool2d(support, 3, stride=1, padding=1)
    return functional.max_pool2d(reached, 2) if pools else reached


def _cells(maps: Tensor, tiles: Tensor, step: int, side: int, margin: int) -> Tensor:
    """Positions (side * side, n) of tiles' cells in maps (N, h, w, C) seen as rows of pixels."""
    _, height, width, _ = maps.shape
    frame, row, column = tiles.unbind(1)
    corner = (frame * height + step * row + margin) * width + step * column + margin
    offset = torch.arange(side)
    return (offset[:, None] * width + offset).reshape(-1, 1) + corner


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
