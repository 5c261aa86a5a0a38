"""The report on a GPU runs to its end on a CPU, so that it does not rot; its judgements are those of its numbers."""

import importlib
import io
import json
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace

import numpy as np
import pytest

from ugcvqa import doctor
from ugcvqa.benchmarks import gpu_report, gpu_trials
from ugcvqa.errors import UgcvqaError


class InThisProcess:
    """A verb that has run here, as Python and Lightning take long to start; it cannot be stopped half-way."""

    def __init__(self, folder, arguments):
        out, errors = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
        with redirect_stdout(out), redirect_stderr(errors):
            self.returncode = importlib.import_module(f"ugcvqa.{arguments[0]}").main(arguments[1:])
        for stream in (out, errors):
            stream.flush()
        self._told = out.buffer.getvalue().decode(), errors.buffer.getvalue().decode()

    def poll(self):
        return self.returncode

    def terminate(self):
        pass

    def communicate(self, timeout=None):
        return self._told


@pytest.mark.parametrize("is_started", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_small_report_of_a_cpu(tmp_path, monkeypatch, capsys, is_started):
    monkeypatch.chdir(tmp_path)
    if not is_started:
        monkeypatch.setattr(gpu_report, "_started", InThisProcess)
    found = doctor.main(["--gpu_report", str(tmp_path / "gpu.txt"), "--device", "cpu", "--small"])
    text = (tmp_path / "gpu.txt").read_text()
    assert found == 0, text
    steps = json.loads((tmp_path / "gpu.json").read_text())["steps"]
    assert [step["state"] for step in steps if "NCCL" not in step["name"]] == ["ok"] * (len(steps) - 1)
    assert all(step["name"] in text for step in steps)
    for part in (
        "machine",
        "known answers",
        "extract --rows",
        "NCCL",
        "GRU head, bf16",
        "end-to-end model, bf16",
        "score",
    ):
        assert part in text
    by_name = {step["name"]: step["figures"] for step in steps}
    for name in ("cnn", "vsfacnn", "stages", "saliency", "vsfacnn_saliency"):
        assert by_name[f"{name}: differences from the CPU"]["float32"]["difference"] < 1e-6
    for name, target in (("cnn", 0.9), ("vsfacnn", 1.5), ("saliency", 1.2)):
        assert f"target for 20 s of 1080p on an H100: {target} s" in text
        for each in by_name[f"{name}: speed"].values():
            assert each["waiting"] + each["computing"] == pytest.approx(1)
    was_stopped = [step["figures"]["was_stopped"] for step in steps if "resumed" in step["name"]]
    assert was_stopped == [is_started] * 2


def test_no_frame_of_a_clip_comes_twice(monkeypatch, tmp_path):
    """Else its saliency would be known, and the speed one of looking up."""
    seen = []
    monkeypatch.setattr(
        gpu_report,
        "write_video",
        lambda path, frames, *_, **__: path.write_bytes(seen.extend(map(bytes, frames)) or b""),
    )
    scale = replace(gpu_trials.scale_of(True), frames=600)
    gpu_report._write_clips(tmp_path / "clips", scale)
    assert len(set(seen)) == len(seen) == 600


def test_judgement_of_the_targets(monkeypatch, tmp_path):
    whole = gpu_trials.scale_of(False)
    assert whole.is_whole
    monkeypatch.setattr(gpu_trials, "_family", lambda *_: {"cnn": None})
    monkeypatch.setattr(gpu_trials, "_first_frames", lambda *_: {})
    monkeypatch.setattr(gpu_trials, "timed_vector", lambda *_, **__: None)
    for seconds, verdict in ((0.8, "0.9 s; met"), (1.0, "0.9 s; missed, 1.00 s")):
        monkeypatch.setattr(
            gpu_trials, "_one_speed", lambda *_, s=seconds: {"clip_s": s, "waiting": 0.5, "computing": 0.5}
        )
        text, _ = gpu_trials.speed("cnn", [tmp_path], (0, 15), "cuda", whole, time.monotonic())
        assert text.endswith(verdict)


def test_failures_and_lack_of_time_are_lines(monkeypatch, tmp_path, capsys):
    def broken():
        raise UgcvqaError("no such thing")

    def parts(folder, device, scale, started):
        yield "first", lambda: ("well", {"n": 1})
        yield "second", broken
        yield "third", lambda: ("", {"why": "0 GPUs"})
        monkeypatch.setattr(gpu_trials, "LIMIT_S", 0.0)
        yield "fourth", broken

    monkeypatch.setattr(gpu_report, "_parts", parts)
    assert gpu_report.write_report(tmp_path / "gpu.txt", "cpu", True) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line[:9].strip() for line in lines] == ["ok", "FAILED", "left out", "left out"]
    assert "0 GPUs" in lines[2]
    assert (tmp_path / "gpu.txt").read_text().splitlines()[2:] == lines


def test_differences_are_those_from_the_cpu_in_float32(monkeypatch, tmp_path):
    figures = iter([([1.0, 0.0], 9.0), ([1.0, 1e-7], 3.0), ([1.0, 4e-3], 2.0), ([1.0, 6e-3], 1.0), ([1.0, 1.0], 0.5)])
    monkeypatch.setattr(gpu_trials, "_family", lambda *_: {"cnn": None})
    monkeypatch.setattr(gpu_trials, "_first_frames", lambda *_: {})
    monkeypatch.setattr(gpu_trials, "timed_vector", lambda *_, **__: (np.array((found := next(figures))[0]), found[1]))
    text, found = gpu_trials.differences("cnn", tmp_path, "cuda", gpu_trials.scale_of(True))
    assert found["advised"] == "tf32"
    assert found["bfloat16"] == {"difference": pytest.approx(6e-3), "seconds": 1.0}
    assert text.endswith("fastest within 0.005: tf32")


def test_a_verb_that_fails_is_an_error_of_its_step(tmp_path):
    with pytest.raises(UgcvqaError, match="exit code 2: ugcvqa extract: error"):
        gpu_report._verb(tmp_path, time.monotonic(), ["extract", "--data.name=own", "--data.root=no such folder"])
