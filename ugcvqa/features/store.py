"""Feature store: one file per (video content, feature family with its settings, code version and weights).

Layout below the store's folder::

    nss-1f0c.../spec.json                 what the features of this folder are
    nss-1f0c.../objects/ab/abcd....safetensors   features, named by the SHA-256 of the video file
    nss-1f0c.../names/12/1234....json     video id -> content, so that features can be read by name
    scratch/                              files that are being written
    identities/9f/9f3a....json            path, size and times of a file -> its SHA-256, to avoid a second hash

Nothing is ever changed in place: a file appears complete under its final name or not at all, so several
writers, several machines on a shared file system and `kill -9` are harmless. Features of another video, other
settings, another code version or other weights have another name, so a stale one cannot be read.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ugcvqa.datasets.tables import FeatureTable
from ugcvqa.errors import NoFeaturesError, StoreError, VideoError
from ugcvqa.files import (
    arrays_from_file,
    arrays_to_bytes,
    check_writable,
    error_reason,
    file_sha256,
    is_arrays_file,
    metadata_from_file,
    write_atomic,
)
from ugcvqa.leftovers import sweep

DEVICES = ("cpu", "cuda")

READING = 3
"""Version of the reader of videos; raised whenever some files give other frames, so that no stored feature of theirs is
used again. A model may still be used: the numbers of its features mean the same."""


@dataclass(frozen=True)
class FeatureSpec:
    """What a feature is made of; two features agree only if every field does.

    Attributes:
        family: name of the feature family, such as `nss`.
        version: code version of the family; raised whenever its numbers change.
        settings: plain values that change the numbers.
        weights: SHA-256 of the network weights, empty where there are none.
        source: `videos` for features we extracted, else the SHA-256 of the file they were imported from.
    """

    family: str
    version: int
    settings: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    weights: str = ""
    source: str = "videos"

    @property
    def key(self) -> str:
        """Folder name in the store: the family and a hash of all fields, and of how videos are read."""
        return self.key_on("cpu")

    def key_on(self, device: str) -> str:
        """The same for a kind of device, which counts where numbers depend on it by more than rounding of float32."""
        formats = [value for name, value in self.settings.items() if name.endswith("precision")]
        kind = f"{device} " if device != "cpu" and not {"float32", "float64"}.issuperset(formats) else ""
        reading = f"reading {READING} " if self.source == "videos" else ""
        return f"{self.family}-{hashlib.sha256(f'{kind}{reading}{self.to_json()}'.encode()).hexdigest()[:16]}"

    def to_json(self) -> str:
        """Canonical JSON of all fields (sorted keys)."""
        return json.dumps(asdict(self), sort_keys=True)


def table_of_folder(folder: Path) -> FeatureTable:
    """Reads the table of one family's folder inside a store, such as `store/nss-1f0c...`.

    Raises:
        StoreError: if the folder is not one of a store, or holds nothing by name.
    """
    record = _read_json(folder / "spec.json")
    if record is None:
        raise StoreError(f"{folder}: no spec.json; give a feature file, or a family's folder inside a store")
    spec = FeatureSpec(**record)
    kind = next((kind for kind in DEVICES if spec.key_on(kind) == folder.name), "cpu")
    return FeatureStore(folder.parent, kind).table(spec)


def store_of(root: Path, spec: FeatureSpec) -> "FeatureStore":
    """The store below a folder that holds these features, whichever kind of device computed them, the CPU first."""
    kinds = (kind for kind in DEVICES if (root / spec.key_on(kind)).is_dir())
    return FeatureStore(root, next(kinds, "cpu"))


class FeatureStore:
    """Features by video content and by name, below one folder.

    Args:
        root: the folder.
        device: kind of device, `cpu` or `cuda`, that computes what is kept here; whoever computes for a store sets it.
            Float32 features are the same for both within rounding; others are kept apart.
    """

    def __init__(self, root: Path, device: str = "cpu") -> None:
        self.root, self.device = root, device

    def content(self, path: Path) -> str:
        """Content key of a video file: the SHA-256 of its bytes.

        The hash is remembered with the file's size, inode and change times, so that a second run over a large
        collection does not read every file again. A changed file has other times and is hashed again.

        Raises:
            VideoError: if the file cannot be read.
        """
        try:
            return self._content(path)
        except OSError as error:
            raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error

    def _content(self, path: Path) -> str:
        status = path.stat()
        if not path.is_file():
            raise VideoError(f"{path}: is not a file")
        resolved = str(path.resolve())
        facts = [resolved, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        record_path = _fan_out(self.root / "identities", _text_key(resolved), ".json")
        with contextlib.suppress(StoreError):  # a damaged record is as good as none
            record = _read_json(record_path)
            if record is not None and record.get("file") == facts:
                return str(record["sha256"])
        digest = file_sha256(path)
        self._write(record_path, json.dumps({"file": facts, "sha256": digest}).encode())
        return digest

    def has(self, spec: FeatureSpec, content: str) -> bool:
        """Whether features of this content exist; a damaged file counts as absent and is made again."""
        return is_arrays_file(self.path(spec, content))

    def path(self, spec: FeatureSpec, content: str) -> Path:
        """File that holds, or would hold, the arrays of one video."""
        return _fan_out(self._folder(spec) / "objects", content, ".safetensors")

    def put(self, spec: FeatureSpec, content: str, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        """Stores the arrays of one video.

        Args:
            spec: what the features are.
            content: content key of the video.
            arrays: name -> array; `video` is the pooled vector (D,) float64.
            info: plain facts about the video, kept for the record.

        Raises:
            StoreError: if the store cannot be written.
        """
        spec_path = self._folder(spec) / "spec.json"
        if not spec_path.is_file():
            self._write(spec_path, spec.to_json().encode())
        metadata = {"spec": json.loads(spec.to_json()), "content": content, "info": dict(info)}
        self._write(self.path(spec, content), arrays_to_bytes(arrays, metadata))

    def get(self, spec: FeatureSpec, content: str) -> dict[str, np.ndarray]:
        """Reads the arrays of one video.

        Raises:
            StoreError: if they are missing, damaged or not what the name says.
        """
        path = self.path(spec, content)
        if not path.is_file():
            raise StoreError(f"{path}: no {spec.family} features of this video; run `ugcvqa extract` first")
        arrays, metadata = arrays_from_file(path)
        if metadata.get("content") != content or metadata.get("spec") != json.loads(spec.to_json()):
            raise StoreError(f"{path}: holds features of something else; delete the file and extract again")
        return arrays

    def info(self, spec: FeatureSpec, content: str) -> dict[str, Any]:
        """Reads the facts that were stored with the arrays of one video.

        Raises:
            StoreError: if they are missing or damaged.
        """
        info = metadata_from_file(self.path(spec, content)).get("info")
        return info if isinstance(info, dict) else {}

    def put_name(self, spec: FeatureSpec, video_id: str, content: str) -> None:
        """Records under which id a content was last seen."""
        path = self._name(spec, video_id)
        record = {"video_id": video_id, "content": content}
        if _read_json(path) != record:
            self._write(path, json.dumps(record).encode())

    def drop_name(self, spec: FeatureSpec, video_id: str) -> None:
        """Forgets what was recorded under an id, whose file cannot be read any more."""
        self._name(spec, video_id).unlink(missing_ok=True)

    def prepare(self) -> None:
        """Tries to write, so that a long job does not fail at its end, and removes what killed jobs left unfinished.

        Raises:
            StoreError: if the folder cannot be written.
        """
        check_writable(self.root / "scratch")
        sweep(self.root)

    def _write(self, path: Path, data: bytes) -> None:
        write_atomic(path, data, self.root / "scratch")

    def names(self, spec: FeatureSpec) -> Iterator[tuple[str, str]]:
        """Yields (video id, content key) of everything recorded by name, in the order of the ids."""
        records = [_read_json(path) for path in (self._folder(spec) / "names").glob("*/*.json")]
        found = {str(record["video_id"]): str(record["content"]) for record in records if record}
        yield from sorted(found.items())

    def table(self, spec: FeatureSpec) -> FeatureTable:
        """Video vectors of everything recorded by name, in the order of the ids.

        Raises:
            StoreError: if nothing is recorded, or a file cannot be read.
        """
        names = list(self.names(spec))
        if not names:
            raise NoFeaturesError(f"{self._folder(spec)}: holds no features by name; run `ugcvqa extract` first")
        vectors = [self.get(spec, content)["video"] for _, content in names]
        return FeatureTable(tuple(video_id for video_id, _ in names), np.stack(vectors), spec.to_json())

    def _folder(self, spec: FeatureSpec) -> Path:
        return self.root / spec.key_on(self.device)

    def _name(self, spec: FeatureSpec, video_id: str) -> Path:
        return _fan_out(self._folder(spec) / "names", _text_key(video_id), ".json")


def _text_key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _fan_out(folder: Path, key: str, suffix: str) -> Path:
    """Spreads files over 256 sub-folders, so that a million of them stay manageable."""
    return folder / key[:2] / f"{key}{suffix}"


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read; delete the file and run again ({error_reason(error)})") from error
    return record if isinstance(record, dict) else None
