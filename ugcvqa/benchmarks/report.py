"""The folder of a benchmark: tidy results, run record, tables and figures, each file complete or absent."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ugcvqa.benchmarks.labelled_features import Gathered
from ugcvqa.benchmarks.ranking import Group, groups_of, plain_mapping
from ugcvqa.benchmarks.results import Results, SplitResult, predictions_csv_gz, seconds_csv, splits_csv, splits_json
from ugcvqa.benchmarks.run import Splits
from ugcvqa.display import figures
from ugcvqa.display.benchmark_tables import ablation_table, interval_table, significance_table
from ugcvqa.display.main_table import RowGroup, main_table
from ugcvqa.display.text_tables import Table
from ugcvqa.evaluation.metrics import Metrics
from ugcvqa.evaluation.published import METRICS, data_title, row_title
from ugcvqa.evaluation.significance import compare_all
from ugcvqa.files import write_atomic, write_json

_N_YOUTUBE_UGC = 1380
_N_VIDEOS = {"konvid_1k": 1200, "youtube_ugc": 1039, "combined": 2239, "youtube_ugc_to_konvid_1k": 2239}
_OVERLAID = 3  # rows in one picture, as in the paper's Figure 3
_SUFFIXES = (".md", ".tex", ".csv")
_TABLES = ("intervals_*", "significance_*", "ablation_*")
_N_PUBLISHED = 100


def write_results(folder: Path, results: Results, splits: Splits, record: Mapping[str, Any]) -> None:
    """Writes the tidy files: every figure, prediction, time and split, and the run record.

    Raises:
        StoreError: if a file cannot be written.
    """
    write_atomic(folder / "splits.csv", splits_csv(results))
    write_atomic(folder / "predictions.csv.gz", predictions_csv_gz(results))
    write_atomic(folder / "seconds.csv", seconds_csv(results))
    write_atomic(folder / "splits.json", splits_json(splits))
    write_json(folder / "run.json", record)


def write_tables(
    folder: Path, data: Sequence[Gathered], results: Results, mode: str, style: Literal["compare", "paper"]
) -> dict[str, Table]:
    """Writes the tables as Markdown, CSV and LaTeX, and gives them by name; `table` is the paper's Table 1.

    In the style `paper`, LaTeX has no published figures, no footnotes, and a label.

    Raises:
        StoreError: if a file cannot be written.
    """
    tables = {"table": [_table(data, results, mode)]}
    for one in data:
        name = one.problem.data
        rows = _groups(one, results, mode)[0].compared
        if not rows:
            continue
        size = _split_size(one, rows)
        values = {metric: {row: _values(lines, metric) for row, lines in rows.items()} for metric in METRICS}
        tables[f"intervals_{name}"] = [interval_table(values[metric], metric, *size) for metric in METRICS]
        if len(rows) > 1:
            tables[f"significance_{name}"] = [
                significance_table(compare_all(values[metric], *size), metric, data_title(name)) for metric in METRICS
            ]
        if full := _full_row(one):
            ours = {metric: {row: v for row, v in values[metric].items() if "+" in row} for metric in METRICS}
            tables[f"ablation_{name}"] = [ablation_table(ours[m], full, m, *size, data_title(name)) for m in METRICS]
    kept = {f"{name}{suffix}" for name in tables for suffix in _SUFFIXES}
    _remove_others(folder, _TABLES, kept)
    for name, several in tables.items():
        write_atomic(folder / f"{name}.md", "\n".join(table.markdown() for table in several).encode())
        shown = [_table(data, results, mode, has_published=False)] if name == "table" and style == "paper" else several
        labels = [f"tab:{name}{'' if k == 0 else k + 1}" if style == "paper" else "" for k in range(len(shown))]
        tex = "\n".join(table.latex(label) for table, label in zip(shown, labels, strict=True))
        write_atomic(folder / f"{name}.tex", tex.encode())
        texts = [table.csv() for table in several]  # one header, then the lines of all
        write_atomic(folder / f"{name}.csv", "".join([texts[0], *(_lines(text) for text in texts[1:])]).encode())
    return {name: several[0] for name, several in tables.items()}


def write_figures(
    folder: Path, data: Sequence[Gathered], results: Results, mode: str, kinds: Sequence[str]
) -> dict[str, Path]:
    """Draws scatter plots of the median splits, overlays, the figures of all splits, and significance.

    Each is written as a PNG, and beside it in the given kinds: `pdf`, `svg`.

    Returns:
        The PNG files by name.

    Raises:
        StoreError: if a file cannot be written.
    """
    kept = {}
    for one in data:
        for name, draw in _pictures(one, _groups(one, results, mode)):
            for kind in dict.fromkeys(("png", *kinds)):
                kept[f"{name}.{kind}"] = folder / "figures" / f"{name}.{kind}"
                write_atomic(kept[f"{name}.{kind}"], draw(suffix=f".{kind}"))
    _remove_others(folder / "figures", ("*",), kept)
    return {path.stem: path for path in kept.values() if path.suffix == ".png"}


def _groups(one: Gathered, results: Results, mode: str) -> list[Group]:
    return groups_of(results, one.problem.data, mode, _published_name(one, mode))


def _remove_others(folder: Path, patterns: Sequence[str], kept: Container[str]) -> None:
    """Removes tables and figures of an earlier run with other rows, which nothing here belongs to."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            if path.name not in kept and path.suffix in (*_SUFFIXES, ".png", ".pdf", ".svg"):
                path.unlink(missing_ok=True)


