"""Frozen networks of torchvision, and EfficientNet-Lite0: the only place that builds them and reads weight files."""

import hashlib
import logging
import math
import os
import re
import shutil
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

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
_PROBE_SIDE_PX = 96
_MOST_RANDOM = 200_000_000  # weights of a network that are drawn at random: more take minutes
_CHECKED_VALUES = 2**20


def load_backbone(name: str, weights: str) -> nn.Module:
    """Builds a classification network with the given weights, frozen and in evaluation mode.

    Args:
        name: torchvision's name of the network, such as `resnet50` or `vgg16`, or `efficientnet_lite0`.
        weights: one of
            torchvision's name of the weights, such as `IMAGENET1K_V1`, whose file is looked for in $UGCVQA_WEIGHTS,
            then in torch hub's checkpoint folder, and downloaded to the first of them otherwise; that of
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
    if name not in _network_names():
        raise _unknown(name)
    if weights.startswith("random:"):
        network = _random_network(name, weights.removeprefix("random:"))
    else:
        network = _read_network(name, _weight_file(name, weights))
    return network.eval().requires_grad_(False)


def empty_backbone(name: str) -> nn.Module:
    """Builds a classification network whose weights a caller brings along.

    Raises:
        ConfigError: if there is no such network.
    """
    if name not in _network_names():
        raise _unknown(name)
    with torch.random.fork_rng(devices=[]), _quiet_construction():
        return _build(name)


def backbone_without_weights(name: str) -> nn.Module:
    """Builds the layers of a classification network, whose weights take no memory and hold nothing.

    Raises:
        ConfigError: if there is no such network.
    """
    if name not in _network_names():
        raise _unknown(name)
    with torch.random.fork_rng(devices=[]), _quiet_construction():
        try:
            with torch.device("meta"):
                return _build(name)
        except NotImplementedError:  # RegNets compute their widths in tensors
            with _weights_dropped():
                return _build(name)


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


def weights_checksum(network: nn.Module) -> str:
    """Computes the SHA-256 over names, types, shapes and bytes of all parameters and buffers, in order."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def check_finite(network: nn.Module, where: str) -> None:
    """Checks that no weight or statistic of a network is broken.

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


def features_of(network: nn.Module, name: str) -> tuple[fx.GraphModule, int]:
    """Cuts a network before its global pooling.

    Args:
        network: classification network of torchvision, in evaluation mode. It is not changed.
        name: its name, for messages.

    Returns:
        The part that maps normalised frames (T, 3, H, W) to maps (T, C, h, w), with the same layers, and C.

    Raises:
        ConfigError: if the network has no such part, or takes one frame size only.
        WeightsError: if a test frame's maps are not finite.
    """
    trunk = fx.symbolic_trace(network)
    maps = _last_maps(trunk)
    if maps is not None:
        _end_with(trunk, maps)
        width = _width(trunk, name)
        if width:
            return trunk, width
    raise _no_maps(name)


def split_at_maps(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Splits a network before its global pooling, with the same layers.

    Returns:
        What maps frames (T, 3, H, W) to maps (T, C, h, w), and what maps these to the network's output; the network
        itself and nothing where it cannot be split.
    """
    try:
        trunk, head = (fx.symbolic_trace(network) for _ in range(2))
    except (fx.proxy.TraceError, TypeError, ValueError):  # its path depends on its values
        return network, nn.Identity()
    ends, starts = _last_maps(trunk), _last_maps(head)
    frames = next(iter(head.graph.nodes))
    if ends is None or starts is None or starts is frames:
        return network, nn.Identity()
    with head.graph.inserting_before(starts):
        starts.replace_all_uses_with(head.graph.placeholder("maps"))
    head.graph.eliminate_dead_code()
    if frames.users:
        return network, nn.Identity()
    head.graph.erase_node(frames)
    head.delete_all_unused_submodules()
    head.recompile()
    _end_with(trunk, ends)
    return trunk, head


def _end_with(graph_module: fx.GraphModule, maps: fx.Node) -> None:
    """Makes a network return these maps, and drops what it does not need for them."""
    next(node for node in graph_module.graph.nodes if node.op == "output").args = (maps,)
    graph_module.graph.eliminate_dead_code()
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()


