"""Data sets: label files as their owners distribute them, and the video files that belong to the labels.

A data set is known by name: `konvid_1k`, `youtube_ugc`, `combined` (both), `demo` (the built-in synthetic
set); any other name stands for one's own CSV file of labels.
"""

import hashlib
import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ugcvqa.datasets.tables import read_cells
from ugcvqa.errors import ConfigError, LabelError

logger = logging.getLogger(__name__)

RESOLUTIONS = ("360P", "480P", "720P", "1080P")
"""Resolution classes of YouTube-UGC in the row order of the benchmark."""

VIDEO_EXTENSIONS = (
    *(".mkv", ".mp4", ".mov", ".avi", ".webm", ".m4v", ".y4m"),
    *(".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp"),
)
"""File name endings that count as video, any case; the first is preferred where a video has many copies."""

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

_MOS_SCALE = (1.0, 5.0)

# Column names by role, lower case without spaces and punctuation; the first that a file has is taken.
_COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "konvid_1k": {"id": ("flickrid", "video", "videoid", "filename", "vid", "name"), "mos": ("mos",)},
    "youtube_ugc": {"id": ("vid", "video", "videoid", "filename", "name"), "mos": ("mosfull", "mos")},
}
FILE_COLUMNS = ("file", "video", "filename", "videofile", "filepath", "videopath", "path", "videoname", "name")
"""Names of columns with a file, lower case without spaces and punctuation; the first that a file has is taken."""

_OWN_COLUMNS = {
    "id": ("videoid", "flickrid", "vid", "id"),
    "file": FILE_COLUMNS,
    "mos": ("mos", "mosfull", "score", "quality", "syntheticquality"),
}
_GROUP_COLUMNS = ("group", "scene", "content")

# How the public sets' videos are written in label files and file names, without extension; group 1 is the id.
# Spreadsheets turn numeric ids into 123.0; crops and transcodes add an underscore and more.
_NAMES = {
    "konvid_1k": re.compile(r"(\d+)(?:\.0|_.*centercrop.*)?"),
    "youtube_ugc": re.compile(r"([A-Za-z]+_\d+P-[0-9a-f]{4})(?:_.*)?"),
}

# SHA-256 of the 1200 ids joined by line feeds, in the order of the benchmark: decreasing MOS, ties by id.
_KONVID_ORDER = "04a5d9efcf16bbbbf46448e5508fb36a2b8d68626e4d2bb7a7c4eee7250dd449"


