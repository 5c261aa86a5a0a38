"""The feature rows of the benchmark as data: name -> feature families, in the order of their columns.

Source: Wang, Katsenou and Bull, Table 2. This table is the only place that knows what a row is made of.
"""

from dataclasses import asdict

from ugcvqa.errors import ConfigError
from ugcvqa.settings import FamilySettings
from ugcvqa.store import FeatureSpec

ROWS: dict[str, tuple[str, ...]] = {
    "NSS": ("nss",),
}
"""Row name -> families whose video vectors are concatenated in this order."""

DIMENSIONS: dict[str, int] = {"nss": 1836}
"""Family -> length of its video vector."""

VERSIONS: dict[str, int] = {"nss": 1}
"""Family -> code version; raise it whenever the family's numbers change, so that no stored feature is reused."""


def spec_of(family: str, settings: FamilySettings) -> FeatureSpec:
    """Spec under which a family's features with these settings are stored."""
    return FeatureSpec(family, VERSIONS[family], asdict(getattr(settings, family)))


def families_of(row: str) -> tuple[str, ...]:
    """Families of a row.

    Raises:
        ConfigError: if there is no such row.
    """
    if row not in ROWS:
        raise ConfigError(f"row {row!r} is unknown; use one of {', '.join(ROWS)}")
    return ROWS[row]
