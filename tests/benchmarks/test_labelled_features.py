"""Features joined to labels: what is missing, doubled or odd is told."""

import numpy as np
import pytest

from tests.support.made_up_data import arguments, read, spoil
from ugcvqa.benchmark import main
from ugcvqa.datasets.tables import FeatureTable, write_table


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
def test_a_video_with_two_scores_is_named(mine, capsys):
    text = (mine / "mine.csv").read_text()
    (mine / "mine.csv").write_text(f"{text}./mine000.mp4,1.5\n")
    assert main(arguments(mine)) == 2
    error = capsys.readouterr().err
    assert "mine.csv, lines 2 and 42: one video (the same name: mine000.mp4 and ./mine000.mp4) with two scores" in error
