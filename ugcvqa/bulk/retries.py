"""Videos that failed for a reason outside the file, such as a killed process, are tried again by the next run."""

import logging
from collections.abc import Generator, Iterable
from contextlib import closing
from typing import Protocol

from ugcvqa.bulk.journal import Journal
from ugcvqa.bulk.rows import Row
from ugcvqa.errors import ConfigError
from ugcvqa.scoring.failures import PASSING, error_code
from ugcvqa.scoring.result import Score

log = logging.getLogger(__name__)


class Scores(Protocol):
    """Anything that scores videos."""

    def scores(self, paths: Iterable[str]) -> Generator[Score]:
        """Yields the score of each path, in order."""


def is_passing(row: Row) -> bool:
    """Whether a row has failed for a reason outside the video, so that another try may succeed."""
    return error_code(row.reason, row.video) in PASSING


def retry(journal: Journal, call: Scores) -> None:
    """Scores videos again whose rows failed for a reason outside the file, and puts the new rows in their place.

    New rows wait in a file beside the output until all are there, so a killed run loses none of them.

    Raises:
        StoreError: if a file cannot be written.
    """
    if not any(is_passing(row) for row in journal.rows()):
        journal.beside("again").remove()  # if a run was killed between the last two steps below
        return
    with journal.beside("again") as fresh:
        try:
            waiting = iter([row.video for row in journal.rows() if is_passing(row)])
            fresh.continue_after(waiting)
        except ConfigError:  # they had taken their places already
            fresh.remove()
            return
        remaining = list(waiting)
        log.info("%d videos that failed for reasons outside of them are tried again", len(remaining))
        with closing(call.scores(remaining)) as scores:
            for score in scores:
                fresh.write(score)
        fresh.finish_rows()
        new = fresh.rows()
        journal.replace(next(new) if is_passing(row) else row for row in journal.rows())
        fresh.remove()
