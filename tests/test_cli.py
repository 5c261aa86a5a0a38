"""Command lines: quick help, one line for every user error, configs that are checked."""

import importlib
import inspect
import re
import subprocess
import sys
from dataclasses import fields
from types import SimpleNamespace

import pytest
import yaml

from ugcvqa import __main__, fit, score
from ugcvqa.settings.benchmark import BenchmarkSettings
from ugcvqa.settings.study import StudySettings

VERBS = ["fit", "extract", "score", "benchmark", "study", "timings", "doctor", "check"]


@pytest.mark.parametrize("verb", VERBS)
def test_help_imports_nothing_heavy(verb):
    code = (
        f"import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('ugcvqa.{verb}', run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'numpy', 'av', 'scipy', 'sklearn', 'lightning', 'matplotlib', 'wandb', 'pyarrow', 'tqdm'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--config" in result.stdout or verb == "check"


def test_every_verb_is_listed_and_dispatched(capsys):
    assert __main__.main([]) == 0
    listed = capsys.readouterr().out
    assert all(verb in listed for verb in VERBS)
    assert set(__main__.VERBS) == set(VERBS)
    assert __main__.main(["nonsense"]) == 2
    assert "no verb 'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "kind"), [("benchmark", BenchmarkSettings), ("study", StudySettings)])
def test_every_option_is_recorded_under_its_name(verb, kind, monkeypatch):
    module, seen = importlib.import_module(f"ugcvqa.{verb}"), []

    def stop(*values):
        seen.extend(values)
        raise StopIteration

    monkeypatch.setattr(module, kind.__name__, stop)
    function = getattr(module, verb)
    options = {name: name for name in inspect.signature(function).parameters}
    plain = {"tables": {}, "predictions": [], "rows": ["rows"]}
    families = SimpleNamespace(with_backbones=lambda *_: "families")
    with pytest.raises(StopIteration):
        function(**{**options, **{key: plain[key] for key in plain.keys() & options.keys()}, "families": families})
    assert dict(zip([one.name for one in fields(kind)], seen, strict=True)) == {
        one.name: plain.get(one.name, one.name) for one in fields(kind)
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nonsense", "1"], "nonsense"),
        (["--data.nonsense", "1"], "nonsense"),
        (["--split.index", "one"], "split.index"),
        (["--families.nss.colour", "red"], "colour"),
        (["--svr.c_exponents", "[]"], "at least one exponent"),
        (["--config", "missing.yaml"], "missing.yaml"),
        (["--row", "WRONG"], "'WRONG' is unknown"),
        (["--data.name", "demo", "--data.root", "x"], "demo set takes no"),
        (["--data.name", "own"], "nothing to read"),
        (["--data.name", "own", "--data.labels", "missing.csv"], "missing.csv"),
        (["--name", "a/b"], "cannot be a folder name"),
    ],
)
def test_user_errors_are_one_line_with_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UGCVQA_DATA", raising=False)
    assert fit.main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert message in output.err
    assert not list(tmp_path.iterdir())


def test_unknown_key_in_a_config_fails(tmp_path, capsys):
    config = tmp_path / "x.yaml"
    config.write_text("data: {nme: demo}\n")
    assert fit.main(["--config", str(config)]) == 2
    assert "nme" in capsys.readouterr().err


def test_print_config_shows_everything_and_reads_back(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        fit.main(["--split.index", "7", "--print_config"])
    assert stop.value.code in (0, None)
    text = capsys.readouterr().out
    shown = yaml.safe_load(text)
    assert shown["split"]["index"] == 7
    assert shown["families"]["nss"]["precision"] == "float32"
    config = tmp_path / "shown.yaml"
    config.write_text(text)
    with pytest.raises(SystemExit):
        fit.main(["--config", str(config), "--split.index", "8", "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out) == {**shown, "split": {**shown["split"], "index": 8}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.mp4"], "x.mp4: "),
        (["x.mp4", "--model", "x"], "--model x is unknown"),
        ([], "no video given"),
        (["--checkpoint", "x"], "no video given"),
        (["x.mp4", "--checkpoint", "missing"], "no such model"),
        (["x.mp4", "--checkpoint", "missing", "--json", "--csv"], "exclude each other"),
    ],
)
def test_score_user_errors(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert score.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def bomb():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    return "\n".join([*lines, "tables: *a11"])


HOSTILE = {
    "alias bomb": bomb(),
    "alias of itself": "tables: &a {b: *a}",
    "alias of nothing": "tables: *a",
    "deep mapping": "tables: " + "{a: " * 5000 + "1" + "}" * 5000,
    "deep list": "rows: " + "[" * 50_000 + "]" * 50_000,
    "deep blocks": "\n".join(" " * level + "a:" for level in range(500)),
    "huge": "rows: [" + "NSS, " * 1_000_000 + "]",
    "many": "rows: [" + "NSS, " * 40_000 + "]",
    "bytes": bytes(range(256)).decode("latin-1"),
    "code": "out: !!python/object/apply:os.mkdir [made]",
    "long number": "splits: " + "9" * 10_000,
    "terminal": '"\\e[31mred\\a": 1',
    "cut": "rows: [NSS",
    "another key": "a" * 10_000 + ": 1",
    "mapping as key": "{{a: b}: c}",
    "list": "[1, 2]",
    "number": "3",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_config_file_is_one_line(tmp_path, monkeypatch, capsys, text):
    from ugcvqa import benchmark

    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    assert benchmark.main(["--config", "c.yaml"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("ugcvqa benchmark: error: ")
    assert err[:-1].isprintable()
    assert len(err) < 5000
    assert not (tmp_path / "made").exists()
    if len(text) < 100_000:
        assert benchmark.main(["--tables", text.replace("\0", "")]) == 2
        err = capsys.readouterr().err
        assert err[:-1].isprintable()
        assert len(err) < 5000


def test_a_folder_or_device_is_no_config_file(tmp_path, capsys):
    from ugcvqa import benchmark

    for path in (str(tmp_path), "/dev/zero"):
        for flags in (["--config", path], [f"--config={path}"]):
            assert benchmark.main(flags) == 2
            assert f"--config {path}: is not a file" in capsys.readouterr().err


def test_anchors_within_bounds_are_filled_in(tmp_path, capsys):
    from ugcvqa import benchmark

    (tmp_path / "c.yaml").write_text("svr: &s {epsilon: 0.25}\nlabels: &l /none\nfeatures: *l\n")
    assert benchmark.main(["--config", str(tmp_path / "c.yaml")]) == 2
    assert "/none: no such folder of feature files" in capsys.readouterr().err


def test_lines_have_time_and_level_on_request(tmp_path):
    """In a process of its own, since logging belongs to the process."""
    code = "import sys; from tests.support import stub_scorer; sys.exit(stub_scorer.main(sys.argv[1:]))"
    videos = ["good.mp4", "fail.mp4", "--output", str(tmp_path / "out.csv"), "--workers", "0"]
    command = [sys.executable, "-c", code, *videos, "--log", "full"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (DEBUG|INFO|ERROR) ", line) for line in lines)
    assert any(line.endswith("DEBUG failed (not_video): fail.mp4: is no video") for line in lines)
    assert re.search(r"2 rows, 1 failed, \d+\.\d s$", lines[-1])
    wrong = subprocess.run(
        [*command[:3], "--json", "--csv", "--log", "full"], capture_output=True, text=True, check=False
    )
    assert re.fullmatch(r"\S+Z ERROR ugcvqa score: .*exclude each other.*\n", wrong.stderr)
