"""Golden numbers: the extracts beside the tests first, the whole reference data where it is there."""

import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[2]
EXTRACTS = REPO / "tests" / "golden"


def shared_folder():
    """The folder of the whole reference data; None on a machine without it."""
    folder = Path(os.environ.get("UGCVQA_SHARED", REPO.parent / "shared"))
    return folder if (folder / "golden").is_dir() else None


class Golden(Mapping):
    """Arrays by name; the test that asks for one that only the absent reference data has is skipped."""

    def __init__(self, name):
        self.name = name
        files = [EXTRACTS / f"{name}.npz"]
        if folder := shared_folder():
            files.append(folder / "golden" / f"{name}.npz")
        self._archives = [np.load(file) for file in files if file.is_file()]
        self._read = {}

    def __getitem__(self, key) -> np.ndarray:
        if key not in self._read:
            archive = next((archive for archive in self._archives if key in archive.files), None)
            if archive is None and shared_folder() is None:
                pytest.skip(f"{key} of {self.name} is only in the whole reference data (set UGCVQA_SHARED)")
            if archive is None:
                raise KeyError(f"{self.name} has no {key}")
            self._read[key] = archive[key]
        return self._read[key]

    def __contains__(self, key) -> bool:
        return any(key in archive.files for archive in self._archives)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key for archive in self._archives for key in archive.files))

    def __len__(self) -> int:
        return len(list(iter(self)))


golden_arrays = functools.cache(Golden)
