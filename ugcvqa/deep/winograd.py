"""Winograd's minimal filtering: 3x3 convolutions of 4x4 tiles with 36 instead of 144 products per pair of channels."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

TILE = 4
"""Side of an output tile; its input patch is two pixels larger."""

PATCH = TILE + 2

_POINTS = (0.0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)
"""Interpolation points: less than half the rounding error of the usual 0, +-1, +-2."""

_EVEN, _ODD = [0, 1, 3], [5, 1, 3]  # points whose transforms have even or odd powers: 0 or infinity, one of each pair
_ORDER = [0, 1, 3, 5, 2, 4]  # points by halves: 0 and one of each pair, infinity and the opposite ones
_KERNEL_COLUMNS = 8192  # transformed at once, so that they stay in cache
_TILE_VALUES = 16384  # likewise, of each pixel of the tiles
_FEWEST_TILES = 192  # multiplied at once, so that reading the kernels costs little


def transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Builds the matrices of Winograd's minimal filtering F(4x4, 3x3).

    Source: Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016), section 4; the construction
    from interpolation points and infinity is Toom and Cook's.

    Returns:
        Float64 matrices: input (6, 6), kernel (6, 3), output (4, 6). With them, four neighbouring values of a
        row d of six filtered by g are output @ ((kernel @ g) * (input @ d)).
    """
    points = torch.tensor(_POINTS, dtype=torch.float64)
    patch = torch.zeros(PATCH, PATCH, dtype=torch.float64)
    kernel = torch.zeros(PATCH, 3, dtype=torch.float64)
    output = torch.zeros(TILE, PATCH, dtype=torch.float64)
    for row, point in enumerate(points):
        others = torch.cat([points[:row], points[row + 1 :]])
        patch[row, :-1] = _coefficients(others)
        kernel[row] = point ** torch.arange(3) / (point - others).prod()
        output[:, row] = point ** torch.arange(TILE)
    patch[-1] = _coefficients(points)
    kernel[-1, -1] = output[-1, -1] = 1
    return patch, kernel, output


def transformed(kernel: Tensor, conv: nn.Conv2d, out: Tensor | None = None) -> Tensor:
    """Transforms the kernels of a 3x3 convolution.

    Args:
        kernel: (36, 9), Kronecker square of the kernel matrix of `transforms`.
        conv: with weights (K, C, 3, 3).
        out: where to put the result, (36 * K * C,) or longer; by default a new array.

    Returns:
        (36, C, K), in the weights' dtype.
    """
    outputs, inputs = conv.weight.shape[:2]
    weights = conv.weight.detach().contiguous().view(-1, 9)
    out = weights.new_empty(len(kernel) * outputs * inputs) if out is None else out[: len(kernel) * outputs * inputs]
    result = out.view(len(kernel), -1)
    for part, place in zip(weights.split(_KERNEL_COLUMNS), result.split(_KERNEL_COLUMNS, 1), strict=True):
        torch.mm(kernel, part.t(), out=place)
    return result.view(-1, outputs, inputs).transpose(1, 2)


def _coefficients(roots: Tensor) -> Tensor:
    """Coefficients of the monic polynomial with these roots, constant first."""
    polynomial = torch.ones(1, dtype=torch.float64)
    for root in roots:
        shifted = functional.pad(polynomial, (1, 0))
        polynomial = shifted - root * functional.pad(polynomial, (0, 1))
    return polynomial


