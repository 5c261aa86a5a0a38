"""From the measures of videos to the numbers of the saliency study: cosines, tests across videos, map quality."""

import hashlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.settings.study import MeasureSettings
from ugcvqa.studies.associations import (
    MIN_VIDEOS,
    Association,
    Indices,
    cca_association,
    cka_association,
    cosine_association,
    ridge_association,
)
from ugcvqa.studies.frames import spread
from ugcvqa.studies.measures import ORDERS, VideoMeasures
from ugcvqa.studies.records import CurveRow, FrameRow, VideoRow, curve_rows, frame_rows, mean, video_row

log = logging.getLogger(__name__)

COSINE = "Cosine of Algorithm 3"
"""Name of the paper's statistic among the measures."""

MEASURES: dict[str, tuple[str, Callable[[Array, Array, Indices, int, int], Association]]] = {
    COSINE: ("shrunk", cosine_association),
    "Linear CKA, map": ("coarse", cka_association),
    "CCA on held-out videos, map": ("coarse", cca_association),
    "Ridge R² on held-out videos, map": ("coarse", ridge_association),
    "Ridge R² on held-out videos, 224-vector": ("columns", ridge_association),
}
"""Measure -> which form of the map it takes, and the function."""

_MOST_VIDEOS = 1000  # of a data set in the tests: more would cost memory and change little
_MOST_ROWS = 2000


@dataclass(frozen=True)
class CosineSummary:
    """Algorithm 3 on one data set, over frames that have a map.

    Attributes:
        n_frames: frames with a cosine.
        n_missing: frames without one.
        mean: of the cosine; then its median and standard deviation.
        permuted_mean: of the cosine after shuffling channels.
        correlation: Pearson's, of the two over frames; NaN with fewer than three frames.
    """

    data: str
    n_videos: int
    n_frames: int
    n_missing: int
    mean: float
    median: float
    std: float
    permuted_mean: float
    correlation: float


@dataclass(frozen=True)
class QualitySummary:
    """Deletion, insertion and energy of the maps of one data set, means over videos.

    Attributes:
        n_videos: videos with curves, or groups of videos that show the same content.
        n_frames: frames with curves.
        deletion: order -> area under the curve, lower is better.
        insertion: order -> area under the curve, higher is better.
        p_deletion: that map and shifted map differ, over videos; NaN with too few of them.
        p_insertion: the same for insertion.
        centre: share of energy in the central quarter of the area.
        half_area: share of the area that holds half of the energy.
        entropy: relative to an even map.
    """

    data: str
    n_videos: int
    n_frames: int
    deletion: dict[str, float]
    insertion: dict[str, float]
    p_deletion: float
    p_insertion: float
    centre: float
    half_area: float
    entropy: float


class _Sample(NamedTuple):
    """Frames of one data set that enter the tests: the arrays of each video, by its content group."""

    groups: dict[str, list[Mapping[str, npt.NDArray[Any]]]]

    @property
    def n_videos(self) -> int:
        """Number of videos."""
        return sum(map(len, self.groups.values()))

    def numbers(self, per_video: int) -> Indices:
        """Number of the group of each row."""
        counts = [sum(min(per_video, len(one["deep"])) for one in arrays) for arrays in self.groups.values()]
        return np.repeat(np.arange(len(counts)), counts)

    def columns(self, name: str, per_video: int) -> Array:
        """One array of all videos, rows one below the other, group by group, thinned evenly."""
        arrays = [one[name] for group in self.groups.values() for one in group]
        parts = [one[list(spread(len(one), per_video))] for one in arrays]
        return np.concatenate(parts).reshape(sum(map(len, parts)), -1).astype(np.float64)


