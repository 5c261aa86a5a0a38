"""Every config of a network through the real verb."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.fitting import CONFIGS, END_TO_END, QUICK, make_sequences, predictions
from ugcvqa import fit


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
