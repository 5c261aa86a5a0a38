"""The tables beside the main one, made from plain arrays: intervals, significance, ablation, and costs (Table 2)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy.typing as npt

from ugcvqa.display.main_table import LOWER_IS_BETTER
from ugcvqa.display.text_tables import NOTHING, Cell, Mark, Section, Table, Value, number_text, signed_text
from ugcvqa.evaluation.published import TABLE2, row_title
from ugcvqa.evaluation.significance import (
    CONFIDENCE,
    LEVEL,
    Comparison,
    Interval,
    SignificanceMatrix,
    compare_with,
    mean_interval,
    median_interval,
)

_CORRECTED = "corrected for the training videos that splits share (Nadeau and Bengio, 2003)"


@dataclass(frozen=True)
class RowCost:
    """What a row costs; NaN where it was not measured.

    Attributes:
        dimension: columns of the row; None where there is none, as for all rows together.
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
    """Makes the table of all pairs: mean difference row minus column, and adjusted p-value."""
    differences, adjusted = matrix.differences(), matrix.adjusted()
    rows = tuple(
        (
            Cell(f"{i + 1} {row_title(name)}"),
            *(_pair_cell(differences[i, j], adjusted[i, j]) for j in range(len(matrix.names))),
        )
        for i, name in enumerate(matrix.names)
    )
    better = "negative" if metric in LOWER_IS_BETTER else "positive"
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
        lines.append((Cell(row), Cell(number_text(median.centre)), *_comparison_cells(comparison, p)))
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
    """
    lines: list[tuple[Cell, ...]] = []
    records: list[dict[str, Value]] = []
    for row, cost in costs.items():
        paper = TABLE2.get(row)
        printed = (paper.extract_s, paper.fit_s) if paper else (math.nan, math.nan)
        seconds = (cost.extract_s, cost.extract_cpu_s, printed[0], cost.fit_s, printed[1], cost.predict_s)
        title = row_title(row)
        width = NOTHING if cost.dimension is None else str(cost.dimension)
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


def _interval_row(row: str, median: Interval, mean: Interval) -> tuple[Cell, ...]:
    cells = [cell for interval in (median, mean) for cell in (number_text(interval.centre), _range(interval))]
    return tuple(Cell(text) for text in (row_title(row), *cells, str(median.n_splits)))


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
        return Cell(NOTHING)
    return Cell(f"{signed_text(difference)} ({_p(p)})", "best" if p < LEVEL else "")


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
        return (Cell(NOTHING),) * 3
    mark: Mark = "best" if p < LEVEL else ""
    return Cell(signed_text(comparison.difference.centre)), Cell(_range(comparison.difference)), Cell(_p(p), mark)


def _range(interval: Interval) -> str:
    return NOTHING if math.isnan(interval.low) else f"{interval.low:.4f} to {interval.high:.4f}"


def _p(value: float) -> str:
    return NOTHING if math.isnan(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def _seconds(value: float) -> str:
    """Four significant digits without an exponent."""
    if math.isnan(value):
        return NOTHING
    digits = 3 - math.floor(math.log10(value)) if value > 0 else 2
    return f"{value:.{min(max(digits, 0), 6)}f}" if value < 100 else f"{value:.2f}"
