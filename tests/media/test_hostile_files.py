"""Things that are no videos, names that mean something to FFmpeg, full disks, and several processes on one store."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.media import plain_file
from ugcvqa.errors import StoreError, VideoError
from ugcvqa.features.extraction import ClipStream, Task
from ugcvqa.features.store import FeatureSpec, FeatureStore
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import probe
from ugcvqa.settings.data import DecodeLimits

SPEC = FeatureSpec("nss", 1, {}, "own")


def reason_of(path, store, limits=None):
    """Why a stream with a store serves no clip of a file."""
    (item,) = ClipStream([Task("a", str(path))], {}, store, limits)
    return item.reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and links")
def test_only_regular_files_are_read_and_nothing_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "nowhere.mp4").symlink_to("gone")
    (tmp_path / "circle.mp4").symlink_to("circle.mp4")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    (tmp_path / "link.mp4").symlink_to("pipe.mp4")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.relpath(tmp_path / "socket.mp4"))
    store = FeatureStore(tmp_path / "store")
    for path in sorted(tmp_path.glob("*.mp4")):
        with pytest.raises(VideoError) as caught:
            probe(path)
        assert len(str(caught.value).splitlines()) == 1
        assert reason_of(path, store) == str(caught.value)
    listener.close()


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = plain_file(tmp_path / "a.mp4")
    store = FeatureStore(tmp_path / "store")
    monkeypatch.setattr(store, "content", lambda path: pytest.fail("read"))
    assert "file size in bytes" in reason_of(path, store, DecodeLimits(max_file_bytes=10))


@pytest.mark.parametrize(
    "name", ["subfile,,start,0,end,0,,:x.mp4", "pipe:.mp4", "*.mp4", "[1]?.mp4", "\\.mp4", "e\u0301.mp4"]
)
def test_names_that_mean_something_to_ffmpeg_or_a_shell_are_names(tmp_path, name):
    assert probe(plain_file(tmp_path / "a.mp4").rename(tmp_path / name)).n_frames == 25


def test_a_name_that_is_no_text_is_a_name(tmp_path):
    target = os.path.join(os.fsencode(tmp_path), b"\xff\xfe.mp4")  # noqa: PTH118 (bytes)
    try:
        os.rename(plain_file(tmp_path / "a.mp4"), target)  # noqa: PTH104
    except OSError:
        pytest.skip("this file system takes text only")
    assert probe(os.fsdecode(target)).n_frames == 25


def test_a_folder_that_takes_no_files_is_enough_to_read_from(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    plain_file(folder / "a.mp4")
    folder.chmod(0o555)
    assert probe(folder / "a.mp4").n_frames == 25
    folder.chmod(0o755)
    assert [path.name for path in folder.iterdir()] == ["a.mp4"]


FILL = """
import resource, sys
from pathlib import Path
import numpy as np
from ugcvqa.errors import StoreError
from ugcvqa.features.store import FeatureSpec, FeatureStore
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
store, spec = FeatureStore(Path(sys.argv[1])), FeatureSpec("nss", 1, {}, "own")
store.put(spec, "aa" * 32, {"video": np.zeros(100)}, {})
try:
    store.put(spec, "bb" * 32, {"video": np.zeros(100_000)}, {})
except StoreError as error:
    print(error)
"""


def run_python(code, *arguments):
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=root, stdout=subprocess.PIPE, text=True
    )


def test_a_full_disk_is_one_line_and_leaves_no_torn_file(tmp_path):
    said, _ = run_python(FILL, tmp_path).communicate()
    assert "cannot be written: File too large" in said
    assert said.count("\n") == 1
    store = FeatureStore(tmp_path)
    assert len(store.get(SPEC, "aa" * 32)["video"]) == 100
    assert not store.has(SPEC, "bb" * 32)
    assert not list(tmp_path.rglob("*.tmp"))


WRITE = """
import sys
from pathlib import Path
import numpy as np
from ugcvqa.features.store import FeatureSpec, FeatureStore
store, spec = FeatureStore(Path(sys.argv[1])), FeatureSpec("nss", 1, {}, "own")
store.prepare()
for number in range(60):
    content = f"{number:064x}"
    store.put(spec, content, {"video": np.arange(2000.0) + number}, {"number": number})
    store.put_name(spec, f"video {number}", content)
    store.get(spec, content)
"""


def test_processes_that_write_one_store_together_lose_and_tear_nothing(tmp_path):
    processes = [run_python(WRITE, tmp_path / "store") for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    store = FeatureStore(tmp_path / "store")
    names = dict(store.names(SPEC))
    assert len(names) == 60
    for number in range(60):
        values = store.get(SPEC, names[f"video {number}"])["video"]
        np.testing.assert_array_equal(values, np.arange(2000.0) + number)
    assert not list(tmp_path.rglob("*.tmp"))


def make_dataset(folder):
    """Writes labelled videos of two seconds, no two alike."""
    folder.mkdir()
    field = np.random.default_rng(0).integers(0, 255, (120, 140, 3), dtype=np.uint8)
    rows = [("file", "mos")]
    for number in range(16):
        image = field // (1 + number % 7)
        write_video(folder / f"{number}.mp4", (image[k : k + 48, k + number : k + number + 64] for k in range(20)), 10)
        rows.append((f"{number}.mp4", str(1 + number % 5)))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return ["--data.name", "own", "--data.root", str(folder), "--data.labels", str(folder / "labels.csv")]


@pytest.mark.slow
def test_two_extractions_at_once_give_the_store_of_one(tmp_path):
    data = make_dataset(tmp_path / "videos")
    root = Path(__file__).resolve().parents[2]

    def extraction(store):
        return subprocess.Popen(
            [sys.executable, "-m", "ugcvqa", "extract", *data, "--store", str(tmp_path / store)], cwd=root
        )

    pair = [extraction("two"), extraction("two")]
    assert [process.wait() for process in pair] == [0, 0]
    assert extraction("one").wait() == 0
    stored = {
        store: {
            str(path.relative_to(tmp_path / store)): path.read_bytes()
            for path in (tmp_path / store).rglob("*")
            if path.suffix in {".safetensors", ".csv"} or path.name == "spec.json" or path.parent.parent.name == "names"
        }
        for store in ("one", "two")
    }
    assert len(stored["one"]) > 32
    assert stored["one"] == stored["two"]
    assert json.loads(next(iter((tmp_path / "two").glob("*/spec.json"))).read_text())["family"] == "nss"
    with pytest.raises(StoreError):
        FeatureStore(tmp_path / "two").get(SPEC, "cc" * 32)
