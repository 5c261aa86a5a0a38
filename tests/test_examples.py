"""The scripts of examples/ run, with tiny settings."""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import ugcvqa
from tests.test_benchmark import made_up
from ugcvqa.media.encode import write_video

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture
def videos(tmp_path):
    """Twenty tiny clips, sharper the better."""
    folder, random = tmp_path / "videos", np.random.default_rng(0)
    folder.mkdir()
    ids = made_up(tmp_path, n_videos=20)
    labels = dict(line.rsplit(",", 1) for line in (tmp_path / "mine.csv").read_text().splitlines()[1:])
    for video_id in ids:
        amplitude = 12 * float(labels[f"{video_id}.mp4"])
        frames = 128 + amplitude * random.normal(size=(10, 48, 64, 3))
        write_video(folder / f"{video_id}.mp4", np.clip(frames, 0, 255).astype(np.uint8), 10)
    return folder


def run(folder, *words):
    done = subprocess.run(
        [sys.executable, EXAMPLES / words[0], *words[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_features_of_a_folder(videos, tmp_path):
    (videos / "text.mp4").write_text("no video")
    out = run(tmp_path, "features_of_a_folder.py", "videos", "features.npz")
    assert "20 of 21 videos, 1836 features each" in out
    assert "own/text: " in out
    with np.load(tmp_path / "features.npz") as arrays:
        assert arrays["video"].shape == (20, 1836)
        assert list(arrays["ids"]) == [f"own/mine{number:03d}" for number in range(20)]
    small = ["--backbone", "resnet18", "--weights", "random:0"]
    assert "1024 features each" in run(tmp_path, "features_of_a_folder.py", "videos", "deep.npz", *small)


def test_train_on_own_videos(videos, tmp_path):
    small = ["--weights", "random:0", "--frames", "2", "--short_side", "0", "--crop", "40", "--epochs", "2"]
    out = run(tmp_path, "train_on_own_videos.py", "videos", "mine.csv", *small, "--workers", "0")
    assert "test/srcc" in out
    assert len(re.findall(r"own/mine\d+ predicted \d\.\d\d, label \d\.\d\d", out)) == 20
    assert (tmp_path / "end_to_end" / "best.ckpt").is_file()


def test_compare_a_metric(videos, tmp_path):
    words = ["mine", ".", ".", "--videos", "videos", "--rows", "A", "--splits", "2", "--quick", "--out", "out"]
    out = run(tmp_path, "compare_a_metric.py", *words)
    (line,) = [line for line in out.splitlines() if "SHARPNESS" in line and line.startswith("|")][:1]
    assert float(re.search(r"\d\.\d+", line)[0]) > 0.9


def test_http_service(tmp_path):
    write_video(tmp_path / "clip.mkv", np.random.default_rng(0).integers(0, 256, (24, 96, 128, 3), dtype=np.uint8), 12)
    command = [sys.executable, EXAMPLES / "http_service.py", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as service:
        try:
            url = service.stdout.readline().strip()
            with urllib.request.urlopen(url, (tmp_path / "clip.mkv").read_bytes(), timeout=300) as answer:
                row = json.load(answer)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url, b"no video", timeout=300)
            failed = json.load(refused.value)
        finally:
            service.terminate()
    assert row["mos"] == ugcvqa.load(nss_engine="compiled").score(tmp_path / "clip.mkv").mos
    assert row["error"] is None
    assert refused.value.code == 422
    assert failed["error_code"] == "not_video"
    assert failed["error"].startswith("the video: cannot be read as a video")
