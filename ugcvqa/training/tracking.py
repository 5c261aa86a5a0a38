"""Where the metrics of a training are logged: CSV files, or Weights & Biases."""

import json
import logging
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from lightning.pytorch.loggers import CSVLogger, Logger

from ugcvqa import dashboard
from ugcvqa.datasets.catalogue import Dataset, Video
from ugcvqa.errors import UgcvqaError
from ugcvqa.evaluation.splits import Split
from ugcvqa.files import write_atomic
from ugcvqa.launchers import is_main_process
from ugcvqa.media.video import probe, read_frames
from ugcvqa.settings.training import WandbSettings

log = logging.getLogger(__name__)

_THUMBNAIL_PX = 160
_THUMBNAILS = 64  # most pictures in a table of predictions


def make_loggers(kind: str, settings: WandbSettings, folder: Path, config: Mapping[str, Any]) -> list[Logger]:
    """Makes the loggers of a training.

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
    """Sends the end of a run to W&B: held-out figures, predictions, residuals by resolution, plots, maps, the model.

    Does nothing for other loggers.
    """
    named: list[Any] = list(loggers)
    run = next((logger.experiment for logger in named if type(logger).__name__ == "WandbLogger"), None)
    if run is None:
        return
    wandb = dashboard.library()
    record = json.loads((folder / "metrics.json").read_bytes())["test"]
    figures = {f"test/{name}": record[name] for name in ("srcc", "krcc", "plcc", "rmse")}
    rows = _rows(dataset, split, pred)
    table = wandb.Table(columns=["video_id", "part", "resolution", "label", "pred", "residual", "thumbnail"])
    for row in rows:
        table.add_data(*row[:-1], None if row.thumbnail is None else wandb.Image(row.thumbnail))
    pairs = wandb.Table(columns=["label", "pred"], data=[[r.label, r.pred] for r in rows if r.part == "test"])
    by_resolution = wandb.Table(columns=["group", "videos", "mean residual", "RMSE"], data=residuals(rows))
    run.log(
        {
            **figures,
            "predictions": table,
            "test/scatter": wandb.plot.scatter(pairs, "pred", "label", "held-out videos"),
            "residuals_by_resolution": by_resolution,
            "residuals": wandb.plot.bar(by_resolution, "group", "mean residual", "label minus prediction"),
            "scatter": wandb.Image(str(folder / "scatter.png")),
        }
    )
    if maps := [wandb.Image(picture, caption=video_id) for video_id, picture in overlays]:
        run.log({"saliency": maps})
    run.summary.update(figures)
    artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=figures)
    for name in ("model.safetensors", "config.yaml", "metrics.json", "predictions.csv"):
        artifact.add_file(str(folder / name), policy="immutable")  # not copied: it is sent from where it is
    run.log_artifact(artifact)
    dashboard.finish(run, folder)


class Row(NamedTuple):
    """A video in the table of predictions; `thumbnail` is (H, W, 3), None where there is none."""

    video_id: str
    part: str
    resolution: str
    label: float
    pred: float
    residual: float
    thumbnail: npt.NDArray[np.uint8] | None = None


def residuals(rows: Iterable[Row]) -> list[list[Any]]:
    """Residuals of the validation and test part by resolution: `test 720p`, videos, mean residual, RMSE."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row.part != "train":
            groups.setdefault(f"{row.part} {row.resolution}", []).append(row.residual)
    found = sorted(groups.items(), key=lambda item: (item[0].split()[0], len(item[0]), item[0]))
    return [[name, len(of), float(np.mean(of)), float(np.sqrt(np.mean(np.square(of))))] for name, of in found]


def _rows(dataset: Dataset, split: Split, pred: npt.NDArray[np.float64]) -> list[Row]:
    """Rows of the table, held-out videos first, because these get the thumbnails."""
    rows: list[Row] = []
    for part, ids in (("test", split.test), ("val", split.val), ("train", split.train)):
        for row in dataset.rows(ids):
            video, value = dataset.videos[row], float(pred[row])
            size = _resolution(video) if part != "train" or video.resolution else ""
            picture = _thumbnail(video.path) if len(rows) < _THUMBNAILS else None
            rows.append(Row(video.video_id, part, size, video.mos, value, video.mos - value, picture))
    return rows


def _resolution(video: Video) -> str:
    """Class of YouTube-UGC, else the short side of the frame; `unknown` without a readable file."""
    if video.resolution is None and video.path is not None:
        try:
            info = probe(video.path)
            return f"{min(info.width, info.height)}p"
        except UgcvqaError as error:
            log.warning("no frame size: %s", error)
    return (video.resolution or "unknown").lower()


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

    dashboard.library()  # says in one line if it is not there
    run = None  # only the first of several processes logs
    if is_main_process():
        run = dashboard.start(folder, settings, "fit", config, id=_run_id(folder), resume="allow")
    return WandbLogger(experiment=run, save_dir=folder.resolve())


def _run_id(folder: Path) -> str:
    """Name of the run at W&B, the same after an interruption."""
    path = folder / "wandb_id"
    known = path.read_bytes() if path.is_file() else b""
    if not re.fullmatch(rb"[0-9a-f]{8}", known):  # none yet, or damaged
        known = secrets.token_hex(4).encode()
        write_atomic(path, known)
    return known.decode()
