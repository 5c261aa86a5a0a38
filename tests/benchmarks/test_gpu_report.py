"""The report on a GPU runs to its end on a CPU, so that it does not rot; its judgements are those of its numbers."""

import json
import time

import numpy as np
import pytest

from ugcvqa import doctor
from ugcvqa.benchmarks import gpu_report
from ugcvqa.errors import UgcvqaError


@pytest.mark.slow
def test_small_report_of_a_cpu(tmp_path, capsys):
    assert doctor.main(["--gpu_report", str(tmp_path / "gpu.txt"), "--device", "cpu", "--small"]) == 0
    text = (tmp_path / "gpu.txt").read_text()
    steps = json.loads((tmp_path / "gpu.json").read_text())["steps"]
    assert [step["state"] for step in steps if "NCCL" not in step["name"]] == ["ok"] * (len(steps) - 1)
    assert all(step["name"] in text for step in steps)
    by_name = {step["name"]: step["figures"] for step in steps}
    for name in ("cnn", "vsfacnn", "saliency", "vsfacnn_saliency"):
        assert by_name[f"{name}: differences from the CPU"]["float32"]["difference"] < 1e-6
        for each in by_name[f"{name}: speed"].values():
            assert each["waiting"] + each["computing"] == pytest.approx(1)


def test_failures_and_lack_of_time_are_lines(monkeypatch, tmp_path, capsys):
    def broken():
        raise UgcvqaError("no such thing")

    def parts(folder, device, scale, started):
        yield "first", lambda: ("well", {"n": 1})
        yield "second", broken
        yield "third", lambda: ("", {"why": "0 GPUs"})
        monkeypatch.setattr(gpu_report, "LIMIT_S", 0.0)
        yield "fourth", broken

    monkeypatch.setattr(gpu_report, "_parts", parts)
    assert gpu_report.write_report(tmp_path / "gpu.txt", "cpu", True) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line[:9].strip() for line in lines] == ["ok", "FAILED", "left out", "left out"]
    assert "0 GPUs" in lines[2]
    assert (tmp_path / "gpu.txt").read_text().splitlines()[2:] == lines


def test_differences_are_those_from_the_cpu_in_float32(monkeypatch, tmp_path):
    figures = iter([([1.0, 0.0], 9.0), ([1.0, 1e-7], 3.0), ([1.0, 4e-3], 2.0), ([1.0, 6e-3], 1.0), ([1.0, 1.0], 0.5)])
    monkeypatch.setattr(gpu_report, "_family", lambda *_: {})
    monkeypatch.setattr(gpu_report, "_first_features", lambda *_: (np.array((found := next(figures))[0]), found[1]))
    text, found = gpu_report._differences("cnn", tmp_path, "cuda", gpu_report.scale_of(True))
    assert found["advised"] == "tf32"
    assert found["bfloat16"] == {"difference": pytest.approx(6e-3), "seconds": 1.0}
    assert text.endswith("fastest within 0.005: tf32")


def test_a_verb_that_fails_is_an_error_of_its_step(tmp_path):
    with pytest.raises(UgcvqaError, match="exit code 2: ugcvqa extract: error"):
        gpu_report._verb(tmp_path, time.monotonic(), ["extract", "--data.name=own", "--data.root=no such folder"])
