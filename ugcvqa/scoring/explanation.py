"""Why a video has its score: second by second, worst and best, what each part adds, and likely artefacts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.scoring.found_artefacts import Artefact

PART_NAMES = {
    "nss": "statistics of the picture (sharpness, noise, colour)",
    "pixels": "resolution of the detail",
    "motion": "repeated frames",
    "container": "frame size and rate",
    "cnn": "what is shown, as ResNet-50 sees it",
    "vsfacnn": "content and detail, as ResNet-50 sees them",
    "saliency": "where the eye is drawn",
}
"""Part of the features -> what a reader may call its contribution to a score."""


@dataclass(frozen=True)
class Timeline:
    """The score of a video along its time.

    Attributes:
        start_s: first moment of each entry, seconds from the first frame; ascending.
        stop_s: end of each entry, seconds.
        mos: score of each entry on the label scale, clipped to it; NaN where none can be computed.

    Raises:
        ValueError: if the lengths differ.
    """

    start_s: tuple[float, ...]
    stop_s: tuple[float, ...]
    mos: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.start_s) == len(self.stop_s) == len(self.mos):
            raise ValueError(
                f"a timeline has one start, stop and mos per entry, got {len(self.start_s)}, {len(self.stop_s)} and "
                f"{len(self.mos)}"
            )

    def __len__(self) -> int:
        return len(self.mos)

    def as_dict(self) -> dict[str, list[float | None]]:
        """Returns lists of plain numbers, None in place of NaN, as JSON wants them."""
        return {
            "start_s": list(self.start_s),
            "stop_s": list(self.stop_s),
            "mos": [None if np.isnan(value) else value for value in self.mos],
        }


@dataclass(frozen=True)
class Moment:
    """One second of a video, with a picture of it.

    Attributes:
        start_s: first moment of its entry in the timeline, seconds.
        mos: score of that entry.
        time_s: time of the frame, seconds from the first frame.
        frame: (H, W, 3) uint8 RGB, the long side at most 640.
    """

    start_s: float
    mos: float
    time_s: float
    frame: npt.NDArray[np.uint8] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Explanation:
    """What makes the score of a video.

    Attributes:
        contributions: group or part of the features -> what it adds to the score, MOS units, against the average
            training video; positive lifts. Empty where the model has no parts to tell apart.
        timeline: the score second by second.
        worst: the second of the lowest score; None if no second has one.
        best: the second of the highest score; None if no second has one.
        method: how the contributions were found, one plain sentence.
        artefacts: what probably spoils the video, the strongest first; the model does not see them.
    """

    contributions: Mapping[str, float]
    timeline: Timeline
    worst: Moment | None = None
    best: Moment | None = None
    method: str = ""
    artefacts: tuple[Artefact, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Returns plain numbers and texts for JSON; pictures, and the timeline that the score has too, are left out."""
        moments = {"worst": self.worst, "best": self.best}
        plain = {
            name: moment and {"start_s": moment.start_s, "mos": moment.mos, "time_s": moment.time_s}
            for name, moment in moments.items()
        }
        artefacts = [artefact.as_dict() for artefact in self.artefacts]
        return {"contributions": dict(self.contributions), "method": self.method, "artefacts": artefacts, **plain}
