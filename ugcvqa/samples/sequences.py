"""Frame features of many videos in one tensor without padding, from published files or from the store."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ugcvqa.datasets.tables import FeatureTable, align
from ugcvqa.errors import LabelError
from ugcvqa.features.provenance import Provenance, check_stated, parts_of, provenance_of, stated_maker
from ugcvqa.files import error_reason
from ugcvqa.samples.batches import Batch, Draw

PRECISION = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Precisions of frame features by name."""


@dataclass(frozen=True, eq=False)
class SequenceTable:
    """Frame features of N videos, laid end to end.

    Attributes:
        ids: N different video ids.
        lengths: frames of each video, at least 1.
        frames: (sum of lengths, D) float32, float16 or bfloat16.
        made_by: who made them, as `tables.FeatureTable` says it.
    """

    ids: tuple[str, ...]
    lengths: tuple[int, ...]
    frames: Tensor
    made_by: str = ""

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.lengths) or min(self.lengths, default=0) < 1:
            raise LabelError(f"{len(self.ids)} videos with {len(self.lengths)} lengths: each needs 1 frame or more")
        if self.frames.ndim != 2 or len(self.frames) != sum(self.lengths):
            raise LabelError(
                f"frame features of shape {tuple(self.frames.shape)} for {sum(self.lengths)} frames: (frames, "
                "features) is needed"
            )

    @property
    def dim(self) -> int:
        """Length D of a frame's features."""
        return int(self.frames.shape[1])

    def sequence(self, row: int) -> Tensor:
        """Frame features (T, D) of one video, a view."""
        start = int(self._starts[row])
        return self.frames[start : start + self.lengths[row]]

    def means(self) -> npt.NDArray[np.float64]:
        """Mean over the frames of each video (N, D)."""
        return np.stack([self.sequence(row).double().mean(0).numpy() for row in range(len(self.ids))])

    def chosen(self, rows: Sequence[int]) -> "SequenceTable":
        """The table of some videos, in the order given."""
        frames = torch.cat([self.sequence(row) for row in rows])
        lengths = tuple(self.lengths[row] for row in rows)
        return SequenceTable(tuple(self.ids[row] for row in rows), lengths, frames, self.made_by)

    def to(self, device: torch.device) -> "SequenceTable":
        """The same table on another device."""
        return replace(self, frames=self.frames.to(device))

    def aligned(self, ids: Sequence[str]) -> list[int]:
        """Finds the row of each id, by the rules of `tables.align`.

        Raises:
            LabelError: if an id is missing or fits several rows.
        """
        rows = np.arange(len(self.ids), dtype=np.float64)[:, None]
        return [int(row) for row in align(FeatureTable(self.ids, rows), ids, allow_extra=True)[:, 0]]

    @property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.lengths)])


def pack(ids: Sequence[str], sequences: Iterable[npt.NDArray[Any]], dtype: torch.dtype) -> SequenceTable:
    """Lays the frame features (T, D) of videos end to end, in one precision.

    Raises:
        LabelError: if a sequence is not such an array, has another D than the first, or holds values that are not
            finite in that precision.
    """
    parts: list[Tensor] = []
    for video_id, sequence in zip(ids, sequences, strict=True):
        width = parts[0].shape[1] if parts else sequence.shape[-1]
        if sequence.ndim != 2 or not len(sequence) or sequence.shape[1] != width:
            raise LabelError(f"{video_id}: frame features of shape {sequence.shape}; (frames, {width}) is needed")
        part = torch.from_numpy(np.ascontiguousarray(sequence)).to(dtype)
        if not torch.isfinite(part).all():
            raise LabelError(f"{video_id}: frame features are not finite in {dtype}; leave it out, or use float32")
        parts.append(part)
    lengths = tuple(len(part) for part in parts)
    if not parts:
        raise LabelError("no video with frame features")
    frames = torch.empty(sum(lengths), parts[0].shape[1], dtype=dtype)
    start = 0
    for place, length in enumerate(lengths):
        frames[start : start + length] = parts[place]
        parts[place] = frames[:0]  # gives the memory back, so that the features are held once
        start += length
    return SequenceTable(tuple(ids), lengths, frames)


