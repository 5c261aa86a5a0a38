"""`ugcvqa score WHAT...`: predicted quality of videos with a released model, one of your own, or UVQ."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from ugcvqa.cli import run_verb, typed_command
from ugcvqa.errors import ConfigError
from ugcvqa.settings.data import DaskSettings, DecodeLimits, LoaderSettings
from ugcvqa.settings.features import Engine, NSSEngine, SaliencySettings, UVQSettings

if TYPE_CHECKING:
    from ugcvqa.bulk.journal import Tally
    from ugcvqa.scoring.scorers import Scorer


def score(
    videos: list[str],
    list: str | None = None,
    null: bool = False,
    features: tuple[str, ...] | str = (),
    made_by: str | dict[str, str] | None = None,
    checkpoint: str | None = None,
    model: str | None = None,
    uvq: UVQSettings = UVQSettings(),
    json: bool = False,
    csv: bool = False,
    output: str | None = None,
    shard: str | None = None,
    merge: str | None = None,
    batch_size: int = 1,
    workers: int = -1,
    timeout_s: float | None = None,
    backend: Literal["processes", "dask"] = "processes",
    dask: DaskSettings = DaskSettings(),
    progress: bool = False,
    timeline: bool = False,
    explain: bool = False,
    frames: str | None = None,
    device: str = "cpu",
    engine: Engine = "auto",
    nss_engine: NSSEngine = "auto",
    limits: DecodeLimits = DecodeLimits(),
    report: str | None = None,
    report_saliency: bool | None = None,
    saliency: SaliencySettings = SaliencySettings(),
    saliency_backbone: str | None = None,
) -> int:
    """Scores videos with a released or a trained model or UVQ; one row per video in order, on stdout or in a file.

    WHAT to score: files; folders (the videos in them and below, sorted); quoted patterns ('clips/**/*.mp4'); lists, as
    @FILE or by the ending .txt (one name per line), .csv or .tsv (a column file, video or path); - for names on stdin.
    Names in a list are looked up from the current folder, then beside the list. A video named twice has two rows.

    With --output the run can be killed at any moment: the same command resumes after the last row, and ends with the
    same file as a run that was not stopped. FILE.run.json beside it records what made the rows. Several machines share
    the work by --shard, or by themselves under srun, torchrun or mpirun; --merge puts their files together.

    The CSV can be given to `ugcvqa benchmark` as predictions.

    Exit code 0 if every video has a score, 1 if some failed (their row says why), 2 if none could be scored.

    Args:
        videos: what to score.
        list: one list more, text or CSV by its ending.
        null: names in text lists and on stdin end with a NUL byte, as `find -print0` writes them.
        features: feature tables to predict from in place of videos, as `ugcvqa fit --data.features` takes them; printed
            only. They must be made by what made the features of the model's training.
        made_by: who made these features where no file says so, as for `ugcvqa fit --data.made_by`.
        checkpoint: run folder made by `ugcvqa fit`, or the model file in it.
        model: a released model by name, by default nss_pixels, which no stated size moves, or nss_container; neither
            needs network weights. Or `uvq` or `uvq1.5`, which need their released weights.
        uvq: settings of UVQ.
        json: print one JSON object per line instead of a table.
        csv: print CSV instead of a table.
        output: write to this file instead, whose ending decides the format: .csv, .jsonl or .parquet.
        shard: score only this share of the list, such as 3/8; with --output into FILE.0003-of-0008.csv.
        merge: join the files of all shards of this output, in place of scoring.
        batch_size: clips that travel together from the decoder; never changes a score.
        workers: processes that score, each on one core; 0 scores in the main one; -1 takes one per core, as far as
            memory goes, and 0 for a single video; never changes a score. With --device cuda the main process scores,
            and they decode for it.
        timeout_s: seconds for one video, after which it has failed; no limit if left out.
        backend: what shares out the videos: processes of this machine, or Dask workers (extra `dask`); never changes a
            row, so a run may be continued with the other.
        dask: where Dask's workers are.
        progress: show progress on stderr even where that is not a terminal.
        timeline: also score every second; in a table as a line of blocks, in JSON as numbers.
        explain: also say which parts and seconds pull a score down or lift it; includes the timeline.
        frames: folder for pictures of the worst and the best second of each video, as PNG; includes --explain.
        device: where features are computed: cpu, cuda, cuda:1.
        engine: library that computes networks: `auto` takes OpenVINO where it is installed and there is no GPU, else
            PyTorch; they differ by rounding only.
        nss_engine: how NSS features are computed: `compiled` (several times faster than `torch`, without PyTorch), or
            `torch`; they differ by rounding, and scores by less than 0.001. `auto` takes `compiled` on a CPU where
            Numba is installed.
        limits: bounds on what is decoded.
        report: write a page (.html) of the scores too; a browser prints it to PDF.
        report_saliency: add saliency maps to the page, for up to 12 videos; needs weights. Left out, there are maps
            where the extra `lite` is installed: EfficientNet-Lite0's, with the approximation top:24.
        saliency: how these maps are computed; they do not change the score.
        saliency_backbone: network of these maps in place of VGG-16, short for --saliency.backbone: a classification
            network of torchvision, or efficientnet_lite0.
    """
    from ugcvqa.reports.reporter import Reporter, chosen_maps
    from ugcvqa.scoring import released

    saliency = _with_backbone(saliency, saliency_backbone)
    nss_engine = "torch" if nss_engine == "auto" and device != "cpu" else nss_engine
    maps = chosen_maps(report_saliency, saliency) if report else None
    named = "" if merge else checkpoint or model or released.DEFAULT
    reporter = Reporter(report, maps, device, engine, typed_command(), named)
    if merge is not None:
        others = (videos, list, output, shard, json, csv, checkpoint, model, timeline, explain, frames)
        code = _merge(merge, is_alone=not any(others))
        reporter.write_of(Path(merge), limits)
        return code
    if checkpoint is not None and model is not None:
        raise ConfigError("--checkpoint and --model exclude each other; give --checkpoint for a model of your own")
    if json + csv + (output is not None) > 1:
        raise ConfigError("--json, --csv and --output exclude each other; give one of them")
    has_no_room = csv or (output or "").endswith((".csv", ".parquet"))
    if (timeline or explain) and has_no_room:
        raise ConfigError("--timeline and --explain have no columns; use the table, --json or --output FILE.jsonl")
    LoaderSettings(batch_size, workers)  # says what is wrong with them
    form: Literal["json", "csv", "table"] = "json" if json else "csv" if csv else "table"
    if features or made_by:
        if not features or any((videos, list, output, shard, timeline, explain, frames, report)):
            raise ConfigError(
                "--features takes no videos, and prints: give it with --checkpoint, --json or --csv alone"
            )
        return _from_tables(features, made_by, _scorer(checkpoint, model, uvq, engine, nss_engine), form)
    from ugcvqa.bulk.listing import Inputs
    from ugcvqa.bulk.printing import print_scores
    from ugcvqa.bulk.scoring import Call, check_output, n_workers, score_into, with_progress
    from ugcvqa.bulk.shards import Shard, parse_shard, shard_of_environment

    inputs = Inputs(tuple(videos), list, null)
    total = inputs.count()
    processes = n_workers(workers, total, output is not None, timeout_s, device)
    if output is not None:
        check_output(Path(output))
    there = _dask_workers(backend, dask, timeout_s)
    scorer, pictures = _scorer(checkpoint, model, uvq, engine, nss_engine), None if frames is None else Path(frames)
    call = Call(scorer, processes, device, batch_size, limits, timeout_s, timeline, explain, pictures, there)
    if output is None:
        part = Shard() if shard is None else parse_shard(shard)
        is_shown = progress or (sys.stderr.isatty() and not sys.stdout.isatty())
        call = replace(call, explain=explain or reporter.explains(total))
        scores = reporter.through(call.scores(part.of(iter(inputs))), is_plain=not (timeline or explain or frames))
        scores = with_progress(scores, part.share(total), is_shown)
        tally = print_scores(scores, call.scorer, form)
        reporter.write(call.scorer, limits)
        return _exit_code(tally)
    part = shard_of_environment() if shard is None else parse_shard(shard)
    if part.count > 1 and report is not None:
        raise ConfigError("--report of one shard shows no more than its share; give it with --merge")
    tally = score_into(Path(output), inputs, total, part, call, progress or sys.stderr.isatty())
    reporter.write_of(part.path(Path(output)), limits)
    return _told(tally, part.path(Path(output)))


def _dask_workers(backend: str, dask: DaskSettings, timeout_s: float | None) -> DaskSettings | None:
    """Where Dask's workers are, None if they are not asked for."""
    if backend == "dask" and timeout_s is not None:
        raise ConfigError("--timeout_s: Dask cannot end a task; give --limits.max_decode_s, or no --backend dask")
    if backend != "dask" and dask != DaskSettings():
        raise ConfigError("--dask.* is used with --backend dask only")
    return dask if backend == "dask" else None


