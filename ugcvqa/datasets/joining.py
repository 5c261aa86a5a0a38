"""Joins tables by the names of videos: one video however it is spelled, and never a guess."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.datasets.names import loose, path_parts, video_name
from ugcvqa.errors import LabelError

logger = logging.getLogger(__name__)

Parts = tuple[str, ...]

_SHOWN = 3  # ids named in a message


def matched_rows(names: Sequence[str], ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Finds the rows of a table that belong to ids.

    Names join when they are equal, or when one is the end of the other behind a slash: `konvid_1k/123` joins `123`,
    but not `youtube_ugc/123`. Behind the same data set the rest may end alike: `mine/clips/a` joins `mine/a`. The
    rest joins ignoring case, and with %20 for a space. A row that equals one id is not given to another.

    Args:
        names: M ids of the rows, each video once.
        ids: N ids in the wanted order.

    Returns:
        (N,) row numbers; -1 where the table lacks the video.

    Raises:
        LabelError: if an id is asked for twice or fits several rows, or a row fits several ids.
    """
    wanted = [path_parts(video_name(one)) for one in ids]
    if again := repeated(wanted):
        raise LabelError(f"feature table: {shown_ids(['/'.join(one) for one in again])} asked for more than once")
    known = [path_parts(video_name(name)) for name in names]
    rows = np.full(len(ids), -1, dtype=np.int64)
    for spelling in (tuple, _loosened):
        for rule in (_Index.equal, _Index.ending_alike):
            taken = set(rows.tolist())
            index = _Index({row: spelling(name) for row, name in enumerate(known) if row not in taken})
            found = {number: rule(index, spelling(wanted[number])) for number in np.flatnonzero(rows < 0).tolist()}
            _give(rows, found, names, ids)
    return rows


def _loosened(parts: Parts) -> Parts:
    return tuple(map(loose, parts))


class _Index:
    """Rows of a table by their names and by the ends of their names."""

    def __init__(self, names: Mapping[int, Parts]) -> None:
        self.names = names
        self.whole: dict[Parts, list[int]] = {}
        self.ends: dict[Parts, list[int]] = {}
        for row, name in names.items():
            self.whole.setdefault(name, []).append(row)
            for start in range(1, len(name)):
                self.ends.setdefault(name[start:], []).append(row)

    def equal(self, wanted: Parts) -> list[int]:
        """Rows of this name."""
        return self.whole.get(wanted, [])

    def ending_alike(self, wanted: Parts) -> list[int]:
        """Rows whose name is an end of the wanted one, the longest such, and rows that have it as an end."""
        source = wanted[:1]
        shorter = self._first(wanted[start:] for start in range(1, len(wanted)))
        shorter = shorter or self._first(source + wanted[start:] for start in range(2, len(wanted)))
        longer = self.ends.get(wanted, [])
        if not shorter and not longer:
            longer = [row for row in self.ends.get(wanted[1:], []) if self.names[row][:1] == source]
        return shorter + longer

    def _first(self, candidates: Iterable[Parts]) -> list[int]:
        return next((self.whole[one] for one in candidates if one in self.whole), [])


def _give(
    rows: npt.NDArray[np.int64], found: Mapping[int, Sequence[int]], names: Sequence[str], ids: Sequence[str]
) -> None:
    """Records the row that was found for each id: exactly one, not shared with another id."""
    holders: dict[int, str] = {}
    for number, several in found.items():
        if len(several) > 1:
            shown = ", ".join(names[row] for row in several[:_SHOWN])
            raise LabelError(f"feature table: {ids[number]} fits {len(several)} rows ({shown})")
        for row in several:
            if row in holders:
                raise LabelError(f"feature table: {names[row]} fits several ids ({holders[row]}, {ids[number]})")
            rows[number], holders[row] = row, ids[number]


def once(path: Path, ids: Sequence[str], values: npt.NDArray[Any], lines: Sequence[int] | None = None) -> list[int]:
    """Takes each video of a table once, and reports rows that repeat one.

    Args:
        path: the file, for messages.
        ids: N ids in any spelling.
        values: (N, D) values of the rows.
        lines: line of each row in a text file.

    Returns:
        Numbers of the rows to use.

    Raises:
        LabelError: if two rows of one video hold different values.
    """
    first: dict[str, int] = {}
    kept, pairs = [], []
    for row, name in enumerate(ids):
        earlier = first.setdefault(video_name(name) or name, row)
        if earlier == row:
            kept.append(row)
            continue
        numbers = (earlier + 1, row + 1) if lines is None else (lines[earlier], lines[row])
        pair = f"{'rows' if lines is None else 'lines'} {numbers[0]} and {numbers[1]}: {ids[earlier]} and {name}"
        if not np.array_equal(values[earlier], values[row], equal_nan=True):
            shown = f", {values[earlier, 0]:g} and {values[row, 0]:g}" if values.shape[1] == 1 else ""
            raise LabelError(f"{path}, {pair} are one video with different values{shown}; keep the right row")
        pairs.append(pair)
    if pairs:
        more = "; .." if len(pairs) > _SHOWN else ""
        logger.warning("%s: %d rows repeat a video (%s%s)", path, len(pairs), "; ".join(pairs[:_SHOWN]), more)
    return kept


def repeated(items: Iterable[Any]) -> list[Any]:
    """Items that occur more than once, each once."""
    return [item for item, count in Counter(items).items() if count > 1]


def shown_ids(ids: Sequence[str]) -> str:
    """Number and first few of ids, for messages."""
    more = ", .." if len(ids) > _SHOWN else ""
    return f"{len(ids)} ids ({', '.join(ids[:_SHOWN])}{more})"
