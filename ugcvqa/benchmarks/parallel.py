"""Independent tasks on all cores or several machines, through joblib and its backends."""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from ugcvqa.cluster import connected, end_with
from ugcvqa.errors import ConfigError, UgcvqaError
from ugcvqa.leftovers import own_folder, shared_memory
from ugcvqa.machine import n_cores
from ugcvqa.settings.data import DaskSettings


def run_tasks(
    function: Callable[..., Any],
    tasks: Iterable[tuple[Any, ...]],
    jobs: int,
    backend: str = "loky",
    scheduler: str | None = None,
) -> Iterator[Any]:
    """Calls a function on each tuple of arguments in worker processes and yields the results as they come.

    Large arrays among the arguments are written to disk once and mapped by the workers of one machine, so memory does
    not grow with their number. Every call computes with one thread, so its result does not depend on `jobs`.

    Args:
        function: importable function.
        tasks: its arguments.
        jobs: worker processes; 0 for one per core; 1 computes in this process.
        backend: `loky` for processes of this machine, `dask` for a Dask cluster, or another backend that joblib knows.
        scheduler: address of a running Dask scheduler (`tcp://host:8786`); without it `jobs` workers are started here.

    Raises:
        ConfigError: if the backend cannot be used.
        UgcvqaError: what a task raised, or that a worker process died.
    """
    from joblib import Parallel, delayed, parallel_config  # here because the import takes a noticeable time

    if backend == "multiprocessing":
        raise ConfigError(f"backend {backend!r} cannot be used: it waits forever for a killed worker; use loky")
    with contextlib.ExitStack() as stack:
        n_jobs = jobs or n_cores()
        if backend == "dask":
            n_jobs = stack.enter_context(_dask_workers(n_jobs, scheduler))
        try:
            arrays = own_folder(Path(os.environ.get("JOBLIB_TEMP_FOLDER") or shared_memory()))
            stack.enter_context(parallel_config(backend=backend, n_jobs=n_jobs, temp_folder=str(arrays)))
            parallel = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
        except ValueError as error:
            raise ConfigError(f"backend {backend!r} cannot be used: {error}") from error
        try:
            yield from parallel(delayed(_on_one_thread)(os.getpid(), function, *task) for task in tasks)
        except BrokenProcessPool as error:
            raise _lost_worker(", ".join(re.findall(r"SIG\w+|EXIT\(\d+\)", str(error)))) from error


def _lost_worker(how: str) -> UgcvqaError:
    ending = f" ({how})" if how else ""
    return UgcvqaError(
        f"a worker process died{ending}, perhaps for lack of memory; what is finished is kept: run the same command "
        "again, with fewer --jobs if that happens again"
    )


def _on_one_thread(parent: int, function: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 (any function)
    from threadpoolctl import threadpool_limits

    end_with(parent)
    with threadpool_limits(limits=1):
        return function(*arguments)


@contextlib.contextmanager
def _dask_workers(jobs: int, scheduler: str | None) -> Iterator[int]:
    """Connects to Dask workers, or starts some, and gives their number."""
    with connected(jobs, DaskSettings(scheduler)) as client:
        from distributed import KilledWorker

        try:
            yield max(1, len(client.scheduler_info()["workers"]))
        except KilledWorker as error:
            raise _lost_worker("") from error
