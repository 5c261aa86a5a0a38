"""A benchmark in Weights & Biases."""

import numpy as np
import pytest

from tests.support.made_up_data import arguments, read
from tests.support.wandb_files import offline_runs
from ugcvqa.benchmark import main


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
