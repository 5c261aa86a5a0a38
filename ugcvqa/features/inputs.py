"""The data set that a verb is pointed at; the demo set is made on first use."""

import os
from pathlib import Path

from ugcvqa.datasets.catalogue import Dataset, load_dataset
from ugcvqa.datasets.labels import LABEL_FILES
from ugcvqa.demo.videos import build_demo, default_demo_folder
from ugcvqa.errors import ConfigError, did_you_mean
from ugcvqa.machine import n_cores
from ugcvqa.progress import progress_bar
from ugcvqa.settings.data import DataSettings


def open_dataset(data: DataSettings) -> Dataset:
    """Loads the data set that the settings name; makes the demo set if it is not there yet.

    Raises:
        ConfigError: if the settings contradict each other.
        LabelError: if labels cannot be read.
    """
    if data.name == "demo":
        if data.labels or data.root or data.subset or data.features:
            raise ConfigError("the demo set takes no labels, root, subset or features; give another --data.name")
        return _demo(data.scenes)
    root = data_root(data)
    labels = Path(data.labels) if data.labels else None
    if root is None and labels is None:
        known = (*LABEL_FILES, "combined", "demo")
        near = "" if data.name in known else did_you_mean(data.name, known)
        raise ConfigError(
            f"data set {data.name}: nothing to read; give --data.root FOLDER (videos), --data.labels FILE, or set "
            f"UGCVQA_DATA to the folder that holds the data sets{near}"
        )
    return load_dataset(data.name, labels, root, data.subset)


def data_root(data: DataSettings) -> Path | None:
    """Folder of the videos: the one that was given, else $UGCVQA_DATA/NAME if it exists, else None."""
    if data.name == "demo":
        return default_demo_folder(scenes=data.scenes)
    if data.root:
        return Path(data.root)
    base = os.environ.get("UGCVQA_DATA")
    root = Path(base) / data.name if base else None
    return root if root is not None and root.is_dir() else None


def _demo(scenes: int) -> Dataset:
    folder = default_demo_folder(scenes=scenes)
    with progress_bar(1, "video", "demo set") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        labels = build_demo(folder, scenes=scenes, workers=min(8, n_cores()), progress=progress)
    return load_dataset("demo", labels, folder)
