"""Feature tables: one row of numbers per video, joined to labels by id and never by position.

Formats are `.npz` (ours and the published ones), `.csv` and MATLAB's `.mat`.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ugcvqa.cell_texts import cells_of_row, text_of
from ugcvqa.datasets.cells import Row, number, read_cells
from ugcvqa.datasets.joining import matched_rows, once, repeated, shown_ids
from ugcvqa.datasets.names import path_parts, shared_folders, video_name
from ugcvqa.errors import LabelError
from ugcvqa.files import error_reason, write_atomic

FORMATS = (".npz", ".csv", ".mat")
"""File name endings that `read_table` and `write_table` know."""

# Names of crops and transcodes of KoNViD-1k and YouTube-UGC; group 1 is the id.
_COPY = re.compile(r"^(\d+(?=_.*centercrop)|[A-Za-z]+_\d+P-[0-9a-f]{4}(?=_))_.*$")
_ID_NAMES = (
    *("videos", "video", "ids", "video_id", "video_ids", "vid", "id"),
    *("flickr_id", "name", "names", "file"),
)
_MADE_BY = "made_by"
_VALUE_NAMES = ("feats", "feats_mat", "features", "values", "feat", "X")


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of N videos.

    Attributes:
        ids: N different ids, bare or with their data set (`3339962845`, `konvid_1k/3339962845`).
        values: (N, D) floating point; NaN and infinity are allowed.
        made_by: which network or program made the values, as `features.provenance` reads it; empty if it is not stated.
    """

    ids: tuple[str, ...]
    values: np.ndarray
    made_by: str = ""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.size or not np.issubdtype(self.values.dtype, np.floating):
            raise LabelError(
                f"feature table: values are {self.values.dtype} of shape {self.values.shape};"
                " floating point (videos, features) is needed"
            )
        if len(self.ids) != len(self.values):
            hint = "; the matrix seems to be transposed" if len(self.ids) == self.values.shape[1] else ""
            raise LabelError(f"feature table: {len(self.ids)} ids for {len(self.values)} rows{hint}")
        if not all(self.ids):
            raise LabelError(f"feature table: the id of row {self.ids.index('') + 1} is empty")
        if again := repeated(map(video_name, self.ids)):
            raise LabelError(f"feature table: {shown_ids(again)} more than once")


def read_table(path: Path, ids: Sequence[str] | None = None) -> FeatureTable:
    """Reads a feature table.

    Source: besides our own files, the layouts of published features: `feats_mat` (N, D) without ids in .mat
    files of VIDEVAL, RAPIQUE and RVS-resize, whose rows follow a label file.

    Args:
        path: `.npz` (an array of ids and an array of features), `.csv` (first column ids; with or without a
            header; what `ugcvqa score --csv` printed gives `pred`, NaN where a video failed, by file name without
            folder and ending) or `.mat` (MATLAB up to version 7). An array or text `made_by`, in a `.csv` a column
            of that name, says who made the values.
        ids: ids of the rows in order, for a file that has none; a `.csv` then holds features only.

    Returns:
        The table; values keep the precision of the file, .csv gives float64.

    Raises:
        LabelError: if the file cannot be read as such a table, has ids although `ids` is given, or has two rows of one
            video, however it is spelled, with different values; equal ones are one row, with a warning.
    """
    readers = {".npz": _read_npz, ".mat": _read_mat}
    suffix = path.suffix.lower()
    if suffix == ".csv":
        lines, own_ids, values, made_by = _read_csv(path, has_ids=ids is None)
    elif suffix in readers:
        arrays = readers[suffix](path)
        made_by = _one_maker(path, np.ravel(arrays.pop(_MADE_BY, [])).tolist())
        own_ids, values, lines = _pick_ids(path, arrays), _pick_values(path, arrays), None
    else:
        raise LabelError(f"{path}: feature tables end in {', '.join(FORMATS)}")
    if own_ids is None and ids is None:
        raise LabelError(f"{path}: holds no ids ({' or '.join(_ID_NAMES[:3])}); give them from a label file")
    if own_ids is not None and ids is not None:
        raise LabelError(f"{path}: has ids of its own; do not give others")
    chosen = tuple(ids) if own_ids is None and ids is not None else tuple(own_ids or ())
    if own_ids is not None and len(chosen) == len(values):
        kept = once(path, chosen, values, lines)
        chosen, values = tuple(chosen[row] for row in kept), values[kept] if len(kept) < len(chosen) else values
    try:
        return FeatureTable(chosen, values, made_by)
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from error