class Collection:
    """Gathers what the tables, figures and tests need of each video; memory is bounded for the tests' frames.

    The same videos of a data set enter the tests on every run with one seed.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.frames: list[FrameRow] = []
        self.videos: list[VideoRow] = []
        self.curves: list[CurveRow] = []
        self._samples: dict[str, _Sample] = {}
        self._groups = {video.video_id: video.group for video in dataset.videos}
        self._chosen = _chosen_videos(dataset, seed)

    def add(self, measures: VideoMeasures) -> None:
        """Takes the measures of the next video."""
        arrays, name = measures.arrays, measures.data
        self.frames += frame_rows(measures)
        self.videos.append(video_row(measures))
        self.curves += curve_rows(measures)
        if measures.video_id in self._chosen and len(arrays["sampled"]):
            groups = self._samples.setdefault(name, _Sample({})).groups
            kept = {key: arrays[key] for key in ("deep", "shrunk", "coarse", "columns")}
            groups.setdefault(self._groups[measures.video_id], []).append(kept)

    def data_sets(self) -> list[str]:
        """Names of the data sets, in order."""
        return list(dict.fromkeys(row.data for row in self.videos))

    def associations(self, name: str, settings: MeasureSettings) -> list[Association]:
        """All tests of one data set, between groups of the same content; none without re-pairings or maps."""
        sample = self._samples.get(name)
        if sample is None or not settings.permutations:
            return []
        per_video = max(1, min(settings.sample_frames, _MOST_ROWS // sample.n_videos))
        groups, deep = sample.numbers(per_video), sample.columns("deep", per_video)
        unit = "video" if len(sample.groups) == sample.n_videos else "content group"
        if len(sample.groups) < MIN_VIDEOS:
            note = f"not tested with {count(len(sample.groups), unit)}, at least {MIN_VIDEOS} are needed"
            facts = (math.nan, np.empty(0), len(groups), len(sample.groups), settings.seed, note, unit)
            return [Association(measure, *facts) for measure in MEASURES]
        found = []
        for measure, (form, function) in MEASURES.items():
            log.info(
                "%s: %s, %s, %d re-pairings", name, measure, count(len(sample.groups), unit), settings.permutations
            )
            maps = sample.columns(form, per_video)
            tested = function(deep, maps, groups, settings.permutations, settings.seed)
            found.append(replace(tested, measure=measure, unit=unit))
        return found

    def cosine(self, name: str) -> CosineSummary:
        """The distribution of Algorithm 3 over the frames of one data set."""
        rows = [row for row in self.frames if row.data == name]
        kept = [row for row in rows if not math.isnan(row.cosine)]
        cosine, permuted = (np.array([getattr(row, key) for row in kept]) for key in ("cosine", "permuted"))
        return CosineSummary(
            name,
            len({row.video_id for row in kept}),
            len(kept),
            len(rows) - len(kept),
            mean(cosine),
            float(np.median(cosine)) if len(kept) else math.nan,
            float(cosine.std()) if len(kept) else math.nan,
            mean(permuted),
            correlation(cosine, permuted),
        )

    def quality(self, name: str, settings: MeasureSettings) -> QualitySummary:
        """Map quality of one data set."""
        curves = [row for row in self.curves if row.data == name]
        frames = [row for row in self.frames if row.data == name and not row.is_empty]
        deletion, insertion = (
            {order: self._group_means(curves, order, key) for order in ORDERS}
            for key in ("deletion_auc", "insertion_auc")
        )
        return QualitySummary(
            name,
            len(deletion[ORDERS[0]]),
            len(curves) // len(ORDERS),
            {order: mean(values) for order, values in deletion.items()},
            {order: mean(values) for order, values in insertion.items()},
            *(
                sign_flip_p(values[ORDERS[0]] - values[ORDERS[1]], settings.permutations, settings.seed)
                for values in (deletion, insertion)
            ),
            *(mean(np.array([getattr(row, key) for row in frames])) for key in ("centre", "half_area", "entropy")),
        )

    def _group_means(self, curves: Sequence[CurveRow], order: str, key: str) -> Array:
        """Mean over the frames of each content group, in their order."""
        values: dict[str, list[float]] = {}
        for row in curves:
            if row.order == order:
                values.setdefault(self._groups[row.video_id], []).append(getattr(row, key))
        return np.array([np.mean(found) for found in values.values()])


def _chosen_videos(dataset: Dataset, seed: int) -> frozenset[str]:
    """Ids of the videos of each data set that enter the tests: the ones with the smallest hashes."""
    by_data: dict[str, list[str]] = {}
    for video in dataset.videos:
        by_data.setdefault(video.video_id.split("/", 1)[0], []).append(video.video_id)
    chosen = list[str]()
    for ids in by_data.values():
        chosen += sorted(ids, key=lambda one: hashlib.sha256(f"{seed} {one}".encode()).digest())[:_MOST_VIDEOS]
    return frozenset(chosen)


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 frame, 2 frames."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def correlation(a: Array, b: Array) -> float:
    """Pearson's correlation; NaN with fewer than three values, or where a side does not vary."""
    if len(a) < 3 or not a.std() or not b.std():
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def sign_flip_p(differences: npt.ArrayLike, permutations: int, seed: int) -> float:
    """Tests whether differences, one per video, lie around 0: their signs are drawn at random.

    Args:
        differences: (V,) real.
        permutations: draws.
        seed: of the draws.

    Returns:
        Two-sided p-value; NaN with fewer than `MIN_VIDEOS` videos or without draws.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < MIN_VIDEOS or not permutations:
        return math.nan
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), (permutations, len(values)))
    # summed alike, so that a draw of all signs equal is a tie and not a rounding error below it
    draws, value = np.abs((signs * values).sum(1)), abs(values[None].sum(1)[0])
    return float((1 + np.count_nonzero(draws >= value * (1 - 1e-12))) / (1 + permutations))
