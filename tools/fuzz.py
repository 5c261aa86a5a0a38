"""Feeds damaged videos to the package and counts how that ends; anything but a score or one line is kept as a finding.

    python tools/fuzz.py --files 2000 --seed 1 [--task score --model RUN] [--clips FOLDER] [--keep FOLDER]

Small videos of about sixty kinds are encoded, and the first frames of the clips in FOLDER copied to several containers;
each is read as it is, then copies with bits flipped, bytes set, header numbers changed, parts dropped, repeated, moved
and spliced from other files. A second process reads them and is watched: its end, its processor time per file, its
memory, and what it says. Reading is `probe` and one pass for all forms of frames; `--task score` scores instead. The
same seed makes the same files. Exit code 1 if something was found. Needs Linux (/proc).
"""

import argparse
import itertools
import json
import math
import os
import random
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from fuzz_files import damage, make_seeds

if TYPE_CHECKING:
    from ugcvqa.settings.data import DecodeLimits

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_FINE = ("score", "read", "error")
_LARGE_BYTES = 60_000


class Reader:
    """The process that reads files, restarted after it died or had to be stopped.

    Args:
        task: `read` or `score`.
        model: released model or run folder, to score with.
        limit_s: processor seconds that a file may take.
        limit_mib: memory that the process may take.
        folder: where what it prints is kept.
    """

    def __init__(self, task: str, model: str, limit_s: float, limit_mib: float, folder: Path) -> None:
        self._command = [sys.executable, __file__, "--serve", "--task", task, "--model", model]
        self._limit_s, self._limit_mib, self._noise = limit_s, limit_mib, folder / "noise.log"
        self._process: subprocess.Popen[bytes] | None = None

    def judge(self, path: Path) -> tuple[str, str]:
        """Has a file read; returns what came of it, in one word, and the reason."""
        process = self._process or self._start()
        back = cast(IO[bytes], process.stdout)
        began_s, deadline = _cpu_s(process.pid), time.monotonic() + 30 * self._limit_s
        cast(IO[bytes], process.stdin).write(json.dumps(str(path)).encode() + b"\n")
        while not select.select([back], [], [], 0.25)[0]:
            used_s, mib = _cpu_s(process.pid) - began_s, _memory_mib(process.pid)
            if used_s > self._limit_s or time.monotonic() > deadline:
                return self._stop("hang", f"{used_s:.0f} s of processor time")
            if mib > self._limit_mib:
                return self._stop("memory", f"{mib:.0f} MiB")
        line = back.readline()
        if not line:
            return self._stop("crash", f"exit code {process.wait()}")
        if self._noise.stat().st_size:
            return self._stop("noise", "")
        kind, reason = json.loads(line)
        return kind, reason

    def _start(self) -> "subprocess.Popen[bytes]":
        pipe = subprocess.PIPE
        with self._noise.open("wb") as noise:
            process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=noise, bufsize=0)
        if not cast(IO[bytes], process.stdout).readline():
            raise SystemExit(self._noise.read_text(errors="replace"))
        self._process = process
        return process

    def _stop(self, kind: str, reason: str) -> tuple[str, str]:
        self.close()
        said = self._noise.read_text(errors="replace").strip().splitlines()[-3:]
        return kind, " | ".join([reason, *said])

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _cpu_s(pid: int) -> float:
    parts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / _TICKS_PER_S


def _memory_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _limits() -> "DecodeLimits":
    """Limits that keep a search quick."""
    from ugcvqa.settings.data import DecodeLimits

    return DecodeLimits(max_pixels=2**22, max_frames=20_000, max_duration_s=1800)


