"""Tables and figures in Weights & Biases, for those who switched it on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ugcvqa.display.text_tables import Table
from ugcvqa.errors import ConfigError

PROJECT = "ugcvqa"


def log_benchmark(
    folder: Path,
    mode: Literal["offline", "online"],
    tables: Mapping[str, Table],
    pictures: Mapping[str, Path],
) -> None:
    """Logs a benchmark as one run of the project `ugcvqa`, with each table in full precision and each picture.

    Args:
        folder: folder of the benchmark; its name is the run's, and offline files lie in its `wandb`.
        mode: `offline` needs neither a network nor an account; `wandb sync` uploads such a run later.
        tables: name -> table.
        pictures: name -> picture file.

    Raises:
        ConfigError: if Weights & Biases refuses, for example because no key is set.
    """
    import wandb  # here because the import takes seconds and few want it

    try:
        run = wandb.init(
            project=PROJECT, name=folder.name, dir=folder, mode=mode, job_type="benchmark", settings={"silent": True}
        )
    except (wandb.Error, OSError) as error:
        raise ConfigError(f"wandb {mode}: {error}; the results are in {folder}") from error
    with run:
        for name, table in tables.items():
            columns: list[str | int] = [*table.records[0]] if table.records else []
            rows = [[record[str(column)] for column in columns] for record in table.records]
            run.log({f"tables/{name}": wandb.Table(columns=columns, data=rows)})
        run.log({f"figures/{name}": wandb.Image(str(path)) for name, path in pictures.items()})
