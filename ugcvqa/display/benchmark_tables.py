"""The tables of a benchmark, made from plain arrays: the paper's two, significance, intervals, ablation."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ugcvqa.display.text_tables import Cell, Mark, Section, Table, Value
from ugcvqa.evaluation.published import BASELINES, DATA_TITLES, METRICS, ROW_TITLES, TABLE2, Figure, published_figure
from ugcvqa.evaluation.significance import (
    CONFIDENCE,
    Comparison,
    Interval,
    SignificanceMatrix,
    compare_with,
    mean_interval,
    median_interval,
)

Figures = Mapping[str, Mapping[str, npt.ArrayLike]]
"""Row -> metric (`srcc`, `krcc`, `plcc`, `rmse`) -> (J,) figure in each split, same splits for all rows."""

LEVEL = 0.05
"""Adjusted p-values below this are marked."""

_LOWER_IS_BETTER = {"rmse"}
_NOTHING = "–"
_CORRECTED = "corrected for the training videos that splits share (Nadeau and Bengio, 2003)"


@dataclass(frozen=True)
class RowCost:
    """What a row costs; NaN where it was not measured.

    Attributes:
        dimension: columns of the row; None where there is no such number, as for all rows together.
        extract_s: wall seconds per video to compute its features.
        extract_cpu_s: processor seconds per video, over all cores.
        fit_s: wall seconds of one hold-out repetition: grid search and final fit.
        predict_s: wall seconds to predict one video from its features.
    """

    dimension: int | None
    extract_s: float = math.nan
    extract_cpu_s: float = math.nan
    fit_s: float = math.nan
    predict_s: float = math.nan


@dataclass(frozen=True, eq=False)
class RowGroup:
    """Rows of the main table that were measured on the same videos, a section of it.

    Attributes:
        data: data set by the name under which published figures are known, if they are.
        rows: their figures.
        title: what sets the section apart from others of the data set.
        is_ranked: whether best and second best are marked.
        published: rows beside which published figures stand; None: all of which some are known.
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
        return ", ".join(filter(None, (DATA_TITLES.get(self.data, self.data), self.title)))

    def published_figure(self, row: str, metric: str) -> Figure:
        """What was published for a row."""
        is_shown = self.published is None or row in self.published
        return published_figure(self.data, row, metric) if is_shown else Figure()

    def marks(self, metric: str) -> list[Mark]:
        """Marks the best and the second best of the rows that have the figure in all splits."""
        medians = [
            _summary(figures[metric])[0] if np.isfinite(figures[metric]).all() else math.nan
            for figures in self.rows.values()
        ]
        is_ranked = self.is_ranked and len(self.rows) > 1
        return _marks(medians, metric in _LOWER_IS_BETTER) if is_ranked else [""] * len(medians)


def main_table(groups: Sequence[RowGroup], notes: Sequence[str] = ()) -> Table:
    """Makes the paper's Table 1: median and deviation over splits, the published figures beside them.

    Source: Wang, Katsenou and Bull, Table 1: median over the splits and population standard deviation (ddof 0).

    Args:
        groups: the sections. A figure that is NaN in some splits is summarised over the others, not marked, and a
            footnote says so; a row with a single value (predictions without training) has no deviation.
        notes: footnotes to add.

    Returns:
        The table; best and second best of each group are marked by the digits shown, published figures never.
    """
    has_published = any(
        group.published_figure(row, metric).is_known for group in groups for row in group.rows for metric in METRICS
    )
    beside = ("published", "difference") if has_published else ()
    titles = [f"{metric.upper()} {'↓' if metric in _LOWER_IS_BETTER else '↑'}" for metric in METRICS]
    return Table(
        caption="Median ± standard deviation over splits" + (", published figures, difference" if beside else ""),
        columns=("row", *(column for title in titles for column in (title, *beside))),
        sections=tuple(Section(group.name, _main_rows(group, has_published)) for group in groups),
        notes=(*_missing_notes(groups), *_published_notes(groups), *notes),
        records=tuple(record for group in groups for record in _main_records(group)),
    )


def interval_table(rows: Mapping[str, npt.ArrayLike], metric: str, n_train: int, n_test: int) -> Table:
    """Makes the table of medians and means over splits with corrected confidence intervals.

    Args:
        rows: row -> (J,) figure in each split.
        metric: which figure it is.
        n_train: videos that a model learns from in each split, the validation part included.
        n_test: videos that it is tested on.
    """
    intervals = {
        row: (median_interval(values, n_train, n_test), mean_interval(values, n_train, n_test))
        for row, values in rows.items()
    }
    names = (f"median {metric.upper()}", f"mean {metric.upper()}")
    return Table(
        caption=f"{CONFIDENCE:.0%} confidence intervals of {metric.upper()}",
        columns=("row", names[0], "interval", names[1], "interval", "splits"),
        sections=(Section("", tuple(_interval_row(row, *both) for row, both in intervals.items())),),
        notes=(f"The intervals are {_CORRECTED}.",),
        records=tuple(
            {"row": row, "metric": metric, "statistic": statistic, **_interval_record(interval)}
            for row, both in intervals.items()
            for statistic, interval in zip(("median", "mean"), both, strict=True)
        ),
    )


