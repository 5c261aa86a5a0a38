"""Measures what feature rows cost: seconds to extract, to fit, to predict."""

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ugcvqa.benchmarks.feature_blocks import row_columns
from ugcvqa.benchmarks.problem import Entry, Problem, Rules
from ugcvqa.benchmarks.protocol import run_split
from ugcvqa.benchmarks.results import SplitResult
from ugcvqa.display.benchmark_tables import RowCost
from ugcvqa.evaluation.splits import Split, protocol_split
from ugcvqa.features.computing import compute
from ugcvqa.features.extraction import VideoResult, extract_features, video_facts
from ugcvqa.features.family import Family
from ugcvqa.features.rows import assemble_row, families_of
from ugcvqa.features.stream import ClipStream, Task
from ugcvqa.heads.gp import FittedGP
from ugcvqa.heads.kinds import fit_process
from ugcvqa.heads.sparse_gp import FittedSparseGP
from ugcvqa.heads.svr import FittedSVR
from ugcvqa.heads.svr_fit import fit_svr
from ugcvqa.machine import n_cores
from ugcvqa.media.video import VideoInfo
from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.heads import SVRSettings

TOGETHER = "all rows together"
"""Name of the line that holds the cost of all rows in one go."""

_PREDICTED = 30  # videos whose prediction is timed one by one


@dataclass(frozen=True)
class Seconds:
    """Time of one piece of work.

    Attributes:
        wall: seconds that passed.
        cpu: processor seconds of this process, over all cores.
    """

    wall: float
    cpu: float


@dataclass
class Extraction:
    """Measured costs of feature extraction.

    Attributes:
        seconds: row -> video -> time; `TOGETHER` is one pass for all rows.
        dimensions: row -> columns of its video vectors.
        infos: video -> facts about it.
        failures: video -> why it is in no row.
    """

    seconds: dict[str, dict[str, Seconds]] = field(default_factory=dict)
    dimensions: dict[str, int] = field(default_factory=dict)
    infos: dict[str, VideoInfo] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def mean(self, row: str) -> Seconds:
        """Mean over the videos; NaN without any."""
        times = list(self.seconds.get(row, {}).values()) or [Seconds(np.nan, np.nan)]
        return Seconds(float(np.mean([one.wall for one in times])), float(np.mean([one.cpu for one in times])))


@dataclass
class Fitting:
    """Measured costs of the heads.

    Attributes:
        fit_s: row with head -> wall seconds of each repetition; `TOGETHER` is all of them in one go.
        predict_s: row with head -> wall seconds per video, one value per repetition.
        dimensions: row with head -> columns.
        n_videos: videos of the data set.
    """

    fit_s: dict[str, list[float]] = field(default_factory=dict)
    predict_s: dict[str, list[float]] = field(default_factory=dict)
    dimensions: dict[str, int] = field(default_factory=dict)
    n_videos: int = 0


def measure_extraction(
    paths: Sequence[str],
    rows: Sequence[str],
    families: Mapping[str, Family],
    device: str,
    limits: DecodeLimits,
    progress: Callable[[], object] = lambda: None,
) -> Extraction:
    """Times the features of each row alone, and of all rows in one pass, video by video in this process.

    Source: the paper's Table 2 gives the mean wall time per video. Here decoding is always included; building the
    networks and their first use, which happen once per program, are not. A video that fails for one row is left out
    of all, so that the means of all rows are over the same videos.

    `progress` is called after each video and row, (1 + number of rows) times per video at most.
    """
    found = Extraction()
    _warm_up(paths, families, device, limits)
    needs = {TOGETHER: tuple(families), **{row: families_of(row) for row in rows}}
    for row, names in needs.items():
        found.seconds[row] = {}
        for path in paths:
            if path not in found.failures:
                seconds, result = _extracted(path, {name: families[name] for name in names}, device, limits)
                if result.reason:
                    found.failures[path] = result.reason
                elif result.info is not None:
                    found.seconds[row][path] = seconds
                    found.infos[path] = result.info
                    if row != TOGETHER:
                        vectors = {name: arrays["video"] for name, arrays in result.features.items()}
                        found.dimensions[row] = assemble_row(row, vectors).size
            progress()
    for path in found.failures:
        found.infos.pop(path, None)
        for times in found.seconds.values():
            times.pop(path, None)
    return found


