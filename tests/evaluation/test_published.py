"""Published figures are typed as they were printed."""

import csv
import math

import pytest

from tests.support.golden import EXTRACTS
from ugcvqa.evaluation.published import BASELINES, METRICS, TABLE2, data_title, published_figure
from ugcvqa.features.rows import PAPER_ROWS, dimension


def reference(name):
    with (EXTRACTS / name).open() as file:
        return list(csv.DictReader(file))


def number(cell):
    return float(cell) if cell else math.nan


def test_table1_is_as_printed():
    rows = reference("table1.csv")
    assert len(rows) == 36
    for row in rows:
        for metric in METRICS:
            found = published_figure(row["dataset"], row["row"], metric)
            assert found == pytest.approx((number(row[metric]), number(row[f"{metric}_std"])), abs=0, nan_ok=True)


def test_table2_is_as_printed():
    rows = reference("table2.csv")
    printed = {row["row"]: tuple(map(float, list(row.values())[1:])) for row in rows}
    assert {row: tuple(cost) for row, cost in TABLE2.items()} == printed


def test_dimensions_are_those_of_our_rows():
    assert {row: cost.dimension for row, cost in TABLE2.items()} == {row: dimension(row) for row in PAPER_ROWS}


def test_baselines_are_as_published():
    rows = reference("published_baselines.csv")
    expected = {(row["dataset"], row["row"]): (float(row["srcc"]), float(row["plcc"]), row["source"]) for row in rows}
    assert {key: tuple(baseline) for key, baseline in BASELINES.items()} == expected
    assert published_figure("konvid_1k", "VIDEVAL", "plcc").median == 0.7803


@pytest.mark.parametrize(
    "place", [("konvid_1k", "MINE", "srcc"), ("mine", "NSS", "srcc"), ("konvid_1k", "VIDEVAL", "rmse")]
)
def test_what_was_not_published_is_nan(place):
    assert all(map(math.isnan, published_figure(*place)))


@pytest.mark.parametrize(
    ("data", "title"),
    [
        ("konvid_1k", "KoNViD-1k"),
        ("youtube_ugc_720p", "YouTube-UGC 720p"),
        ("youtube_ugc_to_konvid_1k", "YouTube-UGC to KoNViD-1k"),
        ("combined, 40 videos", "COMBINED, 40 videos"),
        ("mine_to_other", "mine_to_other"),
    ],
)
def test_data_sets_are_called_as_in_the_paper(data, title):
    assert data_title(data) == title
