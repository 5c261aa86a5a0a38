"""Plain values and arrays of files that anybody may have written, each checked before it is used.

Every function raises `Unfit` in words that name the value.
"""

import math
import re
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from ugcvqa.errors import CheckpointError

AnyArray = npt.NDArray[Any]
Settings = TypeVar("Settings")


class Unfit(CheckpointError):
    """A value of a file is not what it must be."""


LARGEST = 1e100
"""Largest magnitude of a number in a model: its square is still finite."""

INSTALLED = "installed:"
"""Prefix of the name of a weight file that is looked for only in the user's folders of weights."""

_LONGEST_TEXT = 500  # characters
_SHOWN = 40


def mapping(value: Any, name: str) -> dict[str, Any]:  # noqa: ANN401 (anything JSON knows, here and below)
    """Checks that a value is a mapping from text."""
    if not isinstance(value, dict):
        raise _wrong(name, value, "a mapping")
    return value


def sequence(value: Any, name: str, longest: int) -> list[Any]:  # noqa: ANN401
    """Checks that a value is a list of at most `longest` items."""
    if not isinstance(value, list) or len(value) > longest:
        raise _wrong(name, value, f"a list of up to {longest} items")
    return value


def weights(value: str) -> str:
    """Checks the weights that a model file names: named, random and installed ones are allowed, paths are not."""
    if re.fullmatch(r"random:[0-9]{1,9}|IMAGENET1K_[A-Z0-9_]{1,20}", value):
        return value
    return INSTALLED + PurePath(value.removeprefix(INSTALLED)).name


def text(value: Any, name: str, longest: int = _LONGEST_TEXT) -> str:  # noqa: ANN401
    """Checks that a value is a short text of printable characters."""
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise _wrong(name, value, f"up to {longest} printable characters")
    return value


def number(value: Any, name: str, low: float = -LARGEST, high: float = LARGEST) -> float:  # noqa: ANN401
    """Checks that a value is a finite number within bounds."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        found = float(value) if is_number else math.nan
    except OverflowError:
        found = math.inf
    if not low <= found <= high:
        raise _wrong(name, value, f"a finite number from {low:g} to {high:g}")
    return found


def whole(value: Any, name: str, low: int, high: int) -> int:  # noqa: ANN401
    """Checks that a value is a whole number within bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _wrong(name, value, f"a whole number from {low} to {high}")
    return value


def numbers(
    value: Any,  # noqa: ANN401
    name: str,
    count: int,
    low: float = -LARGEST,
    high: float = LARGEST,
) -> npt.NDArray[np.float64]:
    """Checks that a value is a list of `count` finite numbers, (count,) float64."""
    found = sequence(value, name, count)
    if len(found) != count:
        raise Unfit(f"{name} has {len(found)} numbers in place of {count}")
    return np.array([number(one, name, low, high) for one in found], dtype=np.float64)


def some_numbers(value: Any, name: str, longest: int) -> list[float]:  # noqa: ANN401
    """Checks that a value is a list of at most `longest` finite numbers."""
    return [number(one, name) for one in sequence(value, name, longest)]


def is_bounded(array: AnyArray) -> bool:
    """Whether an array holds numbers, all of them finite and none too large."""
    return array.size > 0 and float(np.abs(array).max()) <= LARGEST


def check_array(name: str, array: AnyArray, shape: Sequence[int], dtype: str) -> None:
    """Checks that an array has a shape and a dtype, and holds finite numbers."""
    if array.shape != tuple(shape) or array.dtype.name != dtype:
        raise Unfit(f"{name} is {array.dtype.name} {array.shape}, not {dtype} {tuple(shape)}")
    if not is_bounded(array):
        raise Unfit(f"{name} holds something other than finite numbers")


def nothing_else(arrays: Mapping[str, AnyArray], known: Collection[str]) -> None:
    """Checks that there are no arrays other than the known ones."""
    if others := sorted(set(arrays) - set(known)):
        raise Unfit(f"the array {shown(others[0])} is not part of such a head")


def settings(cls: type[Settings], value: Any, name: str) -> Settings:  # noqa: ANN401
    """Builds a dataclass of plain values from a mapping, each of its type; what is left out has its default."""
    values, hints = mapping(value, name), get_type_hints(cls)
    known = {one.name for one in fields(cls)}  # type: ignore[arg-type]
    if others := sorted(set(values) - known):
        raise Unfit(f"{name} has a setting {shown(others[0])}, which is unknown here")
    return cls(**{key: _typed(hints[key], one, f"{name}.{key}") for key, one in values.items()})


def _typed(kind: Any, value: Any, name: str) -> Any:  # noqa: ANN401
    """A value of an annotated type."""
    if is_dataclass(kind) and isinstance(kind, type):
        return settings(kind, value, name)
    if get_origin(kind) is Literal:
        if not isinstance(value, str) or value not in get_args(kind):
            raise _wrong(name, value, f"one of {', '.join(map(str, get_args(kind)))}")
        return value
    if get_origin(kind) in (Union, types.UnionType):
        inner = next(one for one in get_args(kind) if one is not type(None))
        return None if value is None else _typed(inner, value, name)
    if get_origin(kind) is tuple:
        return tuple(_typed(get_args(kind)[0], one, name) for one in sequence(value, name, 1000))
    if kind is bool:
        if not isinstance(value, bool):
            raise _wrong(name, value, "true or false")
        return value
    if kind is int:
        return whole(value, name, -1, 2**31)
    return number(value, name) if kind is float else text(value, name)


def _wrong(name: str, value: Any, wanted: str) -> Unfit:  # noqa: ANN401
    return Unfit(f"{name} is {shown(value)}, not {wanted}")


def shown(value: Any) -> str:  # noqa: ANN401
    """A value as a message shows it, cut short and on one line."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else f"a list of {len(value)} items"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**15:
        return "a huge number"
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + ".."
