"""Captures what layers of a network output, by hooks that are attached and released in one place."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ugcvqa.errors import ConfigError


@contextmanager
def hooked(modules: Iterable[nn.Module], hook: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    """Attaches one forward hook to some modules and releases all of them at the end of the block."""
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Tap:
    """The last output of a tapped layer; empty before the first forward pass."""

    value: Tensor


@contextmanager
def tap(model: nn.Module, layer: str) -> Iterator[Tap]:
    """Captures the output of one layer inside a `with` block.

    The tensor is the layer's own, not a copy: an in-place ReLU that follows the layer shows in it, as it does in
    the public Score-CAM code.

    Args:
        model: the network.
        layer: name of the layer as `named_modules` gives it (`features.29`).

    Yields:
        The tap; `value` is valid inside the block only.

    Raises:
        ConfigError: if the network has no such layer.
    """
    layers = dict(model.named_modules())
    if not layer or layer not in layers:
        raise ConfigError(f"no layer {layer!r} in {type(model).__name__}; its last ones are {list(layers)[-3:]}")
    found = Tap()

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:  # noqa: ANN401 - whatever a layer returns
        found.value = output

    with hooked([layers[layer]], keep):
        yield found
    if hasattr(found, "value"):
        del found.value


def check_layer(network: nn.Module, layer: str, side_px: int) -> None:
    """Checks that a layer outputs maps, by a pass that computes shapes only.

    Args:
        network: maps normalised frames (n, 3, H, W) to class scores, in evaluation mode.
        layer: name of the layer.
        side_px: height and width of the frames.

    Raises:
        ConfigError: if there is no such layer, or it outputs anything but maps (T, K, u, v).
    """
    shapes = {name: tensor.to("meta") for name, tensor in network.state_dict().items()}
    with tap(network, layer) as found:
        torch.func.functional_call(network, shapes, torch.zeros(1, 3, side_px, side_px, device="meta"))
        output = getattr(found, "value", None)
    if not isinstance(output, Tensor) or output.ndim != 4:
        seen = f"puts out {tuple(output.shape)}" if isinstance(output, Tensor) else "puts out nothing"
        raise ConfigError(f"layer {layer!r} {seen}, not maps (T, K, u, v); name one before the global pooling")
