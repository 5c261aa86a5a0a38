"""The house: a module imports only from modules listed above it, and heavy libraries have one door each."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "ugcvqa"

ORDER = [
    *("__init__", "errors", "settings", "cli", "files"),
    *("sampling", "metrics", "splits", "svr", "training_metrics"),
    *("decode", "video", "encode", "tables", "datasets", "inventory"),
    *("demo_paint", "demo_scenes", "demo_distort", "demo_quality", "demo", "inputs"),
    *("store", "rows", "imresize", "nss_filters", "nss_maps", "nss_stats", "nss"),
    *("backbones", "winograd", "fused", "deep", "scorecam", "saliency", "families", "extraction"),
    *("model", "report", "data", "extractors", "training", "runs"),
    *("check", "extract", "fit", "score", "__main__"),
]

DOORS = {
    "av": {"decode", "encode"},
    "lightning": {"data", "extractors"},
    "sklearn": {"svr"},
    "torchmetrics": {"training_metrics"},
    "matplotlib": {"report"},
    "jsonargparse": {"cli"},
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
