"""Labels of a benchmark's data sets: opened by name, aligned to one scale, joined where one trains and one tests."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ugcvqa.datasets.catalogue import RESOLUTIONS, Dataset, inlsa_aligned
from ugcvqa.datasets.labels import label_file
from ugcvqa.errors import ConfigError
from ugcvqa.features.inputs import data_root, open_dataset
from ugcvqa.settings.data import DataSettings

_YOUTUBE = "youtube_ugc"


def open_labels(name: str, labels: str | Mapping[str, str] | None) -> Dataset:
    """Reads the labels of a data set of the benchmark.

    Args:
        name: `konvid_1k`, `youtube_ugc`, `combined`, `youtube_ugc_360p` .. `youtube_ugc_1080p` (one resolution class),
            `youtube_ugc_all` (every labelled video), or any name for a label file of your own.
        labels: label file, or a folder that holds it as `<name>.csv` or under its owner's name, or a mapping from
            data set to one of these; None looks below $UGCVQA_DATA.

    Raises:
        ConfigError: if nothing is given.
        LabelError: if the labels cannot be read.
    """
    base, subset = name, None
    classes = {f"{_YOUTUBE}_{subset.lower()}": subset for subset in (*RESOLUTIONS, "all")}
    if name in classes:
        base, subset = _YOUTUBE, classes[name]
    given = _given(labels, name, base)
    if given is not None and (own := Path(given) / f"{base}.csv").is_file():
        given = str(own)
    if given is None and data_root(DataSettings(name=base)) is None:
        raise ConfigError(f"data set {name}: give --labels FILE, or set UGCVQA_DATA to the folder of data sets")
    return open_dataset(DataSettings(name=base, labels=given, subset=subset))


def _given(labels: str | Mapping[str, str] | None, *names: str) -> str | None:
    if labels is None or isinstance(labels, str):
        return labels
    return next((labels[name] for name in names if name in labels), None)


def label_files(dataset: Dataset, labels: str | Mapping[str, str] | None) -> dict[str, Path]:
    """Label file of each data set in a data set: one, or two for `combined` and `cross`."""
    files = {}
    for source in {video.video_id.split("/", 1)[0] for video in dataset.videos}:
        given = _given(labels, dataset.name, source, "combined")
        if given is not None:
            own = Path(given) / f"{source}.csv"
            files[source] = own if own.is_file() else label_file(Path(given), source)
    return files


def aligned(dataset: Dataset) -> Dataset:
    """The same data set with the MOS of KoNViD-1k on YouTube-UGC's scale."""
    if dataset.name == "combined":  # holds aligned ones already
        return dataset
    videos = tuple(
        replace(video, mos=inlsa_aligned(video.mos)) if video.video_id.startswith("konvid_1k/") else video
        for video in dataset.videos
    )
    return replace(dataset, videos=videos)


def joined(train: Dataset, test: Dataset) -> Dataset:
    """The videos of two data sets, the ones that train first, with their labels as they are.

    Source: the public results of the paper's supplement, whose RMSE on KoNViD-1k is smaller than any prediction with
    their PLCC can have against aligned MOS.

    Raises:
        ConfigError: if they share videos.
    """
    if {video.video_id for video in train.videos} & {video.video_id for video in test.videos}:
        raise ConfigError(f"{train.name} and {test.name} share videos: training and testing need different ones")
    scale = (min(train.scale[0], test.scale[0]), max(train.scale[1], test.scale[1]))
    return Dataset(f"{train.name}_to_{test.name}", train.label, scale, train.videos + test.videos)
