"""A report on this machine's GPUs: whether everything gives the known numbers there, how fast, and where time goes."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from ugcvqa.benchmarks.costs import machine
from ugcvqa.benchmarks.gpu_trials import (
    COMPARED,
    DECODERS,
    LIMIT_S,
    MANY,
    N_CLIPS,
    OTHERS,
    TARGETS_S,
    Found,
    Scale,
    differences,
    scale_of,
    seconds_left,
    speed,
)
from ugcvqa.devices import n_loaders, why_no_gpu
from ugcvqa.errors import UgcvqaError
from ugcvqa.files import error_reason, write_atomic, write_json
from ugcvqa.leftovers import temporary_folder
from ugcvqa.loaders import SHARED_MEMORY
from ugcvqa.media.encode import write_video
from ugcvqa.records import versions
from ugcvqa.scoring import known_models

_TOLD = re.compile(r"(extracts|trains|scores) on | features in ")
_POLL_S = 0.05


@dataclass
class Step:
    """One part of the report: what was tried, how it ended, and its outcome in words and in numbers."""

    name: str
    state: Literal["ok", "FAILED", "left out"] = "ok"
    seconds: float = 0.0
    text: str = ""
    figures: dict[str, Any] = field(default_factory=dict)


def write_report(path: Path, device: str, is_small: bool) -> int:
    """Makes the report, and prints it as it grows.

    Args:
        path: text file; the same report as JSON is written beside it, with the ending .json.
        device: which computes: `cpu`, `cuda`, `cuda:1`.
        is_small: tiny clips and networks.

    Returns:
        Exit code: 1 if something failed, else 0.

    Raises:
        StoreError: if it cannot be written.
    """
    write_atomic(path, b"")  # fails now rather than in ten minutes
    started, steps = time.monotonic(), list[Step]()
    with temporary_folder() as folder:
        for name, work in _parts(folder, device, scale_of(is_small), started):
            step = _tried(name, work, started)
            steps.append(step)
            sys.stdout.write(_lines(step))
            sys.stdout.flush()
    title = f"ugcvqa on {device}, {time.strftime('%Y-%m-%d %H:%M')}, {time.monotonic() - started:.0f} s\n\n"
    write_atomic(path, (title + "".join(map(_lines, steps))).encode())
    record = {"device": device, "small": is_small, "steps": [asdict(step) for step in steps]}
    write_json(path.with_suffix(".json"), record)
    return int(any(step.state == "FAILED" for step in steps))


def _tried(name: str, work: Callable[[], Found], started: float) -> Step:
    if seconds_left(started) <= 0:
        return Step(name, "left out", text=f"no time is left of {LIMIT_S:.0f} s")
    begun, step = time.monotonic(), Step(name)
    try:
        step.text, step.figures = work()
        step.state = "ok" if step.text else "left out"
        step.text = step.text or step.figures["why"]
    except Exception as error:  # a driver may raise anything; the other parts are wanted all the same
        step.state, step.text = "FAILED", error_reason(error)
    step.seconds = time.monotonic() - begun
    return step


def _lines(step: Step) -> str:
    first, *more = step.text.splitlines()
    head = f"{step.state:<9}{step.name:<34}{step.seconds:6.1f} s  {first}\n"
    return head + "".join(f"{'':9}{line}\n" for line in more)


def _parts(folder: Path, device: str, scale: Scale, started: float) -> Iterator[tuple[str, Callable[[], Found]]]:
    clips = folder / "clips"
    yield "machine", partial(_machine, device)
    yield "known answers", partial(_known_answers, device, scale.is_whole)
    yield "clips", partial(_write_clips, clips, scale)
    first = clips / "c00.mp4"
    for name in COMPARED:
        yield f"{name}: differences from the CPU", partial(differences, name, first, device, scale)
    measured = partial(speed, device=device, scale=scale, started=started)
    for name in TARGETS_S:
        yield f"{name}: speed", partial(measured, name, sorted(clips.glob("*.mp4")), DECODERS)
    on = ["--trainer.accelerator", "gpu" if device != "cpu" else "cpu", "--trainer.devices", "1"]
    verb = partial(_verb, folder, started)
    data = ["--data.name=own", f"--data.root={clips}", f"--data.labels={clips / 'labels.csv'}"]
    extract = [*data, *scale.arguments(), "--rows", scale.rows, f"--store={folder / 'store'}"]
    yield f"extract --rows {scale.rows}", partial(verb, ["extract", *extract, *on])
    n_gpus = torch.cuda.device_count() if device != "cpu" else 0
    yield "extract on all GPUs (NCCL)", partial(_on_all, verb, extract, folder, n_gpus)
    fit = ["fit", *data, *scale.arguments(), f"--store={folder / 'store'}", f"--out={folder / 'runs'}", *on]
    fit += ["--trainer.precision=bf16-mixed", "--trainer.enable_progress_bar=false"]
    gru = ["--head=gru", "--row=VSFACNN_224", "--gru.recipe.epochs=20", "--name=gru"]
    ends = [f"--end_to_end.{key}={getattr(scale.deep, key)}" for key in ("backbone", "weights")]
    ends += ["--head=end_to_end", "--end_to_end.clip.frames=4", "--end_to_end.head_epochs=1", "--name=end"]
    ends += ["--end_to_end.recipe.epochs=4", "--end_to_end.recipe.batch_size=4", *scale.pictures]
    for name, head in (("GRU head", gru), ("end-to-end model", ends)):
        yield f"{name}, bf16-mixed, resumed", partial(_resumed, verb, folder, [*fit, *head])
    model = ["--checkpoint", str(folder / "runs" / "end")]
    yield "score by the end-to-end model", partial(verb, ["score", str(clips), "--csv", "--device", device, *model])
    for name in OTHERS if scale.is_whole else ():
        yield f"{name}: speed", partial(measured, name, sorted(clips.glob("*.mp4")), MANY)


def _machine(device: str) -> Found:
    facts = {**machine(), "versions": versions(), "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    usage = shutil.disk_usage(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None
    facts["shared_memory_mib"] = usage and usage.free >> 20
    facts["gpus"] = [
        {"name": found.name, "memory_mib": found.total_memory >> 20, "capability": f"{found.major}.{found.minor}"}
        for found in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    ]
    gpus = ", ".join(f"{gpu['name']} ({gpu['memory_mib']} MiB)" for gpu in facts["gpus"])
    lines = [
        f"{gpus or f'no GPU: {why_no_gpu()}'}; computing on {device}",
        f"{facts['cores']} cores of {facts['processor']}, {facts['system']}",
        f"PyTorch {facts['torch']}, CUDA {facts['cuda']}, cuDNN {facts['cudnn']}, Python {facts['python']}",
        f"{SHARED_MEMORY}: {facts['shared_memory_mib']} MiB free; "
        f"{n_loaders(-1, device != 'cpu', 1)} decoders by default",
    ]
    return "\n".join(lines), facts


def _known_answers(device: str, is_whole: bool) -> Found:
    checks: dict[str, Callable[[str], str]] = {"GRU head": known_models.check_gru}
    if is_whole:
        checks |= {"ResNet-50": known_models.check_resnet, "Score-CAM": known_models.check_saliency}
        checks |= {"UVQ 1.0": partial(known_models.check_uvq_networks, "uvq")}
        checks |= {"UVQ 1.5": partial(known_models.check_uvq_networks, "uvq1.5")}
    found = {name: check(device) for name, check in checks.items()}
    return "\n".join(f"{name}: {text}" for name, text in found.items()), found


def _write_clips(folder: Path, scale: Scale) -> Found:
    """One clip by the encoder, the others copies of it whose last byte differs, so that none is known already."""
    folder.mkdir()
    height, width = scale.size
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (height // 8 + 20, (width + scale.frames) // 8 + 20, 3), dtype=np.uint8)
    field_ = small.repeat(8, 0).repeat(8, 1)

    def frames() -> Iterator[npt.NDArray[np.uint8]]:
        for index in range(scale.frames):
            at = index % 150  # no frame comes twice: its saliency would be known
            yield field_[at : at + height, index // 2 : index // 2 + width]

    first = folder / "c00.mp4"
    write_video(first, frames(), scale.rate, options={"preset": "ultrafast", "crf": "23"})
    data = first.read_bytes()
    for number in range(1, N_CLIPS):
        free = 9 + len(str(number))  # a box that players skip
        (folder / f"c{number:02d}.mp4").write_bytes(data + free.to_bytes(4) + b"free" + f"{number} ".encode())
    labels = "".join(f"c{number:02d}.mp4,{1 + 4 * number / N_CLIPS}\n" for number in range(N_CLIPS))
    (folder / "labels.csv").write_text(f"file,mos\n{labels}")
    seconds = scale.frames / scale.rate
    return f"{N_CLIPS} of {width} x {height}, {seconds:g} s, {len(data) >> 10} KiB each", {"seconds": seconds}


def _verb(folder: Path, started: float, arguments: list[str]) -> Found:
    """Runs a verb; what it prints last, and on what it ran, or the error."""
    process = _started(folder, arguments)
    try:
        out, errors = process.communicate(timeout=max(1.0, seconds_left(started)))
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise UgcvqaError(f"did not end within the {LIMIT_S:.0f} s of the report") from error
    told = (errors if process.returncode else out).strip().splitlines() or ["nothing"]
    if process.returncode:
        raise UgcvqaError(f"exit code {process.returncode}: {told[-1]}")
    places = [line.strip() for line in errors.splitlines() if _TOLD.search(line)]
    return "\n".join([told[-1], *dict.fromkeys(places)]), {"command": arguments}


def _on_all(verb: Callable[..., Any], extract: list[str], folder: Path, n_gpus: int) -> Found:
    if n_gpus < 2:
        return "", {"why": f"{n_gpus} GPUs"}
    more = [f"--store={folder / 'store2'}", "--rows", "VSFACNN", "--trainer.accelerator", "gpu"]
    found: Found = verb(["extract", *extract, *more, "--trainer.devices", str(n_gpus)])
    return found


def _resumed(verb: Callable[..., Any], folder: Path, fit: list[str]) -> Found:
    """Stops a training by the signal of a cluster as soon as it has a checkpoint, and runs the same command again."""
    name = next(argument.partition("=")[2] for argument in fit if argument.startswith("--name="))
    begun = _started(folder, fit)
    while begun.poll() is None and not any((folder / "runs" / name).rglob("*.ckpt")):
        time.sleep(_POLL_S)
    begun.terminate()
    begun.communicate()
    is_over = (folder / "runs" / name / "model.safetensors").is_file()
    text, figures = verb([*fit])
    how = "it had ended before it could be stopped, and ran twice" if is_over else "stopped at its first checkpoint"
    return f"{text}\n{how}", {**figures, "was_stopped": not is_over}


def _started(folder: Path, arguments: list[str]) -> "subprocess.Popen[str]":
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}
    command = [sys.executable, "-m", f"ugcvqa.{arguments[0]}", *arguments[1:]]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, text=True, cwd=folder, env=environment, stdout=pipe, stderr=pipe)
