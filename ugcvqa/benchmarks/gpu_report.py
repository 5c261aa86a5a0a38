"""A report on this machine's GPUs: whether everything gives the known numbers there, how fast, and where time goes."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from ugcvqa.benchmarks.costs import machine
from ugcvqa.deep.backbones import has_weights
from ugcvqa.devices import n_loaders, why_no_gpu
from ugcvqa.errors import UgcvqaError
from ugcvqa.features.computing import compute
from ugcvqa.features.extraction import Assembler, assemble
from ugcvqa.features.families import build_families
from ugcvqa.features.family import Family
from ugcvqa.features.loading import ClipDataset, through_loader
from ugcvqa.features.precisions import BOUND, Trial, difference, fastest, forget, timed_vector
from ugcvqa.features.stream import ClipStream, Task
from ugcvqa.files import error_reason, write_atomic, write_json
from ugcvqa.leftovers import temporary_folder
from ugcvqa.loaders import SHARED_MEMORY
from ugcvqa.media.encode import write_video
from ugcvqa.records import versions
from ugcvqa.scoring import known_models
from ugcvqa.settings.features import DeepSettings, FamilySettings, Precision, SaliencySettings, UVQSettings

LIMIT_S = 570.0
"""Seconds after which nothing more is started, and what still runs is ended."""

TARGETS_S = {"cnn": 0.9, "vsfacnn": 1.5, "saliency": 1.2}
"""Seconds for a 20 s clip of 1080p on an H100."""

_DECODERS = (0, 4, 8, 15)
_MANY = (15,)  # for families without a target
_TOLD = re.compile(r"(extracts|trains|scores) on | features in ")
_POLL_S = 0.05
_CLIPS = 15  # as many as the largest number of decoders, and enough for a split
_COMPARED = {"cnn": 4, "vsfacnn": 4, "stages": 4, "saliency": 1, "vsfacnn_saliency": 1}
"""Family -> frames that are compared; Score-CAM takes a CPU 512 passes for each."""

_OTHERS = ("stages", "vsfacnn_saliency", "uvq", "uvq15")  # whose speed is measured last


@dataclass
class Step:
    """One part of the report.

    Attributes:
        name: what was tried.
        state: `ok`, `FAILED`, or `left out`.
        seconds: that it took.
        text: the outcome, or the reason.
        figures: the same in numbers.
    """

    name: str
    state: Literal["ok", "FAILED", "left out"] = "ok"
    seconds: float = 0.0
    text: str = ""
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scale:
    """How much is tried.

    Attributes:
        size: height and width of the clips.
        frames: of each.
        rate: frames per second.
        clips: how many.
        deep: network of deep features.
        saliency: network and method of saliency maps.
        rows: feature rows that are extracted by the verb.
        pictures: options of what an end-to-end model sees.
    """

    size: tuple[int, int]
    frames: int
    rate: int
    clips: int
    deep: DeepSettings
    saliency: SaliencySettings
    rows: str
    pictures: tuple[str, ...] = ()

    @property
    def families(self) -> FamilySettings:
        """Settings of the families."""
        uvq = UVQSettings("random:0")
        return FamilySettings(deep=self.deep, saliency=self.saliency, uvq=uvq, engine="torch")  # as with a GPU

    def arguments(self) -> list[str]:
        """The same as options of a verb."""
        parts = {"deep": self.deep, "saliency": self.saliency}
        values = ((part, key, getattr(of, key)) for part, of in parts.items() for key in ("backbone", "weights"))
        found = [f"--families.{part}.{key}={value}" for part, key, value in values]
        return [*found, f"--families.saliency.method={self.saliency.method}", "--families.engine=torch"]

    @property
    def is_whole(self) -> bool:
        """Whether the clips are of the size that the targets refer to."""
        return (*self.size, self.frames, self.rate) == (1080, 1920, 600, 30)


def scale_of(is_small: bool) -> Scale:
    """The full report, with trained weights where they are installed, or a small one that only shows that it works."""
    if is_small:
        name, weights = "squeezenet1_1", "random:0"
        deep, saliency = DeepSettings(name, weights), SaliencySettings(name, weights=weights, method="top:2")
        pictures = ("--end_to_end.clip.short_side=0", "--end_to_end.clip.crop=40")
        return Scale((64, 96), 20, 10, _CLIPS, deep, saliency, "CNN", pictures)
    deep = DeepSettings("resnet50", _weights("resnet50"))
    saliency = SaliencySettings("vgg16", None, _weights("vgg16"))
    return Scale((1080, 1920), 600, 30, _CLIPS, deep, saliency, "all")


def _weights(backbone: str) -> str:
    try:
        return "IMAGENET1K_V1" if has_weights(backbone, "IMAGENET1K_V1") else "random:0"
    except UgcvqaError:
        return "random:0"


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


def _tried(name: str, work: Callable[[], tuple[str, dict[str, Any]]], started: float) -> Step:
    if _left(started) <= 0:
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


def _left(started: float) -> float:
    return LIMIT_S - (time.monotonic() - started)


def _parts(
    folder: Path, device: str, scale: Scale, started: float
) -> Iterator[tuple[str, Callable[[], tuple[str, dict[str, Any]]]]]:
    clips = folder / "clips"
    yield "machine", partial(_machine, device)
    yield "known answers", partial(_known_answers, device, scale.is_whole)
    yield "clips", partial(_write_clips, clips, scale)
    first = clips / "c00.mp4"
    for name in _COMPARED:
        yield f"{name}: differences from the CPU", partial(_differences, name, first, device, scale)
    speed = partial(_speed, device=device, scale=scale, started=started)
    for name in TARGETS_S:
        yield f"{name}: speed", partial(speed, name, sorted(clips.glob("*.mp4")), _DECODERS)
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
    for name in _OTHERS if scale.is_whole else ():
        yield f"{name}: speed", partial(speed, name, sorted(clips.glob("*.mp4")), _MANY)


def _machine(device: str) -> tuple[str, dict[str, Any]]:
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


def _known_answers(device: str, is_whole: bool) -> tuple[str, dict[str, Any]]:
    checks: dict[str, Callable[[str], str]] = {"GRU head": known_models.check_gru}
    if is_whole:
        checks |= {"ResNet-50": known_models.check_resnet, "Score-CAM": known_models.check_saliency}
        checks |= {"UVQ 1.0": partial(known_models.check_uvq_networks, "uvq")}
        checks |= {"UVQ 1.5": partial(known_models.check_uvq_networks, "uvq1.5")}
    found = {name: check(device) for name, check in checks.items()}
    return "\n".join(f"{name}: {text}" for name, text in found.items()), found


def _write_clips(folder: Path, scale: Scale) -> tuple[str, dict[str, Any]]:
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
    for number in range(1, scale.clips):
        free = 9 + len(str(number))  # a box that players skip
        (folder / f"c{number:02d}.mp4").write_bytes(data + free.to_bytes(4) + b"free" + f"{number} ".encode())
    labels = "".join(f"c{number:02d}.mp4,{1 + 4 * number / scale.clips}\n" for number in range(scale.clips))
    (folder / "labels.csv").write_text(f"file,mos\n{labels}")
    seconds = scale.frames / scale.rate
    return f"{scale.clips} of {width} x {height}, {seconds:g} s, {len(data) >> 10} KiB each", {"seconds": seconds}


def _family(name: str, scale: Scale, device: str, precision: Precision = "float32") -> dict[str, Family]:
    deep, saliency = replace(scale.deep, precision=precision), replace(scale.saliency, precision=precision)
    families = build_families((name,), replace(scale.families, deep=deep, saliency=saliency))
    return {name: family.on(device) for name, family in families.items()}


def _differences(name: str, clip: Path, device: str, scale: Scale) -> tuple[str, dict[str, Any]]:
    """Relative difference of the first frames' vector from float32 on the CPU, and seconds of each precision."""
    family = _family(name, scale, "cpu")
    frames = _first_frames(family, clip, "cpu", _COMPARED[name])
    expected, _ = timed_vector(family[name], frames, rounds=1)
    trials = dict[Precision, Trial]()
    for precision in get_args(Precision) if device != "cpu" else ("float32", "bfloat16"):
        there = {form: planes.to(torch.device(device)) for form, planes in frames.items()}
        found, seconds = timed_vector(_family(name, scale, device, precision)[name], there)
        trials[precision] = Trial(difference(found, expected), seconds)
    advised = fastest(trials)
    lines = [f"{key} {each.difference:.1e} in {each.seconds:.3f} s" for key, each in trials.items()]
    figures: dict[str, Any] = {key: each._asdict() for key, each in trials.items()}
    return f"{'; '.join(lines)}; fastest within {BOUND:g}: {advised}", figures | {"advised": advised}


