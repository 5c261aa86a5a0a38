"""The GRU head on the splits of the benchmark gives what `fit` gives on each."""

import csv

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from tests.support.trainings import QUIET, sequences
from ugcvqa.benchmark import main
from ugcvqa.datamodules.samples import SampleDataModule
from ugcvqa.errors import ConfigError
from ugcvqa.heads.gru import build_gru
from ugcvqa.models.regressor import QualityRegressor
from ugcvqa.samples.sequences import SequenceSource, pack
from ugcvqa.settings.training import GRUSettings, RecipeSettings
from ugcvqa.training.gru_splits import RowSplit, train_gru_split
from ugcvqa.training.learning import train

CPU = torch.device("cpu")


def splits(count=3, videos=41):
    order = np.random.default_rng(1)
    rows = [order.permutation(videos) for _ in range(count)]
    return [RowSplit(row[:27], row[27:34], row[34:]) for row in rows]


def settings(**recipe):
    recipe = {"epochs": 4, "batch_size": 5, "lr": 3e-3, **recipe}
    return GRUSettings(8, 6, 3, recipe=RecipeSettings(**recipe))


def one_by_one(folder, table, mos, split, chosen):
    """The head of the best epoch, how the training ended, and its losses, by the way of `fit`."""
    recipe, scale = chosen.recipe, float(mos.max())
    head = build_gru(chosen, table.dim)
    if recipe.starts_at_mean:
        torch.nn.init.constant_(head.quality.bias, float(mos[split.train].mean()) / scale)
    regressor = QualityRegressor(head, scale, recipe)
    data = SampleDataModule(
        SequenceSource(table, mos), split.train.tolist(), split.val.tolist(), recipe.batch_size, recipe.seed
    )
    outcome = train(regressor, data, folder, {"kind": "gru"}, [CSVLogger(folder)], QUIET)
    with next(folder.rglob("metrics.csv")).open() as lines:
        losses = [float(line["train/loss"]) for line in csv.DictReader(lines) if line["train/loss"]]
    return head, outcome, losses


@pytest.mark.parametrize(
    "recipe",
    [
        {"clip_norm": 0.02},
        {"optimiser": "adam", "schedule": "step", "epochs": 10, "l1": 1.0, "plcc": 0.0, "rank": 0.0, "clip_norm": 0.0},
        {"epochs": 8, "patience": 2},
    ],
    ids=["clipped AdamW", "published kind of recipe", "early stopping"],
)
def test_splits_equal_those_of_fit(tmp_path, recipe):
    ids, frames, mos = sequences()
    table, chosen = pack(ids, frames, torch.float32), settings(**recipe)
    found = [train_gru_split(table, mos, split, chosen, CPU) for split in splits()]
    for at, split in enumerate(splits()):
        head, outcome, losses = one_by_one(tmp_path / str(at), table, mos, split, chosen)
        one = found[at]
        assert (one.best_epoch, one.epochs) == (outcome.best_epoch, outcome.epochs)
        np.testing.assert_allclose(one.losses, losses, rtol=1e-4)
        assert one.val_srcc == pytest.approx(outcome.val_srcc, abs=1e-9)
        for name, value in head.state_dict().items():
            torch.testing.assert_close(
                one.weights[name], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )
        pieces = [table.sequence(row) for row in split.test]
        pred = float(mos.max()) * head(torch.cat(pieces), [len(piece) for piece in pieces])
        np.testing.assert_allclose(one.pred, pred.detach().double(), rtol=1e-4)
    stopped = [one.epochs < chosen.recipe.epochs for one in found]
    assert any(stopped) == bool(chosen.recipe.patience)


def test_an_average_of_weights_is_refused():
    ids, frames, mos = sequences()
    with pytest.raises(ConfigError, match=r"recipe\.ema is 0\.9"):
        train_gru_split(pack(ids, frames, torch.float32), mos, splits(1)[0], settings(ema=0.9), CPU)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Labels and frame features of one's own data set; pictures are left out, they take long."""
    monkeypatch.setattr("ugcvqa.benchmarks.report.write_figures", lambda *_: {})
    ids, frames, mos = sequences()
    lines = [f"{video_id}.mp4,{value}" for video_id, value in zip(ids, mos.tolist(), strict=True)]
    (tmp_path / "own.csv").write_text("\n".join(["video,mos", *lines]))
    counts = [len(one) for one in frames]
    np.savez(tmp_path / "own_mine_frames.npz", videos=ids, counts=counts, feats=np.concatenate(frames))
    return tmp_path


def benchmarked(folder, *more):
    known = ["--data", "own", "--labels", str(folder), "--features", str(folder), "--rows", "[MINE+gru]"]
    recipe = ["--gru.reduced_dim", "8", "--gru.hidden_dim", "6", "--gru.tau", "3", "--gru.recipe.lr", "0.02"]
    recipe += ["--gru.recipe.epochs", "5", "--splits", "3"]
    return main([*known, *recipe, "--out", str(folder / "out"), *more])


def results(folder):
    with (folder / "out/own/splits.csv").open() as lines:
        return list(csv.DictReader(lines))


def test_benchmark_goes_on_where_it_stopped(own, caplog):
    assert benchmarked(own) == 0
    together = results(own)
    assert [(line["row"], line["head"], line["split"]) for line in together] == [("MINE", "gru", k) for k in "123"]
    parts = sorted((own / "out/own/parts").rglob("*.safetensors"))
    parts[1].unlink()
    caplog.clear()
    with caplog.at_level("INFO"):
        assert benchmarked(own) == 0
    assert "2 of 3 fits are there already" in caplog.text
    for one, other in zip(together, results(own), strict=True):
        for name in ("srcc", "krcc", "plcc", "rmse"):
            assert one[name] == other[name]
    assert min(float(line["srcc"]) for line in together) > 0.5


def test_benchmark_says_where_frame_features_are_looked_for(own, capsys):
    (own / "own_mine_frames.npz").unlink()
    assert benchmarked(own) == 2
    assert "no features of single frames for MINE+gru; give --tables" in capsys.readouterr().err


def test_benchmark_wants_frames_of_every_video_or_takes_the_common_ones(own, capsys):
    with np.load(own / "own_mine_frames.npz") as arrays:
        counts = arrays["counts"]
        kept = {"videos": arrays["videos"][1:], "counts": counts[1:], "feats": arrays["feats"][counts[0] :]}
    np.savez(own / "own_mine_frames.npz", **kept)
    assert benchmarked(own) == 2
    assert "own_mine_frames.npz lacks 1 of 41 videos" in capsys.readouterr().err
    assert benchmarked(own, "--on_missing", "common") == 0
