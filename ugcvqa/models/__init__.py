"""Lightning modules: frozen extractors of features, and regressors that are trained."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ugcvqa.models.extractor import Extractor, VideoFeatures
    from ugcvqa.models.extractors import (
        CNNExtractor,
        NSSExtractor,
        SaliencyExtractor,
        UVQExtractor,
        VSFACNNExtractor,
        VSFACNNSaliencyExtractor,
    )
    from ugcvqa.models.regressor import Prediction, QualityRegressor
    from ugcvqa.models.regressors import EndToEndRegressor, GRURegressor

_MODULES = {
    "extractor": ("Extractor", "VideoFeatures"),
    "extractors": (
        *("NSSExtractor", "CNNExtractor", "VSFACNNExtractor", "SaliencyExtractor", "VSFACNNSaliencyExtractor"),
        "UVQExtractor",
    ),
    "regressor": ("Prediction", "QualityRegressor"),
    "regressors": ("EndToEndRegressor", "GRURegressor"),
}

__all__ = [
    "CNNExtractor",
    "EndToEndRegressor",
    "Extractor",
    "GRURegressor",
    "NSSExtractor",
    "Prediction",
    "QualityRegressor",
    "SaliencyExtractor",
    "UVQExtractor",
    "VSFACNNExtractor",
    "VSFACNNSaliencyExtractor",
    "VideoFeatures",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (classes are imported when first used)
    """Imports a class on first use."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
