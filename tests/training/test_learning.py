"""Trainings: resumed ones equal unbroken ones, two processes equal one, signals, schedules, what is kept."""

import os
import re
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from scipy import stats

from tests.support.trainings import QUIET, Kill, kill_at, run, same_weights, sequences, with_callback
from ugcvqa.errors import ConfigError
from ugcvqa.models.regressors import GRURegressor
from ugcvqa.models.schedule import cosine_factor
from ugcvqa.samples.batches import FIXED, EpochBatches, EpochSampler
from ugcvqa.training import learning
from ugcvqa.training.preemption import _requeue
from ugcvqa.training.progress import Throughput

RECIPES = {
    "step": {"schedule": "step", "epochs": 20},
    "cosine with average": {"schedule": "cosine", "ema": 0.9},
    "reference": {"schedule": "step", "optimiser": "adam", "weight_decay": 0.0, "plcc": 0.0, "rank": 0.0},
    "early stopping": {"patience": 3, "epochs": 12},
}


class Signal(Kill):
    """Sends the signal that a cluster sends before it takes the machine back."""

    def __init__(self, epoch, step, number):
        super().__init__(epoch, step)
        self.number = number

    def on_train_batch_start(self, trainer, module, batch, step):
        if (trainer.current_epoch, step) == self.at:
            os.kill(os.getpid(), self.number)

    def on_train_batch_end(self, *_):
        pass


@pytest.mark.parametrize("name", RECIPES)
def test_training_killed_within_an_epoch_and_resumed_equals_an_unbroken_one(tmp_path, name):
    recipe = RECIPES[name]
    outcome, unbroken = run(tmp_path / "unbroken", **recipe)
    kill_at(2, 3, lambda: run(tmp_path / "broken", **recipe))
    again, resumed = run(tmp_path / "broken", **recipe)
    assert again == outcome
    assert same_weights(unbroken, resumed)
    last = [torch.load(tmp_path / part / "last.ckpt", weights_only=True) for part in ("unbroken", "broken")]
    for key in ("state_dict", "current_model_state"):
        for tensor_name, value in last[0].get(key, {}).items():
            assert torch.equal(value, last[1][key][tensor_name]), tensor_name


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
@pytest.mark.parametrize("arguments", [{}, {"accumulate_grad_batches": 2}], ids=["", "accumulated"])
def test_a_signal_leaves_a_checkpoint_within_the_epoch_that_resumes_exactly(tmp_path, monkeypatch, number, arguments):
    outcome, unbroken = run(tmp_path / "unbroken", arguments)
    with monkeypatch.context() as patch:
        with_callback(patch, Signal(1, 2, number))
        stopped, _ = run(tmp_path / "broken", arguments)
    assert not stopped.is_complete
    left = torch.load(tmp_path / "broken" / "last.ckpt", weights_only=True)
    assert left["epoch"] == 1
    again, resumed = run(tmp_path / "broken", arguments)
    assert again == outcome
    assert same_weights(unbroken, resumed)


def test_a_signal_in_a_slurm_job_queues_it_again(tmp_path, monkeypatch):
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/calls\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    _requeue()
    assert not (tmp_path / "calls").exists()
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    _requeue()
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "70")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    _requeue()
    assert (tmp_path / "calls").read_text() == "requeue 77\nrequeue 70_3\n"


def test_best_weights_are_kept_and_their_figure_can_be_recomputed(tmp_path):
    outcome, regressor = run(tmp_path, epochs=6)
    _, frames, mos = sequences()
    with torch.no_grad():
        pred = [regressor.network(torch.from_numpy(frames[row]), [len(frames[row])]).item() for row in range(30, 41)]
    assert outcome.val_srcc == pytest.approx(stats.spearmanr(mos[30:], pred).statistic, abs=1e-12)
    assert outcome.is_complete
    assert outcome.epochs == 6
    assert not regressor.training


def test_training_overfits_a_few_videos(tmp_path):
    class Losses(Callback):
        values: list = []  # noqa: RUF012

        def on_train_epoch_end(self, trainer, module):
            self.values.append(trainer.callback_metrics["train/loss"].item())

    before = learning._callbacks
    learning._callbacks = lambda *values: [Losses(), *before(*values)]
    try:
        run(tmp_path, {"overfit_batches": 1}, epochs=60, lr=0.02, weight_decay=0.0)
    finally:
        learning._callbacks = before
    assert Losses.values[-1] < 0.1 * Losses.values[0]


def test_fast_dev_run_leaves_nothing(tmp_path):
    outcome, _ = run(tmp_path, {"fast_dev_run": True})
    assert outcome.is_complete
    assert list(tmp_path.iterdir()) == []


def test_checkpoint_holds_plain_values_only(tmp_path):
    _, regressor = run(tmp_path)
    kept = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert kept["hyper_parameters"] == regressor.hparams
    assert kept["hyper_parameters"]["tau"] == 3
    assert kept["hyper_parameters"]["label_scale"] == pytest.approx(4.96, abs=0.1)
    loaded = GRURegressor.load_from_checkpoint(tmp_path / "best.ckpt", weights_only=True)
    assert same_weights(loaded, regressor)
    assert loaded.recipe == regressor.recipe