def significance_table(matrix: SignificanceMatrix, metric: str, title: str) -> Table:
    """Makes the table of all pairs: mean difference row minus column, and adjusted p-value.

    Args:
        matrix: the comparisons.
        metric: which figure was compared.
        title: what was compared, such as the data set.
    """
    differences, adjusted = matrix.differences(), matrix.adjusted()
    rows = tuple(
        (
            Cell(f"{i + 1} {ROW_TITLES.get(name, name)}"),
            *(_pair_cell(differences[i, j], adjusted[i, j]) for j in range(len(matrix.names))),
        )
        for i, name in enumerate(matrix.names)
    )
    better = "negative" if metric in _LOWER_IS_BETTER else "positive"
    return Table(
        caption=f"{title}: mean difference of {metric.upper()} over splits, row minus column (adjusted p)",
        columns=("row", *(str(number + 1) for number in range(len(matrix.names)))),
        sections=(Section("", rows),),
        notes=(
            f"A {better} difference means that the row is better than the column; bold: adjusted p < {LEVEL:g}.",
            _correction(matrix),
        ),
        records=_pair_records(matrix, metric),
    )


def ablation_table(
    rows: Mapping[str, npt.ArrayLike], full: str, metric: str, n_train: int, n_test: int, title: str
) -> Table:
    """Makes the table of what each part adds: every row against the full one over the same splits.

    Args:
        rows: row -> (J,) figure in each split, the full row among them.
        full: row that the others are compared with.
        metric: which figure it is.
        n_train: videos that a model learns from in each split, the validation part included.
        n_test: videos that it is tested on.
        title: what was compared, such as the data set.
    """
    matrix = compare_with(full, rows, n_train, n_test)
    lines: list[tuple[Cell, ...]] = []
    records: list[dict[str, Value]] = []
    for row, values in rows.items():
        median = median_interval(values, n_train, n_test)
        comparison = matrix.comparisons.get((row, full))
        p = matrix.p_adjusted.get((row, full), math.nan)
        lines.append((Cell(row), Cell(_number(median.centre)), *_comparison_cells(comparison, p)))
        difference = comparison.difference if comparison else Interval(0.0, math.nan, math.nan, median.n_splits, 0)
        records.append(
            {
                "row": row,
                "full": full,
                "metric": metric,
                "median": median.centre,
                **{f"difference_{key}": value for key, value in _interval_record(difference).items()},
                "p": comparison.p if comparison else math.nan,
                "p_adjusted": p,
                "n_comparisons": matrix.n_comparisons,
            }
        )
    return Table(
        caption=f"{title}: {metric.upper()} against {full}",
        columns=("row", "median", "mean difference", f"{CONFIDENCE:.0%} interval", "adjusted p"),
        sections=(Section("", tuple(lines)),),
        notes=(f"The intervals are {_CORRECTED}.", _correction(matrix)),
        records=tuple(records),
    )


def cost_table(costs: Mapping[str, RowCost], notes: Sequence[str] = ()) -> Table:
    """Makes the paper's Table 2 with our seconds, the paper's beside them.

    Source: Wang, Katsenou and Bull, Table 2. Its "quality predictor" is the time of one hold-out repetition, here
    called fit seconds per repetition; predict seconds per video are not in the paper.

    Args:
        costs: row -> what it costs.
        notes: footnotes to add, such as the machine.
    """
    lines: list[tuple[Cell, ...]] = []
    records: list[dict[str, Value]] = []
    for row, cost in costs.items():
        paper = TABLE2.get(row)
        printed = (paper.extract_s, paper.fit_s) if paper else (math.nan, math.nan)
        seconds = (cost.extract_s, cost.extract_cpu_s, printed[0], cost.fit_s, printed[1], cost.predict_s)
        title = ROW_TITLES.get(row, row)
        width = _NOTHING if cost.dimension is None else str(cost.dimension)
        lines.append((Cell(title), Cell(width), *(Cell(_seconds(value)) for value in seconds)))
        names = ("extract_s", "extract_cpu_s", "paper_extract_s", "fit_s", "paper_fit_s", "predict_s")
        columns = math.nan if cost.dimension is None else cost.dimension
        records.append({"row": row, "dimension": columns, **dict(zip(names, seconds, strict=True))})
    return Table(
        caption="Dimension and seconds of each row",
        columns=(
            *("row", "dimension", "extract s/video", "processor s/video", "paper's extractor s"),
            *("fit s/repetition", "paper's predictor s", "predict s/video"),
        ),
        sections=(Section("", tuple(lines)),),
        notes=tuple(notes),
        records=tuple(records),
    )


