"""Progress bars with count, rate and remaining time."""

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm


def progress_bar(total: int | None, unit: str, title: str, is_shown: bool = True, done: int = 0) -> "tqdm[NoReturn]":
    """Starts a bar with count, rate and remaining time on stderr, shown only if the work takes longer than seconds.

    Where stderr is not a terminal, such as in a batch job's log, it is written every ten seconds. `total` may be
    unknown; `done` counts what an earlier run did, which is left out of the rate.
    """
    from tqdm import tqdm

    interval = 1.0 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, unit=unit, desc=title, initial=done, disable=not is_shown, mininterval=interval, delay=3.0)
