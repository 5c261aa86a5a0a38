"""`ugcvqa score VIDEO... --checkpoint RUN`: predicted quality of videos with a trained model, or with UVQ."""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TextIO

from ugcvqa.cli import run_verb
from ugcvqa.errors import ConfigError
from ugcvqa.settings import DecodeLimits, LoaderSettings, UVQSettings

if TYPE_CHECKING:
    from ugcvqa.scoring.model import Score
    from ugcvqa.scoring.scorers import Scorer

_N_DISTORTIONS = 3  # named in the table


def score(
    videos: list[str],
    checkpoint: str | None = None,
    model: Literal["uvq", "uvq1.5"] | None = None,
    uvq: UVQSettings = UVQSettings(),
    json: bool = False,
    csv: bool = False,
    batch_size: int = 1,
    workers: int = 0,
    device: str = "cpu",
    limits: DecodeLimits = DecodeLimits(),
) -> int:
    """Scores videos with a trained model or with UVQ; one row per video on stdout, in the order given.

    The CSV can be given to `ugcvqa benchmark` as predictions.

    Exit code 0 if every video has a score, 1 if some failed (their row says why), 2 if none could be scored.

    Args:
        videos: video files.
        checkpoint: run folder made by `ugcvqa fit`, or the model file in it.
        model: a published model in place of one of your own: UVQ 1.0 or 1.5. They need their released weights.
        uvq: settings of UVQ.
        json: print one JSON object per line instead of a table.
        csv: print CSV instead of a table.
        batch_size: clips that travel together from the decoder; never changes a score.
        workers: processes that decode; 0 decodes in the main one; never changes a score.
        device: where features are computed: cpu, cuda, cuda:1.
        limits: bounds on what is decoded.
    """
    if not videos:
        raise ConfigError("no video given; use `ugcvqa score VIDEO... --checkpoint RUN`")
    if (checkpoint is None) == (model is None):
        problem = "no model given" if model is None else "--checkpoint and --model exclude each other"
        raise ConfigError(f"{problem}; give --checkpoint RUN for a model of your own, or --model uvq or uvq1.5")
    if json and csv:
        raise ConfigError("--json and --csv exclude each other; give one of them")
    LoaderSettings(batch_size, workers)  # says what is wrong with them
    scorer = _scorer(checkpoint, model, uvq)
    scores = scorer.score_many(videos, batch_size, max(0, workers), device, limits)
    write = _write_json if json else _write_csv if csv else _write_table
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names need not be text
    failed = write(scores, scorer, sys.stdout)
    return 0 if not failed else 1 if failed < len(videos) else 2


def _scorer(checkpoint: str | None, model: Literal["uvq", "uvq1.5"] | None, uvq: UVQSettings) -> "Scorer":
    if checkpoint is not None:
        from ugcvqa.scoring.model import load

        return load(checkpoint)
    from ugcvqa.scoring.uvq_score import UVQModel

    return UVQModel(model or "uvq", uvq)


def _each(scores: "Iterable[Score]", write: "Callable[[Score], object]") -> int:
    """Writes every score as it arrives, tells failures on stderr, and counts them."""
    failed = 0
    for item in scores:
        write(item)
        sys.stdout.flush()
        if item.reason:
            failed += 1
            sys.stderr.write(f"ugcvqa score: error: {' '.join(item.reason.split())}\n")
    return failed


def _write_table(scores: "Iterable[Score]", scorer: "Scorer", out: TextIO) -> int:
    low, high = scorer.scale
    out.write(f"# {scorer.label} {low:g}..{high:g}, higher is better; {scorer.name} of {scorer.trained_on}\n")

    def write(item: "Score") -> None:
        mos = "failed" if item.reason else format(item.mos, ".4f")
        out.write("\t".join([mos, _plain(item.path), *_summary(item)]) + "\n")

    return _each(scores, write)


def _write_csv(scores: "Iterable[Score]", scorer: "Scorer", out: TextIO) -> int:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["video", "mos", "pred", "std", *scorer.part_names, "error"])

    def write(item: "Score") -> None:
        numbers = (item.mos, item.pred, item.std, *(item.parts.get(name, math.nan) for name in scorer.part_names))
        writer.writerow([item.path, *("" if math.isnan(number) else number for number in numbers), item.reason])

    return _each(scores, write)


def _write_json(scores: "Iterable[Score]", scorer: "Scorer", out: TextIO) -> int:
    about = {
        "label": scorer.label,
        "scale": list(scorer.scale),
        "model": scorer.name,
        "trained_on": scorer.trained_on,
        **scorer.facts,
    }

    def write(item: "Score") -> None:
        numbers = {"mos": item.mos, "pred": item.pred, "std": item.std}
        record = {"video": item.path, **_known(numbers), "error": item.reason or None, **about}
        if item.parts:
            record["parts"] = _known(item.parts)
        out.write(json.dumps({**record, **item.details}) + "\n")

    return _each(scores, write)


def _known(numbers: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(number) else number for name, number in numbers.items()}


def _summary(item: "Score") -> list[str]:
    """What a score is made of, in words; nothing for models that have no parts."""
    texts = [f"{name} {number:.2f}" for name, number in item.parts.items() if not math.isnan(number)]
    likeliest = sorted(enumerate(item.details.get("distortions", ())), key=lambda pair: -pair[1])[:_N_DISTORTIONS]
    texts += [f"{name} {number:.2f}" for name, number in item.details.get("topics", {}).items()]
    texts += [f"distortion type {kind} {number:.2f}" for kind, number in likeliest]
    return [_plain(", ".join(texts))] if texts else []


def _plain(path: str) -> str:
    """A file name on one line: control characters are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in path)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the verb and returns its exit code."""
    return run_verb(score, argv, "ugcvqa score", positional=["videos"])


if __name__ == "__main__":
    sys.exit(main())
