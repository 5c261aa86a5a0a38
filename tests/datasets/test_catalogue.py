"""Data sets: the published label files, owners' layouts, file finding and bad input."""

import csv
import logging
import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from ugcvqa.datasets.catalogue import inlsa_aligned, load_dataset
from ugcvqa.datasets.finding import video_copies, video_files
from ugcvqa.errors import ConfigError, LabelError

# First and last video of each block, as published with the benchmark's matrices.
BLOCKS = {
    "360P": (224, "Animation_360P-08c9", "Vlog_360P-7efe"),
    "480P": (265, "Animation_480P-046c", "Vlog_480P-7d0c"),
    "720P": (256, "Animation_720P-0116", "Vlog_720P-6d56"),
    "1080P": (294, "Animation_1080P-05f8", "Vlog_1080P-7e8c"),
}


@pytest.fixture(scope="module")
def labels(shared):
    return shared / "data" / "labels"


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def names(dataset):
    return [video.video_id.split("/", 1)[1] for video in dataset.videos]


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def touch(root, *files):
    for file in files:
        write(root / file, "")
    return root


# --- the published files -------------------------------------------------------------------------------------


def test_konvid_is_the_1200_in_file_order_with_raw_mos(labels):
    rows = rows_of(labels / "konvid_1k.csv")
    dataset = load_dataset("konvid_1k", labels / "konvid_1k.csv")
    assert (dataset.name, dataset.label, dataset.scale) == ("konvid_1k", "MOS", (1.0, 5.0))
    assert len(dataset.videos) == 1200
    assert [video.video_id for video in dataset.videos] == [f"konvid_1k/{row['video']}" for row in rows]
    assert [video.mos for video in dataset.videos] == [float(row["mos"]) for row in rows]
    assert all(v.path is None and v.group == v.video_id and v.resolution is None for v in dataset.videos)


def test_youtube_is_the_1039_in_the_order_of_the_published_matrices(labels, shared):
    rows = [row for row in rows_of(labels / "youtube_ugc.csv") if row["in_paper"] == "1"]
    rows.sort(key=lambda row: int(row["paper_index"]))
    dataset = load_dataset("youtube_ugc", labels / "youtube_ugc.csv")
    assert len(dataset.videos) == 1039
    assert names(dataset) == [row["video"] for row in rows]
    assert [video.mos for video in dataset.videos] == [float(row["mos"]) for row in rows]
    assert [video.resolution for video in dataset.videos] == [row["resolution"] for row in rows]
    with np.load(shared / "data" / "features" / "youtube_ugc_cnn.npz") as table:
        assert names(dataset) == table["videos"].tolist()


@pytest.mark.parametrize("subset", BLOCKS)
def test_youtube_blocks(labels, subset):
    count, first, last = BLOCKS[subset]
    dataset = load_dataset("youtube_ugc", labels / "youtube_ugc.csv", subset=subset)
    assert (len(dataset.videos), names(dataset)[0], names(dataset)[-1]) == (count, first, last)
    assert dataset.name == f"youtube_ugc_{subset.lower()}"
    assert names(dataset) == sorted(names(dataset))


def test_youtube_all_is_the_1380_in_file_order(labels):
    dataset = load_dataset("youtube_ugc", labels, subset="all")
    assert names(dataset) == [row["video"] for row in rows_of(labels / "youtube_ugc.csv")]
    assert len(dataset.videos) == 1380


def test_combined_is_aligned_konvid_then_raw_youtube(labels):
    konvid = rows_of(labels / "konvid_1k.csv")
    dataset = load_dataset("combined", labels)
    assert len(dataset.videos) == 2239
    assert names(dataset)[:1200] == [row["video"] for row in konvid]
    assert dataset.videos[1200:] == load_dataset("youtube_ugc", labels).videos
    mos = [video.mos for video in dataset.videos[:1200]]
    assert mos == pytest.approx([float(row["mos_inlsa"]) for row in konvid], abs=1e-6)


def test_inlsa_map_is_the_published_line():
    mos = np.linspace(1.0, 5.0, 9)
    assert [inlsa_aligned(value) for value in mos] == pytest.approx(1.1241 * mos - 0.2233, abs=1e-12)


