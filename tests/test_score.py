"""Scoring: one number per video whatever the batching, rows for failures, exit codes, saved models."""

import csv
import dataclasses
import itertools
import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from ugcvqa import score
from ugcvqa.cell_texts import text_of
from ugcvqa.errors import CheckpointError, VideoError
from ugcvqa.files import arrays_from_file, arrays_to_bytes
from ugcvqa.heads.svr_fit import fit_svr
from ugcvqa.media.encode import write_video
from ugcvqa.scoring import model as models
from ugcvqa.scoring.model import QualityModel
from ugcvqa.scoring.model_file import load
from ugcvqa.settings.features import FamilySettings, NSSSettings


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a model of random NSS-sized features, so that scores are numbers and no more."""
    random = np.random.default_rng(0)
    features = 100 * np.abs(random.normal(size=(40, 1836)))
    head, _ = fit_svr(features, np.linspace(1, 5, 40), range(30), range(30, 40))
    folder = tmp_path_factory.mktemp("run")
    model = QualityModel(head, "NSS", FamilySettings(), "MOS", (1.0, 5.0), "noise (40 videos)")
    model.save(folder / models.FILE_NAME)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    random = np.random.default_rng(1)
    names = ["a b.mp4", "ü'\".mkv", "new\nline.mp4", "-dash.mp4"]
    for number, name in enumerate(names):
        field = random.integers(0, 255, (90, 110, 3), dtype=np.uint8)
        write_video(folder / name, (field[k : k + 48, k : k + 64] for k in range(20 + 7 * number)), 10)
    (folder / "bad.mp4").write_text("no video")
    return folder, names


def test_same_number_whatever_the_batching(run, clips):
    folder, names = clips
    model = load(run)
    paths = [folder / name for name in names]
    alone = [model.score(path).mos for path in paths]
    assert len(set(alone)) == len(names)
    for batch_size, workers in ((1, 0), (5, 0), (3, 2)):
        assert [item.mos for item in model.score_many(paths, batch_size, workers)] == alone


def test_paths_are_taken_as_they_are_needed(run, clips):
    folder, names = clips
    taken = []
    scores = load(run).score_many(taken.append(name) or folder / name for name in itertools.cycle(names))
    assert not taken
    for count in (1, 2, 3):
        next(scores)
        assert len(taken) == count


def test_same_file_whatever_the_number_of_processes(run, clips, tmp_path, capfdbinary):
    folder, _ = clips
    for workers in ("0", "1", "2"):
        arguments = [str(folder), "--checkpoint", str(run), "--workers", workers]
        assert score.main([*arguments, "--output", str(tmp_path / f"{workers}.csv")]) == 1
    written = (tmp_path / "0.csv").read_bytes()
    assert written == (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    capfdbinary.readouterr()
    assert score.main([str(folder), "--checkpoint", str(run), "--csv"]) == 1
    assert capfdbinary.readouterr().out == written


@pytest.mark.slow
def test_a_job_with_processes_killed_ten_times_gives_the_file_of_an_undisturbed_one(run, clips, tmp_path):
    folder, names = clips
    for number in range(60):
        (tmp_path / "many" / f"{number}").mkdir(parents=True)
        (tmp_path / "many" / f"{number}" / names[number % 4]).symlink_to(folder / names[number % 4])
    command = [sys.executable, "-m", "ugcvqa.score", str(tmp_path / "many"), "--checkpoint", str(run), "--workers", "2"]
    draw, output = random.Random(2), tmp_path / "out.csv"
    for _ in range(10):
        job = subprocess.Popen([*command, "--output", str(output)], stdout=subprocess.DEVNULL)
        target = (output.stat().st_size if output.exists() else 0) + draw.randrange(1, 400)
        while job.poll() is None and (not output.exists() or output.stat().st_size < target):
            time.sleep(0.01)
        job.kill()
        job.wait()
    assert subprocess.run([*command, "--output", str(output)], check=False).returncode == 0
    assert subprocess.run([*command, "--output", str(tmp_path / "whole.csv")], check=False).returncode == 0
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_csv_and_json_carry_every_name_and_failure_in_order(run, clips, capsys, monkeypatch):
    folder, names = clips
    monkeypatch.chdir(folder)
    order = [names[0], "bad.mp4", *names[1:], "gone.mp4"]
    arguments = ["--checkpoint", str(run), "--", *order]
    assert score.main(["--csv", *arguments]) == 1
    output = capsys.readouterr()
    rows = list(csv.DictReader(output.out.splitlines(keepends=True)))
    assert [text_of(row["video"]) for row in rows] == order
    assert [bool(row["error"]) for row in rows] == [False, True, False, False, False, True]
    assert [bool(row["mos"]) for row in rows] == [True, False, True, True, True, False]
    assert output.err.count("\n") == 2
    assert score.main(["--json", *arguments]) == 1
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["video"] for record in records] == order
    assert [record["mos"] for record in records if record["mos"]] == [float(row["mos"]) for row in rows if row["mos"]]
    assert records[1]["mos"] is None
    assert records[0]["scale"] == [1.0, 5.0]


def test_table_has_one_line_per_video(run, clips, capsys):
    folder, names = clips
    assert score.main([*(str(folder / name) for name in names), "--checkpoint", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# MOS 1..5, higher is better; NSS model of noise (40 videos)"
    assert len(lines) == 1 + len(names)


def test_exit_code_2_when_no_video_has_a_score(run, clips, capsys):
    folder, _ = clips
    assert score.main([str(folder / "bad.mp4"), "--checkpoint", str(run)]) == 2
    assert capsys.readouterr().out.splitlines()[1].startswith("failed\t")


def test_scoring_imports_neither_lightning_nor_torchvision(run, clips):
    folder, names = clips
    code = (
        "import sys; from ugcvqa import score\n"
        f"code = score.main([{str(folder / names[0])!r}, '--checkpoint', {str(run)!r}])\n"
        "heavy = {'lightning', 'torchvision', 'sklearn', 'matplotlib', 'wandb', 'torchmetrics'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_public_names_load_and_score(run, clips):
    import ugcvqa

    folder, names = clips
    assert ugcvqa.load(run).score(folder / names[0]).mos == load(run).score(folder / names[0]).mos
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        ugcvqa.load(run).score(folder / "bad.mp4")
    with pytest.raises(AttributeError):
        _ = ugcvqa.nonsense


def test_mos_is_clipped_to_the_scale_and_pred_is_not(run, clips):
    folder, names = clips
    model = load(run)
    high = dataclasses.replace(model, head=dataclasses.replace(model.head, intercept=100.0))
    result = high.score(folder / names[0])
    assert result.mos == 5.0
    assert result.pred > 50


def test_saved_model_comes_back_bit_for_bit(run, tmp_path):
    model = load(run)
    model.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (run / models.FILE_NAME).read_bytes()


def change(run, path, **values):
    arrays, metadata = arrays_from_file(run / models.FILE_NAME)
    path.write_bytes(arrays_to_bytes(arrays, {**metadata, **values}))
    return path


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 99}, "install a newer version"),
        ({"specs": {"nss": '{"family": "nss", "version": 0}'}}, "with settings None"),
        ({"head": {"kind": "svr"}}, "lacks"),
        ({"head": {"kind": "magic"}}, "head 'magic' is unknown"),
        ({"scale": None}, "not a complete model"),
    ],
)
def test_unusable_models_say_what_to_do(run, tmp_path, values, message):
    path = change(run, tmp_path / "model.safetensors", **values)
    with pytest.raises(CheckpointError, match=message):
        list(load(path).score_many([]))


def test_missing_and_foreign_files_are_one_error(tmp_path):
    (tmp_path / "x").write_text("x")
    for path in (tmp_path, tmp_path / "x", tmp_path / "gone"):
        with pytest.raises(CheckpointError):
            load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch_size", "0"], "at least one clip"),
        (["--workers", "-2"], "at least one clip"),
        (["--device", "nonsense"], "use cpu, cuda"),
        (["--device", "cuda:99"], "CUDA devices"),
    ],
)
def test_unusable_options_are_one_line_before_any_output(run, clips, capsys, options, message):
    folder, names = clips
    assert score.main([str(folder / names[0]), "--checkpoint", str(run), *options]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert output.err.count("\n") == 1


def test_video_without_any_feature_is_a_failure_not_a_score(run, tmp_path):
    model = load(run)
    lenient = dataclasses.replace(model, settings=FamilySettings(NSSSettings(short="nan")))
    write_video(tmp_path / "one.mp4", [np.zeros((48, 64, 3), np.uint8)], 10)
    (result,) = lenient.score_many([tmp_path / "one.mp4"])
    assert "no feature can be computed" in result.reason
