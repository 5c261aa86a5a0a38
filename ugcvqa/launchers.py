"""Who started this process: its rank among how many, by the environment that torchrun, srun, MPI or Lightning set."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ugcvqa.errors import ConfigError

Launcher = Literal["plain", "lightning", "torchrun", "srun", "mpirun", "sbatch"]

_SPECIAL_STEPS = 0xFFFFFFF0  # SLURM's numbers of steps that srun did not start: batch script, shell of salloc, extern
_MPI = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),  # MPICH, Intel MPI
    ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_LOCAL_SIZE"),  # jsrun
)


@dataclass(frozen=True)
class Launch:
    """How this process was started.

    Attributes:
        launcher: `lightning` for a process that Lightning started beside the first; `sbatch` for a batch script of
            SLURM that did not use srun, so that there is one process, however many tasks the job has.
        rank: number of this process among all, from 0.
        world: number of processes that the launcher started; 1 where Lightning starts them itself.
        local_rank: number of this process on its machine, from 0.
        local_world: processes of this machine.
        node: number of the machine, from 0.
        tasks: tasks of the SLURM job, 1 elsewhere.
    """

    launcher: Launcher = "plain"
    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    node: int = 0
    tasks: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes results and reports."""
        return self.rank == 0 and self.local_rank == 0 and self.node == 0

    @property
    def n_nodes(self) -> int:
        """Number of machines."""
        return max(1, self.world // self.local_world)

    def trainer_arguments(self) -> dict[str, Any]:
        """Arguments of Lightning's Trainer that take all processes of a launcher; none where there is one process."""
        if self.world == 1:
            return {}
        return {"devices": self.local_world, "num_nodes": self.n_nodes, "strategy": "ddp"}

    def check_tasks(self) -> None:
        """Checks that a job of several tasks has several processes.

        Raises:
            ConfigError: if srun is missing.
        """
        if self.launcher == "sbatch" and self.tasks > 1:
            raise _without_srun(self.tasks)

    def check(self, processes: int, is_joined: bool) -> None:
        """Checks that the processes which a Trainer counts on are the ones that were started.

        Args:
            processes: devices times machines of the Trainer.
            is_joined: whether the Trainer takes the launcher's processes, and starts none.

        Raises:
            ConfigError: if some would wait for others that never come, or work without knowing of each other.
        """
        if self.launcher == "sbatch" and is_joined and processes > 1:
            raise _without_srun(processes)
        if self.world > 1 and not is_joined:
            raise ConfigError(
                f"{self.launcher} started {self.world} processes that cannot find each other; start them with torchrun "
                "or srun"
            )
        if is_joined and self.launcher in ("torchrun", "srun", "mpirun") and self.world != processes:
            raise ConfigError(
                f"{self.launcher} started {self.world} processes, --trainer.devices and --trainer.num_nodes ask for "
                f"{processes}; give --trainer.devices {self.local_world} --trainer.num_nodes {self.n_nodes}"
            )


def _without_srun(processes: int) -> ConfigError:
    return ConfigError(
        f"SLURM runs the command of a batch script once, not as {processes} processes: write `srun` before it, with "
        "--ntasks-per-node in the script; or ask for one task, and leave --trainer.devices and --trainer.num_nodes out"
    )


def launch(environment: Mapping[str, str] | None = None) -> Launch:
    """Reads from the environment who started this process, see `Launch`."""
    environment = os.environ if environment is None else environment

    def number(name: str) -> int | None:
        text = environment.get(name, "")
        return int(text) if text.isdecimal() else None

    def first(*names: str, default: int) -> int:
        return next((found for name in names if (found := number(name)) is not None), default)

    rank, world = number("RANK"), number("WORLD_SIZE")
    if rank is not None and world:
        local = first("LOCAL_WORLD_SIZE", default=world)
        return Launch(
            "torchrun", rank, world, first("LOCAL_RANK", default=rank % local), local, first("GROUP_RANK", default=0)
        )
    for names in _MPI:  # before SLURM, whose srun may have started MPI's helpers
        rank, world = number(names[0]), number(names[1])
        if rank is not None and world:
            local = first(names[3], default=world)
            local_rank = first(names[2], default=rank % local)
            return Launch("mpirun", rank, world, local_rank, local, (rank - local_rank) // local)
    if number("SLURM_PROCID") is not None or number("SLURM_JOB_ID") is not None:
        return _of_slurm(number, first)
    local_rank, node = first("LOCAL_RANK", default=0), first("NODE_RANK", "GROUP_RANK", default=0)
    return Launch("lightning" if local_rank or node else "plain", local_rank, 1, local_rank, 1, node)


def _of_slurm(number: Any, first: Any) -> Launch:  # noqa: ANN401 (two functions of `launch`)
    tasks = first("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS", default=1)
    step = number("SLURM_STEP_ID")
    if step is None or step >= _SPECIAL_STEPS:
        local_rank = first("LOCAL_RANK", default=0)  # of a process that Lightning started there
        return Launch("lightning" if local_rank else "sbatch", local_rank, 1, local_rank, 1, 0, tasks)
    nodes = first("SLURM_STEP_NUM_NODES", "SLURM_NNODES", default=1)
    local = first("SLURM_NTASKS_PER_NODE", default=max(1, tasks // nodes))
    local_rank = first("SLURM_LOCALID", "LOCAL_RANK", default=0)
    if tasks == 1:  # one task, in which Lightning may have started others
        local_rank = first("LOCAL_RANK", default=local_rank)
    rank = first("SLURM_PROCID", default=0) or (local_rank if tasks == 1 else 0)
    return Launch("srun", rank, tasks, local_rank, local, first("SLURM_NODEID", default=0), tasks)


def is_main_process() -> bool:
    """Whether this process, among all that work on one command, is the one that reports."""
    return launch().is_main


def slurm_job() -> str:
    """Number of this process's SLURM job, as `scontrol requeue` takes it; empty if there is none."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    name = f"{job[0]}_{job[1]}" if all(job) else os.environ.get("SLURM_JOB_ID", "")
    is_batch = os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
    return name if is_batch and re.fullmatch(r"[0-9_]+", name) else ""
