"""Sources of samples: pictures and frame features of videos, from a store that is filled with what it lacks."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.features.extraction import extract_features, keep_result
from ugcvqa.features.family import Family
from ugcvqa.features.store import FeatureStore
from ugcvqa.features.stream import ClipStream, Task
from ugcvqa.media.video import Plan, probe
from ugcvqa.progress import progress_bar
from ugcvqa.samples.clips import ClipFamily, ClipSource
from ugcvqa.samples.sequences import SequenceTable, pack
from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.training import ClipSettings

log = logging.getLogger(__name__)


def labels_of(dataset: Dataset) -> npt.NDArray[np.float64]:
    """Labels (N,) of the videos."""
    return np.array([video.mos for video in dataset.videos], dtype=np.float64)


def fill_store(
    tasks: Sequence[Task],
    families: Mapping[str, Family],
    store: FeatureStore,
    limits: DecodeLimits = DecodeLimits(),
    workers: int = 0,
    device: str = "cpu",
) -> dict[str, str]:
    """Computes in this process what a store lacks; the `extract` verb does so by a Trainer, on all devices.

    Args:
        tasks: the videos.
        families: the feature families.
        store: where features go.
        limits: bounds on what is decoded.
        workers: processes that decode.
        device: where networks run.

    Returns:
        Video id -> reason, of videos that failed.

    Raises:
        StoreError: if the store cannot be written.
    """
    store.prepare()
    store.device = device.partition(":")[0]
    failures: dict[str, str] = {}
    specs = {name: family.spec for name, family in families.items()}
    stream = ClipStream(tasks, families, store, limits)
    with progress_bar(len(tasks), "video", "prepare") as bar:
        for result in extract_features(stream, families, workers=workers, device=device):
            video_id = tasks[result.task].video_id
            keep_result(store, specs, video_id, result)
            if result.reason:
                failures[video_id] = result.reason
                log.warning("%s: left out: %s", video_id, result.reason)
            bar.update(1)
    return failures


def clip_source(
    dataset: Dataset, settings: ClipSettings, store: FeatureStore, seed: int, is_timed: bool = False
) -> ClipSource:
    """Serves the pictures of a data set's videos from a store that has all of them.

    Args:
        dataset: videos with files.
        settings: of the pictures.
        store: has them.
        seed: of crops, flips and phases.
        is_timed: batches hold ids and times; each file is then measured once.
    """
    spec = ClipFamily(settings).spec
    paths = [Path(str(video.path)) for video in dataset.videos]
    files = [store.path(spec, store.content(path)) for path in paths]
    named = [(video.video_id, path) for video, path in zip(dataset.videos, paths, strict=True)] if is_timed else []
    return ClipSource(files, labels_of(dataset), settings, seed, named)


def frame_times(dataset: Dataset, family: Family) -> Callable[[int], npt.NDArray[np.float64]]:
    """What gives the times (T,), in seconds, of the frames that a family looks at in the video of a row."""
    return partial(_times, [str(video.path) for video in dataset.videos], family.plan)


def _times(paths: Sequence[str], plan: Plan, row: int) -> npt.NDArray[np.float64]:
    info = probe(paths[row])
    shown = [index for piece in plan(info) for index in max(piece.frames.values(), key=len)]
    return np.asarray(info.start_s + info.times_s[shown], dtype=np.float64)


def stored_sequences(dataset: Dataset, family: Family, store: FeatureStore, dtype: torch.dtype) -> SequenceTable:
    """Reads the frame features of a data set's videos into memory, from a store that has all of them."""
    contents = (store.content(Path(str(video.path))) for video in dataset.videos)
    sequences = (store.get(family.spec, content)["frames"] for content in contents)
    return pack([video.video_id for video in dataset.videos], sequences, dtype)
