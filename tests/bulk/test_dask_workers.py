"""Scoring and extraction by Dask workers: the same bytes as without, also where workers are killed in the middle."""

import os
import signal
import threading
import time
from functools import partial

import numpy as np
import pytest

from tests.support.stub_scorer import StubScorer
from ugcvqa import extract, score
from ugcvqa.bulk.dask_workers import OneByOne
from ugcvqa.media.encode import write_video
from ugcvqa.settings.data import DaskSettings

distributed = pytest.importorskip("distributed", reason="Dask needs the extra `dask`")

NAMES = [f"{number:02d}.mp4" for number in range(40)]
NAMES[7], NAMES[20], NAMES[21] = "fail.mp4", "odd.mp4", "fault.mp4"


@pytest.fixture
def cluster(tmp_path):
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", local_directory=str(tmp_path / "dask")
    ) as cluster:
        yield cluster


def run(monkeypatch, output, *arguments, names=NAMES, delay_s=0.0):
    monkeypatch.setattr(score, "_scorer", lambda *_: StubScorer(delay_s=delay_s))
    return score.main([*names, "--output", str(output), *arguments])


def test_rows_are_those_of_processes_where_a_worker_is_killed(tmp_path, cluster, monkeypatch, capsys):
    assert run(monkeypatch, tmp_path / "plain.csv", "--workers", "1") == 1
    there = ["--backend", "dask", "--dask.scheduler", cluster.scheduler_address]
    first = next(iter(cluster.workers.values())).pid

    def kill_in_the_middle():
        while not (tmp_path / "dask.csv").exists() or (tmp_path / "dask.csv").read_bytes().count(b"\n") < 5:
            time.sleep(0.02)
        os.kill(first, signal.SIGKILL)

    killer = threading.Thread(target=kill_in_the_middle, daemon=True)
    killer.start()
    assert run(monkeypatch, tmp_path / "dask.csv", *there, delay_s=0.05) == 1
    killer.join(10)
    assert not killer.is_alive()
    assert first not in {worker.pid for worker in cluster.workers.values()}  # it is another one now
    assert (tmp_path / "dask.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()


def test_a_run_goes_on_with_another_backend(tmp_path, cluster, monkeypatch):
    assert run(monkeypatch, tmp_path / "plain.jsonl", "--workers", "1") == 1
    whole = (tmp_path / "plain.jsonl").read_bytes()
    there = ["--backend", "dask", "--dask.scheduler", cluster.scheduler_address]
    assert run(monkeypatch, tmp_path / "out.jsonl", "--workers", "1") == 1
    rows = whole.splitlines(keepends=True)
    (tmp_path / "out.jsonl").write_bytes(b"".join(rows[:11]) + rows[11][:9])  # killed while it wrote the twelfth
    assert run(monkeypatch, tmp_path / "out.jsonl", *there) == 1
    assert (tmp_path / "out.jsonl").read_bytes() == whole


def test_a_video_that_costs_its_workers_is_a_row(tmp_path, monkeypatch):
    """On workers that the verb starts itself."""
    names = ["good.mp4", "die.mp4", "other.mp4"]
    there = ["--backend", "dask", "--workers", "2", "--dask.retries", "1"]
    assert run(monkeypatch, tmp_path / "out.csv", *there, names=names) == 1
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["video", *names]
    assert ",killed," in lines[2]
    assert "its workers were lost" in lines[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "dask", "--timeout_s", "5"], "Dask cannot end a task"),
        (["--dask.scheduler", "tcp://127.0.0.1:9"], "with --backend dask only"),
        (["--backend", "dask", "--dask.scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers there"),
        (["--backend", "dask", "--dask.retries", "-1"], "at least 0"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr("ugcvqa.cluster.PATIENCE_S", 0.5)
    assert run(monkeypatch, tmp_path / "out.csv", *arguments) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out.csv").exists()


def test_scoring_that_cannot_start_ends_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(score, "_scorer", lambda *_: StubScorer(starts=False))
    assert score.main(["a.mp4", "--output", str(tmp_path / "o.csv"), "--backend", "dask", "--workers", "1"]) == 2
    assert "the stub has no weights" in capsys.readouterr().err


def test_one_run_serves_all_calls_of_a_thread():
    starts = []

    def score_many(paths, scorer):
        starts.append(1)
        return scorer.score_many(paths)

    one = OneByOne(partial(score_many, scorer=StubScorer()))
    assert [one(name).path for name in ("a", "b", "c")] == ["a", "b", "c"]
    assert len(starts) == 1
    assert "ZeroDivisionError" in one("fault").reason
    assert one("d").mos == next(StubScorer().score_many(["d"])).mos
    assert len(starts) == 2  # after an error it starts over


@pytest.mark.slow
def test_the_store_is_the_one_that_lightning_fills(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        write_video(tmp_path / f"videos/{number}.mp4", random.integers(0, 256, (12, 48, 64, 3), dtype=np.uint8), 12)
    (tmp_path / "videos" / "4.mp4").write_text("no video")
    (tmp_path / "labels.csv").write_text("file,mos\n" + "".join(f"{number}.mp4,{number}\n" for number in range(5)))
    given = ["--data.name", "mine", "--data.root", "videos", "--data.labels", "labels.csv"]
    assert extract.main([*given, "--store", "plain"]) == 1
    for _ in range(2):  # the second finds all of it
        assert extract.main([*given, "--store", "dask", "--backend", "dask"]) == 1
        assert contents(tmp_path / "dask") == contents(tmp_path / "plain")
    assert extract.main([*given, "--backend", "dask", "--trainer.devices", "1"]) == 2


def contents(store):
    files = [path for path in store.rglob("*") if path.is_file() and "identities" not in path.parts]
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


def test_settings_have_defaults_that_say_that_workers_are_started():
    assert DaskSettings() == DaskSettings(None, 2)
