"""What users give Lightning's Trainer is added to ours, honoured or refused in one line; nothing computed is lost."""

import csv
import inspect
import json

import numpy as np
import pytest
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Timer

from tests.support.fitting import GRU, make_sequences
from tests.support.trainings import run as train
from tests.test_extract import ONE_PROCESS, dataset, run, videos  # noqa: F401 (a fixture)
from tests.training.conftest import here  # noqa: F401 (a fixture)
from ugcvqa import extract, fit
from ugcvqa.errors import ConfigError
from ugcvqa.records import plain_settings
from ugcvqa.trainer import ADDED, EXTRACTION, OF_VECTORS, TRAINING

TIMER = {"class_path": "lightning.pytorch.callbacks.Timer", "init_args": {"duration": "00:01:00:00"}}


class Witness(Callback):
    seen: list = []  # noqa: RUF012

    def on_train_epoch_end(self, trainer, module):
        self.seen.append(trainer.current_epoch)

    def on_predict_end(self, trainer, module):
        self.seen.append("predicted")


WITNESS = {"class_path": "tests.test_trainer.Witness"}


@pytest.fixture(autouse=True)
def nothing_seen():
    Witness.seen.clear()


@pytest.mark.parametrize("purpose", [TRAINING, EXTRACTION, OF_VECTORS], ids=["training", "extraction", "vectors"])
def test_every_argument_of_the_trainer_has_been_decided_on(purpose):
    """A version of Lightning with a new argument fails here: decide what it does to what we promise."""
    decided = [*purpose.honoured, *purpose.refused, *ADDED]
    assert set(decided) == set(inspect.signature(Trainer).parameters)
    assert set(purpose.refused) <= set(purpose.harmless)
    assert not set(purpose.honoured) & set(purpose.refused)


REFUSED = {
    "use_distributed_sampler": True,
    "barebones": True,
    "model_registry": "name",
    "limit_test_batches": 2,
    "enable_checkpointing": False,
    "limit_predict_batches": 1,
}


@pytest.mark.parametrize("name", REFUSED)
def test_arguments_that_would_break_a_training_are_one_error(name):
    assert name in TRAINING.refused
    with pytest.raises(ConfigError, match=rf"--trainer\.{name} "):
        TRAINING.check({name: REFUSED[name]})
    TRAINING.check({name: TRAINING.harmless[name]})
    TRAINING.check({name: None})


@pytest.mark.parametrize(
    "asked",
    [
        {"precision": "bf16-mixed"},
        {
            "plugins": {
                "class_path": "lightning.pytorch.plugins.MixedPrecision",
                "init_args": {"precision": "bf16-mixed", "device": "cpu"},
            }
        },
        {"max_epochs": 3},
        {"barebones": True},
        {"callbacks": [{"class_path": "os.system"}]},
        {"callbacks": 5},
        {"callbacks": [TIMER, TIMER]},
        {"callbacks": [{**TIMER, "init_args": {"duration": "soon"}}]},
    ],
    ids=str,
)
def test_extraction_that_would_store_or_lose_something_else_is_refused(videos, tmp_path, asked):  # noqa: F811
    with pytest.raises(ConfigError, match="--trainer"):
        run(dataset(videos, "good0.mp4"), tmp_path / "store", {**ONE_PROCESS, **asked})
    assert not list(tmp_path.rglob("*.safetensors"))