def _split_size(one: Gathered, rows: Mapping[str, list[SplitResult]]) -> tuple[int, int]:
    """Numbers of training videos and of held-out videos of the same set; their ratio says how much splits share."""
    n_train = max(line.n_train for lines in rows.values() for line in lines)
    if one.n_train is not None:
        return n_train, one.n_train - n_train
    n_test = next(iter(rows.values()))[0].n_test
    return n_train or len(one.problem.ids) - n_test, n_test


def median_result(lines: Sequence[SplitResult]) -> SplitResult:
    """The result of median RMSE, by the rule of the paper's single-split program."""
    order = np.argsort([line.rmse for line in lines], kind="stable")
    return lines[int(order[len(lines) // 2])]


def _table(data: Sequence[Gathered], results: Results, mode: str, has_published: bool = True) -> Table:
    shown: list[RowGroup] = []
    notes = [note for one in data for note in one.footnotes]
    for one in data:
        name = _published_name(one, mode)
        for number, group in enumerate(_groups(one, results, mode)):
            trained = [line for several in group.lines.values() for line in several if line.n_train]
            shown.append(
                RowGroup(
                    name,
                    {row: {m: _values(several, m) for m in METRICS} for row, several in group.lines.items()},
                    group.title,
                    group.is_ranked,
                    frozenset(line.row for line in trained) if number == 0 else None,
                    (trained[0].n_train, trained[0].n_test) if trained else None,
                )
            )
            notes += _group_notes(shown[-1].name, group, mode)
    has_published = has_published and any(group.has_published for group in shown)
    return main_table(shown, (*notes, *_mode_notes(results, mode, has_published)), has_published)


def _group_notes(name: str, group: Group, mode: str) -> Iterator[str]:
    """Why lines are not ranked, what was not trained here, and what happened while fitting."""
    if group.reason:
        yield f"{name}: not ranked, {group.reason}"
    given = [row for row, several in group.lines.items() if several[0].head == "none" and several[0].split]
    if given:
        where = "test part" if plain_mapping(mode) == "test" else "training part"
        yield (
            f"{name}, {', '.join(given)}: predictions that were not trained here, on the test parts of the other rows "
            f"and after a logistic fitted to the {where} like theirs; whether they have learned from these videos "
            "elsewhere is not known"
        )
    for row in given:
        if _median_srcc(group.lines[row]) < 0:
            yield f"{name}, {row}: falls as the labels rise; where lower is better, give it with its sign changed"
    for row, several in group.lines.items():
        yield from (f"{name}, {row}: {text}" for text in _fit_notes(several, mode))


def _published_name(one: Gathered, mode: str) -> str:
    """Name of a data set under which published figures of the same protocol and the same videos are known."""
    name, n_videos = one.problem.data, len(one.problem.ids)
    if name == "youtube_ugc_all" and n_videos == _N_YOUTUBE_UGC:
        name = "youtube_ugc_1380"
    if n_videos != _N_VIDEOS.get(name, n_videos):
        name = f"{name}, {n_videos} videos"
    return f"{name}, one split" if mode == "single_split" else name


def _fit_notes(lines: Sequence[SplitResult], mode: str) -> Iterator[str]:
    """What happened while fitting, summed over the splits of one line."""
    totals: dict[str, int] = {}
    for line in lines:
        for name, count in line.counts.items():
            totals[name] = totals.get(name, 0) + count
    texts = {
        "unconverged": "{} fits stopped at the bound on solver steps and are used as they are",
        "unmapped candidates": "{} candidates of the grid searches had no logistic fit; scored by plain predictions",
        "logistic failed": "{} splits had no logistic fit; PLCC and RMSE there are of the plain predictions",
        "constant": "{} splits with a constant prediction, whose correlations are not defined",
    }
    for name, text in texts.items():
        if totals.get(name):
            yield text.format(totals[name])
    if mode == "single_split" and lines[0].head != "none":
        yield f"split {lines[0].split}"


def _mode_notes(results: Results, mode: str, has_published: bool) -> Iterator[str]:
    if mode == "single_split":
        yield (
            "one split each, of median test RMSE among those run; all figures are plain statistics after "
            "the logistic of the training part, KoNViD-1k on the scale of YouTube-UGC"
        )
    if mode == "cross":
        yield (
            "trained on the training part of each split of the first data set, tested on all videos of the second; "
            "PLCC and RMSE after the logistic of the training part unless the row says otherwise, labels as they are; "
            "intervals and tests cover the choice of training videos, not of test videos"
        )
    n_splits = len({result.split for result in results if result.split})
    if mode != "single_split" and n_splits:
        published = (
            "" if n_splits == _N_PUBLISHED or not has_published else f"; published figures are of {_N_PUBLISHED}"
        )
        yield f"medians over {n_splits} splits{published}"


def _full_row(one: Gathered) -> str | None:
    """The row with another head that has most columns, with which its ablations are compared."""
    ours = [entry for entry in one.entries if entry.head not in ("svr", "none")]
    if len(ours) < 2:
        return None
    return str(max(ours, key=lambda entry: len({part.family for part in one.problem.layouts[entry.row]})))


def _pictures(one: Gathered, groups: Sequence[Group]) -> Iterator[tuple[str, Callable[..., bytes]]]:
    """Names of figures, and what draws them with a suffix."""
    data, name = one.problem.data, data_title(one.problem.data)
    chosen = {
        row if not number or row not in groups[0].lines else f"{row}, {group.title}": median_result(several)
        for number, group in enumerate(groups)
        for row, several in group.lines.items()
    }
    for row, result in chosen.items():
        shown = Metrics(result.srcc, result.krcc, result.plcc, result.rmse, result.is_mapped)
        title = f"{row_title(row)}, {name}" + (f", split {result.split}" if result.split else "")
        draw = partial(figures.scatter, _score(result), result.mos, shown, title, one.label, one.scale)
        yield f"scatter_{data}_{_file_name(row)}", draw
    lines = groups[0].lines
    best = sorted(lines, key=lambda row: _median_srcc(lines[row]), reverse=True)[:_OVERLAID]
    if len(best) > 1:
        points = {row: (_score(chosen[row]), chosen[row].mos) for row in best}
        title = f"{name}, each on its own median split"
        yield f"overlay_{data}", partial(figures.overlay, points, title, one.label, one.scale)
    rows = groups[0].compared
    several = {row: _values(results, "srcc") for row, results in rows.items()}
    if several:
        yield f"splits_{data}", partial(figures.split_boxes, several, "srcc", name)
    if len(several) > 1:
        matrix = compare_all(several, *_split_size(one, rows))
        yield f"significance_{data}", partial(figures.significance_map, matrix, "srcc", name)


def _median_srcc(lines: Sequence[SplitResult]) -> float:
    values = [line.srcc for line in lines if np.isfinite(line.srcc)]
    return float(np.median(values)) if values else -1.0


def _score(result: SplitResult) -> npt.NDArray[np.float64]:
    """The predicted score of the paper's scatter plots: after the logistic if that is fitted to the training part."""
    return result.pred_mapped if result.mapping == "train" else result.pred


def _values(lines: Sequence[SplitResult], metric: str) -> list[float]:
    return [float(getattr(line, metric)) for line in lines]


def _lines(text: str) -> str:
    """CSV without its header."""
    return text.split("\n", 1)[1]


def _file_name(row: str) -> str:
    return "".join(char if char.isalnum() or char in "+-_." else "_" for char in row)
