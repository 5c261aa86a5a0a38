"""Config files: found by path or name, merged, checked with suggestions, and made into the options of one verb.

One file serves `check`, `extract`, `fit`, `benchmark` and `timings`: each takes what it knows and leaves the rest to
the others. A key that none of them knows is an error.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from ugcvqa.arguments import listed
from ugcvqa.errors import ConfigError, did_you_mean

SHARING = ("check", "extract", "fit", "benchmark", "timings")
"""Verbs that accept each other's keys."""

_TAKES_ROW, _TAKES_ROWS = ("fit",), ("extract", "benchmark", "timings")
_BY_NAME, _BY_NAME_LIST = ("timings",), ("benchmark",)  # how these take a data set, which is a mapping elsewhere
_DATA_FLAGS = tuple(f"--data.{name}" for name in ("name", "labels", "root", "subset"))
_UGC, _CLASSES = "youtube_ugc", ("360p", "480p", "720p", "1080p", "all")

Tree = dict[str, "Tree | None"]
"""Name of an option -> its own options, or None for a value."""


def folder() -> Path:
    """Folder of the package's configs: inside an installed package, beside the package in a source tree."""
    package = Path(__file__).resolve().parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def find(name: str) -> Path:
    """Finds a config by its path, or by its name among those that come with the package.

    Raises:
        ConfigError: if there is none.
    """
    path = Path(name)
    if path.exists():
        return path
    known = {one.stem: one for one in sorted(folder().glob("*.yaml"))}
    if path.stem in known and path.suffix in ("", ".yaml") and path.parent.name in ("", "configs"):
        return known[path.stem]
    near = did_you_mean(path.stem, known)
    raise ConfigError(f"--config {name}: no such file{near or '; by name there are ' + ', '.join(known)}")


def with_own_flags(argv: Iterable[str], verb: str) -> list[str]:
    """A command line in which `--row` and `--rows` are what the verb calls them, and `--wandb MODE` its mode."""
    argv = ["--wandb.mode" + one[len("--wandb") :] if one.partition("=")[0] == "--wandb" else one for one in argv]
    if verb not in _TAKES_ROW + _TAKES_ROWS:
        return argv
    other, own = ("--rows", "--row") if verb in _TAKES_ROW else ("--row", "--rows")
    return [own + one[len(other) :] if one == other or one.startswith(f"{other}=") else one for one in argv]


def data_flags(argv: Iterable[str], verb: str) -> tuple[list[str], dict[str, str]]:
    """Takes `--data.name` and the like, as other verbs spell them, from the command line of `--data NAME`.

    Returns:
        What is left, and the settings of the data set.
    """
    if verb not in _BY_NAME + _BY_NAME_LIST:
        return list(argv), {}
    rest, found, arguments = list[str](), dict[str, str](), iter(argv)
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if flag in _DATA_FLAGS:
            found[flag.rpartition(".")[2]] = value if equals else next(arguments, "")
        else:
            rest.append(argument)
    return rest, found


def options_of(function: Callable[..., Any]) -> Tree:
    """The options of a verb, including the fields of its settings."""
    return {
        name: _below(parameter.annotation)
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items()
    }


def _below(kind: Any) -> Tree | None:  # noqa: ANN401 (any annotation)
    return {one.name: _below(one.type) for one in fields(kind)} if is_dataclass(kind) else None


def merged(configs: Iterable[tuple[str, Any]], function: Callable[..., Any]) -> dict[str, Any]:
    """Merges what config files hold, later ones winning, into the options of a verb.

    Raises:
        ConfigError: if one is not a mapping, or holds an option that no verb with which it can be shared knows.
    """
    trees: list[Tree] = [{**options_of(function), "log": None}]
    if function.__name__ in SHARING:
        verbs = [importlib.import_module(f"ugcvqa.{verb}") for verb in SHARING if verb != function.__name__]
        trees += [options_of(getattr(verb, verb.__name__.rpartition(".")[2])) for verb in verbs]
        trees.append({"row": None, "rows": None})
    together: dict[str, Any] = {}
    for name, content in configs:
        if not isinstance(content, Mapping):
            raise ConfigError(f"--config {name}: holds no options; write lines such as `row: NSS`")
        together = _joined(together, _checked(content, trees, name), trees)
    return _for_verb(together, function.__name__, trees[0])