def _with_backbone(saliency: SaliencySettings, backbone: str | None) -> SaliencySettings:
    if backbone is None:
        return saliency
    if saliency.backbone not in (SaliencySettings.backbone, backbone):
        raise ConfigError(
            f"--saliency_backbone {backbone} and --saliency.backbone {saliency.backbone} contradict each other; "
            "give one"
        )
    return replace(saliency, backbone=backbone)


def _scorer(
    checkpoint: str | None, model: str | None, uvq: UVQSettings, engine: Engine, nss_engine: NSSEngine
) -> "Scorer":
    from ugcvqa.scoring import released
    from ugcvqa.scoring.model_file import load
    from ugcvqa.scoring.scorers import UVQ_NAMES

    if checkpoint is not None:
        return load(checkpoint, engine, nss_engine)
    if model in UVQ_NAMES:
        from ugcvqa.scoring.uvq_score import UVQModel

        return UVQModel(cast(Literal["uvq", "uvq1.5"], model), uvq, engine)
    if model is not None and model not in released.SHA256:
        known = ", ".join((*released.SHA256, *UVQ_NAMES))
        raise ConfigError(f"--model {model} is unknown; choose {known}, or give --checkpoint RUN")
    return load(released.released_file(model or released.DEFAULT), engine, nss_engine)


