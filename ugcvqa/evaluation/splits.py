"""Seeded train, validation and test parts as tuples of video ids."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ugcvqa.datasets.names import places_of, video_name
from ugcvqa.errors import ConfigError, LabelError
from ugcvqa.settings.data import SplitSettings

if TYPE_CHECKING:
    from ugcvqa.datasets.catalogue import Dataset

MIN_VIDEOS = 10
"""Fewer videos than this leave parts of one or two, whose correlations mean nothing."""


@dataclass(frozen=True)
class Split:
    """One partition of a label table.

    Attributes:
        train: ids that fit the candidates of a model search, or that train a network.
        val: ids that choose among candidates or epochs.
        test: ids that only score the chosen model.
        outer_train: train and val together, in the order in which the final model is refitted (the solver's
            result depends on it within its tolerance); train followed by val unless given.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    outer_train: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.outer_train:
            object.__setattr__(self, "outer_train", self.train + self.val)
        _check_unique(self.train + self.val + self.test)
        if Counter(self.outer_train) != Counter(self.train + self.val):
            raise LabelError("outer_train of a split must hold its train and val videos, once each")

    @property
    def inner_rows(self) -> tuple[list[int], list[int]]:
        """Places of the train and of the val videos in `outer_train`."""
        return places_of(self.train, self.outer_train), places_of(self.val, self.outer_train)


def make_split(dataset: "Dataset", settings: SplitSettings) -> Split:
    """Splits a data set by content group, by the benchmark's protocol, or as stored in a file.

    Raises:
        LabelError: if there are too few videos or groups.
        ConfigError: if the split number or seed cannot be used.
    """
    ids = [video.video_id for video in dataset.videos]
    groups = [video.group for video in dataset.videos]
    kind = settings.kind
    if kind == "auto":
        kind = "group" if len(set(groups)) < len(groups) else "protocol"
    if settings.file is not None:
        return stored_split(ids, *read_permutation(settings.file, settings.index))
    if kind == "group":
        return group_split(ids, groups, settings.seed)
    return protocol_split(ids, settings.index)


def protocol_split(ids: Sequence[str], split_index: int) -> Split:
    """Makes one of the benchmark's seeded hold-out splits: 20 % test, then 20 % of the rest for validation.

    Source: the benchmark's public code: scikit-learn's shuffled `train_test_split` with random states
    ceil(8.8 i) (outer) and ceil(6.6 i) (inner, on the outer training rows in shuffled order). Videos are not
    grouped by content.

    Args:
        ids: video ids in the order of the label table; the order decides who falls where.
        split_index: i = 1, 2, ...; the benchmark uses 1..100.

    Returns:
        The split; for 1200 videos 768 train, 192 val, 240 test.

    Raises:
        LabelError: if there are fewer than ten videos or an id occurs twice.
        ConfigError: if `split_index` is below 1.
    """
    if split_index < 1:
        raise ConfigError(f"split index {split_index}: the splits are numbered from 1")
    _check_ids(ids)
    # The products are floating-point numbers before the ceiling, as in the source: it decides some seeds.
    outer, test = _hold_out(ids, math.ceil(8.8 * split_index))
    train, val = _hold_out(outer, math.ceil(6.6 * split_index))
    return Split(train, val, test, outer)


def stored_split(ids: Sequence[str], names: Sequence[str], permutation: Sequence[int]) -> Split:
    """Makes a split of VSFA's authors from one of their stored permutations.

    Source: VSFA (Li, Jiang, Jiang, 2019), public code: train is the first ceil((1 - 0.2 - 0.2) n) of the permutation,
    test what follows ceil(0.8 n), validation the rest. The first product is a floating-point number slightly above
    0.6 n, so 1,200 videos give 721, 239 and 240. Videos keep the order of the list inside each part.

    Args:
        ids: video ids, of all videos of the list or of some.
        names: n names in the order of the list, as ids or file names.
        permutation: n numbers 1..n.

    Returns:
        The split of the given ids.

    Raises:
        LabelError: if an id is not in the list, the list names a video twice, or this is not a permutation of it.
    """
    if sorted(permutation) != list(range(1, len(names) + 1)):
        raise LabelError(
            f"{len(permutation)} numbers are not a permutation of the {len(names)} names of the split file"
        )
    n_train, n_rest = math.ceil((1 - 0.2 - 0.2) * len(names)), math.ceil(0.8 * len(names))
    part_of = {place: "train" for place in permutation[:n_train]}
    part_of |= {place: "val" for place in permutation[n_train:n_rest]}
    places = {_stem(name): place for place, name in enumerate(names, start=1)}
    if len(places) < len(names):
        raise LabelError(f"the split file names a video more than once: {len(names)} names of {len(places)} videos")
    chosen: dict[str, list[tuple[int, str]]] = {"train": [], "val": [], "test": []}
    for video_id in ids:
        place = places.get(_stem(video_id))
        if place is None:
            raise LabelError(f"{video_id} is not in the split file; give the file of this data set")
        chosen[part_of.get(place, "test")].append((place, video_id))
    return Split(*(tuple(video_id for _, video_id in sorted(chosen[part])) for part in ("train", "val", "test")))