@dataclass(frozen=True)
class Video:
    """One labelled video.

    Attributes:
        video_id: unique across data sets, such as `konvid_1k/3339962845`; `<name>/<id>` in one's own set.
        path: the file; None when no folder was given or the file is missing.
        mos: mean opinion score on the scale of the data set (INLSA-aligned for KoNViD-1k within `combined`).
        group: content group; the id where none is known.
        resolution: class of YouTube-UGC, `360P` .. `2160P`; None elsewhere.
    """

    video_id: str
    path: Path | None
    mos: float
    group: str
    resolution: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A data set in its row order, which matters because splits shuffle row numbers.

    Attributes:
        name: as asked for; with the resolution class for a part of YouTube-UGC (`youtube_ugc_360p`).
        label: what `Video.mos` is: `MOS`, or `synthetic quality` where no person rated.
        scale: lowest and highest possible label.
        videos: in row order.
    """

    name: str
    label: str
    scale: tuple[float, float]
    videos: tuple[Video, ...]


def load_dataset(
    name: str,
    labels: Path | None = None,
    root: Path | None = None,
    subset: str | None = None,
    scale: tuple[float, float] | None = None,
) -> Dataset:
    """Reads the labels of a data set and finds its videos.

    Source: row order and choice of videos follow the public code of the RVS-resize benchmark. KoNViD-1k is in
    file order (which is decreasing MOS as published; a complete file in another order is brought into it),
    YouTube-UGC in blocks of 360P, 480P, 720P, 1080P, each sorted by name; `combined` is KoNViD-1k with
    INLSA-aligned MOS, then YouTube-UGC.

    Args:
        name: `konvid_1k`, `youtube_ugc`, `combined`, `demo`, or any other word for one's own CSV file.
        labels: label file, or a folder that holds one under a usual name (`LABEL_FILES`); for `combined` a
            folder that holds both. None: looked for in `root`.
        root: folder below which the videos lie, in any sub-folders (linked ones too, so `combined` may use a
            folder with two links). None: no videos are looked for.
        subset: for YouTube-UGC only. None: the 1039 videos of the paper; `360P` .. `1080P`: those of one
            class; `all`: every labelled video, in file order. A label file without column `in_paper` cannot
            tell the 1039; all videos of the classes are taken then, with a warning.
        scale: lowest and highest possible label of one's own set; None takes them from the data.

    Returns:
        The data set; videos whose file is missing have no path.

    Raises:
        ConfigError: if the arguments do not fit together.
        LabelError: if a label file or a folder cannot be used as it is.
    """
    _check_request(name, labels, root, subset, scale)
    files = () if root is None else video_files(root)
    source = labels or root or Path()
    if name == "combined":
        konvid = [replace(v, mos=inlsa_aligned(v.mos)) for v in _konvid(label_file(source, "konvid_1k"))]
        youtube = _youtube(label_file(source, "youtube_ugc"), None)
        videos = _with_files("konvid_1k", konvid, files) + _with_files("youtube_ugc", youtube, files)
        dataset = Dataset(name, "MOS", _MOS_SCALE, videos)
    elif name == "konvid_1k":
        konvid = _konvid(label_file(source, name))
        dataset = Dataset(name, "MOS", _MOS_SCALE, _with_files(name, konvid, files))
    elif name == "youtube_ugc":
        youtube = _youtube(label_file(source, name), subset)
        full_name = name if subset is None else f"{name}_{subset.lower()}"
        dataset = Dataset(full_name, "MOS", _MOS_SCALE, _with_files(name, youtube, files))
    else:
        known_scale = _MOS_SCALE if name == "demo" else scale
        dataset = _own(name, label_file(source, name), root, files, known_scale)
    _log_found(dataset, root)
    return dataset


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
        raise LabelError(f"{source}: holds no label file of {name} ({', '.join(names)})")
    if not source.exists():
        raise LabelError(f"{source}: no such label file or folder")
    return source


def inlsa_aligned(mos: float) -> float:
    """Aligns a KoNViD-1k MOS to the scale of YouTube-UGC.

    Source: INLSA coefficients in the public code of VIDEVAL (Tu et al., 2021) and RVS-resize: with
    d = (5 - mos)/4, d' = -0.0993 + 1.1241 d and mos' = 5 - 4 d'.

    Args:
        mos: raw MOS, 1..5.

    Returns:
        The aligned MOS.
    """
    degradation = (5.0 - mos) / 4.0
    return 5.0 - 4.0 * (-0.0993 + 1.1241 * degradation)


def video_files(root: Path) -> tuple[Path, ...]:
    """Lists all video files below a folder, following links, sorted; see `walk_files`.

    Raises:
        LabelError: if the folder cannot be listed.
    """
    if not root.is_dir():
        raise LabelError(f"{root}: no such folder of videos")
    return tuple(map(Path, walk_files(str(root))))


def is_video_name(name: str) -> bool:
    """Whether a file name ends as one of a video; `._name` is what macOS leaves beside a file on foreign disks."""
    return _is_video(name) and not name.startswith("._")


def walk_files(root: str, is_wanted: Callable[[str], bool] = is_video_name, is_told: bool = True) -> Iterator[str]:
    """Yields files below a folder, following links, sorted by folder and name; holds the names of open folders only.

    A sub-folder that cannot be listed is left out, with a warning.

    Args:
        root: the folder.
        is_wanted: tells by the name, without folder, whether a file is yielded.
        is_told: warn of the sub-folders that are left out.

    Raises:
        LabelError: if the folder itself cannot be listed.
    """
    pending = [(root, True)]
    seen: set[tuple[int, int]] = set()
    while pending:
        path, is_folder = pending.pop()
        if not is_folder:
            yield path
            continue
        try:
            found = _listed(path, seen)
        except OSError as error:
            reason = f"cannot list this folder ({error.strerror or error})"
            if path == root:
                raise LabelError(f"{path}: {reason}") from error
            if is_told:
                logger.warning("%s: %s; it is left out", " ".join(path.splitlines()), reason)
            continue
        wanted = [one for one in found if one[1] or is_wanted(one[0])]
        pending += [(os.path.join(path, name), deeper) for name, deeper in reversed(wanted)]  # noqa: PTH118


def _listed(path: str, seen: set[tuple[int, int]]) -> list[tuple[str, bool]]:
    """Sorted names in a folder, and which are folders; none if it was seen, such as by a link to a folder above."""
    status = os.stat(path)  # noqa: PTH116 (names of a million files are kept as plain text)
    if (status.st_dev, status.st_ino) in seen:
        return []
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(path) as entries:
        return sorted((entry.name, _is_folder(entry)) for entry in entries)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that this user may not follow, or that leads in a circle
        return False


def video_copies(data_set: str, files: Iterable[Path]) -> dict[str, list[Path]]:
    """Groups files by the video that their name stands for.

    The preferred copy comes first: a file named exactly like the video before other versions of it
    (transcodes, crops), then by extension in the order of `VIDEO_EXTENSIONS` (so an original .mkv before an
    .mp4), then by path.

    Args:
        data_set: `konvid_1k` or `youtube_ugc`, which decides how names are read; else the name without its
            extension stands for the video.
        files: video files.

    Returns:
        Id within the data set -> its files; files that fit no id are left out.
    """
    copies: dict[str, list[Path]] = {}
    pattern = _NAMES.get(data_set)
    for path in files:
        match = None if pattern is None else pattern.fullmatch(path.stem)
        if pattern is None or match is not None:
            copies.setdefault(path.stem if match is None else match[1], []).append(path)
    for key, paths in copies.items():
        paths.sort(key=lambda path: (path.stem != key, _extension_rank(path), path))
    return copies


def _check_request(
    name: str,
    labels: Path | None,
    root: Path | None,
    subset: str | None,
    scale: tuple[float, float] | None,
) -> None:
    if not re.fullmatch(r"[\w.-]+", name):
        raise ConfigError(f"data set name {name!r}: use letters, digits, '.', '_' and '-' only")
    if labels is None and root is None:
        raise ConfigError(f"data set {name}: give a label file or a folder")
    if name == "combined" and labels is not None and not labels.is_dir():
        raise ConfigError(f"{labels}: for combined, give a folder that holds both label files")
    if subset is not None and name != "youtube_ugc":
        raise ConfigError(f"data set {name}: has no subset {subset!r}; only youtube_ugc has subsets")
    if subset not in (None, "all", *RESOLUTIONS):
        raise ConfigError(f"subset {subset!r}: use one of {', '.join(RESOLUTIONS)} or all")
    if scale is not None and name in (*LABEL_FILES, "combined", "demo"):
        raise ConfigError(f"data set {name}: its scale is 1..5, leave the scale out")
    if scale is not None and not scale[0] < scale[1]:
        raise ConfigError(f"scale {scale}: the first number must be smaller than the second")


@dataclass(frozen=True)
class _LabelTable:
    """A label file: normalised column names, and the cells with their line numbers."""

    path: Path
    header: tuple[str, ...]
    names: tuple[str, ...]
    rows: tuple[tuple[int, list[str]], ...]

    @classmethod
    def read(cls, path: Path) -> "_LabelTable":
        (_, header), *rows = read_cells(path)
        names = tuple(map(_plain_name, header))
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
            raise LabelError(
                f"{self.path}, line 1: no column of {role} ({' or '.join(aliases)}; columns split by comma,"
                f" semicolon or tab); columns found: {', '.join(self.header)}"
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
            try:
                value = float(cell)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise LabelError(f"{self.path}, line {line}: {name} {cell!r} is not a finite number")
            if scale is not None and not scale[0] <= value <= scale[1]:
                raise LabelError(
                    f"{self.path}, line {line}: {name} {value:g} is outside the scale"
                    f" {scale[0]:g}..{scale[1]:g}; give labels on that scale"
                )
            values.append(value)
        return values

    def unique(self, keys: Sequence[str]) -> Sequence[str]:
        """Checks that ids are there and occur once."""
        first: dict[str, int] = {}
        for (line, _), key in zip(self.rows, keys, strict=True):
            if not key:
                raise LabelError(f"{self.path}, line {line}: the id is empty")
            if key in first:
                raise LabelError(f"{self.path}, line {line}: {key} occurs before, in line {first[key]}")
            first[key] = line
        return keys


def _public_videos(table: _LabelTable, data_set: str) -> list[Video]:
    """Rows of a public data set in file order, without paths."""
    columns = _COLUMNS[data_set]
    id_column = table.need("ids", columns["id"])
    mos = table.mos(table.need("MOS", columns["mos"]), _MOS_SCALE)
    keys = []
    for (line, _), cell in zip(table.rows, table.column(id_column), strict=True):
        match = _NAMES[data_set].fullmatch(_without_extension(cell))
        if match is None:
            raise LabelError(f"{table.path}, line {line}: {cell!r} is not a video name of {data_set}")
        keys.append(match[1])
    videos = []
    for key, value in zip(table.unique(keys), mos, strict=True):
        video_id = f"{data_set}/{key}"
        resolution = re.search(r"_(\d+P)-", key)
        videos.append(Video(video_id, None, value, video_id, resolution[1] if resolution else None))
    return videos


def _konvid(path: Path) -> list[Video]:
    videos = _public_videos(_LabelTable.read(path), "konvid_1k")
    ordered = sorted(videos, key=lambda video: (-video.mos, video.video_id))
    ids = "\n".join(_key(video) for video in ordered)
    if ordered != videos and hashlib.sha256(ids.encode()).hexdigest() == _KONVID_ORDER:
        logger.info("%s: rows brought into the order of the benchmark (decreasing MOS)", path)
        return ordered
    return videos


def _youtube(path: Path, subset: str | None) -> list[Video]:
    table = _LabelTable.read(path)
    videos = _public_videos(table, "youtube_ugc")
    if subset == "all":
        return videos
    if table.find(["inpaper"]) is None:
        logger.warning("%s: no column in_paper tells the 1039 videos of the paper; taking all of 360P-1080P", path)
    else:
        flags = zip(videos, table.column("inpaper"), strict=True)
        videos = [video for video, in_paper in flags if in_paper == "1"]
    classes = RESOLUTIONS if subset is None else (subset,)
    videos = [video for video in videos if video.resolution in classes]
    if not videos:
        raise LabelError(f"{path}: holds no video of {', '.join(classes)}")
    return sorted(videos, key=lambda video: (classes.index(str(video.resolution)), video.video_id))


def _with_files(data_set: str, videos: Iterable[Video], files: Iterable[Path]) -> tuple[Video, ...]:
    copies = video_copies(data_set, files)
    return tuple(replace(video, path=next(iter(copies.get(_key(video), ())), None)) for video in videos)


def _own(name: str, path: Path, root: Path | None, files: Sequence[Path], scale: tuple[float, float] | None) -> Dataset:
    table = _LabelTable.read(path)
    id_column, file_column = table.find(_OWN_COLUMNS["id"]), table.find(_OWN_COLUMNS["file"])
    named = file_column or id_column or table.need("files or ids", _OWN_COLUMNS["file"] + _OWN_COLUMNS["id"])
    mos_column = table.need("labels", _OWN_COLUMNS["mos"])
    mos = table.mos(mos_column, scale)
    cells = table.column(named)
    names = table.column(id_column) if id_column else cells
    keys = table.unique([_without_extension(cell).removeprefix(f"{name}/") for cell in names])
    group_column = table.find(_GROUP_COLUMNS)
    groups = table.column(group_column) if group_column else [""] * len(keys)
    by_stem = video_copies(name, files)
    videos = tuple(
        Video(f"{name}/{key}", _own_file(path, line, cell, root, by_stem), value, group or f"{name}/{key}")
        for (line, _), key, cell, value, group in zip(table.rows, keys, cells, mos, groups, strict=True)
    )
    if scale is None:
        scale = (min(mos), max(mos))
        logger.info("%s: scale %g..%g taken from the data", path, *scale)
    label = "synthetic quality" if mos_column == "syntheticquality" else "MOS"
    return Dataset(name, label, scale, videos)


def _own_file(
    labels: Path, line: int, cell: str, root: Path | None, by_stem: Mapping[str, Sequence[Path]]
) -> Path | None:
    """File that a row names: absolute or below the root, with or without folder and extension."""
    direct = Path(cell) if root is None else root / cell
    if (direct.is_absolute() or root is not None) and _is_file(direct):
        return direct
    given = Path(cell)
    has_extension = _is_video(given.name)
    found = [
        path
        for path in by_stem.get(given.stem if has_extension else given.name, ())
        if not has_extension or path.suffix.lower() == given.suffix.lower()
    ]
    if len(given.parts) > 1:
        found = [path for path in found if path.parent == direct.parent]
    if len({path.parent for path in found}) > 1:
        raise LabelError(
            f"{labels}, line {line}: {cell} fits {len(found)} files ({found[0]}, {found[1]}, ..);"
            " write the folder into the row"
        )
    return found[0] if found else None


def _is_file(path: Path) -> bool:
    """Whether a path is a file; a cell may hold a text that is no possible name."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _log_found(dataset: Dataset, root: Path | None) -> None:
    missing = sum(video.path is None for video in dataset.videos)
    if root is not None and missing:
        total = len(dataset.videos)
        logger.warning(
            "%s: %d of %d videos not found below %s (see `ugcvqa check`)", dataset.name, missing, total, root
        )


def file_column(header: Sequence[str]) -> int | None:
    """Number of the column that names the file, in the header of a CSV file; None where there is none."""
    names = [_plain_name(cell) for cell in header]
    return next((names.index(alias) for alias in FILE_COLUMNS if alias in names), None)


def _plain_name(cell: str) -> str:
    """A column name in lower case without spaces and punctuation."""
    return re.sub(r"[^a-z0-9]", "", cell.lower())


def _key(video: Video) -> str:
    """Id within its data set."""
    return video.video_id.split("/", 1)[1]


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_EXTENSIONS


def _without_extension(cell: str) -> str:
    return cell[: -len(Path(cell).suffix)] if _is_video(cell) else cell


def _extension_rank(path: Path) -> int:
    return VIDEO_EXTENSIONS.index(path.suffix.lower())