def _main_rows(group: RowGroup, has_published: bool) -> tuple[tuple[Cell, ...], ...]:
    columns: list[list[Cell]] = [[Cell(ROW_TITLES.get(row, row)) for row in group.rows]]
    for metric in METRICS:
        summaries = [_summary(figures[metric]) for figures in group.rows.values()]
        marked = zip(summaries, group.marks(metric), strict=True)
        columns.append([Cell(_plus_minus(*summary), mark) for summary, mark in marked])
        if has_published:
            published = [group.published_figure(row, metric) for row in group.rows]
            columns.append([Cell(_plus_minus(*figure)) for figure in published])
            differences = [ours[0] - theirs.median for ours, theirs in zip(summaries, published, strict=True)]
            columns.append([Cell(_signed(difference)) for difference in differences])
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
    """Says which figures are not those of all splits."""
    for group in groups:
        for row, figures in group.rows.items():
            missing = {metric: int(np.count_nonzero(~np.isfinite(figures[metric]))) for metric in METRICS}
            if told := ", ".join(f"{metric.upper()} {count}" for metric, count in missing.items() if count):
                yield (
                    f"{group.name}, {row}: splits without a figure, left out of median and deviation, which are not "
                    f"ranked: {told}"
                )


def _published_notes(groups: Sequence[RowGroup]) -> Iterator[str]:
    """Says where published figures come from, and where they are of something else than the row's name says."""
    for group in groups:
        for row in group.rows:
            if (group.data, row) in BASELINES:
                yield f"{group.name}, {row}: published by {BASELINES[group.data, row].source}"
    if any("NSS_VSFACNN" in group.rows and group.data in DATA_TITLES for group in groups):
        yield (
            "NSS_VSFACNN: the paper's features of this row hold the deep block of VSFACNN_SALIENCY, so that ours "
            "differs; row NSS_VSFACNN_AS_PUBLISHED rebuilds the paper's"
        )


def _interval_row(row: str, median: Interval, mean: Interval) -> tuple[Cell, ...]:
    cells = [cell for interval in (median, mean) for cell in (_number(interval.centre), _range(interval))]
    return tuple(Cell(text) for text in (ROW_TITLES.get(row, row), *cells, str(median.n_splits)))


def _interval_record(interval: Interval) -> dict[str, Value]:
    return {
        "centre": interval.centre,
        "low": interval.low,
        "high": interval.high,
        "n_splits": interval.n_splits,
        "n_dropped": interval.n_dropped,
    }


def _correction(matrix: SignificanceMatrix) -> str:
    return f"p-values are {_CORRECTED} and for {matrix.n_comparisons} comparisons (Holm, 1979)."


def _pair_cell(difference: float, p: float) -> Cell:
    if math.isnan(p):
        return Cell(_NOTHING)
    return Cell(f"{_signed(difference)} ({_p(p)})", "best" if p < LEVEL else "")


def _pair_records(matrix: SignificanceMatrix, metric: str) -> tuple[dict[str, Value], ...]:
    return tuple(
        {
            "first": first,
            "second": second,
            "metric": metric,
            **_interval_record(comparison.difference),
            "p": comparison.p,
            "p_adjusted": matrix.p_adjusted[first, second],
            "n_comparisons": matrix.n_comparisons,
        }
        for (first, second), comparison in matrix.comparisons.items()
    )


def _comparison_cells(comparison: Comparison | None, p: float) -> tuple[Cell, ...]:
    if comparison is None:
        return (Cell(_NOTHING),) * 3
    mark: Mark = "best" if p < LEVEL else ""
    return Cell(_signed(comparison.difference.centre)), Cell(_range(comparison.difference)), Cell(_p(p), mark)


def _plus_minus(centre: float, std: float) -> str:
    return _number(centre) if math.isnan(std) else f"{centre:.4f} ± {std:.4f}"


def _number(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{value:.4f}"


def _signed(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{value:+.4f}"


def _range(interval: Interval) -> str:
    return _NOTHING if math.isnan(interval.low) else f"{interval.low:.4f} to {interval.high:.4f}"


def _p(value: float) -> str:
    return _NOTHING if math.isnan(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def _seconds(value: float) -> str:
    """Four significant digits without an exponent."""
    if math.isnan(value):
        return _NOTHING
    digits = 3 - math.floor(math.log10(value)) if value > 0 else 2
    return f"{value:.{min(max(digits, 0), 6)}f}" if value < 100 else f"{value:.2f}"
