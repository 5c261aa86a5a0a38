"""What `ugcvqa timings` writes: Table 2 with its footnotes, Figure 4, and every measurement."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ugcvqa.benchmarks.costs import Extraction, Fitting
from ugcvqa.benchmarks.results import line_title, read_splits
from ugcvqa.display.benchmark_tables import RowCost
from ugcvqa.display.figures import accuracy_cost
from ugcvqa.display.text_tables import Table
from ugcvqa.errors import LabelError
from ugcvqa.evaluation.published import data_title, published_figure
from ugcvqa.features.rows import PAPER_ROWS
from ugcvqa.files import write_atomic, write_json
from ugcvqa.settings.features import FamilySettings

_PAPER_DATA = "youtube_ugc"  # the data set of the paper's Figure 4


def accuracy(benchmark: str | None, data: str | None) -> tuple[dict[str, float], str]:
    """Median SRCC of each line of a benchmark, or the paper's on YouTube-UGC; and where it comes from.

    Raises:
        LabelError: if the benchmark's folder holds no results.
    """
    if benchmark is None:
        paper = {row: published_figure(_PAPER_DATA, row, "srcc").median for row in PAPER_ROWS}
        return paper, f"SRCC of the paper on {data_title(_PAPER_DATA)}"
    folder = Path(benchmark)
    values: dict[str, dict[str, list[float]]] = {}
    found = read_splits(folder, ("data", "row", "head", "srcc"))
    lines = [(number, line) for number, line in found if line.get("split") != "0"]  # 0: all videos, no test part
    mapped = {line["data"] for _, line in lines if line.get("mapping") == "train"}
    for number, line in lines:
        row = line_title(line["row"], line["head"])
        try:
            if line.get("mapping") in (None, "train" if line["data"] in mapped else "test"):
                values.setdefault(line["data"], {}).setdefault(row, []).append(float(line["srcc"] or math.nan))
        except ValueError as error:
            raise LabelError(f"{folder}/splits.csv: line {number} is damaged ({error})") from error
    name = next((name for name in (data, _PAPER_DATA, *values) if name in values), None)
    if name is None:
        raise LabelError(f"{folder}/splits.csv: holds no results; give the folder of a finished benchmark")
    medians = {row: float(np.nanmedian(srcc)) for row, srcc in values[name].items() if np.isfinite(srcc).any()}
    return medians, f"median SRCC on {data_title(name)}, {folder.name}"


def weight_notes(families: FamilySettings) -> Iterator[str]:
    """Notes where weights are random (seconds hold, features mean nothing) or networks differ from the paper's."""
    for name, network in (("deep", families.deep), ("saliency", families.saliency)):
        paper = type(network).backbone
        if network.weights.startswith("random:"):
            yield f"RANDOM WEIGHTS ({name} {network.weights}): the seconds hold, features mean nothing."
        if network.backbone != paper:
            yield f"The {name} backbone is {network.backbone}, not the paper's {paper}."


def measurement_notes(
    machine: Mapping[str, Any], extraction: Extraction, fitting: Fitting, device: str
) -> Iterator[str]:
    """Notes on what was measured, for the footnotes of the table: the machine, the videos, the repetitions."""
    where = machine["gpu"] if device != "cpu" else f"{machine['cores']} cores, {machine['torch_threads']} threads"
    yield f"Measured on {machine['processor']}, {where}, torch {machine['torch']}; the paper's on a cluster node."
    if infos := extraction.infos.values():
        sizes = ", ".join(dict.fromkeys(f"{info.width} x {info.height}" for info in infos))
        length = np.mean([info.duration_s for info in infos])
        yield f"Extraction: mean over {len(infos)} videos of {sizes}, {length:.1f} s long on average."
    if fitting.fit_s:
        count = len(next(iter(fitting.fit_s.values())))
        yield (
            f"Fit: mean over hold-outs 1 to {count} of {fitting.n_videos} videos, in one process. Predict: one video "
            "at a time, from its features."
        )
    for path in extraction.failures:
        yield f"Left out: {path!r}."


def write(
    folder: Path,
    table: Table,
    spent: Mapping[str, RowCost],
    srcc: Mapping[str, float],
    source: str,
    record: Mapping[str, Any],
    kinds: Sequence[str] = (),
) -> dict[str, Path]:
    """Writes tables, figures (also in `kinds`: `pdf`, `svg`) and record; gives the figures' PNG files by name.

    Raises:
        StoreError: if a file cannot be written.
    """
    write_json(folder / "timings.json", record)
    for suffix, text in ((".md", table.markdown()), (".csv", table.csv()), (".tex", table.latex())):
        write_atomic(folder / f"table2{suffix}", text.encode())
    costs = {
        "figure4_extract": (
            "feature extraction, seconds per video",
            {row: one.extract_s for row, one in spent.items()},
        ),
        "figure4_fit": ("grid search and fit, seconds per repetition", {row: one.fit_s for row, one in spent.items()}),
    }
    pictures = {}
    for name, (label, seconds) in costs.items():
        if any(math.isfinite(value) for row, value in seconds.items() if row in srcc):
            pictures[name] = folder / f"{name}.png"
            for suffix in dict.fromkeys((".png", *(f".{kind}" for kind in kinds))):
                drawn = accuracy_cost(seconds, srcc, label, f"Accuracy and cost: {source}", suffix)
                write_atomic(pictures[name].with_suffix(suffix), drawn)
    return pictures
