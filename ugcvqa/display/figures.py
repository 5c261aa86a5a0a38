"""The pictures: scatter plots, accuracy against cost, significance, figures of every split. Matplotlib's only door.

Every function returns the bytes of a picture, which depend on nothing but its arguments: the kind is chosen by the
suffix of the file it is meant for (.png, .svg or .pdf).
"""

import io
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.display.figure_labels import place_labels
from ugcvqa.errors import ConfigError
from ugcvqa.evaluation.metrics import Metrics, fit_logistic
from ugcvqa.evaluation.published import row_title
from ugcvqa.evaluation.significance import LEVEL, SignificanceMatrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours, which colour-blind readers can distinguish; black is kept for curves."""

_MARKERS = ("o", "^", "s")
_DOT: dict[str, Any] = {"alpha": 0.6, "markeredgewidth": 0, "clip_on": False}
_GREY = "#555555"


def font(kind: Literal["sans", "serif"]) -> AbstractContextManager[None]:
    """Figures that are drawn within have this kind of font; `serif` is STIX, which looks like Times."""
    from matplotlib import rc_context

    family = {"sans": "DejaVu Sans", "serif": "STIXGeneral"}[kind]  # both come with matplotlib
    return rc_context({"font.family": family, "axes.formatter.use_mathtext": True})


def scatter_curve(pred: npt.ArrayLike, mos: npt.ArrayLike) -> tuple[Array, Array]:
    """Points of the fitted curve of Figure 2.

    Source: the paper's public code: the logistic fitted to the points shown, at as many equidistant predictions
    between the smallest and the largest as there are videos.

    Args:
        pred: (N,) predicted scores.
        mos: (N,) labels.

    Returns:
        (N,) predictions and (N,) labels of the curve; both empty where no logistic can be fitted.
    """
    x, y = np.asarray(pred, dtype=np.float64), np.asarray(mos, dtype=np.float64)
    logistic = fit_logistic(x, y)
    if logistic.is_identity:
        return np.empty(0), np.empty(0)
    grid = np.linspace(x.min(), x.max(), x.size)
    return grid, logistic(grid)


def scatter(
    pred: npt.ArrayLike,
    mos: npt.ArrayLike,
    metrics: Metrics,
    title: str,
    label: str,
    scale: tuple[float, float],
    suffix: str = ".png",
) -> bytes:
    """Draws labels against predictions with the fitted logistic, as the paper's Figure 2.

    Args:
        pred: (N,) predicted scores.
        mos: (N,) labels.
        metrics: figures of the same videos, printed in the plot.
        title: what was predicted by what.
        label: name of the label.
        scale: lowest and highest label; both axes show this range, or more where a point lies outside.
        suffix: kind of the picture.
    """
    figure, axes = _square(title, label, _limits(scale, pred, mos))
    axes.plot(pred, mos, "o", markersize=4, **_DOT, color=PALETTE[0], label=_videos(pred))
    curve = scatter_curve(pred, mos)
    if curve[0].size:
        axes.plot(*curve, color=PALETTE[1], linewidth=2, label="fitted logistic")
    numbers = f"SRCC {metrics.srcc:.3f}\nKRCC {metrics.krcc:.3f}\nPLCC {metrics.plcc:.3f}\nRMSE {metrics.rmse:.3f}"
    paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2}
    axes.text(0.98, 0.02, numbers, transform=axes.transAxes, ha="right", va="bottom", bbox=paper)
    axes.legend(loc="upper left", edgecolor="none", framealpha=0.8)
    return picture_bytes(figure, suffix)


def overlay(
    points: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    title: str,
    label: str,
    scale: tuple[float, float],
    suffix: str = ".png",
) -> bytes:
    """Draws two or three models over each other without curves, as the paper's Figure 3.

    Source: there each model is shown on its own median split, so the videos differ between models.

    Args:
        points: model -> (predicted scores (N,), labels (N,)); the videos need not be the same.
        title: data set.
        label: name of the label.
        scale: lowest and highest label; both axes show this range, or more where a point lies outside.
        suffix: kind of the picture.

    Raises:
        ValueError: if there are more than three models, whose points would hide each other.
    """
    if not 1 <= len(points) <= len(_MARKERS):
        raise ValueError(f"{len(points)} models in one scatter plot: one to {len(_MARKERS)} can be distinguished")
    figure, axes = _square(title, label, _limits(scale, *(values for pair in points.values() for values in pair)))
    for (name, (pred, mos)), marker, colour in zip(points.items(), _MARKERS, PALETTE, strict=False):
        text = f"{row_title(name)}, {_videos(pred)}"
        axes.plot(pred, mos, marker, markersize=4.5, **_DOT, color=colour, label=text)
    figure.legend(loc="outside lower center", frameon=False)
    return picture_bytes(figure, suffix)


def accuracy_cost(
    seconds: Mapping[str, float], srcc: Mapping[str, float], cost: str, title: str, suffix: str = ".png"
) -> bytes:
    """Draws accuracy against cost, one labelled point per row, as the paper's Figure 4.

    Args:
        seconds: row -> cost; rows that are NaN here or lack a correlation are left out.
        srcc: row -> median SRCC.
        cost: what the seconds are of, with unit.
        title: data set and source of the figures.
        suffix: kind of the picture.
    """
    rows = [row for row in seconds if math.isfinite(seconds[row]) and math.isfinite(srcc.get(row, math.nan))]
    figure, axes = _canvas(title, (8.0, 5.0))
    x, y = [seconds[row] for row in rows], [srcc[row] for row in rows]
    axes.plot(x, y, "o", markersize=7, color=PALETTE[0], markeredgecolor="white", clip_on=False)
    axes.set(xlabel=cost, ylabel="median SRCC")
    axes.set_xlim(0, 1.08 * max(x, default=1.0))
    axes.margins(y=0.12)
    place_labels(axes, x, y, [row_title(row) for row in rows])
    return picture_bytes(figure, suffix)


def significance_map(matrix: SignificanceMatrix, metric: str, title: str, suffix: str = ".png") -> bytes:
    """Draws all pairs of rows: the mean difference row minus column and its p-value, coloured where significant."""
    names = [row_title(name) for name in matrix.names]
    differences, adjusted = matrix.differences(), matrix.adjusted()
    side = max(4.8, 2.6 + 0.62 * len(names))
    figure, axes = _canvas(title, (side + 0.9, side))
    significant = np.where(adjusted < LEVEL, differences, math.nan)
    largest = np.abs(significant[np.isfinite(significant)])
    # One row that is far worse than all others must not take the colour from their differences.
    reach = float(min(largest.max(), 3 * np.median(largest))) if largest.size else 1.0
    image = axes.imshow(significant, cmap="PuOr", vmin=-reach, vmax=reach)
    for place in np.ndindex(*differences.shape):
        _pair(axes, place, float(differences[place]), float(adjusted[place]), reach)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.set_xlabel(
        f"first line: mean difference of {metric.upper()}, row minus column\nsecond line: p, corrected for "
        f"{matrix.n_comparisons} comparisons; coloured and bold: p < {LEVEL:g}",
        fontsize=8,
    )
    if largest.size:
        figure.colorbar(image, ax=axes, shrink=0.75, extend="both", label=f"mean difference of {metric.upper()}")
    return picture_bytes(figure, suffix)


def split_boxes(values: Mapping[str, npt.ArrayLike], metric: str, title: str, suffix: str = ".png") -> bytes:
    """Draws the figure of every split as a dot over a box with median, quartiles and 5 to 95 % whiskers.

    Args:
        values: row -> (J,) figure in each split; NaN is left out, and how often is stated beside the name.
        metric: which figure it is.
        title: data set.
        suffix: kind of the picture.
    """
    arrays = {name: np.asarray(array, dtype=np.float64) for name, array in values.items()}
    kept = [array[np.isfinite(array)] for array in arrays.values()]
    figure, axes = _canvas(title, (7.5, 1.3 + 0.42 * len(kept)))
    places = range(1, len(kept) + 1)
    for place, array in zip(places, kept, strict=True):
        spread = (np.arange(array.size) * 0.618034 % 1 - 0.5) * 0.5  # golden ratio: even, and the same every time
        axes.plot(array, place + spread, "o", markersize=2.5, **_DOT, color=PALETTE[0])
    if kept:
        line = {"color": "black", "linewidth": 1.2}
        axes.boxplot(
            kept, positions=places, orientation="horizontal", widths=0.6, whis=(5, 95), showfliers=False,
            boxprops=line, whiskerprops=line, capprops=line, medianprops={"color": PALETTE[1], "linewidth": 2.5},
        )  # fmt: skip
    axes.set_yticks(places, [_row_title(name, array) for name, array in arrays.items()])
    axes.set_ylim(len(kept) + 0.6, 0.4)
    axes.set_xlabel(f"{metric.upper()} of each split (line: median, box: quartiles, whiskers: 5 to 95 %)")
    return picture_bytes(figure, suffix)


def _square(title: str, label: str, scale: tuple[float, float]) -> "tuple[Figure, Axes]":
    figure, axes = _canvas(title, (5.2, 5.2))
    axes.set(xlim=scale, ylim=scale, aspect="equal", xlabel=f"predicted {label}", ylabel=label)
    return figure, axes


def _canvas(title: str, size: tuple[float, float]) -> "tuple[Figure, Axes]":
    """A figure with one plot, outside matplotlib's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    return figure, axes


