"""What to score: every way of naming videos, in a stable order, with names of every kind, and never held whole."""

import io
import os
import sys
import tracemalloc

import pytest

from ugcvqa.bulk.listing import Digest, Inputs
from ugcvqa.errors import ConfigError, LabelError

NAMES = ["a b.mp4", "-dash.mp4", 'it\'s "q".mkv', "new\nline.mp4", "ü.MP4", os.fsdecode(b"bad\xff.mp4"), "a[1]*.mp4"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with odd names in it, in sub-folders, and files that are no videos."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        (tmp_path / name).touch()
    for name in ("sub/z.mp4", "sub/deep/a.webm", "sub2/b.mp4", "notes.pdf", "sub/._a.mp4", "@x.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    return tmp_path


def stdin(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_files_are_taken_as_they_are_named(folder):
    names = [*NAMES, NAMES[0], "@x.mp4", "gone.mp4", "notes.pdf"]
    assert list(Inputs(names)) == names
    assert Inputs(names).count() == len(names)


def test_folders_are_searched_in_depth_sorted_and_once(folder):
    everything = [*NAMES, "@x.mp4", "sub/deep/a.webm", "sub/z.mp4", "sub2/b.mp4"]
    ordered = sorted(everything, key=lambda name: name.split("/"))
    assert list(Inputs(["."])) == [f"./{name}" for name in ordered]
    assert list(Inputs([str(folder)])) == [str(folder / name) for name in ordered]
    assert list(Inputs(["sub2", "sub/", "ü.MP4"]))[:2] == ["sub2/b.mp4", "sub/deep/a.webm"]


def test_folders_that_cannot_be_listed_are_left_out_with_one_warning_each(folder, monkeypatch, caplog):
    scandir = os.scandir

    def refused(path):
        if path.endswith("/sub"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    for argument, shown in ((".", "./sub"), (f"{folder}/**/*.mp4", f"{folder}/sub")):
        caplog.clear()
        inputs = Inputs([argument])
        names = list(inputs)
        assert inputs.count() == len(names) > 0
        assert not [name for name in names if "/sub/" in name]
        assert [name for name in names if name.endswith("sub2/b.mp4")]
        assert caplog.messages == [f"{shown}: cannot list this folder (Permission denied); it is left out"]
    with pytest.raises(LabelError, match="sub: cannot list this folder"):
        list(Inputs([f"{folder}/sub"]))


def test_patterns_match_videos_or_the_ending_they_name(folder):
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "a.webm").touch()
    (folder / "sub" / "notes.pdf").touch()
    assert list(Inputs(["sub*/*"])) == ["sub/z.mp4", "sub2/b.mp4"]
    assert list(Inputs(["*.pdf"])) == ["notes.pdf"]
    assert list(Inputs(["**/*.pdf"])) == ["notes.pdf", "sub/notes.pdf"]
    assert list(Inputs(["**/*.webm"])) == ["sub/deep/a.webm"]
    assert list(Inputs([f"{folder}/s*2/**"])) == [f"{folder}/sub2/b.mp4"]
    assert list(Inputs(["sub2*/**/[a-y].*"])) == ["sub2/b.mp4"]
    assert list(Inputs([".hidden/**"])) == [".hidden/a.webm"]


def test_text_lists_keep_every_byte_of_a_name(folder):
    listed = [name for name in NAMES if "\n" not in name]
    (folder / "list.txt").write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join(map(os.fsencode, listed)) + b"\r\n")
    for inputs in (Inputs(["@list.txt"]), Inputs(["list.txt"]), Inputs([], "list.txt")):
        assert list(inputs) == listed
    (folder / "null.txt").write_bytes(b"\0".join(map(os.fsencode, NAMES)) + b"\0")
    assert list(Inputs([], "null.txt", is_null_separated=True)) == NAMES


def test_names_in_a_list_are_found_beside_it_too(folder):
    (folder / "sub" / "list.txt").write_text("z.mp4\nü.MP4\ngone.mp4\n/abs/olute.mp4\n")
    assert list(Inputs(["@sub/list.txt"])) == ["sub/z.mp4", "ü.MP4", "gone.mp4", "/abs/olute.mp4"]


@pytest.mark.parametrize("column", ["file", "Video", "path", "file_name"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_name_files_in_a_column_as_label_files_do(folder, column, delimiter):
    rows = [f"mos{delimiter}{column}", f'3.5{delimiter}"a b.mp4"', "", f'1{delimiter}"new\nline.mp4"']
    (folder / "labels.csv").write_text("\r\n".join(rows), encoding="utf-8-sig")
    assert list(Inputs(["labels.csv"])) == ["a b.mp4", "new\nline.mp4"]


def test_standard_input_is_one_source_among_others(folder, monkeypatch):
    stdin(monkeypatch, b"one.mp4\n\ntwo.mp4")
    inputs = Inputs(["sub2", "-", "a b.mp4"])
    assert inputs.count() is None
    assert list(inputs) == ["sub2/b.mp4", "one.mp4", "two.mp4", "a b.mp4"]
    stdin(monkeypatch, b"x\ny.mp4\0-z.mp4\0")
    assert list(Inputs(["-"], is_null_separated=True)) == ["x\ny.mp4", "-z.mp4"]


def test_a_name_is_passed_on_as_soon_as_its_line_is_there(monkeypatch):
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "wb", buffering=0) as sink:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(source))
        names = iter(Inputs(["-"]))
        sink.write(b"first.mp4\nsec")
        assert next(names) == "first.mp4"
        sink.write(b"ond.mp4\n")
        assert next(names) == "second.mp4"


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "list.txt", "names no video"),
        (b"\n \n", "list.txt", "names no video"),
        (b"", "list.csv", "no column of files"),
        (b"mos,size\n1,2\n", "list.csv", "columns found: mos, size"),
        (b"file,mos\n", "list.csv", "names no video"),
        (b"file,mos\n,2\n", "list.csv", "line 2: column 'file' names no file"),
        (b'file\n"open', "list.csv", "line 2: cannot be read as CSV"),
        (b"a.mp4\0b.mp4\0", "list.txt", "give --null"),
        (b"x" * (1 << 21), "list.txt", "is not a list of paths"),
    ],
)
def test_unusable_lists_are_one_clear_line(tmp_path, content, name, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ConfigError, LabelError), match=message):
        Inputs([f"@{tmp_path / name}"]).count()