def test_complete_konvid_file_in_another_order_is_brought_into_the_benchmark_order(labels, tmp_path):
    rows = rows_of(labels / "konvid_1k.csv")
    published = [row["video"] for row in rows]
    random.Random(0).shuffle(rows)
    text = "flickr_id,mos\n" + "".join(f"{row['video']},{row['mos']}\n" for row in rows)
    assert names(load_dataset("konvid_1k", write(tmp_path / "KoNViD_1k_mos.csv", text))) == published
    part = "flickr_id,mos\n" + "".join(f"{row['video']},{row['mos']}\n" for row in rows[:50])
    partial = load_dataset("konvid_1k", write(tmp_path / "part.csv", part))
    assert names(partial) == [row["video"] for row in rows[:50]]


# --- label files as their owners distribute them -------------------------------------------------------------

KONVID_LAYOUTS = {
    "mos": "flickr_id,mos\n3339962845,4.64\n8171831850,4.44\n",
    "attributes": '"id","flickr_id","file_name","MOS"\n"7","3339962845","3339962845_original_centercrop'
    '_960x540_8s.mp4","4.64"\n"8","8171831850","8171831850_hd_centercrop_960x540_8s.mp4","4.44"\n',
    "file names": "file_name;MOS\n3339962845_original_centercrop_960x540_8s.mp4;4.64\n8171831850.mp4;4.44\n",
    "metadata": "flickr_id,mos,width,bitdepth\n3339962845,4.6400000000,960,NaN\n8171831850,4.44,960,8\n",
    "tabs, BOM, CRLF": "\ufeffFlickr_ID\tMOS\r\n3339962845\t4.64\r\n\r\n8171831850.0\t4.44\r\n",
}


@pytest.mark.parametrize("layout", KONVID_LAYOUTS)
def test_konvid_layouts_of_owners(tmp_path, layout):
    dataset = load_dataset("konvid_1k", write(tmp_path / "labels.csv", KONVID_LAYOUTS[layout]))
    assert names(dataset) == ["3339962845", "8171831850"]
    assert [video.mos for video in dataset.videos] == [4.64, 4.44]


YOUTUBE_LAYOUTS = {
    "owner": "vid,MOS chunk00,MOS full,std full\n{0},1,3.5,0.2\n{1},1,2.5,0.2\n{2},1,1.5,0.2\n{3},1,4.5,0.2\n",
    "metadata": "vid,resolution,MOSFull,bitrate\n{0},9,3.5,NaN\n{1},9,2.5,NaN\n{2},9,1.5,NaN\n{3},9,4.5,NaN\n",
    "file names": "filename,MOS\n{0}_crf_10_ss_00_t_20.0.mp4,3.5\n{1}.mkv,2.5\n{2},1.5\n{3}.MP4,4.5\n",
}
VIDS = ("Gaming_1080P-0aaa", "Vlog_360P-0bbb", "Gaming_2160P-0ccc", "Animation_360P-0ddd")


@pytest.mark.parametrize("layout", YOUTUBE_LAYOUTS)
def test_youtube_layouts_without_in_paper_take_360_to_1080_and_warn(tmp_path, caplog, layout):
    path = write(tmp_path / "labels.csv", YOUTUBE_LAYOUTS[layout].format(*VIDS))
    with caplog.at_level(logging.WARNING):
        dataset = load_dataset("youtube_ugc", path)
    assert "no column in_paper" in caplog.text
    assert names(dataset) == ["Animation_360P-0ddd", "Vlog_360P-0bbb", "Gaming_1080P-0aaa"]
    assert [video.mos for video in dataset.videos] == [4.5, 2.5, 3.5]
    assert names(load_dataset("youtube_ugc", path, subset="1080P")) == ["Gaming_1080P-0aaa"]
    assert names(load_dataset("youtube_ugc", path, subset="all")) == list(VIDS)


def test_label_files_are_found_under_owner_names_in_a_folder(tmp_path):
    write(tmp_path / "KoNViD_1k_metadata" / "KoNViD_1k_attributes.csv", KONVID_LAYOUTS["attributes"])
    owner = YOUTUBE_LAYOUTS["owner"].format(*VIDS)
    write(tmp_path / "original_videos_MOS_for_YouTube_UGC_dataset.csv", owner)
    assert len(load_dataset("combined", tmp_path).videos) == 5
    assert len(load_dataset("combined", root=tmp_path).videos) == 5


