"""Feature tables: formats, joining by id and bad input."""

import numpy as np
import pytest
import scipy.io

from ugcvqa.datasets.tables import FeatureTable, align, read_table, write_table
from ugcvqa.errors import LabelError

IDS = ("konvid_1k/3339962845", "youtube_ugc/Animation_1080P-05f8", "mine/Bäume, früh")


@pytest.fixture
def table():
    values = np.random.default_rng(0).normal(size=(3, 4)) * 10.0 ** np.arange(-12, 20, 8)
    values[0, 0], values[1, 1], values[2, 2], values[2, 3] = np.nan, np.inf, -np.inf, 1e-310
    return FeatureTable(IDS, values)


def numbered(*ids):
    """Each row holds its own number, so that a shifted row shows."""
    return FeatureTable(ids, np.arange(len(ids), dtype=np.float64)[:, None] + np.array([[0.0, 100.0]]))


# --- formats -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".mat"])
def test_formats_keep_every_bit_of_float64(tmp_path, table, suffix):
    path = tmp_path / f"new/table{suffix}"
    write_table(path, table)
    read = read_table(path)
    assert read.ids == IDS
    assert read.values.dtype == np.float64
    np.testing.assert_array_equal(read.values, table.values)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".mat"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_formats_keep_lower_precision_values(tmp_path, suffix, dtype):
    values = np.random.default_rng(1).normal(size=(3, 2)).astype(dtype)
    write_table(tmp_path / f"t{suffix}", FeatureTable(IDS, values))
    np.testing.assert_array_equal(read_table(tmp_path / f"t{suffix}").values, values)


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".mat"])
def test_one_video_and_one_feature_stay_a_matrix(tmp_path, suffix):
    write_table(tmp_path / f"t{suffix}", FeatureTable(("a",), np.array([[3.0]])))
    read = read_table(tmp_path / f"t{suffix}")
    assert (read.ids, read.values.tolist()) == (("a",), [[3.0]])


def test_npz_holds_no_pickled_objects(tmp_path, table):
    write_table(tmp_path / "t.npz", table)
    with np.load(tmp_path / "t.npz", allow_pickle=False) as arrays:
        assert arrays["videos"].tolist() == list(IDS)
        np.testing.assert_array_equal(arrays["feats"], table.values)


def test_mat_is_what_matlab_users_expect(tmp_path, table):
    write_table(tmp_path / "t.mat", table)
    variables = scipy.io.loadmat(tmp_path / "t.mat", simplify_cells=True)
    np.testing.assert_array_equal(variables["feats_mat"], table.values)
    assert variables["videos"].tolist() == list(IDS)


def test_published_table_is_read(shared):
    read = read_table(shared / "data" / "features" / "youtube_ugc_cnn.npz")
    assert read.values.shape == (1039, 2048)
    assert (read.values.dtype, read.ids[0]) == (np.float32, "Animation_360P-08c9")


def test_frame_features_are_no_table_of_videos(shared):
    with pytest.raises(LabelError, match=r"frame_features.npz: feature table: 22 ids for 3170 rows"):
        read_table(shared / "data" / "features" / "youtube_ugc_frame_features.npz")


def test_bare_matlab_matrix_takes_given_ids(tmp_path):
    whole = np.arange(6.0).reshape(3, 2)
    scipy.io.savemat(tmp_path / "bare.mat", {"feats_mat": whole, "note": "x"})
    read = read_table(tmp_path / "bare.mat", ids=IDS)
    assert (read.ids, read.values.dtype) == (IDS, np.float64)
    np.testing.assert_array_equal(read.values, whole)
    with pytest.raises(LabelError, match=r"bare.mat: holds no ids .*label file"):
        read_table(tmp_path / "bare.mat")


def test_the_only_matrix_of_a_file_is_taken_whatever_its_name(tmp_path):
    scipy.io.savemat(tmp_path / "t.mat", {"brisque": np.ones((3, 2))})
    assert read_table(tmp_path / "t.mat", ids=IDS).values.shape == (3, 2)
    scipy.io.savemat(tmp_path / "t.mat", {"one": np.ones((3, 2)), "two": np.ones((3, 2))})
    with pytest.raises(LabelError, match=r"no array named feats or .*found: one, two"):
        read_table(tmp_path / "t.mat", ids=IDS)


CSV_TABLES = {
    "header": "video,mean,std\na,1,2\nb,3,4\n",
    "no header": "a,1,2\nb,3,4\n",
    "numbered header": ",0,1\na,1,2\nb,3,4\n",
    "semicolons, BOM, CRLF": "\ufeffid;f0;f1\r\na;1;2\r\n\r\nb;3;4\r\n",
    "tabs": "a\t1\t2e0\nb\t3\t4\n",
}


