"""Finds, checks and reads the weights of UVQ that a user supplies; nothing is downloaded.

Source: the weights published in the repository google/uvq on GitHub (Apache-2.0, copyright Google LLC).
"""

import csv
import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ugcvqa.deep.weight_files import read_state
from ugcvqa.errors import ConfigError, WeightsError
from ugcvqa.files import error_reason, file_sha256
from ugcvqa.uvq.state import N_AGGREGATION, SCORE_NAMES, network_shapes, seeded_state

log = logging.getLogger(__name__)

LABEL_FILE = "contentnet_labels.csv"
"""Names of ContentNet's topics; wanted, but not needed."""

_FOLDERS = {"uvq10": "uvq_pytorch/checkpoint", "uvq15": "uvq1p5_pytorch/checkpoints"}
_NAMES = {"uvq10": "UVQ 1.0", "uvq15": "UVQ 1.5"}
_FILES = {
    "uvq10": {
        "content": "contentnet_pytorch.pt",
        "distortion": "distortionnet_pytorch_statedict.pt",
        "compression": "compressionnet_pytorch_statedict.pt",
    },
    "uvq15": {"content": "content_net.pth", "distortion": "distortion_net.pth", "aggregation": "aggregation_net.pth"},
}


@dataclass(frozen=True)
class UVQWeights:
    """The tensors of one version of UVQ.

    Attributes:
        states: network (`content`, `aggregation.compression.0` ...) -> its state dict.
        checksums: file name -> SHA-256, of every file that was read; empty for seeded weights.
        checksum: one SHA-256 for all of them, or `random:SEED`.
        topics: names of ContentNet's topics in order; empty if their file is not there.
    """

    states: Mapping[str, Mapping[str, Tensor]]
    checksums: Mapping[str, str]
    checksum: str
    topics: tuple[str, ...] = ()


def weight_files(version: str) -> dict[str, str]:
    """Lists what UVQ needs: network -> file name.

    Args:
        version: `uvq10` or `uvq15`.
    """
    files = dict(_FILES[version])
    if version == "uvq10":
        for score in SCORE_NAMES:
            for number in range(N_AGGREGATION):
                folder = "aggregationnet_models/"
                files[f"aggregation.{score}.{number}"] = f"{folder}ytugc20s_{number}_avgpool_{score}.pt"
    return files


def load_weights(version: str, weights: str) -> UVQWeights:
    """Reads all weights of one version and checks them strictly.

    UVQ 1.0's seven scores have five files each. The default score's are needed; another score is left out, with a
    warning, if all of its files are absent.

    Args:
        version: `uvq10` or `uvq15`.
        weights: folder that holds the released files at any depth; empty takes $UGCVQA_UVQ_WEIGHTS. `random:SEED`
            makes numbers without meaning, for tests of the mechanics.

    Returns:
        The tensors, with the checksums of the files.

    Raises:
        ConfigError: if `random:` has no seed.
        WeightsError: if a file is missing, damaged, or does not fit its network.
    """
    if weights.startswith("random:"):
        return _seeded(version, weights)
    files = weight_files(version)
    paths = find_files(version, weights)
    states = {
        network: _read(paths[network], network_shapes(_kind(version, network))) for network in files if network in paths
    }
    checksums = {paths[network].name: file_sha256(paths[network]) for network in states}
    joined = "".join(f"{name} {value}\n" for name, value in sorted(checksums.items()))
    topics = _topics(paths["topics"]) if "topics" in paths else ()
    return UVQWeights(states, checksums, hashlib.sha256(joined.encode()).hexdigest(), topics)


def find_files(version: str, weights: str) -> dict[str, Path]:
    """Finds the files of one version.

    Args:
        version: `uvq10` or `uvq15`.
        weights: folder; empty takes $UGCVQA_UVQ_WEIGHTS.

    Returns:
        Network -> path, and `topics` -> path of the topic names if they are there.

    Raises:
        WeightsError: if a needed file is missing.
    """
    folder = Path(weights or os.environ.get("UGCVQA_UVQ_WEIGHTS", "")).expanduser()
    is_given = bool(weights or os.environ.get("UGCVQA_UVQ_WEIGHTS"))
    if is_given and not folder.is_dir():
        raise WeightsError(f"{folder}: no such folder of UVQ weights; {_advice(version)}")
    found: dict[str, Path] = {}
    if is_given:
        for path in sorted(folder.rglob("*.[pc]*"), key=lambda path: (len(path.parts), path)):
            if path.is_file():
                found.setdefault(path.name, path)
    files = {network: Path(name).name for network, name in weight_files(version).items()}
    absent = {network for network, name in files.items() if name not in found}
    optional = _absent_scores(absent)
    for network in files:
        if network in absent and network not in optional:
            where = f"{folder}: has no {files[network]}" if is_given else f"no folder is given with {files[network]}"
            raise WeightsError(f"{where}, which {_NAMES[version]} needs; {_advice(version)}")
    if optional:
        scores = sorted({network.split(".")[1] for network in optional})
        log.warning("%s: aggregation weights of %s are absent; these scores are left out", folder, ", ".join(scores))
    paths = {network: found[name] for network, name in files.items() if name in found}
    return {**paths, "topics": found[LABEL_FILE]} if LABEL_FILE in found else paths


def _absent_scores(absent: set[str]) -> set[str]:
    """Networks of scores for which no file exists; never the default score's."""
    scores = [{f"aggregation.{score}.{number}" for number in range(N_AGGREGATION)} for score in SCORE_NAMES[:-1]]
    return set[str]().union(*(networks for networks in scores if networks <= absent))


def _advice(version: str) -> str:
    return (
        f"take the files of the folder {_FOLDERS[version]} of the GitHub repository google/uvq (licence Apache-2.0) "
        "and give their folder as uvq.weights or in $UGCVQA_UVQ_WEIGHTS"
    )


def _kind(version: str, network: str) -> str:
    """Name of a network's architecture: without the number that aggregation networks of UVQ 1.0 end with."""
    return f"{version}.{network.rpartition('.')[0] if network.count('.') == 2 else network}"


def _read(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
    state = read_state(path)
    for kind, keys in (("missing", shapes.keys() - state.keys()), ("unexpected", state.keys() - shapes.keys())):
        if keys:
            raise WeightsError(f"{path}: {len(keys)} tensors {kind}, first {min(keys)}; give the released file")
    for key, shape in shapes.items():
        if tuple(state[key].shape) != shape:
            raise WeightsError(f"{path}: {key} is {tuple(state[key].shape)}, not {shape}; give the released file")
        if not torch.isfinite(state[key]).all():
            raise WeightsError(f"{path}: {key} holds NaN or infinite values; fetch the file again")
    return state


def _topics(path: Path) -> tuple[str, ...]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            names = {int(row["Index"]): row["Name"] for row in csv.DictReader(file)}
        return tuple(names[index] for index in range(len(names)))
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as topic names ({error_reason(error)}); fetch it again") from error


def _seeded(version: str, weights: str) -> UVQWeights:
    seed = weights.removeprefix("random:")
    if not seed.isdecimal():
        raise ConfigError(f"uvq.weights {weights}: a seed is needed, such as random:0")
    log.warning("%s has RANDOM weights (seed %s): its scores say nothing about quality", _NAMES[version], seed)
    states = {
        network: seeded_state(_kind(version, network), int(seed), f"{version}.{network}")
        for network in weight_files(version)
    }
    return UVQWeights(states, {}, weights)
