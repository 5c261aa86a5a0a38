"""The run folder of a training: settings, model, predictions, figures, versions."""

import csv
import io
import json
import platform
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from ugcvqa import __version__, metrics, report
from ugcvqa.errors import ConfigError, StoreError
from ugcvqa.files import write_atomic
from ugcvqa.model import FILE_NAME, QualityModel
from ugcvqa.rows import ROWS
from ugcvqa.splits import Split
from ugcvqa.svr import GridReport
from ugcvqa.training import Samples

Array = npt.NDArray[np.float64]


def write_run(
    folder: Path,
    settings: dict[str, Any],
    samples: Samples,
    split: Split,
    model: QualityModel,
    grid: GridReport,
) -> Path:
    """Writes the run folder, which appears complete or not at all.

    It holds config.yaml, model.safetensors, predictions.csv, metrics.json, scatter.png and, where videos failed,
    failures.csv.

    Returns:
        The folder.

    Raises:
        StoreError: if it cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        write_atomic(partial / "config.yaml", yaml.safe_dump(_plain(settings), sort_keys=False).encode())
        model.save(partial / FILE_NAME)
        table, figures = _predictions(samples, split, model)
        write_atomic(partial / "predictions.csv", table.encode("utf-8", "surrogateescape"))
        write_atomic(partial / "metrics.json", _metrics_json(samples, split, model, grid, figures).encode())
        write_atomic(partial / "scatter.png", _scatter(samples, split, model))
        if samples.failures:
            write_atomic(partial / "failures.csv", report.failure_rows(samples.failures))
        return _published(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _published(partial: Path, folder: Path) -> Path:
    """Gives a finished run folder its name; another run may have taken it meanwhile, then the next free one."""
    while True:
        try:
            return partial.rename(folder)
        except OSError as error:
            if not folder.exists():
                raise StoreError(f"{folder}: cannot be written: {error.strerror or error}") from error
            folder = new_folder(folder.parent, folder.name)


def check_writable(folder: Path) -> None:
    """Tries to make a run folder, so that a long training does not fail at its end.

    Raises:
        StoreError: if it cannot be made.
    """
    trial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    write_atomic(trial / "trial", b"")
    shutil.rmtree(trial, ignore_errors=True)


def new_folder(out: Path, name: str) -> Path:
    """Picks the first of NAME, NAME-2, NAME-3 ... that does not exist."""
    if not name or Path(name).name != name or name.startswith("."):
        raise ConfigError(f"run name {name!r} cannot be a folder name; give another --name")
    number = 1
    folder = out / name
    while folder.exists():
        number += 1
        folder = out / f"{name}-{number}"
    return folder


def part_scores(samples: Samples, ids: Sequence[str], model: QualityModel) -> tuple[Array, Array]:
    """(labels, predictions) of the videos of one part."""
    position = {video.video_id: index for index, video in enumerate(samples.dataset.videos)}
    rows = [position[video_id] for video_id in ids]
    mos = np.array([samples.dataset.videos[index].mos for index in rows])
    return mos, model.predict(samples.features[rows])


def _predictions(samples: Samples, split: Split, model: QualityModel) -> tuple[str, dict[str, metrics.Metrics]]:
    """CSV text of all predictions, and the figures of each part."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["video_id", "part", "label", "pred", "pred_mapped"])
    figures = {}
    for part, ids in (("train", split.train), ("val", split.val), ("test", split.test)):
        mos, pred = part_scores(samples, ids, model)
        figures[part] = metrics.evaluate(mos, pred)
        mapped = model.head.logistic(pred)
        for values in zip(ids, mos, pred, mapped, strict=True):
            writer.writerow([values[0], part, *(repr(float(value)) for value in values[1:])])
    return text.getvalue(), figures


def _metrics_json(
    samples: Samples, split: Split, model: QualityModel, grid: GridReport, figures: dict[str, metrics.Metrics]
) -> str:
    record = {
        "label": samples.dataset.label,
        "scale": list(samples.dataset.scale),
        "test": asdict(figures["test"]),
        "videos": {part: len(getattr(split, part)) for part in ("train", "val", "test")},
        "failed_videos": len(samples.failures),
        "head": {"C": model.head.C, "gamma": model.head.gamma, "support_vectors": model.head.dual_coef.size},
        "grid": {
            "unconverged": grid.n_unconverged,
            "unmapped": grid.n_unmapped,
            "nonfinite": grid.n_nonfinite,
        },
        "features": samples.sources,
        "versions": _versions(),
    }
    return json.dumps(record, indent=2) + "\n"


def _versions() -> dict[str, str]:
    names = ("torch", "lightning", "scikit-learn", "numpy", "scipy", "av")
    return {
        "ugcvqa": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    } | ({"commit": commit} if (commit := _commit()) else {})


def _commit() -> str:
    """Commit of the source tree this runs from, empty for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _scatter(samples: Samples, split: Split, model: QualityModel) -> bytes:
    mos, pred = part_scores(samples, split.test, model)
    title = f"{model.row} + SVR, held-out videos of {samples.dataset.name}"
    return report.scatter_png(
        pred, mos, metrics.evaluate(mos, pred), title, samples.dataset.label, samples.dataset.scale
    )


def summary(folder: Path, samples: Samples, split: Split, model: QualityModel, seconds: float) -> str:
    """What a person wants to know at the end of a run: the held-out figures, and how to score a video."""
    mos, pred = part_scores(samples, split.test, model)
    held_out = report.metrics_line(f"held-out {samples.dataset.label}", metrics.evaluate(mos, pred), mos.size)
    failed = f"{len(samples.failures)} videos failed, see {folder}/failures.csv\n" if samples.failures else ""
    lines = f"{held_out}\nrun folder: {folder} ({seconds:.0f} s)\n{failed}"
    if model.row in ROWS:
        video = next((video.path for video in samples.dataset.videos if video.path is not None), "VIDEO.mp4")
        lines += (
            f"score a video: python -m ugcvqa.score {shlex.quote(str(video))} --checkpoint {shlex.quote(str(folder))}\n"
        )
    return lines


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as YAML values: dataclasses become mappings, tuples lists."""
    nested = {
        key: asdict(value) if hasattr(value, "__dataclass_fields__") else value for key, value in settings.items()
    }
    plain: dict[str, Any] = json.loads(json.dumps(nested))
    return plain
