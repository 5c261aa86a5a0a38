"""Scores read back from the file that a run wrote."""

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ugcvqa.bulk.journal import read_record
from ugcvqa.bulk.parquet import read_cells
from ugcvqa.bulk.rows import FACTS, NUMBERS, TEXTS
from ugcvqa.cell_texts import text_of
from ugcvqa.errors import StoreError
from ugcvqa.files import error_reason
from ugcvqa.scoring.explanation import Explanation, Timeline
from ugcvqa.scoring.found_artefacts import Artefact
from ugcvqa.scoring.result import Score

_TEXTS = ("video", "video_bytes", *TEXTS)
_EXPLAINED = ("timeline", "explanation")


@dataclass(frozen=True)
class Meaning:
    """What the scores of an output are, see `scorers.Scorer`."""

    label: str
    scale: tuple[float, float]
    name: str
    trained_on: str
    fingerprint: str


def read_meaning(output: Path) -> Meaning:
    """Reads from the record beside an output what its scores are.

    Raises:
        StoreError: if there is no record, or it is damaged.
    """
    try:
        model = read_record(output)["model"]
        low, high = model["scale"]
        names = (str(model[key]) for key in ("model", "trained_on", "model_sha256"))
        return Meaning(str(model["label"]), (float(low), float(high)), *names)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{output}: the record beside it is not complete ({error_reason(error)})") from error


def read_scores(output: Path) -> Iterator[Score]:
    """Yields the scores of a finished output, one at a time; details and pictures are not read.

    Raises:
        StoreError: if it cannot be read.
    """
    try:
        for cells in _rows(output):
            yield _score(cells)
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise StoreError(f"{output}: cannot be read as scores of ours ({error_reason(error)})") from error


def _rows(output: Path) -> Iterator[Mapping[str, Any]]:
    if output.suffix == ".parquet":
        yield from read_cells(output)
        return
    with output.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        if output.suffix == ".csv":
            for row in csv.DictReader(file, strict=True):
                yield {name: text_of(cell) if name in _TEXTS and cell else cell for name, cell in row.items()}
            return
        for line in file:
            record = json.loads(line)
            kept = (*_TEXTS, *NUMBERS, *FACTS, *_EXPLAINED)
            yield {name: record[name] for name in kept if name in record} | record.get("parts", {})


def _score(cells: Mapping[str, Any]) -> Score:
    raw, warnings = cells.get("video_bytes"), cells["warnings"] or ()
    known = {*NUMBERS, *FACTS, *_TEXTS, *_EXPLAINED}
    timeline, explanation = _timeline(cells.get("timeline")), cells.get("explanation")
    mos, pred, std, low, high = (_number(cells[name]) for name in NUMBERS)
    return Score(
        str(cells["video"]) if raw is None else os.fsdecode(raw),
        mos,
        pred,
        std=std,
        low=low,
        high=high,
        parts={name: _number(value) for name, value in cells.items() if name not in known},
        warnings=tuple(warnings.split("; ") if isinstance(warnings, str) else warnings),
        reason=str(cells["error"] or ""),
        timeline=timeline,
        explanation=_explanation(explanation, timeline),
        duration_s=_number(cells["duration_s"]),
        width=_whole(cells["width"]),
        height=_whole(cells["height"]),
        file_bytes=_whole(cells["file_bytes"]),
    )


def _timeline(lists: Mapping[str, Any] | None) -> Timeline | None:
    if lists is None:
        return None
    start_s, stop_s, mos = (tuple(_number(value) for value in lists[name]) for name in ("start_s", "stop_s", "mos"))
    return Timeline(start_s, stop_s, mos)


def _explanation(record: Mapping[str, Any] | None, timeline: Timeline | None) -> Explanation | None:
    if record is None or timeline is None:
        return None
    contributions = {str(name): _number(value) for name, value in record["contributions"].items()}
    artefacts = tuple(Artefact.from_dict(one) for one in record.get("artefacts", ()))  # older files have none
    return Explanation(contributions, timeline, method=str(record["method"]), artefacts=artefacts)


def _whole(value: str | float | None) -> int | None:
    return None if value is None or value == "" else int(value)


def _number(value: str | float | None) -> float:
    return math.nan if value is None or value == "" else float(value)