# --- finding files -------------------------------------------------------------------------------------------


def found(dataset, root):
    return [video.path and str(video.path.relative_to(root)) for video in dataset.videos]


def test_both_konvid_naming_styles_are_found_at_any_depth(tmp_path):
    labels = write(tmp_path / "l.csv", "flickr_id,mos\n11,3\n22,3\n33,3\n44,3\n1,3\n")
    root = touch(
        tmp_path / "v",
        *("KoNViD_1k_videos/11.mp4", "KoNViD_1k_videos/22_centercrop_960x540_8s.mp4"),
        *("more/33_original_centercrop_960x540_8s.MP4", "44.txt", "._44.mp4", "44_other.mp4"),
    )
    dataset = load_dataset("konvid_1k", labels, root)
    assert found(dataset, root) == [
        "KoNViD_1k_videos/11.mp4",
        "KoNViD_1k_videos/22_centercrop_960x540_8s.mp4",
        "more/33_original_centercrop_960x540_8s.MP4",
        None,
        None,
    ]


def test_original_mkv_is_preferred_then_mp4_then_transcodes(tmp_path):
    labels = write(tmp_path / "l.csv", "vid,MOS full\n" + "".join(f"{vid},3\n" for vid in VIDS))
    original, transcode = "original_videos/{}/{}/{}.mkv", "h264/{}_crf_10_ss_00_t_20.0.mp4"
    root = touch(
        tmp_path / "v",
        original.format("Gaming", "1080P", VIDS[0]),
        transcode.format(VIDS[0]),
        f"a/{VIDS[0]}.mp4",
        f"z/{VIDS[1]}.mp4",
        transcode.format(VIDS[1]),
        transcode.format(VIDS[3]),
        f"{VIDS[2]}0.mkv",
    )
    dataset = load_dataset("youtube_ugc", labels, root, subset="all")
    assert found(dataset, root) == [
        original.format("Gaming", "1080P", VIDS[0]),
        f"z/{VIDS[1]}.mp4",
        None,
        transcode.format(VIDS[3]),
    ]
    copies = video_copies("youtube_ugc", video_files(root))[VIDS[0]]
    assert [path.suffix for path in copies] == [".mkv", ".mp4", ".mp4"]
    assert copies[1].stem == VIDS[0]


def test_combined_finds_both_sets_below_one_folder_with_links(tmp_path):
    write(tmp_path / "l" / "konvid_1k.csv", "video,mos\n11,3\n")
    write(tmp_path / "l" / "youtube_ugc.csv", f"video,mos\n{VIDS[0]},3\n")
    elsewhere = touch(tmp_path / "disk", "11.mp4")
    root = touch(tmp_path / "v", f"youtube_ugc/{VIDS[0]}.mkv")
    (root / "konvid_1k").symlink_to(elsewhere, target_is_directory=True)
    (elsewhere / "back").symlink_to(root, target_is_directory=True)
    dataset = load_dataset("combined", tmp_path / "l", root)
    assert all(video.path is not None for video in dataset.videos)


def test_missing_files_are_logged(tmp_path, caplog):
    labels = write(tmp_path / "l.csv", "flickr_id,mos\n11,3\n22,3\n")
    with caplog.at_level(logging.WARNING):
        load_dataset("konvid_1k", labels, touch(tmp_path / "v", "11.mp4"))
    assert "1 of 2 videos not found" in caplog.text


# --- one's own CSV and the demo set --------------------------------------------------------------------------


def test_own_csv_names_files_in_many_ways(tmp_path):
    root = touch(tmp_path / "v", "a/x.mp4", "b/y.MOV", "z.webm", "b/x.mp4")
    absolute = touch(tmp_path / "other", "w.avi") / "w.avi"
    labels = write(
        tmp_path / "l.csv",
        f"File Name;Score;Scene\na/x.mp4;10;s1\nb/y;20;s1\nz;30;\n{absolute};40;s2\nb/x;50;s2\ngone.mp4;60;s2\n",
    )
    dataset = load_dataset("mine", labels, root)
    assert [video.path for video in dataset.videos] == [
        *(root / "a/x.mp4", root / "b/y.MOV", root / "z.webm", absolute, root / "b/x.mp4", None),
    ]
    assert names(dataset)[:3] == ["a/x", "b/y", "z"]
    assert [video.group for video in dataset.videos] == ["s1", "s1", "mine/z", "s2", "s2", "s2"]
    assert (dataset.name, dataset.label, dataset.scale) == ("mine", "MOS", (10.0, 60.0))
    assert load_dataset("mine", labels, root, scale=(0, 100)).scale == (0, 100)


