"""A benchmark in Weights & Biases: each line a run with the figures of every split, all in one group."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ugcvqa import dashboard
from ugcvqa.benchmarks.ranking import plain_mapping
from ugcvqa.benchmarks.results import Results, line_title
from ugcvqa.display.text_tables import Table
from ugcvqa.evaluation.published import METRICS
from ugcvqa.settings.training import WandbSettings


def log_lines(folder: Path, settings: WandbSettings, results: Results, mode: str, config: Mapping[str, Any]) -> None:
    """Logs each line of each data set as a separate run, so that rows and heads compare on one dashboard.

    Its history has the figures of each split, its summary their medians and deviations, its config data set, row and
    head. Its group is the folder's name unless the settings have one.

    Results on all videos at once, or after other logistic maps, appear in the tables only.

    Raises:
        ConfigError: if W&B cannot be used.
    """
    wanted = plain_mapping(mode)
    of_lines: dict[tuple[str, ...], Results] = {}
    for result in results:
        if result.split and result.mapping == wanted:
            of_lines.setdefault(result.key, []).append(result)
    for (data, row, head, _), several in of_lines.items():
        lines = sorted(several, key=lambda line: line.split)
        own = {"data": data, "row": row, "head": head, "mode": mode, "n_test": lines[0].n_test}
        name = f"{data} {line_title(row, head)}"
        group = settings.group or folder.name
        with dashboard.opened(folder, settings, "benchmark", {**config, **own}, name, group=group) as run:
            for line in lines:
                run.log({"split": line.split, **{f"split/{m}": getattr(line, m) for m in METRICS}})
            for metric in METRICS:
                values = np.array([getattr(line, metric) for line in lines])
                finite = values[np.isfinite(values)]
                if finite.size:
                    run.summary.update({metric: float(np.median(finite)), f"{metric}_std": float(finite.std())})


def log_tables(
    folder: Path,
    settings: WandbSettings,
    kind: str,
    config: Mapping[str, Any],
    tables: Mapping[str, Table],
    pictures: Mapping[str, Path],
) -> None:
    """Logs a run with each table in full precision and each picture, in the group of the lines.

    The run has the folder's name, and the job type `kind` unless the settings have one.

    Raises:
        ConfigError: if W&B cannot be used.
    """
    wandb = dashboard.library()
    with dashboard.opened(folder, settings, kind, config, group=settings.group or folder.name) as run:
        for name, table in tables.items():
            columns = [*table.records[0]] if table.records else []
            rows = [[record[column] for column in columns] for record in table.records]
            run.log({f"tables/{name}": wandb.Table(columns=columns, data=rows)})
        run.log({f"figures/{name}": wandb.Image(str(path)) for name, path in pictures.items()})
