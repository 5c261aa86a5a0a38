"""Frozen networks of torchvision, and EfficientNet-Lite0: the only place that builds them."""

import hashlib
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import fx, nn

from ugcvqa.deep import efficientnet_lite
from ugcvqa.deep.trunks import last_maps, no_maps
from ugcvqa.deep.weight_files import fetch_weights, find_weights, installed_file, read_state, released_files
from ugcvqa.errors import ConfigError, WeightsError

log = logging.getLogger(__name__)

_MOST_RANDOM = 200_000_000  # weights of a network that are drawn at random: more take minutes
_CHECKED_VALUES = 2**20


def load_backbone(name: str, weights: str) -> nn.Module:
    """Builds a classification network with the given weights, frozen and in evaluation mode.

    Args:
        name: torchvision's name of the network, such as `resnet50` or `vgg16`, or `efficientnet_lite0`.
        weights: one of
            torchvision's name of the weights, such as `IMAGENET1K_V1`, whose file is looked for in $UGCVQA_WEIGHTS,
            then in torch hub's checkpoint folder, and downloaded to the first of them otherwise; the file of
            EfficientNet-Lite0 is looked for in these folders, then in the package of the extra `lite`;
            the path of a state dict (.pth or .safetensors), or of a folder that holds torchvision's file;
            `installed:FILE` for a file of that name in the folders that are searched, and nowhere else;
            `random:SEED`, for tests of the mechanics only.

    Returns:
        The network, float32, on the CPU, without gradients.

    Raises:
        ConfigError: if there is no such network, or no such weights.
        WeightsError: if the file is missing, is not the file that was meant, or does not fit the network.
    """
    _check_name(name)
    if weights.startswith("random:"):
        network = _random_network(name, weights.removeprefix("random:"))
    else:
        path = find_weights(name, weights)
        if path is None and last_maps(fx.symbolic_trace(backbone_without_weights(name).eval())) is None:
            raise no_maps(name)  # before a file is fetched that would be of no use
        network = _read_network(name, path or fetch_weights(name, weights))
    return network.eval().requires_grad_(False)


def empty_backbone(name: str) -> nn.Module:
    """Builds a classification network whose weights the caller provides.

    Raises:
        ConfigError: if there is no such network.
    """
    _check_name(name)
    return _build(name)


def backbone_without_weights(name: str) -> nn.Module:
    """Builds the layers of a classification network, whose weights take no memory and hold nothing.

    Raises:
        ConfigError: if there is no such network.
    """
    _check_name(name)
    try:
        with torch.device("meta"):
            return _build(name)
    except NotImplementedError:  # RegNets compute their widths in tensors
        with _weights_dropped():
            return _build(name)


def has_weights(name: str, weights: str) -> bool:
    """Whether the weights that `load_backbone` takes are available without fetching a file."""
    if name not in _network_names():
        return False
    urls = released_files(name)
    return weights not in urls or installed_file(urls[weights].rsplit("/", 1)[-1]) is not None


def weights_checksum(network: nn.Module) -> str:
    """Computes the SHA-256 over names, types, shapes and bytes of all parameters and buffers, in order."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def check_finite(network: nn.Module, where: str) -> None:
    """Checks that no weight or statistic of a network is invalid.

    Args:
        network: any network.
        where: its name or file, for the message.

    Raises:
        WeightsError: if a value is NaN or infinite, or a variance is negative.
    """
    for key, tensor in network.state_dict().items():
        # in parts, as the check makes several arrays of its input's size
        if not all(part.isfinite().all() for part in tensor.flatten().split(_CHECKED_VALUES)):
            raise WeightsError(f"{where}: {key} holds NaN or infinite values; fetch the file again")
        if key.endswith("running_var") and (tensor < 0).any():
            raise WeightsError(f"{where}: {key} holds negative variances; fetch the file again")


def _network_names() -> list[str]:
    from torchvision import models

    return [*models.list_models(module=models), efficientnet_lite.NAME]


def _check_name(name: str) -> None:
    if name not in _network_names():
        raise ConfigError(
            f"backbone {name}: not a classification network of torchvision, such as resnet50 and vgg16, nor "
            f"{efficientnet_lite.NAME}"
        )


def _random_network(name: str, seed: str) -> nn.Module:
    if not re.fullmatch(r"[0-9]{1,18}", seed):
        raise ConfigError(f"weights random:{seed}: a seed is needed, such as random:0")
    network = backbone_without_weights(name)
    if sum(parameter.numel() for parameter in network.parameters()) > _MOST_RANDOM:
        raise ConfigError(f"backbone {name}: too large for random weights, which are for tests; resnet18 will do")
    log.warning("backbone %s has RANDOM weights (seed %s): its features say nothing about quality", name, seed)
    return _build(name, int(seed))


def _read_network(name: str, path: Path) -> nn.Module:
    state = read_state(path)
    if name == efficientnet_lite.NAME:
        state = efficientnet_lite.renamed(state)
    network = backbone_without_weights(name)  # costs nothing: the file's tensors take the places
    if hasattr(network, "transform_input"):
        network.transform_input = True  # type: ignore[assignment]  # the released GoogLeNet and Inception expect another normalisation
    try:
        problems = network.load_state_dict(state, strict=False, assign=True)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise WeightsError(f"{path}: does not fit {name} ({reason}); give the weights of this network") from error
    for kind, keys in (("missing", problems.missing_keys), ("unexpected", problems.unexpected_keys)):
        if keys:
            raise WeightsError(
                f"{path}: does not fit {name} ({len(keys)} tensors {kind}, first {keys[0]}); give the weights of this "
                "network"
            )
    check_finite(network, str(path))
    return network.float()


def _build(name: str, seed: int | None = None) -> nn.Module:
    from torchvision import models

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # advice of a few networks about how they are initialised
        if seed is not None:
            torch.manual_seed(seed)
        if name == efficientnet_lite.NAME:
            return efficientnet_lite.EfficientNetLite0()
        return cast(nn.Module, models.get_model(name, weights=None))


@contextmanager
def _weights_dropped() -> Iterator[None]:
    """Drops the numbers of each layer as soon as it is built."""
    register = nn.Module.register_parameter

    def on_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        register(module, name, None if parameter is None else nn.Parameter(parameter.to("meta")))

    nn.Module.register_parameter = on_meta  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
