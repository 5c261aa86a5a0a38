"""What a verb is pointed at: the data set settings, and the demo set made on first use."""

import os
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ugcvqa.datasets import Dataset, load_dataset
from ugcvqa.errors import ConfigError


@dataclass(frozen=True)
class DataSettings:
    """Which videos and labels.

    Attributes:
        name: `demo` (made by the package), `konvid_1k`, `youtube_ugc`, `combined`, or any name for own videos.
        labels: label file as its owner distributes it, or a CSV with a file and a MOS column for own videos.
        root: folder with the videos, searched in depth; default for all but own videos: $UGCVQA_DATA/NAME.
        subset: for YouTube-UGC: 360P, 480P, 720P, 1080P or `all`; the paper's 1,039 videos if left out.
        features: feature files (.npz, .csv, .mat) to use instead of videos, joined by id, side by side.
    """

    name: str = "demo"
    labels: str | None = None
    root: str | None = None
    subset: str | None = None
    features: tuple[str, ...] = ()


def open_dataset(data: DataSettings) -> Dataset:
    """Loads the data set that the settings name; makes the demo set if it is not there yet.

    Raises:
        ConfigError: if the settings contradict each other.
        LabelError: if labels cannot be read.
    """
    if data.name == "demo":
        if data.labels or data.root or data.subset or data.features:
            raise ConfigError("the demo set takes no labels, root, subset or features; give --data.name as well")
        return _demo()
    root = Path(data.root) if data.root else _default_root(data)
    labels = Path(data.labels) if data.labels else None
    if root is None and labels is None:
        raise ConfigError(
            f"data set {data.name}: nothing to read; give --data.root FOLDER (videos), --data.labels FILE, or set "
            "UGCVQA_DATA to the folder that holds the data sets"
        )
    return load_dataset(data.name, labels, root, data.subset)


def _default_root(data: DataSettings) -> Path | None:
    base = os.environ.get("UGCVQA_DATA")
    root = Path(base) / data.name if base else None
    return root if root is not None and root.is_dir() else None


def _demo() -> Dataset:
    from ugcvqa.demo import build_demo, default_demo_folder

    folder = default_demo_folder()
    with tqdm(total=1, unit="video", desc="demo set", mininterval=1) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        labels = build_demo(folder, workers=min(8, os.cpu_count() or 1), progress=progress)
    return load_dataset("demo", labels, folder)