def serve(task: str, model: str) -> None:
    """Reads the files named on stdin, one per line, and answers on stdout: kind of end, and reason."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what else is printed is noise
    warnings.filterwarnings("error", module=r"ugcvqa\.")
    read = read_forms if task == "read" else _scorer(model)
    out.write("ready\n")
    out.flush()
    for line in sys.stdin:
        out.write(json.dumps(_outcome(read, json.loads(line))) + "\n")
        out.flush()


def _outcome(read: Callable[[str], tuple[str, str]], path: str) -> tuple[str, str]:
    from ugcvqa.errors import VideoError

    try:
        kind, reason = read(path)
    except VideoError as error:
        kind, reason = "error", str(error)
    except Exception as error:  # what this program looks for
        place = traceback.extract_tb(error.__traceback__)[-1]
        return "bug", f"{type(error).__name__}: {error} at {Path(place.filename).name}:{place.lineno}"
    if "\n" in reason or (kind == "error" and not reason) or re.search("unexpected|cannot be computed", reason):
        return "bug", reason
    return kind, reason


def read_forms(path: str) -> tuple[str, str]:
    """Probes a file and reads what NSS wants of it, and one frame per second in every other form."""
    from ugcvqa.media.sampling import FORMS, Piece, fused_frames, nss_pieces
    from ugcvqa.media.video import VideoInfo, probe, read_clips

    def of_nss(info: VideoInfo) -> Iterator[Piece]:
        return nss_pieces(info.n_frames, info.rate)

    def all_forms(info: VideoInfo) -> Iterator[Piece]:
        for index in fused_frames(info.n_frames, info.rate):
            yield Piece({form: (index,) for form in FORMS})

    limits = _limits()
    info = probe(path, limits)
    n_clips = sum(1 for _ in read_clips(path, {"nss": of_nss, "all": all_forms}, limits, info=info))
    return "read", f"{info.n_frames} frames, {n_clips} clips"


def _scorer(model: str) -> Callable[[str], tuple[str, str]]:
    import ugcvqa

    scorer = ugcvqa.load(model)

    def score(path: str) -> tuple[str, str]:
        (result,) = scorer.score_many([path], limits=_limits())
        if not result.reason and not math.isfinite(result.mos):
            return "bug", f"score {result.mos} without a reason"
        return ("error", result.reason) if result.reason else ("score", f"{result.mos:.3f}")

    return score


def make_files(folder: Path, clips: Sequence[Path], seed: int) -> Iterator[tuple[str, Path]]:
    """Yields endless files to read: every kind as it is, then damaged copies, with what each was made from."""
    seeds = make_seeds(folder / "seeds", clips)
    yield from ((path.name, path) for path in seeds)
    # Large files take most of the time and are no more telling.
    small = [path for path in seeds if path.stat().st_size < _LARGE_BYTES] * 3 + seeds
    for number in itertools.count():
        source = random.Random(f"{seed} {number}")
        one, other = source.choice(small), source.choice(small)
        path = folder / f"{seed}-{number}-{one.name}"
        path.write_bytes(damage(one.read_bytes(), other.read_bytes(), source))
        yield one.name, path


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the search that the command line describes."""
    parser = argparse.ArgumentParser(description="damaged videos against the package")
    parser.add_argument("--files", type=int, default=2000, help="files to read")
    parser.add_argument("--seconds", type=float, default=3600, help="end after this time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", choices=["read", "score"], default="read")
    parser.add_argument("--model", default="", help="released model or run folder of `--task score`")
    parser.add_argument("--clips", type=Path, help="folder with real videos, of which short cuts are damaged too")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for offending files")
    parser.add_argument("--limit-s", type=float, default=60, help="processor seconds per file")
    parser.add_argument("--limit-mib", type=float, default=2000, help="memory of the reading process")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.serve:
        serve(arguments.task, arguments.model)
        return 0
    return search(arguments)


def search(arguments: argparse.Namespace) -> int:
    """Reads files until the asked number or time is over, and prints how they ended."""
    clips = sorted(path for path in arguments.clips.iterdir() if path.suffix != ".md") if arguments.clips else []
    ends, reasons, findings = Counter[str](), Counter[str](), 0
    until = time.monotonic() + arguments.seconds
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(arguments.task, arguments.model, arguments.limit_s, arguments.limit_mib, Path(folder))
        files = make_files(Path(folder), clips, arguments.seed)
        for origin, path in itertools.islice(files, arguments.files):
            if time.monotonic() > until:
                break
            kind, reason = reader.judge(path)
            ends[kind] += 1
            if kind == "error":
                reasons[_form(reason, path)] += 1
            elif kind not in _FINE:
                findings += 1
                print(f"{kind}: {path.name}: {reason}", flush=True)
                arguments.keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, arguments.keep)
            if path.name != origin:
                path.unlink()
        reader.close()
    for text, count in reasons.most_common():
        print(f"{count:6} x {text}")
    print(f"seed {arguments.seed}: {ends.total()} files: " + ", ".join(f"{n} {kind}" for kind, n in ends.most_common()))
    return 1 if findings else 0


def _form(reason: str, path: Path) -> str:
    """A reason without the file and its numbers, so that equal reasons can be counted."""
    return re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "N", reason.replace(str(path), "FILE"))


if __name__ == "__main__":
    sys.exit(main())
