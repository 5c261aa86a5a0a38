"""Scoring by Dask workers, here or on other machines; the rows are the same as from processes of this machine."""

import math
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator

from ugcvqa.cluster import Lost, connected, in_order
from ugcvqa.errors import UgcvqaError
from ugcvqa.files import error_reason
from ugcvqa.scoring.result import Score
from ugcvqa.settings.data import DaskSettings

ScoreMany = Callable[[Iterable[str]], Iterator[Score]]


def scores_by_dask(score_many: ScoreMany, paths: Iterable[str], jobs: int, dask: DaskSettings) -> Generator[Score]:
    """Yields the score of each path, in order; a video whose workers die has a score of NaN with the reason.

    `jobs` workers are started where no scheduler is given.

    Raises:
        ConfigError: if Dask is not installed, or no scheduler answers.
        UgcvqaError: if scoring cannot start at all, what `paths` raises, or if the scheduler is gone.
    """
    given = deque[str]()

    def noted() -> Iterator[str]:
        for path in paths:
            given.append(path)
            yield path

    with connected(jobs, dask) as client:
        for result in in_order(client, OneByOne(score_many), noted(), dask.retries):
            path = given.popleft()
            if isinstance(result, Lost):
                reason = f"{path}: its workers were lost, the last at {result.how}"
                result = Score(path, math.nan, math.nan, reason)
            yield result


class OneByOne:
    """Scores a path at each call with one run of `score_many` for each thread, so that networks are built once."""

    def __init__(self, score_many: ScoreMany) -> None:
        self._score_many = score_many
        self._of_thread = threading.local()

    def __reduce__(self) -> tuple[type["OneByOne"], tuple[ScoreMany]]:
        return OneByOne, (self._score_many,)

    def __call__(self, path: str) -> Score:
        """Scores a video; one that fails, by a bug too, has a score of NaN with its reason.

        Raises:
            UgcvqaError: if scoring cannot start at all.
        """
        run = getattr(self._of_thread, "run", None)
        if run is None:
            waiting = deque[str]()
            run = waiting, self._score_many(iter(waiting.popleft, None))
        self._of_thread.run = None
        waiting, scores = run
        waiting.append(path)
        try:
            score = next(scores)
        except Exception as error:  # a bug must cost one row, not the other million videos
            reason = str(error) if isinstance(error, UgcvqaError) else f"{path}: unexpected {error_reason(error)}"
            return Score(path, math.nan, math.nan, reason)
        self._of_thread.run = run
        return score
