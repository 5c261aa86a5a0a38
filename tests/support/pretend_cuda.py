"""A CUDA device without a GPU: tensors that say they are on cuda:0, compute on the CPU, and refuse what CUDA refuses.

Unlike PyTorch's fake tensors they keep values, so code whose path depends on values runs to its end, and numbers can be
compared. Operations that mix devices, `.numpy()`, and oneDNN's private operators are errors. Kernels, copies to the
device, and places where the host would wait for it are counted.

    with PretendCuda() as gpu:
        y = gpu.module(network)(gpu.tensor(frames))
    assert gpu.waits.total() == 0
"""

import sys
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import inference_mode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("cuda", 0)
MEMORY_BYTES = 80 << 30
VIEWS = frozenset(
    (
        *("view", "_unsafe_view", "reshape", "permute", "transpose", "t", "slice"),
        *("select", "expand", "as_strided", "unsqueeze", "squeeze", "split", "diagonal"),
        *("split_with_sizes", "unbind", "detach", "alias", "unfold", "narrow", "_reshape_alias"),
        *("lift_fresh", "chunk", "movedim", "view_as_real", "empty", "new_empty", "empty_strided"),
        *("new_empty_strided", "empty_like"),
    )
)
INDEXING = frozenset(("index", "index_put", "index_put_", "_index_put_impl_"))
WAITING = frozenset(("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2"))


class OnGpu(Tensor):
    """A tensor that is said to be on the device."""

    @staticmethod
    def __new__(cls, inner, requires_grad=False):
        shape = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        more = {"layout": inner.layout, "device": PretendCuda.active.inside, "requires_grad": requires_grad}
        self = Tensor._make_wrapper_subclass(cls, inner.shape, **shape, **more)
        self.inner = inner
        return self

    device = property(lambda _: DEVICE)

    def __repr__(self):
        return f"OnGpu({tuple(self.shape)}, {self.dtype})"

    def numpy(self, *_, **__):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    __array__ = numpy

    def __getitem__(self, key):
        if isinstance(key, list):  # becomes an index on the device
            PretendCuda.active.copies[place()] += 1
            key = OnGpu(torch.as_tensor(key))
        return super().__getitem__(key)

    def tolist(self):
        return self.cpu().tolist()

    def data_ptr(self):
        if sys._getframe(1).f_code.co_filename.endswith("torch/_tensor.py"):
            return 0  # copying a module asks whether there is memory
        raise RuntimeError("host code asks for the address of a CUDA tensor")

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return PretendCuda.active.run(func, args, kwargs or {})


def place():
    """Where this package, or Lightning, called what is counted."""
    frame = sys._getframe(2)
    while frame:
        name = frame.f_code.co_filename
        if "/ugcvqa/" in name or "/lightning/" in name:
            return f"{name.rpartition('/ugcvqa/')[2]}:{frame.f_code.co_name}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


@contextmanager
def autocast(kind, dtype=None, enabled=True):
    """PyTorch's own, which turns itself off where it sees no GPU."""
    before = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    torch.set_autocast_enabled(kind, enabled)
    torch.set_autocast_dtype(kind, dtype or before[1])
    try:
        yield
    finally:
        torch.clear_autocast_cache()
        torch.set_autocast_enabled(kind, before[0])
        torch.set_autocast_dtype(kind, before[1])


