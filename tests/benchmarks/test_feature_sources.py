"""Features of several rows, found by name and joined by video id."""

import numpy as np
import pytest

from ugcvqa.benchmarks.feature_sources import FeatureSources
from ugcvqa.datasets.tables import FeatureTable, write_table
from ugcvqa.errors import ConfigError, LabelError
from ugcvqa.features.rows import Part
from ugcvqa.features.store import FeatureSpec, FeatureStore

MINE = ["mine/a", "mine/b", "mine/c"]


def numbers(n_rows, n_columns, seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, n_columns)).astype(np.float32)


def put(path, ids, values):
    write_table(path, FeatureTable(tuple(ids), values))
    return values


def test_files_are_found_by_their_names(tmp_path):
    values = put(tmp_path / "mine_videval.npz", ["c", "a", "b", "x"], numbers(4, 5))
    features = FeatureSources(tmp_path).row("VIDEVAL", MINE)
    assert np.array_equal(features.columns(), values[[1, 2, 0]].astype(np.float64))
    assert features.has.all()
    assert FeatureSources(tmp_path).row("OTHER", MINE) is None


def test_a_row_is_put_together_from_its_families(tmp_path):
    ids = ["a", "b", "c"]
    nss, cnn = (
        put(tmp_path / "mine_nss.npz", ids, numbers(3, 1836)),
        put(tmp_path / "mine_cnn.csv", ids, numbers(3, 2048, 1).astype(np.float64)),
    )
    sources = FeatureSources(tmp_path)
    row = sources.row("NSS_CNN", MINE)
    assert np.array_equal(row.columns(), np.hstack([nss[:, :1360], cnn, nss[:, 1360:]]))
    assert list(row.blocks) == [*sources.row("NSS", MINE).blocks, *sources.row("CNN", MINE).blocks]
    assert row.blocks[next(iter(row.blocks))].sha256 == next(iter(sources.row("NSS", MINE).blocks.values())).sha256
    assert sources.row("NSS_SALIENCY", MINE) is None


def test_a_listed_row_wins_over_its_families(tmp_path):
    put(tmp_path / "mine_nss.npz", ["a", "b", "c"], numbers(3, 1836))
    second = put(tmp_path / "again.npz", ["a", "b", "c"], numbers(3, 1836, 1))
    row = FeatureSources(tmp_path, {"NSS": "again.npz"}).row("NSS", MINE)
    assert np.array_equal(row.columns(), second.astype(np.float64))


def test_lists_stand_side_by_side_and_inner_lists_are_alternatives(tmp_path):
    left = put(tmp_path / "left.npz", ["a", "b", "c"], numbers(3, 2))
    first = put(tmp_path / "first.npz", ["b"], numbers(1, 4, 1))
    second = put(tmp_path / "second.npz", ["a", "b"], numbers(2, 4, 2))
    row = FeatureSources(tmp_path, {"OWN": ["left.npz", ["first.npz", "second.npz"]]}).row("OWN", MINE)
    assert row.has.tolist() == [True, True, False]
    assert np.array_equal(row.columns()[:2], np.hstack([left[:2], [second[0], first[0]]]).astype(np.float64))
    assert np.isnan(row.columns()[2, 2:]).all()


def test_data_sets_are_joined_apart_even_where_their_ids_agree(tmp_path):
    one = put(tmp_path / "one_x.npz", ["1", "2"], numbers(2, 3))
    two = put(tmp_path / "other.npz", ["2", "1"], numbers(2, 3, 1))
    sources = FeatureSources(tmp_path, {"X": {"two": "other.npz"}})
    row = sources.row("X", ["one/1", "one/2", "two/1", "two/2"])
    assert np.array_equal(row.columns(), np.vstack([one, two[::-1]]).astype(np.float64))
    assert sources.row("X", ["three/1"]) is None


def test_data_sets_with_other_parts_join_as_complete_rows(tmp_path):
    nss, cnn = (
        put(tmp_path / "one_nss.npz", ["1"], numbers(1, 1836)),
        put(tmp_path / "one_cnn.npz", ["1"], numbers(1, 2048, 1)),
    )
    whole = put(tmp_path / "two_nss_cnn.npz", ["1"], numbers(1, 3884, 2))
    row = FeatureSources(tmp_path).row("NSS_CNN", ["one/1", "two/1"])
    assert np.array_equal(row.columns(), np.vstack([np.hstack([nss[:, :1360], cnn, nss[:, 1360:]]), whole]))
    assert len(row.blocks) == 1


def test_a_store_gives_what_files_lack(tmp_path, monkeypatch):
    spec = FeatureSpec("nss", 1)
    store = FeatureStore(tmp_path / "store")
    values = numbers(3, 1836).astype(np.float64)
    for video_id, vector in zip(MINE, values, strict=True):
        store.put(spec, f"{video_id[-1]}" * 64, {"video": vector}, {})
        store.put_name(spec, video_id, f"{video_id[-1]}" * 64)
    folder = str(tmp_path / "store" / spec.key)
    assert np.array_equal(FeatureSources(None, {"nss": folder}).row("NSS", MINE).columns(), values)

    class Family:
        def __init__(self):
            self.spec = spec

    monkeypatch.setattr("ugcvqa.features.families.build_families", lambda names, settings: {"nss": Family()})
    assert np.array_equal(FeatureSources(store=tmp_path / "store").row("NSS", MINE).columns(), values)


@pytest.mark.parametrize(
    ("tables", "error", "message"),
    [
        ({"NSS": "narrow.npz"}, LabelError, "narrow.npz: 3 columns, but row NSS has 1836"),
        ({"NSS": [["narrow.npz", "wide.npz"]]}, LabelError, "wide.npz: 4 columns, but .*narrow.npz has 3"),
        ({"NSS": "twice.npz"}, LabelError, r"twice.npz: feature table: a fits 2|twice.npz.*a.*fits 2 rows"),
        ({"NSS": []}, ConfigError, "tables: NSS is"),
        ({"NSS": [{"a": "b"}]}, ConfigError, "tables: NSS is"),
        ({"NSS": "absent.npz"}, LabelError, "absent.npz"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, tables, error, message):
    put(tmp_path / "narrow.npz", ["a", "b", "c"], numbers(3, 3))
    put(tmp_path / "wide.npz", ["a", "b", "c"], numbers(3, 4))
    put(tmp_path / "twice.npz", ["x/mine/a", "y/mine/a", "c"], numbers(3, 1836))
    with pytest.raises(error, match=message):
        FeatureSources(tmp_path, tables).row("NSS", MINE)


def test_predictions_are_marked(tmp_path):
    put(tmp_path / "uvq.csv", ["a", "b", "c"], np.array([[1.0], [2.0], [3.0]]))
    sources = FeatureSources(tmp_path, {"UVQ": {"predictions": "uvq.csv"}, "NSS": "x.npz", "cnn": "y.npz"})
    assert sources.is_predictions("UVQ")
    assert not sources.is_predictions("NSS")
    assert sources.own_names() == ("UVQ",)
    row = sources.row("UVQ", MINE)
    assert row.columns().tolist() == [[1.0], [2.0], [3.0]]
    assert row.layout == (Part(str(tmp_path / "uvq.csv")),)
