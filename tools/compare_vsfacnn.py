"""Compares heads on VSFACNN features with the released recipe of `nss_pixels`, on the same held-out videos.

    python tools/compare_vsfacnn.py LABELS FEATURES PAIRS.npz [--splits 12]

VSFACNN is known for 238 videos of YouTube-UGC, `youtube_ugc_vsfacnn_partial.npz` in FEATURES; the rest is as
`tools/train_two_sets.py` takes it. In each split a fifth of the 238 is held out. The heads (Gaussian processes without
any fact of the file) train on the others; the recipe also trains on all other videos of both sets, as a user would have
it, and once on the same 190 alone. Differences are tested by the corrected resampled t-test.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from train_two_sets import Videos, fitted, read_sets

from ugcvqa.cli import exit_code_of
from ugcvqa.datasets.tables import align, read_table
from ugcvqa.evaluation.metrics import evaluate
from ugcvqa.evaluation.significance import corrected_t_test
from ugcvqa.evaluation.splits import protocol_split
from ugcvqa.heads.estimators import GPHead

DEFAULT = "nss_pixels"
N_NSS = 1836


def compared(youtube: Videos, konvid: Videos, features: Path, pairs: Path, splits: int) -> Iterator[dict[str, float]]:
    """Yields the SRCC of each model on the held-out videos of a split."""
    table = read_table(features / "youtube_ugc_vsfacnn_partial.npz")
    names = {video_id.rpartition("/")[2] for video_id in table.ids}
    ids = [video_id for video_id in youtube.ids if video_id.rpartition("/")[2] in names]
    place = {video_id: row for row, video_id in enumerate(youtube.ids)}
    deep = dict(zip(ids, align(table, ids), strict=True))
    for split in range(1, splits + 1):
        parts = protocol_split(ids, split)
        train, test = ([place[video_id] for video_id in part] for part in (parts.outer_train, parts.test))
        nss, vectors = (
            youtube.features[:, :N_NSS],
            [np.stack([deep[i] for i in p]) for p in (parts.outer_train, parts.test)],
        )
        both = [np.column_stack((nss[rows], vector)) for rows, vector in zip((train, test), vectors, strict=True)]
        rest = np.setdiff1d(np.arange(len(youtube.ids)), test)
        others = Videos(tuple(youtube.ids[row] for row in rest), youtube.features[rest], youtube.mos[rest])
        found = {
            DEFAULT: fitted((others, konvid), pairs).predict(youtube.features[test]),
            "NSS": GPHead("NSS").fit(nss[train], youtube.mos[train]).predict(nss[test]),
            "VSFACNN": GPHead("VSFACNN").fit(vectors[0], youtube.mos[train]).predict(vectors[1]),
            "NSS_VSFACNN": GPHead("NSS_VSFACNN").fit(both[0], youtube.mos[train]).predict(both[1]),
        }
        yield {name: evaluate(youtube.mos[test], pred).srcc for name, pred in found.items()}


def main() -> int:
    """Runs the tool and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("labels", "features", "pairs"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--splits", type=int, default=12)
    arguments = parser.parse_args()
    youtube, konvid = read_sets(arguments.labels, arguments.features)
    found = []
    for one in compared(youtube, konvid, arguments.features, arguments.pairs, arguments.splits):
        found.append(one)
        sys.stderr.write(f"{len(found)}: {one}\n")
    n_test = round(0.2 * 238)
    sys.stdout.write(f"| model | SRCC, {len(found)} splits | less that of {DEFAULT} | p |\n|---|---|---|---|\n")
    for name in found[0]:
        values, others = (np.array([one[which] for one in found]) for which in (name, DEFAULT))
        test = corrected_t_test(values, others, 238 - n_test, n_test)
        ends = f"{test.difference.centre:+.3f} ({test.difference.low:+.3f} to {test.difference.high:+.3f})"
        same = name == DEFAULT
        spread = f"{np.median(values):.3f} ({np.std(values):.3f})"
        sys.stdout.write(f"| {name} | {spread} | {'' if same else ends} | {'' if same else f'{test.p:.3f}'} |\n")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main, "compare_vsfacnn"))
