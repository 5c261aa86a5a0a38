"""What a benchmark is about: labels and features of a data set, the lines of its table, the rules of a mode."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.benchmarks.results import line_title
from ugcvqa.datasets.names import places_of
from ugcvqa.features.rows import Part
from ugcvqa.settings.heads import GPSettings, SparseGPSettings, SVRSettings
from ugcvqa.settings.training import GRUSettings

if TYPE_CHECKING:  # torch takes seconds to import, and workers need none
    from ugcvqa.samples.sequences import SequenceTable

Rows = npt.NDArray[np.int64]
MappingName = Literal["test", "train", "none"]


@dataclass(frozen=True)
class Entry:
    """One line of the benchmark's table.

    Attributes:
        row: feature row, or the name of a table or predictions of your own.
        head: `svr`, `gp`, `sparse_gp`, `gru`; `none` for predictions that are not trained here.
    """

    row: str
    head: str = "svr"

    def __str__(self) -> str:
        return line_title(self.row, self.head)


@dataclass(frozen=True, eq=False)
class Problem:
    """Labels and features of one data set.

    Attributes:
        data: name of the data set.
        ids: N video ids in the order that the splits shuffle.
        mos: (N,) subjective scores.
        blocks: name -> (N, D) columns; may hold NaN and infinity.
        layouts: row -> its columns; `Part.family` is the name of a block.
        predictions: row -> (N,) finished predictions.
        checksums: block, or entry of a head that takes sequences -> SHA-256 of its values.
        sequences: row -> frame features of the N videos, for heads that take sequences.
    """

    data: str
    ids: tuple[str, ...]
    mos: Array
    blocks: Mapping[str, npt.NDArray[Any]]
    layouts: Mapping[str, tuple[Part, ...]]
    predictions: Mapping[str, Array] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    sequences: Mapping[str, "SequenceTable"] = field(default_factory=dict)

    @cached_property
    def labels_sha256(self) -> str:
        """Checksum of the ids and MOS in order."""
        return texts_sha256([*self.ids, *(repr(float(value)) for value in self.mos)])

    def rows(self, ids: Iterable[str]) -> Rows:
        """Row numbers of videos by their ids."""
        return np.array(places_of(ids, self.ids), dtype=np.int64)


def texts_sha256(texts: Iterable[str]) -> str:
    """Checksum of texts in their order, as hex."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


@dataclass(frozen=True)
class Rules:
    """What differs between the benchmark's modes, and the settings of the heads.

    Attributes:
        nonfinite: what NaN and infinite features become: `zero`; or `mean`, the column's mean over the finite values,
            taken separately for each part of the split.
        mappings: where the logistic before PLCC and RMSE is fitted; each gives a separate result.
    """

    nonfinite: Literal["zero", "mean"] = "zero"
    mappings: tuple[MappingName, ...] = ("test",)
    svr: SVRSettings = field(default_factory=SVRSettings)
    gp: GPSettings = field(default_factory=GPSettings)
    sparse_gp: SparseGPSettings = field(default_factory=SparseGPSettings)
    gru: GRUSettings = field(default_factory=GRUSettings)

    def of_process(self, entry: Entry) -> GPSettings | SparseGPSettings:
        """Settings of an entry whose head is a Gaussian process."""
        return self.sparse_gp if entry.head == "sparse_gp" else self.gp

    def of(self, entry: Entry) -> SVRSettings | GPSettings | SparseGPSettings | GRUSettings:
        """Settings of an entry."""
        if entry.head == "gru":
            return self.gru
        return self.svr if entry.head == "svr" else self.of_process(entry)
