"""`ugcvqa score VIDEO... --checkpoint RUN`: predicted quality of videos with a trained model."""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from ugcvqa.cli import run_verb
from ugcvqa.errors import ConfigError
from ugcvqa.settings import DecodeLimits, LoaderSettings

if TYPE_CHECKING:
    from ugcvqa.model import QualityModel, Score


def score(
    videos: list[str],
    checkpoint: str,
    json: bool = False,
    csv: bool = False,
    batch_size: int = 1,
    workers: int = 0,
    device: str = "cpu",
    limits: DecodeLimits = DecodeLimits(),
) -> int:
    """Scores videos with a trained model; one row per video on stdout, in the order given.

    Exit code 0 if every video has a score, 1 if some failed (their row says why), 2 if none could be scored.

    Args:
        videos: video files.
        checkpoint: run folder made by `ugcvqa fit`, or the model file in it.
        json: print one JSON object per line instead of a table.
        csv: print CSV instead of a table.
        batch_size: clips that travel together from the decoder; never changes a score.
        workers: processes that decode; 0 decodes in the main one; never changes a score.
        device: where features are computed: cpu, cuda, cuda:1.
        limits: bounds on what is decoded.
    """
    if not videos:
        raise ConfigError("no video given; use `ugcvqa score VIDEO... --checkpoint RUN`")
    if json and csv:
        raise ConfigError("--json and --csv exclude each other; give one of them")
    LoaderSettings(batch_size, workers)  # says what is wrong with them
    from ugcvqa.model import load

    model = load(checkpoint)
    scores = model.score_many(videos, batch_size, max(0, workers), device, limits)
    write = _write_json if json else _write_csv if csv else _write_table
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names need not be text
    failed = write(scores, model, sys.stdout)
    return 0 if not failed else 1 if failed < len(videos) else 2


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


def _write_table(scores: "Iterable[Score]", model: "QualityModel", out: TextIO) -> int:
    low, high = model.scale
    out.write(f"# {model.label} {low:g}..{high:g}, higher is better; {model.row} model of {model.trained_on}\n")
    return _each(
        scores,
        lambda item: out.write(f"{'failed' if item.reason else format(item.mos, '.4f')}\t{_plain(item.path)}\n"),
    )


def _write_csv(scores: "Iterable[Score]", model: "QualityModel", out: TextIO) -> int:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["video", "mos", "pred", "error"])
    return _each(scores, lambda item: writer.writerow([item.path, *_numbers(item, ""), item.reason]))


def _write_json(scores: "Iterable[Score]", model: "QualityModel", out: TextIO) -> int:
    about = {
        "label": model.label,
        "scale": list(model.scale),
        "row": model.row,
        "trained_on": model.trained_on,
    }

    def write(item: "Score") -> None:
        mos, pred = _numbers(item, None)
        record = {"video": item.path, "mos": mos, "pred": pred, "error": item.reason or None, **about}
        out.write(json.dumps(record) + "\n")

    return _each(scores, write)


def _numbers(item: "Score", absent: str | None) -> list[float | str | None]:
    return [absent if math.isnan(value) else value for value in (item.mos, item.pred)]


def _plain(path: str) -> str:
    """A file name on one line: control characters are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in path)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the verb and returns its exit code."""
    return run_verb(score, argv, "ugcvqa score", positional=["videos"])


if __name__ == "__main__":
    sys.exit(main())
