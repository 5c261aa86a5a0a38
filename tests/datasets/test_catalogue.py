"""Data sets: the published label files in the order of the benchmark, the demo set, and requests that do not fit."""

import csv
import random

import numpy as np
import pytest

from tests.support.label_files import VIDS, names, touch, write
from ugcvqa.datasets.catalogue import inlsa_aligned, load_dataset
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
