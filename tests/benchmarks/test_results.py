"""The tidy files of a benchmark, and its finished parts on disk."""

import csv
import gzip
import io
import json
import math

import numpy as np
import pytest

from ugcvqa.benchmarks.parts import Parts
from ugcvqa.benchmarks.results import SplitResult, predictions_csv_gz, seconds_csv, splits_csv, splits_json
from ugcvqa.errors import StoreError
from ugcvqa.evaluation.splits import protocol_split

FACTS = {"code": "a", "split": [1, 2], "settings": {"epsilon": 0.1}}


def result(row="NSS", split=1, srcc=0.5, **changes):
    values = {
        **{"data": "mine", "row": row, "head": "svr", "mapping": "test", "split": split, "n_train": 8},
        **{"srcc": srcc, "krcc": 0.4, "plcc": 0.6, "rmse": 0.1 + 0.2, "is_mapped": True, "c": 2.0, "gamma": 0.25},
        **{"counts": {"unconverged": 2, "constant": 0}, "seconds": 1.5, "video_ids": ("mine/a", "mine/ü")},
        **{"mos": np.array([1.0, 2.0]), "pred": np.array([1.1, 1 / 3]), "pred_mapped": np.array([1.2, 2.2])},
    }
    return SplitResult(**{**values, **changes})


def read(data):
    return list(csv.DictReader(io.StringIO(data.decode())))


def test_figures_are_written_with_all_digits_and_nan_as_nothing():
    (line,) = read(splits_csv([result(srcc=math.nan)]))
    assert line["srcc"] == ""
    assert float(line["rmse"]) == 0.1 + 0.2
    assert (line["n_test"], line["is_mapped"], line["note"]) == ("2", "1", "unconverged 2")
    assert "seconds" not in line


def test_times_have_a_file_of_their_own():
    (line,) = read(seconds_csv([result()]))
    assert (line["row"], line["split"], line["seconds"]) == ("NSS", "1", "1.500")


def test_predictions_are_one_line_per_video_and_repeat_bytes():
    data = predictions_csv_gz([result()])
    assert data == predictions_csv_gz([result()])
    lines = read(gzip.decompress(data))
    assert [line["video_id"] for line in lines] == ["mine/a", "mine/ü"]
    assert [float(line["pred"]) for line in lines] == [1.1, 1 / 3]


def test_splits_can_be_read_by_others():
    ids = [f"mine/{number}" for number in range(20)]
    split = protocol_split(ids, 3)
    (record,) = json.loads(splits_json({"mine": [(3, split)]}))["mine"]
    assert record["index"] == 3
    assert (record["train"], record["val"], record["test"]) == tuple(map(list, (split.train, split.val, split.test)))
    assert sorted(record["outer_train"]) == sorted([*split.train, *split.val])


def test_a_part_comes_back_as_it_was(tmp_path):
    parts, written = Parts(tmp_path), result(c=math.nan, choice_rmse=0.3)
    path = parts.path("mine", "NSS", 1, "test", FACTS)
    parts.write(path, FACTS, written)
    again = parts.read(path, FACTS)
    assert splits_csv([again]) == splits_csv([written])
    assert predictions_csv_gz([again]) == predictions_csv_gz([written])
    assert (again.choice_rmse, again.counts) == (0.3, written.counts)


@pytest.mark.parametrize("changed", [{"code": "b"}, {"split": [2, 1]}, {"settings": {"epsilon": 0.2}}])
def test_a_stale_part_is_not_found(tmp_path, changed):
    parts = Parts(tmp_path)
    path = parts.path("mine", "NSS", 1, "test", FACTS)
    parts.write(path, FACTS, result())
    now = {**FACTS, **changed}
    assert parts.path("mine", "NSS", 1, "test", now) != path
    assert parts.read(path, now) is None


def test_a_damaged_part_counts_as_absent(tmp_path):
    parts = Parts(tmp_path)
    path = parts.path("mine", "NSS", 1, "test", FACTS)
    assert parts.read(path, FACTS) is None
    parts.write(path, FACTS, result())
    path.write_bytes(path.read_bytes()[:-7])
    assert parts.read(path, FACTS) is None


def test_a_part_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "mine").write_text("a file where a folder should be")
    parts = Parts(tmp_path)
    with pytest.raises(StoreError, match="cannot be written"):
        parts.write(parts.path("mine", "NSS", 1, "test", FACTS), FACTS, result())
