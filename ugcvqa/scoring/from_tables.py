"""Scores of videos whose features are in tables: the way for models whose features cannot be computed here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ugcvqa.errors import CheckpointError, LabelError
from ugcvqa.features.imported import read_features
from ugcvqa.features.provenance import UNKNOWN, Provenance, check_same, parts_of
from ugcvqa.scoring.model import QualityModel
from ugcvqa.scoring.result import Score

_UNTOLD = "nobody says who made the features, so they may differ from those of the training"


def score_tables(
    model: QualityModel, files: Sequence[str], made_by: str | Mapping[str, str] | None = None
) -> Iterator[Score]:
    """Scores the videos of feature tables, which must be of the maker that the model was trained on.

    Args:
        model: on vectors, or a GRU head, which takes one file of frame features.
        files: as for a training, see `imported.read_features`; all must hold the videos of the first.
        made_by: who made the features where no file says so.

    Yields:
        A score per video, in the order of the first file; its `path` is the id.

    Raises:
        CheckpointError: if the model looks at frames.
        LabelError: if the tables cannot be read, are of another width, or of another maker.
    """
    if model.head.kind == "end_to_end":
        raise CheckpointError("an end-to-end model sees frames, not features; give it videos")
    where = ", ".join(map(str, files))
    if model.head.sees_frames:
        from torch import float32

        from ugcvqa.samples.sequences import read_sequences, sequence_provenance

        if len(files) != 1:
            raise LabelError(f"{where}: a GRU head takes frame features from one file")
        table = read_sequences(Path(files[0]), float32)
        warnings = _checked(model, sequence_provenance(model.row, table, made_by, where), where)
        vectors: Iterable[tuple[str, Any]] = (
            (video_id, table.sequence(row).numpy()) for row, video_id in enumerate(table.ids)
        )
    else:
        found = read_features(files, model.row, model.settings, made_by)
        warnings = _checked(model, found.provenance, where)
        vectors = zip(found.ids, found.values, strict=True)
    return (model.score_features(video_id, vector, warnings) for video_id, vector in vectors)


def _checked(model: QualityModel, found: Provenance, where: str) -> tuple[str, ...]:
    """Checks that features are of the maker that the model knows; what makes that doubtful."""
    for part in parts_of(model.row):
        check_same(part, model.makers[part], found.made_by[part], model.settings, where)
    model.check_specs(found.specs)
    return (_UNTOLD,) if UNKNOWN in found.made_by.values() else ()
