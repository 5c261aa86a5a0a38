"""Likely artefacts second by second, as a family that is decoded with those of a model whose score is explained."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.features.family import Family, Pool, as_array
from ugcvqa.features.light_families import pixels_plan
from ugcvqa.features.store import FeatureSpec
from ugcvqa.pixels.artefacts import RULES, SPATIAL, Look, measured

NAME = "artefacts"
"""Its name beside the families of a model."""


class ArtefactFamily(Family):
    """What `pixels.artefacts` finds in each second, from the frames that the facts of the pixels are measured in."""

    is_light = True

    def __init__(self) -> None:
        super().__init__(FeatureSpec(NAME, 1, {}), pixels_plan)

    def __call__(self, frames: Mapping[str, Any]) -> Look:
        """Measures one stretch: "y" (2 + T, H, W), of which the first represents it, and "rate"."""
        luma = as_array(frames["y"])
        return measured(luma[0], luma[2:], float(frames["rate"]))

    def pool(self) -> Pool:
        """Starts the list of seconds."""
        return _LookPool()


class _LookPool:
    """Keeps the measures of all seconds, and of each artefact the map of the second in which there is most of it."""

    def __init__(self) -> None:
        self._rows: list[npt.NDArray[np.float32]] = []
        self._most = np.full(len(SPATIAL), -np.inf)
        self._maps: npt.NDArray[np.float32] = np.zeros((len(SPATIAL), 0, 0), np.float32)

    def add(self, features: Look) -> None:
        self._rows.append(np.array([*features.values, *features.cadence, features.is_still], np.float32))
        values = features.values[: len(SPATIAL)]
        if not self._maps.size:
            self._maps = np.zeros_like(features.maps)
        is_more = values > self._most
        self._maps[is_more] = features.maps[is_more]
        self._most = np.maximum(self._most, values)

    def result(self) -> dict[str, npt.NDArray[np.float32]]:
        """`seconds` (S, 11): the measures, period and new frames of the cadence, stillness; `maps` (6, R, C)."""
        rows = np.array(self._rows, np.float32).reshape(-1, len(RULES) + 3)
        return {"video": rows.max(axis=0, initial=0), "seconds": rows, "maps": self._maps}
