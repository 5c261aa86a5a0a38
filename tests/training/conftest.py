"""An empty folder to train in, and tiny videos to train on."""

import numpy as np
import pytest

from ugcvqa.media.encode import write_video


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UGCVQA_DATA", raising=False)
    return tmp_path


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
