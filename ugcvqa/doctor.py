"""`ugcvqa doctor`: checks an installation: versions, devices, decoders, weights, and known answers."""

import contextlib
import logging
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from ugcvqa import __version__
from ugcvqa.cli import run_verb
from ugcvqa.errors import UgcvqaError, WeightsError
from ugcvqa.machine import n_cores
from ugcvqa.settings.features import UVQSettings

_PACKAGES = ("torch", "torchvision", "lightning", "numpy", "scipy", "scikit-learn")
_BACKBONES = {
    "ResNet-50": "resnet50-0676ba61.pth",
    "VGG-16": "vgg16-397923af.pth",
    "EfficientNet-Lite0": "efficientnet-lite0-57934424.pth",
}
_UVQ_VERSIONS: dict[Literal["uvq", "uvq1.5"], str] = {"uvq": "uvq10", "uvq1.5": "uvq15"}


class Finding(NamedTuple):
    """The outcome of one check.

    Attributes:
        state: `ok`, `absent` for something that only some models need, or `FAILED`.
        name: what was checked.
        text: what was found, or what to do.
    """

    state: Literal["ok", "absent", "FAILED"]
    name: str
    text: str


def doctor(
    quick: bool = False,
    uvq: UVQSettings = UVQSettings(),
    uvq_clip: str | None = None,
    device: str = "cpu",
    gpu_report: str | None = None,
    small: bool = False,
) -> int:
    """Checks this installation and prints one line per check, with what to do where something is wrong.

    The exit code is 0 if nothing failed; what is merely absent is not a failure. Every kind of model and decoder is
    compared with known answers, for which nothing needs to be downloaded.

    Args:
        quick: leave out the large networks (ResNet-50, VGG-16, UVQ), which take most of the time.
        uvq: settings of UVQ; its weights are checked.
        uvq_clip: the video Gaming_1080P-0ce6_orig.mp4 of YouTube-UGC (folder vp9_compressed_videos), whose UVQ scores
            are published; they are compared for each version whose weights are there.
        device: where networks compute: cpu, cuda, cuda:1.
        gpu_report: file for a report on this machine's GPUs, as text, and beside it as .json, in place of the checks:
            known answers, differences from a CPU, speed and where it goes, every verb. At most ten minutes.
        small: with `gpu_report`, tiny videos and networks, which show that the report itself works.
    """
    from ugcvqa.features.extraction import usable_device

    usable_device(device)
    if gpu_report is not None:
        from ugcvqa.benchmarks.gpu_report import write_report

        return write_report(Path(gpu_report), device, small)
    failed = 0
    for finding in _findings(quick, uvq, uvq_clip, device):
        sys.stdout.write(f"{finding.state:<7} {finding.name:<28} {finding.text}\n")
        sys.stdout.flush()
        failed += finding.state == "FAILED"
    return 1 if failed else 0


def _findings(quick: bool, uvq: UVQSettings, uvq_clip: str | None, device: str) -> Iterator[Finding]:
    yield Finding("ok", "versions", _versions())
    yield _checked("devices", _devices)
    yield _engine()
    yield _checked("decoders", _decoders)
    yield from _built_in_clip()
    yield from _models(quick, device)
    for name, file in _BACKBONES.items():
        yield _backbone(name, file)
    yield from _real_network(device)
    for version in _UVQ_VERSIONS:
        yield from _uvq(version, uvq, uvq_clip, device)


