"""What networks do on a GPU: how far their numbers are from a CPU's, how fast they are, and where the time goes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch

from ugcvqa.deep.backbones import has_weights
from ugcvqa.errors import UgcvqaError
from ugcvqa.features.computing import compute
from ugcvqa.features.extraction import Assembler, assemble
from ugcvqa.features.families import build_families
from ugcvqa.features.family import Family
from ugcvqa.features.loading import ClipDataset, through_loader
from ugcvqa.features.precisions import BOUND, Trial, difference, fastest, forget, timed_vector
from ugcvqa.features.stream import ClipStream, Task
from ugcvqa.settings.features import DeepSettings, FamilySettings, Precision, SaliencySettings, UVQSettings

LIMIT_S = 570.0
"""Seconds after which nothing more is started, and what still runs is ended."""

TARGETS_S = {"cnn": 0.9, "vsfacnn": 1.5, "saliency": 1.2}
"""Seconds for a 20 s clip of 1080p on an H100."""

DECODERS = (0, 4, 8, 15)
"""Numbers of decoders with which the speed of families with a target is measured."""

MANY = (15,)
"""The same for families without a target."""

N_CLIPS = 15
"""Clips that are made: as many as the largest number of decoders, and enough for a split."""

COMPARED = {"cnn": 4, "vsfacnn": 4, "stages": 4, "saliency": 1, "vsfacnn_saliency": 1}
"""Family -> frames that are compared; Score-CAM takes a CPU 512 passes for each."""

OTHERS = ("stages", "vsfacnn_saliency", "uvq", "uvq15")
"""Families whose speed is measured last."""


Found = tuple[str, dict[str, Any]]
"""What a part of the report gives: the outcome in words, and the same in numbers."""


@dataclass(frozen=True)
class Scale:
    """How much is tried.

    Attributes:
        size: height and width of the clips.
        frames: of each.
        rate: frames per second.
        deep: network of deep features.
        saliency: network and method of saliency maps.
        rows: feature rows that are extracted by the verb.
        pictures: options of what an end-to-end model sees.
    """

    size: tuple[int, int]
    frames: int
    rate: int
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
        return Scale((64, 96), 20, 10, deep, saliency, "CNN", pictures)
    deep = DeepSettings("resnet50", _weights("resnet50"))
    saliency = SaliencySettings("vgg16", None, _weights("vgg16"))
    return Scale((1080, 1920), 600, 30, deep, saliency, "all")


def _weights(backbone: str) -> str:
    try:
        return "IMAGENET1K_V1" if has_weights(backbone, "IMAGENET1K_V1") else "random:0"
    except UgcvqaError:
        return "random:0"


def seconds_left(started: float) -> float:
    """Seconds until the limit of a report that started at a moment of `time.monotonic`."""
    return LIMIT_S - (time.monotonic() - started)


def _family(name: str, scale: Scale, device: str, precision: Precision = "float32") -> dict[str, Family]:
    deep, saliency = replace(scale.deep, precision=precision), replace(scale.saliency, precision=precision)
    families = build_families((name,), replace(scale.families, deep=deep, saliency=saliency))
    return {name: family.on(device) for name, family in families.items()}


def differences(name: str, clip: Path, device: str, scale: Scale) -> Found:
    """Relative difference of the first frames' vector from float32 on the CPU, and seconds of each precision."""
    family = _family(name, scale, "cpu")
    frames = _first_frames(family, clip, "cpu", COMPARED[name])
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


def speed(name: str, clips: list[Path], numbers: Sequence[int], device: str, scale: Scale, started: float) -> Found:
    """Seconds for a clip with each number of decoders, and the shares of waiting and computing."""
    families = _family(name, scale, device)
    timed_vector(families[name], _first_frames(families, clips[0], device), rounds=1)  # kernels are chosen
    figures: dict[str, Any] = {}
    for decoders in numbers if device != "cpu" else numbers[:2]:
        if not figures or seconds_left(started) > 0:
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
