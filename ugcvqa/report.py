"""Plots and tables of a run."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ugcvqa.metrics import Metrics, fit_logistic


def scatter_png(
    pred: npt.ArrayLike,
    mos: npt.ArrayLike,
    metrics: Metrics,
    title: str,
    label: str,
    scale: tuple[float, float],
) -> bytes:
    """Draws labels against predictions with the fitted logistic, as the paper's Figure 2.

    Args:
        pred: (N,) predicted scores.
        mos: (N,) labels.
        metrics: figures of the same videos, printed in the plot.
        title: what was predicted by what.
        label: name of the label.
        scale: lowest and highest label; both axes show this range.

    Returns:
        The picture as PNG bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    x, y = np.asarray(pred, dtype=np.float64), np.asarray(mos, dtype=np.float64)
    figure = Figure(figsize=(5.2, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(x, y, "o", markersize=4, alpha=0.6, markeredgewidth=0, color="#2b6cb0", label=f"{x.size} videos")
    if metrics.is_mapped:
        grid = np.linspace(x.min(), x.max(), 200)
        axes.plot(grid, fit_logistic(x, y)(grid), color="#c05621", linewidth=2, label="fitted logistic")
    axes.set(xlim=scale, ylim=scale, aspect="equal", xlabel=f"predicted {label}", ylabel=label)
    axes.set_title(title, fontsize=10)
    figures = f"SRCC {metrics.srcc:.3f}\nKRCC {metrics.krcc:.3f}\nPLCC {metrics.plcc:.3f}\nRMSE {metrics.rmse:.3f}"
    axes.text(0.98, 0.02, figures, transform=axes.transAxes, ha="right", va="bottom", family="monospace")
    axes.legend(loc="upper left", frameon=False)
    axes.grid(alpha=0.25)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120, metadata={"Software": None})
    return picture.getvalue()


def metrics_line(name: str, metrics: Metrics, count: int) -> str:
    """One line of the four figures, as in the paper's Table 1."""
    values = f"SRCC {metrics.srcc:.4f}  KRCC {metrics.krcc:.4f}  PLCC {metrics.plcc:.4f}  RMSE {metrics.rmse:.4f}"
    return f"{name}: {values}  ({count} videos)"


def failure_rows(failures: Mapping[str, str]) -> bytes:
    """CSV file of failed videos: video_id, reason; sorted by id."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["video_id", "reason"])
    table.writerows(sorted(failures.items()))
    return text.getvalue().encode("utf-8", "surrogateescape")


def read_failures(path: Path) -> dict[str, str]:
    """Reads what `failure_rows` made."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return {row["video_id"]: row["reason"] for row in csv.DictReader(file)}
