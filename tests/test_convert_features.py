"""The conversion tool, driven through its command line."""

import itertools

import numpy as np
import pytest
import scipy.io

from ugcvqa import convert_features
from ugcvqa.datasets.catalogue import load_dataset
from ugcvqa.datasets.tables import FeatureTable, align, read_table, write_table


@pytest.fixture(scope="module")
def main():
    return lambda *arguments: convert_features.main([str(argument) for argument in arguments])


def test_chain_of_all_formats_returns_the_same_numbers(main, shared, tmp_path, capsys):
    source = shared / "data" / "features" / "konvid_1k_brisque.npz"
    steps = [source, tmp_path / "a.mat", tmp_path / "b.csv", tmp_path / "c.npz"]
    for before, after in itertools.pairwise(steps):
        assert main("convert", before, after) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{steps[-1]}: 1200 videos, 36 features"
    first, last = read_table(source), read_table(steps[-1])
    assert last.ids == first.ids
    np.testing.assert_array_equal(last.values, first.values)


@pytest.mark.parametrize(
    ("dataset", "subset", "table"),
    [
        ("konvid_1k", None, "konvid_1k_saliency"),
        ("youtube_ugc", None, "youtube_ugc_saliency"),
        ("youtube_ugc", "360P", "youtube_ugc_saliency_run2_360p"),
        ("youtube_ugc", "all", "youtube_ugc_brisque"),
    ],
)
def test_bare_matrices_in_benchmark_order_get_the_published_ids(main, shared, tmp_path, dataset, subset, table):
    labels = shared / "data" / "labels"
    published = read_table(shared / "data" / "features" / f"{table}.npz")
    scipy.io.savemat(tmp_path / "bare.mat", {"feats_mat": published.values})
    options = ["--ids-from", labels, "--dataset", dataset, *(["--subset", subset] if subset else [])]
    assert main("convert", tmp_path / "bare.mat", tmp_path / "t.npz", *options) == 0
    videos = load_dataset(dataset, labels, subset=subset).videos
    converted = read_table(tmp_path / "t.npz")
    assert converted.ids == tuple(video.video_id for video in videos)
    np.testing.assert_array_equal(align(published, converted.ids), converted.values)


def test_without_a_data_set_ids_follow_the_label_file(main, tmp_path):
    (tmp_path / "l.csv").write_text("id,flickr_id,file_name,MOS\n1,30,x.mp4,2\n2,10,y.mp4,4\n3,20,z.mp4,3\n")
    scipy.io.savemat(tmp_path / "bare.mat", {"feats_mat": np.arange(6.0).reshape(3, 2)})
    assert main("convert", tmp_path / "bare.mat", tmp_path / "t.csv", "--ids-from", tmp_path / "l.csv") == 0
    assert (tmp_path / "t.csv").read_text() == "video,f0,f1\n30,0.0,1.0\n10,2.0,3.0\n20,4.0,5.0\n"


def test_mistakes_are_one_line_and_leave_no_file(main, tmp_path, capsys):
    scipy.io.savemat(tmp_path / "bare.mat", {"feats_mat": np.ones((3, 2))})
    (tmp_path / "l.csv").write_text("file,mos\na,1\nb,2\n")
    target = tmp_path / "t.npz"
    for options, message in [
        ((), "holds no ids"),
        (("--ids-from", tmp_path / "l.csv"), "2 ids for 3 rows"),
        (("--dataset", "konvid_1k"), "give it with --ids-from"),
    ]:
        assert main("convert", tmp_path / "bare.mat", target, *options) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not target.exists()


def test_table_goes_into_a_store_and_comes_back(main, shared, tmp_path, capsys):
    whole = read_table(shared / "data" / "features" / "konvid_1k_brisque.npz")
    source, few = tmp_path / "few.npz", FeatureTable(whole.ids[:50], whole.values[:50])
    write_table(source, few)
    for _ in range(2):  # a second import changes nothing
        assert main("import", source, tmp_path / "store", "--family", "brisque_published") == 0
    (folder,) = (tmp_path / "store").glob("brisque_published-*")
    assert capsys.readouterr().out.splitlines()[-1] == f"{folder}: 50 videos, 36 features"
    assert main("export", folder, tmp_path / "back.npz") == 0
    np.testing.assert_array_equal(align(read_table(tmp_path / "back.npz"), few.ids), few.values)


def test_export_of_something_else_is_one_error(main, tmp_path, capsys):
    assert main("export", tmp_path, tmp_path / "back.npz") == 2
    assert "no spec.json" in capsys.readouterr().err
