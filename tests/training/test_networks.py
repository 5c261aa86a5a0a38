"""The `fit` verb with a GRU head: its run folder, its scale, scoring, and errors of users."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy import stats

from tests.support.fitting import END_TO_END, GRU, TINY, make_sequences, predictions
from ugcvqa import fit, score
from ugcvqa.scoring.model_file import load
from ugcvqa.training import checkpoints


def test_gru_run_from_published_frame_features(here, capsys):
    arguments = make_sequences(here)
    assert fit.main([*arguments, *GRU, "--gru.recipe.epochs", "15"]) == 0
    folder = here / "runs" / "own_vsfacnn_gru"
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "config.yaml",
        "model.safetensors",
        "predictions.csv",
        "metrics.json",
        "scatter.png",
        "checkpoints",
    }
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    rows = predictions(folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    for part in ("test", "val"):
        pairs = [(float(row["label"]), float(row["pred"])) for row in rows if row["part"] == part]
        srcc = stats.spearmanr(*zip(*pairs, strict=True)).statistic
        assert srcc > 0.5
        recorded = metrics["test"]["srcc"] if part == "test" else metrics["head"]["val_srcc"]
        assert recorded == pytest.approx(srcc, abs=1e-9)
    model = load(folder)
    with np.load(here / "frames.npz") as archive:
        sequences = np.split(archive["feats"], np.cumsum(archive["counts"])[:-1])
        pred = dict(zip(archive["videos"].tolist(), model.predict(sequences), strict=True))
    assert {row["video_id"].split("/")[1]: float(row["pred"]) for row in rows} == pytest.approx(pred, abs=1e-5)
    with next((folder / "logs").glob("*/metrics.csv")).open() as file:
        logged = list(csv.DictReader(file))
    assert {"train/loss", "val/loss", "val/srcc", "val/krcc", "val/plcc", "val/rmse"} <= set(logged[0])
    assert all(0 <= float(row["speed/data_wait"]) <= 1 for row in logged if row["speed/data_wait"])
    assert any("lr" in name for name in logged[0])
    assert "VSFACNN + GRU" in capsys.readouterr().out


def test_gru_run_from_videos_scores_videos(here, videos, capsys):
    assert fit.main([*videos, *GRU, *TINY]) == 0
    folder = here / "runs" / "own_vsfacnn_gru"
    expected = {row["video_id"].split("/")[1]: float(row["pred"]) for row in predictions(folder)}
    path = Path(videos[3]) / "clip05.mp4"
    assert load(folder).score(path).pred == pytest.approx(expected["clip05"], abs=1e-5)
    state = load(folder).head.to_arrays()[0]
    assert sum(value.size for value in state.values()) < 20_000  # no backbone in it
    capsys.readouterr()
    assert score.main([str(path), "--checkpoint", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("# MOS")


@pytest.mark.parametrize("starts_at_mean", ["true", "false"])
def test_untrained_head_predicts_about_the_mean_label(here, starts_at_mean):
    arguments = make_sequences(here)
    still = ["--gru.recipe.lr", "0", "--gru.recipe.epochs", "1", "--gru.recipe.starts_at_mean", starts_at_mean]
    assert fit.main([*arguments, *GRU, *still]) == 0
    rows = predictions(here / "runs" / "own_vsfacnn_gru")
    label, pred = (np.mean([float(row[key]) for row in rows]) for key in ("label", "pred"))
    assert (abs(pred - label) < 1) == (starts_at_mean == "true")


def test_loss_without_absolute_error_is_brought_to_the_mos_scale(here):
    arguments = make_sequences(here)
    assert fit.main([*arguments, *GRU, "--gru.recipe.l1", "0", "--gru.recipe.epochs", "8"]) == 0
    rows = predictions(here / "runs" / "own_vsfacnn_gru")
    pairs = np.array([(float(row["label"]), float(row["pred"])) for row in rows if row["part"] == "train"])
    assert np.polyfit(pairs[:, 1], pairs[:, 0], 1) == pytest.approx([1, 0], abs=1e-6)


def test_user_errors_are_one_line(here, videos, capsys):
    assert fit.main([*videos, *GRU, "--row", "NSS"]) == 2
    assert "row NSS has no features of single frames" in capsys.readouterr().err
    assert fit.main([*videos, *END_TO_END, "--row", "NSS"]) == 2
    assert "sees frames, not features" in capsys.readouterr().err
    assert fit.main([*videos, *END_TO_END, "--end_to_end.clip.short_side", "20"]) == 2
    assert "crop 40 does not fit" in capsys.readouterr().err
    assert fit.main([*videos, *END_TO_END, "--end_to_end.thaw_epochs", "[2,0]"]) == 2
    assert "thaw_epochs [2, 0]: at least 1 epoch each" in capsys.readouterr().err


def test_checkpoints_of_a_run_are_safe_to_load(here):
    arguments = make_sequences(here)
    assert fit.main([*arguments, *GRU, "--gru.recipe.ema", "0.9"]) == 0
    for name in ("best", "last"):
        kept = torch.load(here / f"runs/own_vsfacnn_gru/checkpoints/{name}.ckpt", weights_only=True)
        assert kept["hyper_parameters"]["row"] == "VSFACNN"
        assert kept["hyper_parameters"]["tau"] == 3
        assert kept["hyper_parameters"]["recipe"]["ema"] == 0.9
    assert yaml.safe_load((here / "runs/own_vsfacnn_gru/config.yaml").read_text())["gru"]["tau"] == 3
    assert checkpoints.best_score(here / "runs/own_vsfacnn_gru/checkpoints") <= 1


def test_too_few_videos_are_told_before_anything_slow(here, videos, capsys):
    lines = Path(videos[-1]).read_text().splitlines(keepends=True)
    (here / "dozen.csv").write_text("".join(lines[:13]))
    for head in ("gru", "end_to_end"):
        assert fit.main([*videos[:-1], "dozen.csv", "--head", head]) == 2
        assert "own: 12 videos; at least 13 are needed to train" in capsys.readouterr().err
    assert not (here / "runs").exists()
