"""What tests of the verb `fit` share: quick settings of networks, frame features that tell the label, run folders."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

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
FORTY = [f"v{k:02d}" for k in range(40)]


def make_sequences(here, ids=FORTY, dim=10):
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


def fit_alone(*arguments):
    """Runs the verb in a process of its own, with however many it starts; returns what it writes to its output."""
    command = [sys.executable, "-m", "ugcvqa.fit", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def predictions(folder):
    with (folder / "predictions.csv").open() as file:
        return list(csv.DictReader(file))