class TileFilter:
    """Filters tiles of maps that lie in memory as rows of pixels, in any order.

    The points but 0 and infinity come in pairs of opposite sign, whose transforms differ in the sign of odd powers
    only. So the even and the odd rows and columns of a patch are transformed by themselves, with a quarter of the
    products, and sums and differences give the pairs; likewise on the way back.
    """

    def __init__(self) -> None:
        patch, kernel, output = transforms()
        squared = torch.kron(kernel[_ORDER], kernel[_ORDER]).float()
        self._kernel = squared.view(2, 3, 2, 3, -1).transpose(1, 2).reshape(PATCH**2, -1)
        self._patch = _squared_halves(patch[_EVEN, 0::2], patch[_ODD, 1::2])
        self._output = _squared_halves(output[0::2, _EVEN], output[1::2, _ODD])

    def kernels(self, conv: nn.Conv2d, out: Tensor | None = None) -> Tensor:
        """Transforms a convolution's kernels; arguments and result are those of `transformed`."""
        return transformed(self._kernel, conv, out)

    def __call__(self, rows: Tensor, sources: Tensor, kernels: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
        """Computes a convolution, the 2x2 maximum after it if there is one, and ReLU.

        Args:
            rows: (r, C), a pixel each.
            sources: (36, n) int64, the rows that make the patch of each tile, in the order of `by_halves`.
            kernels: (36, C, K), from `kernels`.
            bias: (K,) of the convolution, if it has one.
            out: takes the results, (16 n, K); with the maximum (4 n, K).

        Returns:
            (16, n) int64: the row of `out` that holds each pixel of a tile, in the order of `by_halves`; with the
            maximum (4, n), row by row.
        """
        n_tiles, (_, depth, width) = sources.shape[1], kernels.shape
        at_once = min(n_tiles, max(_FEWEST_TILES, depth // 2))
        few = [max(1, _TILE_VALUES // channels) for channels in (depth, width)]
        # two arrays take turns: what lies in cache is written over
        rooms = rows.new_empty(2, PATCH**2 * at_once * max(depth, width))
        order, start, per_tile = [], 0, len(out) // n_tiles
        for block in sources.split(at_once, 1):
            values, products = (
                _taken(room, PATCH**2, block.shape[1], channels)
                for room, channels in zip(rooms, (depth, width), strict=True)
            )
            for source, place in zip(block.split(few[0], 1), values.split(few[0], 1), strict=True):
                self._to_points(rows, source, rooms[1], place)
            torch.bmm(values, kernels, out=products)
            for part in products.split(few[1], 1):
                length = per_tile * part.shape[1]
                self._from_points(part, bias, rooms[0], out[start : start + length])
                order.append(torch.arange(start, start + length).view(per_tile, -1))
                start += length
        return torch.cat(order, 1)

    def _to_points(self, rows: Tensor, sources: Tensor, room: Tensor, out: Tensor) -> None:
        """Gathers patches, in `room`, and transforms them into `out` (36, n, C)."""
        patches = _taken(room, sources.numel(), rows.shape[1])
        torch.index_select(rows, 0, sources.reshape(-1), out=patches)
        torch.bmm(self._patch, patches.view(4, 9, -1), out=out.view(4, 9, -1))
        _pair(out)

    def _from_points(self, products: Tensor, bias: Tensor | None, room: Tensor, out: Tensor) -> None:
        """Transforms products (36, n, K), which it overwrites, in `room`, into pixels (16 n or 4 n, K)."""
        _pair(products)
        values = _taken(room, 4, TILE, products[0].numel())
        torch.bmm(self._output, products.view(4, 9, -1), out=values)
        if len(out) == TILE * products.shape[1]:
            torch.maximum(values[:2], values[2:], out=values[:2])
            values = torch.maximum(values[0], values[1], out=values[0])
        values = values.view(out.shape)
        if bias is not None:
            values += bias
        torch.clamp_min(values, 0, out=out)


def _taken(room: Tensor, *shape: int) -> Tensor:
    """The beginning of a flat array in another shape."""
    return room[: math.prod(shape)].view(shape)


def by_halves(grid: Tensor) -> Tensor:
    """Brings a grid (even side, even side) in the order of `TileFilter`: by row's half, column's half, row, column."""
    side = len(grid) // 2
    return grid.view(side, 2, side, 2).permute(1, 3, 0, 2).flatten()


def _squared_halves(even: Tensor, odd: Tensor) -> Tensor:
    """Kronecker products of two halves of a transform, (4, m, n) float32, the rows' half first."""
    return torch.stack([torch.kron(rows, columns) for rows in (even, odd) for columns in (even, odd)]).float()


def _pair(values: Tensor) -> None:
    """Replaces even and odd parts (36, n, C) by their sums and differences, along rows and columns."""
    grid = values.view(2, 2, 3, 3, -1)
    for even, odd in (grid[:, :, 1:], grid[:, :, :, 1:].transpose(0, 1)):
        even += odd
        torch.sub(even, odd, alpha=2, out=odd)
