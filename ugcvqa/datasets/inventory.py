"""Which videos of a data set are there, missing, doubled or unreadable."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ugcvqa.cell_texts import csv_text
from ugcvqa.datasets.catalogue import Dataset, Video
from ugcvqa.datasets.finding import PUBLIC_NAMES, video_copies, video_files
from ugcvqa.datasets.identity import first_alike
from ugcvqa.errors import ConfigError, VideoError

_SHOWN = 10  # lines per kind of finding on the screen; the CSV file has all


@dataclass(frozen=True)
class CheckedVideo:
    """What was found for one labelled video.

    Attributes:
        video: the label row; its path is the copy in use.
        others: further files of the same video, in order of preference.
        reason: why the file in use cannot be read, empty if it can or was not opened.
        doubts: what would make its score doubtful, one plain sentence each; empty if it was not opened.
    """

    video: Video
    others: tuple[Path, ...] = ()
    reason: str = ""
    doubts: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """`ok`, `missing` or `unreadable`."""
        if self.video.path is None:
            return "missing"
        return "unreadable" if self.reason else "ok"


@dataclass(frozen=True)
class CheckReport:
    """Findings about a data set on disk.

    Attributes:
        dataset: the labels.
        root: folder that was searched, None if none was.
        probed: whether each file was opened.
        videos: findings in row order.
        extra: video files that belong to no label.
        twins: extra files with the content of a labelled video -> the file of that video.
    """

    dataset: Dataset
    root: Path | None
    probed: bool
    videos: tuple[CheckedVideo, ...]
    extra: tuple[Path, ...]
    twins: Mapping[Path, Path] = field(default_factory=dict)

    def with_status(self, status: str) -> list[CheckedVideo]:
        """Videos of one status."""
        return [checked for checked in self.videos if checked.status == status]

    @property
    def is_fine(self) -> bool:
        """Whether every video is there and readable, or no folder was searched."""
        return self.root is None or len(self.with_status("ok")) == len(self.videos)

    def lines(self) -> Iterator[str]:
        """Yields the report as text, long lists cut."""
        dataset = self.dataset
        labels = [video.mos for video in dataset.videos]
        yield (
            f"{dataset.name}: {len(labels)} videos, {dataset.label} {min(labels):.3f} to {max(labels):.3f}"
            f" on a scale of {dataset.scale[0]:g} to {dataset.scale[1]:g}"
        )
        yield from dataset.notes
        if self.root is None:
            yield "no folder of videos given: only the labels were checked"
            return
        missing, unreadable = self.with_status("missing"), self.with_status("unreadable")
        yield f"{len(labels) - len(missing)} of {len(labels)} videos found below {self.root}"
        yield from _listed("missing", [checked.video.video_id for checked in missing])
        if self.probed:
            yield from _listed("unreadable", [f"{c.video.path}: {c.reason}" for c in unreadable])
            doubtful = [f"{c.video.path}: {'; '.join(c.doubts)}" for c in self.videos if c.doubts]
            yield from _listed("whose score will have a warning", doubtful)
        doubled = [checked for checked in self.videos if checked.others]
        yield from _listed("with several files", [_copies_line(checked) for checked in doubled])
        yield from _listed("extra files, in no label row", [f"{path}{self._twin(path)}" for path in self.extra])

    def _twin(self, path: Path) -> str:
        return f" (the same content as {self.twins[path]})" if path in self.twins else ""

    def to_csv(self) -> str:
        """All findings as CSV: video_id, status, path in use, other files (`;` between them), reason, warnings."""
        rows = [("video_id", "status", "path", "other_files", "reason", "warnings")]
        for checked in self.videos:
            others, doubts = ";".join(map(str, checked.others)), "; ".join(checked.doubts)
            path = str(checked.video.path or "")
            rows.append((checked.video.video_id, checked.status, path, others, checked.reason, doubts))
        rows += [("", "extra", str(path), "", self._twin(path).strip(" ()"), "") for path in self.extra]
        return csv_text(rows)


def check_dataset(dataset: Dataset, root: Path | None, *, probe_files: bool = False, workers: int = 1) -> CheckReport:
    """Compares a data set with the files on disk.

    Args:
        dataset: the labels, with the paths that were found below `root`.
        root: folder of the videos; None checks the labels only.
        probe_files: whether to decode each file in use, as scoring does.
        workers: files decoded at the same time.

    Returns:
        The findings, also for files that cannot be read.

    Raises:
        ConfigError: if files are to be opened but no folder is given, or `workers` is below 1.
        LabelError: if the folder cannot be listed.
    """
    if workers < 1:
        raise ConfigError(f"workers {workers}: at least one is needed")
    if root is None:
        if probe_files:
            raise ConfigError("probe: give the folder of the videos (--data.root)")
        return CheckReport(dataset, None, False, tuple(map(CheckedVideo, dataset.videos)), ())
    files = video_files(root)
    copies = _copies(dataset, files)
    paths = [video.path for video in dataset.videos if video.path is not None]
    found_in = _decoded(paths, workers) if probe_files else {}
    checked = tuple(
        CheckedVideo(
            video,
            tuple(path for path in copies.get(video.video_id, ()) if path != video.path),
            *(("", ()) if video.path is None else found_in.get(video.path, ("", ()))),
        )
        for video in dataset.videos
    )
    labelled = {path for found in copies.values() for path in found}
    extra = tuple(path for path in files if path not in labelled)
    return CheckReport(dataset, root, probe_files, checked, extra, _twins(paths, extra))


def _twins(used: Sequence[Path], extra: Sequence[Path]) -> dict[Path, Path]:
    """Extra files with the content of one that is used."""
    files = [*used, *extra]
    alike = first_alike(files)
    return {files[k]: files[alike[k]] for k in range(len(used), len(files)) if alike[k] < len(used)}


def _copies(dataset: Dataset, files: Sequence[Path]) -> dict[str, list[Path]]:
    """Video id -> all its files. In a data set of your own: files of one name in one folder that no other row uses."""
    public = {data_set: video_copies(data_set, files) for data_set in PUBLIC_NAMES}
    used = {video.path for video in dataset.videos}
    beside: dict[Path, list[Path]] = {}
    for path in files:
        beside.setdefault(path.with_suffix(""), []).append(path)
    copies = {}
    for video in dataset.videos:
        data_set, key = video.video_id.split("/", 1)
        if data_set in public:
            copies[video.video_id] = public[data_set].get(key, [])
        elif video.path is not None:
            same_name = beside.get(video.path.with_suffix(""), [])
            copies[video.video_id] = [path for path in same_name if path == video.path or path not in used]
    return copies


def _decoded(paths: Sequence[Path], workers: int) -> Mapping[Path, tuple[str, tuple[str, ...]]]:
    """Decodes files as scoring does; reports why each bad one cannot be read and what is doubtful about the others."""
    from ugcvqa.media.facts import doubts_of
    from ugcvqa.media.video import check_video

    def found(path: Path) -> tuple[str, tuple[str, ...]]:
        try:
            return "", doubts_of(check_video(path))
        except VideoError as error:
            return " ".join(str(error).split()), ()

    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(paths, pool.map(found, paths), strict=True))


def _copies_line(checked: CheckedVideo) -> str:
    others = ", ".join(map(str, checked.others))
    return f"{checked.video.video_id}: {checked.video.path} is used, not {others}"


def _listed(title: str, entries: Sequence[str]) -> Iterator[str]:
    yield f"{len(entries)} {title}"
    yield from (f"  {entry}" for entry in entries[:_SHOWN])
    if len(entries) > _SHOWN:
        yield f"  .. and {len(entries) - _SHOWN} more"
