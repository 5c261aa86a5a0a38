"""Scoring by several processes, each of which may hang or die without losing more than its own video."""

import math
import multiprocessing
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any, Self

from ugcvqa.errors import UgcvqaError, VideoError
from ugcvqa.files import error_reason
from ugcvqa.processes import end_with_parent, use_one_thread
from ugcvqa.scoring.result import Score

WINDOW = 256
"""Most videos between the first without a score and the last that is handed out: what waits to be put in order."""

_QUEUED = 64  # names read ahead
_POLL_S = 0.05  # how long a new name may wait while workers are idle
_MOST_FAILED_STARTS = 3

ScoreMany = Callable[[Iterable[str]], Iterator[Score]]


class WorkerPool:
    """Processes that score one video at a time each, with one thread of arithmetic each.

    Used as a context manager, which ends the processes. Scores do not depend on the number of processes.

    Args:
        score_many: what scores paths one after the other; it is sent to every process.
        workers: most processes; each is started when there is a video for it.
        timeout_s: seconds for one video, after which its process is ended; None for no limit.
        modules: what `score_many` is going to import, which the processes can share.
    """

    def __init__(
        self, score_many: ScoreMany, workers: int, timeout_s: float | None = None, modules: Sequence[str] = ()
    ) -> None:
        self._score_many, self._workers, self._timeout_s = score_many, workers, timeout_s
        self._context = _context(modules)
        self._running: list[_Worker] = []
        self._failed_starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._running:
            worker.end()
        self._running.clear()
        _wait_for_server()

    def scores(self, paths: Iterable[str]) -> Iterator[Score]:
        """Yields the score of each path, in order.

        Paths are taken as they are needed. A video whose process dies or takes too long has a score of NaN with the
        reason; another process takes its place.

        Raises:
            UgcvqaError: if scoring cannot start at all, or what `paths` raises.
        """
        names = _NamesAhead(paths)
        waiting: dict[int, Score] = {}
        handed_out = following = 0
        try:
            while True:
                while handed_out < following + WINDOW and (worker := self._free_worker(names)):
                    worker.give(handed_out, names.take(), self._timeout_s)
                    handed_out += 1
                waiting.update(self._finished(names))
                while following in waiting:
                    yield waiting.pop(following)
                    following += 1
                if names.is_over() and following == handed_out:
                    return
        finally:
            names.stop()

    def _free_worker(self, names: "_NamesAhead") -> "_Worker | None":
        """An idle process, if there is a video for it; starts one more if all others are busy."""
        if not names.has_one():
            return None
        for worker in self._running:
            if worker.is_ready and worker.job is None:
                return worker
        is_starting = any(not worker.is_ready and worker.job is None for worker in self._running)
        if not is_starting and len(self._running) < self._workers:
            self._running.append(_Worker(self._context, self._score_many))
        return None

    def _finished(self, names: "_NamesAhead") -> Iterator[tuple[int, Score]]:
        """Waits until something happens; yields the scores that have arrived, and failures in place of lost ones."""
        now = time.monotonic()
        pause = min((worker.deadline for worker in self._running), default=math.inf) - now
        if not names.is_over() and not names.has_one():
            pause = min(pause, _POLL_S)
        connections = {worker.connection: worker for worker in self._running}
        if not connections:
            time.sleep(_POLL_S if not names.has_one() and not names.is_over() else 0)
            return
        for connection in wait(list(connections), None if pause == math.inf else max(0.0, pause)):
            yield from self._received(connections[connection])  # type: ignore[index]
        for worker in [worker for worker in self._running if worker.deadline <= time.monotonic()]:
            yield from self._lost(worker, f"took longer than the {self._timeout_s:g} s allowed for one video")

    def _received(self, worker: "_Worker") -> Iterator[tuple[int, Score]]:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            yield from self._lost(worker, f"the process that scored it died ({_ending(worker.process.exitcode)})")
            return
        if message is None:
            worker.is_ready, self._failed_starts = True, 0
        elif worker.job is None:
            raise message
        else:
            number, path = worker.job
            worker.rest()
            worker.is_ready = isinstance(message, Score)  # after an error it starts over
            yield number, message if isinstance(message, Score) else _failure(path, str(message))

    def _lost(self, worker: "_Worker", reason: str) -> Iterator[tuple[int, Score]]:
        """Ends a process; its video has failed."""
        self._running.remove(worker)
        worker.end()
        if worker.job is not None:
            number, path = worker.job
            yield number, _failure(path, f"{path}: {reason}")
        elif not worker.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise UgcvqaError(f"scoring processes cannot start ({_ending(worker.process.exitcode)})")


