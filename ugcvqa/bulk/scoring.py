"""Scoring of many videos: from a stream of names through processes into an output."""

import logging
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from ugcvqa.bulk.dask_workers import scores_by_dask
from ugcvqa.bulk.explanation_lines import write_pictures
from ugcvqa.bulk.journal import Journal, Tally
from ugcvqa.bulk.listing import Digest, Inputs
from ugcvqa.bulk.parquet import ParquetJournal, need_pyarrow
from ugcvqa.bulk.retries import retry
from ugcvqa.bulk.rows import CSVRows, JSONRows, about
from ugcvqa.bulk.shards import Shard
from ugcvqa.bulk.workers import WorkerPool
from ugcvqa.devices import n_loaders
from ugcvqa.errors import ConfigError
from ugcvqa.machine import memory_bytes, n_cores
from ugcvqa.progress import progress_bar
from ugcvqa.records import versions
from ugcvqa.scoring.result import Score
from ugcvqa.scoring.scorers import Scorer
from ugcvqa.settings.data import DaskSettings, DecodeLimits

log = logging.getLogger(__name__)

ENDINGS = (".csv", ".jsonl", ".parquet")
"""Endings of an output, which decide the format."""

_FORMAT = 2  # version of the record beside an output
_WORKER_BYTES = 3 << 29  # a process takes 1.3 GiB with NSS of a 4K video, some networks take more


@dataclass(frozen=True)
class Call:
    """How videos are scored.

    Attributes:
        scorer: what scores them.
        workers: processes that score; 0 scores in this one. With a GPU this one scores, and they decode.
        device: where features are computed.
        batch_size: clips that travel together from the decoder.
        limits: bounds on what is decoded.
        timeout_s: seconds for one video, if there are workers.
        timeline: also score every second.
        explain: also say what the score is made of.
        frames: folder for pictures of the worst and best second; None for none.
        dask: Dask workers that score in place of processes of this one; None for none.
    """

    scorer: Scorer
    workers: int
    device: str
    batch_size: int
    limits: DecodeLimits
    timeout_s: float | None
    timeline: bool = False
    explain: bool = False
    frames: Path | None = None
    dask: DaskSettings | None = None

    @property
    def _is_explained(self) -> bool:
        """Whether scores have an explanation; the pictures are a part of it."""
        return self.explain or self.frames is not None

    @property
    def _is_on_gpu(self) -> bool:
        return self.device != "cpu"

    def scores(self, paths: Iterable[str]) -> Generator[Score]:
        """Yields the score of each path, in order; ends all processes when it is closed."""
        with closing(self._scores(paths)) as scores:
            for score in scores:
                if self.frames is not None:
                    write_pictures(score, self.frames)
                yield score

    def _scores(self, paths: Iterable[str]) -> Generator[Score]:
        score_many = partial(
            self.scorer.score_many,
            batch_size=self.batch_size,
            device=self.device,
            limits=self.limits,
            timeline=self.timeline,
            explain=self._is_explained,
        )
        if self.dask is not None:
            with closing(scores_by_dask(score_many, paths, max(1, self.workers), self.dask)) as scores:
                yield from scores
            return
        if self._is_on_gpu and self.timeout_s is None:  # one process has the GPU, the others decode for it
            score_many = partial(score_many, workers=self.workers)
        if self.workers == 0 or (self._is_on_gpu and self.timeout_s is None):
            with threadpool_limits(1, "blas"):  # on the small matrices of heads, threads only wait for each other
                yield from score_many(paths)
            return
        with WorkerPool(
            score_many, 1 if self._is_on_gpu else self.workers, self.timeout_s, self.scorer.modules
        ) as pool:
            yield from pool.scores(paths)

    def record(self, shard: Shard) -> dict[str, Any]:
        """What decides the rows: the model, the settings, the share of the list, and the versions."""
        settings = {
            "limits": asdict(self.limits),
            "timeout_s": self.timeout_s,
            "timeline": self.timeline,
            "explain": self._is_explained,
            "device": self.device.partition(":")[0],
        }
        return {
            "format": _FORMAT,
            "model": about(self.scorer),
            "parts": list(self.scorer.part_names),
            "settings": settings,
            "shard": f"{shard.number}/{shard.count}",
            "versions": versions(),
        }


