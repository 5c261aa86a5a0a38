"""Videos that failed for a reason outside the file are tried again by the next run."""

import math
import time

import pytest

from tests.support.outputs import FORMATS, NAMES, listed, run, size, started, table
from tests.support.stub_scorer import StubScorer
from ugcvqa.scoring.result import Score

pytestmark = pytest.mark.usefixtures("alone")


def passing_stub(monkeypatch, words):
    """The stub, which fails by `words` in place of what it is made to do; a reason as a process's end would give it."""

    def score(self, path):
        for word, reason in words.items():
            if word in path:
                return Score(path, math.nan, math.nan, f"{path}: {reason}")
        return original(self, path)

    original = StubScorer._score
    monkeypatch.setattr(StubScorer, "_score", score)


PASSING = {
    "killed": "the process that scored it died (SIGKILL, perhaps for lack of memory)",
    "slow": "took longer than the 3 s allowed for one video",
    "full": "unexpected OSError: [Errno 28] No space left on device",
    "large": "nss features cannot be computed: MemoryError",
}


OWN = {"torn": "cannot be decoded (Invalid data found)", "crash": "the process that scored it died (SIGSEGV)"}


@pytest.mark.parametrize("ending", FORMATS)
def test_rows_lost_for_reasons_outside_the_video_are_tried_again_in_their_place(tmp_path, ending, monkeypatch):
    names = [*NAMES[:5], *(f"{word}.mp4" for word in PASSING), *(f"{word}.avi" for word in OWN), *NAMES[5:], "slow.mp4"]
    output = tmp_path / f"out.{ending}"
    with monkeypatch.context() as patch:
        passing_stub(patch, {**PASSING, **OWN})
        assert run(tmp_path, names=names, output=output.name) == 1
        damaged = output.read_bytes()
        assert run(tmp_path, names=names, output=output.name) == 1  # they fail again
        assert table(output) == table(output)
        assert ending == "parquet" or output.read_bytes() == damaged
    with monkeypatch.context() as patch:
        tried = []
        passing_stub(patch, OWN)
        original = StubScorer._score
        patch.setattr(StubScorer, "_score", lambda self, path: tried.append(path) or original(self, path))
        assert run(tmp_path, names=names, output=output.name) == 1
        assert tried == [*(f"{word}.mp4" for word in PASSING), "slow.mp4"]
        assert run(tmp_path, names=names, output=f"whole.{ending}") == 1
    assert table(output) == table(tmp_path / f"whole.{ending}")
    assert ending == "parquet" or output.read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    left = {"list.txt", f"out.{ending}", f"out.{ending}.run.json", f"whole.{ending}", f"whole.{ending}.run.json"}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_new_tries_that_are_killed_go_on_too(tmp_path, monkeypatch):
    names = [f"{number}.mp4" for number in range(40)]
    odd = {f"{number}.mp4": PASSING["killed"] for number in range(1, 40, 2)}
    output = tmp_path / "out.csv"
    with monkeypatch.context() as patch:
        passing_stub(patch, odd)
        assert run(tmp_path, names=names) == 1
    damaged = output.read_bytes()
    job = started([*listed(tmp_path, names), "--output", str(output), "--workers", "0"], delay_s=0.05)
    while size(tmp_path / "out.csv.again") < 300:
        assert job.is_alive()
        time.sleep(0.01)
    job.kill()
    job.join()
    assert output.read_bytes() == damaged
    tried = []
    original = StubScorer._score
    monkeypatch.setattr(StubScorer, "_score", lambda self, path: tried.append(path) or original(self, path))
    assert run(tmp_path, names=names) == 0
    assert 0 < len(tried) < len(odd)
    assert run(tmp_path, names=names, output="whole.csv") == 0
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not list(tmp_path.glob("out.csv.a*"))
