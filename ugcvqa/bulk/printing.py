"""Scores on stdout as they arrive: a table for people, CSV or JSON lines for programs."""

import math
import sys
from collections.abc import Callable, Iterable
from typing import Literal

from ugcvqa.bulk.explanation_lines import explanation_lines
from ugcvqa.bulk.journal import Tally
from ugcvqa.bulk.rows import CSVRows, JSONRows, about
from ugcvqa.cell_texts import printable
from ugcvqa.logs import tell_error
from ugcvqa.scoring.result import Score
from ugcvqa.scoring.scorers import Scorer

_N_DISTORTIONS = 3  # named in the table


def print_scores(scores: Iterable[Score], scorer: Scorer, form: Literal["table", "csv", "json"]) -> Tally:
    """Writes every score to stdout as it arrives, and failures to stderr.

    Returns:
        How many there were, and how many failed.
    """
    out, tally = sys.stdout, Tally()
    as_bytes = {"encoding": "utf-8", "errors": "surrogateescape"} if form == "csv" else {"errors": "backslashreplace"}
    out.reconfigure(**as_bytes)  # type: ignore[union-attr]  # names need not be text
    header, line = _form(scorer, form)
    for score in scores:
        if not tally.rows:
            out.write(header)
        out.write(line(score))
        out.flush()
        tally.add(bool(score.reason))
        if score.reason:
            tell_error("ugcvqa score", " ".join(score.reason.split()))
    return tally


def _form(scorer: Scorer, form: Literal["table", "csv", "json"]) -> tuple[str, Callable[[Score], str]]:
    """The header of a form, and what makes a line of a score."""
    if form == "table":
        low, high = scorer.scale
        title = f"# {scorer.label} {low:g}..{high:g}, higher is better; {scorer.name} of {scorer.trained_on}\n"
        return title, _table_line
    meaning = about(scorer)
    rows = CSVRows(scorer.part_names, meaning) if form == "csv" else JSONRows(meaning)
    return rows.header().decode(), lambda score: rows.encode(score).decode("utf-8", "surrogateescape")


def _table_line(score: Score) -> str:
    mos = "failed" if score.reason else format(score.mos, ".4f")
    warnings = [f"    warning: {printable(warning)}" for warning in score.warnings]
    lines = ["\t".join([mos, printable(score.path), *_summary(score)]), *warnings, *explanation_lines(score)]
    return "".join(f"{line}\n" for line in lines)


def _summary(item: Score) -> list[str]:
    """Interval and parts of a score in words; empty for models that provide neither."""
    texts = [] if math.isnan(item.low) else [f"90 % interval {item.low:.2f} to {item.high:.2f}"]
    texts += [f"{name} {number:.2f}" for name, number in item.parts.items() if number == number]
    likeliest = sorted(enumerate(item.details.get("distortions", ())), key=lambda pair: -pair[1])[:_N_DISTORTIONS]
    texts += [f"{name} {number:.2f}" for name, number in item.details.get("topics", {}).items()]
    texts += [f"distortion type {kind} {number:.2f}" for kind, number in likeliest]
    return [printable(", ".join(texts))] if texts else []
