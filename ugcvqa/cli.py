"""What all verbs share: a command line made from a function's signature, and one line for every user error."""

import inspect
import re
import shlex
import sys
from argparse import ArgumentParser as PlainParser
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

import docstring_parser
import yaml
from jsonargparse import ArgumentError, ArgumentParser, get_loader, set_loader, set_parsing_settings

from ugcvqa import config_files, help_text, logs
from ugcvqa.arguments import one_line, unshared
from ugcvqa.errors import ConfigError, UgcvqaError, did_you_mean
from ugcvqa.launchers import launch
from ugcvqa.leftovers import use_own_folder
from ugcvqa.processes import end_forks_with_this_process, end_with_parent

set_parsing_settings(instantiate_subclass_spec_in_any=False)  # a config file must not make objects of any class

_LONGEST_YAML, _DEEPEST_YAML, _MOST_NODES, _LONGEST_NAME = 1 << 18, 30, 20_000, 4096
_LOG_HELP = "What goes to stderr: `full` has time and level on each line, and one for each video that failed."
_load_yaml = get_loader("yaml")
_typed: list[str] = []


def run_verb(function: Callable[..., int], argv: Sequence[str] | None = None, positional: Sequence[str] = ()) -> int:
    """Parses a command line by a function's signature and docstring, calls it, and returns the exit code.

    Unknown options and keys of a config file are errors. `--config FILE` may be given several times (later files
    win, flags win over files), `--print_config` shows everything.

    Args:
        function: the verb; its parameters are the options, what it returns is the exit code.
        argv: arguments; None takes the process's own.
        positional: parameters of type `list[str]` given without a flag, at most one.

    Returns:
        As `exit_code_of`.
    """
    prog, given = f"ugcvqa {function.__name__}", sys.argv[1:] if argv is None else argv
    _typed[:] = [*prog.split(), *given]
    if argv is None:
        own_this_process()

    def work() -> int:
        if (topic := help_text.asked(given)) is not None:
            sys.stdout.write(help_text.help_text(function, prog, positional, topic))
            raise SystemExit(0)
        parser = _parser(function, prog, positional)
        try:
            arguments = _call_arguments(parser, given, function)
        except (ArgumentError, UnicodeDecodeError) as error:
            raise UgcvqaError(f"{_readable(error, parser)} (see `{prog} --help`)") from error
        except RecursionError as error:
            raise ConfigError(f"an option or config file is nested too deeply (see `{prog} --help`)") from error
        logs.configure(arguments.pop("log"))
        return function(**arguments)

    return exit_code_of(work, prog)


def run_converter(convert: Callable[[Namespace], str], parser: PlainParser, argv: Sequence[str] | None) -> int:
    """Parses a command line, calls a converter with it, prints the line that it returns, and returns the exit code."""
    arguments = parser.parse_args(argv)

    def work() -> int:
        sys.stdout.write(f"{convert(arguments)}\n")
        return 0

    return exit_code_of(work, parser.prog)


def exit_code_of(work: Callable[[], int], prog: str) -> int:
    """Does the work of a program.

    Returns:
        What `work` returned; 2 for a user error, reported in one line on stderr; 130 when interrupted.
    """
    try:
        return work()
    except UgcvqaError as error:
        logs.tell_error(prog, one_line(error))
        return 2
    except ModuleNotFoundError as error:  # of an installation for scoring alone, see requirements-score.txt
        if error.name is None or error.name.startswith("ugcvqa"):
            raise
        logs.tell_error(prog, f"this needs the package {error.name}, which is not installed here")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"{prog}: interrupted; the same command continues where it stopped\n")
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away: nothing is left to say
        return 1
    except OSError as error:  # a folder, disk or name that the system refuses
        where = f"{error.filename}: " if error.filename else ""
        logs.tell_error(prog, one_line(f"{where}{error.strerror or error}"))
        return 2


def typed_command() -> str:
    """The command line of the verb that runs, quoted for a shell."""
    return shlex.join(_typed)


def own_this_process() -> None:
    """Prepares a process that runs one verb: a folder for temporary files, and children that end with it."""
    use_own_folder()
    end_forks_with_this_process()
    if launch().local_rank:  # started by the first of several, or by their launcher
        end_with_parent()


