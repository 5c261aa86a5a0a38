"""The figures of the saliency study that show numbers: Figure 7, nulls, curves, intervals."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ugcvqa.display.figures import PALETTE, picture_bytes
from ugcvqa.files import write_atomic
from ugcvqa.studies.ablation import Ablation
from ugcvqa.studies.associations import Association
from ugcvqa.studies.measures import ORDERS
from ugcvqa.studies.published_frames import PublishedFrame
from ugcvqa.studies.records import CurveRow, FrameRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BINS = 20
_DPI = 120  # the page holds all of them
_GREY = "#555555"


def cosine_histograms(frames: Sequence[FrameRow]) -> "Figure":
    """Draws the distribution of Algorithm 3 per data set, as the paper's Figure 7, beside that with shuffled channels.

    Args:
        frames: all frames; those without a cosine are left out.
    """
    data_sets = list(dict.fromkeys(row.data for row in frames))
    figure, grid = grid_figure(5.4 * len(data_sets), 3.6, 1, len(data_sets))
    for axes, name in zip(grid.flat, data_sets, strict=True):
        kept = [row for row in frames if row.data == name and not math.isnan(row.cosine)]
        _histogram(axes, [row.cosine for row in kept], [row.permuted for row in kept])
        axes.set_title(f"{name}: frames {len(kept)}, videos {len({row.video_id for row in kept})}", fontsize=10)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def published_cosines(frames: Sequence[PublishedFrame]) -> "Figure":
    """Draws the published values, ours and the ones with shuffled channels, frame by frame."""
    figure, grid = grid_figure(6.4, 3.6, 1, 1)
    axes, numbers = grid[0][0], [row.frame for row in frames]
    axes.plot(numbers, [row.published for row in frames], "o", markersize=8, color=PALETTE[5], label="published")
    axes.plot(numbers, [row.cosine for row in frames], ".", color="black", label="computed here")
    axes.plot(numbers, [row.permuted for row in frames], "x", color=PALETTE[1], label="channels shuffled")
    axes.set(xlabel="published frame", ylabel="cosine similarity", xticks=numbers)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    axes.grid(alpha=0.25)
    return figure


def null_distributions(associations: Mapping[str, Sequence[Association]]) -> "Figure":
    """Draws each measure on the true pairing against its distribution when videos are re-paired.

    Args:
        associations: data set -> its tests, those without a value are left out; at least one has a value.
    """
    shown = [(name, one) for name, tests in associations.items() for one in tests if len(one.null)]
    n_columns = min(3, len(shown))
    figure, grid = grid_figure(
        3.9 * n_columns, 2.7 * math.ceil(len(shown) / n_columns) + 0.3, -(-len(shown) // n_columns), n_columns
    )
    for axes in grid.flat[len(shown) :]:
        axes.axis("off")
    for axes, (name, one) in zip(grid.flat, shown, strict=False):
        axes.hist(one.null, bins=_BINS, color=PALETTE[5], label="videos re-paired")
        axes.axvline(one.value, color=PALETTE[1], linewidth=2, label="true pairing")
        axes.set_title(f"{name}: {one.measure}\n{one.value:.3f}, p = {one.p_value:.3g}", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_ylabel("re-pairings", fontsize=7)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def quality_curves(curves: Sequence[CurveRow]) -> "Figure":
    """Draws the mean deletion and insertion curves of the three orders.

    Args:
        curves: of all frames, at least one; all of as many steps.
    """
    figure, grid = grid_figure(8.6, 3.7, 1, 2)
    for axes, kind in zip(grid.flat, ("deletion", "insertion"), strict=True):
        for order, colour in zip(ORDERS, (PALETTE[0], PALETTE[1], _GREY), strict=True):
            mean = np.mean([getattr(row, kind) for row in curves if row.order == order], axis=0)
            axes.plot(np.linspace(0, 1, len(mean)), mean, color=colour, marker=".", label=order)
        better = "lower is better" if kind == "deletion" else "higher is better"
        axes.set(xlabel="share of pixels deleted" if kind == "deletion" else "share of pixels inserted")
        axes.set(title=f"{kind}: {better}", ylim=(0, 1.08 * axes.get_ylim()[1]))
        axes.grid(alpha=0.25)
    grid.flat[0].set_ylabel("probability of the class")
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, title="order of pixels", loc="outside lower center", ncols=3, frameon=False)
    return figure


def ablation_intervals(ablations: Sequence[Ablation], metric: str) -> "Figure":
    """Draws the difference that saliency makes in one figure, with 95 % intervals.

    Args:
        ablations: of all pairs.
        metric: the figure that is drawn; at least one pair has it.
    """
    shown = [one for one in ablations if one.metric == metric]
    figure, grid = grid_figure(8.0, 0.42 * len(shown) + 1.3, 1, 1)
    axes = grid[0][0]
    axes.axvline(0, color="black", linewidth=1)
    for place, one in enumerate(shown):
        colour = PALETTE[0] if one.pair.is_fair else _GREY
        axes.plot([one.low, one.high], [place, place], color=colour, linewidth=2)
        axes.plot([one.difference], [place], "o", color=colour)
    labels = [f"{one.pair.with_saliency} - {one.pair.without} ({one.data}, {one.head})" for one in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=8)
    axes.set(xlabel=f"difference of {metric.upper()}", ylim=(len(shown) - 0.5, -0.5))
    axes.grid(alpha=0.25, axis="x")
    return figure


def _histogram(axes: "Axes", cosine: Sequence[float], permuted: Sequence[float]) -> None:
    both = [*cosine, *permuted]
    low, high = (min(both), max(both)) if both else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1e-3, _BINS + 1).tolist()
    axes.hist(cosine, bins=edges, color=PALETTE[0], alpha=0.75, label="Algorithm 3")
    axes.hist(permuted, bins=edges, histtype="step", linewidth=2, color=PALETTE[1], label="channels shuffled")
    axes.set(xlabel="Cosine similarity", ylabel="Frequency")
    axes.locator_params(axis="y", integer=True)


def grid_figure(
    width: float, height: float, rows: int, columns: int, layout: str | None = "constrained"
) -> "tuple[Figure, npt.NDArray[Any]]":
    """A figure of a size in inches with a grid (rows, columns) of axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout, dpi=100)  # type: ignore[arg-type]
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def write_figure(path: Path, figure: "Figure", kinds: Sequence[str] = ()) -> None:
    """Writes a figure as a PNG of 120 dpi, and beside it in further kinds.

    Raises:
        StoreError: if it cannot be written.
    """
    for suffix in (".png", *(f".{kind}" for kind in kinds)):
        write_atomic(path.with_suffix(suffix), picture_bytes(figure, suffix, _DPI))