@pytest.mark.parametrize("header", ["video,mos", "file,MOS", "filename,quality", "path,score", "name,Mos", "vid,mos"])
def test_own_csv_column_aliases(tmp_path, header):
    root = touch(tmp_path, "a.mp4")
    dataset = load_dataset("csv", write(tmp_path / "l.csv", f"{header}\na.mp4,3\n"), root)
    assert (dataset.videos[0].video_id, dataset.videos[0].path) == ("csv/a", root / "a.mp4")


def test_own_csv_without_folder_has_only_absolute_paths(tmp_path, monkeypatch):
    touch(tmp_path, "a.mp4")
    monkeypatch.chdir(tmp_path)
    labels = write(tmp_path / "l.csv", f"file,mos\na.mp4,3\n{tmp_path / 'a.mp4'},4\n")
    paths = [video.path for video in load_dataset("csv", labels).videos]
    assert paths == [None, tmp_path / "a.mp4"]


def test_own_file_name_that_fits_two_folders_is_an_error(tmp_path):
    labels = write(tmp_path / "l.csv", "file,mos\nx,3\n")
    with pytest.raises(LabelError, match=r"l.csv, line 2: x fits 2 files .* write the folder"):
        load_dataset("csv", labels, touch(tmp_path / "v", "a/x.mp4", "b/x.mp4"))


LABEL_TEXTS = {
    "backslashes": ("file,mos", r"videos\clip_{}.mp4,{:.2f}"),
    "folder of another machine": ("file,mos", "/home/else/ugc/clip_{}.mp4,{:.2f}"),
    "drive of another machine": ("file,mos", r"D:\ugc\clip_{}.mp4,{:.2f}"),
    "case": ("file,mos", "Clip_{}.MP4,{:.2f}"),
    "no ending": ("file,mos", "clip_{},{:.2f}"),
    "folders that lead back": ("file,mos", "./a/../clip_{}.mp4,{:.2f}"),
    "URL": ("file,mos", "https://host/some/%63lip_{}.mp4?x=1,{:.2f}"),
    "encoded": ("file,mos", "%63lip_{}.mp4,{:.2f}"),
    "separator line": ("sep=;\nname;mos", "clip_{}.mp4;{:.2f}"),
    "quoted header": ('"File","MOS"', '"clip_{}.mp4" , "{:.2f}"'.replace(" , ", ",")),
    "trailing commas and spaces": ("file,mos,,", "clip_{}.mp4 , {:.2f} ,,"),
    "header again": ("file,mos", "clip_{}.mp4,{:.2f}\nfile,mos"),
}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("case", LABEL_TEXTS)
def test_label_files_as_people_have_them_find_every_video(tmp_path, case, encoding, end):
    root = touch(tmp_path / "videos", "clip_1.mp4", "clip_2.mp4")
    header, row = LABEL_TEXTS[case]
    text = "\n".join([header, row.format(1, 1.25), row.format(2, 4.5), ""]).replace("\n", end)
    dataset = load_dataset("mine", write(tmp_path / "l.csv", text, encoding), root)
    assert [(v.video_id, v.path, v.mos) for v in dataset.videos] == [
        ("mine/clip_1", root / "clip_1.mp4", 1.25),
        ("mine/clip_2", root / "clip_2.mp4", 4.5),
    ]
    assert dataset.notes == ()


def test_decimal_commas_are_numbers(tmp_path):
    for text in ("name;mos\na.mp4;3,25\n", 'name,mos\na.mp4,"3,25"\n', "name\tmos\na.mp4\t3,25\n"):
        assert load_dataset("mine", write(tmp_path / "l.csv", text)).videos[0].mos == 3.25


