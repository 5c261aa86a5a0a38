"""Extraction of a data set by Dask workers, here or on other machines, into the store that Lightning's would fill."""

from collections.abc import Iterator, Mapping

from ugcvqa.cluster import Lost, connected, in_order
from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.features.by_task import Extraction
from ugcvqa.features.extraction import VideoResult
from ugcvqa.features.family import Family
from ugcvqa.features.store import FeatureStore
from ugcvqa.features.stream import Task
from ugcvqa.machine import n_cores
from ugcvqa.models.outcome import Outcome
from ugcvqa.progress import progress_bar
from ugcvqa.settings.data import DaskSettings, DecodeLimits
from ugcvqa.settings.features import FamilySettings


def extract_by_dask(
    dataset: Dataset,
    families: Mapping[str, Family],
    settings: FamilySettings,
    store: FeatureStore,
    limits: DecodeLimits,
    dask: DaskSettings,
) -> dict[str, str]:
    """Extracts what the store lacks; workers compute, and this process writes, in the order of the data set.

    Args:
        dataset: the videos; those without a file count as failed.
        families: the feature families.
        settings: what they were built from.
        store: where features go.
        limits: bounds on what is decoded.
        dask: where the workers are.

    Returns:
        Video id -> reason for each failed video, see `extraction.extract_dataset`.

    Raises:
        ConfigError: if Dask is not installed, or no scheduler answers.
        StoreError: if the store cannot be written.
        UgcvqaError: if the scheduler is gone.
    """
    outcome = Outcome(dataset, families, store)
    tasks = [Task(video.video_id, str(video.path), video.mos) for video in dataset.videos if video.path is not None]
    store.prepare()
    extraction = Extraction(tuple(families), settings, store, limits)
    with (
        connected(min(n_cores(), max(1, len(tasks))), dask) as client,
        progress_bar(len(tasks), "video", "extract") as bar,
    ):
        results: Iterator[VideoResult | Lost] = in_order(client, extraction, tasks, dask.retries)
        for task, result in zip(tasks, results, strict=True):
            if isinstance(result, Lost):
                lost = f"{task.path}: the workers that extracted it were lost, the last at {result.how}"
                outcome.failures[task.video_id] = lost
            else:
                outcome.add(task.video_id, result)
            bar.update()
    outcome.write()
    outcome.report()
    return outcome.failures
