"""Extraction of one video at each call, for workers elsewhere; importing it imports neither PyTorch nor Lightning."""

from collections.abc import Mapping, Sequence

from ugcvqa.features.extraction import VideoResult, extract_features
from ugcvqa.features.families import build_families
from ugcvqa.features.family import Family
from ugcvqa.features.store import FeatureStore
from ugcvqa.features.stream import ClipStream, Task
from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.features import FamilySettings


class Extraction:
    """Computes what the store lacks of one video at each call; networks are built where it is first called.

    Args:
        names: feature families.
        settings: their settings.
        store: looked into, not written.
        limits: bounds on what is decoded.
    """

    def __init__(
        self, names: Sequence[str], settings: FamilySettings, store: FeatureStore, limits: DecodeLimits
    ) -> None:
        self._arguments = (tuple(names), settings, store, limits)
        self._families: Mapping[str, Family] = {}

    def __reduce__(self) -> tuple[type["Extraction"], tuple[Sequence[str], FamilySettings, FeatureStore, DecodeLimits]]:
        return Extraction, self._arguments

    def __call__(self, task: Task) -> VideoResult:
        """The features of a video, or the reason why there are none."""
        names, settings, store, limits = self._arguments
        self._families = self._families or build_families(names, settings)
        (result,) = extract_features(ClipStream([task], self._families, store, limits), self._families)
        return result