class _Worker:
    """One process, as its parent sees it."""

    def __init__(self, context: BaseContext, score_many: ScoreMany) -> None:
        self.connection, theirs = context.Pipe()
        self.process: Any = context.Process(target=_serve, args=(theirs, score_many), daemon=True)  # type: ignore[attr-defined]
        self.process.start()
        theirs.close()
        self.is_ready = False
        self.job: tuple[int, str] | None = None
        self.deadline = math.inf

    def give(self, number: int, path: str, timeout_s: float | None) -> None:
        self.job = (number, path)
        self.deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        try:
            self.connection.send(path)
        except OSError:
            return  # it is dead, which the next wait notices

    def rest(self) -> None:
        self.job, self.deadline = None, math.inf

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


class _NamesAhead:
    """Names read by a separate thread, so that a slow pipe never holds back a score that is ready."""

    def __init__(self, names: Iterable[str]) -> None:
        self._queue: queue.Queue[str | BaseException | None] = queue.Queue(_QUEUED)
        self._next: str | None = None
        self._is_over = self._is_stopped = False
        threading.Thread(target=self._read, args=(names,), daemon=True).start()

    def has_one(self) -> bool:
        """Whether a name is there; raises what reading the names raised."""
        if self._next is None and not self._is_over:
            try:
                found = self._queue.get_nowait()
            except queue.Empty:
                return False
            if isinstance(found, BaseException):
                raise found
            self._next, self._is_over = found, found is None
        return self._next is not None

    def is_over(self) -> bool:
        """Whether all names have been taken."""
        return not self.has_one() and self._is_over

    def take(self) -> str:
        """The next name, which must be there."""
        name, self._next = self._next, None
        return str(name)

    def stop(self) -> None:
        """Lets the thread end while it waits for room."""
        self._is_stopped = True
        while not self._queue.empty():
            self._queue.get_nowait()

    def _read(self, names: Iterable[str]) -> None:
        try:
            for name in names:
                self._queue.put(name)
                if self._is_stopped:
                    return
            self._queue.put(None)
        except BaseException as error:  # raised again where the names are used
            self._queue.put(error)


def _context(modules: Sequence[str]) -> BaseContext:
    """Processes that inherit neither threads nor open files of this one, and share the libraries they need."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *modules])
    return context


def _wait_for_server() -> None:
    """Ends the server of processes and waits for it, so that the time of its children counts as this process's.

    Without that, `time` and the accounting of a cluster would miss what the processes have used. The next pool starts
    another server.
    """
    stop = getattr(getattr(forkserver, "_forkserver", None), "_stop", None)
    if stop is not None:
        stop()


def _failure(path: str, reason: str) -> Score:
    return Score(path, math.nan, math.nan, reason)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"{name}, perhaps for lack of memory" if name == "SIGKILL" else name
    return f"exit code {code}"


def _serve(connection: "Connection[Any, Any]", score_many: ScoreMany) -> None:
    """Main function of a worker process: scores the paths that it is sent, until the connection ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    end_with_parent()
    use_one_thread()
    paths = _Received(connection)
    while not paths.is_over:
        try:
            scores = score_many(paths)
            connection.send(None)
            for score in scores:
                paths.current = None
                connection.send(score)
        except BrokenPipeError:
            return
        except UgcvqaError as error:
            connection.send(error)
        except Exception as error:  # a bug must cost one row, not the other million videos
            if paths.current is None:
                raise
            connection.send(VideoError(f"{paths.current}: unexpected {error_reason(error)}"))


class _Received:
    """The paths that the parent sends, one at a time."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection
        self.current: str | None = None
        self.is_over = False

    def __iter__(self) -> Iterator[str]:
        while True:
            try:
                self.current = self._connection.recv()
            except EOFError:
                self.is_over = True
                return
            yield str(self.current)
