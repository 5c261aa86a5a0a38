"""What a file says about itself, as features: size and frame rate; no frame is decoded for them."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ugcvqa.datasets.cells import number, plain_name, read_cells
from ugcvqa.datasets.joining import once
from ugcvqa.datasets.names import without_extension
from ugcvqa.datasets.tables import FeatureTable
from ugcvqa.errors import LabelError
from ugcvqa.media.video import VideoInfo

_ID_COLUMNS = ("video", "vid", "videoid", "flickrid", "filename", "file", "name")
_FACT_COLUMNS = (("height",), ("width",), ("fps", "framerate", "rate"))


def container_vector(info: VideoInfo) -> npt.NDArray[np.float64]:
    """Takes the facts of a video file that affect its quality.

    Args:
        info: the file's measurements.

    Returns:
        (3,) float64: height and width in pixels as displayed, after rotation; frames per second.
    """
    return np.array([info.height, info.width, float(info.rate)])


def container_table(path: Path) -> FeatureTable:
    """Makes the features of a data set from a label file that states the size and frame rate of its videos.

    Args:
        path: CSV file with a column of ids (`video`, `vid`, ...), and columns `width`, `height` and `fps`.

    Returns:
        Ids as in the file, without the extension of a video file, and (N, 3) values as of `container_vector`.

    Raises:
        LabelError: if a column is missing, or a value is not a positive number.
    """
    (line, header), *rows = read_cells(path)
    names = [plain_name(cell) for cell in header]
    places = [_place(path, line, header, names, aliases) for aliases in (_ID_COLUMNS, *_FACT_COLUMNS)]
    ids, values = [], []
    for line, cells in rows:
        video_id, *facts = (cells[place] for place in places)
        ids.append(without_extension(video_id))
        values.append([_positive(path, line, cell) for cell in facts])
    if not rows:
        raise LabelError(f"{path}: holds a header but no rows")
    vectors = np.array(values, dtype=np.float64)
    kept = once(path, ids, vectors, [line for line, _ in rows])
    try:
        return FeatureTable(tuple(ids[row] for row in kept), vectors[kept])
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from error


def _place(path: Path, line: int, header: Sequence[str], names: Sequence[str], aliases: Sequence[str]) -> int:
    for alias in aliases:
        if alias in names:
            return names.index(alias)
    raise LabelError(
        f"{path}, line {line}: no column {' or '.join(aliases[:2])}, so size and frame rate of the videos are unknown; "
        f"columns found: {', '.join(header)}; use a row without container facts"
    )


def _positive(path: Path, line: int, cell: str) -> float:
    value = number(cell)
    if value is None or not 0 < value < math.inf:
        raise LabelError(
            f"{path}, line {line}: {cell!r} is not a width, height or frame rate: a positive number is needed"
        )
    return value
