"""The Python examples of the README run as they stand."""

import re
from pathlib import Path

import numpy as np
import pytest

from ugcvqa.evaluation.metrics import IDENTITY
from ugcvqa.heads.svr import SVRHead
from ugcvqa.media.encode import write_video
from ugcvqa.scoring.model import FILE_NAME, QualityModel
from ugcvqa.settings import FamilySettings

README = Path(__file__).resolve().parent.parent / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with what the examples name: two clips, and a run with a model."""
    random = np.random.default_rng(0)
    vectors = 100 * np.abs(random.normal(size=(20, 1836)))
    head = SVRHead(np.zeros(1836), np.full(1836, 100.0), vectors, random.normal(size=20), 3.0, 1e-3, 1.0, IDENTITY)
    model = QualityModel(head, "NSS", FamilySettings(), "MOS", (1.0, 5.0), "noise (20 videos)")
    model.save(tmp_path / "runs" / "mine_nss_svr" / FILE_NAME)
    for name in ("clip.mp4", "other.mkv"):
        write_video(tmp_path / name, random.integers(0, 256, (24, 48, 64, 3), dtype=np.uint8), 12)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"block {number}" for number in range(len(EXAMPLES))])
def test_example_runs(folder, example, capsys):
    exec(compile(example, "README.md", "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out.split()
    assert printed
    assert 1 <= float(printed[0]) <= 5