def _checked(content: Mapping[Any, Any], trees: list[Tree], name: str, before: str = "") -> dict[str, Any]:
    """The same options, dotted keys taken apart; every key must be known to a tree."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        first, _, rest = str(key).partition(".")
        known = {option for tree in trees for option in tree}
        if not isinstance(key, str) or first not in known:
            raise ConfigError(f"--config {name}: key {before}{key} is unknown{did_you_mean(first, sorted(known))}")
        inner = {rest: value} if rest else value
        below = [below for tree in trees if (below := tree.get(first))]
        if below and isinstance(inner, Mapping):
            inner = _joined(found.get(first, {}), _checked(inner, below, name, f"{before}{first}."), below)
        found[first] = inner
    return found


def _joined(one: Any, other: Mapping[str, Any], trees: list[Tree]) -> dict[str, Any]:  # noqa: ANN401 (any YAML value)
    """Both, `other` winning; only settings are joined, other mappings are values."""
    both = dict(one) if isinstance(one, Mapping) else {}
    for key, value in other.items():
        below = [below for tree in trees if (below := tree.get(key))]
        both[key] = _joined(both.get(key), value, below) if below and isinstance(value, Mapping) else value
    return both


def _for_verb(config: dict[str, Any], verb: str, own: Tree) -> dict[str, Any]:
    """The options that a verb knows, in its own form."""
    if isinstance(config.get("wandb"), str):
        config = {**config, "wandb": {"mode": config["wandb"]}}
    if verb not in SHARING:
        return config
    options = _with_rows(config, verb)
    if verb in _BY_NAME + _BY_NAME_LIST:
        options = _with_names(options, verb)
    elif isinstance(options.get("data"), str | list):
        options["data"] = _one_data_set(options["data"], verb)
    return {key: value for key, value in options.items() if key in own}


def _with_rows(config: Mapping[str, Any], verb: str) -> dict[str, Any]:
    """`row` and `rows` are one option; where rows have a head, `head` is part of their name."""
    options = dict(config)
    given = [options.pop(key) for key in ("row", "rows") if options.get(key) is not None]
    if len(given) > 1 and listed(given[0]) != listed(given[1]):
        raise ConfigError(f"row {given[0]} and rows {given[1]}: give one of them")
    head = options.get("head")
    if not given and head == "gru" and verb in _TAKES_ROWS:
        given = ["VSFACNN"]
    if head == "end_to_end" and verb in _TAKES_ROWS:
        raise ConfigError(f"head end_to_end sees frames, not features: there is nothing for `ugcvqa {verb}`; use fit")
    if given and verb in _TAKES_ROW:
        rows = listed(given[0])
        if len(rows) != 1:
            raise ConfigError(f"rows {given[0]}: `ugcvqa fit` takes one; choose it with --row")
        options["row"] = rows[0]
    elif given and verb in _TAKES_ROWS:
        is_named = verb != "extract" and head not in (None, "svr")
        options["rows"] = [f"{row}+{head}" if is_named and "+" not in row else row for row in listed(given[0])]
    return options


def _with_names(config: Mapping[str, Any], verb: str) -> dict[str, Any]:
    """A data set with its settings as `benchmark` takes it: its name, labels, and files of features."""
    options = dict(config)
    if isinstance(wandb := options.get("wandb"), Mapping) and "logger" in options:
        used = options["logger"] == "wandb"
        options["wandb"] = {**wandb, "mode": wandb.get("mode", "offline") if used else "disabled"}
    data = options.get("data")
    if not isinstance(data, Mapping):
        return options
    name, subset = data.get("name", "demo"), data.get("subset")
    if subset is not None and name != _UGC:
        raise ConfigError(f"data.subset {subset}: only {_UGC} has subsets")
    name = name if subset is None else f"{name}_{str(subset).lower()}"
    options["data"] = [name] if verb in _BY_NAME_LIST else name
    if data.get("labels") is not None:
        options.setdefault("labels", data["labels"])
    rows = options.get("rows")
    if data.get("features") and rows:
        options.setdefault("tables", {str(row).partition("+")[0]: listed(data["features"]) for row in rows})
    elif not {"features", "tables"} & set(options):
        options.setdefault("store", "store")  # where extract and fit keep features
    return options


def _one_data_set(data: Any, verb: str) -> dict[str, Any]:  # noqa: ANN401 (any YAML value)
    names = listed(data)
    if len(names) != 1:
        raise ConfigError(f"data {data}: `ugcvqa {verb}` takes one data set; choose it with --data.name")
    base, _, subset = str(names[0]).rpartition("_")
    if base == _UGC and subset in _CLASSES:
        return {"name": base, "subset": subset if subset == "all" else subset.upper()}
    return {"name": names[0]}


def as_text(options: Mapping[str, Any]) -> str:
    """Options as YAML on one line, from which exactly they are read back."""
    text: str = yaml.dump(dict(options), Dumper=_Quoting, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.strip()


class _Quoting(yaml.SafeDumper):
    """Puts texts in quotes, so that none is taken for a number, and writes out what is given twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401
        """Anchors are not used."""
        return True


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


_Quoting.add_representer(str, _quoted)
