"""Lightning data modules: videos with labels, ids and times, served as the module at hand needs them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ugcvqa.datamodules.base import QualityDataModule
    from ugcvqa.datamodules.videos import (
        CombinedDataModule,
        DemoDataModule,
        KoNViD1kDataModule,
        VideoDataModule,
        YouTubeUGCDataModule,
    )

__all__ = [
    "CombinedDataModule",
    "DemoDataModule",
    "KoNViD1kDataModule",
    "QualityDataModule",
    "VideoDataModule",
    "YouTubeUGCDataModule",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (classes are imported when first used)
    """Imports a class on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "base" if name == "QualityDataModule" else "videos"
    return getattr(import_module(f"{__name__}.{module}"), name)
