"""Weights & Biases: what an offline run holds, where its files lie, and what happens where it cannot be used."""

import os
import sys

import pytest

from tests.support.wandb_files import offline_run
from ugcvqa import dashboard
from ugcvqa.errors import ConfigError
from ugcvqa.settings.training import WandbSettings


def test_a_run_has_its_group_tags_notes_and_kind(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    settings = WandbSettings(group="rows", tags=("nss", "seed 1"), notes="first try", job_type="ablation")
    with dashboard.opened(tmp_path, settings, "fit", {"row": "NSS"}) as run:
        table = dashboard.library().Table(columns=["a"], data=[[1]])
        run.log({"table": table, "loss": 0.5})
    found = offline_run(tmp_path)
    wanted = {"group": "rows", "notes": "first try", "job_type": "ablation", "name": tmp_path.name}
    assert wanted.items() <= found.items()
    assert sorted(found["tags"]) == ["nss", "seed 1"]
    assert found["config"]["row"] == "NSS"
    assert found["history"][0]["loss"] == 0.5
    assert [path.name for path in tmp_path.iterdir()] == ["wandb"]
    assert "WANDB_DATA_DIR" not in os.environ


def test_the_kind_is_the_verb_where_none_is_given(tmp_path):
    with dashboard.opened(tmp_path, WandbSettings(), "study", {}, "name of the run"):
        pass
    found = offline_run(tmp_path)
    assert (found["job_type"], found["name"], found["project"]) == ("study", "name of the run", "ugcvqa")


def test_a_refusal_is_one_line_and_leaves_nothing_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    library = dashboard.library()
    monkeypatch.setattr(library, "init", lambda **_: (_ for _ in ()).throw(library.Error("no key")))
    with pytest.raises(ConfigError, match=r"wandb online: W&B cannot start.*no key.*wandb login"):
        dashboard.start(tmp_path, WandbSettings(mode="online"), "fit", {})
    assert "WANDB_DATA_DIR" not in os.environ


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a bug")])
def test_a_start_that_breaks_off_leaves_nothing_in_the_environment(tmp_path, monkeypatch, error):
    def init(**_):
        raise error

    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    monkeypatch.setattr(dashboard.library(), "init", init)
    with pytest.raises(type(error)):
        dashboard.start(tmp_path, WandbSettings(), "fit", {})
    assert "WANDB_DATA_DIR" not in os.environ


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="W&B needs the package wandb"):
        dashboard.start(tmp_path, WandbSettings(), "fit", {})