def read_permutation(file: str, index: int) -> tuple[list[str], list[int]]:
    """Reads the names and one permutation from a file of stored splits.

    Args:
        file: an .npz file with `names` (n,) and `index` (n, k); FILE.npz:SET for keys `SET.names` and `SET.index`.
        index: number of the permutation, from 1.

    Raises:
        ConfigError: if there is no such file, set or permutation.
    """
    path, _, part = file.partition(".npz")
    prefix = f"{part.removeprefix(':')}." if part else ""
    try:
        with np.load(f"{path}.npz", allow_pickle=False) as arrays:
            names, permutations = arrays[f"{prefix}names"], arrays[f"{prefix}index"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"split file {file}: holds no {prefix}names and {prefix}index ({error})") from error
    if not 1 <= index <= permutations.shape[1]:
        raise ConfigError(f"split file {file}: has permutations 1 to {permutations.shape[1]}, not {index}")
    return [str(name) for name in names], [int(place) for place in permutations[:, index - 1]]


def group_split(
    ids: Sequence[str],
    groups: Sequence[str],
    seed: int,
    test_share: float = 0.2,
    val_share: float = 0.2,
) -> Split:
    """Splits so that videos of one group (scene, content, uploader) never fall into different parts.

    Source: own; versions of one content on both sides of a boundary would let a model recognise the content.

    Groups are visited in a seeded random order, and one joins a part if that brings the part closer to its
    share of the videos. Which part a video falls into does not depend on the order of the table.

    Args:
        ids: N video ids.
        groups: N group names, one per id.
        seed: seed of the visiting order, at least 0.
        test_share: wanted share of all videos in the test part, between 0 and 1.
        val_share: wanted share of the videos outside the test part in the validation part, between 0 and 1.

    Returns:
        The split, each part in the order of `ids` and holding at least one group.

    Raises:
        LabelError: if there are fewer than ten videos or three groups, an id occurs twice, or the lengths
            differ.
        ConfigError: if a share does not lie between 0 and 1 or the seed is negative.
    """
    _check_ids(ids)
    if len(groups) != len(ids):
        raise LabelError(f"{len(ids)} video ids but {len(groups)} group names: give one group per video")
    for name, share in (("test_share", test_share), ("val_share", val_share)):
        if not 0 < share < 1:
            raise ConfigError(f"{name} is {share}: it must lie between 0 and 1")
    if seed < 0:
        raise ConfigError(f"seed is {seed}: it must not be negative")
    sizes = Counter(groups)
    if len(sizes) < 3:
        raise LabelError(f"{len(sizes)} groups of videos: train, val and test need at least one group each")

    names = sorted(sizes)
    order = [names[k] for k in np.random.default_rng(seed).permutation(len(names))]
    test = _groups_near(order, sizes, test_share, n_left_over=2)
    rest = [name for name in order if name not in test]
    val = _groups_near(rest, sizes, val_share, n_left_over=1)
    pairs = list(zip(ids, groups, strict=True))
    return Split(
        train=tuple(video for video, group in pairs if group not in test and group not in val),
        val=tuple(video for video, group in pairs if group in val),
        test=tuple(video for video, group in pairs if group in test),
    )


def _stem(name: str) -> str:
    """Name of a video without data set, folders, extension and what KoNViD-1k's first release appends."""
    return re.sub(r"(_[a-z]+)?_centercrop.*$", "", video_name(name).rpartition("/")[2])


def _hold_out(ids: Sequence[str], seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns (larger, smaller) part, 80 and 20 %, both in shuffled order.

    This is scikit-learn's `train_test_split(ids, test_size=0.2, random_state=seed)` without its import, which
    takes seconds.
    """
    order = np.random.RandomState(seed).permutation(len(ids))
    n_small = math.ceil(0.2 * len(ids))
    return tuple(ids[k] for k in order[n_small:]), tuple(ids[k] for k in order[:n_small])


def _groups_near(order: Sequence[str], sizes: Counter[str], share: float, n_left_over: int) -> set[str]:
    """Chooses groups whose videos come near to a share of all, leaving over some groups for other parts."""
    wanted = share * sum(sizes[name] for name in order)
    chosen: set[str] = set()
    n_videos = 0
    for name in order:
        is_closer = abs(n_videos + sizes[name] - wanted) < abs(n_videos - wanted)
        if is_closer and len(order) - len(chosen) > n_left_over:
            chosen.add(name)
            n_videos += sizes[name]
    return chosen or {min(order, key=lambda name: sizes[name])}


def _check_ids(ids: Sequence[str]) -> None:
    if len(ids) < MIN_VIDEOS:
        raise LabelError(f"{len(ids)} videos are too few to split: at least {MIN_VIDEOS} are needed")
    _check_unique(ids)


def _check_unique(ids: Sequence[str]) -> None:
    repeated = [video for video, count in Counter(ids).items() if count > 1]
    if repeated:
        raise LabelError(f"video id {repeated[0]!r} occurs more than once ({len(repeated)} such ids)")
