"""`ugcvqa benchmark`: the paper's tables and figures from features and labels."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ugcvqa.cli import run_verb
from ugcvqa.errors import ConfigError
from ugcvqa.settings.benchmark import BenchmarkSettings
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.heads import GPSettings, SparseGPSettings, SVRSettings
from ugcvqa.settings.training import GRUSettings, WandbSettings

log = logging.getLogger(__name__)

_STORE = "store"  # where extract and fit keep features


def benchmark(
    data: list[str] | str = "youtube_ugc",
    labels: str | dict[str, str] | None = None,
    rows: list[str] | str = "all",
    features: str | None = None,
    tables: dict[str, Any] = {},
    predictions: list[str] | str = [],
    store: str | None = None,
    mode: Literal["protocol", "single_split", "cross"] = "protocol",
    splits: int | None = None,
    split_index: int | None = None,
    train: str | None = None,
    on_missing: Literal["error", "common"] = "error",
    svr: SVRSettings = SVRSettings(),
    gp: GPSettings = GPSettings(),
    sparse_gp: SparseGPSettings = SparseGPSettings(),
    gru: GRUSettings = GRUSettings(),
    families: FamilySettings = FamilySettings(),
    backbone: str | None = None,
    saliency_backbone: str | None = None,
    out: str = "benchmarks",
    name: str | None = None,
    jobs: int = 0,
    backend: str = "loky",
    scheduler: str | None = None,
    style: Literal["compare", "paper"] = "compare",
    figures: list[Literal["pdf", "svg"]] = [],
    font: Literal["sans", "serif"] = "sans",
    wandb: WandbSettings = WandbSettings(mode="disabled"),
) -> int:
    """Trains and tests rows of features by the paper's protocol, and writes tables, figures and every number.

    Finished fits are kept in the folder of the benchmark: the same command resumes where it was stopped, and one with
    more rows computes only those.

    Args:
        data: data sets: `youtube_ugc`, `youtube_ugc_360p` .. `youtube_ugc_1080p`, `youtube_ugc_all` (every labelled
            video), `konvid_1k`, `combined`, or any name for own labels.
        labels: label file, or a folder that holds them as NAME.csv or under their owners' names, or a mapping from
            data set to one of these.
        rows: lines of the table: rows of the paper, names of own tables, `ROW+gp` for another head, `ROW+gru` for the
            GRU head on frame features, `all` for the paper's rows and own tables for which there are features.
        features: folder with feature files; DATASET_ROW.npz or DATASET_FAMILY.npz (or .csv, .mat), lower case, are
            found by their names.
        tables: feature files by name of a row, a family or an own table: a file, a list of files whose columns stand
            side by side (an inner list holds alternatives, the first that has a video wins), or a mapping from data
            set to one of these; `{predictions: FILE}` for predictions that need no training; `ROW_FRAMES` for the
            file of frame features that `ROW+gru` takes, otherwise from the store. Relative names are below `features`.
        predictions: CSV files of a metric of your own (a column of files and one named pred, as `score --csv` writes,
            on any scale, higher is better). Each is a line of the table, named as its file, on the test parts of the
            other rows, with the same tests against them.
        store: feature store made by `ugcvqa extract`, for families that are found nowhere else; `store` if that folder
            is here and neither `features` nor `tables` are given.
        mode: `protocol` for the paper's Table 1: median over hold-outs; `single_split` for the second program of the
            paper's code, which keeps the hold-out of median test RMSE; `cross` to train on one data set and test on
            others.
        splits: number of hold-outs; 100 if left out, 101 for `single_split`.
        split_index: run this hold-out only.
        train: data set that `cross` trains on.
        on_missing: what to do where features lack videos: an `error`, or `common` to run all rows of a data set on
            the videos that they share.
        svr: settings of the SVR head.
        gp: settings of the Gaussian process.
        sparse_gp: settings of the sparse Gaussian process.
        gru: settings of the GRU head.
        families: settings of the features in the store.
        backbone: network in place of ResNet-50, short for --families.deep.backbone: a classification network of
            torchvision, or efficientnet_lite0, whose weights come with the extra `lite`.
        saliency_backbone: such a network in place of VGG-16, short for --families.saliency.backbone.
        out: folder in which the benchmark's folder lies.
        name: name of the benchmark's folder; by default data sets and mode.
        jobs: processes; 0 for one per core.
        backend: loky, dask, or another backend of joblib.
        scheduler: address of a Dask scheduler; without it workers are started on this machine.
        style: of the LaTeX tables: `compare` with published figures, differences and footnotes, as on the screen;
            `paper` as a float to publish, with medians, deviations and a label, its footnotes as comments.
        figures: kinds in which each figure is written beside its PNG of 300 dpi.
        font: of the figures.
        wandb: Weights & Biases for the figures of each line and split, tables and pictures, in one group;
            `--wandb offline` is short for `--wandb.mode offline`.
    """
    if not (features or tables or store) and Path(_STORE).is_dir():
        store = _STORE
    tables, rows = _with_predictions(tables, rows, predictions)
    asked = BenchmarkSettings(
        data, labels, rows, features, tables, store, mode, splits, split_index, train, on_missing,
        svr, gp, sparse_gp, gru, families.with_backbones(backbone, saliency_backbone), out, name,
    )  # fmt: skip
    from ugcvqa.benchmarks import report, run
    from ugcvqa.benchmarks.feature_sources import FeatureSources
    from ugcvqa.benchmarks.labelled_features import collect
    from ugcvqa.deep.engine import chosen_engine
    from ugcvqa.display.figures import font as fonts
    from ugcvqa.records import named_folder, plain_settings, versions

    folder = named_folder(Path(out), asked.folder_name)
    sources = FeatureSources(features, tables, store, asked.families, gru.precision)
    gathered = collect(asked, sources)
    holdouts = {one.problem.data: run.make_splits(one, asked) for one in gathered}
    results = run.run(gathered, holdouts, run.rules_of(asked), folder / "parts", jobs, backend, scheduler)
    record = {
        "settings": plain_settings(vars(asked)),
        "labels": {one.problem.data: one.problem.labels_sha256 for one in gathered},
        "features": sources.checksums,
        "made_by": {one.problem.data: dict(one.made_by) for one in gathered},
        "engine": chosen_engine(asked.families.engine),
        "versions": versions(),
    }
    report.write_results(folder, results, holdouts, record)
    made = report.write_tables(folder, gathered, results, mode, style)
    with fonts(font):
        pictures = report.write_figures(folder, gathered, results, mode, figures)
    if wandb.mode != "disabled":
        from ugcvqa.benchmarks import dashboard

        dashboard.log_lines(folder, wandb, results, mode, record)
        dashboard.log_tables(folder, wandb, "benchmark_tables", record, made, pictures)
    sys.stdout.write(f"{made['table'].markdown()}\nbenchmark folder: {folder}\n")
    return 0


def _with_predictions(
    tables: dict[str, Any], rows: list[str] | str, predictions: list[str] | str
) -> tuple[dict[str, Any], list[str]]:
    """Tables and rows with a line for each file of predictions."""
    from ugcvqa.features.rows import ROWS

    named: dict[str, Any] = {}
    for file in [predictions] if isinstance(predictions, str) else predictions:
        name = Path(file).stem.upper().replace("+", "_")
        if name in {**tables, **named, **dict.fromkeys(ROWS)}:
            raise ConfigError(f"--predictions {file}: there is a row {name} already; rename the file")
        if not Path(file).is_file():
            raise ConfigError(f"--predictions {file}: no such file")
        named[name] = {"predictions": str(Path(file).resolve())}
    asked = [rows] if isinstance(rows, str) else [*rows]
    return {**tables, **named}, asked + [name for name in named if name not in asked and "all" not in asked]


main = partial(run_verb, benchmark)

if __name__ == "__main__":
    sys.exit(main())
