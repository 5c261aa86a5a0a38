"""Label files as their owners distribute them: which column holds what, and one row per video."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ugcvqa.datasets.cells import Row, finite_number, number, plain_name, read_cells
from ugcvqa.errors import LabelError, did_you_mean

LABEL_FILES = {
    "konvid_1k": (
        *("konvid_1k.csv", "KoNViD_1k_mos.csv", "KoNViD_1k_attributes.csv"),
        *("KoNViD_mos.csv", "KONVID_1K_metadata.csv"),
    ),
    "youtube_ugc": (
        *("youtube_ugc.csv", "original_videos_MOS_for_YouTube_UGC_dataset.csv"),
        *("MOS_for_YouTube_UGC_dataset.csv", "YOUTUBE_UGC_metadata.csv"),
    ),
}
"""Names under which a label file is found when a folder is given; for other data sets `labels.csv`."""

# Column names by role, lower case without spaces and punctuation; the first that a file has is taken.
PUBLIC_COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "konvid_1k": {"id": ("flickrid", "video", "videoid", "filename", "vid", "name"), "mos": ("mos",)},
    "youtube_ugc": {"id": ("vid", "video", "videoid", "filename", "name"), "mos": ("mosfull", "mos")},
}
FILE_COLUMNS = ("file", "video", "filename", "videofile", "filepath", "videopath", "path", "videoname", "name")
OWN_COLUMNS = {
    "id": ("videoid", "flickrid", "vid", "id"),
    "file": FILE_COLUMNS,
    "mos": ("mos", "mosfull", "score", "quality", "syntheticquality"),
    "group": ("group", "scene", "content"),
}

_SHOWN = 3  # pairs of rows in a note


def label_file(source: Path, name: str) -> Path:
    """Takes a file as it is, and finds the label file of a data set in a folder or in its direct sub-folders.

    Raises:
        LabelError: if there is none.
    """
    names = LABEL_FILES.get(name, ("labels.csv",))
    if source.is_dir():
        for pattern in (pattern for file in names for pattern in (file, f"*/{file}")):
            if found := sorted(source.glob(pattern)):
                return found[0]
        near = "" if name in LABEL_FILES else did_you_mean(name, (*LABEL_FILES, "combined"))
        raise LabelError(
            f"{source}: holds no label file of {name} ({', '.join(names)}), nor do the folders in it; give "
            f"--data.labels FILE{near}"
        )
    if not source.exists():
        raise LabelError(f"{source}: no such label file or folder")
    return source


def file_column(header: Sequence[str]) -> int | None:
    """Number of the column that names the file, in the header of a CSV file; None where there is none."""
    names = [plain_name(cell) for cell in header]
    return next((names.index(alias) for alias in FILE_COLUMNS if alias in names), None)


@dataclass(frozen=True)
class LabelTable:
    """A label file: normalised column names, and the cells with their line numbers."""

    path: Path
    header: tuple[str, ...]
    names: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def read(cls, path: Path) -> "LabelTable":
        """Reads a label file.

        Raises:
            LabelError: if it is not a text table, or has no rows.
        """
        (_, header), *rows = read_cells(path)
        names = tuple(map(plain_name, header))
        if not rows:
            raise LabelError(f"{path}: holds a header but no rows (columns found: {', '.join(header)})")
        return cls(path, tuple(header), names, tuple(rows))

    def find(self, aliases: Sequence[str]) -> str | None:
        """The first alias that is a column."""
        name = next((alias for alias in aliases if alias in self.names), None)
        if name is not None and self.names.count(name) > 1:
            raise LabelError(f"{self.path}: has several columns {name!r} (found: {', '.join(self.header)})")
        return name

    def need(self, role: str, aliases: Sequence[str]) -> str:
        """The first alias that is a column; there must be one."""
        name = self.find(aliases)
        if name is None:
            is_headless = any(number(cell) is not None for cell in self.header)
            cure = "; line 1 seems to be a video: put a header such as `file,mos` above it" if is_headless else ""
            raise LabelError(
                f"{self.path}, line 1: no column of {role} ({' or '.join(aliases)}; columns split by comma,"
                f" semicolon or tab); columns found: {', '.join(self.header)}{cure}"
            )
        return name

    def column(self, name: str) -> list[str]:
        """Cells of a column, as many as rows."""
        index = self.names.index(name)
        return [cells[index] for _, cells in self.rows]

    def mos(self, name: str, scale: tuple[float, float] | None) -> list[float]:
        """Finite numbers of a column, within the scale where one is given."""
        values = []
        for (line, _), cell in zip(self.rows, self.column(name), strict=True):
            value = finite_number(self.path, line, name, cell)
            if scale is not None and not scale[0] <= value <= scale[1]:
                raise LabelError(
                    f"{self.path}, line {line}: {name} {value:g} is outside the scale"
                    f" {scale[0]:g}..{scale[1]:g}; give labels on that scale"
                )
            values.append(value)
        return values

    def once(
        self, keys: Sequence[str], cells: Sequence[str], mos: Sequence[float], contents: Sequence[int | None]
    ) -> tuple[list[int], tuple[str, ...]]:
        """Takes each video once: a video is its content, not its spelling.

        Args:
            keys: id of each row.
            cells: what each row calls the video.
            mos: score of each row.
            contents: the same number for rows whose files have the same content, None for a row without a file.

        Returns:
            Numbers of the rows to use, the first of each video; and a note about the others, if there are any.

        Raises:
            LabelError: if an id is empty, two rows give one video different scores, or two files have one id.
        """
        first: dict[str | int, int] = {}
        kept: list[int] = []
        again: list[str] = []
        conflicts: list[str] = []
        for row, (key, content) in enumerate(zip(keys, contents, strict=True)):
            if not key:
                raise LabelError(f"{self.path}, line {self.rows[row][0]}: the id is empty")
            names: list[str | int] = [key] if content is None else [content, key]
            earlier = next((first[name] for name in names if name in first), None)
            if earlier is None:
                kept.append(row)
            else:
                conflict, pair = self._compared(earlier, row, cells, mos, contents)
                (conflicts if conflict else again).append(conflict or pair)
            for name in names:
                first.setdefault(name, row if earlier is None else earlier)
        if conflicts:
            more = f" ({len(conflicts) - 1} more such rows)" if len(conflicts) > 1 else ""
            raise LabelError(f"{self.path}, {conflicts[0]}{more}")
        more = ", .." if len(again) > _SHOWN else ""
        shown = "; ".join(again[:_SHOWN]) + more
        note = f"{self.path}: {len(again)} rows repeat a video with the same score and are left out ({shown})"
        return kept, (note,) if again else ()

    def _compared(
        self, first: int, second: int, cells: Sequence[str], mos: Sequence[float], contents: Sequence[int | None]
    ) -> tuple[str, str]:
        """Where two rows of one video disagree, if they do, and how they are named."""
        lines = f"lines {self.rows[first][0]} and {self.rows[second][0]}"
        names = cells[first] if cells[first] == cells[second] else f"{cells[first]} and {cells[second]}"
        files, conflict = (contents[first], contents[second]), ""
        shared = "name" if None in files else "content"
        if shared == "content" and files[0] != files[1]:
            conflict = f"{lines}: {names} are two files with one id; give a column `id` that distinguishes them"
        elif mos[first] != mos[second]:
            conflict = (
                f"{lines}: one video (the same {shared}: {names}) with two scores, {mos[first]:.10g} and"
                f" {mos[second]:.10g}; keep the right row"
            )
        return conflict, f"{lines}: {names}"
