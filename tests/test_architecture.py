"""The house: a module imports only from modules listed above it, and heavy libraries have one door each."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "ugcvqa"

ORDER = [
    *("__init__", "errors", "settings", "training_settings", "cli", "files", "records"),
    *("sampling", "metrics", "splits", "solver", "svr_grid", "svr", "training_metrics"),
    *("significance", "published", "text_tables", "benchmark_tables", "figure_labels", "figures"),
    *("decode", "video", "encode", "tables", "container", "datasets", "inventory"),
    *("demo_paint", "demo_scenes", "demo_distort", "demo_quality", "demo", "inputs"),
    *("store", "rows", "scaling", "kernels", "gp"),
    *("imresize", "nss_filters", "nss_maps", "nss_stats", "nss"),
    *("precision", "backbones", "winograd", "fused", "deep", "scorecam", "saliency"),
    *("uvq_state", "uvq_layers", "uvq_trunk", "uvq_compression", "uvq_frames", "uvq_weights", "uvq", "uvq_pool"),
    *("families", "extraction"),
    *("losses", "gru", "batches", "sequences", "end_to_end", "clips", "network_heads", "heads"),
    *("model", "uvq_score", "known_answers", "scorers", "report", "data", "extractors", "training", "runs"),
    *("regressor", "training_data", "preemption", "throughput", "learning"),
    *("network_training", "tracking", "exporting"),
    *("results", "feature_tables", "protocol", "parts", "parallel"),
    *("benchmark_data", "benchmark_run", "benchmark_report", "dashboard", "costs", "cost_report"),
    *("similarity", "activations", "map_quality", "study_data", "study_measures", "study_analysis", "study_ablation"),
    *("study_figures", "study_page", "study_pictures", "study_report", "study_run", "study"),
    *("check", "extract", "fit", "score", "doctor", "benchmark", "timings", "__main__"),
]

DOORS = {
    "av": {"decode", "encode"},
    "lightning": {
        *("data", "extractors", "regressor", "training_data", "preemption", "throughput", "learning", "tracking"),
    },
    "wandb": {"tracking", "dashboard", "study_run"},
    "sklearn": {"svr_grid"},
    "torchmetrics": {"training_metrics"},
    "matplotlib": {"figures", "figure_labels", "study_figures"},
    "jsonargparse": {"cli"},
    "joblib": {"parallel"},
    "distributed": {"parallel"},
}


def imports(path):
    """(imported name, whether at module level outside TYPE_CHECKING) of a file."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "ugcvqa":
                yield from (f"ugcvqa.{alias.name}" for alias in node.names)
            else:
                yield node.module


def test_every_module_has_its_place():
    assert {path.stem for path in PACKAGE.glob("*.py")} == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_imports_only_from_above(name):
    allowed = set(ORDER[: ORDER.index(name)]) | {"__version__"}
    if name == "__init__":  # public names are imported when first used
        return
    ours = {module.split(".")[1] for module in imports(PACKAGE / f"{name}.py") if module.startswith("ugcvqa.")}
    assert ours <= allowed, f"{name} imports {ours - allowed}, which stand below it"


@pytest.mark.parametrize("library", DOORS)
def test_library_is_used_behind_its_door_only(library):
    users = {
        path.stem for path in PACKAGE.glob("*.py") if any(module.split(".")[0] == library for module in imports(path))
    }
    assert users <= DOORS[library]
