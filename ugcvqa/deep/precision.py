"""The arithmetic of networks: which number format a block of code computes in, on any device."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from ugcvqa.devices import float32_products
from ugcvqa.settings.features import AskedPrecision, Precision

log = logging.getLogger(__name__)

REDUCED = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""Formats of half the bytes, by name."""

_ON_A_CPU = {
    "float16": "precision float16 is several times slower than float32 on most CPUs; use bfloat16 or float32 there",
    "tf32": "precision tf32 computes in float32 on a CPU; use bfloat16 for speed",
}


def exact_unless_asked(precision: AskedPrecision) -> Precision:
    """The arithmetic that is asked for; float32 for an `auto` that nobody has settled."""
    return "float32" if precision == "auto" else precision


@contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Sets the arithmetic of a block: a `Precision`; `float32` means that TF32 is off on every unit.

    Warns once of a format that gains nothing on a CPU.
    """
    if device.type == "cpu" and precision in _ON_A_CPU:
        _warn(precision)
    reduced = REDUCED.get(precision)
    products = float32_products("tf32" if precision == "tf32" else "ieee")
    with products, torch.autocast(device.type, reduced, enabled=reduced is not None):
        yield


@cache
def _warn(precision: str) -> None:
    log.warning("%s", _ON_A_CPU[precision])
