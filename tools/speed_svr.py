"""Compares CPU time and choices of the SVR protocol with plain scikit-learn, one repetition per split.

    python tools/speed_svr.py [--data ../shared/data] [--rows CNN NSS NSS_CNN SALIENCY] [--splits 1]
    python tools/speed_svr.py --whole_table [--splits 1]

Plain scikit-learn means what one writes first: for each of the hundred candidates scaling, an RBF SVR and a
`curve_fit` of the logistic; then the final fit. One thread, CPU seconds, one run; only the ratios carry over to other
machines. The same C and gamma must come out. The data are published features of YouTube-UGC in the folder `data`;
NSS_CNN has the size of RAPIQUE.

The second form estimates what the paper's Table 1 takes: its eleven rows together, as `benchmark` fits them, in some
splits of sets of the size of YouTube-UGC, KoNViD-1k and both. The features are the published ones of YouTube-UGC with
5 % noise, repeated for larger sets, and side by side for rows without public features.
"""

import argparse
import csv
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVR
from threadpoolctl import threadpool_limits

from ugcvqa.evaluation.splits import protocol_split
from ugcvqa.features.rows import PAPER_ROWS, assemble_row, families_of
from ugcvqa.heads.svr_rows import RowFit, fit_rows
from ugcvqa.settings.heads import SVRSettings

Array = NDArray[np.float64]
Result = TypeVar("Result")
ROWS = ("CNN", "NSS", "NSS_CNN", "SALIENCY")  # those with public features of all videos
SIZES = (1039, 1200, 2239)  # videos of YouTube-UGC, KoNViD-1k and both
GRID = SVRSettings()


