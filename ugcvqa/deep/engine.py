"""Inference of frozen networks: normalisations folded, fewer passes over memory, and OpenVINO where it is installed.

Results differ from the plain layers by rounding only, unless a reduced precision is asked for.
"""

import copy
import logging
import operator
import sys
import warnings
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ugcvqa.deep.precision import REDUCED, arithmetic
from ugcvqa.deep.signal_stack import kept_signal_stack
from ugcvqa.errors import ConfigError
from ugcvqa.files import error_reason
from ugcvqa.settings.features import Engine, Precision

log = logging.getLogger(__name__)

_TRACED_SIDES = ((96, 192), (128, 320))  # least and most rows and columns of what a network is traced with
_OPENVINO_FORMATS = {"float32": "f32", "tf32": "f32", "bfloat16": "bf16"}
_ONE_PASS_DTYPES = (torch.float32, torch.bfloat16)
# activations that oneDNN computes with a convolution: its name of each, and its parameters
_ONE_PASS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
    nn.Hardswish: ("hardswish", []),
}


def chosen_engine(engine: Engine, precision: Precision = "float32") -> Literal["torch", "openvino"]:
    """Chooses the library that computes networks.

    Args:
        engine: `auto` takes OpenVINO where it is installed, unless there is a GPU, which PyTorch alone uses.
        precision: of the network; OpenVINO has no `float16` on a CPU.

    Raises:
        ConfigError: if OpenVINO is asked for and is not installed, or not in this precision.
    """
    is_usable, is_installed = precision in _OPENVINO_FORMATS, find_spec("openvino") is not None
    if engine == "openvino":
        if not is_installed:
            raise ConfigError("engine openvino: is not installed; pip install openvino, or take engine auto")
        if not is_usable:
            raise ConfigError(f"engine openvino: has no {precision} on a CPU; take bfloat16, or engine torch")
        return "openvino"
    is_taken = engine == "auto" and is_usable and is_installed and not torch.cuda.is_available()
    return "openvino" if is_taken else "torch"


