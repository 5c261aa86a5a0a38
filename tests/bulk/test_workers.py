"""Processes that score: order, failures that cost one video each, and names taken only as they are needed."""

import itertools
import math
import os
import time

import pytest

from tests.support.stub_scorer import StubScorer, die
from ugcvqa.bulk import workers
from ugcvqa.bulk.workers import WorkerPool
from ugcvqa.errors import CheckpointError, ConfigError, UgcvqaError


def scores(paths, count=2, timeout_s=None, **options):
    with WorkerPool(StubScorer(**options).score_many, count, timeout_s) as pool:
        yield from pool.scores(paths)


@pytest.mark.parametrize("count", [1, 3])
def test_scores_do_not_depend_on_the_number_of_processes(count):
    names = [f"{number}.mp4" for number in range(40)] + ["fail.mp4", os.fsdecode(b"\xff.mp4"), "new\nline.mp4"]
    expected = list(StubScorer().score_many(names))
    found = list(scores(iter(names), count))
    assert [item.path for item in found] == names
    assert [repr(item) for item in found] == [repr(item) for item in expected]


def test_a_lost_process_costs_its_video_only():
    names = ["a.mp4", "die.mp4", "b.mp4", "crash.mp4", "c.mp4", "fault.mp4", "hang.mp4", "d.mp4", "fail.mp4", "e.mp4"]
    found = {item.path: item.reason for item in scores(names, 2, timeout_s=3.0)}
    assert list(found) == names
    assert [name for name, reason in found.items() if not reason] == [f"{letter}.mp4" for letter in "abcde"]
    assert "die.mp4: the process that scored it died (SIGKILL, perhaps for lack of memory)" in found["die.mp4"]
    assert "crash.mp4: the process that scored it died (SIGSEGV)" in found["crash.mp4"]
    assert found["fault.mp4"] == "fault.mp4: unexpected ZeroDivisionError: a bug"
    assert found["hang.mp4"] == "hang.mp4: took longer than the 3 s allowed for one video"


def test_every_video_may_lose_its_process():
    found = list(scores([f"die{number}.mp4" for number in range(6)]))
    assert all("SIGKILL" in item.reason and math.isnan(item.mos) for item in found)
    assert len(found) == 6


def test_a_model_that_cannot_start_is_an_error_at_once():
    with pytest.raises(CheckpointError, match="the stub has no weights"):
        next(scores(["a.mp4"], starts=False))


def test_processes_that_die_at_their_start_are_an_error():
    with WorkerPool(die, 2) as pool, pytest.raises(UgcvqaError, match=r"cannot start \(SIGKILL"):
        list(pool.scores(["a.mp4"]))


def test_names_are_taken_as_needed_from_a_stream_without_end():
    taken = itertools.count()
    found = scores(f"{number}.mp4" for number in taken)
    assert [item.path for item in itertools.islice(found, 5)] == [f"{number}.mp4" for number in range(5)]
    found.close()
    time.sleep(0.1)
    assert next(taken) < 5 + workers.WINDOW + workers._QUEUED + 10


def test_a_score_does_not_wait_for_the_next_name():
    reader, writer = os.pipe()
    with os.fdopen(reader) as source, os.fdopen(writer, "w", buffering=1) as sink:
        found = scores(line.rstrip() for line in source)
        sink.write("first.mp4\n")
        assert next(found).path == "first.mp4"
        sink.write("second.mp4\n")
        assert next(found).path == "second.mp4"
        sink.close()
        assert list(found) == []


def test_an_error_among_the_names_is_raised_and_ends_the_processes():
    def names():
        yield "a.mp4"
        raise ConfigError("the list is torn")

    with WorkerPool(StubScorer().score_many, 2) as pool:
        with pytest.raises(ConfigError, match="torn"):
            list(pool.scores(names()))
        running = list(pool._running)
    assert not any(worker.process.is_alive() for worker in running)


def test_one_slow_video_does_not_stop_the_others_nor_fill_the_memory(monkeypatch):
    monkeypatch.setattr(workers, "WINDOW", 8)
    names = ["hang.mp4", *(f"{number}.mp4" for number in range(30))]
    taken = []
    found = list(scores((taken.append(name) or name for name in names), 2, timeout_s=2.0))
    assert [item.path for item in found] == names
    assert "took longer" in found[0].reason
