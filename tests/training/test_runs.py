"""Run folders: interrupted trainings, damaged records, two trainings of one name."""

import json

import pytest

from tests.support.fitting import GRU, make_sequences
from tests.support.trainings import kill_at
from ugcvqa import fit


def test_interrupted_run_goes_on_and_equals_an_unbroken_one(here):
    arguments = [*make_sequences(here), *GRU]
    kill_at(3, 0, lambda: fit.main(arguments))
    folder = here / "runs" / "own_vsfacnn_gru"
    assert not (folder / "model.safetensors").exists()
    assert fit.main([*arguments, "--gru.tau", "4"]) == 2  # another training must not go on from it
    assert fit.main(arguments) == 0
    assert fit.main(arguments) == 0
    assert {path.name for path in (here / "runs").iterdir()} == {"own_vsfacnn_gru", "own_vsfacnn_gru-2"}
    for name in ("model.safetensors", "predictions.csv"):
        assert (folder / name).read_bytes() == (here / "runs" / "own_vsfacnn_gru-2" / name).read_bytes(), name


def test_two_runs_of_one_name_at_a_time_do_not_mix(here, capsys):
    from tests.test_files import hold

    arguments = [*make_sequences(here), *GRU]
    folder = here / "runs" / "own_vsfacnn_gru"
    other = hold(folder / "training.lock")
    assert fit.main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"is in use by process {other.pid}" in line
    assert line.endswith("wait for that training, or give another --name")
    assert [path.name for path in folder.iterdir()] == ["training.lock"]
    other.kill()
    other.wait()
    assert fit.main(arguments) == 0
    assert [path.name for path in (here / "runs").iterdir()] == ["own_vsfacnn_gru"]
    assert not (folder / "training.lock").exists()


def test_fast_dev_run_writes_no_run_folder(here):
    arguments = make_sequences(here)
    assert fit.main([*arguments, *GRU, "--trainer.fast_dev_run", "true"]) == 0
    assert not (here / "runs").exists()


def test_training_that_cannot_start_leaves_no_folder(here, videos, capsys):
    assert fit.main([*videos, "--head", "gru", "--families.deep.weights", "/none"]) == 2
    assert "no such file or folder of weights" in capsys.readouterr().err
    assert not list((here / "runs").iterdir())


DAMAGES = {
    "empty": b"",
    "cut": b'{\n "data": {\n  "na',
    "a list": b"[1, 2]",
    "a number": b"7",
    "random": bytes(range(128, 256)),
    "nested": b"[" * 100_000,
    "folder": None,
    "missing": "",
}


@pytest.mark.parametrize("how", DAMAGES)
def test_training_whose_settings_are_damaged_goes_on_from_its_checkpoints(here, caplog, how):
    arguments = [*make_sequences(here), *GRU]
    kill_at(3, 0, lambda: fit.main(arguments))
    folder = here / "runs" / "own_vsfacnn_gru"
    (folder / "training.json").unlink()
    if DAMAGES[how] is None:
        (folder / "training.json").mkdir()
    elif how != "missing":
        (folder / "training.json").write_bytes(DAMAGES[how])
    for name in ("config.yaml", "predictions.csv", "metrics.json"):  # of a run whose end was cut
        (folder / name).write_bytes(b"\xff cut")
    caplog.clear()
    assert fit.main([*arguments, "--gru.tau", "4"]) == 2  # its checkpoints tell
    assert fit.main(arguments) == 0
    assert ("training.json: cannot be read" in caplog.text) == (how != "missing")
    assert {path.name for path in (here / "runs").iterdir()} == {"own_vsfacnn_gru"}
    assert json.loads((folder / "metrics.json").read_text())["head"]["epochs"] == 5


def test_changed_labels_are_not_mixed_into_an_interrupted_training(here, capsys):
    arguments = [*make_sequences(here), *GRU]
    kill_at(3, 0, lambda: fit.main(arguments))
    table = (here / "labels.csv").read_text().splitlines()
    rows = [f"{row.split(',')[0]},{number % 5 + 1}" for number, row in enumerate(table[1:])]
    (here / "labels.csv").write_text("\n".join([table[0], *rows]))
    assert fit.main(arguments) == 2
    assert "is of a training with other videos, labels, features or settings" in capsys.readouterr().err