def check_output(path: Path) -> None:
    """Checks that an output has an ending that can be written.

    Raises:
        ConfigError: if it has another.
    """
    if path.suffix not in ENDINGS:
        raise ConfigError(f"--output {path}: the name must end in {', '.join(ENDINGS)}")
    if path.suffix == ".parquet":
        need_pyarrow()


def score_into(
    output: Path, inputs: Inputs, total: int | None, shard: Shard, call: Call, is_bar_shown: bool = False
) -> Tally:
    """Scores a shard of a list into a file, and resumes where an earlier run was stopped.

    Returns:
        The number of rows in the file and of failures among them, earlier runs included.

    Raises:
        StoreError: if the file cannot be written, or another job is writing it.
        ConfigError: if it holds rows of another run.
    """
    digest, started = Digest(), time.monotonic()
    log.debug("%s: %s %s, %d processes", output, call.scorer.name, call.scorer.fingerprint[:12], call.workers)
    names = shard.of(digest.passing(inputs))
    with _journal(output, call, shard) as journal:
        journal.continue_after(names)
        retry(journal, call)
        with closing(call.scores(names)) as scores:
            for score in with_progress(scores, shard.share(total), is_bar_shown, journal.tally):
                journal.write(score)
                if score.reason:
                    log.debug("failed (%s): %s", score.error_code, " ".join(score.reason.split()))
        journal.complete({"videos": digest.count, "sha256": digest.sha256})
        tally, seconds = journal.tally, time.monotonic() - started
        log.debug("%s: %d rows, %d failed, %.1f s", output, tally.rows, tally.failed, seconds)
        return journal.tally


def with_progress(scores: Iterable[Score], total: int | None, is_shown: bool, done: Tally = Tally()) -> Iterator[Score]:
    """Passes scores on, with count, rate, remaining time and failures on stderr; `done` counts earlier runs."""
    failed = done.failed
    with progress_bar(total, "video", "score", is_shown, done.rows) as bar:
        for score in scores:
            yield score
            failed += bool(score.reason)
            bar.update()
            bar.set_postfix_str(f"{failed} failed, {failed / bar.n:.1%}" if failed and bar.n else "", refresh=False)


def _journal(output: Path, call: Call, shard: Shard) -> Journal:
    path, record = shard.path(output), call.record(shard)
    if path.suffix == ".parquet":
        return ParquetJournal(path, call.scorer, record)
    meaning = about(call.scorer)
    rows = CSVRows(call.scorer.part_names, meaning) if path.suffix == ".csv" else JSONRows(meaning)
    return Journal(path, rows, record)


def n_workers(asked: int, total: int | None, has_output: bool, timeout_s: float | None, device: str = "cpu") -> int:
    """Processes that score, with -1 resolved: one per core as far as memory goes, and 0 for a single video.

    With a GPU, the processes that decode for the one that scores: one fewer than there are cores, see `Call.workers`.

    Raises:
        ConfigError: if a time limit is asked for without a process that can be ended.
    """
    if timeout_s is not None and not timeout_s > 0:
        raise ConfigError(f"--timeout_s {timeout_s:g}: give more than 0 seconds")
    if asked == 0 and timeout_s is not None:
        raise ConfigError("--timeout_s needs a process that can be ended; leave --workers 0 out")
    if asked >= 0:
        return asked
    if total == 1 and not has_output and timeout_s is None:
        return 0
    if device != "cpu":
        return n_loaders(-1, True, 1)
    return max(1, min(n_cores(), memory_bytes() // _WORKER_BYTES))