def _one_maker(path: Path, cells: Sequence[Any]) -> str:
    """The maker that a table states, the same in all rows."""
    texts = {str(cell).strip() for cell in cells}
    if len(texts) > 1:
        raise LabelError(
            f"{path}: {_MADE_BY} differs between rows; give the features of each maker in a file of its own"
        )
    return next(iter(texts), "")


def write_table(path: Path, table: FeatureTable) -> None:
    """Writes a feature table; the file appears whole or not at all.

    `.npz` keeps the precision, `.mat` too (half becomes single, which MATLAB knows), and `.csv` has every
    digit that is needed to read the same numbers back. The .mat file holds `feats_mat` (N, D) and `videos`, a
    cell array of ids. Who made the values is written where it is known.

    Raises:
        LabelError: if the name has an unknown ending.
        StoreError: if the file cannot be written.
    """
    suffix = path.suffix.lower()
    buffer = io.BytesIO()
    if suffix == ".npz":
        made_by: dict[str, Any] = {_MADE_BY: np.array(table.made_by)} if table.made_by else {}
        np.savez(buffer, videos=np.array(table.ids, dtype=np.str_), feats=table.values, **made_by)
    elif suffix == ".csv":
        maker = [table.made_by] if table.made_by else []
        columns = [f"f{column}" for column in range(table.values.shape[1])]
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["video", *([_MADE_BY] if maker else []), *columns])
        for video_id, row in zip(table.ids, table.values.astype(np.float64), strict=True):
            writer.writerow([*cells_of_row([video_id, *maker]), *map(repr, row.tolist())])
        buffer.write(text.getvalue().encode())
    elif suffix == ".mat":
        from scipy.io import savemat

        values = table.values.astype(np.float32) if table.values.dtype == np.float16 else table.values
        cells = np.array(table.ids, dtype=object)[:, None]
        target: Any = buffer  # scipy's annotations know file names only
        maker_of = {_MADE_BY: table.made_by} if table.made_by else {}
        savemat(target, {"videos": cells, "feats_mat": values, **maker_of})
    else:
        raise LabelError(f"{path}: feature tables end in {', '.join(FORMATS)}")
    write_atomic(path, buffer.getvalue())


def align(table: FeatureTable, ids: Sequence[str], *, allow_extra: bool = False) -> np.ndarray:
    """Brings the rows of a table into the order of ids.

    Ids join by the rules of `joining.matched_rows`, whatever their spelling.

    Args:
        table: features of M videos.
        ids: N ids in the wanted order.
        allow_extra: whether the table may hold videos that are not asked for, as when one resolution class is
            taken from a table of all.

    Returns:
        (N, D) values, one row per id.

    Raises:
        LabelError: if an id is missing, asked for twice or fits several rows, or if the table has extra ids.
    """
    rows = matched_rows(table.ids, ids)
    missing = [video_id for video_id, row in zip(ids, rows, strict=True) if row < 0]
    if missing:
        raise LabelError(f"feature table: {shown_ids(missing)} missing of {len(ids)}")
    if len(rows) < len(table.ids) and not allow_extra:
        asked = set(rows.tolist())
        extra = [video_id for row, video_id in enumerate(table.ids) if row not in asked]
        raise LabelError(f"feature table: {shown_ids(extra)} not asked for")
    return table.values[rows]


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files if name in (*_ID_NAMES, *_VALUE_NAMES, _MADE_BY)}
    except Exception as error:  # damaged files raise many kinds: BadZipFile, zlib.error, KeyError, EOFError, ..
        raise LabelError(f"{path}: cannot be read as .npz without pickled objects ({error_reason(error)})") from error