@pytest.mark.parametrize("case", CSV_TABLES)
def test_csv_with_ids(tmp_path, case):
    (tmp_path / "t.csv").write_bytes(CSV_TABLES[case].encode())
    read = read_table(tmp_path / "t.csv")
    assert (read.ids, read.values.tolist()) == (("a", "b"), [[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize("text", ["1,2\n3,4\n", "mean,std\n1,2\n3,4\n"])
def test_csv_of_features_only(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    read = read_table(tmp_path / "t.csv", ids=["a", "b"])
    assert (read.ids, read.values.tolist()) == (("a", "b"), [[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("a,1,2\nb,3\n", "line 2: 2 cells, but the first row has 3"),
        ("a,1,2\nb,3,x\n", "line 2: feature 2 is not a number"),
        ("a,1,\nb,3,4\n", "line 1: feature 2 is not a number"),
        ("video,f0\na,1\na,2\n", "lines 2 and 3: a and a are one video with different values, 1 and 2; keep"),
        ("video,f0,f1\na.mp4,1,1\nb,1,1\n./a,1,2\n", r"lines 2 and 4: a.mp4 and ./a are one video with different"),
        ("video,mos,pred\nv/a.mp4,1,2.5\nv\\a.mp4,1,2.25\n", r"lines 2 and 3: a and a are one .* 2.5 and 2.25"),
        ("video,f0\na,1\n,2\n", "the id of row 2 is empty"),
        ("video,f0\n", r"shape \(0, 1\)"),
        ("video\na\nb\n", r"shape \(2, 0\)"),
    ],
)
def test_bad_csv_is_one_clear_line(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(LabelError, match=message) as caught:
        read_table(tmp_path / "t.csv")
    assert str(caught.value).startswith(str(tmp_path / "t.csv"))
    assert "\n" not in str(caught.value)


def test_given_ids_for_a_table_with_ids_are_refused(tmp_path, table):
    write_table(tmp_path / "t.npz", table)
    with pytest.raises(LabelError, match="has ids of its own"):
        read_table(tmp_path / "t.npz", ids=IDS)


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", videos=np.array(["a", {}], dtype=object), feats=np.ones((2, 2)))
    with pytest.raises(LabelError, match="without pickled objects"):
        read_table(tmp_path / "t.npz")


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
@pytest.mark.parametrize("keep", [0, 3, 100, 400])
def test_damaged_files_are_one_clear_line(tmp_path, suffix, keep):
    path = tmp_path / f"t{suffix}"
    write_table(path, numbered(*map(str, range(300))))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(LabelError, match=r"t\.(npz|mat): cannot be read as") as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


def test_unknown_and_missing_files_are_named(tmp_path, table):
    with pytest.raises(LabelError, match=r"t.txt: feature tables end in \.npz, \.csv, \.mat"):
        read_table(tmp_path / "t.txt")
    with pytest.raises(LabelError, match=r"t.txt: feature tables end in \.npz, \.csv, \.mat"):
        write_table(tmp_path / "t.txt", table)
    for suffix in (".npz", ".csv", ".mat"):
        with pytest.raises(LabelError, match="cannot be read"):
            read_table(tmp_path / f"gone{suffix}")


def test_matlab_73_files_are_named_as_such(tmp_path):
    text = b"MATLAB 7.3 MAT-file".ljust(124)
    (tmp_path / "t.mat").write_bytes(text + bytes([0, 2]) + b"IM" + bytes(400))
    with pytest.raises(LabelError, match=r"is a MATLAB 7\.3 file"):
        read_table(tmp_path / "t.mat")


@pytest.mark.parametrize(
    ("ids", "values", "message"),
    [
        (("a", "b"), np.ones((3, 2)), "2 ids for 3 rows; the matrix seems to be transposed"),
        (("a", "b"), np.ones((3, 3)), "2 ids for 3 rows$"),
        (("a", "a"), np.ones((2, 2)), r"1 ids \(a\) more than once"),
        (("a", ""), np.ones((2, 2)), "the id of row 2 is empty"),
        (("a", "b"), np.ones(2), r"float64 of shape \(2,\)"),
        (("a", "b"), np.ones((2, 2), dtype=np.int64), "values are int64"),
    ],
)
def test_table_checks_itself(ids, values, message):
    with pytest.raises(LabelError, match=message):
        FeatureTable(ids, values)


# --- joining -------------------------------------------------------------------------------------------------


def test_align_follows_the_wanted_order():
    table = numbered("a", "b", "c")
    assert align(table, ["c", "a", "b"])[:, 0].tolist() == [2.0, 0.0, 1.0]


def test_align_joins_bare_ids_with_those_of_a_data_set_both_ways():
    wanted = ["konvid_1k/2", "konvid_1k/1"]
    assert align(numbered("1", "2"), wanted)[:, 0].tolist() == [1.0, 0.0]
    assert align(numbered("konvid_1k/1", "konvid_1k/2"), ["2", "1"])[:, 0].tolist() == [1.0, 0.0]
    assert align(numbered("b/x", "a/x"), ["mine/a/x", "mine/b/x"])[:, 0].tolist() == [1.0, 0.0]


def test_align_keeps_data_sets_apart():
    assert align(numbered("s/1", "t/1"), ["t/1", "s/1"])[:, 0].tolist() == [1.0, 0.0]
    with pytest.raises(LabelError, match=r"1 ids \(t/1\) missing of 1"):
        align(numbered("s/1"), ["t/1"])


@pytest.mark.parametrize(
    ("ids", "wanted", "message"),
    [
        ("abcde", "abcdefghi", r"4 ids \(f, g, h, \.\.\) missing of 9"),
        ("abcde", "ab", r"3 ids \(c, d, e\) not asked for"),
        ("ab", "aba", r"1 ids \(a\) asked for more than once"),
        (["s/1", "t/1"], ["1"], r"1 fits 2 rows \(s/1, t/1\)"),
        (["1"], ["s/1", "t/1"], r"1 fits several ids \(s/1, t/1\)"),
        (["m/A", "m/a"], ["m/á", "M/a"], r"M/a fits 2 rows \(m/A, m/a\)"),
        (["a"], ["A", "%61"], r"a fits several ids \(A, %61\)"),
        (["a"], ["a", "./a"], r"1 ids \(a\) asked for more than once"),
    ],
)
def test_align_never_guesses(ids, wanted, message):
    with pytest.raises(LabelError, match=message):
        align(numbered(*ids), list(wanted))


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        *[("mine/clip", "./mine/clip"), ("clip.mp4", "mine/clip"), (r"v\clip", "mine/v/clip"), ("CLIP", "mine/clip")],
        *[("mine/clip", "mine/old/clip"), ("mine/old/clip", "mine/clip"), ("b%20c", "b c"), ("e\u0301", "m/\u00e9")],
    ],
)
def test_align_joins_spellings_of_one_video(row, wanted):
    assert align(numbered("other", row), [wanted, "mine/other"])[:, 0].tolist() == [1.0, 0.0]


def test_align_takes_two_files_that_differ_in_case_for_two_videos():
    assert align(numbered("clip", "CLIP"), ["mine/CLIP", "mine/clip"])[:, 0].tolist() == [1.0, 0.0]
    with pytest.raises(LabelError, match=r"1 ids \(CLIP\) missing of 2"):
        align(numbered("clip"), ["CLIP", "clip"])
    assert align(numbered("x", "a/x"), ["mine/a/x", "mine/x"])[:, 0].tolist() == [1.0, 0.0]


def test_rows_that_repeat_a_video_are_one_with_a_note(tmp_path, caplog):
    (tmp_path / "t.csv").write_text("video;f0;f1\na.mp4;1,5;nan\nvideo;f0;f1\nb;2;3\n./a;1.5;nan\n")
    read = read_table(tmp_path / "t.csv")
    assert read.ids == ("a.mp4", "b")
    np.testing.assert_array_equal(read.values, [[1.5, np.nan], [2.0, 3.0]])
    assert "1 rows repeat a video (lines 2 and 5: a.mp4 and ./a)" in caplog.text
    np.savez(tmp_path / "t.npz", videos=["a", "a.mkv"], feats=np.ones((2, 2)))
    assert read_table(tmp_path / "t.npz").ids == ("a",)


def test_predictions_are_named_without_the_folder_that_all_files_share(tmp_path):
    (tmp_path / "p.csv").write_text("video,pred\n/data/v/a/x.mp4,1\n/data/v/b/x.mp4,2\n/data/v/./b/x.mp4,2\n")
    assert read_table(tmp_path / "p.csv").ids == ("a/x", "b/x")


def test_align_takes_a_part_only_when_told():
    assert align(numbered("a", "b", "c"), ["c"], allow_extra=True)[:, 0].tolist() == [2.0]


def test_published_tables_join_in_any_order(shared):
    folder = shared / "data" / "features"
    saliency = read_table(folder / "youtube_ugc_saliency.npz")
    order = np.random.default_rng(0).permutation(len(saliency.ids))
    shuffled = FeatureTable(tuple(f"youtube_ugc/{saliency.ids[row]}" for row in order), saliency.values[order])
    np.testing.assert_array_equal(align(shuffled, saliency.ids), saliency.values)
