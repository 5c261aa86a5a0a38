"""Where the figures of a training go: CSV files, or Weights & Biases, which is imported only then."""

import json
import logging
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch.loggers import CSVLogger, Logger

from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.errors import UgcvqaError
from ugcvqa.evaluation.splits import Split
from ugcvqa.files import error_reason, write_atomic
from ugcvqa.media.video import probe, read_frames
from ugcvqa.settings.training import WandbSettings

log = logging.getLogger(__name__)

_THUMBNAIL_PX = 160
_THUMBNAILS = 64  # most pictures in a table of predictions


def make_loggers(kind: str, settings: WandbSettings, folder: Path, config: Mapping[str, Any]) -> list[Logger]:
    """Makes the loggers of a training.

    Args:
        kind: `csv` for files below FOLDER/logs, `wandb`, or `none`.
        settings: of W&B.
        folder: of the run.
        config: plain settings of the run, shown by W&B.

    Raises:
        UgcvqaError: if W&B cannot be used.
    """
    if kind == "csv":
        return [CSVLogger(folder, name="logs")]
    return [_wandb_logger(settings, folder, config)] if kind == "wandb" else []


def log_results(
    loggers: Sequence[Logger],
    dataset: Dataset,
    split: Split,
    pred: npt.NDArray[np.float64],
    folder: Path,
    overlays: Iterable[tuple[str, npt.NDArray[np.uint8]]] = (),
) -> None:
    """Sends the end of a run to W&B: held-out figures, predictions with thumbnails, scatter plots, maps, the model.

    Does nothing for other loggers.

    Args:
        loggers: of the run.
        dataset: its videos.
        split: which of them trained.
        pred: (N,) predictions of all videos.
        folder: finished run folder.
        overlays: ids and pictures of saliency maps; not touched for other loggers.
    """
    named: list[Any] = list(loggers)
    run = next((logger.experiment for logger in named if type(logger).__name__ == "WandbLogger"), None)
    if run is None:
        return
    import wandb

    record = json.loads((folder / "metrics.json").read_bytes())["test"]
    figures = {f"test/{name}": record[name] for name in ("srcc", "krcc", "plcc", "rmse")}
    table = wandb.Table(columns=["video_id", "part", "label", "pred", "thumbnail"])
    for video_id, part, mos, value, picture in _rows(dataset, split, pred):
        table.add_data(video_id, part, mos, value, None if picture is None else wandb.Image(picture))
    run.log(
        {
            **figures,
            "predictions": table,
            "test/scatter": wandb.plot.scatter(_of_part(table, "test"), "pred", "label", "held-out videos"),
            "scatter": wandb.Image(str(folder / "scatter.png")),
        }
    )
    if maps := [wandb.Image(picture, caption=video_id) for video_id, picture in overlays]:
        run.log({"saliency": maps})
    run.summary.update(figures)
    artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=figures)
    for name in ("model.safetensors", "config.yaml", "metrics.json", "predictions.csv"):
        artifact.add_file(str(folder / name))
    run.log_artifact(artifact)
    run.finish()


def _rows(
    dataset: Dataset, split: Split, pred: npt.NDArray[np.float64]
) -> list[tuple[str, str, float, float, npt.NDArray[np.uint8] | None]]:
    """Rows of the table, held-out videos first, because these get the thumbnails."""
    position = {video.video_id: row for row, video in enumerate(dataset.videos)}
    rows: list[tuple[str, str, float, float, npt.NDArray[np.uint8] | None]] = []
    for part, ids in (("test", split.test), ("val", split.val), ("train", split.train)):
        for video_id in ids:
            video = dataset.videos[position[video_id]]
            picture = _thumbnail(video.path) if len(rows) < _THUMBNAILS else None
            rows.append((video_id, part, float(video.mos), float(pred[position[video_id]]), picture))
    return rows


def _of_part(table: Any, part: str) -> Any:  # noqa: ANN401 (W&B's table)
    """The rows of one part as a table for a plot."""
    import wandb

    chosen = [[label, value] for _, name, label, value, _ in table.data if name == part]
    return wandb.Table(columns=["label", "pred"], data=chosen)


def _thumbnail(path: Path | str | None) -> npt.NDArray[np.uint8] | None:
    """The middle frame of a video, made small by leaving out pixels; None where there is no readable file."""
    if path is None:
        return None
    try:
        frames = read_frames(path, [probe(path).n_frames // 2])
        picture = next(image for _, _, image in frames).transpose(1, 2, 0)
    except UgcvqaError as error:
        log.warning("no thumbnail: %s", error)
        return None
    step = max(1, min(picture.shape[:2]) // _THUMBNAIL_PX)
    return np.ascontiguousarray(picture[::step, ::step])


def _wandb_logger(settings: WandbSettings, folder: Path, config: Mapping[str, Any]) -> Logger:
    from lightning.pytorch.loggers import WandbLogger

    try:
        import wandb
    except ImportError as error:
        raise UgcvqaError(f"--logger wandb needs the package wandb ({error}); install it, or leave it out") from error
    # Pictures and models wait there for their upload; by default that is a folder in the home directory.
    os.environ.setdefault("WANDB_DATA_DIR", str(folder.resolve()))
    try:
        logger = WandbLogger(
            name=folder.name,
            project=settings.project,
            entity=settings.entity,
            group=settings.group,
            tags=list(settings.tags),
            notes=settings.notes,
            job_type=settings.job_type,
            save_dir=folder.resolve(),
            mode=settings.mode,
            id=_run_id(folder),
            resume="allow",
            config=dict(config),
        )
        logger.experiment  # noqa: B018 (connects now, not after the first epoch)
    except (wandb.Error, OSError) as error:
        raise UgcvqaError(
            f"W&B cannot start ({error_reason(error)}); run `wandb login`, or use --wandb.mode offline"
        ) from error
    return logger


def _run_id(folder: Path) -> str:
    """Name of the run at W&B, the same after an interruption."""
    path = folder / "wandb_id"
    known = path.read_bytes() if path.is_file() else b""
    if not re.fullmatch(rb"[0-9a-f]{8}", known):  # none yet, or damaged
        known = secrets.token_hex(4).encode()
        write_atomic(path, known)
    return known.decode()