def test_nothing_to_score_says_where_nothing_was_found(folder, monkeypatch):
    (folder / "empty").mkdir()
    for arguments, message in (
        ([], "no video given"),
        (["empty"], "empty: no video in this folder or below"),
        (["sub2", "empty/*"], "this pattern matches no video file"),
        (["@gone.txt"], "gone.txt: this list cannot be read"),
        (["-", "-"], "once only"),
    ):
        with pytest.raises((ConfigError, LabelError), match=message):
            Inputs(arguments).count()
    stdin(monkeypatch, b"\n")
    with pytest.raises(ConfigError, match="standard input: names no video"):
        list(Inputs(["-"]))


def test_a_long_list_is_never_held_whole(tmp_path):
    with (tmp_path / "list.txt").open("w") as file:
        file.writelines(f"/videos/{number:06d}-{'x' * 90}.mp4\n" for number in range(25_000))
    tracemalloc.start()
    assert sum(1 for _ in Digest().passing(Inputs(["@" + str(tmp_path / "list.txt")]))) == 25_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20  # the file has 2.7 MB


def test_digest_tells_lists_apart(tmp_path):
    digests = []
    for names in (["a", "b"], ["ab"], ["b", "a"], ["a", "b"]):
        digest = Digest()
        assert list(digest.passing(names)) == names
        assert digest.count == len(names)
        digests.append(digest.sha256)
    assert digests[0] == digests[3]
    assert len(set(digests)) == 3


SPELLED = {
    "backslashes": (r"sub\z.mp4", "sub/z.mp4"),
    "case": ("SUB2/B.MP4", "sub2/b.mp4"),
    "accents apart": ("u\u0308.MP4", "ü.MP4"),
    "encoded": ("a%20b.mp4", "a b.mp4"),
    "spaces around": (" a b.mp4  ", "a b.mp4"),
    "no ending": ("sub/z", "sub/z.mp4"),
    "URL of a file": ("file://{}/sub/z.mp4", "{}/sub/z.mp4"),
    "two that differ in case": ("TWIN.mp4", "TWIN.mp4"),
    "a folder above": (r"..\z.mp4", r"..\z.mp4"),
    "another machine": (r"D:\sub\z.mp4", r"D:\sub\z.mp4"),
}


@pytest.mark.parametrize("case", SPELLED)
def test_a_listed_name_is_found_as_another_system_writes_it(folder, case):
    (folder / "twin.mp4").touch()
    (folder / "Twin.mp4").touch()
    listed, found = (text.format(folder) for text in SPELLED[case])
    (folder / "list.txt").write_text(f"{listed}\n")
    (folder / "list.csv").write_text(f'mos,file\n3,"{listed}"\n')
    assert list(Inputs(["list.txt", "@list.csv"])) == [found, found]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_are_read_in_the_encodings_of_windows(folder, encoding):
    (folder / "list.txt").write_bytes("a b.mp4\r\nü.MP4\r\n".encode(encoding))
    (folder / "list.csv").write_bytes("sep=;\r\nname;mos\r\na b.mp4;3,5\r\nname;mos\r\nü.MP4;2\r\n".encode(encoding))
    assert list(Inputs(["list.txt", "list.csv"])) == ["a b.mp4", "ü.MP4"] * 2


def test_a_video_listed_by_two_spellings_keeps_both_rows(folder):
    (folder / "list.txt").write_text("./a b.mp4\nsub/z.mp4\na b.mp4\nA%20B.mp4\n")
    assert list(Inputs(["list.txt"])) == ["./a b.mp4", "sub/z.mp4", "a b.mp4", "a b.mp4"]


def test_scores_name_videos_whose_names_were_made_harmless(tmp_path):
    for name in ("=a.mp4", "'=b.mp4", "\x1bc.mp4"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "scores.csv").write_text("video,mos\n'=a.mp4,3\n'=b.mp4,3\n\\x1bc.mp4,3\n''=b.mp4,3\n")
    found = [name.rpartition("/")[2] for name in Inputs((str(tmp_path / "scores.csv"),))]
    assert found == ["=a.mp4", "'=b.mp4", "\x1bc.mp4", "'=b.mp4"]
