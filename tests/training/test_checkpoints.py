"""Checkpoints: a kill at any moment of a save loses nothing, and damaged files give way to the state before them."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.support.trainings import kill_at, run, same_weights
from ugcvqa.errors import CheckpointError
from ugcvqa.training.checkpoints import SealedCheckpoints, digest

RECIPE = {"epochs": 5, "lr": 1e-3}  # validation SRCC rises in the first three epochs

CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
torch.set_num_threads(1)
from tests.support.trainings import run
run(Path(sys.argv[1]), **{recipe})
"""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return run(tmp_path_factory.mktemp("unbroken"), **RECIPE)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Folder of a training that ended after its third epoch, with both states of both names."""
    folder = tmp_path_factory.mktemp("broken")
    kill_at(3, 2, lambda: run(folder, **RECIPE))
    assert {path.name for path in folder.iterdir()} == {
        *("last.ckpt", "last.previous.ckpt", "best.ckpt", "best.previous.ckpt")
    }
    return folder


def check_resumes(folder, unbroken):
    again, resumed = run(folder, **RECIPE)
    assert again == unbroken[0]
    assert same_weights(unbroken[1], resumed)
    assert not [path.name for path in folder.iterdir() if path.suffix == ".tmp"]


@pytest.mark.parametrize("at", range(7, 17))
def test_training_killed_within_a_save_goes_on_as_an_unbroken_one(tmp_path, unbroken, at):
    """The calls counted are the steps of the saves after the second epoch: of the best state, then the last."""
    pid = os.fork()
    if pid == 0:  # a fork, for imports take seconds
        calls = 0

        def counted(function):
            def call(*values, **named):
                nonlocal calls
                calls += 1
                if calls == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*values, **named)

            return call

        torch.set_num_threads(1)
        for place, name in ((os, "fsync"), (os, "link"), (type(tmp_path), "replace")):
            setattr(place, name, counted(getattr(place, name)))
        run(tmp_path, **RECIPE)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    states = [path for path in tmp_path.iterdir() if path.suffix == ".ckpt"]
    assert "last.ckpt" in {path.name for path in states}
    for path in states:
        torch.load(path, weights_only=True)
    check_resumes(tmp_path, unbroken)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_training_killed_at_random_moments_goes_on_as_an_unbroken_one(tmp_path, unbroken):
    """`$TMPDIR` is on another file system, where a copy in place of a renaming would be cut."""
    chance = random.Random(0)
    for _ in range(8):
        program = CHILD.format(recipe=RECIPE)
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(Path(__file__).resolve().parents[2])],
            env={**os.environ, "TMPDIR": "/dev/shm"},
        )
        deadline = time.monotonic() + 100
        while not (tmp_path / "last.ckpt").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.wait()
        for path in tmp_path.glob("*.ckpt"):
            torch.load(path, weights_only=True)
    check_resumes(tmp_path, unbroken)


def damaged(path, how):
    whole = path.read_bytes()
    if how == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "random":
        path.write_bytes(random.Random(0).randbytes(2000))
    elif how == "flipped":
        weights = torch.load(path, weights_only=True)["state_dict"]["network.projection.weight"]
        middle = whole.index(weights.numpy().tobytes()) + weights.nbytes // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "missing":
        path.unlink()
    else:
        kept = torch.load(path, weights_only=True)
        content = {
            "list": [1, 2],
            "empty mapping": {},
            "no loops": {key: value for key, value in kept.items() if key != "loops"},
            "wrong types": {**kept, "epoch": "three", "callbacks": None, "optimizer_states": 3},
            "other weights": {**kept, "state_dict": {key: value + 1 for key, value in kept["state_dict"].items()}},
        }[how]
        torch.save(content, path)


HOWS = ["truncated", "empty", "random", "flipped", "folder", "missing", "list", "empty mapping", "no loops"]
HOWS += ["wrong types", "other weights"]


@pytest.mark.parametrize("how", HOWS)
def test_damaged_last_state_gives_way_to_the_one_before(tmp_path, broken, unbroken, how, caplog):
    folder = tmp_path / "run"
    shutil.copytree(broken, folder)
    damaged(folder / "last.ckpt", how)
    with caplog.at_level("INFO", logger="ugcvqa"):
        check_resumes(folder, unbroken)
    assert f"going on from {folder}/last.previous.ckpt" in caplog.text
    assert ("the state before it is used" in caplog.text) == (how != "missing")


@pytest.mark.parametrize("how", HOWS)
def test_damaged_best_state_gives_way_to_the_one_before(tmp_path, broken, how, caplog):
    folder = tmp_path / "run"
    shutil.copytree(broken, folder)
    damaged(folder / "best.ckpt", how)
    outcome, _ = run(folder, **RECIPE)
    assert outcome.is_complete
    assert -1 <= outcome.val_srcc <= 1
    assert ("the state before it is used" in caplog.text) == (how != "missing")


def test_lost_best_state_is_chosen_from_what_comes_and_lost_last_state_is_one_error(tmp_path, broken, caplog):
    folder = tmp_path / "run"
    shutil.copytree(broken, folder)
    for name in ("best", "best.previous"):
        damaged(folder / f"{name}.ckpt", "random")
    outcome, _ = run(folder, **RECIPE)
    assert outcome.best_epoch >= 3
    assert "the best epoch is chosen from those to come" in caplog.text
    for name in ("last", "last.previous"):
        damaged(folder / f"{name}.ckpt", "random")
    with pytest.raises(CheckpointError, match=r"last.ckpt: cannot be read .*; delete it to train from the beginning"):
        run(folder, **RECIPE)


def test_checkpoint_of_another_training_is_not_gone_on_from(tmp_path, broken):
    folder = tmp_path / "run"
    shutil.copytree(broken, folder)
    with pytest.raises(CheckpointError, match="is of a training with other videos, labels, features or settings"):
        run(folder, **{**RECIPE, "lr": 1e-2})


def test_moved_training_keeps_its_best_weights(tmp_path, broken, unbroken):
    shutil.copytree(broken, tmp_path / "moved")
    check_resumes(tmp_path / "moved", unbroken)


def test_training_that_had_stopped_early_does_not_go_on(tmp_path):
    first, _ = run(tmp_path, epochs=30, patience=2, lr=0.05)
    assert first.epochs < 30
    again, _ = run(tmp_path, epochs=30, patience=2, lr=0.05)
    assert again == first


def test_digest_sees_types_shapes_order_and_bytes():
    values = [1, 1.0, True, "1", None, [1], (1,), {"a": 1}, {"b": 1}, torch.ones(2), torch.ones(2, 1)]
    values += [torch.ones(2).double(), torch.tensor([1, 1]), torch.tensor([1.0, 1.0000001]), [torch.ones(2)], [[1], []]]
    values += [torch.ones(2).bfloat16(), torch.tensor(1.0), [[], [1]]]
    assert len({digest(value) for value in values}) == len(values)


def test_file_without_hard_links_is_kept_by_renaming(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    store = SealedCheckpoints(tmp_path, "one")
    for number in range(3):
        store.save_checkpoint({"epoch": number}, tmp_path / "last.ckpt")
    assert store.load_checkpoint(tmp_path / "last.ckpt") == {"epoch": 2}
    assert store.load_checkpoint(tmp_path / "last.previous.ckpt") == {"epoch": 1}
