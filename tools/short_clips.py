"""Counts how often the released model would call short clips novel that are no less usual than long ones.

    python tools/short_clips.py LABELS FEATURES PAIRS.npz CLIP...

The training videos are known by their means over 8 to 20 seconds only. So the excess of the residual of one, two, ...
seconds of some real clips over that of the whole clip is added to the residuals of held-out training videos (three
folds), and compared with what `FittedSparseGP.warnings` allows.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from train_two_sets import RECIPE, ROW, read_pairs_of_photos, read_sets

from ugcvqa.cli import exit_code_of
from ugcvqa.features.extraction import extract_files
from ugcvqa.features.families import build_families
from ugcvqa.heads.inducing import principal_axes
from ugcvqa.heads.novelty import RESIDUAL_AXES, allowed_novelty, residual
from ugcvqa.heads.scaling import fit_scaling
from ugcvqa.heads.sparse_gp import FittedSparseGP, scaled_blocks
from ugcvqa.scoring.model import QualityModel
from ugcvqa.scoring.model_file import load
from ugcvqa.scoring.released import DEFAULT, released_file

SECONDS = (1, 2, 3, 4, 6)
FOLDS, USUAL = 3, 0.99

Array = npt.NDArray[np.float64]


def seconds_of(model: QualityModel, clips: Sequence[Path]) -> Iterator[Array]:
    """Yields the NSS columns (S, D) of each second of a clip; the facts are those of any usual video."""
    families = build_families(("nss",), model.settings)
    for path, result in extract_files(clips, families, by_second=True):
        if result.reason:
            sys.stderr.write(f"{path}: {result.reason}\n")
            continue
        own = result.seconds["nss"]
        nss = own.spread(len(own.entries))
        yield np.column_stack((nss, np.tile([30.0, 540.0], (len(nss), 1))))


def residuals(
    head: FittedSparseGP, features: Array, pairs: Array, clips: Sequence[Array]
) -> tuple[Array, dict[int, Array]]:
    """Residuals of held-out videos (N,), and excesses of the means of some seconds of the clips over the whole."""
    index = head.groups.index("nss")
    photos = scaled_blocks(pairs, head.parts, head.tables, head.scales, head.groups)[index]
    fold = np.random.default_rng(0).permutation(len(features)) % FOLDS
    found, excess = np.empty(len(features)), {count: list[Array]() for count in SECONDS}
    for number in range(FOLDS):
        inside = features[fold != number]
        tables = [fit_scaling(inside[:, p.start : p.stop], p.scaling, RECIPE["quantiles"]) for p in head.parts]

        def scaled(rows: Array, tables: Sequence[npt.NDArray[np.float32]] = tables) -> Array:
            return scaled_blocks(rows, head.parts, tables, head.scales, head.groups)[index]

        axes = principal_axes(np.concatenate((scaled(inside), photos)), RESIDUAL_AXES).astype(np.float64)
        found[fold == number] = residual(scaled(features[fold == number]), axes)
        for clip in clips:
            whole = residual(scaled(np.nanmean(clip, axis=0)[None]), axes)[0]
            for count, values in excess.items():
                starts = range(len(clip) - count + 1)
                means = np.array([np.nanmean(clip[start : start + count], axis=0) for start in starts])
                values.append(residual(scaled(means), axes) - whole)
    return found, {count: np.concatenate(values) for count, values in excess.items()}


def main() -> int:
    """Runs the tool and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("labels", "features", "pairs"):
        parser.add_argument(name, type=Path)
    parser.add_argument("clips", type=Path, nargs="+")
    arguments = parser.parse_args()
    model = load(released_file(DEFAULT))
    assert isinstance(model.head, FittedSparseGP), f"{DEFAULT} has no residual of {ROW}"
    youtube, konvid = read_sets(arguments.labels, arguments.features)
    _, pairs = read_pairs_of_photos(arguments.pairs)
    features = np.concatenate((youtube.features, konvid.features))
    clips = list(seconds_of(model, arguments.clips))
    found, excess = residuals(model.head, features, pairs.features.astype(np.float64), clips)
    usual, is_youtube = np.quantile(found, USUAL), np.arange(len(found)) < len(youtube.ids)
    print(
        "| seconds | called novel by the limit of long videos | by their own | of YouTube-UGC |\n|---:|---:|---:|---:|"
    )
    for count, values in excess.items():
        each = found[:, None] + values
        own = each > allowed_novelty(usual, count)
        print(f"| {count} | {np.mean(each > usual):.1%} | {own.mean():.1%} | {own[is_youtube].mean():.1%} |")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main, "short_clips"))
