"""Devices: how a GPU multiplies, which of its errors are fatal, why there is none, and what decodes for it.

Nothing is imported from PyTorch until a device is needed.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ugcvqa.errors import DeviceError
from ugcvqa.launchers import launch
from ugcvqa.machine import n_cores

if TYPE_CHECKING:
    import torch

_STICKY = re.compile(
    "illegal memory access|device-side assert|unspecified launch failure|launch timed out|misaligned address|"
    "illegal instruction|illegal address|invalid program counter|hardware stack error|uncorrectable|ECC error|"
    "context is destroyed|no longer usable|device is busy or unavailable|fallen off the bus|"
    "no kernel image is available|driver shutting down|unknown error|operation not permitted|"
    "_STATUS_EXECUTION_FAILED|_STATUS_MAPPING_ERROR",
    re.IGNORECASE,
)
_OF_A_GPU = re.compile(r"\bCUDA\b|cuDNN|CUBLAS|CUFFT|CUSOLVER|CUSPARSE|NCCL|\bHIP\b", re.IGNORECASE)


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
