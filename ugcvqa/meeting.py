"""Processes of a Trainer wait for each other by files: a collective has a time limit, hours of work have none."""

import time
from pathlib import Path
from typing import Any

from ugcvqa.errors import ConfigError, UgcvqaError
from ugcvqa.files import write_atomic
from ugcvqa.leftovers import temporary_path
from ugcvqa.processes import has_ended, process_name

_POLL_S = 0.2
_SEEN_WITHIN_S = 10.0  # a file by another machine, where a folder is shared


class Meeting:
    """Where the processes of a Trainer meet after separate work; made by all of them before that work.

    Args:
        trainer: Lightning's; its process group has been set up.
        folder: one that all processes share.

    Raises:
        ConfigError: if they do not share it.
    """

    def __init__(self, trainer: Any, folder: Path) -> None:  # noqa: ANN401 (Lightning's Trainer)
        self._rank, self._world, self._strategy = trainer.global_rank, trainer.world_size, trainer.strategy
        self._round = 0
        if self._world > 1:
            ours = (process_name(), str(temporary_path(folder, ".meeting")))
            self._processes, places = zip(*self._gathered(ours), strict=True)
            self._base = Path(places[0])
            self._check_shared(folder)

    def exchange(self, found: bytes = b"") -> list[bytes]:
        """Waits, without limit, until all processes are here.

        Args:
            found: what this process sends to the others.

        Returns:
            What each process sent, by rank.

        Raises:
            UgcvqaError: if one of this machine has ended before.
        """
        if self._world == 1:
            return [found]
        self._round += 1
        try:
            self._wait(found)
            told = [self._file(rank).read_bytes() for rank in range(self._world)]
            self._strategy.barrier("all have read what all wrote")  # they are here within moments
        finally:
            self._file(self._rank).unlink(missing_ok=True)
        return told

    def _wait(self, found: bytes) -> None:
        missing = set(range(self._world))
        while missing := {rank for rank in missing if not self._file(rank).is_file()}:
            if not self._file(self._rank).is_file():  # now, or again where another machine has swept it away
                write_atomic(self._file(self._rank), found)
            for rank in missing:
                if has_ended(self._processes[rank]) and not self._file(rank).is_file():
                    raise UgcvqaError(f"process {rank} of {self._world} ended early; run the same command again")
            time.sleep(_POLL_S)

    def _file(self, rank: int) -> Path:
        return self._base.with_name(f"{self._base.name}-{self._round}-{rank}")

    def _gathered(self, value: Any) -> list[Any]:  # noqa: ANN401
        import torch

        found: list[Any] = [None] * self._world
        torch.distributed.all_gather_object(found, value)
        return found

    def _check_shared(self, folder: Path) -> None:
        """Checks that all processes see what the first one writes; otherwise they would wait forever."""
        if self._rank == 0:
            write_atomic(self._base, b"")
        self._strategy.barrier("a file is written")
        until = time.monotonic() + _SEEN_WITHIN_S
        while not (is_seen := self._base.is_file()) and time.monotonic() < until:
            time.sleep(_POLL_S)
        are_seen = self._gathered(is_seen)
        self._base.unlink(missing_ok=True)
        if not all(are_seen):
            raise ConfigError(f"{folder}: is not the same folder on all machines; give --store one that they share")