def test_accents_may_be_composed_or_not(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Bäume é.mp4") for form in ("NFC", "NFD"))
    for on_disk, listed in ((composed, apart), (apart, composed)):
        root = tmp_path / listed
        root.mkdir()
        (root / on_disk).write_bytes(b"x")
        (video,) = load_dataset("mine", write(tmp_path / "l.csv", f"file,mos\n{listed},3\n"), root).videos
        assert (video.video_id, video.path.name) == ("mine/" + composed.removesuffix(".mp4"), on_disk)


@pytest.fixture
def twins(tmp_path):
    """A folder with one video under many names, and others of its size and its ends."""
    root = tmp_path / "v"
    root.mkdir()
    content = bytes(300_000)
    for name, byte in (("clip.mp4", 1), ("copy.mkv", 1), ("other.mp4", 2)):
        (root / name).write_bytes(content[:100_000] + bytes([byte]) + content[100_000:])
    (root / "link.mp4").symlink_to(root / "clip.mp4")
    (root / "hard.mp4").hardlink_to(root / "clip.mp4")
    (root / "sub").symlink_to(root, target_is_directory=True)
    return root


SPELLINGS = (
    *("./clip.mp4", "a/../clip.mp4", "{root}/clip.mp4", "sub/clip.mp4", "link.mp4", "hard.mp4", "copy.mkv", "copy"),
    *("CLIP.MP4", "clip", r".\clip.mp4", "%63lip.mp4", "v/clip.mp4", "file://{root}/clip.mp4"),
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_video_is_its_content_not_its_spelling(tmp_path, twins, spelling):
    again = spelling.format(root=twins)
    labels = write(tmp_path / "l.csv", f"file,mos\nother.mp4,1\nclip.mp4,2.5\n{again},2.50\n")
    dataset = load_dataset("mine", labels, twins)
    assert [video.video_id for video in dataset.videos] == ["mine/other", "mine/clip"]
    (note,) = dataset.notes
    assert f"1 rows repeat a video with the same score and are left out (lines 3 and 4: clip.mp4 and {again})" in note
    write(labels, f"file,mos\nother.mp4,1\nclip.mp4,2.5\n{again},4.25\n")
    with pytest.raises(LabelError, match=r"lines 3 and 4: one video \(the same content: .* scores, 2.5 and 4.25; keep"):
        load_dataset("mine", labels, twins)


@pytest.mark.parametrize("spelling", ["./clip.mp4", "a/../clip.mp4", r"a\..\clip.mp4", "clip", "clip.MP4"])
def test_spellings_are_one_video_without_files_too(tmp_path, spelling):
    labels = write(tmp_path / "l.csv", f"file,mos\nclip.mp4,2.5\n{spelling},4.25\n")
    with pytest.raises(LabelError, match=r"lines 2 and 3: one video \(the same name: .* scores, 2.5 and 4.25"):
        load_dataset("mine", labels)
    write(labels, f"file,mos\nclip.mp4,2.5\n{spelling},2.5\n")
    assert len(load_dataset("mine", labels).videos) == 1


def test_an_absolute_path_below_the_folder_gives_the_id_of_a_relative_one(tmp_path, twins, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = write(tmp_path / "l.csv", f"file,mos\n{twins}/clip.mp4,1\nother.mp4,2\n")
    assert names(load_dataset("mine", labels, Path("v"))) == ["clip", "other"]


def test_ids_do_not_make_two_videos_of_one(tmp_path, twins):
    labels = write(tmp_path / "l.csv", "id,file,mos\n1,clip.mp4,2\n2,copy.mkv,3\n")
    with pytest.raises(LabelError, match=r"lines 2 and 3: one video \(the same content: clip.mp4 and copy.mkv\)"):
        load_dataset("mine", labels, twins)
    write(labels, "id,file,mos\n1,clip.mp4,2\n1,other.mp4,2\n")
    with pytest.raises(LabelError, match=r"lines 2 and 3: clip\.mp4 and other\.mp4 are two files with one id"):
        load_dataset("mine", labels, twins)


def test_files_that_differ_in_case_or_in_a_byte_are_two_videos(tmp_path, twins):
    (twins / "OTHER.mp4").write_bytes(b"different")
    labels = write(tmp_path / "l.csv", "file,mos\nclip.mp4,1\nother.mp4,2\nOTHER.mp4,3\n")
    assert names(load_dataset("mine", labels, twins)) == ["clip", "other", "OTHER"]
    with pytest.raises(LabelError, match=r"line 2: Other\.mp4 fits 2 files"):
        load_dataset("mine", write(labels, "file,mos\nOther.mp4,1\n"), twins)


def test_ordinary_files_are_not_read_to_compare_them(tmp_path, monkeypatch):
    for number in range(5):  # two are of one size, and differ at their ends
        write(tmp_path / f"{number}.mp4", "x" * max(number, 1) + str(number))
    monkeypatch.setattr("ugcvqa.datasets.identity.file_sha256", lambda path: pytest.fail(f"{path} is read whole"))
    labels = write(tmp_path / "l.csv", "file,mos\n" + "".join(f"{number}.mp4,3\n" for number in range(5)))
    assert len(load_dataset("mine", labels, tmp_path).videos) == 5


def test_copies_in_a_public_set_stay_and_are_told(tmp_path):
    for name in ("11.mp4", "22.mp4", "33.mp4"):
        write(tmp_path / name, "same" if name != "33.mp4" else "other")
    labels = write(tmp_path / "l.csv", "flickr_id,mos\n11,3\n22,2\n33,1\nvideos/11.mp4,3.0\n")
    dataset = load_dataset("konvid_1k", labels, tmp_path)
    assert names(dataset) == ["11", "22", "33"]
    assert "lines 2 and 5: 11 and videos/11.mp4" in dataset.notes[0]
    assert "1 videos have the content of another (11 = 22); all stay" in dataset.notes[1]


def test_demo_folder_is_read_through_its_labels_csv(tmp_path):
    root = touch(tmp_path, "scene00_v0.mp4", "scene00_v1.mkv")
    header = "video_id,file,synthetic_quality,scene,degradation\n"
    row0 = 'demo/scene00_v0,scene00_v0.mp4,4.5,scene00,"noise 9, h264"\n'
    write(root / "labels.csv", f"{header}{row0}demo/scene00_v1,scene00_v1.mkv,1.5,scene00,blur\n")
    dataset = load_dataset("demo", root=root)
    assert (dataset.label, dataset.scale) == ("synthetic quality", (1.0, 5.0))
    assert [video.video_id for video in dataset.videos] == ["demo/scene00_v0", "demo/scene00_v1"]
    assert [video.path for video in dataset.videos] == [root / "scene00_v0.mp4", root / "scene00_v1.mkv"]
    assert {video.group for video in dataset.videos} == {"scene00"}


# --- bad input -----------------------------------------------------------------------------------------------

BAD_LABELS = {
    "empty": ("konvid_1k", "", "the file is empty"),
    "blank": ("konvid_1k", "\n ,\n", "the file is empty"),
    "header only": ("konvid_1k", "flickr_id,mos\n", r"no rows \(columns found: flickr_id, mos\)"),
    "no id column": ("konvid_1k", "clip,mos\n1,2\n", "line 1: no column of ids .* found: clip, mos"),
    "no MOS column": ("youtube_ugc", "vid,dmos\nVlog_360P-0bbb,2\n", "no column of MOS .* found: vid, dmos"),
    "no labels": ("mine", "file,note\na,2\n", "no column of labels .* found: file, note"),
    "no files": ("mine", "clip,mos\na,2\n", "no column of files or ids .* found: clip, mos"),
    "two columns": ("konvid_1k", "flickr_id,mos,MOS\n1,2,3\n", "several columns 'mos'"),
    "delimiter": ("konvid_1k", "flickr_id|mos\n1|2\n", r"line 1: no column .* found: flickr_id\|mos"),
    "duplicate": (
        *("konvid_1k", "flickr_id,mos\n1,2\n2,2\n1,3\n"),
        r"lines 2 and 4: one video \(the same name: 1\) with two scores, 2 and 3; keep the right row$",
    ),
    "duplicate file": ("mine", "file,mos\na.mp4,2\na.mkv,3\n", "lines 2 and 3: one video .*a.mp4 and a.mkv"),
    "empty id": ("mine", "file,mos\n,2\n", "line 2: the id is empty"),
    "text": ("konvid_1k", "flickr_id,mos\n1,2\n2,good\n", "line 3: mos 'good' is not a finite number"),
    "percent": ("mine", "file,mos\na,85%\n", "line 2: mos '85%' is not .* without percent signs"),
    "underscore": ("mine", "file,mos\na,8_5\n", "line 2: mos '8_5' is not a finite number; write a number"),
    "decimal commas": ("mine", "file,mos\na,3,50\n", "line 2: 3 cells, .* separate the cells by semicolons"),
    "no header": ("mine", "a.mp4,3.5\nb.mp4,2\n", "columns found: a.mp4, 3.5; .* put a header such as `file,mos`"),
    "UTF-16 cut": ("mine", "\ufefffile,mos\na,3\n", "is damaged UTF-16 text"),
    "no value": ("konvid_1k", "flickr_id,mos\n1,\n", "line 2: mos '' is not a finite number"),
    "NaN": ("konvid_1k", "flickr_id,mos\n1,nan\n", "line 2: mos 'nan' is not a finite number"),
    "infinite": ("mine", "file,mos\n1,-inf\n", "line 2: mos '-inf' is not a finite number"),
    "scale": ("konvid_1k", "flickr_id,mos\n1,80\n", r"line 2: mos 80 is outside the scale 1\.\.5"),
    "demo scale": ("demo", "file,synthetic_quality\na,80\n", r"80 is outside the scale 1\.\.5"),
    "Excel id": ("konvid_1k", "flickr_id,mos\n3.34E+09,2\n", r"line 2: '3.34E\+09' is not a video name"),
    "other set": ("youtube_ugc", "vid,mos\n3339962845,2\n", "'3339962845' is not a video name of youtube_ugc"),
    "ragged": ("konvid_1k", "flickr_id,mos\n1,2,3\n", "line 2: 3 cells, but the first row has 2"),
    "quotes": ("konvid_1k", 'flickr_id,mos\n"1"x,2\n', "line 2: cannot be read as CSV"),
    "workbook": ("youtube_ugc", "PK\x03\x04rest", "is an Excel workbook"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_label_file_is_one_clear_line(tmp_path, case):
    name, text, message = BAD_LABELS[case]
    path = write(tmp_path / "labels.csv", text)
    if "UTF-16" in case:
        path.write_bytes(text.encode("utf-16-le")[:-1])
    with pytest.raises(LabelError, match=message) as caught:
        load_dataset(name, path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_text_that_is_not_utf8_is_named_with_its_line(tmp_path):
    path = write(tmp_path / "l.csv", "flickr_id,mos,note\n1,2,a\n2,2,ä\n", encoding="latin-1")
    with pytest.raises(LabelError, match="line 3: is not UTF-8"):
        load_dataset("konvid_1k", path)


def test_missing_files_and_folders_are_named(tmp_path):
    labels = write(tmp_path / "l.csv", "flickr_id,mos\n1,2\n")
    with pytest.raises(LabelError, match=r"gone.csv: no such label file"):
        load_dataset("konvid_1k", tmp_path / "gone.csv")
    with pytest.raises(LabelError, match="gone: no such folder of videos"):
        load_dataset("konvid_1k", labels, tmp_path / "gone")
    with pytest.raises(LabelError, match=r"holds no label file of youtube_ugc \(youtube_ugc.csv, "):
        load_dataset("youtube_ugc", tmp_path)


def test_a_subset_that_a_label_file_lacks_is_an_error(tmp_path):
    labels = write(tmp_path / "l.csv", f"vid,mos,in_paper\n{VIDS[0]},3,1\n{VIDS[1]},3,0\n")
    assert names(load_dataset("youtube_ugc", labels)) == [VIDS[0]]
    with pytest.raises(LabelError, match="holds no video of 360P"):
        load_dataset("youtube_ugc", labels, subset="360P")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a/b"}, "data set name 'a/b'"),
        ({"name": "mine", "labels": None}, "give a label file or a folder"),
        ({"name": "konvid_1k", "subset": "360P"}, "has no subset '360P'"),
        ({"name": "youtube_ugc", "subset": "360p"}, "use one of 360P, 480P, 720P, 1080P or all"),
        ({"name": "konvid_1k", "scale": (0, 100)}, "its scale is 1..5"),
        ({"name": "mine", "scale": (5, 1)}, "must be smaller"),
        ({"name": "combined"}, "give a folder that holds both"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(tmp_path, arguments, message):
    labels = write(tmp_path / "l.csv", "flickr_id,mos\n1,2\n")
    with pytest.raises(ConfigError, match=message):
        load_dataset(**({"labels": labels} | arguments))
