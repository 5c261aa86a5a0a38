"""Data sets: label files as their owners distribute them, and the video files that belong to the labels."""

import hashlib
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ugcvqa.datasets.finding import PUBLIC_NAMES, VideoFolder, video_copies, video_files
from ugcvqa.datasets.identity import first_alike
from ugcvqa.datasets.labels import LABEL_FILES, OWN_COLUMNS, PUBLIC_COLUMNS, LabelTable, label_file
from ugcvqa.datasets.names import path_parts, places_of, video_name, without_extension
from ugcvqa.errors import ConfigError, LabelError

logger = logging.getLogger(__name__)

RESOLUTIONS = ("360P", "480P", "720P", "1080P")
"""Resolution classes of YouTube-UGC in the row order of the benchmark."""

_MOS_SCALE = (1.0, 5.0)
_SHOWN = 3  # pairs of videos in a note

# SHA-256 of the 1200 ids joined by line feeds, in the order of the benchmark: decreasing MOS, ties by id.
_KONVID_ORDER = "04a5d9efcf16bbbbf46448e5508fb36a2b8d68626e4d2bb7a7c4eee7250dd449"


@dataclass(frozen=True)
class Video:
    """One labelled video.

    Attributes:
        video_id: unique across data sets, such as `konvid_1k/3339962845`; `<name>/<id>` in a data set of your own.
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
        videos: in row order, each once.
        notes: what a reader of the labels should know, such as rows that repeat a video.
    """

    name: str
    label: str
    scale: tuple[float, float]
    videos: tuple[Video, ...]
    notes: tuple[str, ...] = ()

    def rows(self, ids: Iterable[str]) -> list[int]:
        """Row numbers of videos by their ids, such as those of one part of a split."""
        return places_of(ids, (video.video_id for video in self.videos))


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
        name: `konvid_1k`, `youtube_ugc`, `combined` (both), `demo`, or any other word for a CSV file of your own.
        labels: label file, or a folder that holds one under a usual name (`LABEL_FILES`); for `combined` a
            folder that holds both. None: looked for in `root`.
        root: folder below which the videos lie, in any sub-folders (linked ones too, so `combined` may use a
            folder with two links). None: no videos are looked for.
        subset: for YouTube-UGC only. None: the 1039 videos of the paper; `360P` .. `1080P`: one resolution class of
            them; `all`: every labelled video, in file order. A label file without the column `in_paper` does not say
            which the 1039 are; all videos of the classes are taken then, with a warning.
        scale: lowest and highest possible label of a data set of your own; None takes them from the data.

    Returns:
        The data set; videos whose file is missing have no path. A video is its content: rows of your own file that
        name the same bytes, however they are spelled, are one video, and the first row counts.

    Raises:
        ConfigError: if the arguments do not fit together.
        LabelError: if a label file or a folder cannot be used as it is, or gives one video two scores.
    """
    _check_request(name, labels, root, subset, scale)
    files = () if root is None else video_files(root)
    source = labels or root or Path()
    if name == "combined":
        konvid = _konvid(label_file(source, "konvid_1k"), files)
        youtube = _youtube(label_file(source, "youtube_ugc"), None, files)
        aligned = tuple(replace(video, mos=inlsa_aligned(video.mos)) for video in konvid.videos)
        dataset = Dataset(name, "MOS", _MOS_SCALE, aligned + youtube.videos, konvid.notes + youtube.notes)
    elif name == "konvid_1k":
        dataset = _konvid(label_file(source, name), files)
    elif name == "youtube_ugc":
        full_name = name if subset is None else f"{name}_{subset.lower()}"
        dataset = replace(_youtube(label_file(source, name), subset, files), name=full_name)
    else:
        known_scale = _MOS_SCALE if name == "demo" else scale
        dataset = _own(name, label_file(source, name), VideoFolder(root, files), known_scale)
    _tell(dataset, root)
    return dataset


def unlabelled(name: str, root: Path) -> Dataset:
    """The videos below a folder, without labels (NaN), in the order of their names.

    Raises:
        ConfigError: if the name cannot be used.
        LabelError: if there is no video.
    """
    _check_request(name, None, root, None, None)
    files = video_files(root)
    if not files:
        raise LabelError(f"{root}: holds no video file")
    names = [file.relative_to(root).as_posix() for file in files]
    short = [without_extension(each) for each in names]
    counts = Counter(short)
    keys = [key if counts[key] == 1 else full for key, full in zip(short, names, strict=True)]
    videos = (Video(f"{name}/{key}", file, math.nan, f"{name}/{key}") for key, file in zip(keys, files, strict=True))
    return Dataset(name, "MOS", _MOS_SCALE, tuple(videos))


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


def _check_request(
    name: str, labels: Path | None, root: Path | None, subset: str | None, scale: tuple[float, float] | None
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


def _public_videos(table: LabelTable, data_set: str) -> tuple[list[tuple[int, Video]], tuple[str, ...]]:
    """Row numbers and videos of a public data set in file order, without paths, and notes about the labels."""
    columns = PUBLIC_COLUMNS[data_set]
    cells = table.column(table.need("ids", columns["id"]))
    mos = table.mos(table.need("MOS", columns["mos"]), _MOS_SCALE)
    keys = []
    for (line, _), cell in zip(table.rows, cells, strict=True):
        match = PUBLIC_NAMES[data_set].fullmatch(video_name(cell).rpartition("/")[2])
        if match is None:
            raise LabelError(f"{table.path}, line {line}: {cell!r} is not a video name of {data_set}")
        keys.append(match[1])
    kept, notes = table.once(keys, cells, mos, [None] * len(keys))
    videos = []
    for row in kept:
        video_id, resolution = f"{data_set}/{keys[row]}", re.search(r"_(\d+P)-", keys[row])
        videos.append((row, Video(video_id, None, mos[row], video_id, resolution[1] if resolution else None)))
    return videos, notes


def _konvid(path: Path, files: Sequence[Path]) -> Dataset:
    numbered, notes = _public_videos(LabelTable.read(path), "konvid_1k")
    videos = [video for _, video in numbered]
    ordered = sorted(videos, key=lambda video: (-video.mos, video.video_id))
    ids = "\n".join(_key(video) for video in ordered)
    if ordered != videos and hashlib.sha256(ids.encode()).hexdigest() == _KONVID_ORDER:
        logger.info("%s: rows brought into the order of the benchmark (decreasing MOS)", path)
        videos = ordered
    return _public("konvid_1k", videos, files, notes)


def _youtube(path: Path, subset: str | None, files: Sequence[Path]) -> Dataset:
    table = LabelTable.read(path)
    numbered, notes = _public_videos(table, "youtube_ugc")
    if subset == "all":
        return _public("youtube_ugc", [video for _, video in numbered], files, notes)
    if table.find(["inpaper"]) is None:
        logger.warning("%s: no column in_paper marks the 1039 videos of the paper; taking all of 360P-1080P", path)
    else:
        is_in_paper = table.column("inpaper")
        numbered = [(row, video) for row, video in numbered if is_in_paper[row] == "1"]
    classes = RESOLUTIONS if subset is None else (subset,)
    videos = [video for _, video in numbered if video.resolution in classes]
    if not videos:
        raise LabelError(f"{path}: holds no video of {', '.join(classes)}")
    videos.sort(key=lambda video: (classes.index(str(video.resolution)), video.video_id))
    return _public("youtube_ugc", videos, files, notes)


def _public(data_set: str, videos: Sequence[Video], files: Sequence[Path], notes: tuple[str, ...]) -> Dataset:
    """A public data set with its files; videos of one content stay, as the protocol has them, but are reported."""
    copies = video_copies(data_set, files)
    located = [replace(video, path=next(iter(copies.get(_key(video), ())), None)) for video in videos]
    alike = first_alike([video.path for video in located])
    pairs = [f"{_key(located[first])} = {_key(located[row])}" for row, first in enumerate(alike) if first != row]
    if pairs:
        more = ", .." if len(pairs) > _SHOWN else ""
        notes += (
            f"{data_set}: {len(pairs)} videos have the content of another ({', '.join(pairs[:_SHOWN])}{more}); all"
            " stay, as the protocol has them, so a split may train and test on the same content",
        )
    return Dataset(data_set, "MOS", _MOS_SCALE, tuple(located), notes)


def _own(name: str, path: Path, folder: VideoFolder, scale: tuple[float, float] | None) -> Dataset:
    table = LabelTable.read(path)
    id_column, file_column = table.find(OWN_COLUMNS["id"]), table.find(OWN_COLUMNS["file"])
    named = file_column or id_column or table.need("files or ids", OWN_COLUMNS["file"] + OWN_COLUMNS["id"])
    mos_column = table.need("labels", OWN_COLUMNS["mos"])
    mos = table.mos(mos_column, scale)
    cells = table.column(named)
    files = _own_files(table, cells, folder)
    if id_column:
        keys = [video_name(cell).removeprefix(f"{name}/") for cell in table.column(id_column)]
    else:
        keys = [_own_key(name, cell, file, folder) for cell, file in zip(cells, files, strict=True)]
    alike = [first if files[row] else None for row, first in enumerate(first_alike(files))]
    kept, notes = table.once(keys, cells, mos, alike)
    group_column = table.find(OWN_COLUMNS["group"])
    groups = table.column(group_column) if group_column else [""] * len(keys)
    videos = tuple(
        Video(f"{name}/{keys[row]}", files[row], mos[row], groups[row] or f"{name}/{keys[row]}") for row in kept
    )
    if scale is None:
        scale = (min(mos), max(mos))
        logger.info("%s: scale %g..%g taken from the data", path, *scale)
    label = "synthetic quality" if mos_column == "syntheticquality" else "MOS"
    return Dataset(name, label, scale, videos, notes)


def _own_files(table: LabelTable, cells: Sequence[str], folder: VideoFolder) -> list[Path | None]:
    """The file that each row names, None where it is missing."""
    found = folder.find(cells)
    for (line, _), cell, files in zip(table.rows, cells, found, strict=True):
        if len(files) > 1:
            raise LabelError(
                f"{table.path}, line {line}: {cell} fits {len(files)} files ({files[0]}, {files[1]}, ..);"
                " write the folder into the row"
            )
    return [files[0] if files else None for files in found]


def _own_key(name: str, cell: str, file: Path | None, folder: VideoFolder) -> str:
    """Id of a video that has none: as its file is written on disk, with as many folders as the row gives and needs."""
    given = path_parts(cell)
    known = given if file is None else folder.parts(file)
    return without_extension("/".join(known[-len(given) :] if given else ())).removeprefix(f"{name}/")


def _tell(dataset: Dataset, root: Path | None) -> None:
    for note in dataset.notes:
        logger.warning("%s", note)
    missing = sum(video.path is None for video in dataset.videos)
    if root is not None and missing:
        total = len(dataset.videos)
        logger.warning(
            "%s: %d of %d videos not found below %s (see `ugcvqa check`)", dataset.name, missing, total, root
        )


def _key(video: Video) -> str:
    """Id within its data set."""
    return video.video_id.split("/", 1)[1]
