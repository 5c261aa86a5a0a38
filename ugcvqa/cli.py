"""What all verbs share: a command line made from a function's signature, and one line for every user error."""

import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import docstring_parser
from jsonargparse import ArgumentError, ArgumentParser

from ugcvqa.errors import UgcvqaError
from ugcvqa.leftovers import use_own_folder
from ugcvqa.processes import end_forks_with_this_process, end_with_parent

if TYPE_CHECKING:
    from tqdm import tqdm


def run_verb(
    function: Callable[..., int], argv: Sequence[str] | None, prog: str, positional: Sequence[str] = ()
) -> int:
    """Parses a command line by a function's signature and docstring, calls it, and returns the exit code.

    Unknown options and keys of a config file are errors. `--config FILE` may be given several times (later files
    win, flags win over files), `--print_config` shows everything.

    Args:
        function: the verb; its parameters are the options, what it returns is the exit code.
        argv: arguments; None takes those of the process.
        prog: name shown in the help.
        positional: parameters of type `list[str]` given without a flag, at most one.

    Returns:
        What the function returned; 2 for a user error, told in one line on stderr; 130 when interrupted.
    """
    if argv is None:
        own_this_process()
    try:
        parser = _parser(function, prog, positional)
        try:
            arguments = _call_arguments(parser, argv)
        except (ArgumentError, UnicodeDecodeError) as error:
            raise UgcvqaError(f"{_readable(error)} (see `{prog} --help`)") from error
        _configure_logging()
        return function(**arguments)
    except UgcvqaError as error:
        sys.stderr.write(f"{prog}: error: {_one_line(error)}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"{prog}: interrupted; the same command continues where it stopped\n")
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away: nothing is left to say
        return 1
    except OSError as error:  # a folder, disk or name that the system refuses
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"{prog}: error: {_one_line(f'{where}{error.strerror or error}')}\n")
        return 2


def own_this_process() -> None:
    """Prepares a process that runs one verb: a folder for temporary files, and children that end with it."""
    use_own_folder()
    end_forks_with_this_process()
    if os.environ.get("LOCAL_RANK", "0") != "0":  # started by the first of several, or by their launcher
        end_with_parent()


def _parser(function: Callable[..., int], prog: str, positional: Sequence[str]) -> ArgumentParser:
    summary = (inspect.getdoc(function) or "").split("\n\nArgs:")[0]
    parser = ArgumentParser(prog=prog, description=summary, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file with options as keys.")
    for name in positional:
        parser.add_argument(name, nargs="*", type=str, help="Files; `--` before names that begin with a dash.")
    flags = {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is False and name not in positional
    }
    parser.add_function_arguments(function, skip={*positional, *flags})
    for text in docstring_parser.parse(inspect.getdoc(function) or "").params:
        if text.arg_name in flags:  # plain switches: `--json`, not `--json true`
            parser.add_argument(f"--{text.arg_name}", action="store_true", help=text.description)
    return parser


def _call_arguments(parser: ArgumentParser, argv: Sequence[str] | None) -> dict[str, Any]:
    namespace = parser.parse_args(argv)
    settings = parser.instantiate(namespace)
    arguments = dict(vars(settings))
    arguments.pop("config", None)
    return arguments


def _readable(error: BaseException) -> str:
    """A parser's message on one line; where one of a few words was wanted, without its talk of types."""
    text = _one_line(error)
    found = re.match(r'Parser key "([^"]+)".*?typing\.Literal\[([^\]]*)\]', text)
    return f"--{found[1]}: use one of {found[2]}" if found else text


def _one_line(error: BaseException | str) -> str:
    return " ".join(str(error).split())


def _configure_logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


def progress_bar(total: int | None, unit: str, title: str, is_shown: bool = True, done: int = 0) -> "tqdm[NoReturn]":
    """Starts a bar with count, rate and remaining time on stderr, shown only if the work takes longer than seconds.

    Where stderr is no terminal, such as in a batch job's log, it is written every ten seconds. `total` may be unknown;
    `done` counts what an earlier run did, which is left out of the rate.
    """
    from tqdm import tqdm

    interval = 1.0 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, unit=unit, desc=title, initial=done, disable=not is_shown, mininterval=interval, delay=3.0)


def is_main_process() -> bool:
    """Whether this process, among those that Lightning or SLURM started, is the one that reports."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))