def _read_mat(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        # mat_dtype: MATLAB stores whole numbers as integers on disk, which would hide that they are double.
        variables: dict[str, Any] = loadmat(path, mat_dtype=True)
    except NotImplementedError as error:
        raise LabelError(f"{path}: is a MATLAB 7.3 file; save it in MATLAB with save(.., '-v7')") from error
    except Exception as error:  # scipy raises many kinds for damaged files, zlib.error and struct.error among them
        raise LabelError(f"{path}: cannot be read as .mat ({error_reason(error)})") from error
    return {name: value for name, value in variables.items() if not name.startswith("__")}


def _read_csv(path: Path, *, has_ids: bool) -> tuple[list[int], list[str] | None, np.ndarray, str]:
    """Lines of the rows, their ids and values, and who made them."""
    rows = read_cells(path)
    made_by = ""
    if _MADE_BY in rows[0][1]:
        column = rows[0][1].index(_MADE_BY)
        made_by = _one_maker(path, [cells.pop(column) for _, cells in rows][1:])
    first = rows[0][1]
    if has_ids and "pred" in first[1:]:  # predictions of ours or of another program: one column counts
        return *_predictions(path, first, rows[1:]), ""
    features = first[1:] if has_ids else first
    named = has_ids and first[0].lower() in ("", *_ID_NAMES)
    if named or all(number(cell) is None for cell in features):
        rows = rows[1:]
    values = []
    for line, cells in rows:
        numbers = [number(cell) for cell in (cells[1:] if has_ids else cells)]
        if None in numbers:
            column = numbers.index(None) + 1
            raise LabelError(f"{path}, line {line}: feature {column} is not a number")
        values.append(numbers)
    ids = [text_of(cells[0]) for _, cells in rows] if has_ids else None
    lines = [line for line, _ in rows]
    return lines, ids, np.array(values, dtype=np.float64).reshape(len(rows), len(features)), made_by


def _predictions(path: Path, header: list[str], rows: Sequence[Row]) -> tuple[list[int], list[str], np.ndarray]:
    """Lines, ids and column `pred`, (N, 1); NaN where it is empty, as for a video that failed."""
    column = header.index("pred")
    values = []
    for line, cells in rows:
        value = number(cells[column] or "nan")
        if value is None:
            raise LabelError(f"{path}, line {line}: pred {cells[column]!r} is not a number")
        values.append([value])
    names = [text_of(cells[0]) for _, cells in rows]
    ids = names if header[0].lower() == "video_id" else _ids_of_files(names)
    return [line for line, _ in rows], ids, np.array(values, dtype=np.float64).reshape(-1, 1)


def _ids_of_files(paths: Sequence[str]) -> list[str]:
    """Ids of video files: names without folder, ending and what the public sets' copies add, where that is unique.

    Else with the folders that the files do not share.
    """
    whole = [path_parts(video_name(path)) for path in paths]
    names = [_COPY.sub(r"\1", parts[-1]) if parts else "" for parts in whole]
    if len(set(names)) == len(set(whole)):
        return names
    n_shared = shared_folders(whole)
    return ["/".join(parts[n_shared:]) for parts in whole]


def _pick_ids(path: Path, arrays: Mapping[str, np.ndarray]) -> list[str] | None:
    name = next((name for name in _ID_NAMES if name in arrays), None)
    if name is None:
        return None
    # A MATLAB cell array of strings arrives as objects that each hold one string.
    cells = [np.ravel(cell) for cell in np.ravel(arrays[name])]
    if any(len(cell) != 1 or cell.dtype.kind not in "US" for cell in cells):
        raise LabelError(f"{path}: {name} does not hold strings")
    return [str(cell[0]) for cell in cells]


def _pick_values(path: Path, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    name = next((name for name in _VALUE_NAMES if name in arrays), None)
    if name is None:
        others = [other for other, array in arrays.items() if array.ndim == 2 and array.dtype.kind in "fiu"]
        if len(others) != 1:
            raise LabelError(
                f"{path}: no array named {' or '.join(_VALUE_NAMES[:3])}; found: {', '.join(arrays) or 'none of them'}"
            )
        name = others[0]
    values = np.asarray(arrays[name])
    return values.astype(np.float64) if values.dtype.kind in "iu" else values
