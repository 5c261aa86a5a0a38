"""Tasks on a Dask cluster, or on Dask workers of this machine: in order, in bounded memory, retried if workers die."""

import contextlib
import functools
import logging
import os
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ugcvqa.errors import ConfigError, UgcvqaError
from ugcvqa.leftovers import own_folder
from ugcvqa.processes import end_with_parent, use_one_thread
from ugcvqa.settings.data import DaskSettings

PATIENCE_S = 20.0
"""Seconds to wait for a Dask scheduler to answer."""

_WINDOW = 256  # most tasks between the first without a result and the last that was handed out

_T = TypeVar("_T")
_R = TypeVar("_R")


@contextlib.contextmanager
def connected(jobs: int, dask: DaskSettings) -> Iterator[Any]:
    """Connects to a scheduler, or starts workers here, which end with this process; yields Dask's client.

    Args:
        jobs: workers to start where no scheduler is given, each a process with one thread.
        dask: where the scheduler is.

    Raises:
        ConfigError: if Dask is not installed, or no scheduler answers.
    """
    try:
        import dask as library
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ConfigError("Dask is not installed; pip install dask distributed") from error
    logging.getLogger("distributed").setLevel(logging.ERROR)  # what matters is said by us
    with contextlib.ExitStack() as stack:
        try:
            if dask.scheduler is None:
                folder = str(own_folder(Path(tempfile.gettempdir())))
                stack.enter_context(library.config.set({"distributed.scheduler.allowed-failures": dask.retries}))
                options = {"threads_per_worker": 1, "dashboard_address": ":0", "local_directory": folder}
                options |= {"memory_limit": 0}  # what is held is bounded by us
                cluster = stack.enter_context(LocalCluster(n_workers=jobs, processes=True, silence_logs=50, **options))
                client = stack.enter_context(Client(cluster))
            else:
                client = stack.enter_context(Client(dask.scheduler, timeout=PATIENCE_S))
        except (OSError, ValueError) as error:
            raise ConfigError(f"scheduler {dask.scheduler}: no Dask scheduler answers there ({error})") from error
        yield client


@dataclass(frozen=True)
class Lost:
    """Result of a task whose workers died every time that it was tried; `how` names the last of them."""

    how: str


def in_order(
    client: Any,  # noqa: ANN401 (Dask's client)
    function: Callable[[_T], _R],
    tasks: Iterable[_T],
    retries: int = 0,
) -> Iterator[_R | Lost]:
    """Calls a function on each task, and yields the results in the order of the tasks.

    The function is sent once to every worker, also to workers that join later or restart. Tasks are taken as they are
    needed.

    Args:
        client: Dask's.
        function: what can be pickled.
        tasks: its arguments.
        retries: how often a task is tried again after an error that is not the user's.

    Raises:
        UgcvqaError: what the function raised, or that the scheduler is gone.
    """
    from distributed import CancelledError, KilledWorker, WorkerPlugin
    from distributed.comm.core import CommClosedError

    class Holder(WorkerPlugin):
        def __init__(self) -> None:
            self.function, self.parent = function, os.getpid()

        def setup(self, worker: object) -> None:
            use_one_thread()  # so that results do not depend on machines
            end_with(self.parent)

    name = f"ugcvqa-{uuid.uuid4().hex}"
    client.register_plugin(Holder(), name=name)
    ahead: deque[Any] = deque()

    def first() -> _R | Lost:
        future = ahead.popleft()
        try:
            result: _R = future.result()
        except KilledWorker as error:
            return Lost(str(error.last_worker))
        return result

    try:
        for number, task in enumerate(tasks):
            ahead.append(client.submit(_called, name, task, key=f"{name}-{number}", retries=retries, pure=False))
            while ahead and (len(ahead) >= _WINDOW or ahead[0].done()):
                yield first()
        while ahead:
            yield first()
    except (CancelledError, CommClosedError, TimeoutError) as error:
        raise UgcvqaError(f"the Dask scheduler is gone ({error}); run the same command again") from error
    finally:
        client.cancel(list(ahead))
        with contextlib.suppress(Exception):  # of a scheduler that is gone
            client.unregister_worker_plugin(name)


def _called(name: str, task: Any) -> Any:  # noqa: ANN401 (any task)
    from distributed import get_worker

    plugin: Any = get_worker().plugins[name]
    return plugin.function(task)


@functools.cache
def end_with(parent: int) -> None:
    """Ends a worker with the process that started it; workers of a cluster stay."""
    if os.getppid() == parent:
        end_with_parent(parent)
