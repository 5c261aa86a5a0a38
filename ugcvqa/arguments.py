"""Arguments of a class from plain values: checked against its signature, objects made where a class is named."""

import inspect
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from ugcvqa.cell_texts import printable
from ugcvqa.errors import ConfigError, did_you_mean

_LONGEST_MESSAGE = 4000


def built_arguments(kind: type, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Checks arguments of a class against its signature, and makes the objects that are given by `class_path`.

    Args:
        kind: the class.
        name: flag in front of the arguments' names, for messages.
        values: arguments as a YAML file has them; objects are left as they are.

    Returns:
        The arguments, of the same names.

    Raises:
        ConfigError: if one is unknown, of the wrong type, or names a class that cannot be used there.
    """
    parser, parsed = check_arguments(kind, name, values)
    try:
        built = parser.instantiate(parsed)[name]
    except Exception as error:  # whatever the constructor of a named class may raise
        raise ConfigError(_refused(name, one_line(error), kind)) from error
    # Only objects are taken from the parser, which turns 2 into 2.0 where both are allowed: 2 batches, or a share of 2.
    return {key: value if _is_plain(value) else built[key] for key, value in values.items()}


def check_arguments(kind: type, name: str, values: Mapping[str, Any]) -> tuple[ArgumentParser, Namespace]:
    """Checks arguments as `built_arguments` does, without making objects; returns the parser and what it read.

    Raises:
        ConfigError: if one is unknown, of the wrong type, or names a class that cannot be used there.
    """
    parser = ArgumentParser(prog=name, exit_on_error=False)
    parser.add_class_arguments(kind, name, instantiate=False)
    try:
        return parser, parser.parse_object({name: unshared(values)})
    except Exception as error:  # whatever the module of a named class may raise
        raise ConfigError(_refused(name, one_line(error), kind)) from error


def unshared(value: Any) -> Any:  # noqa: ANN401 (any YAML value)
    """Copies mappings and lists, which the parser changes in place; its own forms of values become plain ones."""
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return {key: unshared(one) for key, one in value.items()}
    if isinstance(value, Enum):
        return value.value
    return [unshared(one) for one in value] if isinstance(value, list) else value


def listed(value: Any) -> list[Any]:  # noqa: ANN401 (one thing or several)
    """A list or tuple as a list; anything else as the only one of a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _is_plain(value: Any) -> bool:  # noqa: ANN401
    return value is None or isinstance(value, bool | int | float)


def _refused(name: str, message: str, kind: type) -> str:
    """The part of a parser's message that helps, behind the flag that it is about."""
    if found := re.search(r"does not accept option '([^']*)'", message):
        near = did_you_mean(found[1], inspect.signature(kind).parameters)
        return f"--{name}.{found[1]}: there is no such argument{near}"
    found = re.match(r'Parser key "([^"]+)": (.*)', message)
    flag, text = (f"--{found[1]}", found[2]) if found else (f"--{name}", message)
    reasons = text.split(" Errors: - ")[-1].split(" Given value")[0].split(" - ")
    general = ("Expected a <class 'NoneType'>", "Not a valid subclass of ")
    return f"{flag}: {next((reason for reason in reasons if not reason.startswith(general)), reasons[0])}"


def one_line(error: BaseException | str) -> str:
    """A message on one line of bounded length, without characters that steer a terminal."""
    text = printable(" ".join(str(error).split()))
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + " .."
