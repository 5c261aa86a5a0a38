"""A tiny training: videos whose MOS shows in their frame features, for the tests of every kind of loop."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from ugcvqa.datamodules.samples import SampleDataModule
from ugcvqa.heads.gru import VSFAHead
from ugcvqa.models.regressors import GRURegressor
from ugcvqa.samples.sequences import SequenceSource, pack
from ugcvqa.settings.training import RecipeSettings
from ugcvqa.training import learning
from ugcvqa.training.learning import train

DIM = 12
QUIET = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False}


def sequences(count=41, seed=0):
    """(ids, frame features of uneven lengths, MOS 1..5)."""
    random = np.random.default_rng(seed)
    mos = random.uniform(1, 5, count)
    lengths = random.integers(1, 15, count)
    frames = [
        (value * np.linspace(-1, 1, DIM) + random.normal(0, 0.5, (length, DIM))).astype(np.float32)
        for value, length in zip(mos, lengths, strict=True)
    ]
    return [f"v{k:02d}" for k in range(count)], frames, mos


def run(folder, arguments=None, loggers=(), settings=None, **recipe):
    """Trains a tiny GRU head; returns (outcome, regressor)."""
    recipe = RecipeSettings(**{"epochs": 4, "batch_size": 5, "lr": 3e-3, **recipe})
    ids, frames, mos = sequences()
    torch.manual_seed(recipe.seed)
    head = VSFAHead(DIM, 8, 6, tau=3)
    sizes = {"input_dim": DIM, "reduced_dim": 8, "hidden_dim": 6, "tau": 3}
    regressor = GRURegressor(**sizes, label_scale=float(mos.max()), recipe=asdict(recipe), network=head)
    source = SequenceSource(pack(ids, frames, torch.float32), mos)
    data = SampleDataModule(source, range(30), range(30, 41), recipe.batch_size, recipe.seed)
    return train(
        regressor, data, folder, settings or {"kind": "gru"}, loggers, {**QUIET, **(arguments or {})}
    ), regressor


def same_weights(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


class Killed(Exception):
    pass


class Kill(Callback):
    """Ends a training as a killed process does: nothing is saved on the way out."""

    def __init__(self, epoch, step):
        self.at = (epoch, step)

    def on_train_batch_end(self, trainer, module, outputs, batch, step):
        if (trainer.current_epoch, step) == self.at:
            raise Killed


def with_callback(monkeypatch, callback):
    before = learning._callbacks
    monkeypatch.setattr(learning, "_callbacks", lambda *values: [callback, *before(*values)])


def kill_at(epoch, step, training):
    """Runs a training that ends after a step of an epoch as a killed process does."""
    with pytest.MonkeyPatch.context() as patch:
        with_callback(patch, Kill(epoch, step))
        with pytest.raises(Killed):
            training()
