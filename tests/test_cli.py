"""Command lines: quick help, one line for every user error, configs that are checked."""

import subprocess
import sys

import pytest
import yaml

from ugcvqa import __main__, fit, score

VERBS = ["fit", "extract", "score", "benchmark", "study", "timings", "doctor", "check"]


@pytest.mark.parametrize("verb", VERBS)
def test_help_imports_nothing_heavy(verb):
    code = (
        f"import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('ugcvqa.{verb}', run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'numpy', 'av', 'scipy', 'sklearn', 'lightning', 'matplotlib', 'wandb'} & set(sys.modules)\n"
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