def _from_tables(
    features: tuple[str, ...] | str,
    made_by: str | dict[str, str] | None,
    scorer: "Scorer",
    form: Literal["json", "csv", "table"],
) -> int:
    from ugcvqa.bulk.printing import print_scores
    from ugcvqa.scoring.from_tables import score_tables
    from ugcvqa.scoring.model import QualityModel

    if not isinstance(scorer, QualityModel):
        raise ConfigError("--features: UVQ scores videos only")
    files = (features,) if isinstance(features, str) else features
    return _exit_code(print_scores(score_tables(scorer, files, made_by), scorer, form))


def _merge(output: str, is_alone: bool) -> int:
    from ugcvqa.bulk.merging import merge

    if not is_alone:
        raise ConfigError("--merge takes no videos, model or other output; give it alone or with --report")
    return _told(merge(Path(output)), Path(output))


def _told(tally: "Tally", path: Path) -> int:
    """Reports what is in an output, and returns the exit code."""
    reasons = f", {tally.failed} failed (column error says why)" if tally.failed else ""
    sys.stdout.write(f"{tally.rows - tally.failed} of {tally.rows} videos have a score{reasons}: {path}\n")
    return _exit_code(tally)


def _exit_code(tally: "Tally") -> int:
    return 0 if not tally.failed else 1 if tally.failed < tally.rows else 2


main = partial(run_verb, score, positional=["videos"])

if __name__ == "__main__":
    sys.exit(main())
