"""Heads that map video vectors, or the frames of a video, to a score."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ugcvqa.heads.estimators import GPHead, Head, SparseGPHead, SVRHead

__all__ = ["GPHead", "Head", "SVRHead", "SparseGPHead"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (classes are imported when first used)
    """Imports a class on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.estimators"), name)
