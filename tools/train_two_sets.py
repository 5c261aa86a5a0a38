"""Trains the released model `nss_pixels` on YouTube-UGC and the public part of KoNViD-1k, or prints held-out figures.

    python tools/train_two_sets.py LABELS FEATURES PAIRS.npz [--folder checkpoints]
    python tools/train_two_sets.py LABELS FEATURES PAIRS.npz --held_out 100 [--workers 2] [--predictions FILE]
    python tools/train_two_sets.py LABELS FEATURES PAIRS.npz --held_out 5 --tolerated inf 0.48 0.24 0.12 0.06

LABELS holds youtube_ugc.csv and konvid_1k.csv, FEATURES youtube_ugc_nss.npz and konvid_1k_nss_partial.npz, PAIRS.npz is
from tools/make_pairs.py. Without --held_out the model is trained on all videos and written; the line that is printed
belongs in `SHA256` of `ugcvqa/scoring/released.py`. With it nothing is written but predictions: split by split, the
recipe is trained on what is left, of both sets and of the photographs, and on each set alone. The third form prints
how SRCC and wrong orders change with the weight of the pairs: `tolerated` as in `SparseGPSettings`, inf for no pairs.
"""

import argparse
import json
import math
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ugcvqa.cli import exit_code_of
from ugcvqa.datasets.catalogue import load_dataset
from ugcvqa.datasets.tables import align, read_table
from ugcvqa.evaluation.metrics import evaluate
from ugcvqa.evaluation.splits import protocol_split
from ugcvqa.features.container import container_table
from ugcvqa.features.families import build_families
from ugcvqa.features.provenance import FACTS
from ugcvqa.features.rows import families_of, motion_column
from ugcvqa.files import file_sha256
from ugcvqa.heads.pairs import Pairs, read_pairs, write_pairs
from ugcvqa.heads.parts import gp_parts
from ugcvqa.heads.sparse_fit import fit_sparse_gp
from ugcvqa.heads.sparse_gp import FittedSparseGP
from ugcvqa.scoring.model import QualityModel
from ugcvqa.settings.features import FamilySettings, NSSSettings
from ugcvqa.settings.heads import SparseGPSettings

NAME, ROW, SCALE = "nss_pixels", "NSS_PIXELS", (1.0, 5.0)
RECIPE: dict[str, Any] = {
    "kernel_videos": 1000,
    "inducing": 256,
    "ladder_inducing": 400,
    "dimensions": 128,
    "quantiles": 48,
}
SETTINGS = FamilySettings(nss=NSSSettings(picture="content"))
TOLERATED = 0.24  # MOS; thousands of pairs against 1468 ratings
_MOST_ABOVE, _MOST_OFF = 0.05, 0.1  # MOS, as in the distortion suite
FOLDS, KONVID_LINES, MOVING = 5, 540.0, 30.0  # frames per second that lose nothing

Array = npt.NDArray[np.float64]


class Videos(NamedTuple):
    """Ids, columns (N, 1838) of the row, and MOS (N,) on the scale of YouTube-UGC."""

    ids: tuple[str, ...]
    features: Array
    mos: Array


def read_sets(labels: Path, features: Path) -> tuple[Videos, Videos]:
    """Reads both sets; declared lines stand for measured ones, and every video counts as moving."""
    mos = {video.video_id: video.mos for video in load_dataset("combined", labels).videos}
    youtube = tuple(video_id for video_id in mos if video_id.startswith("youtube_ugc/"))
    sizes = align(container_table(labels / "youtube_ugc.csv"), youtube, allow_extra=True)[:, :2]
    first = align(read_table(features / "youtube_ugc_nss.npz"), youtube)
    table = read_table(features / "konvid_1k_nss_partial.npz")
    konvid = tuple(f"konvid_1k/{video_id.rpartition('/')[2]}" for video_id in table.ids)
    lines = np.full(len(konvid), KONVID_LINES)
    return _videos(youtube, first, sizes.min(axis=1), mos), _videos(konvid, table.values, lines, mos)


def _videos(ids: tuple[str, ...], nss: Array, lines: Array, mos: Mapping[str, float]) -> Videos:
    columns = np.column_stack((nss, np.full(len(ids), MOVING), lines))
    return Videos(ids, columns, np.array([mos[video_id] for video_id in ids]))


def fitted(videos: Sequence[Videos], pairs: Path | None, tolerated: float = TOLERATED) -> FittedSparseGP:
    """Fits the recipe's head to all given videos; without pairs where `tolerated` is infinite."""
    features, mos = (np.concatenate([getattr(each, name) for each in videos]) for name in ("features", "mos"))
    own = None if pairs is None or math.isinf(tolerated) else str(pairs)
    settings = SparseGPSettings(pairs=own, tolerated=tolerated if own else TOLERATED, **RECIPE)
    head, _ = fit_sparse_gp(features, mos, gp_parts(ROW, features.shape[1]), settings, motion_column(ROW))
    return head


