"""Labels and features of one data set of a benchmark, checked and joined."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ugcvqa.benchmarks.feature_blocks import Block, RowFeatures, merged_makers
from ugcvqa.benchmarks.feature_sources import FRAMES, FeatureSources
from ugcvqa.benchmarks.labels import aligned, joined, label_files, open_labels
from ugcvqa.benchmarks.problem import Entry, Problem
from ugcvqa.datasets.catalogue import Dataset
from ugcvqa.errors import ConfigError, LabelError, NoFeaturesError, WeightsError
from ugcvqa.features.provenance import described
from ugcvqa.features.rows import PAPER_ROWS, ROWS, families_of
from ugcvqa.settings.benchmark import BenchmarkSettings

if TYPE_CHECKING:  # torch takes seconds to import, and most rows need none
    from ugcvqa.benchmarks.frame_tables import FrameFeatures

log = logging.getLogger(__name__)

HEADS = ("svr", "gp", "sparse_gp", "gru")
"""Heads that an entry `ROW+HEAD` can name."""

_SHOWN = 3  # ids named in a message
_OTHER_RUN = ("NSS_CNN", "NSS_CNN_SALIENCY")  # rows whose published matrices are not made of the published parts


@dataclass(frozen=True, eq=False)
class Gathered:
    """What a benchmark needs to know about one data set.

    Attributes:
        problem: labels and features.
        entries: lines of the table, in order.
        footnotes: what a reader of the table should know.
        label: what the labels are.
        scale: lowest and highest label.
        made_by: part -> who made its features.
        n_train: number of videos, at the start, of the data set that `cross` trains on; None in other modes.
    """

    problem: Problem
    entries: tuple[Entry, ...]
    footnotes: tuple[str, ...]
    label: str
    scale: tuple[float, float]
    made_by: Mapping[str, str]
    n_train: int | None = None


def collect(asked: BenchmarkSettings, sources: FeatureSources) -> list[Gathered]:
    """Opens the data sets of a benchmark and joins the features of its rows to their labels.

    Args:
        asked: data sets (in mode `cross` the ones to test on), rows, mode, and what to do where features lack videos.
        sources: where features are.

    Raises:
        ConfigError: if a data set, row or head is unknown or given twice.
        LabelError: if labels or features cannot be used.
    """
    names, labels = asked.data_sets, asked.labels
    rows = [asked.rows] if isinstance(asked.rows, str) else asked.rows
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"data is {list(names)}: give one or more data sets, each once")
    gathered = []
    for name in names:
        dataset = open_labels(name, labels)
        sources.labels |= label_files(dataset, labels)
        if asked.train is not None:
            train = open_labels(asked.train, labels)
            sources.labels |= label_files(train, labels)
            one = gather(joined(train, dataset), rows, sources, asked.on_missing)
            trains = {video.video_id for video in train.videos}
            one = replace(one, n_train=sum(video_id in trains for video_id in one.problem.ids))
        else:
            dataset = aligned(dataset) if asked.mode == "single_split" else dataset
            one = gather(dataset, rows, sources, asked.on_missing)
        gathered.append(one)
    for path, extra in sources.unused().items():
        log.info("%s: %d videos are in no data set of this benchmark (%s)", path, len(extra), _shown(extra))
    return gathered


def parse_entries(names: Sequence[str], sources: FeatureSources) -> dict[Entry, bool]:
    """Reads the requested lines of the table: entry -> whether it was named (not part of `all`).

    `all` means the paper's rows and the user's own names in `tables`; `all+gp` the same with another head.

    Raises:
        ConfigError: if there is none, or a head is unknown.
    """
    entries: dict[Entry, bool] = {}
    for name in names:
        row, _, head = name.partition("+")
        if head not in ("", *HEADS) or not row:
            raise ConfigError(f"row {name!r}: write ROW or ROW+HEAD with head {' or '.join(HEADS)}")
        for one in (*PAPER_ROWS, *sources.own_names()) if row == "all" else (row,):
            kind = "none" if sources.is_predictions(one) else head or "svr"
            entry = Entry(one, kind)
            entries[entry] = entries.get(entry, False) or row != "all"
    if not entries:
        raise ConfigError("no row given; use for example --rows [NSS,CNN] or --rows [all]")
    return entries


def gather(dataset: Dataset, rows: Sequence[str], sources: FeatureSources, on_missing: str) -> Gathered:
    """Joins the features of the rows to the labels of a data set.

    Args:
        dataset: the labels.
        rows: requested lines as `ROW`, `ROW+HEAD` or `all`.
        sources: where features are.
        on_missing: `error`, or `common` to keep the videos that every row has.

    Raises:
        ConfigError: if a row that was named has no features at all.
        LabelError: if features lack videos, or there is nothing to learn from.
    """
    ids = [video.video_id for video in dataset.videos]
    entries = parse_entries(rows, sources)
    found: dict[str, RowFeatures] = {}
    frames: dict[str, FrameFeatures] = {}
    absent = []
    for entry, is_named in entries.items():
        try:
            is_there = _find(entry, ids, sources, found, frames)
        except (NoFeaturesError, WeightsError):  # of the store, which names features by their weights
            if is_named:
                raise
            is_there = False
        if not is_there and is_named:
            raise ConfigError(_not_found(dataset.name, entry, sources))
        if not is_there:
            absent.append(str(entry) if entry.head == "gru" else entry.row)
    if not found and not frames:
        raise ConfigError(f"{dataset.name}: no features of any row; {_where(sources)}")
    notes = [f"{dataset.name}: no features of {', '.join(dict.fromkeys(absent))}, left out."] if absent else []
    kept = _kept(dataset, {**found, **{f"{row}+gru": features for row, features in frames.items()}}, on_missing)
    if len(kept) < len(ids):
        notes.append(
            f"{dataset.name}: only the {len(kept)} of {len(ids)} videos that every row has features of; figures cannot "
            "be compared with published ones."
        )
    for note in notes:
        log.warning(note)
    chosen = tuple(entry for entry in entries if entry.row in (frames if entry.head == "gru" else found))
    taken = {row: features.taken(kept) for row, features in found.items()}
    problem = _problem(dataset, taken, kept, {entry.row for entry in chosen if entry.head == "none"})
    sequences = {row: features.taken(kept) for row, features in frames.items()}
    problem = replace(
        problem,
        sequences={row: features.table for row, features in sequences.items()},
        checksums={**problem.checksums, **{f"{row}+gru": features.sha256 for row, features in sequences.items()}},
    )
    notes += _part_notes(dataset.name, found, sources)
    blocks = [block for row, features in found.items() if row in problem.layouts for block in features.blocks.values()]
    made_by = merged_makers([*(block.made_by for block in blocks), *(features.made_by for features in frames.values())])
    notes += [f"{dataset.name}: features made by {described(made_by, sources.families)}."] if made_by else []
    notes += _column_notes(dataset.name, taken)
    low, high = problem.mos.min(), problem.mos.max()
    notes += [
        f"{dataset.name}, {row}: predictions from {np.min(pred):.4g} to {np.max(pred):.4g}, labels from {low:.4g} to "
        f"{high:.4g}; PLCC and RMSE are those after the logistic mapping of each test part."
        for row, pred in problem.predictions.items()
    ]
    return Gathered(problem, chosen, tuple(notes), dataset.label, dataset.scale, made_by)


def _find(
    entry: Entry,
    ids: Sequence[str],
    sources: FeatureSources,
    found: dict[str, RowFeatures],
    frames: "dict[str, FrameFeatures]",
) -> bool:
    """Adds the features of an entry to those that were found, of rows or of their frames; False if there are none."""
    row = entry.row
    if entry.head == "gru":
        from ugcvqa.benchmarks.frame_tables import frame_features

        if row not in frames and (of_frames := frame_features(row, ids, sources)):
            frames[row] = of_frames
        return row in frames
    if row not in found and (features := sources.row(row, ids)):
        found[row] = features.finite() if entry.head == "none" else features
    return row in found


def _not_found(data: str, entry: Entry, sources: FeatureSources) -> str:
    row = entry.row
    if entry.head == "gru":
        return (
            f"{data}: no features of single frames for {entry}; give --tables '{{{row}{FRAMES}: FILE.npz}}' with "
            "videos, counts and feats, or --store FOLDER that `ugcvqa extract` filled with frames kept"
        )
    known = "" if row in ROWS else f" (the rows of the benchmark are: {', '.join(ROWS)})"
    if row in ROWS and data not in ("youtube_ugc", "konvid_1k"):
        known = f" for every data set in it (families {', '.join(families_of(row))})"
    return f"{data}: no features of row {row}{known}; {_where(sources)}"


def _where(sources: FeatureSources) -> str:
    looked = f"none found in {sources.folder} by the rule DATASET_FAMILY.npz; " if sources.folder else ""
    return f"{looked}give --features FOLDER, --tables, or --store FOLDER after `ugcvqa extract`"


def _kept(
    dataset: Dataset, found: "Mapping[str, RowFeatures | FrameFeatures]", on_missing: str
) -> npt.NDArray[np.int64]:
    """Row numbers of the videos to use."""
    has = np.ones(len(dataset.videos), dtype=bool)
    for row, features in found.items():
        lacking = np.flatnonzero(~features.has)
        if lacking.size and on_missing == "error":
            ids = [dataset.videos[index].video_id for index in lacking]
            raise LabelError(
                f"{dataset.name}, row {row}: {features.lacking} lacks {len(ids)} of {len(dataset.videos)} videos "
                f"({_shown(ids)}); give --on_missing common to run all rows on the videos they share"
            )
        has &= features.has
    if not has.any():
        raise LabelError(f"{dataset.name}: no video has the features of every row ({', '.join(found)})")
    return np.flatnonzero(has)


def _shown(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (", .." if len(ids) > _SHOWN else "")


def _problem(
    dataset: Dataset, found: Mapping[str, RowFeatures], kept: npt.NDArray[np.int64], finished: set[str]
) -> Problem:
    blocks: dict[str, Block] = {}
    layouts = {}
    predictions = {}
    for row, features in found.items():
        if row in finished:
            predictions[row] = _finished(row, features)
            continue
        if not any(np.isfinite(block.values).any() for block in features.blocks.values()):
            raise LabelError(f"{dataset.name}, row {row}: {' + '.join(features.blocks)} holds no finite value")
        blocks.update(features.blocks)
        layouts[row] = features.layout
    return Problem(
        data=dataset.name,
        ids=tuple(dataset.videos[index].video_id for index in kept),
        mos=np.array([dataset.videos[index].mos for index in kept], dtype=np.float64),
        blocks={name: block.values for name, block in blocks.items()},
        layouts=layouts,
        predictions=predictions,
        checksums={name: block.sha256 for name, block in blocks.items()},
    )


def _finished(row: str, features: RowFeatures) -> npt.NDArray[np.float64]:
    values = features.columns()
    if values.shape[1] != 1:
        raise LabelError(
            f"{' + '.join(features.blocks)}: predictions of {row} are one number per video, not {values.shape[1]} "
            "columns; give a file with the columns video and pred"
        )
    return values[:, 0]


def _part_notes(data: str, found: Mapping[str, RowFeatures], sources: FeatureSources) -> list[str]:
    """Notes where the published files of the parts do not make up the published row."""
    rows = [row for row in _OTHER_RUN if row in found and len(found[row].blocks) > 1]
    if not rows or sources.folder is None or data not in ("konvid_1k", "youtube_ugc", "combined"):
        return []
    return [
        f"{data}, {', '.join(rows)}: put together from the files of their parts; the published features of these rows "
        "are of another extraction run, so figures from published files differ from the paper's."
    ]


def _column_notes(data: str, found: Mapping[str, RowFeatures]) -> list[str]:
    """Oddities of the features, one note for each block."""
    notes = []
    blocks = {name: block for features in found.values() for name, block in features.blocks.items()}
    for block in blocks.values():
        finite = np.isfinite(block.values)
        texts = []
        if not finite.all():
            n_videos = int((~finite.all(axis=1)).sum())
            texts.append(f"{int((~finite).sum())} non-finite values in {n_videos} videos")
        if n_empty := int((~finite.any(axis=0)).sum()):
            texts.append(f"{n_empty} columns without any finite value")
        zeroed = np.where(finite, block.values, 0)
        if n_constant := int((zeroed == zeroed[:1]).all(axis=0).sum()) - n_empty:
            texts.append(f"{n_constant} constant columns")
        if texts:
            notes.append(f"{data}, {block.title}: {', '.join(texts)}.")
    return notes
