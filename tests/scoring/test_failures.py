"""Codes of failures: each is read from the sentence that a real failure makes."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.stub_scorer import StubScorer
from ugcvqa.bulk.workers import WorkerPool
from ugcvqa.datasets.names import VIDEO_EXTENSIONS
from ugcvqa.evaluation.metrics import IDENTITY
from ugcvqa.heads.svr import FittedSVR
from ugcvqa.media.encode import write_video
from ugcvqa.scoring.failures import MEANINGS, PASSING, error_code
from ugcvqa.scoring.model import QualityModel
from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.features import FamilySettings

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model():
    head = FittedSVR(np.zeros(1836), np.full(1836, 100.0), np.ones((3, 1836)), np.ones(3), 3.0, 1e-3, 1.0, IDENTITY)
    return QualityModel(head, "NSS", FamilySettings(), "MOS", (1.0, 5.0), "nothing")


def noise(path, frames=24, height=48, width=64):
    write_video(path, RANDOM.integers(0, 256, (frames, height, width, 3), dtype=np.uint8), 12)
    return path


def cut(path):
    noise(path, 48)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


def empty(path):
    path.write_bytes(b"")
    return path


def text(path):
    path.write_text("no video " * 100)
    return path


CASES = {
    "missing": ("unavailable", lambda path: path, {}),
    "folder": ("not_video", lambda path: path.parent, {}),
    "empty": ("not_video", empty, {}),
    "text": ("not_video", text, {}),
    "cut": ("damaged", cut, {}),
    "too short": ("unsuitable", lambda path: noise(path, 1), {}),
    "too small": ("unsuitable", lambda path: noise(path, 24, 8, 8), {}),
    "long": ("limit", noise, {"max_frames": 5}),
    "large": ("limit", noise, {"max_pixels": 64}),
    "bytes": ("limit", noise, {"max_file_bytes": 100}),
}


@pytest.mark.parametrize("name", CASES)
def test_files_that_fail_have_a_code(tmp_path, model, name):
    code, make, limits = CASES[name]
    path = make(tmp_path / "MemoryError damaged.mkv")  # words in a name count for nothing
    (score,) = model.score_many([path], limits=DecodeLimits(**limits))
    assert (score.error_code, score.as_dict()["error_code"]) == (code, code), score.reason


def test_a_score_has_no_code_and_knows_its_file(tmp_path, model):
    path = noise(tmp_path / "clip.mkv")
    score = model.score(path)
    assert score.error_code == ""
    assert (score.duration_s, score.width, score.height) == (2.0, 64, 48)
    assert score.file_bytes == path.stat().st_size
    assert {"error_code": None, "width": 64, "duration_s": 2.0}.items() <= score.as_dict().items()


@pytest.mark.parametrize(
    ("video", "code"), [("die", "killed"), ("crash", "crashed"), ("hang", "timeout"), ("fault", "internal")]
)
def test_processes_that_end_have_a_code(video, code):
    with WorkerPool(StubScorer().score_many, 1, timeout_s=3.0, modules=StubScorer.modules) as pool:
        (score,) = pool.scores([video])
    assert score.error_code == code, score.reason


@pytest.mark.parametrize(
    "reason",
    ["nss features cannot be computed: MemoryError", "a: unexpected OSError: [Errno 28] No space left on device"],
)
def test_a_full_machine_is_no_fault_of_the_video(reason):
    assert error_code(reason) == "resources"


def test_every_code_is_documented_and_can_occur():
    from ugcvqa.scoring import failures

    assert {*failures._SIGNS, "internal"} == set(MEANINGS)
    assert set(MEANINGS) > failures.PASSING
    assert error_code("") == ""


def test_the_documented_codes_are_those_there_are():
    page = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| .* \| (yes|no) \|$", page, re.MULTILINE))
    assert told == {code: "yes" if code in PASSING else "no" for code in MEANINGS}
    assert all(f"`{ending}`" in page for ending in VIDEO_EXTENSIONS)
