"""The check verb: found, missing, doubled, extra and unreadable files."""

import csv
import io
import shutil

import pytest

from tests.support.media import encode_frames, rgb_frames
from ugcvqa.check import check, main
from ugcvqa.datasets.catalogue import load_dataset
from ugcvqa.datasets.inventory import check_dataset
from ugcvqa.errors import ConfigError, VideoError
from ugcvqa.settings.data import DataSettings

VIDS = ("Gaming_1080P-0aaa", "Vlog_360P-0bbb", "Gaming_720P-0ccc")


def data(labels, root=None):
    return DataSettings("youtube_ugc", labels=str(labels), root=root and str(root))


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "youtube_ugc.csv"
    path.write_text("vid,MOS full\n" + "".join(f"{vid},{mos}\n" for vid, mos in zip(VIDS, (2, 3, 4), strict=True)))
    return path


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "videos"
    (folder / "Gaming" / "1080P").mkdir(parents=True)
    (folder / "Gaming" / "1080P" / f"{VIDS[0]}.mkv").touch()
    (folder / f"{VIDS[0]}_crf_10_ss_00_t_20.0.mp4").touch()
    (folder / f"{VIDS[1]}.mp4").touch()
    (folder / "holiday.mp4").touch()
    return folder


def report_of(labels, root, **options):
    return check_dataset(load_dataset("youtube_ugc", labels, root, "all"), root, **options)


def fake_probe(bad):
    def probe(path):
        if path.name in bad:
            raise VideoError(f"{path}: cannot be opened\n(truncated)")

    return probe


def test_report_tells_missing_doubled_and_extra_files(labels, root):
    report = report_of(labels, root)
    assert [checked.status for checked in report.videos] == ["ok", "ok", "missing"]
    assert report.videos[0].others == (root / f"{VIDS[0]}_crf_10_ss_00_t_20.0.mp4",)
    assert report.extra == (root / "holiday.mp4",)
    assert not report.is_fine
    assert list(report.lines()) == [
        "youtube_ugc_all: 3 videos, MOS 2.000 to 4.000 on a scale of 1 to 5",
        f"2 of 3 videos found below {root}",
        "1 missing",
        f"  youtube_ugc/{VIDS[2]}",
        "1 with several files",
        f"  youtube_ugc/{VIDS[0]}: {root}/Gaming/1080P/{VIDS[0]}.mkv is used, not"
        f" {root}/{VIDS[0]}_crf_10_ss_00_t_20.0.mp4",
        "1 extra files, in no label row",
        f"  {root}/holiday.mp4",
    ]


def test_long_lists_are_cut_on_the_screen_only(tmp_path):
    (tmp_path / "labels.csv").write_text("file,mos\n" + "".join(f"v{i:02}.mp4,3\n" for i in range(14)))
    report = check_dataset(load_dataset("csv", root=tmp_path), tmp_path)
    lines = list(report.lines())
    assert lines[2:4] == ["14 missing", "  csv/v00"]
    assert lines[13] == "  .. and 4 more"
    assert report.to_csv().count(",missing,") == 14


def test_csv_has_one_row_per_video_and_extra_file(labels, root):
    rows = list(csv.DictReader(io.StringIO(report_of(labels, root).to_csv())))
    assert [(row["video_id"], row["status"]) for row in rows] == [
        (f"youtube_ugc/{VIDS[0]}", "ok"),
        (f"youtube_ugc/{VIDS[1]}", "ok"),
        (f"youtube_ugc/{VIDS[2]}", "missing"),
        ("", "extra"),
    ]
    assert rows[0]["path"].endswith(".mkv")
    assert rows[0]["other_files"].endswith("_t_20.0.mp4")
    assert rows[2]["path"] == ""


@pytest.mark.parametrize("workers", [1, 3])
def test_unreadable_files_are_told_with_their_reason(labels, root, monkeypatch, workers):
    monkeypatch.setattr("ugcvqa.media.video.check_video", fake_probe({f"{VIDS[1]}.mp4"}))
    report = report_of(labels, root, probe_files=True, workers=workers)
    assert [checked.status for checked in report.videos] == ["ok", "unreadable", "missing"]
    assert report.videos[1].reason.endswith("cannot be opened (truncated)")
    assert "1 unreadable" in list(report.lines())


