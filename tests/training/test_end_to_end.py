"""The `fit` verb with a backbone that is trained: steps, resuming, learning, scoring."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from tests.support.fitting import CONFIGS, END_TO_END, QUICK, predictions
from tests.support.trainings import kill_at
from ugcvqa import fit
from ugcvqa.media.encode import write_video
from ugcvqa.scoring.model_file import load


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


def test_backbone_thaws_step_by_step_and_an_interrupted_step_goes_on(here, videos):
    steps = ["--end_to_end.head_epochs", "1", "--end_to_end.thaw_epochs", "[1,2]", "--end_to_end.stages", "5"]
    arguments = [*videos, *END_TO_END, *steps, "--end_to_end.recipe.epochs", "1", "--end_to_end.recipe.ema", "0"]
    kill_at(1, 1, lambda: fit.main(arguments))  # the second step alone has a second epoch
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


def test_fast_dev_run_of_all_steps_writes_no_run_folder(here, videos):
    steps = ["--end_to_end.thaw_epochs", "[1]", "--trainer.fast_dev_run", "true"]
    assert fit.main([*videos, *END_TO_END, *steps]) == 0
    assert not (here / "runs").exists()


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
