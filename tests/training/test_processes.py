"""The `fit` verb on several processes: one run folder, and the figures of one process."""

import json

import numpy as np
import pytest
from scipy import stats

from tests.support.fitting import END_TO_END, GRU, fit_alone, make_sequences, predictions


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_of_the_verb_make_one_run_folder(here):
    arguments = make_sequences(here, [f"v{k:02d}" for k in range(41)])
    two = [*arguments, *GRU, "--trainer.devices", "2", "--trainer.strategy", "ddp", "--gru.recipe.epochs", "2"]
    output = fit_alone(*two)
    folder = here / "runs" / "own_vsfacnn_gru"
    rows = predictions(folder)
    assert len(rows) == 41
    pairs = [(float(row["label"]), float(row["pred"])) for row in rows if row["part"] == "val"]
    recorded = json.loads((folder / "metrics.json").read_text())["head"]["val_srcc"]
    assert recorded == pytest.approx(stats.spearmanr(*zip(*pairs, strict=True)).statistic, abs=1e-9)
    assert output.count("run folder") == 1


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_train_every_step_of_an_end_to_end_model(here, videos):
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--end_to_end.thaw_epochs", "[1]"]
    output = fit_alone(*videos, *END_TO_END, *two)
    (folder,) = (here / "runs").iterdir()
    rows = predictions(folder)
    assert len(rows) == 16
    pairs = [(float(row["label"]), float(row["pred"])) for row in rows if row["part"] == "val"]
    facts = json.loads((folder / "metrics.json").read_text())["head"]
    assert facts["val_srcc"] == pytest.approx(stats.spearmanr(*zip(*pairs, strict=True)).statistic, abs=1e-9)
    assert {"head_val_srcc", "thaw_1_val_srcc"} <= set(facts)
    assert output.count("run folder") == 1


@pytest.mark.slow
@pytest.mark.ddp
def test_forked_processes_record_their_epochs_and_train_as_one_does(here):
    arguments = [*make_sequences(here, [f"v{k:02d}" for k in range(41)]), *GRU, "--gru.recipe.epochs", "3"]
    found = []
    for name, more in (("one", []), ("two", ["--trainer.devices", "2", "--trainer.strategy", "ddp_fork"])):
        fit_alone(*arguments, "--name", name, *more)
        assert json.loads((here / "runs" / name / "metrics.json").read_text())["head"]["epochs"] == 3
        found.append([float(row["pred"]) for row in predictions(here / "runs" / name)])
    np.testing.assert_allclose(*found, rtol=0, atol=1e-4)