def last_maps_layer(network: nn.Module, name: str) -> str:
    """Finds the layer whose output Score-CAM looks at if none is named.

    Args:
        network: classification network of torchvision.
        name: its name, for messages.

    Returns:
        Name of the last module before the global pooling that is no maximum itself: `features.29` of VGG-16, as in
        the paper, `layer4.1.relu` of ResNet-18.

    Raises:
        ConfigError: if the network has no such layer.
    """
    graph_module = fx.symbolic_trace(network)
    node = _last_maps(graph_module)
    while isinstance(node, fx.Node):
        modules = list(node.meta.get("nn_module_stack", {}))
        if node.op == "call_module" and not isinstance(network.get_submodule(str(node.target)), nn.MaxPool2d):
            return str(node.target)
        if node.op == "call_function" and modules:
            return str(modules[-1])  # a sum or a concatenation that ends a block
        node = next(iter(node.all_input_nodes), None)
    raise _no_maps(name)


def _last_maps(graph_module: fx.GraphModule) -> fx.Node | None:
    """What the global pooling of a classifier takes, None if there is none."""
    nodes = list(graph_module.graph.nodes)
    pooling = next((node for node in reversed(nodes) if _is_global_pooling(graph_module, node)), None)
    if pooling is not None and str(pooling.target).startswith("classifier"):
        # SqueezeNet pools the maps of its classes; its features end before the classifier.
        pooling = next((node for node in nodes if str(node.target).startswith("classifier")), None)
    return None if pooling is None else cast(fx.Node, pooling.args[0])


def _no_maps(name: str) -> ConfigError:
    return ConfigError(
        f"backbone {name}: has no convolutional maps for frames of any size before a global pooling; networks such as "
        "resnet, resnext, vgg, densenet, mobilenet, efficientnet, regnet and convnext have"
    )


def _network_names() -> list[str]:
    from torchvision import models

    return [*models.list_models(module=models), efficientnet_lite.NAME]


def _unknown(name: str) -> ConfigError:
    return ConfigError(
        f"backbone {name}: not a classification network of torchvision, such as resnet50 and vgg16, nor "
        f"{efficientnet_lite.NAME}"
    )


def _released_files(name: str) -> dict[str, str]:
    """Names of a network's released weights -> where their files are fetched, or the file's name alone."""
    from torchvision import models

    if name == efficientnet_lite.NAME:
        return {"IMAGENET1K_V1": efficientnet_lite.FILE}
    return {member.name: str(member.url) for member in models.get_model_weights(name)}


def _random_network(name: str, seed: str) -> nn.Module:
    if not re.fullmatch(r"[0-9]{1,18}", seed):
        raise ConfigError(f"weights random:{seed}: a seed is needed, such as random:0")
    network = backbone_without_weights(name)
    if sum(parameter.numel() for parameter in network.parameters()) > _MOST_RANDOM:
        raise ConfigError(f"backbone {name}: too large for random weights, which are for tests; resnet18 will do")
    log.warning("backbone %s has RANDOM weights (seed %s): its features say nothing about quality", name, seed)
    with torch.random.fork_rng(devices=[]), _quiet_construction():
        torch.manual_seed(int(seed))
        return _build(name)


def _build(name: str) -> nn.Module:
    from torchvision import models

    if name == efficientnet_lite.NAME:
        return efficientnet_lite.EfficientNetLite0()
    return cast(nn.Module, models.get_model(name, weights=None))


