"""What verbs write to stderr: plain lines for people, or with `--log full` lines with time and level for operators."""

import logging
import sys
import time
from typing import Literal

Form = Literal["plain", "full"]

_FULL = "%(asctime)s %(levelname)s %(message)s"

log = logging.getLogger("ugcvqa")


def configure(form: Form) -> None:
    """Sets the form of what is logged; `full` has UTC times, levels, and one line for each video that failed."""
    if form == "plain":
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        return
    lines = logging.Formatter(_FULL, "%Y-%m-%dT%H:%M:%SZ")
    lines.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(lines)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    log.setLevel(logging.DEBUG)


def is_full() -> bool:
    """Whether lines have their time and level."""
    return log.level == logging.DEBUG


def tell_error(prog: str, text: str) -> None:
    """Writes one line about an error."""
    if is_full():
        log.error("%s: %s", prog, text)
    else:
        sys.stderr.write(f"{prog}: error: {text}\n")
