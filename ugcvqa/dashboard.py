"""Weights & Biases for all verbs: how runs start, where their files lie, how they end. Its only door.

The library, whose import takes seconds, is imported only where W&B is switched on.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ugcvqa.errors import ConfigError
from ugcvqa.files import error_reason
from ugcvqa.settings.training import WandbSettings

_DATA_DIR = "WANDB_DATA_DIR"  # where tables and models wait for their upload; by default in the home directory


def library() -> Any:  # noqa: ANN401 (a module)
    """The module `wandb`, for its tables, pictures and plots.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise ConfigError(f"W&B needs the package wandb ({error}); install it, or leave W&B out") from error
    return wandb


def start(
    folder: Path, settings: WandbSettings, kind: str, config: Mapping[str, Any], name: str = "", **more: str
) -> Any:  # noqa: ANN401 (W&B's run)
    """Starts a run, whose files are in FOLDER/wandb, including the ones that wait for `wandb sync`.

    Its job type is `kind` unless the settings have one, its name the folder's unless one is given; `more` are further
    arguments of `wandb.init`.

    Raises:
        ConfigError: if W&B cannot be used, for example because no key is set.
    """
    wandb = library()
    os.environ.setdefault(_DATA_DIR, str(_files_of(folder)))
    try:
        return wandb.init(
            project=settings.project, entity=settings.entity, tags=list(settings.tags), notes=settings.notes,
            job_type=settings.job_type or kind, dir=folder.resolve(), mode=settings.mode, name=name or folder.name,
            config=dict(config), settings={"silent": True}, **{"group": settings.group, **more},
        )  # fmt: skip
    except BaseException as error:
        _forget(_files_of(folder))
        if not isinstance(error, wandb.Error | OSError):
            raise
        raise ConfigError(
            f"wandb {settings.mode}: W&B cannot start ({error_reason(error)}); run `wandb login`, or use mode offline; "
            f"results are in {folder}"
        ) from error


def finish(run: Any, folder: Path) -> None:  # noqa: ANN401 (W&B's run)
    """Ends a run; files that waited for their upload go, unless `wandb sync` is still to send them."""
    run.finish()
    files = _files_of(folder)
    _forget(files)
    if not any(files.glob("offline-run-*")):
        shutil.rmtree(files / "artifacts", ignore_errors=True)


@contextmanager
def opened(
    folder: Path, settings: WandbSettings, kind: str, config: Mapping[str, Any], name: str = "", **more: str
) -> Iterator[Any]:
    """A run as `start` makes it, ended on leaving."""
    run = start(folder, settings, kind, config, name, **more)
    try:
        yield run
    finally:
        finish(run, folder)


def _forget(files: Path) -> None:
    """Takes the folder of a run out of the environment, where the next run would find it too."""
    if os.environ.get(_DATA_DIR) == str(files):
        del os.environ[_DATA_DIR]


def _files_of(folder: Path) -> Path:
    return folder.resolve() / "wandb"
