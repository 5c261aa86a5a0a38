"""Everything that a result of a benchmark depends on, as plain values: by these a finished part is found again."""

import re
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ugcvqa.benchmarks.problem import Entry, MappingName, Problem, Rules, texts_sha256
from ugcvqa.evaluation.splits import Split
from ugcvqa.files import file_sha256

_SETTINGS = {"errors", "settings"}
"""Modules that decide no number: the settings of a result are among its dependencies."""

_LIBRARIES = ("numpy", "scipy", "scikit-learn")


def dependencies(
    problem: Problem, index: int, split: Split, entry: Entry, mapping: MappingName, rules: Rules
) -> dict[str, Any]:
    """Everything that one result depends on, as plain JSON values."""
    settings = asdict(rules.of(entry))
    for name in ("ladders", "pairs"):
        if settings.get(name):
            settings[name] = file_sha256(Path(settings[name]))
    return {
        "code": code_sha256(entry.head),
        "data": problem.data,
        "labels": problem.labels_sha256,
        "row": entry.row,
        "columns": _columns(problem, entry),
        "head": entry.head,
        "settings": {name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()},
        "nonfinite": rules.nonfinite,
        "mapping": mapping,
        "index": index,
        "split": texts_sha256([*split.train, "", *split.val, "", *split.outer_train, "", *split.test]),
    }


def _columns(problem: Problem, entry: Entry) -> list[list[Any]]:
    """What an entry is computed from, as checksums."""
    if entry.head == "gru":
        return [[problem.checksums[str(entry)]]]
    return [[problem.checksums[part.family], part.start, part.stop] for part in problem.layouts[entry.row]]


_FITTED_BY = {
    "svr": "heads.svr_rows",
    "gp": "heads.gp_fit",
    "sparse_gp": "heads.sparse_fit",
    "gru": "training.gru_splits",
}
"""Head -> module that fits it."""


@cache
def code_sha256(head: str) -> str:
    """Checksum of the code that decides a head's numbers, and of the versions of what it calls."""
    waiting = [_FITTED_BY[head], "evaluation.metrics", "evaluation.splits"]
    plumbing = ["benchmarks.protocol", "benchmarks.problem", *(["benchmarks.gru_entries"] if head == "gru" else [])]
    texts = {name: _source(name) for name in plumbing}
    while waiting:
        name = waiting.pop()
        if name not in texts and name.split(".")[0] not in _SETTINGS:
            texts[name] = _source(name)
            waiting += re.findall(r"^from ugcvqa\.([\w.]+) import", texts[name], re.MULTILINE)  # not types
    versions = [f"{name} {version(name)}" for name in _LIBRARIES + (("torch",) if head == "gru" else ())]
    return texts_sha256([*(part for item in sorted(texts.items()) for part in item), *versions])


def _source(module: str) -> str:
    package = Path(__file__).parent.parent
    return package.joinpath(module.replace(".", "/") + ".py").read_text(encoding="utf-8")
