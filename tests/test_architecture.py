"""The house: a module imports only from rooms above its own, never in a circle; heavy libraries have one door each."""

import ast
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "ugcvqa"

SHARED = ("settings",)
"""Folders that every room may import from, like the modules beside the rooms that are no verbs."""

ROOMS = (
    *("media", "datasets", "demo", "evaluation", "display", "nss", "pixels", "deep", "uvq", "features", "samples"),
    *("heads", "scoring", "datamodules", "models", "bulk", "reports", "training", "benchmarks", "studies"),
)
"""Folders in the order of imports: a module imports from its own room and from rooms before it."""

VERBS = (
    *("check", "extract", "fit", "score", "doctor", "benchmark", "timings", "study", "__main__"),
    *("convert_features", "convert_vsfa", "export_model"),
)

DOORS = {
    "av": {
        f"media.{name}" for name in ("marks", "opening", "damage", "survey", "decode", "convert", "encode", "memory")
    },
    "lightning": {
        *("trainer", "datamodules.samples", "models.extractor", "models.extraction", "models.regressor"),
        *("training.checkpoints", "training.preemption", "training.progress"),
        *("training.learning", "training.tracking"),
    },
    "wandb": {"dashboard"},
    "sklearn": {"heads.svr_grid"},
    "torchmetrics": {"models.metrics"},
    "openvino": {"deep.engine"},
    "pyarrow": {"bulk.parquet"},
    "matplotlib": {
        *("display.figures", "display.figure_labels", "display.maps", "studies.figures", "studies.frame_figures"),
    },
    "PIL": {"display.images"},
    "jinja2": {"display.html"},
    "markupsafe": {
        "display.html",
        "display.svg",
        "display.charts",
        "display.time_charts",
        "reports.page",
        "studies.page",
    },
    "jsonargparse": {"cli", "arguments"},
    "joblib": {"benchmarks.parallel"},
    "distributed": {"cluster", "benchmarks.parallel"},
    "numba": {"kernel_compiler"},
    "llvmlite": {"kernels", "kernel_compiler"},
}


LIGHT = {"importlib", "typing", "typing.TYPE_CHECKING", "importlib.import_module", "typing.Any"}
"""What a room may import when it is entered."""


def imports(path):
    """Names of all modules that a file imports."""
    return imported(ast.walk(ast.parse(path.read_text())))


def imported(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if path.stem != "__init__"}

OURS = {
    name: {module.removeprefix("ugcvqa.") for module in imports(path) if module.startswith("ugcvqa.")}
    for name, path in MODULES.items()
}
"""Module -> what it imports of this package."""


def place_of(name):
    """Place of a module, or of a folder, in the order: shared ones, rooms, verbs."""
    room = name.split(".")[0]
    return len(ROOMS) if name in VERBS else ROOMS.index(room) if room in ROOMS else -1


def test_every_folder_is_a_room():
    folders = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE}
    assert folders <= {*ROOMS, *SHARED}
    assert set(ROOMS) <= folders


def test_every_room_is_installed():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    rooms = {".".join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob("__init__.py")}
    assert rooms == set(project["tool"]["setuptools"]["packages"]) - {"ugcvqa.checkpoints", "ugcvqa.configs"}


def test_rooms_import_nothing_when_entered():
    """Names that a room offers are loaded when they are asked for; type checkers are told of them."""
    for path in PACKAGE.glob("*/__init__.py"):
        assert set(imported(ast.parse(path.read_text()).body)) <= LIGHT, path


@pytest.mark.parametrize("name", MODULES)
def test_imports_only_from_rooms_above(name):
    below = {module for module in OURS[name] if place_of(module) > place_of(name)}
    assert not below, f"{name} imports {below}, which stand below it"


def test_no_module_imports_itself_by_way_of_others():
    graph = {name: ours & set(MODULES) for name, ours in OURS.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports go round: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("library", DOORS)
def test_library_is_used_behind_its_door_only(library):
    users = {name for name, path in MODULES.items() if any(m.split(".")[0] == library for m in imports(path))}
    assert users <= DOORS[library]


def test_tests_mirror_the_package():
    """Tests of `ugcvqa/ROOM/` are in `tests/ROOM/`; those of verbs and of what verbs share are beside this file."""
    folders = {path.parent.name for path in (PACKAGE.parent / "tests").glob("*/test_*.py")}
    assert folders - set(SHARED) == set(ROOMS)
