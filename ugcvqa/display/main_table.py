"""The paper's Table 1: medians over splits, ranked within groups of rows that were measured on the same videos."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ugcvqa.display.text_tables import Cell, Mark, Section, Table, Value, number_text, signed_text
from ugcvqa.evaluation.published import BASELINES, DATA_TITLES, METRICS, Figure, data_title, published_figure, row_title
from ugcvqa.evaluation.significance import median_interval

Figures = Mapping[str, Mapping[str, npt.ArrayLike]]
"""Row -> metric (`srcc`, `krcc`, `plcc`, `rmse`) -> (J,) figure in each split, same splits for all rows."""

LOWER_IS_BETTER = {"rmse"}
"""Figures that are better when smaller."""


@dataclass(frozen=True, eq=False)
class RowGroup:
    """Rows of the main table that were measured on the same videos, a section of it.

    Attributes:
        data: data set by the name under which published figures are known, if they are.
        rows: their figures.
        title: what sets the section apart from others of the data set.
        is_ranked: whether best and second best are marked.
        published: rows beside which published figures are shown; None for every row that has some.
        size: (training, test) videos of a split; adds the corrected interval of the median to the CSV.
    """

    data: str
    rows: Figures
    title: str = ""
    is_ranked: bool = True
    published: frozenset[str] | None = None
    size: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """Title of the section."""
        return ", ".join(filter(None, (data_title(self.data), self.title)))

    def published_figure(self, row: str, metric: str) -> Figure:
        """What was published for a row."""
        is_shown = self.published is None or row in self.published
        return published_figure(self.data, row, metric) if is_shown else Figure()

    @property
    def has_published(self) -> bool:
        """Whether something was published for any row."""
        return any(self.published_figure(row, metric).is_known for row in self.rows for metric in METRICS)

    def marks(self, metric: str) -> list[Mark]:
        """Marks the best and the second best of the rows that have the figure in all splits."""
        medians = [
            _summary(figures[metric])[0] if np.isfinite(figures[metric]).all() else math.nan
            for figures in self.rows.values()
        ]
        is_ranked = self.is_ranked and len(self.rows) > 1
        return _marks(medians, metric in LOWER_IS_BETTER) if is_ranked else [""] * len(medians)


def main_table(groups: Sequence[RowGroup], notes: Sequence[str] = (), has_published: bool = True) -> Table:
    """Makes the paper's Table 1: median and deviation over splits, the published figures beside them.

    Source: Wang, Katsenou and Bull, Table 1: median over the splits and population standard deviation (ddof 0).

    Args:
        groups: the sections. A figure that is NaN in some splits is summarised over the others, not marked, and a
            footnote says so; a row with a single value (predictions without training) has no deviation.
        notes: footnotes to add.
        has_published: whether published figures, where there are some, and differences are shown beside ours.

    Returns:
        The table; best and second best of each group are marked by the digits shown, published figures never.
    """
    has_published = has_published and any(group.has_published for group in groups)
    beside = ("published", "difference") if has_published else ()
    sizes = {np.size(of["srcc"]) for group in groups for of in group.rows.values()} - {1}
    splits = f"{sizes.pop()} splits" if len(sizes) == 1 else "splits"
    titles = [f"{metric.upper()} {'↓' if metric in LOWER_IS_BETTER else '↑'}" for metric in METRICS]
    return Table(
        caption=f"Median ± standard deviation over {splits}" + (", published figures, difference" if beside else ""),
        columns=("row", *(column for title in titles for column in (title, *beside))),
        sections=tuple(Section(group.name, _main_rows(group, has_published)) for group in groups),
        notes=(*_missing_notes(groups), *(_published_notes(groups) if has_published else ()), *notes),
        records=tuple(record for group in groups for record in _main_records(group)),
    )


def _main_rows(group: RowGroup, has_published: bool) -> tuple[tuple[Cell, ...], ...]:
    columns: list[list[Cell]] = [[Cell(row_title(row)) for row in group.rows]]
    for metric in METRICS:
        summaries = [_summary(figures[metric]) for figures in group.rows.values()]
        marked = zip(summaries, group.marks(metric), strict=True)
        columns.append([Cell(_plus_minus(*summary), mark) for summary, mark in marked])
        if has_published:
            published = [group.published_figure(row, metric) for row in group.rows]
            columns.append([Cell(_plus_minus(*figure)) for figure in published])
            differences = [ours[0] - theirs.median for ours, theirs in zip(summaries, published, strict=True)]
            columns.append([Cell(signed_text(difference)) for difference in differences])
    return tuple(zip(*columns, strict=True))


def _main_records(group: RowGroup) -> Iterator[dict[str, Value]]:
    marks = {metric: dict(zip(group.rows, group.marks(metric), strict=True)) for metric in METRICS}
    for row, of_row in group.rows.items():
        for metric in METRICS:
            figures = np.asarray(of_row[metric], dtype=np.float64)
            median, std = _summary(figures)
            published = group.published_figure(row, metric)
            interval = median_interval(figures, *group.size) if group.size else None
            yield {
                "data": group.data,
                "group": group.title,
                "row": row,
                "metric": metric,
                "median": median,
                "std": std,
                "mark": marks[metric][row],
                "low": interval.low if interval else math.nan,
                "high": interval.high if interval else math.nan,
                "n_splits": figures.size,
                "n_nan": figures.size - int(np.isfinite(figures).sum()),
                "published_median": published.median,
                "published_std": published.std,
                "difference": median - published.median,
            }


def _summary(values: npt.ArrayLike) -> tuple[float, float]:
    """Median and population standard deviation of the finite values; a single value has no deviation."""
    figures = np.asarray(values, dtype=np.float64)
    finite = figures[np.isfinite(figures)]
    if finite.size == 0:
        return math.nan, math.nan
    return float(np.median(finite)), float(finite.std()) if figures.size > 1 else math.nan


def _marks(medians: Sequence[float], is_lower_better: bool) -> list[Mark]:
    """Marks best and second best by the digits shown; equals share a mark."""
    shown = [round(-median if is_lower_better else median, 4) for median in medians]
    ranked = sorted({value for value in shown if not math.isnan(value)}, reverse=True)
    names: dict[float, Mark] = dict(zip(ranked, ("best", "second"), strict=False))
    return [names.get(value, "") for value in shown]


def _missing_notes(groups: Sequence[RowGroup]) -> Iterator[str]:
    """Notes which figures do not come from all splits."""
    for group in groups:
        for row, figures in group.rows.items():
            missing = {metric: int(np.count_nonzero(~np.isfinite(figures[metric]))) for metric in METRICS}
            if told := ", ".join(f"{metric.upper()} {count}" for metric, count in missing.items() if count):
                yield (
                    f"{group.name}, {row}: splits without a figure, left out of median and deviation, which are not "
                    f"ranked: {told}"
                )


def _published_notes(groups: Sequence[RowGroup]) -> Iterator[str]:
    """Notes the sources of published figures, and where they are of something other than the row's name suggests."""
    for group in groups:
        for row in group.rows:
            if (group.data, row) in BASELINES:
                yield f"{group.name}, {row}: published by {BASELINES[group.data, row].source}"
    if any("NSS_VSFACNN" in group.rows and group.data in DATA_TITLES for group in groups):
        yield (
            "NSS_VSFACNN: the paper's features of this row hold the deep block of VSFACNN_SALIENCY, so that ours "
            "differs; row NSS_VSFACNN_AS_PUBLISHED rebuilds the paper's"
        )


def _plus_minus(centre: float, std: float) -> str:
    return number_text(centre) if math.isnan(std) else f"{centre:.4f} ± {std:.4f}"
