"""Timings: one set of videos for all rows, failures named once, tables and figures made of what was measured."""

import csv
import json
import math

import numpy as np
import pytest

from ugcvqa import timings
from ugcvqa.benchmarks import cost_report
from ugcvqa.benchmarks.costs import TOGETHER, Extraction, Fitting, Seconds, row_costs
from ugcvqa.media.encode import write_video

NETWORK = ["--families.deep.backbone=resnet18", "--families.deep.weights=random:0", "--families.engine=torch"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two good videos, one that is none, and one that is too small for NSS features but not for others."""
    folder = tmp_path_factory.mktemp("videos")
    random = np.random.default_rng(0)
    for name, (height, width) in {"a": (48, 64), "b": (64, 48), "small": (8, 8)}.items():
        field = random.integers(0, 255, (height + 12, width + 12, 3), dtype=np.uint8)
        write_video(folder / f"{name}.mp4", (field[k : k + height, k : k + width] for k in range(12)), 8)
    (folder / "bad.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Labels and a feature table of twenty videos that do not exist."""
    folder = tmp_path_factory.mktemp("data")
    features = np.random.default_rng(0).normal(size=(20, 3))
    names = [f"video{number:02d}" for number in range(20)]
    lines = [f"{name},{3 + row[0]:.3f}" for name, row in zip(names, features, strict=True)]
    (folder / "labels.csv").write_text("\n".join(["file,mos", *lines]) + "\n")
    np.savez(folder / "mine.npz", videos=np.array(names), feats=features)
    return ["--data", "own", "--labels", str(folder / "labels.csv"), "--tables", f"{{MINE: {folder / 'mine.npz'}}}"]


def table(folder):
    with (folder / "table2.csv").open() as file:
        return {row["row"]: row for row in csv.DictReader(file)}


def test_extraction_of_each_row_and_of_all_together(videos, tmp_path, capsys):
    out = tmp_path / "timings"
    assert timings.main([str(videos), "--rows", "[NSS,CNN,NSS_CNN]", "--out", str(out), *NETWORK]) == 1
    output = capsys.readouterr()
    assert output.err.count("ugcvqa timings: error: ") == 2
    assert "bad.mp4" in output.err
    assert "too small for NSS" in output.err
    assert "RANDOM WEIGHTS (deep random:0)" in output.out
    rows = table(out)
    assert list(rows) == ["NSS", "CNN", "NSS_CNN", TOGETHER]
    assert [rows[row]["dimension"] for row in rows] == ["1836", "512", "2348", ""]
    assert all(float(row["extract_s"]) > 0 and float(row["extract_cpu_s"]) > 0 for row in rows.values())
    assert rows["NSS"]["paper_extract_s"] == "103.31"
    assert rows["NSS"]["fit_s"] == ""
    record = json.loads((out / "timings.json").read_text())
    good = {str(videos / "a.mp4"), str(videos / "b.mp4")}
    assert all(set(times) == good for times in record["extract"].values())
    assert set(record["videos"]) == good
    assert record["machine"]["cores"] >= 1
    assert (out / "figure4_extract.png").read_bytes().startswith(b"\x89PNG")
    assert not (out / "figure4_fit.png").exists()
    assert r"\toprule" in (out / "table2.tex").read_text()


def test_fitting_of_each_head_and_of_all_together(data, tmp_path, capsys):
    out = tmp_path / "timings"
    arguments = ["--rows", "[MINE,MINE+gp]", "--repetitions", "2", "--svr.c_exponents", "[1,2]", "--out", str(out)]
    assert timings.main([*data, *arguments]) == 0
    rows = table(out)
    assert list(rows) == ["MINE", "MINE+gp", TOGETHER]
    assert all(float(rows[row]["predict_s"]) > 0 and rows[row]["dimension"] == "3" for row in ("MINE", "MINE+gp"))
    assert float(rows[TOGETHER]["fit_s"]) > 0
    assert rows["MINE"]["extract_s"] == ""
    assert "hold-outs 1 to 2 of 20 videos" in capsys.readouterr().out
    assert len(json.loads((out / "timings.json").read_text())["fit_s"]["MINE"]) == 2


def test_figure_takes_the_median_of_a_benchmark(data, tmp_path, capsys):
    benchmark = tmp_path / "mine"
    benchmark.mkdir()
    lines = [
        *("own,MINE,svr,test,1,0.5", "own,MINE,svr,test,2,", "own,MINE,svr,test,3,0.7", "own,MINE,gp,test,1,0.8"),
        *("other,MINE,svr,test,1,0.1", "own,MINE,none,none,1,0.9", "own,MINE,none,test,0,0.9"),
    ]
    (benchmark / "splits.csv").write_text("\n".join(["data,row,head,mapping,split,srcc", *lines]) + "\n")
    assert cost_report.accuracy(str(benchmark), "own") == ({"MINE": 0.6, "MINE+gp": 0.8}, "median SRCC on own, mine")
    arguments = ["--rows", "MINE", "--repetitions", "1", "--svr.c_exponents", "[1]", "--benchmark", str(benchmark)]
    assert timings.main([*data, *arguments, "--out", str(tmp_path / "timings")]) == 0
    assert (tmp_path / "timings" / "figure4_fit.png").is_file()


def test_means_leave_nothing_out_and_invent_nothing():
    extraction = Extraction({TOGETHER: {}, "NSS": {"a": Seconds(1.0, 2.0), "b": Seconds(3.0, 4.0)}}, {"NSS": 1836})
    fitting = Fitting({"NSS": [1.0, 2.0], "NSS+gp": [5.0]}, {"NSS": [0.1, 0.3], "NSS+gp": [0.2]}, {}, 10)
    costs = row_costs(extraction, fitting)
    assert list(costs) == ["NSS", "NSS+gp", TOGETHER]
    assert (costs["NSS"].extract_s, costs["NSS"].extract_cpu_s, costs["NSS"].fit_s) == (2.0, 3.0, 1.5)
    assert costs["NSS+gp"].extract_s == 2.0
    assert costs["NSS"].predict_s == pytest.approx(0.2)
    assert math.isnan(costs[TOGETHER].extract_s)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "nothing to measure"),
        (["EMPTY"], "no video found"),
        (["BAD", "--rows", "NSS"], "none of 1 videos can be used"),
        (["BAD", "--rows", "NOPE"], "row 'NOPE' is unknown"),
        (["BAD", "--rows", "NSS", "--device", "tpu"], "device 'tpu'"),
        (["BAD", "--repetitions", "0"], "at least one is needed"),
        (["BAD", "--benchmark", "EMPTY"], "splits.csv: cannot be read"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line(arguments, reason, videos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "BAD").write_bytes((videos / "bad.mp4").read_bytes())
    assert timings.main(arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("ugcvqa timings: error: ")
    assert reason in last
