"""`ugcvqa doctor`: checks an installation: versions, devices, decoders, weights, and known answers."""

import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from ugcvqa import __version__
from ugcvqa.cli import run_verb
from ugcvqa.errors import UgcvqaError, WeightsError
from ugcvqa.settings import UVQSettings, n_cores

_PACKAGES = ("torch", "torchvision", "lightning", "numpy", "scipy", "scikit-learn")
_BACKBONES = {"ResNet-50": "resnet50-0676ba61.pth", "VGG-16": "vgg16-397923af.pth"}
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


def doctor(uvq: UVQSettings = UVQSettings(), uvq_clip: str | None = None, device: str = "cpu") -> int:
    """Checks this installation and prints one line per check.

    The exit code is 0 if nothing failed; what is merely absent is no failure.

    Args:
        uvq: settings of UVQ; its weights are checked.
        uvq_clip: the video Gaming_1080P-0ce6_orig.mp4 of YouTube-UGC (folder vp9_compressed_videos), whose UVQ scores
            are published; they are compared for each version whose weights are there.
        device: where UVQ computes: cpu, cuda, cuda:1.
    """
    failed = 0
    for finding in _findings(uvq, uvq_clip, device):
        sys.stdout.write(f"{finding.state:<7} {finding.name:<28} {finding.text}\n")
        sys.stdout.flush()
        failed += finding.state == "FAILED"
    return 1 if failed else 0


def _findings(uvq: UVQSettings, uvq_clip: str | None, device: str) -> Iterator[Finding]:
    yield Finding("ok", "versions", _versions())
    yield _checked("devices", _devices)
    yield _checked("decoders", _decoders)
    yield from _built_in_clip()
    for name, file in _BACKBONES.items():
        yield _backbone(name, file)
    for version in _UVQ_VERSIONS:
        yield from _uvq(version, uvq, uvq_clip, device)


def _checked(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding("ok", name, check())
    except UgcvqaError as error:
        return Finding("FAILED", name, " ".join(str(error).split()))
    except Exception as error:  # a broken library can raise anything; the other checks go on
        return Finding("FAILED", name, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _versions() -> str:
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    return f"ugcvqa {__version__}, Python {platform.python_version()}, {packages}"


def _devices() -> str:
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{n_cores()} CPU cores, {', '.join(names) or 'no CUDA device'}"


def _decoders() -> str:
    from ugcvqa.media.decode import ffmpeg_versions, missing_decoders

    missing = missing_decoders()
    if missing:
        raise UgcvqaError(f"{ffmpeg_versions()} cannot decode {', '.join(missing)}; reinstall PyAV from its wheels")
    return ffmpeg_versions()


def _built_in_clip() -> Iterator[Finding]:
    from ugcvqa.scoring.known_answers import check_decoder, check_nss, write_clip

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "built-in.mkv"

        def decoder() -> str:
            write_clip(clip)
            return check_decoder(clip)

        yield _checked("decoder, known answer", decoder)
        yield _checked("NSS, known answer", lambda: check_nss(clip))


def _backbone(name: str, file: str) -> Finding:
    from ugcvqa.deep.backbones import installed_file, weight_folders

    try:
        path = installed_file(file)
    except WeightsError as error:
        return Finding("FAILED", f"{name} weights", str(error))
    if path is None:
        folders = " or ".join(map(str, weight_folders()))
        return Finding("absent", f"{name} weights", f"{file} belongs into {folders}; not needed for NSS")
    return Finding("ok", f"{name} weights", f"{path}, SHA-256 as released")


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
        yield Finding("absent", f"{name}, known answer", f"give --uvq_clip {UVQ_CLIP} to compare published scores")
    else:
        yield _checked(f"{name}, known answer", lambda: check_uvq(version, uvq, clip, device))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the verb and returns its exit code."""
    return run_verb(doctor, argv, "ugcvqa doctor")


if __name__ == "__main__":
    sys.exit(main())
