"""What a report shows: scores, facts of the files, a few frames of them, and the comparison of versions."""

import math
from dataclasses import dataclass

import numpy as np

from ugcvqa.display.images import Image
from ugcvqa.media.video import VideoInfo
from ugcvqa.reports.comparison import Crop
from ugcvqa.reports.overview import MOST_DETAILED, Overview
from ugcvqa.reports.thumbnails import Shot
from ugcvqa.scoring import released
from ugcvqa.scoring.about import About
from ugcvqa.scoring.explanation import Timeline
from ugcvqa.scoring.found_artefacts import Artefact
from ugcvqa.scoring.result import Score

WORDS = ("bad", "poor", "fair", "good", "excellent")
"""Names of the five grades of an absolute category rating, from 1 on (Recommendation ITU-T P.910)."""


@dataclass(frozen=True)
class Entry:
    """One video of a report.

    Attributes:
        score: what the model says.
        info: facts of its file, None if it is gone or was not looked into.
        shots: frames of it, in order of time.
        note: why frames are missing, empty if they are not.
        artefacts: likely artefacts, each with a frame of the second that has most of it; None where it is missing.
    """

    score: Score
    info: VideoInfo | None = None
    shots: tuple[Shot, ...] = ()
    note: str = ""
    artefacts: tuple[tuple[Artefact, Shot | None], ...] = ()

    @property
    def timeline(self) -> Timeline | None:
        """The score second by second, None if unknown."""
        explanation = self.score.explanation
        return self.score.timeline or (explanation.timeline if explanation else None)

    @property
    def kbps(self) -> float:
        """Bits per second of the whole file, in thousands; NaN if unknown."""
        if self.info is None or self.info.duration_s <= 0:
            return math.nan
        return self.info.file_bytes * 8 / self.info.duration_s / 1000

    def extreme(self, is_worst: bool, noise: float = 0.0) -> int | None:
        """The entry of the timeline of the lowest or highest score; None where they are about equal."""
        if self.timeline is None or np.isfinite(self.timeline.mos).sum() < 2:
            return None
        values = np.array(self.timeline.mos)
        if np.nanmax(values) - np.nanmin(values) <= noise:
            return None
        return int(np.nanargmin(values) if is_worst else np.nanargmax(values))

    def moment(self, is_worst: bool, noise: float = 0.0) -> float:
        """The time of the frame that represents the worst or the best second; NaN where there is none.

        It is the one that the explanation chose, otherwise the middle of the second.
        """
        place, timeline, explanation = self.extreme(is_worst, noise), self.timeline, self.score.explanation
        if place is None or timeline is None:
            return math.nan
        chosen = (explanation.worst if is_worst else explanation.best) if explanation else None
        return chosen.time_s if chosen else (timeline.start_s[place] + timeline.stop_s[place]) / 2

    def marks(self, noise: float = 0.0) -> dict[int, str]:
        """Places of the frames that represent the worst and the best second -> `worst` or `best`."""
        times = np.array([shot.time_s for shot in self.shots])
        marks: dict[int, str] = {}
        for kind, is_worst in (("best", False), ("worst", True)):
            shown = np.where(times <= self.moment(is_worst, noise) + 1e-6)[0]
            if shown.size:
                marks[int(shown[-1])] = kind
        return marks


@dataclass(frozen=True)
class Comparison:
    """The moment at which versions of one video differ most.

    Attributes:
        time_s: the moment, of the first version.
        reason: how it was found.
        frames: (N,) the whole frame of each version, made smaller.
        sizes: (N,) width and height of the whole frames.
        crops: (N,) the part that differs most, at the version's own resolution.
    """

    time_s: float
    reason: str
    frames: tuple[Image, ...]
    sizes: tuple[tuple[int, int], ...]
    crops: tuple[Crop, ...]


@dataclass(frozen=True)
class Report:
    """Everything that a page or a picture of a run shows.

    Attributes:
        about: what the scores are.
        overview: all scores.
        entries: the videos shown.
        comparison: of versions of one video; None if the videos are something else.
        saliency: what made the saliency maps, empty if there are none.
        made: when, and by which command.
        model: what scored, as it was typed; empty if that is not known.
    """

    about: About
    overview: Overview
    entries: tuple[Entry, ...]
    comparison: Comparison | None = None
    saliency: str = ""
    made: str = ""
    model: str = ""

    @property
    def card(self) -> str:
        """Address of the card of a released model; empty for others."""
        return released.card().as_uri() if self.model in released.SHA256 else ""

    @property
    def noise(self) -> float:
        """Scores of seconds that differ by no more than this are called equal: a fortieth of the scale."""
        return (self.about.scale[1] - self.about.scale[0]) / 40

    @property
    def has_intervals(self) -> bool:
        """Whether any score has an interval."""
        return any(not math.isnan(entry.score.low) for entry in self.entries)

    @property
    def is_folder(self) -> bool:
        """Whether there are too many videos to show each by itself."""
        return self.overview.n_videos > MOST_DETAILED

    def grade(self, mos: float) -> int:
        """The grade of a score, 1 to 5 by the nearest fifth step of the scale; 0 for scales without grades."""
        return min(max(math.floor(mos + 0.5), 1), len(WORDS)) if self.words and not math.isnan(mos) else 0

    @property
    def words(self) -> tuple[str, ...]:
        """Names of the grades; empty unless the scores are MOS from 1 to 5."""
        return WORDS if self.about.label == "MOS" and tuple(self.about.scale) == (1.0, 5.0) else ()
