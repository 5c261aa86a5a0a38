"""Where the maps of a classification network end and its head begins, found in its graph."""

import math
from typing import cast

import torch
from torch import fx, nn

from ugcvqa.errors import ConfigError, WeightsError

_PROBE_SIDE_PX = 96


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
    maps = last_maps(trunk)
    if maps is not None:
        _end_with(trunk, maps)
        width = _width(trunk, name)
        if width:
            return trunk, width
    raise no_maps(name)


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
    ends, starts = last_maps(trunk), last_maps(head)
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


def last_maps_layer(network: nn.Module, name: str) -> str:
    """Finds the layer whose output Score-CAM looks at if none is named.

    Args:
        network: classification network of torchvision.
        name: its name, for messages.

    Returns:
        Name of the last module before the global pooling that is not a maximum itself: `features.29` of VGG-16, as in
        the paper, `layer4.1.relu` of ResNet-18.

    Raises:
        ConfigError: if the network has no such layer.
    """
    graph_module = fx.symbolic_trace(network)
    node = last_maps(graph_module)
    while isinstance(node, fx.Node):
        modules = list(node.meta.get("nn_module_stack", {}))
        if node.op == "call_module" and not isinstance(network.get_submodule(str(node.target)), nn.MaxPool2d):
            return str(node.target)
        if node.op == "call_function" and modules:
            return str(modules[-1])  # a sum or a concatenation that ends a block
        node = next(iter(node.all_input_nodes), None)
    raise no_maps(name)


def last_maps(graph_module: fx.GraphModule) -> fx.Node | None:
    """What the global pooling of a classifier takes, None if there is none."""
    nodes = list(graph_module.graph.nodes)
    pooling = next((node for node in reversed(nodes) if _is_global_pooling(graph_module, node)), None)
    if pooling is not None and str(pooling.target).startswith("classifier"):
        # SqueezeNet pools the maps of its classes; its features end before the classifier.
        pooling = next((node for node in nodes if str(node.target).startswith("classifier")), None)
    return None if pooling is None else cast(fx.Node, pooling.args[0])


def _is_global_pooling(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(graph_module.get_submodule(str(node.target)), nn.AdaptiveAvgPool2d)
    if node.op == "call_function":
        return node.target is nn.functional.adaptive_avg_pool2d
    return node.op == "call_method" and node.target == "mean" and node.args[1:] == ([2, 3],)


def _end_with(graph_module: fx.GraphModule, maps: fx.Node) -> None:
    """Makes a network return these maps, and drops what it does not need for them."""
    next(node for node in graph_module.graph.nodes if node.op == "output").args = (maps,)
    graph_module.graph.eliminate_dead_code()
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()


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


def no_maps(name: str) -> ConfigError:
    """The error of a network that has no such maps."""
    return ConfigError(
        f"backbone {name}: has no convolutional maps for frames of any size before a global pooling; networks such as "
        "resnet, resnext, vgg, densenet, mobilenet, efficientnet, regnet and convnext have"
    )
