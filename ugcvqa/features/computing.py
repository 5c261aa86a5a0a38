"""Computes the pieces that a stream serves, in this process or in one that decodes; a failure costs only its video."""

from collections.abc import Mapping, Sequence
from typing import Any

from ugcvqa.devices import check_fatal
from ugcvqa.errors import UgcvqaError, VideoError
from ugcvqa.features.family import Family
from ugcvqa.features.stream import Item
from ugcvqa.files import error_reason
from ugcvqa.processes import is_lost_loader


def compute(families: Mapping[str, Family], items: Sequence[Item]) -> list[Any]:
    """Computes the features of each item that carries frames; None where there is nothing to compute.

    Pieces are never mixed in one tensor, so results do not depend on how items are batched. A piece that a network
    cannot take gives the error in place of features, so that it costs its video only. What the process that
    decoded a piece has computed already is handed on.

    Raises:
        DeviceError: if a GPU has failed for good.
    """
    is_new = [item.family and max(item.places, default=0) >= 0 for item in items]
    return [_features(families[item.family], item) if new else None for item, new in zip(items, is_new, strict=True)]


def _features(family: Family, item: Item) -> Any:  # noqa: ANN401 (what the family's network returns)
    if item.features is not None:
        return item.features
    try:
        return family(item.frames)
    except UgcvqaError as error:
        return error
    except Exception as error:  # a bug, or too little memory, must cost one row, not the other million videos
        if is_lost_loader(error):
            raise
        check_fatal(error, next((getattr(planes, "device", None) for planes in item.frames.values()), None))
        return VideoError(f"{item.family} features cannot be computed: {error_reason(error)}")
