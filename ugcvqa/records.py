"""Records in the folders of runs and benchmarks: names, settings, versions."""

import json
import platform
import subprocess
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ugcvqa import __version__
from ugcvqa.errors import ConfigError


def named_folder(out: Path, name: str) -> Path:
    """The folder of a run or benchmark.

    Raises:
        ConfigError: if the name cannot be a folder's.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise ConfigError(f"run name {name!r} cannot be a folder name; give another --name")
    return out / name


def versions() -> dict[str, str]:
    """Versions of the package and of the libraries that determine its numbers, and the commit where there is one."""
    names = ("torch", "lightning", "scikit-learn", "numpy", "scipy", "av", "numba", "openvino")
    return {
        "ugcvqa": __version__,
        "python": platform.python_version(),
        **{name: found for name in names if (found := _version(name))},
    } | ({"commit": commit} if (commit := _commit()) else {})


def _version(name: str) -> str:
    """Version of a package, empty where it is not installed: scoring alone needs few of them."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """Commit of the source tree this runs from, empty for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _described(value: Any) -> str:  # noqa: ANN401 (what JSON does not know)
    """Record of an object among settings: dates and paths as text, others by the path of their class."""
    kind = type(value)
    return str(value) if kind.__module__ in ("datetime", "pathlib") else f"{kind.__module__}.{kind.__qualname__}"


def plain_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as YAML values: dataclasses become mappings, tuples lists."""
    nested = {
        key: asdict(value) if hasattr(value, "__dataclass_fields__") else value for key, value in settings.items()
    }
    plain: dict[str, Any] = json.loads(json.dumps(nested, default=_described))
    return plain