def released(youtube: Videos, konvid: Videos, pairs: Path) -> QualityModel:
    """Trains on all videos."""
    families = build_families(families_of(ROW), SETTINGS)
    return QualityModel(
        head=fitted((youtube, konvid), pairs),
        row=ROW,
        settings=SETTINGS,
        label="MOS",
        scale=SCALE,
        trained_on=f"youtube_ugc and konvid_1k ({len(youtube.ids)} and {len(konvid.ids)} videos)",
        specs={name: family.spec.to_json() for name, family in families.items()},
        made_by={"nss": "rapique-matlab", "pixels": FACTS},
    )


def held_out(
    youtube: Videos, konvid: Videos, pairs: Path, splits: Sequence[int], workers: int, tolerated: float = TOLERATED
) -> Iterator[dict[str, Any]]:
    """Yields what the recipe says of videos and photographs that it was not trained on, part by part.

    Of YouTube-UGC the test parts of the protocol's splits, of KoNViD-1k folds in turn, of the photographs every fifth.
    """
    one = partial(_held_out_split, youtube, konvid, pairs, tolerated)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for found in pool.map(one, splits):
            yield from found
    if tolerated != TOLERATED:
        return
    for name, known, other in (("konvid_1k", youtube, konvid), ("youtube_ugc", konvid, youtube)):
        yield {"part": "other set only", "set": name, **said(fitted((known,), pairs), other)}


def _held_out_split(youtube: Videos, konvid: Videos, pairs: Path, tolerated: float, split: int) -> list[dict[str, Any]]:
    ids, photos = read_pairs_of_photos(pairs)
    place = {video_id: row for row, video_id in enumerate(youtube.ids)}
    test = np.array([place[video_id] for video_id in protocol_split(youtube.ids, split).test])
    shuffle, fold = divmod(split - 1, FOLDS)
    own = np.flatnonzero(np.random.default_rng(shuffle).permutation(len(konvid.ids)) % FOLDS == fold)
    contents = np.array([video_id.partition("/")[0] for video_id in ids])
    is_unseen = np.isin(contents, np.unique(contents)[fold::FOLDS])
    with tempfile.TemporaryDirectory() as folder:
        rest = Path(folder) / "pairs.npz"
        write_pairs(rest, ids, _among(photos, ~is_unseen))
        head = fitted((_without(youtube, test), _without(konvid, own)), rest, tolerated)
    return [
        {"part": f"split {split}", "set": "youtube_ugc", **said(head, _only(youtube, test))},
        {"part": f"split {split}", "set": "konvid_1k", **said(head, _only(konvid, own))},
        {"part": f"split {split}", "set": "photographs", **orders_of(head, _among(photos, is_unseen))},
    ]


def read_pairs_of_photos(path: Path) -> tuple[list[str], Pairs]:
    """Ids of the videos of pairs, and the pairs."""
    with np.load(path, allow_pickle=False) as file:
        return file["videos"].tolist(), read_pairs(path)


def _only(videos: Videos, rows: npt.NDArray[np.int64]) -> Videos:
    return Videos(tuple(videos.ids[row] for row in rows), videos.features[rows], videos.mos[rows])


def _without(videos: Videos, rows: npt.NDArray[np.int64]) -> Videos:
    return _only(videos, np.setdiff1d(np.arange(len(videos.ids)), rows))


def _among(pairs: Pairs, kept: npt.NDArray[np.bool_]) -> Pairs:
    """The pairs of some videos; both of a pair are of one photograph."""
    chosen, rows = kept[pairs.better], np.cumsum(kept) - 1
    places = (rows[pairs.better[chosen]], rows[pairs.worse[chosen]])
    return Pairs(pairs.features[kept], *places, pairs.margin[chosen], pairs.is_equal[chosen])


def said(head: FittedSparseGP, videos: Videos) -> dict[str, Any]:
    """Predictions of a head for videos, as plain lists."""
    found = head.predict_interval(videos.features)
    low, high = (np.clip(ends, *SCALE).tolist() for ends in (found.low, found.high))
    novel = [bool(sentences) for sentences in head.warnings(videos.features)]
    values = {"mos": videos.mos.tolist(), "pred": found.mean.tolist(), "low": low, "high": high, "warned": novel}
    return {"videos": list(videos.ids), **values, "scrambled": _scrambled_warned(head, videos.features)}


def _scrambled_warned(head: FittedSparseGP, features: Array) -> float:
    """Share of vectors that are warned whose every NSS column comes from another video."""
    rng = np.random.default_rng(0)
    rows = rng.integers(len(features), size=features.shape)
    rows[:, motion_column(ROW) :] = rows[:, :1]
    mixed = features[rows, np.arange(features.shape[1])]
    return float(np.mean([bool(sentences) for sentences in head.warnings(mixed)]))


def orders_of(head: FittedSparseGP, pairs: Pairs) -> dict[str, Any]:
    """Changes of score from the better to the worse video of each pair, and between equals."""
    pred, changes = head.predict(pairs.features), dict[str, list[float]]()
    for better, worse, is_equal in zip(pairs.better, pairs.worse, pairs.is_equal, strict=True):
        change = float(pred[worse] - pred[better])
        changes.setdefault("same" if is_equal else "worse", []).append(change)
    return {"changes": changes}