def measure_fitting(
    problem: Problem,
    entries: Sequence[Entry],
    repetitions: int,
    rules: Rules,
    progress: Callable[[], object] = lambda: None,
) -> Fitting:
    """Times hold-out repetitions of each entry alone and of all together, and the prediction of single videos.

    Source: the "quality predictor" of the paper's Table 2 is the wall time of one repetition: grid search, final fit
    and figures of the test part; its mean is over nine. The prediction of a video from its features is ours.

    `progress` is called after each fit, (1 + number of entries) times per repetition.

    Raises:
        LabelError: if there are too few videos, or an entry cannot be trained.
    """
    needs = {TOGETHER: tuple(entries), **{str(entry): (entry,) for entry in entries}}
    found = Fitting(n_videos=len(problem.ids))
    _warm_up_heads(problem, entries)
    for index in range(1, repetitions + 1):
        split = protocol_split(problem.ids, index)
        for name, several in needs.items():
            start = time.perf_counter()
            results = run_split(problem, index, split, several, rules)
            found.fit_s.setdefault(name, []).append(time.perf_counter() - start)
            if name != TOGETHER:
                features = row_columns(problem.blocks, problem.layouts[several[0].row])
                seconds = _prediction_seconds(features, problem, several[0], split, results[0], rules)
                found.predict_s.setdefault(name, []).append(seconds)
                found.dimensions[name] = features.shape[1]
            progress()
    return found


def row_costs(extraction: Extraction, fitting: Fitting) -> dict[str, RowCost]:
    """Brings extraction and fitting together: row with head -> mean costs; `TOGETHER` comes last."""
    rows = [row for row in extraction.seconds if row != TOGETHER]
    names = dict.fromkeys([*rows, *fitting.predict_s, TOGETHER])
    return {name: _row_cost(name, extraction, fitting) for name in names}


def record(extraction: Extraction, fitting: Fitting) -> dict[str, Any]:
    """Every single measurement as plain JSON values."""
    return {
        "videos": {path: video_facts(info) for path, info in extraction.infos.items()},
        "failures": extraction.failures,
        "extract": {
            row: {path: asdict(seconds) for path, seconds in times.items()} for row, times in extraction.seconds.items()
        },
        "fit_s": fitting.fit_s,
        "predict_s": fitting.predict_s,
    }


def machine() -> dict[str, Any]:
    """What seconds depend on: processor, cores and threads in use, version of torch, GPU if there is one."""
    return {
        "processor": _processor(),
        "cores": n_cores(),
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _warm_up(paths: Sequence[str], families: Mapping[str, Family], device: str, limits: DecodeLimits) -> None:
    """Computes the first piece of the first readable video, so that no video bears one-off costs."""
    target = torch.device(device)
    for name, family in families.items():
        for path in paths:
            item: Any = next(iter(ClipStream([Task(path, path)], {name: family}, limits=limits)))
            if item.family:
                compute({name: family.on(device)}, [item.tensors().to(target)])
                break


def _warm_up_heads(problem: Problem, entries: Sequence[Entry]) -> None:
    """Fits one row with each head, so that no repetition pays for imports."""
    rules = Rules(svr=SVRSettings((1,), (-8,)))
    for entry in {entry.head: entry for entry in entries}.values():
        run_split(problem, 1, protocol_split(problem.ids, 1), [entry], rules)


def _extracted(
    path: str, families: Mapping[str, Family], device: str, limits: DecodeLimits
) -> tuple[Seconds, VideoResult]:
    stream = ClipStream([Task(path, path)], families, limits=limits)
    wall, cpu = time.perf_counter(), time.process_time()
    (result,) = extract_features(stream, families, device=device)
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu), result


def _row_cost(name: str, extraction: Extraction, fitting: Fitting) -> RowCost:
    row = name.partition("+")[0]  # another head is fitted to the same features
    seconds = extraction.mean(row)
    return RowCost(
        dimension=fitting.dimensions.get(name, extraction.dimensions.get(row)),
        extract_s=seconds.wall,
        extract_cpu_s=seconds.cpu,
        fit_s=float(np.mean(fitting.fit_s.get(name, np.nan))),
        predict_s=float(np.mean(fitting.predict_s.get(name, np.nan))),
    )


def _prediction_seconds(
    features: npt.NDArray[np.float64],
    problem: Problem,
    entry: Entry,
    split: Split,
    chosen: SplitResult,
    rules: Rules,
) -> float:
    """Mean wall time to predict one video after the other with the head of a repetition."""
    outer = problem.rows(split.outer_train)
    head = _fitted(features[outer], problem.mos[outer], entry, split, chosen, rules)
    rows = problem.rows(split.test[:_PREDICTED])
    head.predict(features[rows[:1]])
    start = time.perf_counter()
    for row in rows:
        head.predict(features[row : row + 1])
    return (time.perf_counter() - start) / len(rows)


def _fitted(
    features: npt.NDArray[np.float64],
    mos: npt.NDArray[np.float64],
    entry: Entry,
    split: Split,
    chosen: SplitResult,
    rules: Rules,
) -> FittedSVR | FittedGP | FittedSparseGP:
    """Fits the head of a repetition again; an SVR head without its search."""
    if entry.head != "svr":
        return fit_process(features, mos, entry.row, rules.of_process(entry))[0]
    c, gamma = (round(math.log2(value)) for value in (chosen.c, chosen.gamma))
    settings = replace(rules.svr, c_exponents=(c,), gamma_exponents=(gamma,))
    return fit_svr(features, mos, *split.inner_rows, settings)[0]


def _processor() -> str:
    """Model name of the processor, as far as the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
