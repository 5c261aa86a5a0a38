"""Label files in the layouts of their owners, as people save them, and damaged."""

import logging

import pytest

from tests.support.label_files import VIDS, names, touch, write
from ugcvqa.datasets.catalogue import load_dataset
from ugcvqa.errors import LabelError

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


@pytest.mark.parametrize("header", ["video,mos", "file,MOS", "filename,quality", "path,score", "name,Mos", "vid,mos"])
def test_own_csv_column_aliases(tmp_path, header):
    root = touch(tmp_path, "a.mp4")
    dataset = load_dataset("csv", write(tmp_path / "l.csv", f"{header}\na.mp4,3\n"), root)
    assert (dataset.videos[0].video_id, dataset.videos[0].path) == ("csv/a", root / "a.mp4")


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
