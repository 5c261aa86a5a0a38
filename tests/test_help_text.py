"""Help: short, examples first, every option named, and all of it on request."""

import importlib
import re
import shlex
from dataclasses import fields, is_dataclass

import pytest

from ugcvqa import __main__, config_files, help_text


def shown(capsys, verb, *arguments):
    with pytest.raises(SystemExit) as end:
        __main__.main([verb, *arguments])
    assert not end.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", __main__.VERBS)
def test_help_is_short_and_examples_come_first(verb, capsys):
    text = shown(capsys, verb, "--help")
    lines = text.splitlines()
    assert len(lines) < 100
    assert max(map(len, lines)) <= 120
    assert lines[0].startswith(f"usage: ugcvqa {verb} ")
    assert lines[4] == "examples:"
    for number in (5, 6):
        assert lines[number].strip() == help_text.EXAMPLES[verb][number - 5]
    assert "(type:" not in text
    if "settings for experts" in text:
        assert text.index("\noptions:") < text.index("\nsettings for experts")


@pytest.mark.parametrize("verb", __main__.VERBS)
def test_examples_are_valid_commands(verb, capsys):
    for example in help_text.EXAMPLES[verb]:
        words = shlex.split(example, comments=True)[2:]
        shown(capsys, verb, *words, "--print_config")


def leaves(tree, before="--"):
    for name, below in tree.items():
        yield from [f"{before}{name}"] if below is None else leaves(below, f"{before}{name}.")


@pytest.mark.parametrize("verb", __main__.VERBS)
def test_all_of_it_names_every_setting_once(verb, capsys):
    function = getattr(importlib.import_module(f"ugcvqa.{verb}"), verb)
    text = shown(capsys, verb, "--help", "all")
    flags = re.findall(r"^  (--[\w.]+)", text, re.MULTILINE)
    wanted = set(leaves(config_files.options_of(function))) - {"--videos"}
    assert wanted | {"--config", "--print_config", "--log", "--help"} == set(flags)
    assert len(flags) == len(set(flags))


def test_one_group_is_shown_with_meanings_and_defaults(capsys):
    text = shown(capsys, "fit", "--help", "split")
    assert "which videos train and test" in text
    assert re.search(r"--split\.index N +number of the protocol split, 1 to 100", text)
    assert "auto|protocol|group|stored" in text
    assert "(default: 1)" in text
    assert "--svr" not in text


def test_the_short_help_names_what_it_leaves_out(capsys):
    from ugcvqa.fit import fit

    text = shown(capsys, "fit", "-h")
    groups = {name: kind for name, kind in fit.__annotations__.items() if is_dataclass(kind)}
    assert len(groups) > 8
    for name, kind in groups.items():
        assert f"--{name}." in text
        assert all(one.name in text for one in fields(kind))