def _checked_yaml(text: str) -> Any:  # noqa: ANN401 (any YAML value)
    """Loads YAML of an option or a config file that may come from anywhere.

    Raises:
        ConfigError: if it is large, nested deeply, or grows beyond bounds where its aliases are filled in.
    """
    if len(text) > _LONGEST_YAML:
        raise ConfigError(f"an option or config file of {len(text)} characters; up to {_LONGEST_YAML} are read")
    _check_nodes(text)
    try:
        return _load_yaml(text)
    except ValueError as error:  # a number of thousands of digits
        raise ConfigError(f"an option or config file holds a value that cannot be read ({one_line(error)})") from error


def _check_nodes(text: str) -> None:
    """Counts the values of a YAML text without building them."""
    size, sizes = 0, dict[str, int]()
    open_nodes: list[tuple[str | None, int]] = []
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where it is installed, is much faster
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            size += sizes.get(str(event.anchor), _MOST_NODES)  # an alias inside its own anchor never ends
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, size))
            size += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes[str(anchor)] = size - before
        elif isinstance(event, yaml.ScalarEvent):
            size += 1
            sizes[str(event.anchor)] = 1
        if len(open_nodes) > _DEEPEST_YAML or size > _MOST_NODES:
            raise ConfigError(
                f"an option or config file is nested more than {_DEEPEST_YAML} times, or holds more than {_MOST_NODES} "
                "values with its aliases filled in"
            )


def _with_configs(argv: Sequence[str], function: Callable[..., int]) -> list[str]:
    """A command line with the contents of its config files in front, merged, so that flags win over them.

    Raises:
        ConfigError: if one is missing, too large, or holds an unknown option.
    """
    argv, data = config_files.data_flags(argv, function.__name__)
    names, rest, arguments = list[str](), list[str](), iter(argv)
    for argument in arguments:
        if argument == "--":
            rest += [argument, *arguments]
        elif argument == "--config" and (name := next(arguments, None)) is not None:
            names.append(name)
        elif argument.startswith("--config="):
            names.append(argument.removeprefix("--config="))
        else:
            rest.append(argument)
    if not names and not data:
        return rest
    configs = [(name, _config(name)) for name in names] + ([("flags", {"data": data})] if data else [])
    options = config_files.merged(configs, function)
    return ["--config", config_files.as_text(options), *rest] if options else rest


def _config(name: str) -> Any:  # noqa: ANN401 (any YAML value)
    if "\0" in name or len(name) > _LONGEST_NAME:
        raise ConfigError("--config: this is not the name of a file")
    path = config_files.find(name)
    if not path.is_file() or path.stat().st_size > _LONGEST_YAML:
        raise ConfigError(f"--config {path}: is not a file of up to {_LONGEST_YAML} bytes")
    try:
        return _checked_yaml(path.read_text(encoding="utf-8-sig"))
    except yaml.YAMLError as error:
        raise ConfigError(f"--config {path}: is not YAML ({one_line(error)})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--config {path}: is not UTF-8 text ({error})") from error


def _parser(function: Callable[..., int], prog: str, positional: Sequence[str]) -> ArgumentParser:
    summary = (inspect.getdoc(function) or "").split("\n\nArgs:")[0]
    parser = ArgumentParser(prog=prog, description=summary, exit_on_error=False)
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file with options as keys, or the name of a config that comes with the package.",
    )
    parser.add_argument("--log", choices=("plain", "full"), default="plain", help=_LOG_HELP)
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


def _call_arguments(parser: ArgumentParser, given: Sequence[str], function: Callable[..., int]) -> dict[str, Any]:
    set_loader("yaml", _checked_yaml, (yaml.YAMLError,))
    own = config_files.with_own_flags(given, function.__name__)
    namespace = parser.parse_args(_with_configs(own, function))
    settings = parser.instantiate(namespace)
    arguments = {name: unshared(value) for name, value in vars(settings).items()}
    arguments.pop("config", None)
    return arguments


def _readable(error: BaseException, parser: ArgumentParser) -> str:
    """A parser's message on one line; where one of a few words was expected, without the part about types."""
    text = one_line(error)
    if found := re.match(r"[Uu]nrecognized arguments: (--[^\s=]+)", text):
        known = [flag for action in parser._actions for flag in action.option_strings]
        return f"{found[1]}: there is no such option{did_you_mean(found[1], known)}"
    found = re.match(r'Parser key "([^"]+)".*?typing\.Literal\[([^\]]*)\]', text)
    return f"--{found[1]}: use one of {found[2]}" if found else text
