"""A score as a row: the same columns in every format, in the same order."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ugcvqa.scoring.result import Score

if TYPE_CHECKING:
    from ugcvqa.scoring.scorers import Scorer  # imports torch

NUMBERS = ("mos", "pred", "std", "low", "high")
"""Columns with a number of every model; the model's own parts follow."""

FACTS = ("duration_s", "width", "height", "file_bytes")
"""Columns with numbers of the video, in seconds, pixels and bytes."""

TEXTS = ("model", "model_sha256", "warnings", "error_code", "error")
"""Columns with texts; `error` is the last of all."""


def column_names(part_names: Sequence[str]) -> list[str]:
    """Names of all columns of a table of scores."""
    return ["video", *NUMBERS, *part_names, *FACTS, *TEXTS]


def cells_of(score: Score, part_names: Sequence[str], meaning: Mapping[str, Any]) -> list[str | float]:
    """The cells of one row, in the order of `column_names`; empty where a value is unknown."""
    numbers = (*(getattr(score, name) for name in NUMBERS), *(score.parts.get(name, math.nan) for name in part_names))
    known = ["" if math.isnan(number) else float(number) for number in numbers]
    facts = ["" if value is None or value != value else value for value in (getattr(score, name) for name in FACTS)]
    texts = (meaning["model"], meaning["model_sha256"], "; ".join(score.warnings), score.error_code, score.reason)
    return [score.path, *known, *facts, *texts]


def about(scorer: "Scorer") -> dict[str, Any]:
    """Meaning of the scores of a scorer: label and scale, and name, SHA-256 and training data of the model."""
    return {
        "label": scorer.label,
        "scale": list(scorer.scale),
        "model": scorer.name,
        "model_sha256": scorer.fingerprint,
        "trained_on": scorer.trained_on,
        **scorer.facts,
    }
