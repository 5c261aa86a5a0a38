"""Videos that failed for a reason outside the file, such as a killed process, are tried again by the next run."""

import errno
import logging
import os
import re
from collections.abc import Generator, Iterable
from contextlib import closing
from typing import Protocol

from ugcvqa.bulk.sinks import Journal
from ugcvqa.errors import ConfigError
from ugcvqa.scoring.model import Score

log = logging.getLogger(__name__)

_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT)
_PASSING = re.compile(
    "|".join(
        (
            r"the process that scored it died \(SIG(KILL|TERM|HUP|INT|QUIT|XCPU|BUS|USR1|USR2)\b",
            r"took longer than the \S+ s allowed for one video",
            r"MemoryError|allocate memory",
            r": no such file$|: cannot be opened \(|changed while it was read|a (decod|load)ing process ended early",
            *(re.escape(os.strerror(code)) for code in _SYSTEM),
        )
    )
)


class Scores(Protocol):
    """What scores videos."""

    def scores(self, paths: Iterable[str]) -> Generator[Score]:
        """Yields the score of each path, in order."""


def is_passing(reason: str) -> bool:
    """Whether the reason of a failed row lies outside the video, so that another try may succeed.

    These are a killed process, a limit of time, too little memory or room on a disk, and a file that was not there. A
    decoder that crashes fails again: that is the video's own.
    """
    return _PASSING.search(reason) is not None


def retry(journal: Journal, call: Scores) -> None:
    """Scores videos again whose rows failed for a reason outside the file, and puts the new rows in their place.

    New rows wait in a file beside the output until all are there, so a killed run loses none of them.

    Raises:
        StoreError: if a file cannot be written.
    """
    if not any(is_passing(row.reason) for row in journal.rows()):
        journal.beside("again").remove()  # if a run was killed between the last two steps below
        return
    with journal.beside("again") as fresh:
        try:
            waiting = iter([row.video for row in journal.rows() if is_passing(row.reason)])
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
        journal.replace(next(new) if is_passing(row.reason) else row for row in journal.rows())
        fresh.remove()
