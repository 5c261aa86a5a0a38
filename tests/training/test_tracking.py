"""Loggers: what Weights & Biases is told of a training beyond its figures."""

import json
import time

import numpy as np
import pytest
from matplotlib import pyplot as plt

from tests.support.fitting import GRU, TINY, make_sequences
from tests.support.wandb_files import offline_run
from ugcvqa import fit
from ugcvqa.training.tracking import Row, residuals


def test_residuals_are_summed_up_by_part_and_resolution():
    values = {("test", "360p"): [1.0, -1.0, 3.0], ("test", "1080p"): [0.5], ("val", "360p"): [2.0, 0.0]}
    rows = [Row("id", *key, 3.0 + one, 3.0, one) for key, several in values.items() for one in several]
    rows.append(Row("id", "train", "360p", 9.0, 0.0, 9.0))
    table = residuals(rows)
    assert [line[0] for line in table] == ["test 360p", "test 1080p", "val 360p"]
    for name, n, mean, rmse in table:
        errors = np.array(values[tuple(name.split())])
        assert (n, mean, rmse) == (errors.size, errors.mean(), np.sqrt((errors**2).mean()))


def written(log, text):
    """Bytes of a log that W&B's own process may still be writing, once they hold a text."""
    deadline = time.monotonic() + 60
    while text not in (data := log.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return data


def test_wandb_offline_run_holds_metrics_config_table_and_model(here, videos, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", "to be replaced")
    monkeypatch.delenv("WANDB_DATA_DIR")
    steps = ["--gru.recipe.batch_size", "4", "--wandb.project", "tests"]
    maps = ["--saliency_backbone", "squeezenet1_1", "--families.saliency.weights", "random:0", "--wandb.overlays", "2"]
    assert fit.main([*videos, *GRU, *TINY, *maps, *steps, "--logger", "wandb"]) == 0
    folder = here / "runs" / "own_vsfacnn_gru"
    (run,) = (folder / "wandb").glob("offline-run-*")
    (log,) = run.glob("run-*.wandb")
    data = written(log, b"model.safetensors")
    for text in (b"train/loss", b"val/srcc", b"test/srcc", b"model.safetensors", b"squeezenet1_1", b"val/loss"):
        assert text in data, text
    history = offline_run(folder)["history"]
    seen = [entry["trainer/global_step"] for entry in history if "train/loss_of_step" in entry]
    assert seen == list(range(len(seen)))
    assert len(seen) > len([entry for entry in history if "train/loss" in entry])
    assert any("residuals_by_resolution/nrows" in entry for entry in history)
    media = {path.suffix for path in (run / "files" / "media").rglob("*") if path.is_file()}
    assert media >= {".json", ".png"}
    overlays = list((run / "files" / "media" / "images").glob("saliency_*.png"))
    assert len(overlays) == 2
    assert all(plt.imread(path).shape == (224, 224, 3) for path in overlays)
    (table,) = (run / "files" / "media" / "table").glob("predictions*.json")
    content = json.loads(table.read_text())
    assert content["columns"] == ["video_id", "part", "resolution", "label", "pred", "residual", "thumbnail"]
    assert len(content["data"]) == 16
    assert content["data"][0][1] == "test"
    staged = [path for path in folder.rglob("*") if "artifacts" in path.parts and path.is_file()]
    tables = [json.loads(path.read_text()) for path in staged if b'"columns"' in path.read_bytes()[:4000]]
    assert any(row[6]["_type"] == "image-file" for table in tables for row in table["data"] if len(row) == 7)
    assert sum(path.read_bytes()[:4] == b"\x89PNG" for path in staged) >= 16
    assert {path.relative_to(folder).parts[0] for path in staged} == {"wandb"}
    assert not [path for path in staged if path.read_bytes() == (folder / "model.safetensors").read_bytes()]


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_wandb_takes_heads_without_epochs_too(here, mode, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", "to be replaced")
    monkeypatch.delenv("WANDB_DATA_DIR")
    make_sequences(here)
    with np.load(here / "frames.npz") as archive:
        starts = np.cumsum(archive["counts"]) - archive["counts"]
        np.savez(here / "vectors.npz", videos=archive["videos"], feats=archive["feats"].astype(np.float32)[starts])
    arguments = [
        "--data.name",
        "own",
        "--data.labels",
        "labels.csv",
        "--data.features",
        "[vectors.npz]",
        "--row",
        "MINE",
    ]
    quick = ["--svr.c_exponents", "[1]", "--svr.gamma_exponents", "[-3]"]
    assert fit.main([*arguments, *quick, "--logger", "wandb", "--wandb.mode", mode]) == 0
    logs = list((here / "runs" / "own_mine_svr" / "wandb").glob("offline-run-*/*.wandb"))
    assert [b"test/srcc" in written(log, b"test/srcc") for log in logs] == ([True] if mode == "offline" else [])