def picture_bytes(figure: "Figure", suffix: str = ".png", dpi: int = 300) -> bytes:
    """Writes a figure as a file of the kind of a suffix; the same figure gives the same bytes.

    Args:
        figure: the figure.
        suffix: `.png`, `.svg` or `.pdf`.
        dpi: pixels per inch of a PNG, and of pictures inside the others.

    Raises:
        ConfigError: if the suffix is not .png, .svg or .pdf.
    """
    from matplotlib import rc_context

    # Dates and random ids are left out, so that the same numbers give the same file.
    metadata: dict[str, dict[str, None]] = {
        ".png": {"Software": None},
        ".svg": {"Date": None},
        ".pdf": {"CreationDate": None},
    }
    if suffix not in metadata:
        raise ConfigError(f"pictures are {', '.join(metadata)} files, not {suffix!r}")
    picture = io.BytesIO()
    with rc_context({"svg.hashsalt": "ugcvqa", "pdf.fonttype": 42}):  # journals refuse Type 3 fonts
        figure.savefig(picture, format=suffix[1:], dpi=dpi, metadata=metadata[suffix])
    return picture.getvalue()


def _pair(axes: "Axes", place: tuple[int, ...], difference: float, p: float, reach: float) -> None:
    """Writes difference and p-value into a cell of the map; nothing where rows were not compared."""
    if math.isnan(p):
        return
    is_significant = p < LEVEL
    colour = _GREY if not is_significant else "white" if abs(difference) > 0.55 * reach else "black"
    weight = "bold" if is_significant else "normal"
    text = f"{difference:+.3f}\n{'<0.001' if p < 0.001 else format(p, '.3f')}"
    axes.text(place[1], place[0], text, ha="center", va="center", fontsize=7, color=colour, fontweight=weight)


def _limits(scale: tuple[float, float], *values: npt.ArrayLike) -> tuple[float, float]:
    """The label scale, widened to hold all values with a margin."""
    everything = np.concatenate([np.ravel(np.asarray(array, dtype=np.float64)) for array in values])
    low, high = float(min(everything)), float(max(everything))
    margin = 0.02 * (max(high, scale[1]) - min(low, scale[0]))
    return (low - margin if low < scale[0] else scale[0]), (high + margin if high > scale[1] else scale[1])


def _videos(values: npt.ArrayLike) -> str:
    return f"{np.size(values)} videos"


def _row_title(name: str, values: Array) -> str:
    n_missing = values.size - int(np.isfinite(values).sum())
    return row_title(name) + (f" ({n_missing} NaN)" if n_missing else "")
