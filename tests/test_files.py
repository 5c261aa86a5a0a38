"""Files that appear whole or not at all."""

import hashlib
import json
import math
import subprocess
import sys
import time

import numpy as np
import pytest

from ugcvqa.errors import StoreError
from ugcvqa.files import arrays_from_file, arrays_to_bytes, file_sha256, locked, write_atomic, write_json


def test_atomic_write_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "deep" / "file.bin"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


def test_failed_write_keeps_the_old_file_and_leaves_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    write_atomic(path, b"old")

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ugcvqa.files.os.fsync", no_space)
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_file_where_a_folder_should_be_is_one_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be written"):
        write_atomic(tmp_path / "file" / "inner", b"x")


def test_what_json_lacks_is_null(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, math.nan, (math.inf, "x")], "b": {"c": -0.5, "d": None, "e": True}})
    strict = json.loads((tmp_path / "a.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert strict == {"a": [1, None, [None, "x"]], "b": {"c": -0.5, "d": None, "e": True}}


def test_sha256_equals_hashlib(tmp_path):
    data = np.random.default_rng(0).bytes(3_000_000)
    (tmp_path / "x").write_bytes(data)
    assert file_sha256(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_arrays_round_trip_bit_for_bit_also_when_not_contiguous(tmp_path):
    arrays = {
        "a": np.random.default_rng(0).normal(size=(4, 6)).T,
        "nan": np.array([np.nan, np.inf, -0.0]),
        "u8": np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, ::2],
        "empty": np.zeros((0, 5)),
    }
    path = tmp_path / "x.safetensors"
    path.write_bytes(arrays_to_bytes(arrays, {"k": [1, "é"]}))
    back, metadata = arrays_from_file(path)
    assert metadata == {"k": [1, "é"]}
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_same_arrays_give_same_bytes():
    arrays = {name: np.ones(3) for name in "abcdef"}
    metadata = {name: name for name in "ghijkl"}
    assert len({arrays_to_bytes(arrays, metadata) for _ in range(20)}) == 1


@pytest.mark.parametrize("data", [b"", b"no tensors", b"\xff" * 100])
def test_foreign_file_is_one_error(tmp_path, data):
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(StoreError, match="cannot be read as a file of ours"):
        arrays_from_file(path)


def test_missing_file_is_one_error(tmp_path):
    with pytest.raises(StoreError, match="cannot be read"):
        arrays_from_file(tmp_path / "none")


def hold(path):
    """Another process that holds a lock file until it is killed, with a child of its own."""
    program = (
        "import os, sys, time; from pathlib import Path; from ugcvqa.files import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    os.fork() and print('held', flush=True)\n"
        "    time.sleep(8)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_lock_keeps_other_processes_out_and_is_free_once_its_holder_is_killed(tmp_path):
    path = tmp_path / "run" / "lock"
    holder = hold(path)
    with pytest.raises(StoreError, match=rf"run: is in use by process {holder.pid} on "), locked(path):
        raise AssertionError("another process held it")
    holder.kill()  # its child lives on
    holder.wait()
    assert path.exists()
    with locked(path):
        time.sleep(0)
    assert not path.exists()
