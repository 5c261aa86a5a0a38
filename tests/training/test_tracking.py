"""Loggers: what Weights & Biases is told of a run, so that runs can be found and grouped."""

import lightning.pytorch.loggers

from ugcvqa.settings.training import WandbSettings
from ugcvqa.training import tracking


def test_a_run_has_its_group_tags_notes_and_kind(tmp_path, monkeypatch):
    told = {}

    class Logger:
        experiment = None

        def __init__(self, **settings):
            told.update(settings)

    monkeypatch.setattr(lightning.pytorch.loggers, "WandbLogger", Logger)
    settings = WandbSettings(group="rows", tags=("nss", "seed 1"), notes="first try", job_type="ablation")
    tracking.make_loggers("wandb", settings, tmp_path, {"row": "NSS"})
    wanted = {"group": "rows", "tags": ["nss", "seed 1"], "notes": "first try", "job_type": "ablation"}
    assert wanted.items() <= told.items()
    assert (told["name"], told["config"]) == (tmp_path.name, {"row": "NSS"})
