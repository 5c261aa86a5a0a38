"""Counts how often the artefacts of made clips are named, and how often undistorted clips are called spoiled.

    python tools/artefacts.py [PHOTO...] [--half held_out] [--scenes 13] [--measures FILE.csv]

Prints the table of the model card. Photographs are shared out in turn: the first, third, ... are of the calibration
half, the others are held out. `--half calibration` is what the limits in `ugcvqa/pixels/artefacts.py` were set on;
`--measures` writes every measure of every clip. A clip with its versions takes some ten processor seconds.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ugcvqa.demo.artefacts import Half, Source, photographed, rendered, write_versions
from ugcvqa.errors import UgcvqaError, VideoError
from ugcvqa.features.artefact_family import NAME, ArtefactFamily
from ugcvqa.features.extraction import extract_files
from ugcvqa.pixels.artefacts import RULES
from ugcvqa.scoring.found_artefacts import set_apart

_OF_TIME = ("freezing", "judder")


class Named(NamedTuple):
    """What was found in one clip: its source, what had been done to it, the artefacts named, all measures."""

    source: str
    is_photo: bool
    artefact: str
    kind: str
    level: float
    found: tuple[str, ...]
    measures: tuple[float, ...]


def sources(photos: Sequence[Path], half: Half, scenes: int) -> Iterator[Source]:
    """The rendered scenes of a half, then its photographs."""
    yield from rendered(half, scenes)
    for number, path in enumerate(photos):
        if number % 2 == (half == "held_out"):
            with Image.open(path) as photo:
                yield photographed(path.stem, np.asarray(photo.convert("RGB")), number)


def named(source: Source, half: Half, number: int, folder: Path) -> Iterator[Named]:
    """Measures a clip and its versions."""
    families = {NAME: ArtefactFamily()}
    for damage, path in write_versions(source, half, number, folder):
        ((_, result),) = extract_files([path], families)
        if result.reason:
            raise VideoError(result.reason)
        found = tuple(one.name for one in set_apart(result)[1])
        measures = np.median(result.features[NAME]["seconds"][:, : len(RULES)], axis=0)
        done = damage or ("", "", 0.0)
        yield Named(source.name, not source.moves, *done, found, tuple(measures.tolist()))


def table(clips: Sequence[Named]) -> str:
    """The rates as Markdown: hits by artefact, and false alarms on undistorted clips.

    Those of artefacts of time are of all clips whose frames were left in order.
    """
    clean = [clip for clip in clips if not clip.artefact]
    in_time = [clip for clip in clips if not clip.is_photo and clip.artefact not in _OF_TIME]
    lines = ["| artefact | held-out hit rate | clips | false alarms | undistorted clips |", "|---|---:|---:|---:|---:|"]
    for name in RULES:
        spoiled = [clip for clip in clips if clip.artefact == name]
        fit = in_time if name in _OF_TIME else clean
        hits, alarms = (sum(name in clip.found for clip in group) for group in (spoiled, fit))
        share, alarm = (f"{100 * n / max(len(group), 1):.0f} %" for n, group in ((hits, spoiled), (alarms, fit)))
        lines.append(f"| {name} | {share} | {len(spoiled)} | {alarm} | {len(fit)} |")
    lines += ["", "| artefact | made by | level | hit rate |", "|---|---|---:|---:|"]
    for done in dict.fromkeys((clip.artefact, clip.kind, clip.level) for clip in clips if clip.artefact):
        own = [done[0] in clip.found for clip in clips if clip[2:5] == done]
        lines.append(f"| {done[0]} | {done[1]} | {done[2]:g} | {100 * np.mean(own):.0f} % of {len(own)} |")
    return "\n".join(lines)


def main() -> int:
    """Runs the tool and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="*")
    parser.add_argument("--half", choices=("calibration", "held_out"), default="held_out")
    parser.add_argument("--scenes", type=int, default=13)
    parser.add_argument("--measures", type=Path, help="CSV file for the measures of every clip")
    arguments = parser.parse_args()
    clips: list[Named] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for number, source in enumerate(sources(arguments.photos, arguments.half, arguments.scenes)):
                clips += named(source, arguments.half, number, Path(folder))
                sys.stderr.write(f"{source.name}: {len(clips)} clips\n")
    except (UgcvqaError, OSError) as error:
        sys.stderr.write(f"artefacts: error: {error}\n")
        return 2
    if arguments.measures:
        with arguments.measures.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("source", "is_photo", "artefact", "kind", "level", "found", *RULES))
            writer.writerows((*clip[:5], "; ".join(clip.found), *clip.measures) for clip in clips)
    sys.stdout.write(f"{table(clips)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