class FastNetwork(nn.Module):
    """A frozen network for inference: the same values to within rounding, faster.

    Args:
        network: what maps frames (n, 3, H, W), or maps, to one tensor, in evaluation mode. It is not changed.
        engine: see `chosen_engine`. OpenVINO computes on a CPU; on other devices PyTorch does in any case.
        precision: of the arithmetic.

    Attributes:
        engine: `torch` or `openvino`.

    Raises:
        ConfigError: see `chosen_engine`.
    """

    def __init__(self, network: nn.Module, engine: Engine = "auto", precision: Precision = "float32") -> None:
        super().__init__()
        self.engine, self.precision, self._is_required = chosen_engine(engine, precision), precision, engine != "auto"
        self.layers = fold_batchnorm(network).eval().requires_grad_(False)
        if self.engine == "torch":
            self._use_torch()
        self._compiled: Any = None

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """Computes the network's output.

        Raises:
            RuntimeError: if the frames are too small for the network.
        """
        if self.engine == "openvino" and x.device.type == "cpu":
            if self._compiled is None:
                self._compile(x)
            if self._compiled is not None:
                return self._openvino(x)
        with arithmetic(self.precision, x.device):
            found: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last))
        return found

    def _use_torch(self) -> None:
        if isinstance(self.layers, fx.GraphModule):
            _fuse(self.layers)
        self.layers.to(memory_format=torch.channels_last)
        if self.precision in REDUCED:
            for module in self.layers.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.to(REDUCED[self.precision])  # once, instead of in every call under autocast

    def _compile(self, x: Tensor) -> None:
        """Translates the network, for any number and size of such frames; where that fails, PyTorch takes over."""
        settings = {
            "INFERENCE_PRECISION_HINT": _OPENVINO_FORMATS[self.precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # several processes would share the first cores
        }
        sides = [min(max(side, least), most) for side, (least, most) in zip(x.shape[2:], _TRACED_SIDES, strict=True)]
        # The converter would report its use to its makers, unasked; it does not where this package cannot be imported.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        try:
            import openvino

            with warnings.catch_warnings(), arithmetic("float32", x.device):
                warnings.simplefilter("ignore")  # of the tracer, about itself
                example = torch.zeros(1, x.shape[1], *sides)
                # traced here, as OpenVINO would have the tracer run the network twice more to check itself
                traced = torch.jit.trace(self.layers, example, check_trace=False, strict=False)
                model = openvino.convert_model(traced, example_input=example)
            with kept_signal_stack():
                self._compiled = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
        except Exception as error:  # a translator of any network may raise anything
            if self._is_required:
                raise ConfigError(f"engine openvino: cannot compute this network ({error_reason(error)})") from error
            log.warning("OpenVINO cannot compute this network, PyTorch does: %s", error_reason(error))
            self.engine = "torch"
            self._use_torch()

    def _openvino(self, x: Tensor) -> Tensor:
        frames = x.float().contiguous().numpy()
        found = torch.from_numpy(self._compiled.infer({0: frames}, share_inputs=True, share_outputs=True)[0]).clone()
        if not found.numel():
            raise RuntimeError(f"nothing is left of frames of {tuple(x.shape)}")
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what OpenVINO compiled, which cannot be copied; it is compiled again."""
        return {**self.__dict__, "_compiled": None}


class FusedConv(nn.Module):
    """A convolution, the addition of a residual if there is one, and an activation, in one pass over memory.

    Args:
        conv: the convolution, whose parameters are shared.
        activation: one of oneDNN's, see `_ONE_PASS`; after an addition ReLU or none.
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.activation = conv, activation or nn.Identity()

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Computes activation(conv(x) + residual).

        Args:
            x: (n, C, H, W).
            residual: (n, K, h, w); it may be overwritten.
        """
        conv = self.conv
        x = x.to(conv.weight.dtype)
        if x.device.type != "cpu" or x.dtype not in _ONE_PASS_DTYPES or not _has_one_pass(x.dtype):
            total = conv(x)
            return cast(Tensor, self.activation(total if residual is None else total.add_(residual)))
        # PyTorch's compiler calls the same operators for these chains; called directly they need no compiler
        place = (x, conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups)
        name, scalars = _ONE_PASS[type(self.activation)]
        if residual is None:
            return cast(Tensor, torch.ops.mkldnn._convolution_pointwise.default(*place, name, scalars, ""))
        one_pass = torch.ops.mkldnn._convolution_pointwise_.binary
        return cast(Tensor, one_pass(residual, *place, "add", 1.0, None if name == "none" else name, scalars, None))


@cache
def _has_one_pass(dtype: torch.dtype = torch.float32) -> bool:
    """Whether oneDNN's one-pass operators, which are private to PyTorch, work in this build and on this CPU."""
    maps, weight = torch.ones(1, 1, 1, 1, dtype=dtype), torch.ones(1, 1, 1, 1, dtype=dtype)
    place = (maps, weight, None, (0, 0), (1, 1), (1, 1), 1)
    try:
        found = torch.ops.mkldnn._convolution_pointwise.default(*place, "relu", [], "")
        total = torch.ops.mkldnn._convolution_pointwise_.binary(found, *place, "add", 1.0, "relu", [], None)
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False
    return float(total) == 2


def fold_batchnorm(network: nn.Module) -> nn.Module:
    """Folds each batch normalisation that follows a convolution into it.

    Running statistics are folded in, which is exact except for rounding (about 1e-6 relative).

    Args:
        network: network in evaluation mode. It is not changed.

    Returns:
        A copy without those normalisations; one that torch.fx cannot trace is copied as it is.
    """
    try:
        folded = copy.deepcopy(fx.symbolic_trace(network))
    except (fx.proxy.TraceError, TypeError, ValueError):  # its path depends on its values
        return copy.deepcopy(network)
    for node in list(folded.graph.nodes):
        source: Any = node.args[0] if node.args else None
        layer, conv = _layer(folded, node), _layer(folded, source)
        if isinstance(layer, nn.Identity | nn.Dropout):
            _replace(node, source)
        elif isinstance(layer, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d) and _is_used_once(folded, source):
            _fold(conv, layer)
            _replace(node, source)
    folded.delete_all_unused_submodules()
    folded.recompile()
    return folded


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    running = (cast(Tensor, norm.running_mean).double(), cast(Tensor, norm.running_var).double())
    affine = (norm.weight.double(), norm.bias.double()) if norm.affine else (None, None)
    bias = None if conv.bias is None else conv.bias.double()
    weight, bias = fuse_conv_bn_weights(conv.weight.double(), bias, *running, norm.eps, *affine)
    conv.weight, conv.bias = (nn.Parameter(value.detach().float(), False) for value in (weight, bias))


def _fuse(network: fx.GraphModule) -> None:
    """Joins convolutions with the sums and activations that follow them."""
    for node in list(network.graph.nodes):
        layer = _layer(network, node)
        if type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            network.add_submodule(f"{node.name}_fused", FusedConv(layer))  # of this call, as its layer may have others
            node.target = f"{node.name}_fused"
        elif type(layer) in _ONE_PASS:
            conv = _open_conv(network, node.args[0])
            if conv is not None and (len(node.args[0].args) == 1 or type(layer) is nn.ReLU):
                conv.activation = cast(nn.Module, layer)
                _replace(node, node.args[0])
        elif node.target in (operator.add, operator.iadd):
            for source, residual in (node.args, node.args[::-1]):
                if _can_take(network, source, residual):
                    source.args = (*source.args, residual)
                    _replace(node, source)
                    break
    network.delete_all_unused_submodules()
    network.recompile()


def _open_conv(network: fx.GraphModule, node: Any) -> FusedConv | None:  # noqa: ANN401 (any argument of a node)
    """The fused convolution that a node calls, if its result goes to one node only and has no activation yet."""
    conv = _layer(network, node)
    is_open = isinstance(conv, FusedConv) and type(conv.activation) is nn.Identity and len(node.users) == 1
    return cast(FusedConv, conv) if is_open else None


def _can_take(network: fx.GraphModule, source: Any, residual: Any) -> bool:  # noqa: ANN401
    """Whether a convolution can add another term, overwriting it: a separate array that nothing needs later."""
    if _open_conv(network, source) is None or len(source.args) > 1:
        return False
    others = [user for user in getattr(residual, "users", ()) if user not in source.users]
    is_own = isinstance(_layer(network, residual), FusedConv | nn.MaxPool2d) and residual < source
    return is_own and all(user < source and isinstance(_layer(network, user), FusedConv) for user in others)


def _layer(network: fx.GraphModule, node: Any) -> nn.Module | None:  # noqa: ANN401
    is_call = isinstance(node, fx.Node) and node.op == "call_module"
    return network.get_submodule(str(node.target)) if is_call else None


def _is_used_once(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a layer is called once, and its result goes to one node."""
    return len(node.users) == 1 and sum(other.target == node.target for other in network.graph.nodes) == 1


def _replace(node: fx.Node, other: fx.Node) -> None:
    node.replace_all_uses_with(other)
    node.graph.erase_node(node)
