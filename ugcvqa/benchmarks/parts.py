"""Finished parts of a benchmark on disk: one file per row, head, mapping and split, named by what it depends on.

A killed run resumes from the parts that it left, and a run with more rows reuses those of the others. The name holds
a hash of the labels, features, split, settings and code, so a part that any of these changed cannot be found.
"""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ugcvqa.benchmarks.results import SplitResult
from ugcvqa.errors import StoreError
from ugcvqa.files import arrays_from_file, arrays_to_bytes, write_atomic

_ARRAYS = ("mos", "pred", "pred_mapped", "std", "low", "high")


class Parts:
    """The parts below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: Path, facts: dict[str, Any]) -> SplitResult | None:
        """Reads the part of these facts, at its `path`; None if none can be used, so that it is computed again."""
        if not path.is_file():
            return None
        try:
            arrays, metadata = arrays_from_file(path)
        except StoreError:  # damaged: computed again
            return None
        if metadata.get("facts") != facts:
            return None
        values: dict[str, Any] = {**metadata["result"], **arrays}
        return SplitResult(**{**values, "video_ids": tuple(values["video_ids"])})

    def write(self, path: Path, facts: dict[str, Any], result: SplitResult) -> None:
        """Writes a part, which appears complete or not at all.

        Raises:
            StoreError: if it cannot be written.
        """
        values = {name: value for name, value in asdict(result).items() if name not in _ARRAYS}
        arrays = {name: getattr(result, name) for name in _ARRAYS if getattr(result, name) is not None}
        write_atomic(path, arrays_to_bytes(arrays, {"facts": facts, "result": values}), self.root)

    def path(self, data: str, entry: str, split: int, mapping: str, facts: dict[str, Any]) -> Path:
        """File of a part; `data` and `entry` are for the reader, the facts decide."""
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
        folder = re.sub(r"[^\w+.-]", "_", entry).lstrip(".") or "_"
        return self.root / data / folder / f"{split:03d}-{mapping}-{digest}.safetensors"
