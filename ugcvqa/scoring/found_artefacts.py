"""The likely artefacts of a video in words: which, how strong, when and where."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.features.artefact_family import NAME
from ugcvqa.features.extraction import VideoResult
from ugcvqa.media.facts import VideoInfo
from ugcvqa.media.sampling import rounded_rate
from ugcvqa.pixels.artefacts import RULES, SPATIAL, Rule

_SHARE = 0.2  # of the seconds that must show an artefact of the picture, or judder
EVERYWHERE = "all over the picture"
"""Where an artefact is that has no particular place."""

_WHOLE, _PART = 0.5, 0.3  # share of cells above half of the most: all over, or in large parts
_STANDS_OUT = 1.3
_THIRDS = (("upper left", "top", "upper right"), ("left", "centre", "right"), ("lower left", "bottom", "lower right"))
_CADENCES = {(2, 1): "every frame is shown twice", (5, 2): "3:2 cadence, as of 24 frames shown in 60"}


@dataclass(frozen=True)
class Artefact:
    """An artefact that a video probably has.

    Attributes:
        name: a key of `pixels.artefacts.RULES`.
        strength: `slight`, `clear` or `strong`.
        value: its measure in the second that has most of it, in the unit of its rule.
        stretches: start and stop of the stretches that show it, seconds.
        time_s: a moment in the second that has most of it, seconds.
        where: which part of the picture, in words; empty for artefacts of time.
        note: what else is known, such as the cadence of judder.
        cells: (R, C) 0..1, how much of it is in each cell of the picture against the most; empty for artefacts of time.
    """

    name: str
    strength: str
    value: float
    stretches: tuple[tuple[float, float], ...]
    time_s: float
    where: str = ""
    note: str = ""
    cells: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, 0), np.float32), repr=False, compare=False
    )

    def as_dict(self) -> dict[str, Any]:
        """Returns plain numbers and texts for JSON."""
        plain = {name: value for name, value in vars(self).items() if name not in ("cells", "stretches")}
        cells = [[round(float(cell), 2) for cell in row] for row in self.cells]
        return {**plain, "stretches": [list(one) for one in self.stretches], "cells": cells}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Artefact":
        """Takes up what `as_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: if it is something else.
        """
        name, strength, where, note = (str(record[key]) for key in ("name", "strength", "where", "note"))
        stretches = tuple((float(start), float(stop)) for start, stop in record["stretches"])
        cells = np.array(record["cells"] or np.zeros((0, 0)), np.float32)
        return cls(name, strength, float(record["value"]), stretches, float(record["time_s"]), where, note, cells)

    @property
    def sentence(self) -> str:
        """The artefact in a few words: `clear blocking, lower left`."""
        return ", ".join(filter(None, (f"{self.strength} {self.name}", self.where, self.note)))


def set_apart(result: VideoResult) -> tuple[VideoResult, tuple[Artefact, ...]]:
    """Takes the artefacts out of a result, whose other features are those of a model."""
    features, seconds = dict(result.features), dict(result.seconds)
    found, _ = features.pop(NAME, None), seconds.pop(NAME, None)
    artefacts = () if found is None or result.info is None else artefacts_of(found, result.info)
    return replace(result, features=features, seconds=seconds), artefacts


def artefacts_of(found: Mapping[str, npt.NDArray[Any]], info: VideoInfo) -> tuple[Artefact, ...]:
    """Names the likely artefacts of a video, the strongest first.

    An artefact of the picture and judder are named if a fifth of the seconds show them, freezing if one does. Contours
    of blocks count as blocking, not as banding.

    Args:
        found: `seconds` and `maps` of `features.artefact_family`.
        info: the video.
    """
    seconds = found["seconds"]
    if not len(seconds):
        return ()
    times = _times(len(seconds), info)
    values = {name: seconds[:, place] for place, name in enumerate(RULES)}
    values["banding"] = np.where(values["blocking"] >= RULES["blocking"].slight, 0, values["banding"])
    artefacts = []
    for name, rule in RULES.items():
        shown = values[name] >= rule.slight
        if shown.sum() < (1 if name == "freezing" else max(1, _SHARE * len(seconds))):
            continue
        most = int(values[name].argmax())
        if name == "freezing":
            shown |= _still_beside(shown, seconds[:, -1] > 0)
        cells = found["maps"][SPATIAL.index(name)] if name in SPATIAL else np.zeros((0, 0), np.float32)
        cells = info.cut_to_shown(cells) if cells.size else cells
        start, stop = times[most]
        artefacts.append(
            Artefact(
                name,
                rule.strength(float(np.median(values[name][values[name] >= rule.slight]))),
                float(values[name][most]),
                tuple(_stretches(shown, times)),
                (start + stop) / 2,
                place_of(cells) if cells.size else "",
                _note(seconds[shown, len(RULES) : len(RULES) + 2], values[name][shown]) if name == "judder" else "",
                cells,
            )
        )
    return tuple(sorted(artefacts, key=lambda one: -_rank(one, RULES[one.name])))


def place_of(cells: npt.NDArray[np.float32]) -> str:
    """Where in the picture most of a map (R, C) 0..1 lies, in words."""
    share = float((cells > 0.5 * cells.max()).mean()) if cells.max() > 0 else 1.0
    if share >= _WHOLE:
        return EVERYWHERE
    third = _THIRDS[_third(cells.mean(axis=1))][_third(cells.mean(axis=0))]
    at = f"{'in' if ' ' in third else 'at'} the {third}"
    return f"{'in large parts, most' if share >= _PART else 'mostly'} {at}"


def _third(profile: npt.NDArray[np.float32]) -> int:
    """Which third of a side stands out, the middle one if none does."""
    parts = np.array([part.mean() for part in np.array_split(profile, 3)])
    return int(parts.argmax()) if parts.max() > _STANDS_OUT * parts.mean() else 1


def _rank(artefact: Artefact, rule: Rule) -> float:
    """How strong an artefact is on a common scale: 1 at slight, 3 at strong."""
    return float(np.interp(artefact.value, rule, (1, 2, 3)) + 0.01 * len(artefact.stretches))


def _note(cadences: npt.NDArray[np.float32], shares: npt.NDArray[np.float32]) -> str:
    """The most frequent cadence of seconds with judder (N, 2) in words, or else which share of the frames repeats."""
    kinds, counts = np.unique(cadences.astype(int), axis=0, return_counts=True)
    period, new = kinds[counts.argmax()].tolist()
    if not period:
        return f"{np.median(shares):.0%} of the frames repeat, at no fixed distance"
    if period > 2 and new == period - 1:
        return f"one frame in {period} repeats the one before"
    if period > 2 and new == 1:
        return f"every frame is shown {period} times"
    return _CADENCES.get((period, new), f"{new} of {period} frames are new")


def _still_beside(shown: npt.NDArray[np.bool_], still: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Marks runs of still seconds that touch a second with a held frame."""
    joined = shown.copy()
    for places in (range(1, len(shown)), range(len(shown) - 2, -1, -1)):
        for place in places:
            beside = place - 1 if places.step > 0 else place + 1
            joined[place] |= joined[beside] and still[place]
    return joined


def _times(count: int, info: VideoInfo) -> list[tuple[float, float]]:
    """Start and stop of the seconds that were measured."""
    starts = [place * rounded_rate(info.rate) for place in range(count)]
    if info.seconds is not None:
        starts = list(info.seconds.starts[:count])
    begins = info.times_s[starts].tolist()
    after = info.seconds.starts[count] if info.seconds is not None and len(info.seconds.starts) > count else None
    end = info.end_s if after is None else float(info.times_s[after])
    return list(zip(begins, (*begins[1:], end), strict=True))


def _stretches(shown: npt.NDArray[np.bool_], times: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    for is_shown, run in groupby(range(len(shown)), key=lambda place: bool(shown[place])):
        places = list(run)
        if is_shown:
            yield times[places[0]][0], times[places[-1]][1]
