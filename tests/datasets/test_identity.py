"""A video is its content, whatever its files and rows are called."""

from pathlib import Path

import pytest

from tests.support.label_files import names, write
from ugcvqa.datasets.catalogue import load_dataset
from ugcvqa.errors import LabelError


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
