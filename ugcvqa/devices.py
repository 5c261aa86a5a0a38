"""Devices and processes: who started this process, its rank among how many, its device, and its arithmetic.

Everything else asks here. Nothing is imported from PyTorch until a device is needed.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ugcvqa.errors import ConfigError, DeviceError
from ugcvqa.machine import n_cores

if TYPE_CHECKING:
    import torch

Launcher = Literal["plain", "lightning", "torchrun", "srun", "mpirun", "sbatch"]

_SPECIAL_STEPS = 0xFFFFFFF0  # SLURM's numbers of steps that srun did not start: batch script, shell of salloc, extern
_MPI = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),  # MPICH, Intel MPI
    ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_LOCAL_SIZE"),  # jsrun
)
_STICKY = re.compile(
    "illegal memory access|device-side assert|unspecified launch failure|launch timed out|misaligned address|"
    "illegal instruction|illegal address|invalid program counter|hardware stack error|uncorrectable|ECC error|"
    "context is destroyed|no longer usable|device is busy or unavailable|fallen off the bus|"
    "no kernel image is available|driver shutting down|unknown error|operation not permitted|"
    "_STATUS_EXECUTION_FAILED|_STATUS_MAPPING_ERROR",
    re.IGNORECASE,
)
_OF_A_GPU = re.compile(r"\bCUDA\b|cuDNN|CUBLAS|CUFFT|CUSOLVER|CUSPARSE|NCCL|\bHIP\b", re.IGNORECASE)


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


def n_loaders(asked: int, is_on_gpu: bool, ranks: int) -> int:
    """Loading processes for each of the computing processes of this machine.

    Args:
        asked: that many; -1 takes none on the CPU, where every core computes, and for a GPU all but one of the cores
            that fall to its process.
        is_on_gpu: whether a GPU computes.
        ranks: computing processes of this machine.
    """
    if asked >= 0 or not is_on_gpu:
        return max(0, asked)
    cores, per_task = n_cores(), os.environ.get("SLURM_CPUS_PER_TASK", "")
    if not (launch().launcher == "srun" and per_task.isdecimal() and int(per_task) == cores):
        cores //= max(1, ranks)  # else SLURM has assigned the cores already
    return max(1, cores - 1)


@contextmanager
def float32_products(precision: str = "ieee") -> Iterator[None]:
    """Sets how a GPU multiplies float32 numbers in a block, and restores it.

    Float32 means IEEE's float32 everywhere here: PyTorch's own default for convolutions and recurrent layers is TF32,
    of 10 bits.

    Args:
        precision: `ieee` for exact products, `tf32` for fast ones.
    """
    units = _product_units()
    before = [unit.fp32_precision for unit in units]
    try:
        use_float32_products(precision)
        yield
    finally:
        for unit, value in zip(units, before, strict=True):
            unit.fp32_precision = value


def use_float32_products(precision: str = "ieee") -> None:
    """As `float32_products`, for the rest of this process, such as one that Lightning has started."""
    for unit in _product_units():
        unit.fp32_precision = precision


def _product_units() -> tuple[Any, ...]:
    import torch

    backends: Any = torch.backends
    return backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul


def check_fatal(error: BaseException, device: "torch.device | None" = None) -> None:
    """Replaces an error that leaves a GPU unusable for this process, after which everything fails, by a `DeviceError`.

    Args:
        error: what the work on one video raised.
        device: where it was done; a doubtful error of a GPU is settled by trying it.

    Raises:
        DeviceError: if it is such an error; lack of memory is not.
    """
    if is_fatal(error, device):
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise DeviceError(
            f"the GPU failed ({first}); what is unfinished stays open: run the same command again"
        ) from error


def is_fatal(error: BaseException, device: "torch.device | None" = None) -> bool:
    """Whether an error is one that `check_fatal` replaces."""
    if isinstance(error, DeviceError):
        return True
    text = str(error)
    is_of_gpu = isinstance(error, RuntimeError) and _OF_A_GPU.search(text) is not None
    if not is_of_gpu or type(error).__name__ == "OutOfMemoryError" or "out of memory" in text:
        return False
    return _STICKY.search(text) is not None or not _works(device)


def _works(device: "torch.device | None") -> bool:
    """Whether a GPU still computes."""
    import torch

    if device is None or device.type != "cuda" or not torch.cuda.is_available():
        return True
    try:
        return float(torch.ones(2, device=device).sum().cpu()) == 2
    except RuntimeError:
        return False


@cache
def why_no_gpu() -> str:
    """Why PyTorch sees no GPU, in a few words; empty if it sees one."""
    import torch

    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None and torch.version.hip is None:
        return "PyTorch is built without CUDA"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides all"
    if not _has_nvidia():
        return "this machine shows none"
    try:
        torch.cuda.init()
    except Exception as error:  # a driver may say anything
        return _driver_problem(str(error), torch.version.cuda)
    return "CUDA shows none"


def _has_nvidia() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or any(Path("/dev").glob("nvidia[0-9]*"))


def _driver_problem(text: str, cuda: str | None) -> str:
    if "too old" in text or "insufficient" in text:
        return f"driver too old for CUDA {cuda}"
    if "no NVIDIA driver" in text:
        return "no NVIDIA driver"
    return " ".join(text.split())[:120]


def start_line(devices: int, kind: str, precision: str, decoders: int, nodes: int = 1) -> str:
    """Describes what a run computes on, such as `2 x NVIDIA H100, bf16-mixed, 7 decoders each`.

    Args:
        devices: GPUs or CPU processes, of all machines.
        kind: `cuda` or `cpu`.
        precision: as Lightning names it, or empty.
        decoders: decoding processes of each device.
        nodes: machines.
    """
    import torch

    each = [f"{decoders} decoders each"] if decoders else []
    spread = f" on {nodes} machines" if nodes > 1 else ""
    if kind == "cuda":
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CUDA device"
        return ", ".join([f"{devices} x {name}{spread}", *([precision] if precision else []), *each])
    reason = f"no GPU: {why_no_gpu()}, using" if why_no_gpu() else "using"
    return ", ".join([f"{reason} {devices} CPU process{'es' if devices > 1 else ''}{spread}", *each])
