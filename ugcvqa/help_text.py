"""The text of `--help`: usage, summary and examples first, then options, and groups of settings by name only.

`--help all` shows every setting, `--help GROUP` the settings of one group; all comes from signatures and docstrings.
"""

import inspect
import textwrap
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin

import docstring_parser

EXAMPLES = {
    "fit": (
        "ugcvqa fit                                                       # the built-in demo set, offline",
        "ugcvqa fit --data.name mine --data.root videos --data.labels labels.csv --head gp",
    ),
    "extract": (
        "ugcvqa extract --data.name mine --data.root videos --data.labels labels.csv",
        "ugcvqa extract --config youtube_ugc_nss --data.root VIDEOS --rows [NSS,CNN]",
    ),
    "score": (
        "ugcvqa score clip.mp4 --explain --report clip.html",
        "ugcvqa score uploads --output scores.csv                         # a folder; resumes if killed",
    ),
    "benchmark": (
        "ugcvqa benchmark --config benchmark_youtube_ugc --labels LABELS --features FEATURES",
        "ugcvqa benchmark --data mine --labels labels.csv --store store --rows [NSS,NSS+gp]",
    ),
    "timings": (
        "ugcvqa timings VIDEOS --rows [NSS,CNN]",
        "ugcvqa timings --data youtube_ugc --labels LABELS --features FEATURES --rows [NSS]",
    ),
    "study": ("ugcvqa study clip.mp4 --frames 4", "ugcvqa study VIDEOS --backbone efficientnet_lite0"),
    "doctor": ("ugcvqa doctor", "ugcvqa doctor --quick"),
    "check": (
        "ugcvqa check --data.name mine --data.root videos --data.labels labels.csv --probe",
        "ugcvqa check --config youtube_ugc_nss --data.root VIDEOS --out missing.csv",
    ),
}
"""Two commands for each verb."""

_SHOWN = ("data",)  # groups that are shown whole
_WIDTH, _INDENT = 100, 26
_WORDS = {int: "N", float: "X", str: "TEXT", bool: "true|false"}
_COMMON = (
    (
        "--config FILE",
        "YAML file with options as keys, or the name of a config that comes with the package; several merge",
    ),
    ("--print_config", "show all options as they would be used, as YAML, and end"),
    ("--log plain|full", "what goes to stderr: `full` has time and level on each line, and one for each failed video"),
    ("--help [all|GROUP]", "show this, every setting, or the settings of one group such as `data`, and end"),
)


def asked(argv: Sequence[str]) -> str | None:
    """The topic of `--help` on a command line: empty if there is none, None if help is not asked for."""
    before = list(argv[: argv.index("--")] if "--" in argv else argv)
    for number, argument in enumerate(before):
        if argument in ("-h", "--help"):
            following = before[number + 1 : number + 2]
            return following[0] if following and not following[0].startswith("-") else ""
        if argument.startswith("--help="):
            return argument.removeprefix("--help=")
    return None


def help_text(function: Callable[..., int], prog: str, positional: Sequence[str], topic: str = "") -> str:
    """The help of a verb.

    Args:
        function: the verb.
        prog: its name on the command line.
        positional: parameters without a flag.
        topic: `all`, a group, or anything else for the short help.
    """
    doc = docstring_parser.parse(inspect.getdoc(function) or "")
    texts = {one.arg_name: one.description or "" for one in doc.params}
    parameters = inspect.signature(function, eval_str=True).parameters
    groups = {name: one.annotation for name, one in parameters.items() if is_dataclass(one.annotation)}
    if topic.strip("-.*") in groups:
        name = topic.strip("-.*")
        return f"{texts[name]}\n\n" + "".join(_group(f"--{name}", groups[name], parameters[name].default))
    lines = [f"usage: {prog} {''.join(f'[{name.upper()} ...] ' for name in positional)}[options]\n\n"]
    lines += [f"{doc.short_description}\n\nexamples:\n", *(f"  {one}\n" for one in EXAMPLES[function.__name__])]
    lines += [f"\n{doc.long_description}\n"] if doc.long_description else []
    lines.append("\noptions:\n")
    for name, one in parameters.items():
        if name in positional:
            lines.append(_entry(f"{name.upper()} ...", texts[name]))
        elif name not in groups:
            is_switch = one.default is False
            flag = f"--{name}" if is_switch else f"--{name} {_kind(one.annotation)}"
            lines.append(_entry(flag, texts[name] + _default(one.default)))
    lines += [_entry(flag, text) for flag, text in _COMMON]
    shown = [name for name in groups if name in _SHOWN or topic == "all"]
    for name in shown:
        lines += [f"\n{name}: {texts[name]}\n", *_group(f"--{name}", groups[name], parameters[name].default)]
    if rest := [name for name in groups if name not in shown]:
        lines.append("\nsettings for experts (`--help GROUP` says what they mean):\n")
        lines += [_entry(f"--{name}.*", f"{texts[name]} {_names(groups[name])}") for name in rest]
    return "".join(lines)


def _group(flag: str, kind: Any, default: Any) -> Iterator[str]:  # noqa: ANN401 (a dataclass, its instance)
    """The settings of a group, followed by the settings of groups within it."""
    doc = docstring_parser.parse(inspect.getdoc(kind) or "")
    texts = {one.arg_name: one.description or "" for one in doc.params}
    inner = []
    for one in fields(kind):
        value = getattr(default, one.name) if is_dataclass(default) else _value(one)
        if is_dataclass(one.type):
            inner.append((f"{flag}.{one.name}", one.type, value))
        else:
            yield _entry(f"{flag}.{one.name} {_kind(one.type)}", texts.get(one.name, "") + _default(value))
    for name, below, value in inner:
        yield from _group(name, below, value)


def _value(one: Field[Any]) -> Any:  # noqa: ANN401 (any default)
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _names(kind: Any) -> str:  # noqa: ANN401 (a dataclass)
    return "(" + ", ".join(f"{one.name}.*" if is_dataclass(one.type) else one.name for one in fields(kind)) + ")"


def _kind(kind: Any) -> str:  # noqa: ANN401 (any annotation)
    """A type as one word, or as its choices."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "|".join(map(str, inside))
    if origin in (Union, types.UnionType):
        return "|".join(dict.fromkeys(_kind(one) for one in inside if one is not type(None)))
    if origin in (list, tuple):
        return "[..]"
    return "{..}" if origin is dict else _WORDS.get(kind, "VALUE")


def _default(value: Any) -> str:  # noqa: ANN401 (any default)
    if value is None or value is False or value is MISSING or value in ("", (), [], {}):
        return ""
    shown = f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value).lower()
    return f" (default: {shown if isinstance(value, bool | list | tuple) else value})"


def _entry(flag: str, text: str) -> str:
    """An option with its text beside it, or below where it is long."""
    head = f"  {flag}"
    lines = textwrap.wrap(" ".join(text.split()), _WIDTH - _INDENT) or [""]
    if len(head) < _INDENT - 1:
        head = head.ljust(_INDENT) + lines.pop(0)
    return "\n".join([head, *(" " * _INDENT + line for line in lines)]).rstrip() + "\n"