def _first_frames(
    families: Mapping[str, Family], clip: Path, device: str, most: int | None = None
) -> Mapping[str, torch.Tensor]:
    """The first piece of a clip as a GPU receives it, with at most so many frames."""
    item = next(iter(ClipDataset(ClipStream([Task("clip", str(clip))], families), is_on_gpu=True)))
    if item.reason:
        raise UgcvqaError(item.reason)
    return {form: planes[:most] for form, planes in item.to(torch.device(device)).frames.items()}


def _speed(
    name: str, clips: list[Path], numbers: Sequence[int], device: str, scale: Scale, started: float
) -> tuple[str, dict[str, Any]]:
    families = _family(name, scale, device)
    timed_vector(families[name], _first_frames(families, clips[0], device), rounds=1)  # kernels are chosen
    figures: dict[str, Any] = {}
    for decoders in numbers if device != "cpu" else numbers[:2]:
        if not figures or _left(started) > 0:
            figures[str(decoders)] = _one_speed(families, clips[: max(1, decoders)], device, decoders)
    lines = [
        f"{decoders:>2} decoders: {each['clip_s']:.2f} s for a clip, {scale.frames / each['clip_s']:.0f} frames a "
        f"second; waiting for frames {each['waiting']:.0%}, computing {each['computing']:.0%}"
        for decoders, each in figures.items()
    ]
    if target := TARGETS_S.get(name):
        best = min(each["clip_s"] for each in figures.values())
        verdict = "met" if best <= target else f"missed, {best:.2f} s"
        lines.append(f"target for 20 s of 1080p on an H100: {target} s; {verdict if scale.is_whole else 'not tried'}")
    return "\n".join(lines), figures


