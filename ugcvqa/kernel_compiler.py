"""Translates a kernel to machine code with Numba. Only this module knows Numba, and only a first run imports it."""

import logging
from collections.abc import Callable, Sequence, Set
from functools import cache
from types import FunctionType
from typing import Any

import numba
import numpy as np
from llvmlite import binding

log = logging.getLogger(__name__)

# Sums may be reordered and products fused, as vector code needs; NaN and infinities keep their meaning.
_OPTIONS = {"fastmath": {"reassoc", "contract", "nsz", "arcp"}, "error_model": "numpy"}


def compiled(
    function: Callable[..., None],
    parts: Set[Callable[..., Any]],
    kinds: Sequence[tuple[str, int]],
    name: str,
    target: Any,  # noqa: ANN401 (LLVM's own type)
    known: Set[str],
) -> bytes:
    """Compiles a function to an object file that defines `name`, by Numba's calling convention.

    In C: `int32_t name(void **result, void **error, ...)`, followed by the whole numbers and, for each array, its
    address and the lengths of its sides.

    Args:
        function: see `kernels.kernel`.
        parts: the functions that become parts of their callers.
        kinds: for each argument the code of its data type and its number of dimensions, see `kernels.Kinds`.
        name: the name to define.
        target: LLVM's target machine.
        known: names of the machine code outside that it may call.

    Raises:
        RuntimeError: if the function makes arrays, or calls machine code that is not a part of it.
    """
    _announce()
    parameters, arguments, types = [], [], []
    for place, (dtype, n_dimensions) in enumerate(kinds):
        sides = [f"n{place}_{dimension}" for dimension in range(n_dimensions)]
        parameters += [f"x{place}", *sides]
        arguments.append(f"carray(x{place}, ({', '.join(sides)},))" if sides else f"x{place}")
        types.append(numba.types.CPointer(numba.from_dtype(np.dtype(dtype))) if sides else numba.types.intp)
        types += [numba.types.intp] * n_dimensions
    names = {"carray": numba.carray, "function": _for_numba(function, parts)}
    entry = eval(f"lambda {', '.join(parameters)}: function({', '.join(arguments)})", names)
    translated = numba.njit(entry, no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)
    translated.compile(tuple(types))
    text = translated.inspect_llvm(tuple(types))
    module = binding.parse_assembly(text)
    defined = [each for each in module.functions if not (each.is_declaration or each.name.startswith("NRT_"))]
    outside = {each.name for each in module.functions if each.is_declaration and not each.name.startswith("llvm.")}
    called = {each for each in outside if text.count(f"@{each}(") > 1}
    if len(defined) != 1 or not called <= known:
        raise RuntimeError(f"{name} calls {sorted(called | {each.name for each in defined[1:]})}")
    defined[0].name = name
    code: bytes = target.emit_object(module)
    return code


def _for_numba(function: Any, parts: Set[Callable[..., Any]]) -> Any:  # noqa: ANN401
    """A copy of a function, and of what it calls, that Numba compiles into its caller."""
    called = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    ours = {
        name: _for_numba(value, parts)
        for name, value in called.items()
        if isinstance(value, FunctionType) and value in parts
    }
    copy = FunctionType(function.__code__, {**function.__globals__, **ours}, function.__name__)
    return numba.njit(copy, forceinline=True, **_OPTIONS)


@cache
def _announce() -> None:
    """Logs once why the first command takes some seconds more."""
    log.warning("compiling the NSS kernels for this processor (about 20 s, once)")
