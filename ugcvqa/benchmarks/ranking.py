"""Which lines of a benchmark were measured on the same videos: only those are ranked and tested against each other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ugcvqa.benchmarks.problem import MappingName
from ugcvqa.benchmarks.results import Results, SplitResult, line_title
from ugcvqa.benchmarks.run import KEPT
from ugcvqa.evaluation.published import METRICS, published_figure

Lines = Mapping[str, list[SplitResult]]
"""Title -> results by rising split number."""


@dataclass(frozen=True, eq=False)
class Group:
    """Lines of a table that stand together.

    Attributes:
        lines: the lines in order.
        title: what sets them apart; empty for the lines that the benchmark is about.
        is_ranked: whether all of them, two or more, are of the same videos in the same splits, after the same map.
        reason: why they are not ranked, or not with the others; empty where there is nothing to say.
    """

    lines: Lines
    title: str = ""
    is_ranked: bool = False
    reason: str = ""

    @property
    def compared(self) -> Lines:
        """The lines that may be tested against each other: of several splits each, if the group is ranked."""
        return {title: results for title, results in self.lines.items() if len(results) > 1}


def plain_mapping(mode: str) -> MappingName:
    """On which part the logistic of ranked lines is fitted, by the protocol of a mode."""
    return "test" if mode == "protocol" else "train"


def groups_of(results: Results, data: str, mode: str, published_name: str) -> list[Group]:
    """Sorts the results of one data set into the groups of its table, those to be ranked first.

    Source: own. The best of a column means something only where all its figures are of the same test videos: a median
    over test parts differs from one figure of all videos even for the same predictions.

    A row has one line. Predictions that were not trained here are measured on the same test parts as the others, after
    a logistic that is fitted where theirs is. Their figures on all videos at once are shown separately, where
    published ones of that kind are known; so is, in mode `cross`, every row after other logistic maps.
    """
    plain: dict[str, list[SplitResult]] = {}
    other: dict[str, list[SplitResult]] = {}
    whole: dict[str, list[SplitResult]] = {}
    for result in results:
        if result.data != data:
            continue
        title = line_title(result.row, result.head)
        mapped = title + {"none": ", no fit", "test": ", fitted to the test set"}.get(result.mapping, "")
        if not result.split:
            if any(published_figure(published_name, result.row, metric).is_known for metric in METRICS):
                whole.setdefault(title if result.mapping == "test" else mapped, []).append(result)
        elif result.mapping != plain_mapping(mode):
            other.setdefault(mapped, []).append(result)
        elif mode != "single_split" or result.counts.get(KEPT):
            plain.setdefault(title, []).append(result)
    return [
        *(_of_kept_splits(plain) if mode == "single_split" else _of_same_parts(plain)),
        *([Group(other, "other maps", reason="the predictions above after other maps")] if other else []),
        *_on_all_videos(whole),
    ]


def _of_same_parts(lines: Lines) -> Iterator[Group]:
    """Lines that agree in splits and test videos, the largest group first."""
    groups: dict[tuple[tuple[int, tuple[str, ...]], ...], dict[str, list[SplitResult]]] = {}
    for title, results in lines.items():
        ordered = sorted(results, key=lambda result: result.split)
        groups.setdefault(tuple((result.split, result.video_ids) for result in ordered), {})[title] = ordered
    for number, (parts, members) in enumerate(sorted(groups.items(), key=lambda item: -len(item[1]))):
        is_main = number == 0
        n_videos = len({video_id for _, video_ids in parts for video_id in video_ids})
        yield Group(
            members,
            "" if is_main else f"other test parts ({number})",
            len(members) > 1,
            "" if is_main else f"on {len(parts)} test parts of {n_videos} videos, not those of the lines above",
        )


def _of_kept_splits(lines: Lines) -> Iterator[Group]:
    """Each line is of the one split that it keeps; only lines of the same split can be ranked."""
    splits = {(result.split, result.video_ids) for results in lines.values() for result in results}
    if lines:
        reason = "" if len(splits) == 1 else "each line is of the split that it keeps, so they are of different videos"
        yield Group(lines, "", len(splits) == 1 and len(lines) > 1, reason)


def _on_all_videos(lines: Lines) -> Iterator[Group]:
    if lines:
        n_videos = next(iter(lines.values()))[0].n_test
        yield Group(
            lines,
            f"all {n_videos} videos at once",
            reason="predictions on all videos at once, as published; `no fit`: as they are, else after a logistic "
            "fitted to the same videos",
        )