def test_real_files_are_opened(shared, tmp_path):
    shutil.copy(shared / "data" / "videos" / "vsfa_test.mp4", tmp_path / "good.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    (tmp_path / "labels.csv").write_text("file,mos\ngood,3\nbad,3\n")
    report = check_dataset(load_dataset("csv", root=tmp_path), tmp_path, probe_files=True)
    assert [checked.status for checked in report.videos] == ["ok", "unreadable"]


def test_doubtful_videos_are_told_in_the_words_of_their_scores(tmp_path):
    encode_frames(tmp_path / "short.mp4", rgb_frames(12))
    encode_frames(tmp_path / "long.mp4", rgb_frames(50))
    (tmp_path / "labels.csv").write_text("file,mos\nshort,3\nlong,3\n")
    report = check_dataset(load_dataset("csv", root=tmp_path), tmp_path, probe_files=True)
    assert report.is_fine
    sentence = "the video has only 12 frames in 0.48 s, so the score rests on very little"
    lines = list(report.lines())
    place = lines.index("1 whose score will have a warning")
    assert lines[place + 1] == f"  {tmp_path / 'short.mp4'}: {sentence}"
    assert [row["warnings"] for row in csv.DictReader(io.StringIO(report.to_csv()))] == [sentence, ""]


def test_own_rows_may_use_two_files_of_one_name(tmp_path):
    for name in ("a.mkv", "a.mp4", "b.mkv", "b.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "labels.csv").write_text("id,file,mos\n1,a.mkv,3\n2,a.mp4,4\n3,b,5\n")
    report = check_dataset(load_dataset("csv", root=tmp_path), tmp_path)
    assert [checked.others for checked in report.videos] == [(), (), (tmp_path / "b.mp4",)]
    assert report.extra == ()


def test_extra_files_with_the_content_of_a_labelled_one_are_told(tmp_path):
    for name, content in (("a.mp4", "one"), ("b.mp4", "one"), ("c.mp4", "two")):
        (tmp_path / name).write_text(content)
    (tmp_path / "labels.csv").write_text("file,mos\na.mp4,3\n./a.mp4,3\n")
    report = check_dataset(load_dataset("csv", root=tmp_path), tmp_path)
    lines = list(report.lines())
    assert "lines 2 and 3: a.mp4 and ./a.mp4" in lines[1]
    assert lines[-2:] == [f"  {tmp_path}/b.mp4 (the same content as {tmp_path}/a.mp4)", f"  {tmp_path}/c.mp4"]
    assert f"extra,{tmp_path}/b.mp4,,the same content as {tmp_path}/a.mp4,\n" in report.to_csv()


def test_combined_set_is_checked_as_a_whole(tmp_path):
    (tmp_path / "konvid_1k.csv").write_text("flickr_id,mos\n11,3\n")
    (tmp_path / "youtube_ugc.csv").write_text(f"vid,mos\n{VIDS[0]},3\n")
    for name in ("11.mp4", "11_centercrop_960x540_8s.mp4", f"{VIDS[0]}.mkv"):
        (tmp_path / name).touch()
    report = check_dataset(load_dataset("combined", root=tmp_path), tmp_path)
    assert report.is_fine
    assert [len(checked.others) for checked in report.videos] == [1, 0]
    assert report.extra == ()


def test_exit_code_and_csv_file(labels, root, tmp_path, capsys):
    out = tmp_path / "new" / "report.csv"
    assert check(data(labels, root), out=str(out)) == 1
    assert "2 of 3 videos found" in capsys.readouterr().out
    assert out.read_text().startswith("video_id,status,path,other_files,reason,warnings\n")
    (root / f"{VIDS[2]}.mp4").touch()
    assert check(data(labels, root)) == 0


def test_labels_alone_are_fine(labels, capsys):
    assert check(data(labels)) == 0
    assert "only the labels were checked" in capsys.readouterr().out


def test_options_that_do_not_fit_are_refused(labels, root):
    with pytest.raises(ConfigError, match="give the folder"):
        check(data(labels), probe=True)
    with pytest.raises(ConfigError, match="workers 0"):
        check(data(labels, root), workers=0)


def test_verb_runs_from_the_command_line(labels, root, capsys):
    assert main(["--data.name", "youtube_ugc", "--data.labels", str(labels), "--data.root", str(root)]) == 1
    assert "1 missing" in capsys.readouterr().out
    assert main(["--data.name", "youtube_ugc", "--data.labels", str(root / "gone.csv")]) == 2
    assert "no such label file" in capsys.readouterr().err