ADDITIONS = {
    "none": {"callbacks": []},
    "null": {"callbacks": None, "logger": None, "plugins": None},
    "one": {"callbacks": TIMER},
    "several": {"callbacks": [TIMER, WITNESS]},
    "object": {"callbacks": Timer("00:01:00:00")},
    "of checkpoints": {"callbacks": [{"class_path": "ModelCheckpoint"}, {"class_path": "TQDMProgressBar"}]},
    "logger": {"logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "logs"}}},
    "no logger": {"logger": False},
    "default logger": {"logger": True},
}


@pytest.mark.parametrize("name", ADDITIONS)
def test_extraction_stores_everything_whatever_is_added(videos, tmp_path, monkeypatch, name):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    assert run(dataset(videos, "good[01].mp4"), tmp_path / "store", {**ONE_PROCESS, **ADDITIONS[name]}) == {}
    assert len(list((tmp_path / "store").rglob("*.safetensors"))) == 2
    assert Witness.seen == (["predicted"] if name == "several" else [])


def test_extract_counts_what_the_store_holds(videos, tmp_path, capsys):  # noqa: F811
    config = {
        "data": {"name": "own", "root": str(videos), "labels": str(videos / "labels.csv")},
        "store": str(tmp_path / "store"),
        "trainer": {**ONE_PROCESS, "callbacks": [TIMER, WITNESS]},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    arguments = ["--config", str(tmp_path / "config.yaml")]
    for limit, count in (("0", 0), ("1.0", 5)):
        assert extract.main([*arguments, "--trainer.limit_predict_batches", limit]) == 1
        assert f"{count} of 9 videos of own have nss features" in capsys.readouterr().out
        assert len(list((tmp_path / "store").rglob("*.safetensors"))) == count
    with (tmp_path / "store" / "failures-own.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4


def test_fit_takes_callbacks_and_loggers_from_a_file_and_keeps_its_own(here):  # noqa: F811
    arguments = [*make_sequences(here), *GRU]
    logger = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "mine", "name": "run"}}
    (here / "more.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [TIMER, WITNESS], "logger": logger}}))
    assert fit.main(["--config", "more.yaml", *arguments, "--gru.recipe.epochs", "2"]) == 0
    assert Witness.seen == [0, 1]
    folder = here / "runs" / "own_vsfacnn_gru"
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    for logs in (folder / "logs", here / "mine" / "run"):
        (table,) = logs.glob("*/metrics.csv")
        assert "val/srcc" in table.read_text()
    kept = yaml.safe_load((folder / "config.yaml").read_text())["trainer"]["callbacks"]
    assert [one["class_path"] for one in kept] == [TIMER["class_path"], WITNESS["class_path"]]
    assert kept[0]["init_args"]["duration"] == "00:01:00:00"
    assert fit.main(["--config", str(folder / "config.yaml")]) == 0  # what was written down is the same training
    assert Witness.seen == [0, 1, 0, 1]
    assert json.loads((folder / "metrics.json").read_text())["head"]["epochs"] == 2


@pytest.mark.parametrize(
    "asked",
    [
        {"callbacks": []},
        {"callbacks": None, "logger": None, "plugins": []},
        {"logger": False},
        {"logger": True},
        {"num_sanity_val_steps": 2},
        {"reload_dataloaders_every_n_epochs": 1},
        {"inference_mode": False},
        {"profiler": "simple"},
        {"detect_anomaly": True},
        {"enable_model_summary": True},
        {"max_epochs": None, "max_time": "00:01:00:00"},
    ],
    ids=str,
)
def test_arguments_beside_the_numbers_change_none(tmp_path, plain, asked, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train(tmp_path / "run", asked, epochs=2)[0] == plain


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return train(tmp_path_factory.mktemp("plain"), epochs=2)[0]


@pytest.mark.parametrize(
    "asked",
    [
        {"max_epochs": 0},
        {"max_epochs": -1},
        {"max_steps": 0},
        {"limit_train_batches": 0},
        {"limit_train_batches": 0.001},
        {"callbacks": [{"class_path": "EarlyStopping", "init_args": {"monitor": "val/none"}}]},
        {"callbacks": [{"class_path": "LearningRateMonitor"}]},
        {"plugins": [{"class_path": "lightning.pytorch.plugins.io.TorchCheckpointIO"}]},
        {"max_time": "soon"},
        {"strategy": "nonsense"},
    ],
    ids=str,
)
def test_training_that_cannot_go_is_one_error(tmp_path, asked):
    with pytest.raises(ConfigError, match="--trainer"):
        train(tmp_path, asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"limit_val_batches": 0},
        {"check_val_every_n_epoch": 5},
        {"max_steps": 3},
        {"check_val_every_n_epoch": None, "val_check_interval": 1000},
    ],
    ids=str,
)
def test_training_that_validated_no_epoch_keeps_its_last_state_and_says_so(tmp_path, asked, caplog):
    outcome, regressor = train(tmp_path, asked, epochs=2, patience=1)
    assert outcome.is_complete
    assert np.isnan(outcome.val_srcc)
    assert outcome.best_epoch == outcome.epochs - 1 == (0 if "max_steps" in asked else 1)
    assert "no epoch had a defined validation SRCC: the weights of the last epoch are kept" in caplog.text
    again, _ = train(tmp_path, asked, epochs=2, patience=1)
    assert (again.epochs, again.best_epoch) == (outcome.epochs, outcome.best_epoch)
    assert not regressor.training


@pytest.mark.parametrize("asked", [{"val_check_interval": 0.5}, {"val_check_interval": 2}, {"overfit_batches": 1}])
def test_validation_at_other_times_still_chooses(tmp_path, asked):
    outcome, _ = train(tmp_path, asked, epochs=2)
    assert np.isfinite(outcome.val_srcc)
    assert outcome.epochs == 2


@pytest.mark.parametrize(("val", "label"), [([], None), ([30], None), (range(30, 41), 2.5)], ids=["none", "1", "equal"])
def test_validation_part_that_defines_no_srcc_is_told_at_the_start(tmp_path, val, label, caplog, monkeypatch):
    from tests.support import trainings
    from ugcvqa.datamodules.samples import SampleDataModule

    def data(source, rows, _, *values):
        if label:
            source.mos[30:] = label
        return SampleDataModule(source, rows, val, *values)

    monkeypatch.setattr(trainings, "SampleDataModule", data)
    outcome, _ = train(tmp_path, epochs=2)
    assert np.isnan(outcome.val_srcc)
    assert outcome.best_epoch == 1
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told[0].startswith(f"the {len(val)} validation videos have not two labels")


def test_diverged_training_is_one_error(tmp_path):
    with pytest.raises(ConfigError, match="the training diverged"):
        train(tmp_path, epochs=2, lr=1e30, clip_norm=0.0, schedule="constant")


def test_classes_are_made_only_where_the_trainer_takes_them(here, capsys):  # noqa: F811
    arguments = [*make_sequences(here), *GRU]
    named = {"class_path": "pathlib.Path.mkdir", "init_args": {"self": "made"}}
    popen = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "made"]}}
    for trainer in ({"callbacks": [popen]}, {"default_root_dir": popen}, {"nonsense": popen}, {"profiler": named}):
        (here / "more.yaml").write_text(yaml.safe_dump({"trainer": trainer}))
        assert fit.main(["--config", "more.yaml", *arguments]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "--trainer." in line
    assert not (here / "made").exists()
    assert not list(here.glob("runs/*"))


@pytest.mark.parametrize("callbacks", ["[]", "null", "Timer", f"[{json.dumps(TIMER)}]"])
def test_callbacks_can_be_given_as_flags(here, callbacks):  # noqa: F811
    arguments = [*make_sequences(here), *GRU, "--gru.recipe.epochs", "1"]
    assert fit.main([*arguments, "--trainer.callbacks", callbacks, "--trainer.logger", "false"]) == 0
    assert not (here / "runs" / "own_vsfacnn_gru" / "logs").exists()


def test_settings_with_objects_can_be_written_down():
    assert plain_settings({"trainer": {"callbacks": [Timer()]}}) == {
        "trainer": {"callbacks": ["lightning.pytorch.callbacks.timer.Timer"]}
    }