def test_unusable_trainer_arguments_are_user_errors(tmp_path):
    with pytest.raises(ConfigError, match="no_such_argument"):
        run(tmp_path, {"no_such_argument": 1})


def run_rank(rank, folder):
    torch.set_num_threads(1)
    os.environ.update(
        {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": (folder / "port").read_text()},
        WORLD_SIZE="2",
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        GROUP_RANK="0",
        LOCAL_WORLD_SIZE="2",
        TORCHELASTIC_RUN_ID="test",
    )
    two = {"devices": 2, "strategy": "ddp"}
    outcome, regressor = run(folder / "two", two, epochs=2, batch_size=7)
    torch.save({"outcome": vars(outcome), "weights": regressor.state_dict()}, folder / f"{rank}.pt")


@pytest.mark.ddp
def test_two_processes_train_and_measure_what_one_does(tmp_path):
    """30 videos train and 11 choose: neither is a multiple of 7, nor is 7 of 2; the loss has parts of whole batches."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (tmp_path / "port").write_text(str(free.getsockname()[1]))
    # Not by forks: what other tests leave in this process (an ONNX export pretends that there is a GPU, for which the
    # next backward pass starts a thread) would forbid them backward passes.
    torch.multiprocessing.start_processes(run_rank, (tmp_path,), nprocs=2, start_method="spawn")
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert ranks[0]["weights"].keys() == ranks[1]["weights"].keys()
    assert all(torch.equal(value, ranks[1]["weights"][name]) for name, value in ranks[0]["weights"].items())
    assert ranks[0]["outcome"]["val_srcc"] == ranks[1]["outcome"]["val_srcc"]
    _, alone = run(tmp_path / "one", epochs=2, batch_size=7)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(ranks[0]["weights"][name], value, rtol=0, atol=1e-5, msg=name)
    from ugcvqa.heads.gru import VSFAHead

    head = VSFAHead(12, 8, 6, tau=3)
    head.load_state_dict({k.removeprefix("network."): v for k, v in ranks[0]["weights"].items() if "network." in k})
    _, frames, mos = sequences()
    with torch.no_grad():
        pred = [head(torch.from_numpy(frames[row]), [len(frames[row])]).item() for row in range(30, 41)]
    assert ranks[0]["outcome"]["val_srcc"] == pytest.approx(stats.spearmanr(mos[30:], pred).statistic, abs=1e-12)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_shares_of_all_processes_are_the_batches_of_one(world):
    rows = range(100, 111)
    for seed in (None, 5):
        whole = list(EpochBatches(EpochSampler(rows, seed), 4))
        assert [len(batch) for batch in whole] == [4, 4, 3]
        assert {draw.epoch for batch in whole for draw in batch} == {FIXED if seed is None else 0}
        shares = [EpochBatches(EpochSampler(rows, seed), 4, rank, world) for rank in range(world)]
        assert {len(share) for share in shares} == {3}
        for batch, parts in zip(whole, zip(*shares, strict=True), strict=True):
            assert all(parts)  # every process takes every step
            assert {draw for part in parts for draw in part} == set(batch)
            assert sum(map(len, parts)) - len(batch) == max(0, world - len(batch))


def test_sampler_order_depends_on_seed_and_epoch_alone():
    first, second = EpochSampler(range(20), 1), EpochSampler(range(20), 1)
    second.set_epoch(3)
    assert list(first) != list(second)
    first.resume(3, 6)
    assert list(first) == list(second)[6:]
    assert list(first) == list(second)  # only once


def test_cosine_schedule_rises_and_falls_to_zero():
    factors = [cosine_factor(step, 100, 0.1) for step in range(101)]
    assert factors[0] > 0
    assert np.argmax(factors) == 10
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0, abs=1e-12)
    assert cosine_factor(0, 100, 0.0) == 1


def test_quiet_arguments_win_over_the_recipe(tmp_path):
    outcome, _ = run(tmp_path, {"max_epochs": 1})
    assert outcome.epochs == 1
    assert QUIET["devices"] == 1


def test_log_tells_the_last_epoch_where_no_bar_is_shown(tmp_path, caplog):
    with caplog.at_level("INFO", logger="ugcvqa"):
        run(tmp_path, epochs=3)
    lines = [record.getMessage() for record in caplog.records]
    (line,) = [line for line in lines if line.startswith("epoch")]
    assert re.fullmatch(r"epoch 3 of 3: training loss 0\.\d{4}, validation SRCC -?0\.\d{4}", line)


def test_clock_runs_where_a_training_goes_on_within_an_epoch():
    """Such an epoch has no start."""
    clock, logged = Throughput(), {}
    clock.on_train_start(None, None)
    clock.on_train_batch_start(None, None, SimpleNamespace(lengths=(2, 3)), 0)
    clock.on_train_batch_end(None, None, None, None, 0)
    clock.on_train_epoch_end(None, SimpleNamespace(log_dict=logged.update))
    assert logged["speed/frames_per_s"] > 0
    assert 0 <= logged["speed/data_wait"] <= 1
