"""`ugcvqa timings VIDEO...`: the paper's Table 2 and Figure 4, measured on this machine and these videos."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ugcvqa.cli import run_verb
from ugcvqa.errors import ConfigError, VideoError
from ugcvqa.progress import progress_bar
from ugcvqa.settings.benchmark import BenchmarkSettings
from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.heads import GPSettings, SparseGPSettings, SVRSettings
from ugcvqa.settings.training import WandbSettings

if TYPE_CHECKING:
    from ugcvqa.benchmarks.costs import Extraction, Fitting


def timings(
    videos: list[str],
    rows: list[str] | str = "all",
    families: FamilySettings = FamilySettings(),
    backbone: str | None = None,
    saliency_backbone: str | None = None,
    data: str | None = None,
    labels: str | None = None,
    features: str | None = None,
    tables: dict[str, Any] = {},
    store: str | None = None,
    repetitions: int = 9,
    svr: SVRSettings = SVRSettings(),
    gp: GPSettings = GPSettings(),
    sparse_gp: SparseGPSettings = SparseGPSettings(),
    benchmark: str | None = None,
    out: str = "timings",
    device: str = "cpu",
    limits: DecodeLimits = DecodeLimits(),
    figures: list[Literal["pdf", "svg"]] = [],
    font: Literal["sans", "serif"] = "sans",
    wandb: WandbSettings = WandbSettings(mode="disabled"),
) -> int:
    """Measures what each row costs, and writes the paper's Table 2 and Figure 4 with these numbers.

    Extract seconds need videos; fit seconds per repetition and predict seconds per video need a data set with
    features (`--data`). A video that fails is named and left out; the exit code is then 1.

    Args:
        videos: video files, or folders of them.
        rows: rows to measure, `ROW+gp` for another head; `all` means the paper's eleven.
        families: settings of the feature families; random weights do for timing.
        backbone: network in place of ResNet-50, short for --families.deep.backbone: a classification network of
            torchvision, or efficientnet_lite0, whose weights come with the extra `lite`.
        saliency_backbone: such a network in place of VGG-16, short for --families.saliency.backbone.
        data: data set on which heads are fitted, as for `ugcvqa benchmark`; without it nothing is fitted.
        labels: its labels, as for `ugcvqa benchmark`.
        features: folder with its feature files, as for `ugcvqa benchmark`.
        tables: its feature files by name, as for `ugcvqa benchmark`.
        store: feature store that holds its features, as for `ugcvqa benchmark`.
        repetitions: hold-outs over which fit seconds are averaged; the paper takes nine.
        svr: settings of the SVR head.
        gp: settings of the Gaussian-process head.
        sparse_gp: settings of the sparse Gaussian process.
        benchmark: folder of a benchmark whose median SRCC the figure shows; the paper's if left out.
        out: folder that is made; a number is added if it exists.
        device: where features are computed: cpu, cuda, cuda:1.
        limits: bounds on what is decoded.
        figures: kinds in which each figure is written beside its PNG of 300 dpi.
        font: of the figures.
        wandb: Weights & Biases for table and figures; `--wandb offline` is short for `--wandb.mode offline`.
    """
    families = families.with_backbones(backbone, saliency_backbone)
    asked = {
        "videos": videos, "rows": rows, "families": families, "data": data, "labels": labels, "features": features,
        "tables": tables, "store": store, "repetitions": repetitions, "svr": svr, "gp": gp, "sparse_gp": sparse_gp,
        "benchmark": benchmark, "out": out, "device": device, "limits": limits, "figures": figures, "font": font,
    }  # fmt: skip
    if not videos and data is None:
        raise ConfigError("nothing to measure; give videos for extract seconds, --data with --features for fit seconds")
    if repetitions < 1:
        raise ConfigError(f"repetitions is {repetitions}: at least one is needed")
    fitted = BenchmarkSettings(
        data or [], labels, rows, features, tables, store, on_missing="common", svr=svr, gp=gp, sparse_gp=sparse_gp,
        families=families,
    )  # fmt: skip
    from ugcvqa.benchmarks import cost_report as report
    from ugcvqa.benchmarks import costs
    from ugcvqa.deep.engine import chosen_engine
    from ugcvqa.display.benchmark_tables import cost_table
    from ugcvqa.display.figures import font as fonts
    from ugcvqa.files import check_writable
    from ugcvqa.records import plain_settings, versions
    from ugcvqa.training.runs import new_folder

    srcc, source = report.accuracy(benchmark, data)
    folder = new_folder(Path(out).parent, Path(out).name)
    check_writable(folder.parent)
    extraction, fitting = _extraction(videos, fitted, device, limits), _fitting(fitted, repetitions)
    record = {
        "settings": plain_settings(asked),
        "machine": costs.machine(),
        "engine": chosen_engine(families.engine),
        "versions": versions(),
        **costs.record(extraction, fitting),
    }
    notes = [
        *(report.weight_notes(families) if videos else ()),
        *report.measurement_notes(record["machine"], extraction, fitting, device),
    ]
    spent = costs.row_costs(extraction, fitting)
    table = cost_table(spent, notes)
    with fonts(font):
        pictures = report.write(folder, table, spent, srcc, source, record, figures)
    if wandb.mode != "disabled":
        from ugcvqa.benchmarks.dashboard import log_tables

        log_tables(folder, wandb, "timings", record, {"table2": table}, pictures)
    sys.stdout.write(f"{table.markdown()}\nfolder of the timings: {folder}\n")
    return 1 if extraction.failures else 0


def _extraction(videos: list[str], asked: BenchmarkSettings, device: str, limits: DecodeLimits) -> "Extraction":
    """Measures extraction of the rows of all lines; failures are named on stderr.

    Raises:
        ConfigError: if a row is unknown, or a folder holds no video.
        VideoError: if every video failed.
        WeightsError: if weights are missing.
    """
    from ugcvqa.benchmarks import costs
    from ugcvqa.datasets.finding import video_files
    from ugcvqa.deep.kept_memory import keep_freed_memory
    from ugcvqa.features.extraction import usable_device
    from ugcvqa.features.families import build_families
    from ugcvqa.features.precisions import settled
    from ugcvqa.features.rows import PAPER_ROWS, families_of_rows

    folders = (video_files(Path(video)) if Path(video).is_dir() else [video] for video in videos)
    paths = [str(path) for found in folders for path in found]
    if not paths:
        if videos:
            raise ConfigError(f"{', '.join(videos)}: no video found")
        return costs.Extraction()
    lines = [asked.rows] if isinstance(asked.rows, str) else asked.rows
    names = [row for line in lines for row in (PAPER_ROWS if line == "all" else (line.partition("+")[0],))]
    rows = list(dict.fromkeys(names))
    needed, device = families_of_rows(rows), usable_device(device)
    networks = build_families(needed, settled(asked.families, needed, device=device))
    keep_freed_memory()  # as `ugcvqa extract` does
    with progress_bar((1 + len(rows)) * len(paths), "video", "extract") as bar:
        unique = list(dict.fromkeys(paths))
        found = costs.measure_extraction(unique, rows, networks, device, limits, lambda: bar.update(1))
    for reason in found.failures.values():
        sys.stderr.write(f"ugcvqa timings: error: {' '.join(reason.split())}\n")
    if not found.infos:
        raise VideoError(f"none of {len(paths)} videos can be used")
    return found


def _fitting(asked: BenchmarkSettings, repetitions: int) -> "Fitting":
    """Measures fitting on a data set, on the videos that all its rows have; nothing without a data set.

    Raises:
        ConfigError: if a line has no features.
        LabelError: if labels or features cannot be used.
    """
    from ugcvqa.benchmarks import costs
    from ugcvqa.benchmarks.feature_sources import FeatureSources
    from ugcvqa.benchmarks.labelled_features import collect
    from ugcvqa.benchmarks.run import rules_of

    sources = FeatureSources(asked.features, asked.tables, asked.store, asked.families)
    if not asked.data:
        return costs.Fitting()
    (gathered,) = collect(asked, sources)
    entries = [entry for entry in gathered.entries if entry.head != "none"]
    with progress_bar((1 + len(entries)) * repetitions, "fit", "fit") as bar:
        return costs.measure_fitting(gathered.problem, entries, repetitions, rules_of(asked), lambda: bar.update(1))


main = partial(run_verb, timings, positional=["videos"])

if __name__ == "__main__":
    sys.exit(main())
