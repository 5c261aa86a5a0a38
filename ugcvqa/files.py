"""Files that appear whole or not at all, their checksums, and arrays on disk without pickle."""

import contextlib
import hashlib
import json
import math
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ugcvqa.errors import StoreError
from ugcvqa.leftovers import sweep, temporary_path

_METADATA = "ugcvqa"  # one metadata key: safetensors writes several in random order, and bytes must repeat
_HASH_BLOCK = 1 << 20
_LONGEST_HEADER = 1 << 23


def write_atomic(path: Path, data: bytes, scratch: Path | None = None) -> None:
    """Writes a file so that it exists completely or not at all, also after a crash or with several writers.

    Args:
        path: the file; its folder is made if needed.
        data: its content.
        scratch: folder on the same disk for the unfinished file; beside `path` by default.

    Raises:
        StoreError: if it cannot be written (full disk, no permission, a file where a folder should be).
    """
    with written_atomically(path, scratch) as file:
        file.write(data)


def write_json(path: Path, values: Any) -> None:  # noqa: ANN401 (plain values)
    """Writes plain values as JSON, as `write_atomic` does; NaN and infinity, which JSON lacks, become null.

    Raises:
        StoreError: if it cannot be written.
    """
    write_atomic(path, (json.dumps(_finite(values), indent=2, allow_nan=False) + "\n").encode())


def _finite(values: Any) -> Any:  # noqa: ANN401
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


@contextlib.contextmanager
def written_atomically(path: Path, scratch: Path | None = None) -> Iterator[BinaryIO]:
    """Opens a file to be written piece by piece; it appears whole when the block ends without an error, or not at all.

    Args:
        path: the file; its folder is made if needed.
        scratch: folder on the same disk for the unfinished file; beside `path` by default.

    Raises:
        StoreError: if it cannot be written (full disk, no permission, a file where a folder should be).
    """
    temporary = temporary_path(scratch or path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _fsync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error


def check_writable(folder: Path) -> None:
    """Tries to write into a folder, so that a long job does not fail at its end, and removes what killed jobs left.

    The folder is made if needed.

    Raises:
        StoreError: if it cannot be written.
    """
    trial = temporary_path(folder)
    write_atomic(trial, b"")
    trial.unlink(missing_ok=True)
    sweep(folder)


def _fsync_folder(folder: Path) -> None:
    """Makes a new name survive a power cut, where the file system supports that for folders."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@contextlib.contextmanager
def locked(path: Path, guarded: Path | None = None) -> Iterator[None]:
    """Holds a lock file, which is gone afterwards; the system frees it when this process dies, however that happens.

    Processes that this one forks or starts do not hold it, so that none of them can outlive it with the lock. The file
    names the holder, for people.

    Args:
        path: the lock file; its folder is made if needed.
        guarded: what the lock is for, named in messages; its folder if left out.

    Raises:
        StoreError: if another process holds it, or it cannot be written.
    """
    try:
        file = _held(path, guarded or path.parent)
    except OSError as error:
        raise StoreError(f"{guarded or path}: cannot be locked: {error.strerror or error}") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _held(path: Path, guarded: Path) -> int:
    """Descriptor of a lock file that this process holds."""
    import fcntl  # POSIX only: without it everything works except resuming trainings and outputs

    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                os.ftruncate(file, 0)
                os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return file
        except BlockingIOError as error:
            holder = os.read(file, 200).decode(errors="replace")
            os.close(file)
            raise StoreError(f"{guarded}: is in use by {holder or 'another process'}") from error
        os.close(file)  # its last holder had removed it meanwhile


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex.

    Raises:
        OSError: if the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def arrays_to_bytes(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> bytes:
    """Serialises arrays and JSON metadata as safetensors; the same input gives the same bytes."""
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(contiguous, metadata={_METADATA: json.dumps(metadata, sort_keys=True)})


def arrays_from_file(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what `arrays_to_bytes` made.

    Returns:
        The arrays by name, and the metadata.

    Raises:
        StoreError: if the file is missing, damaged or was written by something else.
    """
    with _opened(path) as (file, metadata):
        return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 (not a dict)


def metadata_from_file(path: Path) -> dict[str, Any]:
    """Reads the metadata of what `arrays_to_bytes` made, without its arrays.

    Raises:
        StoreError: as `arrays_from_file`.
    """
    with _opened(path) as (_, metadata):
        return metadata


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    from safetensors import SafetensorError, safe_open

    try:
        _check_header(path)
        with safe_open(path, framework="np") as file:
            metadata = json.loads((file.metadata() or {})[_METADATA])
            if not isinstance(metadata, dict):
                raise ValueError("its metadata is not a mapping")
            yield file, metadata
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise StoreError(f"{path}: cannot be read as a file of ours ({error_reason(error)}); make it again") from error


def _check_header(path: Path) -> None:
    """Checks what a file claims to hold before anything reads that much.

    Raises:
        ValueError: if it is not a file, or its header is too long.
    """
    if not path.is_file():
        raise ValueError("it is not a file" if path.exists() else "there is no such file")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"a header of {length} bytes")


def is_arrays_file(path: Path) -> bool:
    """Whether a file is there and whole, by its header and length; its numbers are not read."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="np"):
            return True
    except (OSError, SafetensorError):
        return False


def error_reason(error: BaseException) -> str:
    """Kind and first line of an error, for one-line messages."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