def read_sequences(path: Path, dtype: torch.dtype) -> SequenceTable:
    """Reads frame features from an .npz file.

    Args:
        path: holds `videos` (N ids), `counts` (N frame counts) and `feats` (sum of counts, D), laid end to end, and
            where known `made_by`.
        dtype: precision to hold them in.

    Raises:
        LabelError: if the file is of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            ids, counts, values = (arrays[name] for name in ("videos", "counts", "feats"))
            made_by = str(arrays["made_by"]) if "made_by" in arrays.files else ""
    except Exception as error:  # damaged files raise many kinds
        raise LabelError(
            f"{path}: cannot be read as frame features, an .npz file with videos, counts and feats "
            f"({error_reason(error)})"
        ) from error
    if len(ids) != len(counts) or values.ndim != 2 or counts.sum() != len(values):
        raise LabelError(
            f"{path}: {len(ids)} videos, {len(counts)} counts with a sum of {counts.sum()}, feats of shape "
            f"{values.shape}: they do not belong together"
        )
    starts = np.cumsum(counts) - counts
    sequences = (values[start : start + count] for start, count in zip(starts, counts, strict=True))
    return replace(pack([str(video_id) for video_id in ids], sequences, dtype), made_by=made_by)


def sequence_provenance(
    row: str, table: SequenceTable, made_by: str | Mapping[str, str] | None, where: str
) -> Provenance:
    """Finds out who made frame features, by the mean over the frames of each video.

    Args:
        row: the row that they belong to, or a name of your own.
        table: the features.
        made_by: who made them, as the user states it.
        where: the file, for messages.

    Raises:
        LabelError: as `provenance.provenance_of`.
    """
    check_stated(made_by, row)
    part, *_ = parts_of(row)
    maker, spec = provenance_of(part, table.ids, table.means(), table.made_by, stated_maker(made_by, part), where)
    return Provenance({part: maker}, {part: spec} if spec else {})


class SequenceSource(Dataset[int]):
    """Serves batches of sequences from memory, or from the memory of a GPU.

    Args:
        table: the features; one row per video of the data set.
        mos: (N,) labels.
        times: gives the times (T,) of a row's frames in seconds, once for each row; None leaves them out of batches.
    """

    is_in_memory = True

    def __init__(
        self,
        table: SequenceTable,
        mos: npt.NDArray[np.float64],
        times: Callable[[int], npt.NDArray[np.float64]] | None = None,
    ) -> None:
        self.table, self.mos = table, torch.from_numpy(mos)
        self._times, self._known = times, dict[int, npt.NDArray[np.float64]]()

    def place(self, device: torch.device) -> None:
        """Moves the features to a GPU if they fill less than half of its free memory; steps then copy nothing."""
        if device.type != "cuda":
            return
        free, _ = torch.cuda.mem_get_info(device)
        if self.table.frames.nbytes < free // 2:
            self.table = self.table.to(device)

    def __len__(self) -> int:
        return len(self.table.ids)

    def __getitem__(self, draw: Draw) -> int:
        return draw.row

    def collate(self, rows: Sequence[int]) -> Batch:
        """Gathers the sequences of a batch, end to end, without padding."""
        frames = torch.cat([self.table.sequence(row) for row in rows])
        index = torch.tensor(list(rows))
        lengths, ids = zip(*((self.table.lengths[row], self.table.ids[row]) for row in rows), strict=True)
        return Batch(index, self.mos[index], frames, lengths, ids, self._times_of(rows))

    def _times_of(self, rows: Sequence[int]) -> Tensor | None:
        if self._times is None:
            return None
        self._known |= {row: self._times(row) for row in rows if row not in self._known}
        return torch.from_numpy(np.concatenate([self._known[row] for row in rows]))
