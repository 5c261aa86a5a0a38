"""Builds the feature families that a row needs."""

from ugcvqa.features.family import Family
from ugcvqa.features.light_families import BUILDERS
from ugcvqa.settings.features import FamilySettings


def build_families(names: tuple[str, ...], settings: FamilySettings) -> dict[str, Family]:
    """Builds the named families, networks in evaluation mode; networks in common are built once.

    Torch is imported only where a family needs it.

    Raises:
        WeightsError: if weights are missing or wrong.
        ConfigError: if a setting cannot be used.
    """
    networks: dict[str, Family] = {}
    if others := tuple(name for name in names if name not in BUILDERS):
        from ugcvqa.features.network_families import build_networks

        networks.update(build_networks(others, settings))
    return {name: networks[name] if name in networks else BUILDERS[name](settings) for name in names}
