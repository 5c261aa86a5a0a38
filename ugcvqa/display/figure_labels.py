"""Placement of the names of points in a plot, so that no name covers another name, a point or the frame."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DISTANCES = (7.0, 14.0, 24.0, 36.0, 50.0, 68.0, 90.0, 115.0, 145.0)  # points, 1/72 inch
_N_ANGLES = 16
_POINT_RADIUS = 5.0
_GAP = 2.0
_SWEEPS = 4
_OVERLAP, _CROSSING = 1000.0, 200.0  # against one per point of distance


class Box(NamedTuple):
    """A rectangle; unit 1/72 inch, origin at the lower left of the figure."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: "Box") -> bool:
        """Whether two boxes share area."""
        is_apart = self.right <= other.left or other.right <= self.left
        return not (is_apart or self.top <= other.bottom or other.top <= self.bottom)

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The point of this box that is nearest to a point."""
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)


Point = tuple[float, float]


def place_labels(axes: "Axes", x: Sequence[float], y: Sequence[float], names: Sequence[str]) -> None:
    """Writes a name beside each point of a finished plot, with a thin line where it cannot stand right beside it.

    Args:
        axes: the plot; its limits must not change afterwards.
        x: (N,) data coordinates.
        y: (N,) data coordinates.
        names: (N,) what is written.
    """
    figure = axes.get_figure(root=True)
    if figure is None or not names:
        return
    texts = [axes.text(0.5, 0.5, name, fontsize=8.5, transform=axes.transAxes) for name in names]
    figure.canvas.draw()  # the layout, and with it every size, is known only now
    unit = 72 / figure.dpi
    sizes = [(box.width * unit, box.height * unit) for box in (text.get_window_extent() for text in texts)]
    points = [(px * unit, py * unit) for px, py in axes.transData.transform(list(zip(x, y, strict=True)))]
    left, bottom, right, top = (edge * unit for edge in axes.get_window_extent().extents)
    frame = Box(left + _GAP, bottom + _GAP, right - _GAP, top - _GAP)
    for text in texts:
        text.remove()
    for name, data, point, box in zip(
        names, zip(x, y, strict=True), points, label_boxes(points, sizes, frame), strict=True
    ):
        end = box.nearest(*point)
        arrow = {"arrowstyle": "-", "color": "#888888", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
        note = axes.annotate(
            name,
            data,
            (box.left + _GAP - point[0], box.bottom + _GAP - point[1]),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=8.5,
        )
        note.set_in_layout(False)
        if math.dist(point, end) > _DISTANCES[0] + 2:
            line = axes.annotate(
                "", data, (end[0] - point[0], end[1] - point[1]), textcoords="offset points", arrowprops=arrow
            )
            line.set_in_layout(False)


def label_boxes(points: Sequence[Point], sizes: Sequence[tuple[float, float]], frame: Box) -> list[Box]:
    """Chooses a box for the label of each point: near it, inside the frame, off all points and other labels.

    Source: own; each label in turn, the most crowded first, takes the cheapest of some hundred places around its
    point, several times over so that early ones can give way to later ones.

    Args:
        points: (N,) centres of the points.
        sizes: (N,) widths and heights of the labels.
        frame: what the labels must stay within.

    Returns:
        (N,) boxes; where there is no room, one that overlaps as little as possible.
    """
    marks = [Box(px - _POINT_RADIUS, py - _POINT_RADIUS, px + _POINT_RADIUS, py + _POINT_RADIUS) for px, py in points]
    order = sorted(range(len(points)), key=lambda i: sum(math.dist(points[i], other) for other in points))
    chosen: dict[int, Box] = {}
    for _ in range(_SWEEPS):
        for i in order:
            others = [box for j, box in chosen.items() if j != i]
            ends = [(points[j], box.nearest(*points[j])) for j, box in chosen.items() if j != i]
            chosen[i] = min(
                _candidates(points[i], sizes[i], frame),
                key=lambda box, i=i, others=others, ends=ends: _cost(box, points[i], marks, others, ends),  # type: ignore[misc]
            )
    return [chosen[i] for i in range(len(points))]


def _candidates(point: Point, size: tuple[float, float], frame: Box) -> list[Box]:
    """Boxes around a point, nearest first; those outside the frame are pushed in."""
    width, height = size[0] + 2 * _GAP, size[1] + 2 * _GAP
    boxes = []
    for distance in _DISTANCES:
        for step in range(_N_ANGLES):
            dx, dy = math.cos(2 * math.pi * step / _N_ANGLES), math.sin(2 * math.pi * step / _N_ANGLES)
            left = point[0] + dx * distance + (dx - 1) / 2 * width
            bottom = point[1] + dy * distance + (dy - 1) / 2 * height
            left = min(max(left, frame.left), frame.right - width)
            bottom = min(max(bottom, frame.bottom), frame.top - height)
            boxes.append(Box(left, bottom, left + width, bottom + height))
    return boxes


def _cost(
    box: Box, point: Point, marks: Sequence[Box], others: Sequence[Box], lines: Sequence[tuple[Point, Point]]
) -> float:
    line = (point, box.nearest(*point))
    overlaps = sum(box.overlaps(other) for other in (*marks, *others))
    crossings = sum(_crosses(line, other) for other in (*others, *(mark for mark in marks if not _holds(mark, point))))
    crossings += sum(_crosses(other, box) for other in lines)
    return _OVERLAP * overlaps + _CROSSING * crossings + math.dist(*line)


def _holds(box: Box, point: Point) -> bool:
    return box.left <= point[0] <= box.right and box.bottom <= point[1] <= box.top


def _crosses(line: tuple[Point, Point], box: Box) -> bool:
    """Whether a line passes through a box, looked at in steps."""
    (ax, ay), (bx, by) = line
    n_steps = max(1, int(math.dist(*line) / 3))
    return any(
        _holds(box, (ax + (bx - ax) * step / n_steps, ay + (by - ay) * step / n_steps)) for step in range(n_steps + 1)
    )
