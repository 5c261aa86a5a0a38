"""The extracts in `tests/golden` are those of the whole reference data, small, and free of objects."""

import csv
import gzip

import numpy as np
import pytest

from tests.support.golden import EXTRACTS, Golden, golden_arrays

ARCHIVES = sorted(path.stem for path in EXTRACTS.glob("*.npz"))
MOST_BYTES = 4e6  # of all extracts together


def test_extracts_are_small_and_described():
    described = (EXTRACTS / "README.md").read_text()
    files = [path for path in EXTRACTS.iterdir() if path.name != "README.md"]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    assert [path.name for path in files if f"`{path.name}`" not in described] == []
    assert {path.suffix for path in files} == {".npz", ".csv"}


@pytest.mark.parametrize("name", ARCHIVES)
def test_extracts_need_no_pickle(name):
    with np.load(EXTRACTS / f"{name}.npz", allow_pickle=False) as archive:
        assert all(archive[key].dtype.kind in "biufU" for key in archive.files)


@pytest.mark.parametrize("name", sorted({*ARCHIVES} - {"published_scores", "saliency_720p"}))
def test_extracted_arrays_are_those_of_the_reference_data(shared, name):
    with np.load(shared / "golden" / f"{name}.npz") as whole, np.load(EXTRACTS / f"{name}.npz") as extract:
        for key in extract.files:
            assert extract[key].dtype == whole[key].dtype
            assert extract[key].tobytes() == whole[key].tobytes()


@pytest.mark.parametrize(
    "name", ["table1", "table2", "published_baselines", "cross_dataset_results", "per_resolution_results"]
)
def test_extracted_tables_are_those_of_the_reference_data(shared, name):
    assert (EXTRACTS / f"{name}.csv").read_bytes() == (shared / "data" / "reference" / f"{name}.csv").read_bytes()


def test_extracted_scores_and_features_are_the_published_ones(shared):
    with (shared / "data" / "labels" / "youtube_ugc.csv").open() as file:
        paper = [row for row in csv.DictReader(file) if row["in_paper"] == "1"]
    paper.sort(key=lambda row: int(row["paper_index"]))
    with gzip.open(shared / "data" / "reference" / "per_resolution_scores.csv.gz", "rt") as file:
        lines = list(csv.DictReader(file))
    scores, n_seen = golden_arrays("published_scores"), 0
    for key in {name.rpartition("|")[0] for name in scores}:
        ids = [video["video"] for video in paper if video["resolution"] == key.partition("|")[0]]
        published = [line for line in lines if f"{line['resolution']}|{line['row']}|{line['split']}" == key]
        assert scores[f"{key}|n"] == len(ids)
        assert [ids[place] for place in scores[f"{key}|test_rows"]] == [line["video"] for line in published]
        for name in ("mos", "y_pred", "score"):
            assert scores[f"{key}|{name}"].tolist() == [float(line[name]) for line in published]
        n_seen += len(published)
    assert n_seen == len(lines)
    chosen = [row for row in paper if row["resolution"] == "720P"]
    with np.load(shared / "data" / "features" / "youtube_ugc_saliency.npz") as table:
        row_of = {video: row for row, video in enumerate(table["videos"])}
        expected = table["feats"][[row_of[row["video"]] for row in chosen]]
    assert golden_arrays("saliency_720p")["features"].tobytes() == expected.tobytes()
    assert golden_arrays("saliency_720p")["mos"].tolist() == [float(row["mos"]) for row in chosen]


def test_what_only_the_whole_data_has_is_skipped_with_its_name(monkeypatch, tmp_path):
    monkeypatch.setenv("UGCVQA_SHARED", str(tmp_path))
    golden = Golden("nss_public")
    assert "frame_synthetic_rgb" in golden
    assert len(golden) == len(list(golden))
    with pytest.raises(pytest.skip.Exception, match="clip_yuv of nss_public is only in the whole reference data"):
        golden["clip_yuv"]