def _one_speed(families: Mapping[str, Family], clips: list[Path], device: str, decoders: int) -> dict[str, float]:
    """Seconds for a clip, from the first batch on, and the shares of waiting for frames and of computing."""
    stream = ClipStream([Task(path.stem, str(path)) for path in clips], families)
    spent = {"computing": 0.0}

    def timed(items: list[Any]) -> list[Any]:
        begun = time.perf_counter()
        for family in families.values():
            forget(family)  # all clips show the same
        found = compute(families, items)
        if device != "cpu":
            torch.cuda.synchronize(device)
        spent["computing"] += time.perf_counter() - begun
        return found

    assembler = Assembler(families)
    begun = time.perf_counter()
    for items, features in through_loader(stream, timed, 1, decoders, device):
        for result in assemble(assembler, items, features):
            if result.reason:
                raise UgcvqaError(result.reason)
    whole = time.perf_counter() - begun
    waiting = max(0.0, whole - spent["computing"])
    return {"clip_s": whole / len(clips), "waiting": waiting / whole, "computing": spent["computing"] / whole}


def _verb(folder: Path, started: float, arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """Runs a verb; what it prints last, and on what it ran, or the error."""
    process = _started(folder, arguments)
    try:
        out, errors = process.communicate(timeout=max(1.0, _left(started)))
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise UgcvqaError(f"did not end within the {LIMIT_S:.0f} s of the report") from error
    told = (errors if process.returncode else out).strip().splitlines() or ["nothing"]
    if process.returncode:
        raise UgcvqaError(f"exit code {process.returncode}: {told[-1]}")
    places = [line.strip() for line in errors.splitlines() if _TOLD.search(line)]
    return "\n".join([told[-1], *dict.fromkeys(places)]), {"command": arguments}


def _on_all(verb: Callable[..., Any], extract: list[str], folder: Path, n_gpus: int) -> tuple[str, dict[str, Any]]:
    if n_gpus < 2:
        return "", {"why": f"{n_gpus} GPUs"}
    more = [f"--store={folder / 'store2'}", "--rows", "VSFACNN", "--trainer.accelerator", "gpu"]
    found: tuple[str, dict[str, Any]] = verb(["extract", *extract, *more, "--trainer.devices", str(n_gpus)])
    return found


def _resumed(verb: Callable[..., Any], folder: Path, fit: list[str]) -> tuple[str, dict[str, Any]]:
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
