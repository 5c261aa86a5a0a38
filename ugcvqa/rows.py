"""The feature rows of the benchmark as data: name -> feature families, in the order of their columns.

Source: Wang, Katsenou and Bull, Table 2. This table is the only place that knows what a row is made of.
"""

from dataclasses import dataclass, field
from typing import Literal

from ugcvqa.errors import ConfigError
from ugcvqa.store import FeatureSpec

ROWS: dict[str, tuple[str, ...]] = {
    "NSS": ("nss",),
}
"""Row name -> families whose video vectors are concatenated in this order."""

DIMENSIONS: dict[str, int] = {"nss": 1836}
"""Family -> length of its video vector."""

VERSIONS: dict[str, int] = {"nss": 1}
"""Family -> code version; raise it whenever the family's numbers change, so that no stored feature is reused."""


@dataclass(frozen=True)
class NSSSettings:
    """Settings of the NSS features.

    Attributes:
        colour: conversion of YUV to RGB: `bt601` as in the paper's features, `rapique` as first published.
        precision: `float32` is fast; `float64` reproduces the published values to rounding.
        min_side: frames whose shorter side is larger are shrunk to this, in pixels.
        short: what a video without a single one-second chunk gives: an `error`, or a vector of `nan`.
    """

    colour: Literal["bt601", "rapique"] = "bt601"
    precision: Literal["float32", "float64"] = "float32"
    min_side: int = 512
    short: Literal["error", "nan"] = "error"


@dataclass(frozen=True)
class FamilySettings:
    """Settings of all feature families.

    Attributes:
        nss: settings of the NSS features.
    """

    nss: NSSSettings = field(default_factory=NSSSettings)

    def spec(self, family: str) -> FeatureSpec:
        """Spec under which a family's features with these settings are stored."""
        return FeatureSpec(family, VERSIONS[family], dict(vars(getattr(self, family))))


def families_of(row: str) -> tuple[str, ...]:
    """Families of a row.

    Raises:
        ConfigError: if there is no such row.
    """
    if row not in ROWS:
        raise ConfigError(f"row {row!r} is unknown; use one of {', '.join(ROWS)}")
    return ROWS[row]
