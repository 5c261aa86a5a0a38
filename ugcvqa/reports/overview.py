"""What a report keeps of a stream of scores: every number, the lowest videos, failures by reason; bounded otherwise."""

import heapq
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ugcvqa.scoring.result import Score

MOST_DETAILED = 12
"""Videos that are shown one by one; more are a folder."""

MOST_ROWS = 2000
"""Videos in a folder's table: the ones with the lowest scores."""

MOST_FAILED_ROWS = 500
"""Failed videos in a folder's table."""

_MOST_REASONS = 40
_MOST_EXAMPLES = 3
_OTHER = "other reasons"


@dataclass
class Failures:
    """Videos that failed for one reason.

    Attributes:
        reason: as the first of them told it, without its name.
        count: of videos.
        examples: some of them.
    """

    reason: str
    count: int = 0
    examples: list[str] = field(default_factory=list)


class Overview:
    """Takes scores in as they come.

    Attributes:
        n_videos: scores seen.
        n_warned: those that carry a warning.
        failures: kind of failure -> its videos.
    """

    def __init__(self) -> None:
        self.n_videos = self.n_warned = 0
        self.failures: dict[str, Failures] = {}
        self._mos = array("d")
        self._first: list[Score] = []
        self._lowest: list[tuple[float, int, Score]] = []
        self._failed: list[tuple[int, Score]] = []

    def through(self, scores: Iterable[Score]) -> Iterator[Score]:
        """Hands scores on and takes them in."""
        for score in scores:
            self.add(score)
            yield score

    def add(self, score: Score) -> None:
        """Takes a score in."""
        place = self.n_videos
        self.n_videos += 1
        self.n_warned += bool(score.warnings)
        if place < MOST_DETAILED:
            self._first.append(score)
        plain = replace(score, explanation=None, timeline=None, details={})  # pictures of thousands would not fit
        if score.reason:
            self._fail(score)
            if len(self._failed) < MOST_FAILED_ROWS:
                self._failed.append((place, plain))
            return
        self._mos.append(score.mos)
        push = heapq.heappush if len(self._lowest) < MOST_ROWS else heapq.heappushpop
        push(self._lowest, (-score.mos, -place, plain))

    @property
    def n_failed(self) -> int:
        """Videos without a score."""
        return self.n_videos - len(self._mos)

    @property
    def mos(self) -> npt.NDArray[np.float64]:
        """All scores, in the order in which they came, without those that failed."""
        return np.array(self._mos, dtype=np.float64)

    def shown(self) -> list[Score]:
        """The videos of the report: all of them in order if they are few, otherwise the lowest, then failed ones."""
        if self.n_videos <= MOST_DETAILED:
            return list(self._first)
        lowest = sorted(self._lowest, key=lambda item: (-item[0], -item[1]))
        return [*(score for _, _, score in lowest), *(score for _, score in self._failed)]

    def _fail(self, score: Score) -> None:
        reason = score.reason.removeprefix(f"{score.path}: ")
        kind = re.sub(r"\d+([.,]\d+)*", "#", reason)
        if kind not in self.failures and len(self.failures) >= _MOST_REASONS:
            kind = reason = _OTHER
        failures = self.failures.setdefault(kind, Failures(reason))
        failures.count += 1
        if len(failures.examples) < _MOST_EXAMPLES:
            failures.examples.append(score.path)