def read(data: Path, names: list[str]) -> tuple[list[str], Array, dict[str, Array]]:
    """Video ids, MOS (N,) and blocks (N, D) in the order that the protocol splits."""
    with (data / "labels" / "youtube_ugc.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["in_paper"] == "1"]
    rows.sort(key=lambda row: int(row["paper_index"]))
    ids = [row["video"] for row in rows]
    blocks = {}
    for name in names:
        with np.load(data / "features" / f"youtube_ugc_{name}.npz") as table:
            row_of = {video: k for k, video in enumerate(table["videos"])}
            blocks[name] = table["feats"][[row_of[video] for video in ids]].astype(np.float64)
    return ids, np.array([float(row["mos"]) for row in rows]), blocks


def part_rows(ids: list[str], split_index: int) -> list[NDArray[np.intp]]:
    """Row numbers of inner training, inner validation, outer training and test part."""
    split = protocol_split(ids, split_index)
    row_of = {video: k for k, video in enumerate(ids)}
    return [
        np.array([row_of[video] for video in part]) for part in (split.train, split.val, split.outer_train, split.test)
    ]


def logistic(x: Array, b1: float, b2: float, b3: float, b4: float) -> Array:
    """Four-parameter logistic."""
    mapped: Array = b2 + (b1 - b2) / (1 + np.exp(-(x - b3) / abs(b4)))
    return mapped


def plain(features: Array, mos: Array, parts: list[NDArray[np.intp]]) -> tuple[tuple[int, int], Array]:
    """Exponents of C and gamma, and test predictions, by scikit-learn alone."""
    features = np.where(np.isfinite(features), features, 0)
    train, val, outer, test = parts
    best, chosen = np.inf, (0, 0)
    for c in GRID.c_exponents:
        for gamma in GRID.gamma_exponents:
            scaler = MinMaxScaler().fit(features[train])
            model = SVR(C=2.0**c, gamma=2.0**gamma).fit(scaler.transform(features[train]), mos[train])
            pred = model.predict(scaler.transform(features[val]))
            start = [mos[val].max(), mos[val].min(), pred.mean(), 0.5]
            with np.errstate(all="ignore"):
                b, _ = curve_fit(logistic, pred, mos[val], p0=start, maxfev=10**8)
                rmse = float(np.sqrt(np.mean((logistic(pred, *b) - mos[val]) ** 2)))
            if rmse < best:
                best, chosen = rmse, (c, gamma)
    scaler = MinMaxScaler().fit(features[outer])
    model = SVR(C=2.0 ** chosen[0], gamma=2.0 ** chosen[1]).fit(scaler.transform(features[outer]), mos[outer])
    return chosen, model.predict(scaler.transform(features[test]))


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Processor seconds of one call, and its result."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def report(data: Path, rows: list[str], splits: list[int]) -> list[str]:
    """Measures everything in one run.

    Returns:
        The lines of a table: row, split, processor seconds of scikit-learn and of `fit_rows`, ratio, chosen exponents
        of C and gamma, largest difference of a test prediction.

    Raises:
        SystemExit: if the choices differ.
    """
    names = sorted({name for row in rows for name in families_of(row)})
    ids, mos, blocks = read(data, names)

    def ours(row: str, parts: list[Any]) -> RowFit:
        ((_, fit),) = fit_rows(blocks, {row: families_of(row)}, mos, *parts)
        return fit

    ours(rows[0], part_rows(ids, splits[0]))  # imports are once per process
    lines = [f"{'row':10}{'split':>6}{'plain s':>10}{'ours s':>9}{'ratio':>8}{'C':>5}{'gamma':>7}{'max diff':>11}"]
    for row in rows:
        features = assemble_row(row, blocks)
        for index in splits:
            parts = part_rows(ids, index)
            slow, (chosen, expected) = timed(lambda f=features, p=parts: plain(f, mos, p))  # type: ignore[misc]
            fast, fit = timed(lambda r=row, p=parts: ours(r, p))  # type: ignore[misc]
            found = fit.c_exponent, fit.gamma_exponent
            if found != chosen:
                raise SystemExit(f"{row}, split {index}: chose 2^{found}, scikit-learn 2^{chosen}")
            lines.append(
                f"{row:10}{index:6d}{slow:10.2f}{fast:9.3f}{slow / fast:8.1f}{'2^' + str(found[0]):>5}"
                f"{'2^' + str(found[1]):>7}{np.abs(fit.pred_test - expected).max():11.1e}"
            )
            print(lines[-1] if len(lines) > 2 else "\n".join(lines), flush=True)
    return lines


def table_lines(data: Path, splits: list[int]) -> list[str]:
    """Processor seconds per split of all rows at each size, and of 100 splits of all three."""
    _, mos, known = read(data, ["cnn", "nss", "saliency"])
    known["vsfacnn"] = np.tile(known["cnn"], 2)
    known["vsfacnn_saliency"] = known["vsfacnn"][:, ::-1]
    random, lines, total = np.random.default_rng(0), [f"{'videos':>8}{'s per split':>13}"], 0.0
    for n_videos in SIZES:
        drawn = np.resize(np.arange(len(mos)), n_videos)
        blocks = {name: x[drawn] * (1 + 0.05 * random.normal(size=(n_videos, x.shape[1]))) for name, x in known.items()}
        labels = mos[drawn] + 0.1 * random.normal(size=n_videos)
        ids = [f"{k:04d}" for k in range(n_videos)]
        rows = {row: families_of(row) for row in PAPER_ROWS}
        taken = [
            timed(lambda b=blocks, r=rows, m=labels, p=part_rows(ids, k): list(fit_rows(b, r, m, *p)))[0]  # type: ignore[misc]
            for k in splits
        ]
        lines.append(f"{n_videos:8d}{np.mean(taken):13.1f}")
        total += 100 * float(np.mean(taken))
    return [*lines, f"100 splits of all three: {total:.0f} processor seconds, {total / 120:.0f} minutes on two cores"]


def main() -> list[str]:
    """Prints the table line by line and returns its lines."""
    shared = Path(os.environ.get("UGCVQA_SHARED", "../shared"))
    parser = argparse.ArgumentParser(description="speed and choices of the SVR protocol, one run, one thread")
    parser.add_argument("--data", type=Path, default=shared / "data", help="folder with labels/ and features/")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--splits", nargs="+", type=int, default=[1], help="numbers of protocol splits, from 1")
    parser.add_argument("--whole_table", action="store_true", help="what all rows and sets of Table 1 take")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # covariances of degenerate logistic fits
    with threadpool_limits(1):
        if not arguments.whole_table:
            return report(arguments.data, arguments.rows, arguments.splits)
        lines = table_lines(arguments.data, arguments.splits)
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    main()
