"""The numbers of the saliency study as tables: records of all columns, of which the page shows some."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ugcvqa.display.text_tables import Cell, Section, Table, Value
from ugcvqa.studies.ablation import Ablation
from ugcvqa.studies.associations import Association
from ugcvqa.studies.records import FrameRow


def association_table(associations: Mapping[str, Sequence[Association]]) -> Table:
    """The tests with their nulls."""
    records: list[dict[str, Value]] = []
    for name, tests in associations.items():
        for one in tests:
            null = one.null if len(one.null) else np.array([math.nan])
            records.append(
                {
                    "data": name,
                    "measure": one.measure,
                    "value": one.value,
                    "null_mean": float(null.mean()),
                    "null_95": float(np.quantile(null, 0.95)),
                    "p": one.p_value,
                    "repairings": len(one.null),
                    "seed": one.seed,
                    "units": one.n_videos,
                    "unit": one.unit,
                    "frames": one.n_rows,
                    "note": one.note,
                }
            )
    shown = ("data", "measure", "value", "null_mean", "null_95", "p", "repairings", "units", "unit", "frames")
    titles = ("data", "measure", "value", "re-paired: mean", "95%", "p", "re-pairings", "independent", "unit", "frames")
    return table("Shared content of deep features and saliency maps", records, shown, titles)


def ablation_table(ablations: Sequence[Ablation]) -> Table:
    """The differences that saliency makes."""
    records: list[dict[str, Value]] = [
        {
            "data": one.data,
            "head": one.head,
            "with": one.pair.with_saliency,
            "without": one.pair.without,
            "fair": "yes" if one.pair.is_fair else "no",
            "metric": one.metric,
            "splits": one.n_splits,
            "mean_with": one.with_saliency,
            "mean_without": one.without,
            "difference": one.difference,
            "low": one.low,
            "high": one.high,
            "p": one.p,
            "p_holm": one.p_adjusted,
        }
        for one in ablations
    ]
    shown = ("with", "without", "data", "metric", "difference", "low", "high", "p_holm", "splits", "fair")
    titles = ("with", "without", "data", "figure", "difference", "95% low", "high", "p (Holm)", "splits", "fair")
    return table(
        "Rows with minus rows without saliency, mean over splits; of RMSE, lower is better", records, shown, titles
    )


def table(
    caption: str, records: Sequence[Mapping[str, Value]], shown: Sequence[str], titles: Sequence[str] = ()
) -> Table:
    """A table of records, all columns in its CSV file, some of them on the page."""
    rows = tuple(tuple(Cell(_cell(record[name])) for name in shown) for record in records)
    return Table(caption, tuple(titles or shown), (Section("", rows),), (), tuple(records))


def records(rows: Sequence[Any]) -> list[dict[str, Value]]:
    """Named tuples as records; truth values become 0 and 1, sequences text."""
    return [{name: _value(value) for name, value in row._asdict().items()} for row in rows]


def histogram_records(frames: Sequence[FrameRow], bins: int = 20) -> list[dict[str, Value]]:
    """The counts behind Figure 7: for each data set the bins over both distributions."""
    found: list[dict[str, Value]] = []
    for name in dict.fromkeys(row.data for row in frames):
        rows = [row for row in frames if row.data == name and not math.isnan(row.cosine)]
        if not rows:
            continue
        both = np.array([[row.cosine, row.permuted] for row in rows])
        edges = np.linspace(both.min(), max(both.max(), both.min() + 1e-3), bins + 1)
        counts = [np.histogram(column, edges)[0].tolist() for column in both.T]
        found += [
            {"data": name, "low": low, "high": high, "frames": own, "frames_shuffled": other}
            for low, high, own, other in zip(edges[:-1].tolist(), edges[1:].tolist(), *counts, strict=True)
        ]
    return found


def _cell(value: Value) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}" if 1e-3 <= abs(value) < 1e4 or not value else f"{value:.1e}"
    return str(value)


def _value(value: Any) -> Value:  # noqa: ANN401 (a field of a named tuple)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, tuple):
        return " ".join(f"{one:.6g}" for one in value)
    return value  # type: ignore[no-any-return]
