"""Regressors as a library user meets them: every stage of the Trainer, checkpoints, plain loaders."""

import copy
import csv
import json
import os
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from scipy import stats
from torch.utils.data import DataLoader

from tests.models.test_extractors import QUIET
from ugcvqa import fit
from ugcvqa.datamodules import VideoDataModule
from ugcvqa.deep.backbones import load_backbone
from ugcvqa.deep.pooling import VSFA
from ugcvqa.errors import ConfigError
from ugcvqa.heads.network_heads import build_end_to_end
from ugcvqa.media.encode import write_video
from ugcvqa.models import EndToEndRegressor, GRURegressor
from ugcvqa.models.regressor import recipe_callbacks
from ugcvqa.models.regressors import _frame_width
from ugcvqa.samples.batches import Batch
from ugcvqa.settings.training import EndToEndSettings, GRUSettings, RecipeSettings

CLIP = {"frames": 2, "phases": 2, "short_side": 0, "crop": 40}
RECIPE = {"lr": 0.01, "ema": 0.0}
E2E = {"backbone": "resnet18", "weights": "random:0", "clip": CLIP, "recipe": RECIPE}
GRU = {"backbone": "squeezenet1_1", "weights": "random:0", "reduced_dim": 8, "hidden_dim": 6, "tau": 3}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Twenty clips whose noise tells their label."""
    folder = tmp_path_factory.mktemp("videos")
    rows, random = [], np.random.default_rng(0)
    for number in range(20):
        noisy = 120 + 3.0 * number * random.normal(size=(6, 48, 64, 3))
        write_video(folder / f"clip{number:02d}.mp4", np.clip(noisy, 0, 255).astype(np.uint8), 10)
        rows.append(f"clip{number:02d}.mp4,{5 - number / 5}\n")
    (folder / "labels.csv").write_text("file,mos\n" + "".join(rows))
    return folder


@pytest.fixture
def data(videos, tmp_path):
    return VideoDataModule(videos, batch_size=4, store=tmp_path / "store")


def trainer(epochs=2, **more):
    return Trainer(max_epochs=epochs, log_every_n_steps=1, **{**QUIET, **more})


@pytest.mark.parametrize(
    "make", [lambda: EndToEndRegressor(**E2E), lambda: GRURegressor(**GRU, recipe={"lr": 0.01})], ids=["e2e", "gru"]
)
def test_all_stages_and_the_checkpoint(data, make, tmp_path):
    regressor, best = make(), ModelCheckpoint(tmp_path, monitor="val/srcc", mode="max", filename="best")
    trainer(3, callbacks=[best], enable_checkpointing=True).fit(regressor, data)
    loaded = type(regressor).load_from_checkpoint(tmp_path / "best.ckpt", weights_only=True)
    (figures,) = trainer().test(loaded, data)
    (validated,) = trainer().validate(loaded, data)
    assert {f"val/{name}" for name in ("loss", "srcc", "krcc", "plcc", "rmse")} == set(validated)
    assert validated["val/srcc"] == pytest.approx(float(best.best_model_score), abs=1e-6)
    found = {each.video_id: each for each in trainer().predict(loaded, data)}
    assert {name: each.mos for name, each in found.items()} == {t.video_id: t.mos for t in data.tasks}
    rows = [found[data.dataset.videos[row].video_id] for row in data.test]
    pairs = [(each.mos, each.pred) for each in rows]
    assert figures["test/srcc"] == pytest.approx(stats.spearmanr(*zip(*pairs, strict=True)).statistic, abs=1e-6)
    assert figures["test/rmse"] == pytest.approx(np.sqrt(np.mean(np.square([m - p for m, p in pairs]))), rel=1e-4)
    again = {each.video_id: each for each in trainer().predict(copy.deepcopy(loaded), data)}
    assert again == found


def test_plain_loader_of_batches_trains(data):
    regressor = EndToEndRegressor(**E2E)
    data.trainer = trainer()
    data.trainer.strategy.connect(regressor)
    data.setup("fit")
    batches = list(data.val_dataloader())
    before = copy.deepcopy(regressor.network.state_dict())
    one = trainer(1)
    one.fit(regressor, DataLoader(batches, batch_size=None), DataLoader(batches, batch_size=None))
    assert one.global_step == len(batches)
    assert "val/srcc" in one.callback_metrics
    assert any(not torch.equal(before[key], value) for key, value in regressor.network.state_dict().items())
    assert len(one.predict(regressor, DataLoader(batches, batch_size=None))) == len(data.val)


def test_untrained_regressor_begins_at_the_mean_label_once(data):
    regressor = GRURegressor(**GRU, recipe={"lr": 0.0})
    trainer(1).fit(regressor, data)
    mos = [data.dataset.videos[row].mos for row in data.train]
    assert regressor.network.quality.bias.item() == pytest.approx(np.mean(mos) / 5, rel=1e-6)
    torch.nn.init.constant_(regressor.network.quality.bias, 0.25)
    trainer(1).fit(regressor, data)
    assert regressor.network.quality.bias.item() == 0.25


def test_recipe_holds_where_the_trainer_says_nothing(data):
    class Seen(Callback):
        def on_train_start(self, trainer, pl_module):
            self.kinds = [type(each).__name__ for each in trainer.callbacks]

        def on_train_batch_end(self, trainer, pl_module, *_):
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            self.norm = float(torch.linalg.vector_norm(torch.cat([each.flatten() for each in gradients])))

    norms = []
    for more in ({}, {"gradient_clip_val": 0.5}):
        seen = Seen()
        regressor = GRURegressor(**GRU, recipe={"ema": 0.9, "patience": 3, "clip_norm": 1e-3, "plcc": 0.0, "rank": 0.0})
        own = EarlyStopping("val/srcc", mode="max", patience=1)
        trainer(1, callbacks=[seen, *([own] if more else [])], **more).fit(regressor, data)
        assert seen.kinds.count("EMAWeightAveraging") == 1
        assert seen.kinds.count("EarlyStopping") == 1
        norms.append(seen.norm)
    assert norms[0] <= 1e-3 * 1.001
    assert 1e-3 < norms[1] <= 0.5 * 1.001
    assert [type(each).__name__ for each in recipe_callbacks(RecipeSettings(ema=0.9))] == ["EMAWeightAveraging"]


def test_constructor_defaults_are_those_of_the_verb():
    ours, theirs = EndToEndRegressor("resnet18", "random:0"), EndToEndSettings()
    assert ours.recipe == theirs.recipe
    assert ours.sampling.clip == theirs.clip
    for name in ("stages", "frozen_stages", "checkpointing", "reduced_dim", "hidden_dim", "tau", "beta"):
        assert ours.hparams[name] == getattr(theirs, name), name
    gru = GRURegressor()
    assert gru.recipe == GRUSettings().recipe
    assert gru.network.projection.in_features == 4096
    for name in ("reduced_dim", "hidden_dim", "tau", "beta", "precision"):
        assert gru.hparams[name] == getattr(GRUSettings(), name), name


@pytest.mark.parametrize("backbone", ["resnet50", "resnet18", "squeezenet1_1", "vgg16", "mobilenet_v2"])
def test_width_of_frame_features_is_that_of_the_extractor(backbone):
    frames = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    assert VSFA(backbone, "random:0", "float32", "torch")(frames).shape == (1, _frame_width(backbone))


def test_checkpoints_of_the_verb_load(videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["--end_to_end.recipe.epochs", "1", "--end_to_end.head_epochs", "1", "--end_to_end.backbone", "resnet18"]
    clip = [part for key, value in CLIP.items() for part in (f"--end_to_end.clip.{key}", str(value))]
    where = ["--data.name", "own", "--data.root", str(videos), "--end_to_end.weights", "random:0"]
    quiet = ["--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    assert fit.main([*where, "--head", "end_to_end", *small, *clip, *quiet]) == 0
    folder = tmp_path / "runs/own_clip_end_to_end"
    monkeypatch.setattr("ugcvqa.models.regressors.load_backbone", lambda *_: pytest.fail("needs no weight file"))
    loaded = EndToEndRegressor.load_from_checkpoint(folder / "checkpoints/best.ckpt", weights_only=True)
    kept = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["hyper_parameters"]
    assert kept["initial_weights"] == "random:0"
    found = {each.video_id: each.pred for each in trainer().predict(loaded, VideoDataModule(videos, batch_size=4))}
    with (folder / "predictions.csv").open() as file:
        expected = {row["video_id"]: float(row["pred"]) for row in csv.DictReader(file)}
    assert found == pytest.approx(expected, abs=1e-4)


def test_checkpoints_of_version_0_1_load(tmp_path):
    """Their hyperparameters are the settings as JSON, as the verb wrote them until then."""
    settings = EndToEndSettings("resnet18", "IMAGENET1K_V1", stages=2, reduced_dim=16)
    network = build_end_to_end(settings, load_backbone("resnet18", "random:3"))
    record = {"kind": "end_to_end", "settings": json.dumps(asdict(settings)), "features": "[]", "label_scale": 4.5}
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    kept = {"pytorch-lightning_version": "2.6.0", "hparams_name": "kwargs", "hyper_parameters": record}
    torch.save({**kept, "state_dict": state}, tmp_path / "best.ckpt")
    loaded = EndToEndRegressor.load_from_checkpoint(tmp_path / "best.ckpt", weights_only=True).eval()
    assert loaded.label_scale == 4.5
    frames = torch.randint(0, 256, (3, 3, 48, 48), dtype=torch.uint8)
    batch = Batch(torch.tensor([0]), torch.tensor([3.0]), frames, (3,))
    with torch.no_grad():
        assert torch.equal(loaded(batch), 4.5 * network.eval()(frames, (3,)))


def test_wrong_values_are_one_line():
    with pytest.raises(ConfigError, match=r"recipe: .*nonsense"):
        GRURegressor(recipe={"nonsense": 1})
    with pytest.raises(ConfigError, match=r"clip: .*nonsense"):
        EndToEndRegressor(clip={"nonsense": 1})
    with pytest.raises(ConfigError, match="tau 0"):
        EndToEndRegressor("resnet18", "random:0", tau=0)


SCRIPT = """
import sys
from lightning.pytorch import Trainer
from ugcvqa.datamodules import VideoDataModule
from ugcvqa.models import EndToEndRegressor

devices = int(sys.argv[2])
data = VideoDataModule(sys.argv[1], batch_size=4)
more = {"strategy": "ddp"} if devices > 1 else {}
quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
trainer = Trainer(max_epochs=2, accelerator="cpu", devices=devices, num_sanity_val_steps=0, **quiet, **more)
clip = {"frames": 2, "phases": 2, "short_side": 0, "crop": 40}
trainer.fit(EndToEndRegressor("resnet18", "random:0", clip=clip, recipe={"ema": 0.0}), data)
if trainer.is_global_zero:
    print("result", float(trainer.callback_metrics["train/loss"]), float(trainer.callback_metrics["val/rmse"]))
"""


@pytest.mark.ddp
def test_two_processes_train_as_one(videos, tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    results = []
    for devices in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "train.py", str(videos), devices],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        results.append([float(word) for word in done.stdout.split("result", 1)[1].split()])
    assert results[0] == pytest.approx(results[1], rel=1e-3)
