"""Predictions of other programs beside rows: which lines are of the same videos, and so ranked and compared."""

import json
import re

import numpy as np
import pytest

from tests.support.made_up_data import arguments, made_up, read
from ugcvqa.benchmark import main
from ugcvqa.datasets.tables import FeatureTable, write_table
from ugcvqa.evaluation.metrics import fit_logistic, rmse


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
def test_only_one_line_of_a_model_is_compared(mine):
    tables = ["--tables", "{P: {predictions: mine_uvq.csv}}"]
    assert main(arguments(mine, *tables, rows="[A,P]")) == 0
    pairs = {(line["first"], line["second"]) for line in read(mine / "out/mine/significance_mine.csv")}
    assert pairs == {("A", "P")}


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
