"""The house: a module imports only from modules listed above it, and heavy libraries have one door each."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "ugcvqa"

ROOMS = {
    "": (
        "errors",
        "cell_texts",
        "settings",
        "training_settings",
        "processes",
        "leftovers",
        "devices",
        "cli",
        "files",
        "records",
        "untrusted",
        "trainer",
    ),
    "media": (
        *(
            "arrays",
            "bicubic",
            "imresize",
            "sampling",
            "clock",
            "boxes",
            "orientation",
            "marks",
            "aperture",
            "levels",
            "opening",
            "damage",
            "facts",
            "decode",
            "convert",
        ),
        *("video", "encode", "memory"),
    ),
    "datasets": ("names", "cells", "joining", "tables", "identity", "finding", "labels", "catalogue", "inventory"),
    "demo": ("paint", "scenes", "distort", "quality", "videos", "ladders", "pans", "versions", "known_orders"),
    "evaluation": ("metrics", "splits", "significance", "published"),
    "display": (
        *("lines", "text_tables", "main_table", "benchmark_tables", "figure_labels", "figures"),
        *("images", "maps", "html", "charts"),
    ),
    "nss": (
        *("constants", "fits", "chunks", "filters", "maps", "stats"),
        *("compiler", "compiled_resize", "compiled_maps", "compiled_statistics", "compiled", "engines", "features"),
    ),
    "pixels": ("bars", "repeats", "spectrum", "facts"),
    "deep": (
        *(
            "precision",
            "efficientnet_lite",
            "weight_files",
            "trunks",
            "backbones",
            "kept_memory",
            "signal_stack",
            "engine",
            "pooling",
            "stages",
        ),
        *("taps", "masking", "scorecam", "saliency"),
    ),
    "uvq": ("state", "layers", "trunk", "compression", "frames", "weights", "networks", "pool"),
    "features": (
        *(
            "inputs",
            "store",
            "rows",
            "fingerprints",
            "provenance",
            "container",
            "imported",
            "family",
            "light_families",
            "network_families",
            "families",
            "by_second",
            "stream",
            "loading",
            "extraction",
            "datamodule",
            "extractors",
        ),
    ),
    "samples": ("batches", "sequences", "clips"),
    "heads": (
        *("solver", "svr_grid", "svr", "scaling", "kernels", "gp", "inducing", "ladders"),
        *("pairs", "motion", "sparse_gp", "sparse_fit"),
        *("gru", "end_to_end", "gru_stack", "network_heads", "kinds", "exporting"),
    ),
    "scoring": (
        *("explanation", "contributions", "timeline", "moments", "frames_in_memory", "model", "from_tables"),
        *("uvq_score", "released", "known_answers", "known_models", "scorers"),
    ),
    "bulk": (
        *(
            "columns",
            "explanation_lines",
            "listing",
            "workers",
            "shards",
            "sinks",
            "retries",
            "parquet",
            "run",
            "printing",
        ),
    ),
    "reports": (*("outputs", "thumbnails", "comparison", "overview", "data", "parts", "page", "figure", "reporter"),),
    "training": (
        *(
            "vectors",
            "runs",
            "losses",
            "schedule",
            "gru_splits",
            "metrics",
            "regressor",
            "datamodule",
            "checkpoints",
            "preemption",
            "throughput",
            "progress",
        ),
        *("learning", "networks", "overlays", "tracking"),
    ),
    "benchmarks": (
        *(
            "results",
            "feature_tables",
            "frame_tables",
            "protocol",
            "at_once",
            "parts",
            "parallel",
            "data",
            "run",
            "ranking",
            "report",
            "dashboard",
        ),
        *("costs", "cost_report", "distortions"),
    ),
    "studies": (
        *("similarity", "activations", "map_quality", "data", "measures", "analysis", "ablation"),
        *("figures", "page", "pictures", "report", "run"),
    ),
}
"""Room -> its modules, both in the order of imports; a room imports from rooms above it."""

VERBS = ("check", "extract", "fit", "score", "doctor", "benchmark", "timings", "study", "__main__")

ORDER = [
    *(f"{room}.{module}".removeprefix(".") for room, modules in ROOMS.items() for module in modules),
    *VERBS,
]

DOORS = {
    "av": {f"media.{name}" for name in ("marks", "opening", "damage", "decode", "convert", "encode", "memory")},
    "lightning": {
        *("trainer", "features.datamodule", "features.extractors"),
        *("training.regressor", "training.datamodule", "training.checkpoints", "training.preemption"),
        *("training.throughput", "training.progress"),
        *("training.learning", "training.tracking"),
    },
    "wandb": {"training.tracking", "benchmarks.dashboard", "studies.run"},
    "sklearn": {"heads.svr_grid"},
    "torchmetrics": {"training.metrics"},
    "openvino": {"deep.engine"},
    "pyarrow": {"bulk.parquet"},
    "matplotlib": {
        *("display.figures", "display.figure_labels", "display.maps"),
        *("reports.figure", "studies.figures"),
    },
    "PIL": {"display.images"},
    "jsonargparse": {"cli"},
    "joblib": {"benchmarks.parallel"},
    "distributed": {"benchmarks.parallel"},
    "numba": {"nss.compiler"},
    "llvmlite": {"nss.compiler"},
}


def imports(path):
    """Names of all modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def modules():
    return {name_of(path): path for path in PACKAGE.rglob("*.py") if path.stem != "__init__"}


def test_every_module_has_its_place():
    assert set(modules()) == set(ORDER)
    assert len(ORDER) == len(set(ORDER))


def test_rooms_import_nothing_when_entered():
    for room in filter(None, ROOMS):
        assert not list(imports(PACKAGE / room / "__init__.py")), room


@pytest.mark.parametrize("name", ORDER)
def test_imports_only_from_above(name):
    ours = {module.removeprefix("ugcvqa.") for module in imports(modules()[name]) if module.startswith("ugcvqa.")}
    below = ours & set(ORDER[ORDER.index(name) :])
    assert not below, f"{name} imports {below}, which stand below it"


@pytest.mark.parametrize("library", DOORS)
def test_library_is_used_behind_its_door_only(library):
    users = {name for name, path in modules().items() if any(m.split(".")[0] == library for m in imports(path))}
    assert users <= DOORS[library]


def test_tests_mirror_the_package():
    """Tests of `ugcvqa/ROOM/` are in `tests/ROOM/`; those of verbs and of what verbs share are beside this file."""
    folders = {path.parent.name for path in (PACKAGE.parent / "tests").glob("*/test_*.py")}
    assert folders == set(filter(None, ROOMS))
