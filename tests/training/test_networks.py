"""The `fit` verb with heads that are networks: run folders, resuming, scoring, logs, two processes."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from matplotlib import pyplot as plt
from scipy import ndimage, stats

from tests.support.wandb_files import offline_run
from ugcvqa import fit, score
from ugcvqa.media.encode import write_video
from ugcvqa.scoring.model_file import load
from ugcvqa.training import checkpoints

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))
QUICK = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.enable_progress_bar", "false"]
GRU = [
    *("--head", "gru", "--gru.reduced_dim", "8", "--gru.hidden_dim", "6", "--gru.tau", "3"),
    *("--gru.recipe.epochs", "5", "--gru.recipe.lr", "0.005", *QUICK),
]
TINY = ["--families.deep.backbone", "squeezenet1_1", "--families.deep.weights", "random:0"]
END_TO_END = [
    *("--head", "end_to_end", "--end_to_end.backbone", "squeezenet1_1", "--end_to_end.weights", "random:0"),
    *("--end_to_end.clip.frames", "2", "--end_to_end.clip.short_side", "0", "--end_to_end.clip.crop", "40"),
    *("--end_to_end.head_epochs", "2", "--end_to_end.recipe.epochs", "2", "--end_to_end.recipe.batch_size", "4"),
    *QUICK,
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UGCVQA_DATA", raising=False)
    return tmp_path


def make_sequences(here, ids, dim=10):
    """Frame features that tell the label, in the layout of published ones, and labels in another order."""
    random = np.random.default_rng(0)
    mos = random.uniform(1, 5, len(ids))
    counts = random.integers(2, 9, len(ids))
    feats = np.concatenate(
        [m * np.linspace(-1, 1, dim) + random.normal(0, 0.4, (n, dim)) for m, n in zip(mos, counts, strict=True)]
    )
    np.savez(here / "frames.npz", videos=np.array(ids), counts=counts, feats=feats.astype(np.float16))
    rows = [f"{video_id}.mp4,{value}\n" for video_id, value in zip(ids, mos, strict=True)]
    (here / "labels.csv").write_text("file,mos\n" + "".join(rows[::-1]))
    return ["--data.name", "own", "--data.labels", "labels.csv", "--data.features", "[frames.npz]"]


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """Sixteen tiny clips under growing noise; every third scene repeats."""
    folder = tmp_path_factory.mktemp("videos")
    random = np.random.default_rng(0)
    rows = []
    for number in range(16):
        smooth = np.kron(random.integers(60, 200, (8, 10, 3)), np.ones((8, 8, 1)))[:48, :64]
        noisy = (smooth + 3.0 * number * random.normal(size=smooth.shape) for _ in range(6))
        frames = (np.clip(frame, 0, 255).astype(np.uint8) for frame in noisy)
        write_video(folder / f"clip{number:02d}.mp4", frames, 10, options={"crf": "12"})
        rows.append(f"clip{number:02d}.mp4,{5 - 4 * number / 16},scene{number // 2}\n")
    (folder / "labels.csv").write_text("file,mos,scene\n" + "".join(rows))
    return ["--data.name", "own", "--data.root", str(folder), "--data.labels", str(folder / "labels.csv")]


def predictions(folder):
    with (folder / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def test_gru_run_from_published_frame_features(here, capsys):
    arguments = make_sequences(here, [f"v{k:02d}" for k in range(40)])
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


def test_interrupted_run_goes_on_and_equals_an_unbroken_one(here, monkeypatch):
    from tests.training.test_learning import Kill, Killed, with_callback

    arguments = [*make_sequences(here, [f"v{k:02d}" for k in range(40)]), *GRU]
    with monkeypatch.context() as patch:
        with_callback(patch, Kill(3, 0))
        with pytest.raises(Killed):
            fit.main(arguments)
    folder = here / "runs" / "own_vsfacnn_gru"
    assert not (folder / "model.safetensors").exists()
    assert fit.main([*arguments, "--gru.tau", "4"]) == 2  # another training must not go on from it
    assert fit.main(arguments) == 0
    assert fit.main(arguments) == 0
    assert {path.name for path in (here / "runs").iterdir()} == {"own_vsfacnn_gru", "own_vsfacnn_gru-2"}
    for name in ("model.safetensors", "predictions.csv"):
        assert (folder / name).read_bytes() == (here / "runs" / "own_vsfacnn_gru-2" / name).read_bytes(), name


def test_two_runs_of_one_name_at_a_time_do_not_mix(here, capsys):
    from tests.test_files import hold

    arguments = [*make_sequences(here, [f"v{k:02d}" for k in range(40)]), *GRU]
    folder = here / "runs" / "own_vsfacnn_gru"
    other = hold(folder / "training.lock")
    assert fit.main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"is in use by process {other.pid}" in line
    assert line.endswith("wait for that training, or give another --name")
    assert [path.name for path in folder.iterdir()] == ["training.lock"]
    other.kill()
    other.wait()
    assert fit.main(arguments) == 0
    assert [path.name for path in (here / "runs").iterdir()] == ["own_vsfacnn_gru"]
    assert not (folder / "training.lock").exists()


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


@pytest.mark.parametrize("view", ["crop", "fragments"])
def test_end_to_end_run_from_videos_scores_videos(here, videos, view):
    once = ["--end_to_end.head_epochs", "1", "--end_to_end.recipe.epochs", "1"]
    assert fit.main([*videos, *END_TO_END, *once, "--end_to_end.clip.view", view]) == 0
    folder = here / "runs" / "own_clip_end_to_end"
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "head"}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"val_srcc", "head_val_srcc", "best_epoch", "parameters"} <= set(metrics["head"])
    expected = {row["video_id"].split("/")[1]: float(row["pred"]) for row in predictions(folder)}
    model = load(folder)
    path = Path(videos[3]) / "clip05.mp4"
    assert model.score(path).pred == pytest.approx(expected["clip05"], abs=1e-4)


def test_backbone_thaws_step_by_step_and_an_interrupted_step_goes_on(here, videos, monkeypatch):
    from tests.training.test_learning import Kill, Killed, with_callback

    steps = ["--end_to_end.head_epochs", "1", "--end_to_end.thaw_epochs", "[1,2]", "--end_to_end.stages", "5"]
    arguments = [*videos, *END_TO_END, *steps, "--end_to_end.recipe.epochs", "1", "--end_to_end.recipe.ema", "0"]
    with monkeypatch.context() as patch:
        with_callback(patch, Kill(1, 1))  # the second step alone has a second epoch
        with pytest.raises(Killed):
            fit.main(arguments)
    folder = here / "runs" / "own_clip_end_to_end"
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"head", "thaw_1", "thaw_2"}
    assert fit.main(arguments) == 0
    assert fit.main([*arguments, "--name", "unbroken"]) == 0
    assert (folder / "model.safetensors").read_bytes() == (here / "runs/unbroken/model.safetensors").read_bytes()
    facts = json.loads((folder / "metrics.json").read_text())["head"]
    assert {"head_val_srcc", "thaw_1_val_srcc", "thaw_2_val_srcc", "val_srcc"} <= set(facts)
    states = []
    for name in ("thaw_1/last", "thaw_2/last", "last"):
        kept = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
        states.append({key: value for key, value in kept.items() if "stages" in key})
    start = learning_start(folder)
    changed = [
        {key.split(".")[3] for key, value in state.items() if not torch.equal(value, start[key])} for state in states
    ]
    assert changed == [{"4"}, {"3", "4"}, {"3", "4"}]  # stages 1 and 2 have no weights, stage 0 is frozen


def learning_start(folder):
    """Weights that a backbone began with."""
    from ugcvqa.deep.backbones import load_backbone
    from ugcvqa.heads.network_heads import build_end_to_end
    from ugcvqa.settings.training import EndToEndSettings

    settings = EndToEndSettings(backbone="squeezenet1_1", stages=5)
    network = build_end_to_end(settings, load_backbone("squeezenet1_1", "random:0"))
    return {f"network.{key}": value for key, value in network.state_dict().items()}


@pytest.mark.parametrize("starts_at_mean", ["true", "false"])
def test_untrained_head_predicts_about_the_mean_label(here, starts_at_mean):
    arguments = make_sequences(here, [f"v{k:02d}" for k in range(40)])
    still = ["--gru.recipe.lr", "0", "--gru.recipe.epochs", "1", "--gru.recipe.starts_at_mean", starts_at_mean]
    assert fit.main([*arguments, *GRU, *still]) == 0
    rows = predictions(here / "runs" / "own_vsfacnn_gru")
    label, pred = (np.mean([float(row[key]) for row in rows]) for key in ("label", "pred"))
    assert (abs(pred - label) < 1) == (starts_at_mean == "true")


def test_loss_without_absolute_error_is_brought_to_the_mos_scale(here):
    arguments = make_sequences(here, [f"v{k:02d}" for k in range(40)])
    assert fit.main([*arguments, *GRU, "--gru.recipe.l1", "0", "--gru.recipe.epochs", "8"]) == 0
    rows = predictions(here / "runs" / "own_vsfacnn_gru")
    pairs = np.array([(float(row["label"]), float(row["pred"])) for row in rows if row["part"] == "train"])
    assert np.polyfit(pairs[:, 1], pairs[:, 0], 1) == pytest.approx([1, 0], abs=1e-6)


def test_fast_dev_run_writes_no_run_folder(here):
    arguments = make_sequences(here, [f"v{k:02d}" for k in range(40)])
    assert fit.main([*arguments, *GRU, "--trainer.fast_dev_run", "true"]) == 0
    assert not (here / "runs").exists()


def test_fast_dev_run_of_all_steps_writes_no_run_folder(here, videos):
    steps = ["--end_to_end.thaw_epochs", "[1]", "--trainer.fast_dev_run", "true"]
    assert fit.main([*videos, *END_TO_END, *steps]) == 0
    assert not (here / "runs").exists()


def test_user_errors_are_one_line(here, videos, capsys):
    assert fit.main([*videos, *GRU, "--row", "NSS"]) == 2
    assert "row NSS has no features of single frames" in capsys.readouterr().err
    assert fit.main([*videos, *END_TO_END, "--row", "NSS"]) == 2
    assert "sees frames, not features" in capsys.readouterr().err
    assert fit.main([*videos, *END_TO_END, "--end_to_end.clip.short_side", "20"]) == 2
    assert "crop 40 does not fit" in capsys.readouterr().err
    assert fit.main([*videos, *END_TO_END, "--end_to_end.thaw_epochs", "[2,0]"]) == 2
    assert "thaw_epochs [2, 0]: at least 1 epoch each" in capsys.readouterr().err


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
    make_sequences(here, [f"v{k:02d}" for k in range(40)])
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


def owner_set(here, name, ids, mos):
    """Label file in the layout of a public data set."""
    header, key = {"konvid_1k": ("flickr_id,mos", "flickr_id"), "youtube_ugc": ("vid,mos", "vid")}[name]
    assert key in header
    rows = "".join(f"{video_id},{value}\n" for video_id, value in zip(ids, mos, strict=True))
    (here / f"{name}.csv").write_text(f"{header}\n{rows}")


def public_ids(name, count):
    if name == "konvid_1k":
        return [str(10_000 + k) for k in range(count)]
    return [f"Gaming_{('360P', '480P', '720P', '1080P')[k % 4]}-{k:04x}" for k in range(count)]


@pytest.mark.parametrize("config", [p for p in CONFIGS if "_gru" in p.stem], ids=lambda path: path.stem)
def test_gru_config_runs_through_the_real_verb(here, config):
    name = yaml.safe_load(config.read_text())["data"]["name"]
    ids = public_ids(name, 24)
    make_sequences(here, ids)
    with np.load(here / "frames.npz") as archive:
        order = [archive["videos"].tolist().index(video_id) for video_id in ids]
    assert order == list(range(24))
    if name != "own":
        owner_set(here, name, ids, np.linspace(1, 5, 24))
    permutation = np.random.default_rng(0).permutation(24) + 1
    np.savez(here / "splits.npz", **{"set.names": [f"{i}.mp4" for i in ids], "set.index": permutation[:, None]})
    stored = ["--split.file", "splits.npz:set"] if config.stem.endswith("reference") else []
    labels = str(here / "labels.csv") if name == "own" else str(here)
    arguments = ["--config", str(config), "--data.labels", labels, "--data.features", "[frames.npz]"]
    assert fit.main([*arguments, *stored, *QUICK, "--gru.recipe.epochs", "2"]) == 0
    (folder,) = (here / "runs").iterdir()
    assert folder.name == f"{name}_vsfacnn_gru"
    sizes = json.loads((folder / "metrics.json").read_text())["videos"]
    assert sizes == ({"train": 15, "val": 5, "test": 4} if stored else {"train": 15, "val": 4, "test": 5})


@pytest.mark.parametrize("config", [p for p in CONFIGS if "end_to_end" in p.stem], ids=lambda path: path.stem)
def test_end_to_end_config_runs_through_the_real_verb(here, config, videos):
    name = yaml.safe_load(config.read_text())["data"]["name"]
    where = videos
    if name not in ("demo", "own"):
        ids = public_ids(name, 16)
        for video_id, path in zip(ids, sorted(Path(videos[3]).glob("*.mp4")), strict=True):
            (here / f"{video_id}.mp4").symlink_to(path)
        owner_set(here, name, ids, np.linspace(5, 1, 16))
        where = ["--data.root", ".", "--data.labels", f"{name}.csv"]
    small = END_TO_END[2:]
    assert fit.main(["--config", str(config), *where, *small, "--end_to_end.recipe.epochs", "1"]) == 0
    (folder,) = (here / "runs").iterdir()
    assert len(predictions(folder)) == 16


@pytest.mark.slow
def test_end_to_end_model_learns_from_the_demo_set(here):
    config = next(path for path in CONFIGS if path.stem == "demo_end_to_end")
    assert fit.main(["--config", str(config)]) == 0
    folder = here / "runs" / "demo_clip_end_to_end"
    held_out = [row for row in predictions(folder) if row["part"] == "test"]
    assert len(held_out) == 66
    assert_clearly_above_zero(held_out, 0.6)  # eleven scenes that nothing was trained or chosen on


def test_end_to_end_model_trained_from_scratch_is_good_on_scenes_it_never_saw(here):
    """Scenes of random texture under noise or blur; the label is the rank of what was done."""
    random = np.random.default_rng(0)
    rows = []
    for scene in range(30):
        coarse, fine = (np.kron(random.random((96 // n, 96 // n, 3)), np.ones((n, n, 1))) for n in (16, 4))
        clean = 60 + 90 * coarse + 50 * fine
        for version, level in enumerate(random.permutation(3)):
            blurred = clean if scene % 2 else ndimage.gaussian_filter(clean, (2.0 * level, 2.0 * level, 0))
            noise = 12.0 * level if scene % 2 else 0.0
            frames = (blurred + noise * random.normal(size=clean.shape) for _ in range(4))
            name = f"scene{scene:02d}_{version}.mp4"
            pictures = (np.clip(frame, 0, 255).astype(np.uint8) for frame in frames)
            write_video(here / name, pictures, 10, options={"crf": "12"})
            rows.append(f"{name},{4.5 - 1.5 * level + random.uniform(-0.3, 0.3)},scene{scene:02d}\n")
    (here / "labels.csv").write_text("file,mos,scene\n" + "".join(rows))
    config = next(path for path in CONFIGS if path.stem == "demo_end_to_end_scratch")
    where = ["--data.name", "own", "--data.root", str(here), "--data.labels", "labels.csv"]
    small = ["--end_to_end.clip.view", "crop", "--end_to_end.clip.short_side", "0", "--end_to_end.clip.crop", "80"]
    small += ["--end_to_end.recipe.epochs", "10"]
    assert fit.main(["--config", str(config), *where, *small, *QUICK]) == 0
    folder = here / "runs" / "own_clip_end_to_end"
    losses = logged_losses(folder)
    assert np.mean(losses[-3:]) < 0.5 * losses[0]
    assert_clearly_above_zero([row for row in predictions(folder) if row["part"] == "test"], 0.5)


def logged_losses(folder):
    """Training loss of each epoch."""
    with next((folder / "logs").glob("*/metrics.csv")).open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def assert_clearly_above_zero(rows, least):
    figures = stats.spearmanr([float(row["label"]) for row in rows], [float(row["pred"]) for row in rows])
    assert figures.statistic > least, figures
    assert figures.pvalue < 0.01, figures


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_of_the_verb_make_one_run_folder(here):
    arguments = make_sequences(here, [f"v{k:02d}" for k in range(41)])
    two = [*arguments, *GRU, "--trainer.devices", "2", "--trainer.strategy", "ddp", "--gru.recipe.epochs", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "ugcvqa.fit", *two],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    folder = here / "runs" / "own_vsfacnn_gru"
    rows = predictions(folder)
    assert len(rows) == 41
    pairs = [(float(row["label"]), float(row["pred"])) for row in rows if row["part"] == "val"]
    recorded = json.loads((folder / "metrics.json").read_text())["head"]["val_srcc"]
    assert recorded == pytest.approx(stats.spearmanr(*zip(*pairs, strict=True)).statistic, abs=1e-9)
    assert done.stdout.count("run folder") == 1


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_train_every_step_of_an_end_to_end_model(here, videos):
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--end_to_end.thaw_epochs", "[1]"]
    done = subprocess.run(
        [sys.executable, "-m", "ugcvqa.fit", *videos, *END_TO_END, *two],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (here / "runs").iterdir()
    rows = predictions(folder)
    assert len(rows) == 16
    pairs = [(float(row["label"]), float(row["pred"])) for row in rows if row["part"] == "val"]
    facts = json.loads((folder / "metrics.json").read_text())["head"]
    assert facts["val_srcc"] == pytest.approx(stats.spearmanr(*zip(*pairs, strict=True)).statistic, abs=1e-9)
    assert {"head_val_srcc", "thaw_1_val_srcc"} <= set(facts)
    assert done.stdout.count("run folder") == 1


def test_checkpoints_of_a_run_are_safe_to_load(here):
    arguments = make_sequences(here, [f"v{k:02d}" for k in range(40)])
    assert fit.main([*arguments, *GRU, "--gru.recipe.ema", "0.9"]) == 0
    for name in ("best", "last"):
        kept = torch.load(here / f"runs/own_vsfacnn_gru/checkpoints/{name}.ckpt", weights_only=True)
        assert kept["hyper_parameters"]["row"] == "VSFACNN"
        assert kept["hyper_parameters"]["tau"] == 3
        assert kept["hyper_parameters"]["recipe"]["ema"] == 0.9
    assert yaml.safe_load((here / "runs/own_vsfacnn_gru/config.yaml").read_text())["gru"]["tau"] == 3
    assert checkpoints.best_score(here / "runs/own_vsfacnn_gru/checkpoints") <= 1


def test_training_that_cannot_start_leaves_no_folder(here, videos, capsys):
    assert fit.main([*videos, "--head", "gru", "--families.deep.weights", "/none"]) == 2
    assert "no such file or folder of weights" in capsys.readouterr().err
    assert not list((here / "runs").iterdir())


def test_too_few_videos_are_told_before_anything_slow(here, videos, capsys):
    lines = Path(videos[-1]).read_text().splitlines(keepends=True)
    (here / "dozen.csv").write_text("".join(lines[:13]))
    for head in ("gru", "end_to_end"):
        assert fit.main([*videos[:-1], "dozen.csv", "--head", head]) == 2
        assert "own: 12 videos; at least 13 are needed to train" in capsys.readouterr().err
    assert not (here / "runs").exists()


DAMAGES = {
    "empty": b"",
    "cut": b'{\n "data": {\n  "na',
    "a list": b"[1, 2]",
    "a number": b"7",
    "random": bytes(range(128, 256)),
    "nested": b"[" * 100_000,
    "folder": None,
    "missing": "",
}


@pytest.mark.parametrize("how", DAMAGES)
def test_training_whose_settings_are_damaged_goes_on_from_its_checkpoints(here, monkeypatch, caplog, how):
    from tests.training.test_learning import Kill, Killed, with_callback

    arguments = [*make_sequences(here, [f"v{k:02d}" for k in range(40)]), *GRU]
    with monkeypatch.context() as patch:
        with_callback(patch, Kill(3, 0))
        with pytest.raises(Killed):
            fit.main(arguments)
    folder = here / "runs" / "own_vsfacnn_gru"
    (folder / "training.json").unlink()
    if DAMAGES[how] is None:
        (folder / "training.json").mkdir()
    elif how != "missing":
        (folder / "training.json").write_bytes(DAMAGES[how])
    for name in ("config.yaml", "predictions.csv", "metrics.json"):  # of a run whose end was cut
        (folder / name).write_bytes(b"\xff cut")
    caplog.clear()
    assert fit.main([*arguments, "--gru.tau", "4"]) == 2  # its checkpoints tell
    assert fit.main(arguments) == 0
    assert ("training.json: cannot be read" in caplog.text) == (how != "missing")
    assert {path.name for path in (here / "runs").iterdir()} == {"own_vsfacnn_gru"}
    assert json.loads((folder / "metrics.json").read_text())["head"]["epochs"] == 5


def test_changed_labels_are_not_mixed_into_an_interrupted_training(here, monkeypatch, capsys):
    from tests.training.test_learning import Kill, Killed, with_callback

    arguments = [*make_sequences(here, [f"v{k:02d}" for k in range(40)]), *GRU]
    with monkeypatch.context() as patch:
        with_callback(patch, Kill(3, 0))
        with pytest.raises(Killed):
            fit.main(arguments)
    table = (here / "labels.csv").read_text().splitlines()
    rows = [f"{row.split(',')[0]},{number % 5 + 1}" for number, row in enumerate(table[1:])]
    (here / "labels.csv").write_text("\n".join([table[0], *rows]))
    assert fit.main(arguments) == 2
    assert "is of a training with other videos, labels, features or settings" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ddp
def test_forked_processes_record_their_epochs_and_train_as_one_does(here):
    arguments = [*make_sequences(here, [f"v{k:02d}" for k in range(41)]), *GRU, "--gru.recipe.epochs", "3"]
    found = []
    for name, more in (("one", []), ("two", ["--trainer.devices", "2", "--trainer.strategy", "ddp_fork"])):
        done = subprocess.run(
            [sys.executable, "-m", "ugcvqa.fit", *arguments, "--name", name, *more],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        assert json.loads((here / "runs" / name / "metrics.json").read_text())["head"]["epochs"] == 3
        found.append([float(row["pred"]) for row in predictions(here / "runs" / name)])
    np.testing.assert_allclose(*found, rtol=0, atol=1e-4)
