"""A scorer that computes nothing, and whose videos can be told to fail in every way; importable by worker processes."""

import hashlib
import math
import os
import signal
import sys
import time

from ugcvqa.errors import CheckpointError
from ugcvqa.scoring.result import Score


class StubScorer:
    """The score of a file is a hash of its name; a name that holds a word of `ENDS` ends otherwise."""

    label, scale, name, trained_on = "MOS", (1.0, 5.0), "stub", "nothing"
    modules = ("ugcvqa.scoring.model",)

    def __init__(self, fingerprint="0" * 64, part_names=("sharpness",), delay_s=0.0, starts=True):
        self.fingerprint, self.part_names, self.delay_s, self.starts = fingerprint, part_names, delay_s, starts
        self.facts = {"row": "STUB"}

    def score_many(self, paths, batch_size=1, workers=0, device="cpu", limits=None, timeline=False, explain=False):
        if not self.starts:
            raise CheckpointError("the stub has no weights")
        return (self._score(str(path)) for path in paths)

    def _score(self, path):
        time.sleep(self.delay_s)
        for word, end in ENDS.items():
            if word in path:
                end()
        if "fail" in path:
            return Score(path, math.nan, math.nan, f"{path}: is no video")
        number = int.from_bytes(hashlib.sha256(os.fsencode(path)).digest()[:6], "big") / 2**48
        parts = {"sharpness": number} if "bare" not in path else {}
        warnings = ("larger than any training video", "of a rate not trained on") if "odd" in path else ()
        return Score(path, 1 + 4 * number, 1 + 4 * number, std=0.5, parts=parts, warnings=warnings)


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def hang():
    time.sleep(1000)


def fault():
    raise ZeroDivisionError("a bug")


ENDS = {"die": die, "crash": crash, "hang": hang, "fault": fault}


def main(argv, **options):
    """Runs the verb with the stub in place of a model."""
    from ugcvqa import score

    score._scorer = lambda *_: StubScorer(**options)
    return score.main(list(argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], delay_s=float(sys.argv[1])))
