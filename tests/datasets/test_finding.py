"""Video files below a folder, and the one that a row of labels names."""

import logging
import unicodedata

import pytest

from tests.support.label_files import VIDS, names, touch, write
from ugcvqa.datasets.catalogue import load_dataset
from ugcvqa.datasets.finding import video_copies, video_files
from ugcvqa.errors import LabelError


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


def test_accents_may_be_composed_or_not(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Bäume é.mp4") for form in ("NFC", "NFD"))
    for on_disk, listed in ((composed, apart), (apart, composed)):
        root = tmp_path / listed
        root.mkdir()
        (root / on_disk).write_bytes(b"x")
        (video,) = load_dataset("mine", write(tmp_path / "l.csv", f"file,mos\n{listed},3\n"), root).videos
        assert (video.video_id, video.path.name) == ("mine/" + composed.removesuffix(".mp4"), on_disk)
