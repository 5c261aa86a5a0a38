"""Who made features: a head that was trained on one network's columns says nothing about another's.

A *maker* is a plain name: `ugcvqa` for the extractors of this package, `matlab-resnet50` and so on for
others, `unknown` where none is stated. Published tables are recognised by their numbers, whatever their file is called.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from ugcvqa.errors import LabelError
from ugcvqa.features.fingerprints import recognised
from ugcvqa.features.rows import ROWS, dimension, families_of, parts_of_row
from ugcvqa.settings.features import FamilySettings

OURS = "ugcvqa"
"""Features that this package computed."""

UNKNOWN = "unknown"

OF_FACTS = frozenset({"container", "pixels"})
"""Families of facts that have no maker: in training, what a label file states may replace what pixels show."""

FACTS = "label file"
"""Size and frame rate of videos, which are facts, whoever wrote them down."""

_LONGEST_NAME = 100  # characters
_HOW_TO_SAY = "say it with --data.made_by, such as `ugcvqa` for features of this package"


@dataclass(frozen=True)
class Provenance:
    """Who made the features of a row, part by part.

    Attributes:
        made_by: family of the row, or the name of your own row -> maker.
        specs: family -> spec as JSON, of features that this package computed.
    """

    made_by: Mapping[str, str]
    specs: Mapping[str, str] = field(default_factory=dict)


def parts_of(row: str) -> tuple[str, ...]:
    """Parts of a row that have a maker each: its families, or the row itself where it is not one of `ROWS`."""
    return families_of(row) if row in ROWS else (row,)


def provenance_of(
    part: str,
    ids: Sequence[str],
    values: npt.NDArray[Any],
    text: str,
    stated: str,
    where: str,
) -> tuple[str, str]:
    """Finds out who made the columns of one part.

    Args:
        part: family, or name of your own row.
        ids: N video ids.
        values: (N, D) columns.
        text: what the file says, see `read_maker`.
        stated: maker that the user states, empty for none.
        where: the file, for messages.

    Returns:
        The maker, and the spec as JSON where this package computed them, else "".

    Raises:
        LabelError: if file, user and numbers contradict each other.
    """
    inside, spec = read_maker(text, part, where)
    found = recognised(ids, values)
    fitting = ({part}, {"vsfacnn", "vsfacnn_224"})  # these two are of one network
    if found is not None and part in _FAMILIES and {found.family, part} not in fitting:
        raise LabelError(
            f"{where}: holds published {found.family} columns of {found.made_by}, but the row takes {part} there; give "
            "the row that they are of"
        )
    said = [name for name in (stated, inside) if name]
    if len(said) == 2 and stated.casefold() != inside.casefold():
        raise LabelError(f"{where}: says that {inside} made it, but --data.made_by says {stated}; give the right one")
    if found is None:
        return (said[0] if said else FACTS if part in OF_FACTS else UNKNOWN), spec
    for name in said:
        if name.casefold() != found.made_by.casefold() and not (name == OURS and found.is_like_ours):
            raise LabelError(
                f"{where}: is said to be made by {name}, but its numbers are published ones of {found.made_by}"
            )
    return (said[0] if said else found.made_by), spec


_FAMILIES = frozenset(family for row in ROWS for family in families_of(row))
"""All families that a row is made of."""


def table_makers(name: str, ids: Sequence[str], values: npt.NDArray[Any], text: str, where: str) -> dict[str, str]:
    """Names the makers of the columns of a table that is only compared with others.

    Args:
        name: a row, a family or any other name.
        ids: N video ids.
        values: (N, D) columns.
        text: what the file says, see `read_maker`.
        where: the file, for messages.

    Returns:
        Part -> maker; a part is called what its numbers are, where they are known.
    """
    blocks = {name: values}
    if name in ROWS and values.shape[1] == dimension(name):
        blocks = {family: values[:, columns] for family, columns in parts_of_row(name).items()}
    makers = {}
    for part, block in blocks.items():
        found = recognised(ids, block)
        inside, _ = read_maker(text, part, where)
        is_ours = inside == OURS and (found is None or found.is_like_ours)
        if found is not None and not is_ours:
            makers[found.family] = found.made_by
        else:
            makers[part] = inside or (FACTS if part in OF_FACTS else UNKNOWN)
    return makers


def read_maker(text: str, part: str, where: str) -> tuple[str, str]:
    """Reads what a table says about who made it.

    Args:
        text: a maker's name; or the spec that this package's store keeps, as JSON; or a JSON mapping from family to one
            of these, for a table of several families.
        part: the family that is asked for.
        where: the file, for messages.

    Returns:
        Maker, empty if nothing is said, and spec as JSON, empty if the features were not computed by this package.

    Raises:
        LabelError: if the text is none of these.
    """
    if not text.startswith("{"):
        return checked_name(text, where) if text else "", ""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LabelError(f"{where}: made_by cannot be read as JSON; give a maker's name") from error
    if isinstance(inner := said.get(part), dict | str):
        return read_maker(inner if isinstance(inner, str) else json.dumps(inner), part, where)
    if "family" not in said:
        return "", ""
    if said.get("source") == "videos":
        return OURS, json.dumps(said, sort_keys=True)
    settings = said.get("settings")
    return str(settings.get("made_by", "")) if isinstance(settings, dict) else "", ""


def checked_name(name: str, where: str) -> str:
    """Checks the name of a maker.

    Raises:
        LabelError: if it is long or not of printable characters.
    """
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise LabelError(
            f"{where}: made_by {name[:40]!r} is not a name; give up to {_LONGEST_NAME} printable characters"
        )
    return name


def stated_maker(stated: str | Mapping[str, str] | None, part: str) -> str:
    """The maker that the user states of a part: one name for all, or a mapping from part to name.

    Raises:
        LabelError: if it is not a valid name.
    """
    name = stated if isinstance(stated, str) else (stated or {}).get(part, "")
    return checked_name(name, "--data.made_by") if name else ""


def check_stated(stated: str | Mapping[str, str] | None, row: str) -> None:
    """Checks that a statement is about parts of the row.

    Raises:
        LabelError: if it names another part.
    """
    parts = parts_of(row)
    for name in stated if isinstance(stated, Mapping) else ():
        if name not in parts:
            raise LabelError(f"--data.made_by: row {row} has no part {name!r}; its parts are {', '.join(parts)}")


def is_computed_here(family: str, maker: str, settings: FamilySettings) -> bool:
    """Whether the extractors with these settings compute what a maker made."""
    return family in OF_FACTS or maker.casefold() in {name.casefold() for name in _equals(family, settings)}


def _equals(family: str, settings: FamilySettings) -> tuple[str, ...]:
    """Makers whose features the extractors with these settings compute."""
    nss, deep, saliency = settings.nss, settings.deep, settings.saliency
    network = f"torchvision-{deep.backbone}-{deep.weights}"
    cam = f"score-cam-{saliency.backbone}-{saliency.weights}"
    has_paper_cam = cam == _CAM and saliency.layer in (None, "features.29") and saliency.method == "exact"
    if family == "nss":
        is_published = nss.colour == "bt601" and nss.min_side == 512
        return (OURS, *(["rapique-matlab"] if is_published else []))
    if family in ("cnn", "vsfacnn", "vsfacnn_224"):
        return OURS, network
    if family == "vsfacnn_saliency":
        return (OURS, *([network] if has_paper_cam else []))
    return (OURS, *([_CAM] if family == "saliency" and has_paper_cam else []))


_CAM = "score-cam-vgg16-IMAGENET1K_V1"


def why_not_from_video(row: str, made_by: Mapping[str, str], settings: FamilySettings) -> str:
    """Says why a model cannot score videos: who made the features that it was trained on.

    Args:
        row: feature row of the model.
        made_by: part -> maker.
        settings: of the extractors.

    Returns:
        The reason, empty if every part is computed here.
    """
    for part in parts_of(row):
        maker = made_by.get(part, UNKNOWN)
        if is_computed_here(part, maker, settings):
            continue
        if maker == UNKNOWN:
            return (
                f"this model was trained on imported {part} features, and nobody says who made them, so none may be "
                f"computed from a video in their place; train it again and {_HOW_TO_SAY}, or predict from feature "
                "tables (ugcvqa score --features FILE)"
            )
        return (
            f"this model was trained on {part} features of {maker}, which cannot be computed from a video here, and it "
            "knows nothing of other features; predict from feature tables instead (ugcvqa score --features FILE)"
        )
    return ""


def check_same(part: str, trained: str, given: str, settings: FamilySettings, where: str) -> None:
    """Checks that features to predict from are of the maker that a model was trained on.

    Raises:
        LabelError: if they are of another one.
    """
    here = [is_computed_here(part, maker, settings) for maker in (trained, given)]
    if trained.casefold() != given.casefold() and not all(here):
        hint = f"; {_HOW_TO_SAY}" if given == UNKNOWN else ""
        raise LabelError(
            f"{where}: {part} features of {given}, but the model was trained on those of {trained} and knows nothing "
            f"of others{hint.replace('--data.made_by', '--made_by')}"
        )


def described(made_by: Mapping[str, str], settings: FamilySettings) -> str:
    """Who made features, on one line, for people."""
    return ", ".join(
        f"{part} by {maker}" + ("" if is_computed_here(part, maker, settings) else " (not computed here)")
        for part, maker in made_by.items()
    )