class PretendCuda(TorchDispatchMode):
    """In this context there is such a device.

    Args:
        has_backward: autograd works too, whose threads PyTorch would refuse to a device that is not there: below
            Python the tensors are a CPU's, so that `cpu()` and autocast do nothing to them, and new ones are taken to
            be on the device, wherever they were made.

    Attributes:
        kernels: place -> kernels that it launched.
        waits: place -> times that the host waited.
        copies: place -> copies to the device for which the host waited.
        doubles: float64 numbers that were computed.
    """

    active = None

    def __init__(self, has_backward=False):
        super().__init__()
        self.inside = torch.device("cpu") if has_backward else DEVICE
        self.reset()

    def reset(self):
        """Counts anew: what is done once for all videos is done."""
        self.kernels, self.waits, self.copies, self.doubles = Counter(), Counter(), Counter(), 0

    def tensor(self, values):
        return values if isinstance(values, OnGpu) else OnGpu(values.detach())

    def module(self, module):
        """Moves a module."""
        for part in module.modules():
            for name, value in part._parameters.items():
                if value is not None:
                    part._parameters[name] = nn.Parameter(self.tensor(value), requires_grad=value.requires_grad)
            for name, value in part._buffers.items():
                if value is not None:
                    part._buffers[name] = self.tensor(value)
        return module

    def __enter__(self):
        PretendCuda.active = self
        make = torch.tensor

        def tensor(data, *, device=None, **more):
            if device is None or torch.device(device).type != "cuda":
                return make(data, device=device, **more)
            self.copies[place()] += 1
            return OnGpu(make(data, **more))

        def properties(*_):
            return SimpleNamespace(total_memory=MEMORY_BYTES, name="pretended")

        def enter(mode):
            mode.before = torch.is_grad_enabled()
            torch.set_grad_enabled(mode.before and not mode.mode)

        def leave(mode, *_):
            torch.set_grad_enabled(mode.before)

        patches = [
            (torch, "tensor", tensor),
            (torch, "autocast", autocast),
            (torch.cuda, "get_device_properties", properties),
            (torch.cuda, "_lazy_init", lambda: None),
            (torch.backends.cudnn, "enabled", False),  # the CPU has none of its operators
            (inference_mode, "__enter__", enter),  # tensors of it have no versions, which these need
            (inference_mode, "__exit__", leave),
        ]
        self._before = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
        for owner, name, value in patches:
            setattr(owner, name, value)
        # Autograd would start a thread for the device, after which no fork could train, unless it has started before.
        torch.zeros(1, requires_grad=True).sum().backward()
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # else a module's `to` changes the shell only
        torch._C._ensureCUDADeviceGuardSet()  # one that does nothing, as fake tensors use
        return super().__enter__()

    def __exit__(self, *error):
        torch.__future__.set_overwrite_module_params_on_conversion(False)
        for owner, name, value in self._before:
            setattr(owner, name, value)
        try:
            return super().__exit__(*error)
        finally:
            PretendCuda.active = None

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.run(func, args, kwargs or {})

    def run(self, func, args, kwargs):
        flat, _ = tree_flatten((args, kwargs))
        ours = [value for value in flat if isinstance(value, OnGpu)]
        device = kwargs.get("device")
        goes_there = device is not None and torch.device(device).type in ("cuda", self.inside.type)
        if not ours and not goes_there:
            return func(*args, **kwargs)
        name, at = func._schema.name.split("::")[1], place()
        others = [value for value in flat if isinstance(value, Tensor) and not isinstance(value, OnGpu)]
        self._check(name, args, ours, others, at)
        self._count_transfers(name, args, kwargs, ours, others, at)
        if name == "_to_copy" and ours and device is not None and torch.device(device).type == "cpu":
            return func(ours[0].inner, **kwargs)
        inner_args, inner = tree_map(self._inner, args), tree_map(self._inner, kwargs)
        if inner.get("device") is not None:
            inner["device"] = torch.device("cpu")
        if name == "view":  # kernels of the two kinds of device may lay their results out differently
            func = torch.ops.aten.reshape.default
        out = func(*inner_args, **inner)
        if name.rstrip("_") not in VIEWS and name not in VIEWS:
            self.kernels[at] += 1
            results = [value for value in tree_flatten(out)[0] if isinstance(value, Tensor)]
            self.doubles += sum(value.numel() for value in results if value.dtype == torch.float64)
        if name == "copy_" and not isinstance(args[0], OnGpu):
            return args[0]
        known = {id(value.inner): value for value in ours}  # what was changed in place stays the same tensor

        def there(value):
            if not isinstance(value, Tensor):
                return value
            return known[id(value)] if id(value) in known else OnGpu(value)

        return tree_map(there, out)

    @staticmethod
    def _inner(value):
        if isinstance(value, OnGpu):
            return value.inner
        return torch.device("cpu") if isinstance(value, torch.device) else value

    def _check(self, name, args, ours, others, at):
        if "mkldnn" in name:
            raise RuntimeError(f"oneDNN's operator {name} on a CUDA tensor at {at}")
        bad = [value for value in others if value.ndim > 0]
        if not ours or not bad or name in ("_to_copy", "copy_", "copy"):
            return
        if name not in INDEXING or not isinstance(args[0], OnGpu):
            shapes = [tuple(value.shape) for value in bad]
            raise RuntimeError(f"all tensors are to be on one device, but {name} finds {shapes} on the CPU at {at}")
        self.copies[at] += len(bad)

    def _count_transfers(self, name, args, kwargs, ours, others, at):
        keys = args[1] if name in INDEXING else ()
        is_mask = any(isinstance(key, Tensor) and key.dtype == torch.bool for key in keys)
        to_host = name == "_to_copy" and ours and kwargs.get("device") == torch.device("cpu")
        to_host = to_host or (name == "copy_" and not isinstance(args[0], OnGpu))
        if name in WAITING or is_mask or to_host:
            self.waits[at] += 1
        from_host = (name == "_to_copy" and not ours) or (name == "copy_" and others and isinstance(args[0], OnGpu))
        if from_host and not kwargs.get("non_blocking") and not args[2:]:
            self.copies[at] += 1
