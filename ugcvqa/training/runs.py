"""The run folder of a training: settings, model, predictions, figures, versions."""

import csv
import io
import json
import logging
import secrets
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ugcvqa.arrays import Array
from ugcvqa.cell_texts import cell_of
from ugcvqa.deep.engine import chosen_engine
from ugcvqa.display.figures import font, scatter
from ugcvqa.display.lines import failure_rows, metrics_line
from ugcvqa.errors import ConfigError, StoreError, UgcvqaError
from ugcvqa.evaluation import metrics
from ugcvqa.evaluation.splits import Split
from ugcvqa.features.provenance import described
from ugcvqa.files import error_reason, locked, write_atomic
from ugcvqa.launchers import is_main_process
from ugcvqa.leftovers import sweep, temporary_path
from ugcvqa.records import named_folder, plain_settings, versions
from ugcvqa.scoring.model import FILE_NAME, QualityModel
from ugcvqa.training.experiment import Experiment
from ugcvqa.training.vectors import Samples

log = logging.getLogger(__name__)

_OPEN = "training.json"  # in the folder of a training that is under way or was interrupted
_LOCK = "training.lock"  # held while it is under way
CHECKPOINTS = "checkpoints"
"""Folder of the states of a training, in its run folder."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions of all videos of a data set, in its order.

    Attributes:
        pred: (N,) on the label scale, not clipped.
        std: (N,) their standard deviations, NaN where the head knows none.
    """

    pred: Array
    std: Array


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        experiment: what was asked for.
        samples: the videos, with vectors unless a network was trained.
        split: which of them trained.
        model: scores videos.
        fitting: what was chosen or learned, and what a reader should know of how it went, as JSON values.
        predicted: predictions of all videos.
    """

    experiment: Experiment
    samples: Samples
    split: Split
    model: QualityModel
    fitting: Mapping[str, Any]
    predicted: Predicted

    def write(self, folder: Path) -> Path:
        """Writes the run folder, which appears complete or not at all.

        It holds config.yaml, model.safetensors, predictions.csv, metrics.json, scatter.png and, where videos failed,
        failures.csv. The folder of a training that wrote checkpoints is there already; its files join them, the model
        last.

        Returns:
            The folder, with a number added to its name where another run has taken it meanwhile.

        Raises:
            StoreError: if it cannot be written.
        """
        sweep(folder.parent)
        partial = temporary_path(folder.parent, ".partial")
        try:
            write_atomic(partial / "config.yaml", yaml.safe_dump(self.experiment.record, sort_keys=False).encode())
            self.model.save(partial / FILE_NAME)
            table, figures = self._predictions()
            write_atomic(partial / "predictions.csv", table.encode("utf-8", "surrogateescape"))
            write_atomic(partial / "metrics.json", self._metrics_json(figures).encode())
            for kind in ("png", *self.experiment.figures):
                write_atomic(partial / f"scatter.{kind}", self._scatter(f".{kind}"))
            if self.samples.failures:
                write_atomic(partial / "failures.csv", failure_rows(self.samples.failures))
            return _published(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def summary(self, folder: Path, seconds: float) -> str:
        """What a person wants to know at the end of a run: the held-out figures, and how to score a video."""
        samples, model = self.samples, self.model
        mos, pred, _ = self._part(self.split.test)
        held_out = metrics_line(f"held-out {samples.dataset.label}", metrics.evaluate(mos, pred), mos.size)
        failed = f"{len(samples.failures)} videos failed, see {folder}/failures.csv\n" if samples.failures else ""
        lines = f"{held_out}\nrun folder: {folder} ({model.row} + {model.head.kind.upper()}, {seconds:.0f} s)\n{failed}"
        lines += f"features: {described(model.makers, model.settings)}\n"
        quoted = shlex.quote(str(folder))
        if model.why_no_videos:
            files = shlex.quote(f"[{','.join(samples.sources)}]")
            return (
                lines
                + f"predict from feature tables: python -m ugcvqa.score --features {files} --checkpoint {quoted}\n"
            )
        video = next((video.path for video in samples.dataset.videos if video.path is not None), "VIDEO.mp4")
        return lines + f"score a video: python -m ugcvqa.score {shlex.quote(str(video))} --checkpoint {quoted}\n"

    def _part(self, ids: Sequence[str]) -> tuple[Array, Array, Array]:
        """(labels, predictions, standard deviations of these) of the videos of one part."""
        videos = self.samples.dataset.videos
        rows = self.samples.dataset.rows(ids)
        return np.array([videos[row].mos for row in rows]), self.predicted.pred[rows], self.predicted.std[rows]

    def _predictions(self) -> tuple[str, dict[str, metrics.Metrics]]:
        """CSV text of all predictions, and the figures of each part."""
        text, split = io.StringIO(), self.split
        writer = csv.writer(text, lineterminator="\n")
        has_std = bool(np.isfinite(self.predicted.std).any())
        writer.writerow(["video_id", "part", "label", "pred", "pred_mapped", *(["std"] if has_std else [])])
        figures = {}
        for part, ids in (("train", split.train), ("val", split.val), ("test", split.test)):
            mos, pred, std = self._part(ids)
            figures[part] = metrics.evaluate(mos, pred)
            columns = [mos, pred, self.model.head.logistic(pred), *([std] if has_std else [])]
            for video_id, *values in zip(ids, *columns, strict=True):
                writer.writerow([cell_of(video_id), part, *(repr(float(value)) for value in values)])
        return text.getvalue(), figures

    def _metrics_json(self, figures: Mapping[str, metrics.Metrics]) -> str:
        samples, model = self.samples, self.model
        record = {
            "label": samples.dataset.label,
            "scale": list(samples.dataset.scale),
            "test": asdict(figures["test"]),
            "videos": {part: len(getattr(self.split, part)) for part in ("train", "val", "test")},
            "failed_videos": len(samples.failures),
            "head": {"kind": model.head.kind, **self.fitting},
            "features": samples.sources,
            "made_by": dict(samples.provenance.made_by),
            "engine": chosen_engine(model.settings.engine),
            "versions": versions(),
        }
        return json.dumps(record, indent=2) + "\n"

    def _scatter(self, suffix: str) -> bytes:
        mos, pred, _ = self._part(self.split.test)
        dataset, model = self.samples.dataset, self.model
        title = f"{model.row} + {model.head.kind.upper()}, held-out videos of {dataset.name}"
        with font(self.experiment.font):
            return scatter(pred, mos, metrics.evaluate(mos, pred), title, dataset.label, dataset.scale, suffix)


def _published(partial: Path, folder: Path) -> Path:
    """Gives a finished run folder its name; another run may have taken it meanwhile, then the next free one."""
    if is_unfinished(folder):
        for path in sorted(partial.iterdir(), key=lambda path: path.name == FILE_NAME):
            path.replace(folder / path.name)
        return folder
    while True:
        try:
            return partial.rename(folder)
        except OSError as error:
            if not folder.exists():
                raise StoreError(f"{folder}: cannot be written: {error.strerror or error}") from error
            folder = new_folder(folder.parent, folder.name)


def is_unfinished(folder: Path) -> bool:
    """Whether a folder belongs to a training that is under way or was interrupted."""
    traces = (folder / name for name in (_OPEN, _LOCK, CHECKPOINTS))
    return not (folder / FILE_NAME).exists() and any(trace.exists() for trace in traces)


@contextmanager
def open_folder(out: Path, name: str, settings: Mapping[str, Any]) -> Iterator[Path]:
    """Picks the folder of a training: the one that an interrupted training with the same settings left, else a new one.

    The first process of a training keeps others out of its folder; it removes the folder of a training that a user
    error ended before its first state, so that the mended command may use the name.

    `settings` decide the numbers of the training; finished runs of this name add a number to it.

    Yields:
        The folder, which exists.

    Raises:
        ConfigError: if a training under this name is under way, or an interrupted one had other settings.
        StoreError: if it cannot be made.
    """
    if not is_main_process():
        yield _opened(new_folder(out, name, _is_finished), settings)
        return
    sweep(out)
    with ExitStack() as held:
        folder = _locked_folder(out, name, held)
        try:
            yield _opened(folder, settings)
        except UgcvqaError:
            if {path.name for path in folder.iterdir()} <= {_OPEN, _LOCK}:
                shutil.rmtree(folder)
            raise


def _locked_folder(out: Path, name: str, held: ExitStack) -> Path:
    """The first folder without a finished run, kept from other trainings for as long as `held` lasts."""
    while True:
        folder = new_folder(out, name, _is_finished)
        try:
            held.enter_context(locked(folder / _LOCK))
        except StoreError as error:
            raise ConfigError(f"{error}; wait for that training, or give another --name") from error
        if not (folder / FILE_NAME).is_file():  # no other training has just finished there
            return folder
        held.close()


def _opened(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Writes down the settings of a training, or compares them with those that are there.

    Where these are lost, its checkpoints still tell whether they are of another training.
    """
    record = plain_settings(dict(settings))
    before = _recorded(folder / _OPEN)
    if before is None and is_main_process() and not (folder / CHECKPOINTS).exists():
        write_atomic(folder / _OPEN, json.dumps(record, indent=1).encode())
    changed = [key for key in record if before is not None and record[key] != before.get(key)]
    if changed:
        raise ConfigError(
            f"{folder}: holds an interrupted training with other settings of {', '.join(changed)}; give another "
            "--name, or delete it"
        )
    return folder


def _recorded(path: Path) -> dict[str, Any] | None:
    """Settings of an interrupted training; None if there are none, or they cannot be read, which is said."""
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_bytes())
        if isinstance(record, dict):
            return record
        reason = "it holds no settings"
    except (OSError, ValueError, RecursionError) as error:
        reason = error_reason(error)
    if is_main_process():
        log.warning("%s: cannot be read (%s); the checkpoints tell what was trained", path, reason)
        path.rename(path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}"))
    return None


def new_folder(out: Path, name: str, is_taken: Callable[[Path], bool] = Path.exists) -> Path:
    """Picks the first of NAME, NAME-2, NAME-3 ... that is not taken, which by default means that it does not exist."""
    numbered = (out / f"{name}-{number}" for number in count(2))
    return next(folder for folder in chain([named_folder(out, name)], numbered) if not is_taken(folder))


def _is_finished(folder: Path) -> bool:
    return folder.exists() and not is_unfinished(folder)