def table(found: Sequence[dict[str, Any]]) -> str:
    """The figures as Markdown: means over splits, with standard deviations in brackets."""
    lines = ["| held out | splits | SRCC | median | PLCC | RMSE | MOS in the interval | warned | scrambled warned |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        if one["set"] != "photographs":
            is_split = one["part"].startswith("split")
            groups.setdefault(f"{one['set']}{'' if is_split else ', trained without any of it'}", []).append(one)
    shuffled = groups.get("konvid_1k", [])[: FOLDS * FOLDS]
    if len(shuffled) == FOLDS * FOLDS:
        groups[f"konvid_1k, {FOLDS} folds x {FOLDS}"] = shuffled
    for name, own in groups.items():
        figures = [evaluate(np.array(one["mos"]), np.array(one["pred"])) for one in own]
        srcc, plcc, rmse = ([getattr(each, figure) for each in figures] for figure in ("srcc", "plcc", "rmse"))
        cells = [_spread(srcc), f"{np.median(srcc):.3f}", _spread(plcc), _spread(rmse)]
        mos, low, high = (np.concatenate([one[key] for one in own]) for key in ("mos", "low", "high"))
        cells += [f"{np.mean((low <= mos) & (mos <= high)):.1%}"]
        warned = [float(np.mean(one["warned"])) for one in own]
        cells += [f"{np.mean(warned):.1%}, at most {max(warned):.1%}"]
        cells += [f"{np.mean([one['scrambled'] for one in own]):.1%}"]
        lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} |")
    for kind in ("worse", "same"):
        changes = _changes(found, kind)
        share = _n_wrong(changes, kind) / max(1, len(changes))
        lines.append(
            f"\nUnseen photographs, {kind}: {_n_wrong(changes, kind)} of {len(changes)} orders wrong ({share:.1%})."
        )
    return "\n".join(lines)


def trade_off(
    youtube: Videos, konvid: Videos, pairs: Path, splits: Sequence[int], workers: int, several: Sequence[float]
) -> Iterator[str]:
    """Yields what the weight of the pairs gives and takes, as Markdown: a row for each tolerance."""
    yield "| tolerated, MOS | SRCC YouTube-UGC | SRCC KoNViD-1k | wrong orders | wrong equals |"
    yield "|---:|---:|---:|---:|---:|"
    for tolerated in several:
        found = list(held_out(youtube, konvid, pairs, splits, workers, tolerated))
        cells = []
        for name in ("youtube_ugc", "konvid_1k"):
            own = [one for one in found if one["set"] == name and one["part"].startswith("split")]
            srcc = [evaluate(np.array(one["mos"]), np.array(one["pred"])).srcc for one in own]
            cells.append(f"{_spread(srcc)}, median {np.median(srcc):.3f}")
        for kind in ("worse", "same"):
            changes = _changes(found, kind)
            cells.append(f"{_n_wrong(changes, kind)} of {len(changes)}")
        yield f"| {tolerated:g} | {' | '.join(cells)} |"


def _changes(found: Sequence[dict[str, Any]], kind: str) -> Array:
    return np.array([c for one in found if one["set"] == "photographs" for c in one["changes"].get(kind, [])])


def _n_wrong(changes: Array, kind: str) -> int:
    return int(np.sum(changes > _MOST_ABOVE) if kind == "worse" else np.sum(np.abs(changes) > _MOST_OFF))


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({np.std(values):.3f})"


def main() -> int:
    """Runs the tool and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("labels", "features", "pairs"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--folder", type=Path, default=Path("checkpoints"))
    parser.add_argument("--held_out", type=int, default=0, help="number of splits; 0 trains the model on everything")
    parser.add_argument("--first", type=int, default=1, help="number of the first split")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the splits; give each one thread")
    parser.add_argument(
        "--tolerated", type=float, nargs="+", help="with --held_out: a row for each of these weights of the pairs"
    )
    parser.add_argument("--predictions", type=Path, help="JSON lines of what is said of held-out videos")
    arguments = parser.parse_args()
    youtube, konvid = read_sets(arguments.labels, arguments.features)
    splits = range(arguments.first, arguments.first + arguments.held_out)
    data = (youtube, konvid, arguments.pairs, splits, arguments.workers)
    if arguments.tolerated:
        for line in trade_off(*data, arguments.tolerated):
            print(line, flush=True)
        return 0
    if arguments.held_out:
        found = []
        for one in held_out(*data):
            found.append(one)
            if arguments.predictions is not None:
                arguments.predictions.write_text("".join(json.dumps(each) + "\n" for each in found))
        sys.stdout.write(f"{table(found)}\n")
        return 0
    path = arguments.folder / f"{NAME}.safetensors"
    released(youtube, konvid, arguments.pairs).save(path)
    sys.stdout.write(f'"{NAME}": "{file_sha256(path)}",  # {path.stat().st_size} bytes\n')
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main, "train_two_sets"))
