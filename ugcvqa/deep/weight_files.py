"""Files of released weights: where they are looked for, fetched from and checked by their SHA-256."""

import logging
import os
import re
import shutil
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ugcvqa.deep import efficientnet_lite
from ugcvqa.errors import ConfigError, WeightsError
from ugcvqa.files import error_reason, file_sha256
from ugcvqa.leftovers import temporary_path
from ugcvqa.untrusted import INSTALLED

log = logging.getLogger(__name__)

# Whole checksums of the default weights; torchvision's file names carry the first digits of all others.
_SHA256 = {
    "resnet50-0676ba61.pth": "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    "vgg16-397923af.pth": "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    efficientnet_lite.FILE: efficientnet_lite.SHA256,
}
_CHECKSUM_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")
# DenseNet's released files name the layers of a block in an older way ("norm.1" for "norm1").
_OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")
_DOWNLOAD_TIMEOUT_S = 20
_WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors")


def released_files(name: str) -> dict[str, str]:
    """Names of a network's released weights -> where their files are fetched, or the file's name alone."""
    from torchvision import models

    if name == efficientnet_lite.NAME:
        return {"IMAGENET1K_V1": efficientnet_lite.FILE}
    return {member.name: str(member.url) for member in models.get_model_weights(name)}


def weight_folders() -> list[Path]:
    """Folders that are searched for released files: $UGCVQA_WEIGHTS if it is set, and torch hub's."""
    own = os.environ.get("UGCVQA_WEIGHTS")
    return [*([Path(own).expanduser()] if own else []), Path(torch.hub.get_dir()) / "checkpoints"]


def installed_file(file: str) -> Path | None:
    """Finds a released file in the folders that are searched, and checks its SHA-256 where that is known.

    EfficientNet-Lite0's is also looked for in the package of the extra `lite`.

    Returns:
        Its path; None if it is in none of them.

    Raises:
        WeightsError: if it is not the file that was meant.
    """
    for folder in weight_folders():
        if (folder / file).is_file():
            return _checked(folder / file)
    packaged = efficientnet_lite.packaged_file() if file == efficientnet_lite.FILE else None
    return packaged and _checked(packaged)


def find_weights(name: str, weights: str) -> Path | None:
    """Finds the file that `weights` means, see `load_backbone`, and checks it where its checksum is known.

    Args:
        name: name of the network.
        weights: a released name, `installed:FILE`, a file or a folder.

    Returns:
        Its path; None for a released one that is in none of the folders, see `fetch_weights`.

    Raises:
        ConfigError: if there are no such weights.
        WeightsError: if the file is missing, or is not the file that was meant.
    """
    known = released_files(name)
    files = {weight_name: url.rsplit("/", 1)[-1] for weight_name, url in known.items()}
    if weights in known:
        return installed_file(files[weights])
    if weights.startswith(INSTALLED):
        return _installed_weights(name, weights.removeprefix(INSTALLED), list(files.values()))
    path = Path(weights).expanduser()
    if path.is_dir():
        held = [path / file for file in files.values() if (path / file).is_file()]
        if not held:
            wanted = " or ".join(f"{file} (SHA-256 {_expected_text(file)})" for file in files.values())
            raise WeightsError(f"{path}: holds no weights of {name}; put {wanted} there")
        path = held[0]
    elif not path.is_file():
        if path.suffix or len(path.parts) > 1:
            raise WeightsError(f"{path}: no such file or folder of weights for {name}")
        raise ConfigError(
            f"weights {weights}: {name} has {', '.join(known)}; name one of them, a file, a folder, or random:SEED"
        )
    return _checked(path)


def fetch_weights(name: str, weights: str) -> Path:
    """Downloads a released file to the first of the folders that are searched.

    Raises:
        WeightsError: if it cannot be fetched, or is not the file that was meant.
    """
    url = released_files(name)[weights]
    file, folders = url.rsplit("/", 1)[-1], weight_folders()
    if name == efficientnet_lite.NAME:
        raise WeightsError(
            f"{name} needs its weights {weights}: {file} (SHA-256 {_expected_text(file)}) is not installed; "
            f"{efficientnet_lite.HOW_TO_GET}, or put it into {folders[0]}"
        )
    try:
        _download(url, folders[0] / file)
    except OSError as error:
        raise WeightsError(
            f"{name} needs its weights {weights}: {file} (SHA-256 {_expected_text(file)}) is in none of "
            f"{', '.join(map(str, folders))} and cannot be fetched ({error_reason(error)}); put it into {folders[0]}, "
            f"from {url}"
        ) from error
    return _checked(folders[0] / file)


def _installed_weights(name: str, file: str, released: Sequence[str]) -> Path:
    """A file in the folders that are searched; any name but a weight file's means the released ones."""
    is_file = Path(file).name == file and Path(file).suffix in _WEIGHT_SUFFIXES
    for candidate in [file] if is_file else released:
        if (path := installed_file(candidate)) is not None:
            return path
    wanted = file if is_file else " or ".join(released)
    raise WeightsError(
        f"{name}: {wanted} is in none of {', '.join(map(str, weight_folders()))}; a model file opens weights from "
        "there only: put it there, or set UGCVQA_WEIGHTS to its folder"
    )


def read_state(path: Path) -> Mapping[str, Any]:
    """Reads a state dict, .pth or .safetensors.

    Raises:
        WeightsError: if the file is damaged or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle or archive can raise nearly anything
        # the library's own text is long and advises loading the file unsafely
        reason = " ".join(str(error).split(". ")[0].split()) or "it ends too early"
        raise WeightsError(f"{path}: cannot be read as weights ({reason}); fetch the file again") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: holds no plain state dict (names and tensors); save model.state_dict()")
    if any(_OLD_DENSENET_KEY.search(key) for key in state):
        return {_OLD_DENSENET_KEY.sub(r"\1\2.", key): value for key, value in state.items()}
    return state


def _download(url: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(target.parent)
    try:
        with urllib.request.urlopen(url, timeout=_DOWNLOAD_TIMEOUT_S) as response, temporary.open("xb") as out:
            log.info("fetching %s to %s", url, target)  # not before: offline, one line must do
            shutil.copyfileobj(response, out)
        _checked(temporary, target.name)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _checked(path: Path, name: str = "") -> Path:
    """A file, compared with the checksum of the released file of that name, by default its own, if there is one."""
    file = name or path.name
    expected = _expected_sha256(file)
    if not expected:
        return path
    try:
        actual = file_sha256(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not actual.startswith(expected):
        mend = "delete it and fetch it again"
        if file == efficientnet_lite.FILE:
            mend = f"delete it and {efficientnet_lite.HOW_TO_GET}"
        raise WeightsError(f"{path}: SHA-256 is {actual}, that of {file} {_expected_text(file)}; {mend}")
    return path


def _expected_sha256(file: str) -> str:
    match = _CHECKSUM_IN_NAME.search(file)
    return _SHA256.get(file) or (match.group(1) if match else "")


def _expected_text(file: str) -> str:
    expected = _expected_sha256(file)
    return f"is {expected}" if len(expected) == 64 else f"begins with {expected}"
