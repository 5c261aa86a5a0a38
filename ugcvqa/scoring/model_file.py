"""Reads model files, which may come from anyone: every value is checked before it is used."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ugcvqa import __version__, untrusted
from ugcvqa.errors import CheckpointError, StoreError, UgcvqaError
from ugcvqa.features.provenance import OURS, UNKNOWN, parts_of
from ugcvqa.files import arrays_from_file, error_reason
from ugcvqa.heads.kinds import head_class
from ugcvqa.nss.engines import usable_engine
from ugcvqa.scoring.model import FILE_NAME, FORMAT, QualityModel
from ugcvqa.settings.features import Engine, FamilySettings, NSSEngine

_LARGEST_SCORE, _MOST_FAMILIES, _LONGEST_SPEC = 1e6, 20, 5000


def load(path: str | Path, engine: Engine = "auto", nss_engine: NSSEngine = "auto") -> QualityModel:
    """Loads a trained model from a run folder or a model file.

    Args:
        path: the run folder or the file.
        engine: library that computes networks, see `FamilySettings`.
        nss_engine: how NSS features are computed, see `NSSSettings`, whichever computed those of the training; `torch`
            computes them on a GPU.

    Raises:
        CheckpointError: if there is none, or it is damaged or from an incompatible version.
    """
    file = Path(path)
    file = file / FILE_NAME if file.is_dir() else file
    if file.suffix == ".ckpt":
        raise CheckpointError(
            f"{file}: is a checkpoint of a training, for EndToEndRegressor.load_from_checkpoint and the like; give the "
            f"run folder that holds {FILE_NAME}"
        )
    if not file.is_file():
        raise CheckpointError(f"{file}: no such model; give a run folder made by `ugcvqa fit`")
    try:
        arrays, metadata = arrays_from_file(file)
    except StoreError as error:
        raise CheckpointError(str(error)) from error
    _check_version(file, metadata)
    try:
        model = _from_parts(arrays, metadata)
        model = replace(model, settings=replace(model.settings, engine=engine))
        return model.with_nss_engine(usable_engine(nss_engine, model.settings.nss.precision))
    except (UgcvqaError, LookupError, TypeError, ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, UgcvqaError) else error_reason(error)
        if isinstance(error, untrusted.Unfit) or not isinstance(error, UgcvqaError):
            reason = f"is not a complete model ({reason})"
        written = _writer(metadata)
        other = (
            "" if written == __version__ else f"; ugcvqa {written} wrote it, this is {__version__}: install that one"
        )
        raise CheckpointError(f"{file}: {reason}{other}") from error


def _writer(metadata: Mapping[str, Any]) -> str:
    """Version of the package that wrote a model."""
    version = metadata.get("ugcvqa")
    return version if isinstance(version, str) and version.isprintable() and len(version) < 30 else "?"


def _check_version(file: Path, metadata: dict[str, Any]) -> None:
    written = metadata.get("format")
    if not isinstance(written, int) or not 1 <= written <= FORMAT:
        raise CheckpointError(
            f"{file}: model format {untrusted.shown(written)} of ugcvqa {_writer(metadata)}; this is ugcvqa "
            f"{__version__}, which reads formats up to {FORMAT}: install a newer version"
        )


def _from_parts(arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> QualityModel:
    values = untrusted.mapping(metadata["head"], "head")
    head = head_class(untrusted.text(values["kind"], "kind of head")).from_arrays(arrays, values)
    untrusted.nothing_else(arrays, head.to_arrays()[0].keys())
    row, specs = untrusted.text(metadata["row"], "row"), _texts(metadata["specs"], "specs")
    for name, spec in specs.items():
        untrusted.mapping(json.loads(spec), f"the spec of {name}")
    return QualityModel(
        head=head,
        row=row,
        settings=_family_settings(untrusted.mapping(metadata["settings"], "settings")),
        label=untrusted.text(metadata["label"], "label"),
        scale=_scale(metadata["scale"]),
        trained_on=untrusted.text(metadata["trained_on"], "trained_on"),
        specs=specs,
        made_by=_makers(metadata, row, specs),
    )


def _scale(value: Any) -> tuple[float, float]:  # noqa: ANN401 (anything JSON knows, here and below)
    low, high = untrusted.numbers(value, "scale", 2, -_LARGEST_SCORE, _LARGEST_SCORE).tolist()
    if not low < high:
        raise CheckpointError(f"its scale runs from {low:g} to {high:g}")
    return low, high


def _makers(metadata: Mapping[str, Any], row: str, specs: Mapping[str, str]) -> dict[str, str]:
    """Who made the features of the training; older files do not state it, but have specs if this package did."""
    said = _texts(metadata.get("made_by", {}), "made_by")
    is_older = "made_by" not in metadata
    return {part: said.get(part, OURS if is_older and part in specs else UNKNOWN) for part in parts_of(row)}


def _texts(value: Any, name: str) -> dict[str, str]:  # noqa: ANN401
    found = untrusted.mapping(value, name)
    if len(found) > _MOST_FAMILIES:
        raise CheckpointError(f"{name} has {len(found)} entries")
    longest = _LONGEST_SPEC
    return {untrusted.text(key, name): untrusted.text(one, f"a value of {name}", longest) for key, one in found.items()}


def _family_settings(values: Mapping[str, Any]) -> FamilySettings:
    """Settings from a model file; what an older version did not know yet has its default.

    A model may come from anywhere: it names weights, but opens no path of its choice.
    """
    found = untrusted.settings(FamilySettings, values, "settings")
    deep, saliency, uvq = found.deep, found.saliency, found.uvq
    return replace(
        found,
        deep=replace(deep, weights=untrusted.weights(deep.weights)),
        saliency=replace(saliency, weights=untrusted.weights(saliency.weights)),
        uvq=replace(uvq, weights=uvq.weights if re.fullmatch(r"random:\d{1,9}", uvq.weights) else ""),
    )