@contextmanager
def _quiet_construction() -> Iterator[None]:
    """Hides the advice of a few networks about how they are initialised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _read_network(name: str, path: Path) -> nn.Module:
    state = _read_state(path)
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


def _read_state(path: Path) -> Mapping[str, Any]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle or archive can raise nearly anything
        # the library's own text goes on for long and advises to load the file unsafely
        reason = " ".join(str(error).split(". ")[0].split()) or "it ends too early"
        raise WeightsError(f"{path}: cannot be read as weights ({reason}); fetch the file again") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: holds no plain state dict (names and tensors); save model.state_dict()")
    if any(_OLD_DENSENET_KEY.search(key) for key in state):
        return {_OLD_DENSENET_KEY.sub(r"\1\2.", key): value for key, value in state.items()}
    return state


def _weight_file(name: str, weights: str) -> Path:
    """Finds, or fetches, the file that `weights` means, and checks it where its checksum is known."""
    known = _released_files(name)
    files = {weight_name: url.rsplit("/", 1)[-1] for weight_name, url in known.items()}
    if weights in known:
        return _named_weight_file(name, weights, known[weights])
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


def _installed_weights(name: str, file: str, released: Sequence[str]) -> Path:
    """A file in the folders that are searched; a name that is none of a weight file means the released ones."""
    is_file = Path(file).name == file and Path(file).suffix in _WEIGHT_SUFFIXES
    for candidate in [file] if is_file else released:
        if (path := installed_file(candidate)) is not None:
            return path
    wanted = file if is_file else " or ".join(released)
    raise WeightsError(
        f"{name}: {wanted} is in none of {', '.join(map(str, weight_folders()))}; a model file opens weights from "
        "there only: put it there, or set UGCVQA_WEIGHTS to its folder"
    )


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


def has_weights(name: str, weights: str) -> bool:
    """Whether the weights that `load_backbone` takes can be had without fetching a file."""
    if name not in _network_names():
        return False
    urls = _released_files(name)
    return weights not in urls or installed_file(urls[weights].rsplit("/", 1)[-1]) is not None


def _named_weight_file(name: str, weights: str, url: str) -> Path:
    file = url.rsplit("/", 1)[-1]
    installed = installed_file(file)
    if installed is not None:
        return installed
    if name == efficientnet_lite.NAME:
        raise WeightsError(
            f"{name} needs its weights {weights}: {file} (SHA-256 {_expected_text(file)}) is not installed; "
            f"{efficientnet_lite.HOW_TO_GET}, or put it into {weight_folders()[0]}"
        )
    if _last_maps(fx.symbolic_trace(backbone_without_weights(name).eval())) is None:
        raise _no_maps(name)  # before a file is asked for that would be of no use
    folders = weight_folders()
    target = folders[0] / file
    try:
        _download(url, target)
    except OSError as error:
        raise WeightsError(
            f"{name} needs its weights {weights}: {file} (SHA-256 {_expected_text(file)}) is in none of "
            f"{', '.join(map(str, folders))} and cannot be fetched ({error_reason(error)}); put it into {folders[0]}, "
            f"from {url}"
        ) from error
    return _checked(target)


def _download(url: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(target.parent)
    try:
        with urllib.request.urlopen(url, timeout=_DOWNLOAD_TIMEOUT_S) as response, temporary.open("xb") as out:
            log.info("fetching %s to %s", url, target)  # not before: offline, one line must do
            shutil.copyfileobj(response, out)
        _check(temporary, target.name)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _checked(path: Path) -> Path:
    _check(path, path.name)
    return path


def _check(path: Path, file: str) -> None:
    """Compares a file with the checksum of torchvision's file of that name, if it is one."""
    expected = _expected_sha256(file)
    if not expected:
        return
    try:
        actual = file_sha256(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not actual.startswith(expected):
        mend = "delete it and fetch it again"
        if file == efficientnet_lite.FILE:
            mend = f"delete it and {efficientnet_lite.HOW_TO_GET}"
        raise WeightsError(f"{path}: SHA-256 is {actual}, that of {file} {_expected_text(file)}; {mend}")


def _expected_sha256(file: str) -> str:
    match = _CHECKSUM_IN_NAME.search(file)
    return _SHA256.get(file) or (match.group(1) if match else "")


def _expected_text(file: str) -> str:
    expected = _expected_sha256(file)
    return f"is {expected}" if len(expected) == 64 else f"begins with {expected}"


def _is_global_pooling(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(graph_module.get_submodule(str(node.target)), nn.AdaptiveAvgPool2d)
    if node.op == "call_function":
        return node.target is nn.functional.adaptive_avg_pool2d
    return node.op == "call_method" and node.target == "mean" and node.args[1:] == ([2, 3],)


def _width(trunk: nn.Module, name: str) -> int:
    """Channels of a textured frame's maps; 0 if the trunk gives something else than maps of two spatial axes."""
    shape = (1, 3, _PROBE_SIDE_PX, _PROBE_SIDE_PX + 32)
    frame = 2 * torch.arange(math.prod(shape)).cos().view(shape)
    try:
        with torch.no_grad():
            maps = trunk(frame)
    except (RuntimeError, ValueError, AssertionError):  # a network for one frame size only
        return 0
    # here, in plain layers: an operator that joins ReLU to a convolution turns NaN into 0
    if not torch.isfinite(maps).all():
        raise WeightsError(f"{name}: a test frame's maps are not finite; the weights are broken, fetch the file again")
    return int(maps.shape[1]) if maps.ndim == 4 else 0
