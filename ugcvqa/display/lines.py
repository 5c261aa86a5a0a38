"""Lines and tables of a training run."""

import csv
from collections.abc import Mapping
from pathlib import Path

from ugcvqa.cell_texts import csv_text, text_of
from ugcvqa.evaluation.metrics import Metrics


def metrics_line(name: str, metrics: Metrics, count: int) -> str:
    """One line of the four figures, as in the paper's Table 1."""
    values = f"SRCC {metrics.srcc:.4f}  KRCC {metrics.krcc:.4f}  PLCC {metrics.plcc:.4f}  RMSE {metrics.rmse:.4f}"
    return f"{name}: {values}  ({count} videos)"


def failure_rows(failures: Mapping[str, str], column: str = "reason") -> bytes:
    """CSV file of failed videos: video_id, reason; sorted by id. `column` names the second column if not `reason`."""
    return csv_text([("video_id", column), *sorted(failures.items())]).encode("utf-8", "surrogateescape")


def read_failures(path: Path, column: str = "reason") -> dict[str, str]:
    """Reads what `failure_rows` made."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return {text_of(row["video_id"]): text_of(row[column]) for row in csv.DictReader(file)}
