"""`ugcvqa benchmark` from its command line: small made-up data sets, and the paper's published features."""

import csv
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.wandb_files import offline_runs
from ugcvqa.benchmark import main
from ugcvqa.benchmarks.protocol import run_unit
from ugcvqa.datasets.tables import FeatureTable, write_table
from ugcvqa.evaluation.metrics import fit_logistic, rmse
from ugcvqa.files import arrays_from_file

SMALL = ["--svr.c_exponents", "[1,3]", "--svr.gamma_exponents", "[-4,-2]", "--jobs", "1"]
RESULT_FILES = (
    *("splits.csv", "predictions.csv.gz", "splits.json", "run.json", "table.md", "table.csv", "table.tex"),
    *("significance_mine.md", "significance_mine.csv", "significance_mine.tex", "intervals_mine.md"),
    *("figures/scatter_mine_A.png", "figures/overlay_mine.png", "figures/significance_mine.png"),
)


def made_up(folder, name="mine", n_videos=40, seed=0):
    """Writes labels and two feature tables of a data set."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n_videos, 6)), rng.normal(size=(n_videos, 4))
    mos = np.clip(3 + 0.7 * a[:, 0] + 0.5 * b[:, 0] + 0.2 * rng.normal(size=n_videos), 1, 5)
    ids = [f"{name}{k:03d}" for k in range(n_videos)]
    lines = "".join(f"{key}.mp4,{value!r}\n" for key, value in zip(ids, mos.tolist(), strict=True))
    (folder / f"{name}.csv").write_text(f"video,mos\n{lines}")
    write_table(folder / f"{name}_a.npz", FeatureTable(tuple(ids), a))
    write_table(folder / f"{name}_b.npz", FeatureTable(tuple(ids[::-1]), b[::-1]))
    write_table(folder / f"{name}_uvq.csv", FeatureTable(tuple(ids), (mos + rng.normal(size=n_videos))[:, None]))
    return ids


@pytest.fixture
def mine(tmp_path):
    made_up(tmp_path)
    return tmp_path


@pytest.fixture
def without_figures(monkeypatch):
    """Leaves out the pictures, which take longer than everything else here."""
    monkeypatch.setattr("ugcvqa.benchmarks.report.write_figures", lambda *_: {})


def arguments(folder, *more, rows="[A,B]", splits=3):
    known = ["--data", "mine", "--labels", str(folder), "--features", str(folder), "--out", str(folder / "out")]
    return [*known, "--rows", rows, "--splits", str(splits), *SMALL, *more]


def read(path):
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return list(csv.DictReader(io.StringIO(text.decode())))


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_one_command_writes_every_table_figure_and_number(mine, capsys):
    assert main(arguments(mine)) == 0
    folder = mine / "out" / "mine"
    assert all((folder / name).is_file() for name in RESULT_FILES)
    output = capsys.readouterr().out
    assert (folder / "table.md").read_text() in output
    assert output.endswith(f"benchmark folder: {folder}\n")
    lines = read(folder / "splits.csv")
    assert [(line["row"], line["split"]) for line in lines] == [(row, str(i)) for row in "AB" for i in (1, 2, 3)]
    predictions = read(folder / "predictions.csv.gz")
    splits = json.loads((folder / "splits.json").read_text())["mine"]
    assert [line["video_id"] for line in predictions][:8] == splits[0]["test"]
    assert len(predictions) == 2 * 3 * 8
    record = json.loads((folder / "run.json").read_text())
    assert set(record) == {"settings", "labels", "features", "made_by", "engine", "versions"}
    assert record["made_by"] == {"mine": {"A": "unknown", "B": "unknown"}}
    assert sorted(path.rsplit("/")[-1] for path in record["features"]) == ["mine_a.npz", "mine_b.npz"]


def test_a_table_and_figures_to_publish(mine):
    """The LaTeX table has neither published figures nor footnotes; the others keep them."""
    given = ["--style", "paper", "--figures", "[pdf,svg]", "--font", "serif"]
    ids = tuple(f"mine{k:03d}" for k in range(40))
    spoilt = np.random.default_rng(5).normal(size=(40, 6))
    spoilt[3, 3] = np.nan
    write_table(mine / "mine_a.npz", FeatureTable(ids, spoilt))
    assert main(arguments(mine, *given)) == 0
    folder = mine / "out" / "mine"
    tex = (folder / "table.tex").read_text()
    assert "non-finite" in (folder / "table.md").read_text()
    body = tex[tex.index(r"\begin{table}") :]
    assert r"\label{tab:table}" in body
    assert r"row & SRCC $\uparrow$ & KRCC $\uparrow$ & PLCC $\uparrow$ & RMSE $\downarrow$ \\" in body
    assert "non-finite" not in body
    assert all(line.startswith("%") for line in tex[: tex.index(r"\begin{table}")].splitlines())
    assert body.count(r"\textbf{0.") == body.count(r"\underline{0.") == 4
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    for suffix, start in starts.items():
        names = {path.stem for path in (folder / "figures").glob(f"*{suffix}")}
        assert names == {"overlay_mine", "scatter_mine_A", "scatter_mine_B", "significance_mine", "splits_mine"}
        assert (folder / f"figures/scatter_mine_A{suffix}").read_bytes().startswith(start)
    pdf = (folder / "figures/scatter_mine_A.pdf").read_bytes()
    assert b"STIXGeneral" in pdf
    assert b"/Type3" not in pdf
    assert main(arguments(mine)) == 0
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".png"}
    assert "footnotesize" in (folder / "table.tex").read_text()


@pytest.mark.usefixtures("without_figures")
def test_the_table_holds_median_and_population_deviation(mine):
    assert main(arguments(mine, splits=4)) == 0
    values = [float(line["srcc"]) for line in read(mine / "out/mine/splits.csv") if line["row"] == "A"]
    record = next(line for line in read(mine / "out/mine/table.csv") if (line["row"], line["metric"]) == ("A", "srcc"))
    assert float(record["median"]) == pytest.approx(np.median(values), abs=1e-12)
    assert float(record["std"]) == pytest.approx(np.std(values), abs=1e-12)


@pytest.mark.usefixtures("without_figures")
def test_more_rows_reuse_the_finished_ones(mine, monkeypatch):
    assert main(arguments(mine, rows="[A]")) == 0
    first = read(mine / "out/mine/splits.csv")
    seen = []

    def counted(problem, index, split, entries, *more):
        seen.append((index, [entry.row for entry in entries]))
        return run_unit(problem, index, split, entries, *more)

    monkeypatch.setattr("ugcvqa.benchmarks.run.run_unit", counted)
    assert main(arguments(mine)) == 0
    assert seen == [(1, ["B"]), (2, ["B"]), (3, ["B"])]
    assert read(mine / "out/mine/splits.csv")[:3] == first


@pytest.mark.usefixtures("without_figures")
def test_changed_features_are_not_mixed_with_old_results(mine):
    assert main(arguments(mine, rows="[A]")) == 0
    first = read(mine / "out/mine/splits.csv")
    ids = tuple(f"mine{k:03d}" for k in range(40))
    write_table(mine / "mine_a.npz", FeatureTable(ids, np.random.default_rng(5).normal(size=(40, 6))))
    assert main(arguments(mine, rows="[A]")) == 0
    assert read(mine / "out/mine/splits.csv") != first


def numbers(lines):
    """Cells of a table as numbers where they are numbers."""
    cells = [cell for line in lines for cell in line.values()]
    return [float(cell) if re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell) else cell for cell in cells]


def test_a_run_on_two_processes_killed_and_gone_on_ends_as_one_on_one(mine):
    # scipy's logistic fit differs in the last digits from process to process where it is close to degenerate; with a
    # handful of videos even the choice between candidates that tie could hang on them.
    made_up(mine, n_videos=150)
    assert main(arguments(mine, "--name", "whole", splits=12)) == 0
    command = [sys.executable, "-m", "ugcvqa.benchmark", *arguments(mine, "--name", "killed", splits=12), "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    parts = mine / "out/killed/parts"
    while process.poll() is None and len(list(parts.rglob("*.safetensors"))) < 6:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = len(list(parts.rglob("*.safetensors")))
    assert left >= 6
    assert main(arguments(mine, "--name", "killed", splits=12)) == 0
    whole, killed = files(mine / "out/whole"), files(mine / "out/killed")
    assert set(whole) == set(killed)
    for name in ("splits.csv", "predictions.csv.gz"):
        expected = numbers(read(mine / "out/whole" / name))
        for value, other in zip(numbers(read(mine / "out/killed" / name)), expected, strict=True):
            assert value == (pytest.approx(other, rel=1e-9) if isinstance(other, float) else other)
    for name in ("splits.json", "table.md", "significance_mine.md"):
        assert whole[Path(name)] == killed[Path(name)]


@pytest.mark.slow
@pytest.mark.parametrize("is_running", [False, True], ids=["started", "running"])
def test_two_dask_workers_give_the_same(mine, is_running):
    distributed = pytest.importorskip("distributed", reason="the extra ugcvqa[dask] is not installed")
    made_up(mine, n_videos=150)
    assert main(arguments(mine, "--name", "one")) == 0
    given = [*arguments(mine, "--name", "dask"), "--jobs", "2", "--backend", "dask"]
    if is_running:
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            assert main([*given, "--scheduler", cluster.scheduler_address]) == 0
    else:
        assert main(given) == 0
    assert (mine / "out/one/table.md").read_bytes() == (mine / "out/dask/table.md").read_bytes()


@pytest.mark.usefixtures("without_figures")
def test_a_dask_scheduler_that_does_not_answer_is_one_line(mine, capsys, monkeypatch):
    pytest.importorskip("distributed", reason="the extra ugcvqa[dask] is not installed")
    monkeypatch.setattr("ugcvqa.cluster.PATIENCE_S", 0.5)
    assert main(arguments(mine, "--backend", "dask", "--scheduler", "tcp://127.0.0.1:9")) == 2
    assert "no Dask scheduler answers there" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.usefixtures("without_figures")
def test_lines_and_tables_go_to_weights_and_biases_as_one_group(mine):
    given = ["--wandb", "offline", "--wandb.tags", "[first]", "--wandb.notes", "a try"]
    assert main(arguments(mine, *given, splits=2, rows="[A,B,A+gp]")) == 0
    folder = mine / "out/mine"
    *lines, tables = sorted(offline_runs(folder), key=lambda run: run["job_type"])
    assert {run["group"] for run in [*lines, tables]} == {"mine"}
    assert [run["tags"] for run in lines] == [["first"]] * 3
    assert {run["name"]: (run["config"]["row"], run["config"]["head"]) for run in lines} == {
        "mine A": ("A", "svr"),
        "mine B": ("B", "svr"),
        "mine A+gp": ("A", "gp"),
    }
    assert (tables["job_type"], tables["name"], tables["notes"]) == ("benchmark_tables", "mine", "a try")
    assert {"tables/table/nrows", "tables/significance_mine/nrows"} <= {key for one in tables["history"] for key in one}
    expected = [line for line in read(folder / "splits.csv") if (line["row"], line["head"]) == ("B", "svr")]
    (shown,) = (run for run in lines if run["name"] == "mine B")
    for metric in ("srcc", "rmse"):
        values = [float(line[metric]) for line in expected]
        assert [entry[f"split/{metric}"] for entry in shown["history"]] == values
        assert shown["summary"][metric] == pytest.approx(np.median(values))
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"parts", "wandb"}


@pytest.mark.usefixtures("without_figures")
def test_finished_predictions_are_a_line_of_the_table(mine):
    tables = json.dumps({"UVQ": {"predictions": "mine_uvq.csv"}})
    assert main(arguments(mine, "--tables", tables, rows="[A,UVQ]")) == 0
    lines = [line for line in read(mine / "out/mine/splits.csv") if line["row"] == "UVQ"]
    assert {(line["head"], line["mapping"], line["split"]) for line in lines} == {
        *(("none", "test", split) for split in "0123"),
        ("none", "none", "0"),
    }
    whole = {line["mapping"]: line for line in lines if line["split"] == "0"}
    assert whole["none"]["n_test"] == "40"
    assert whole["none"]["srcc"] == whole["test"]["srcc"]
    assert float(whole["test"]["rmse"]) < float(whole["none"]["rmse"])
    text = (mine / "out/mine/table.md").read_text()
    assert len([line for line in text.splitlines() if line.startswith("| UVQ")]) == 1
    assert "mine, UVQ: predictions that were not trained here, on the test parts of the other rows" in text
    on_parts = [float(line["srcc"]) for line in lines if line["split"] != "0"]
    record = next(
        line for line in read(mine / "out/mine/table.csv") if (line["row"], line["metric"]) == ("UVQ", "srcc")
    )
    assert float(record["median"]) == pytest.approx(np.median(on_parts), abs=1e-12)


@pytest.mark.usefixtures("without_figures")
def test_a_metric_is_ranked_by_its_test_parts_not_by_all_videos(mine, capsys):
    """It is perfect on the videos that no split tests, and falls as the labels rise on the others."""
    assert main(arguments(mine, rows="[A]", splits=2)) == 0
    tested = {line["video_id"].split("/")[1] for line in read(mine / "out/mine/predictions.csv.gz")}
    labels = dict(line.split(",") for line in (mine / "mine.csv").read_text().split()[1:])
    pred = [
        3 - 0.01 * float(mos) if name.removesuffix(".mp4") in tested else float(mos) for name, mos in labels.items()
    ]
    write_table(mine / "mine_own.csv", FeatureTable(tuple(labels), np.array(pred)[:, None]))
    capsys.readouterr()
    given = ["--tables", "{OWN: {predictions: mine_own.csv}}"]
    assert main(arguments(mine, *given, rows="[OWN,A,B]", splits=2)) == 0
    whole = next(line for line in read(mine / "out/mine/splits.csv") if (line["row"], line["split"]) == ("OWN", "0"))
    records = [line for line in read(mine / "out/mine/table.csv") if line["metric"] == "srcc"]
    assert {line["row"]: line["mark"] for line in records}["OWN"] == ""
    assert float(whole["srcc"]) > max(float(line["median"]) for line in records)
    assert sorted(line["mark"] for line in records) == ["", "best", "second"]
    (shown,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| OWN"))
    assert "*" not in shown.split("|")[2]
    assert "mine, OWN: falls as the labels rise" in (mine / "out/mine/table.md").read_text()


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("mode", ["single_split", "cross"])
def test_predictions_are_mapped_on_the_training_part_where_the_mode_does_so(mine, mode):
    made_up(mine, "other", seed=3)
    given = ["--tables", "{P: {predictions: {mine: mine_uvq.csv, other: other_uvq.csv}}}", "--mode", mode]
    given += ["--train", "mine", "--data", "[other]"] if mode == "cross" else []
    assert main(arguments(mine, *given, "--name", mode, rows="[A,P]")) == 0
    folder = mine / "out" / mode
    lines = [line for line in read(folder / "splits.csv") if line["row"] == "P" and line["mapping"] == "train"]
    assert [line["split"] for line in lines] == ["1", "2", "3"]
    (split,) = (
        one for one in next(iter(json.loads((folder / "splits.json").read_text()).values())) if one["index"] == 2
    )
    pred = {}
    for name in ("mine", "other"):
        rows = (line.split(",") for line in (mine / f"{name}_uvq.csv").read_text().split()[1:])
        pred |= {f"{name}/{video}": float(value) for video, value in rows}
    mos = {}
    for name in ("mine", "other"):
        rows = (line.split(",") for line in (mine / f"{name}.csv").read_text().split()[1:])
        mos |= {f"{name}/{video.removesuffix('.mp4')}": float(value) for video, value in rows}
    logistic = fit_logistic(*(np.array([of[v] for v in split["outer_train"]]) for of in (pred, mos)))
    expected, truth = (np.array([of[v] for v in split["test"]]) for of in (pred, mos))
    assert float(lines[1]["rmse"]) == pytest.approx(rmse(truth, logistic(expected)), rel=1e-6)
    text = (folder / "table.md").read_text()
    if mode == "cross":
        assert re.findall(r"^### (.*)$", text, re.MULTILINE) == ["mine_to_other", "mine_to_other, other maps"]
        marked = {line["group"] for line in read(folder / "table.csv") if line["mark"]}
        assert marked == {""}
    else:
        assert "not ranked, each line is of the split that it keeps" in text
        assert not {line["mark"] for line in read(folder / "table.csv")} - {""}


@pytest.mark.usefixtures("without_figures")
def test_training_on_one_data_set_and_testing_on_another(mine):
    made_up(mine, "other", seed=3)
    given = ["--data", "[other]", "--train", "mine", "--mode", "cross", "--labels", str(mine), "--features", str(mine)]
    assert main([*given, "--out", str(mine / "out"), "--rows", "[A]", "--splits", "2", *SMALL]) == 0
    folder = mine / "out/other_cross"
    lines = read(folder / "splits.csv")
    assert {(line["data"], line["mapping"], line["n_train"], line["n_test"]) for line in lines} == {
        ("mine_to_other", mapping, "32", "40") for mapping in ("train", "none", "test")
    }
    splits = json.loads((folder / "splits.json").read_text())["mine_to_other"]
    assert all(video_id.startswith("mine/") for video_id in splits[1]["outer_train"])
    assert "A, fitted to the test set" in (folder / "table.md").read_text()


@pytest.mark.usefixtures("without_figures")
def test_videos_without_features_are_named_or_left_out_by_request(mine, capsys):
    ids = tuple(f"mine{k:03d}" for k in range(5, 40))
    write_table(mine / "mine_a.npz", FeatureTable(ids, np.random.default_rng(5).normal(size=(35, 6))))
    assert main(arguments(mine)) == 2
    error = capsys.readouterr().err
    assert "row A: " in error
    assert "lacks 5 of 40 videos (mine/mine000, mine/mine001, mine/mine002, ..)" in error
    assert main(arguments(mine, "--on_missing", "common")) == 0
    assert "only the 35 of 40 videos" in (mine / "out/mine/table.md").read_text()
    assert {line["n_train"] for line in read(mine / "out/mine/splits.csv")} == {"28"}


@pytest.mark.usefixtures("without_figures")
def test_videos_without_labels_are_named(mine, caplog):
    ids = tuple(f"mine{k:03d}" for k in range(44))
    write_table(mine / "mine_a.npz", FeatureTable(ids, np.random.default_rng(5).normal(size=(44, 6))))
    with caplog.at_level("INFO"):
        assert main(arguments(mine, rows="[A]", splits=1)) == 0
    assert "mine_a.npz: 4 videos are in no data set of this benchmark (mine040, mine041, mine042, ..)" in caplog.text


def spoil(folder, values):
    ids = tuple(f"mine{k:03d}" for k in range(len(values)))
    write_table(folder / "mine_a.npz", FeatureTable(ids, values))


@pytest.mark.usefixtures("without_figures")
def test_odd_columns_are_told_in_the_footnotes(mine):
    values = np.random.default_rng(5).normal(size=(40, 6))
    values[:, 1], values[:, 2], values[3, 3] = np.nan, 7.0, np.inf
    spoil(mine, values)
    assert main(arguments(mine)) == 0
    text = (mine / "out/mine/table.md").read_text()
    assert (
        "mine, mine_a.npz: 41 non-finite values in 40 videos, 1 columns without any finite value, 1 constant columns"
        in text
    )


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (lambda folder: spoil(folder, np.full((40, 6), np.nan)), [], "mine_a.npz holds no finite value"),
        (lambda folder: spoil(folder, np.ones((40, 6))), [], "mine, split 1: .*constant"),
        (lambda folder: made_up(folder, n_videos=12), [], "mine: 12 videos to split; at least 13 are needed"),
        (lambda folder: None, ["--tables", "{A: 5}"], "tables: A is 5; give a file"),
        (
            lambda folder: (folder / "p.csv").write_text("video,mos,pred\nmine000.mp4,3,abc\n"),
            ["--rows", "[P]", "--tables", "{P: {predictions: p.csv}}"],
            "p.csv, line 2: pred 'abc' is not a number",
        ),
        (
            lambda folder: (folder / "p.csv").write_text("video,mos,pred,error\nmine000.mp4,,,too short\n"),
            ["--rows", "[P]", "--tables", "{P: {predictions: p.csv}}"],
            "p.csv lacks 40 of 40 videos",
        ),
        (lambda folder: None, ["--rows", "[A,NSS]"], "mine: no features of row NSS"),
        (lambda folder: None, ["--rows", "[A+forest]"], "row 'A.forest': write ROW or ROW.HEAD"),
        (lambda folder: None, ["--rows", "[all]"], "mine: no features of any row"),
        (lambda folder: None, ["--data", "[mine,mine]"], "each once"),
        (lambda folder: None, ["--data", "absent"], "no label file of absent|holds no label file"),
        (lambda folder: None, ["--train", "mine"], "mode cross needs"),
        (lambda folder: None, ["--split_index", "2"], "exclude each other"),
        (lambda folder: None, ["--backend", "multiprocessing"], "waits for ever for a killed worker; use loky"),
        (lambda folder: None, ["--backend", "carrier-pigeon"], "backend 'carrier-pigeon' cannot be used"),
        (lambda folder: None, ["--features", "absent"], "absent: no such folder of feature files"),
        (lambda folder: None, ["--name", "a/b"], "cannot be a folder name"),
        (lambda folder: None, ["--unknown", "1"], "unknown"),
    ],
)
def test_what_cannot_be_done_is_one_line(mine, capsys, change, more, message):
    change(mine)
    assert main(arguments(mine, *more)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith("ugcvqa benchmark: error: ")
    assert re.search(message, line)


def test_tables_and_pictures_of_an_earlier_run_do_not_stay(mine):
    assert main(arguments(mine)) == 0
    assert (mine / "out/mine/significance_mine.md").is_file()
    assert main(arguments(mine, rows="[A]")) == 0
    assert not list((mine / "out/mine").glob("significance*"))
    assert not list((mine / "out/mine/figures").glob("*_B.png"))


@pytest.mark.usefixtures("without_figures")
def test_only_one_line_of_a_model_is_compared(mine):
    tables = ["--tables", "{P: {predictions: mine_uvq.csv}}"]
    assert main(arguments(mine, *tables, rows="[A,P]")) == 0
    pairs = {(line["first"], line["second"]) for line in read(mine / "out/mine/significance_mine.csv")}
    assert pairs == {("A", "P")}


@pytest.mark.usefixtures("without_figures")
def test_the_single_split_program_keeps_the_median_split_of_a_gaussian_process_too(mine):
    made_up(mine, n_videos=60)
    given = ["--mode", "single_split", "--svr.c_exponents", "[1]", "--svr.gamma_exponents", "[-2]"]
    assert main([*arguments(mine, *given, rows="[A+gp]", splits=3)]) == 0
    found = []
    for path in sorted((mine / "out/mine_single_split/parts").rglob("*.safetensors")):
        arrays, metadata = arrays_from_file(path)
        logistic = fit_logistic(arrays["pred"], arrays["mos"])
        found.append((rmse(arrays["mos"], logistic(arrays["pred"])), metadata["result"]["split"]))
    assert len(found) == 3
    assert f"split {sorted(found)[1][1]}" in (mine / "out/mine_single_split/table.md").read_text()


@pytest.mark.usefixtures("without_figures")
def test_a_video_with_two_scores_is_named(mine, capsys):
    text = (mine / "mine.csv").read_text()
    (mine / "mine.csv").write_text(f"{text}./mine000.mp4,1.5\n")
    assert main(arguments(mine)) == 2
    error = capsys.readouterr().err
    assert "mine.csv, lines 2 and 42: one video (the same name: mine000.mp4 and ./mine000.mp4) with two scores" in error


@pytest.mark.usefixtures("without_figures")
def test_a_metric_of_ones_own_is_compared_by_its_file_alone(mine, capsys):
    ids = [line.split(",")[0] for line in (mine / "mine.csv").read_text().splitlines()[1:]]
    mos = [float(line.split(",")[1]) for line in (mine / "mine.csv").read_text().splitlines()[1:]]
    rows = "".join(f"{name},{100 * value}\n" for name, value in zip(ids, mos, strict=True))
    (mine / "my_metric.csv").write_text(f"video,pred\n{rows}")
    assert main(arguments(mine, "--predictions", str(mine / "my_metric.csv"), rows="[A]")) == 0
    lines = [line for line in read(mine / "out/mine/splits.csv") if line["row"] == "MY_METRIC"]
    assert [float(line["srcc"]) for line in lines] == pytest.approx([1.0] * len(lines))
    text = (mine / "out/mine/table.md").read_text()
    assert f"predictions from {100 * min(mos):.4g} to {100 * max(mos):.4g}, labels from {min(mos):.4g}" in text
    assert "MY_METRIC" in (mine / "out/mine/significance_mine.csv").read_text()
    capsys.readouterr()
    for name, message in (("missing.csv", "no such file"), ("nss.csv", "there is a row NSS already")):
        assert main(arguments(mine, "--predictions", name, rows="[A]")) == 2
        assert message in capsys.readouterr().err