def _checked(name: str, check: Callable[[], str], absence: str = "") -> Finding:
    """The outcome of a check; missing weights do not count as a failure where `absence` says what they mean."""
    try:
        return Finding("ok", name, check())
    except UgcvqaError as error:
        if absence and isinstance(error, WeightsError):
            return Finding("absent", name, f"{absence}: {' '.join(str(error).split())}")
        return Finding("FAILED", name, " ".join(str(error).split()))
    except Exception as error:  # a broken library can raise anything; the other checks continue
        return Finding("FAILED", name, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _versions() -> str:
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    return f"ugcvqa {__version__}, Python {platform.python_version()}, {packages}"


def _devices() -> str:
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{n_cores()} CPU cores, {', '.join(names) or 'no CUDA device'}"


def _engine() -> Finding:
    from ugcvqa.deep.engine import chosen_engine

    if chosen_engine("auto") == "openvino":
        return Finding("ok", "engine of networks", f"openvino {metadata.version('openvino')}")
    advice = "PyTorch; on a CPU the extra `cpu` (OpenVINO) is faster: pip install openvino"
    return Finding("absent", "engine of networks", advice)


def _decoders() -> str:
    from ugcvqa.media.decode import ffmpeg_versions, missing_decoders

    missing = missing_decoders()
    if missing:
        raise UgcvqaError(f"{ffmpeg_versions()} cannot decode {', '.join(missing)}; reinstall PyAV from its wheels")
    return ffmpeg_versions()


def _built_in_clip() -> Iterator[Finding]:
    from ugcvqa.scoring.known_answers import CODECS, check_codec, check_decoder, check_nss, write_clip
    from ugcvqa.scoring.released import SHA256

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "built-in.mkv"

        def codec(name: str) -> str:
            return check_codec(name, Path(folder)) or ""

        for name in CODECS:
            found = _checked(f"{name} decoder", partial(codec, name))
            yield (
                found if found.text else Finding("absent", found.name, "not tried: PyAV has no encoder for a test clip")
            )

        def decoder() -> str:
            write_clip(clip)
            return check_decoder(clip)

        yield _checked("decoder, known answer", decoder)
        yield _checked("NSS, known answer", lambda: check_nss(clip))
        for name in SHA256:
            yield _released(name, clip)


def _released(name: str, clip: Path) -> Finding:
    from ugcvqa.scoring.known_answers import check_released

    return _checked(f"model {name}", partial(check_released, name, clip), "needs network weights")


def _models(quick: bool, device: str) -> Iterator[Finding]:
    """Known answers of all heads, on the CPU but for the recurrent one, and networks."""
    from ugcvqa.scoring import known_models

    small: dict[str, Callable[[], str]] = {
        "SVR head": known_models.check_svr,
        "GP head": known_models.check_gp,
        "GRU head": partial(known_models.check_gru, device),
    }
    large: dict[str, Callable[[], str]] = {
        "ResNet-50": partial(known_models.check_resnet, device),
        "Score-CAM": partial(known_models.check_saliency, device),
        "UVQ 1.0": partial(known_models.check_uvq_networks, "uvq", device),
        "UVQ 1.5": partial(known_models.check_uvq_networks, "uvq1.5", device),
    }
    logging.disable(logging.WARNING)  # seeded weights are announced as such
    try:
        for name, check in (small if quick else {**small, **large}).items():
            yield _checked(f"{name}, known answer", check)
    finally:
        logging.disable(logging.NOTSET)


def _backbone(name: str, file: str) -> Finding:
    from ugcvqa.deep.efficientnet_lite import FILE, HOW_TO_GET
    from ugcvqa.deep.weight_files import installed_file, weight_folders

    try:
        path = installed_file(file)
    except WeightsError as error:
        return Finding("FAILED", f"{name} weights", str(error))
    if path is None:
        folders = " or ".join(map(str, weight_folders()))
        how = f"{HOW_TO_GET}, or " if file == FILE else ""
        return Finding("absent", f"{name} weights", f"{how}{file} belongs in {folders}; not needed for NSS")
    return Finding("ok", f"{name} weights", f"{path}, SHA-256 as released")


def _real_network(device: str) -> Iterator[Finding]:
    """Known answer of the one network whose real weights an installation may include."""
    from ugcvqa.deep.backbones import has_weights
    from ugcvqa.scoring.known_models import check_efficientnet_lite

    with contextlib.suppress(WeightsError):  # which the line before reports
        if has_weights("efficientnet_lite0", "IMAGENET1K_V1"):
            yield _checked("EfficientNet-Lite0, known answer", partial(check_efficientnet_lite, device))


def _uvq(version: Literal["uvq", "uvq1.5"], uvq: UVQSettings, clip: str | None, device: str) -> Iterator[Finding]:
    from ugcvqa.scoring.known_answers import UVQ_CLIP, check_uvq
    from ugcvqa.uvq.weights import find_files, load_weights

    name = f"UVQ {'1.0' if version == 'uvq' else '1.5'}"
    try:
        find_files(_UVQ_VERSIONS[version], uvq.weights)
    except WeightsError as error:
        yield Finding("FAILED" if uvq.weights else "absent", f"{name} weights", str(error))
        return

    def weights() -> str:
        loaded = load_weights(_UVQ_VERSIONS[version], uvq.weights)
        return f"{len(loaded.states)} networks, SHA-256 of all files {loaded.checksum}"

    found = _checked(f"{name} weights", weights)
    yield found
    if found.state != "ok":
        return
    if clip is None:
        yield Finding("absent", f"{name}, published answer", f"give --uvq_clip {UVQ_CLIP} to compare published scores")
    else:
        yield _checked(f"{name}, published answer", lambda: check_uvq(version, uvq, clip, device))


main = partial(run_verb, doctor)

if __name__ == "__main__":
    sys.exit(main())
