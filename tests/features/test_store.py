"""The feature store: nothing stale, nothing half-written, safe with several writers."""

import dataclasses
import hashlib
import os
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from ugcvqa.errors import StoreError, VideoError
from ugcvqa.features.store import READING, FeatureSpec, FeatureStore, store_of, table_of_folder
from ugcvqa.files import write_atomic
from ugcvqa.leftovers import temporary_path
from ugcvqa.processes import process_name

SPEC = FeatureSpec("nss", 1, {"colour": "bt601", "min_side": 512}, weights="", source="videos")
VECTOR = np.array([1.0, np.nan, np.inf, -2.5])


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


def test_put_then_get_is_exact(store):
    store.put(SPEC, "ab" * 32, {"video": VECTOR}, {"width": 64})
    assert store.has(SPEC, "ab" * 32)
    np.testing.assert_array_equal(store.get(SPEC, "ab" * 32)["video"], VECTOR)


@pytest.mark.parametrize(
    "change",
    [
        {"family": "cnn"},
        {"version": 2},
        {"settings": {"colour": "rapique", "min_side": 512}},
        {"settings": {"colour": "bt601", "min_side": 256}},
        {"weights": "0" * 64},
        {"source": "1" * 64},
    ],
)
def test_any_change_of_the_spec_hides_the_old_feature(store, change):
    store.put(SPEC, "ab" * 32, {"video": VECTOR}, {})
    other = dataclasses.replace(SPEC, **change)
    assert other.key != SPEC.key
    assert not store.has(other, "ab" * 32)
    with pytest.raises(StoreError, match="run `ugcvqa extract` first"):
        store.get(other, "ab" * 32)


def test_order_of_settings_does_not_matter():
    other = dataclasses.replace(SPEC, settings={"min_side": 512, "colour": "bt601"})
    assert other.key == SPEC.key


def test_object_under_a_wrong_name_is_refused(store):
    store.put(SPEC, "ab" * 32, {"video": VECTOR}, {})
    right = next(store.root.rglob("*.safetensors"))
    wrong = right.parent.parent / "cd" / ("cd" * 32 + ".safetensors")
    write_atomic(wrong, right.read_bytes())
    with pytest.raises(StoreError, match="something else"):
        store.get(SPEC, "cd" * 32)


def test_damaged_object_is_one_error(store):
    store.put(SPEC, "ab" * 32, {"video": VECTOR}, {})
    next(store.root.rglob("*.safetensors")).write_bytes(b"damaged")
    with pytest.raises(StoreError, match="cannot be read as a file of ours"):
        store.get(SPEC, "ab" * 32)


def test_content_is_the_hash_of_the_bytes_and_follows_every_change(store, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    assert store.content(path) == hashlib.sha256(b"one").hexdigest()
    status = path.stat()
    path.write_bytes(b"two")  # same length, and the old time put back: only the change time tells
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.content(path) == hashlib.sha256(b"two").hexdigest()


def test_content_is_not_hashed_twice(store, tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    first = store.content(path)
    monkeypatch.setattr("ugcvqa.features.store.file_sha256", lambda _: pytest.fail("hashed again"))
    assert FeatureStore(store.root).content(path) == first


@pytest.mark.parametrize("name", ["missing.mp4", "folder"])
def test_content_of_no_file_is_one_error(store, tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(VideoError, match=name):
        store.content(tmp_path / name)


def test_names_of_any_kind(store):
    names = ["a/b", "ü \n'\"", "-x", "../../etc", "long" * 200]
    for index, name in enumerate(names):
        store.put_name(SPEC, name, f"{index:064x}")
    assert dict(store.names(SPEC)) == {name: f"{index:064x}" for index, name in enumerate(names)}


def _write_many(root, offset):
    store = FeatureStore(root)
    for index in range(40):
        content = hashlib.sha256(str(index).encode()).hexdigest()
        store.put(SPEC, content, {"video": np.full(50, float(index))}, {})
        store.put_name(SPEC, f"video {(index + offset) % 40}", "x")
    return True


def test_several_writers_of_the_same_features(store):
    with ProcessPoolExecutor(2) as pool:
        assert all(pool.map(_write_many, [store.root] * 4, range(4)))
    assert len(list(store.names(SPEC))) == 40
    assert not list(store.root.rglob("*.tmp"))
    for index in range(40):
        content = hashlib.sha256(str(index).encode()).hexdigest()
        np.testing.assert_array_equal(store.get(SPEC, content)["video"], np.full(50, float(index)))


def test_unfinished_files_lie_apart_and_those_of_dead_processes_are_swept(store):
    store.put(SPEC, "ab" * 32, {"video": VECTOR}, {})
    scratch, young = store.root / "scratch", temporary_path(store.root / "scratch")
    for path in (young, temporary_path(scratch), scratch / ".mine.tmp"):
        path.write_bytes(b"half")
    dead = temporary_path(scratch).name.replace(process_name(), f"{process_name()}f")  # started at another time
    for folder in (scratch, store.root):
        (folder / dead).write_bytes(b"half")
    store.prepare()
    assert len(list(scratch.iterdir())) == 3
    assert not [path for path in store.root.rglob("*") if path.name == dead]


def test_features_of_another_reader_of_videos_are_not_found(store, monkeypatch):
    store.put(SPEC, "ab" * 32, {"video": VECTOR}, {})
    imported = dataclasses.replace(SPEC, source="cd" * 32)
    key = imported.key
    monkeypatch.setattr("ugcvqa.features.store.READING", 99)
    assert not store.has(SPEC, "ab" * 32)
    assert imported.key == key


def test_reduced_precision_of_a_gpu_is_kept_apart_and_float32_is_not(tmp_path):
    """The keys of float32 features, and of all that a CPU makes, are those of older stores."""
    exact = FeatureSpec("vsfacnn", 1, {"precision": "float32"}, "a" * 64)
    fast = FeatureSpec("vsfacnn", 1, {"precision": "tf32"}, "a" * 64)
    mixed = FeatureSpec("vsfacnn_saliency", 1, {"precision": "float32", "saliency_precision": "bfloat16"}, "a" * 64)
    assert exact.key == "vsfacnn-" + hashlib.sha256(f"reading {READING} {exact.to_json()}".encode()).hexdigest()[:16]
    for spec in (SPEC, exact):
        assert spec.key_on("cuda") == spec.key_on("cpu") == spec.key
    for spec in (fast, mixed):
        assert spec.key_on("cpu") == spec.key != spec.key_on("cuda")
        store, gpu = FeatureStore(tmp_path), FeatureStore(tmp_path, "cuda")
        gpu.put(spec, "ab" * 32, {"video": VECTOR}, {})
        gpu.put_name(spec, "a", "ab" * 32)
        assert not store.has(spec, "ab" * 32)
        assert store_of(tmp_path, spec).device == "cuda"
        assert table_of_folder(tmp_path / spec.key_on("cuda")).ids == ("a",)
        store.put(spec, "cd" * 32, {"video": VECTOR}, {})
        assert store_of(tmp_path, spec).device == "cpu"
