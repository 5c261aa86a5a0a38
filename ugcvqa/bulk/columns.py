"""A score as a row: the same columns in every format, in the same order."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ugcvqa.scoring.model import Score

if TYPE_CHECKING:
    from ugcvqa.scoring.scorers import Scorer  # imports torch

NUMBERS = ("mos", "pred", "std", "low", "high")
"""Columns with a number of every model; the model's own parts follow."""


def column_names(part_names: Sequence[str]) -> list[str]:
    """Names of all columns of a table of scores."""
    return ["video", *NUMBERS, *part_names, "warnings", "error"]


def cells_of(score: Score, part_names: Sequence[str]) -> list[str | float]:
    """The cells of one row, in the order of `column_names`; empty where a value is unknown."""
    numbers = (*(getattr(score, name) for name in NUMBERS), *(score.parts.get(name, math.nan) for name in part_names))
    known = ["" if math.isnan(number) else float(number) for number in numbers]
    return [score.path, *known, "; ".join(score.warnings), score.reason]


def record_of(score: Score, scorer: "Scorer") -> dict[str, Any]:
    """One row as a mapping for JSON, with what the numbers mean; null where a value is unknown."""
    return {**score.as_dict(), **about(scorer)}


def about(scorer: "Scorer") -> dict[str, Any]:
    """What a score of this scorer is: its label and scale, what scores, and what that was trained on."""
    return {
        "label": scorer.label,
        "scale": list(scorer.scale),
        "model": scorer.name,
        "trained_on": scorer.trained_on,
        **scorer.facts,
    }
