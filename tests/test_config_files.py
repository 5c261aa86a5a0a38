"""Config files: found by name, shared by verbs, merged, and checked with suggestions."""

import csv
import math
import tomllib

import numpy as np
import pytest
import yaml

from ugcvqa import benchmark, check, config_files, extract, fit, study
from ugcvqa.errors import ConfigError
from ugcvqa.media.encode import write_video

ONE_FILE = """
data: {name: mine, root: videos, labels: labels.csv}
rows: [NSS]
head: svr
store: features
split: {kind: group}
svr: {c_exponents: [1, 3], gamma_exponents: [-8, -4]}
splits: 2
jobs: 1
probe: true
trainer: {accelerator: cpu, devices: 1}
"""


def test_one_file_serves_check_extract_fit_and_benchmark(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    (tmp_path / "videos").mkdir()
    rows = []
    for number in range(14):
        noise = random.normal(scale=4 + 4 * number, size=(24, 48, 64, 3))
        write_video(tmp_path / "videos" / f"c{number:02d}.mp4", np.clip(128 + noise, 0, 255).astype(np.uint8), 12)
        rows.append(f"c{number:02d}.mp4,{5 - number / 4},scene{number % 7}\n")
    (tmp_path / "labels.csv").write_text("file,mos,group\n" + "".join(rows))
    (tmp_path / "mine.yaml").write_text(ONE_FILE)
    assert check.main(["--config", "mine.yaml"]) == 0
    assert extract.main(["--config", "mine.yaml"]) == 0
    assert fit.main(["--config", "mine.yaml"]) == 0
    monkeypatch.setattr("ugcvqa.benchmarks.report.write_figures", lambda *_: {})
    assert benchmark.main(["--config", "mine.yaml"]) == 0
    assert "14 of 14 videos of mine have" in capsys.readouterr().out
    with (tmp_path / "benchmarks" / "mine" / "splits.csv").open(newline="") as file:
        assert {(row["row"], row["head"]) for row in csv.DictReader(file)} == {("NSS", "svr")}
    table = (tmp_path / "benchmarks" / "mine" / "table.csv").read_bytes()
    quick = [
        "--store",
        "features",
        "--svr",
        "{c_exponents: [1, 3], gamma_exponents: [-8, -4]}",
        "--splits",
        "2",
        "--jobs",
        "1",
    ]
    flags = [
        "--data.name",
        "mine",
        "--data.root=videos",
        "--data.labels",
        "labels.csv",
        "--row",
        "NSS",
        "--name",
        "flags",
    ]
    assert benchmark.main([*flags, *quick]) == 0
    assert (tmp_path / "benchmarks" / "flags" / "table.csv").read_bytes() == table
    (tmp_path / "features").rename(tmp_path / "store")
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    all_rows = ["--data", "mine", "--labels", "labels.csv", "--name", "all", *quick[2:]]
    assert benchmark.main(all_rows) == 0  # those of which ./store has features
    assert (tmp_path / "benchmarks" / "all" / "table.csv").read_bytes() == table


@pytest.mark.parametrize(
    ("verb", "content", "wanted"),
    [
        (fit.fit, {"rows": ["CNN"]}, {"row": "CNN"}),
        (fit.fit, {"data": ["youtube_ugc_360p"]}, {"data": {"name": "youtube_ugc", "subset": "360P"}}),
        (fit.fit, {"data": "konvid_1k", "splits": 3, "probe": True}, {"data": {"name": "konvid_1k"}}),
        (extract.extract, {"row": "NSS", "head": "gp"}, {"rows": ["NSS"]}),
        (extract.extract, {"head": "gru"}, {"rows": ["VSFACNN"]}),
        (check.check, {"row": "NSS", "data": {"root": "x"}}, {"data": {"root": "x"}}),
        (benchmark.benchmark, {"row": "NSS", "head": "gp"}, {"rows": ["NSS+gp"]}),
        (
            benchmark.benchmark,
            {"data": {"name": "youtube_ugc", "subset": "360P", "labels": "l.csv"}, "split": {"index": 2}},
            {"data": ["youtube_ugc_360p"], "labels": "l.csv", "store": "store"},
        ),
        (
            benchmark.benchmark,
            {"data": {"name": "mine", "labels": "l.csv", "features": ["a.npz", "b.npz"]}, "row": "A", "head": "gp"},
            {"data": ["mine"], "labels": "l.csv", "rows": ["A+gp"], "tables": {"A": ["a.npz", "b.npz"]}},
        ),
        (
            benchmark.benchmark,
            {"wandb": {"tags": ["a"]}, "logger": "wandb"},
            {"wandb": {"mode": "offline", "tags": ["a"]}},
        ),
        (benchmark.benchmark, {"wandb": {"mode": "online"}, "logger": "csv"}, {"wandb": {"mode": "disabled"}}),
        (benchmark.benchmark, {"wandb": "offline"}, {"wandb": {"mode": "offline"}}),
        (study.study, {"wandb": "offline"}, {"wandb": {"mode": "offline"}}),
        (fit.fit, {"split.index": 3, "split": {"kind": "protocol"}}, {"split": {"index": 3, "kind": "protocol"}}),
    ],
)
def test_each_verb_takes_its_part_in_its_own_form(verb, content, wanted):
    assert config_files.merged([("c.yaml", content)], verb) == wanted


def test_later_files_win_and_settings_are_joined():
    files = [("a", {"split": {"index": 1, "kind": "protocol"}, "trainer": {"devices": 1}}), ("b", {"split.index": 2})]
    merged = config_files.merged([*files, ("c", {"trainer": {"precision": 32}})], fit.fit)
    assert merged == {"split": {"index": 2, "kind": "protocol"}, "trainer": {"precision": 32}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"rwo": "NSS"}, "key rwo is unknown; did you mean row?"),
        ({"data": {"nmae": "demo"}}, "key data.nmae is unknown; did you mean name?"),
        (
            {"families": {"nss": {"precison": "float64"}}},
            "key families.nss.precison is unknown; did you mean precision?",
        ),
        ({1: 2}, "key 1 is unknown"),
        ([1], "holds no options"),
        ({"row": "NSS", "rows": ["CNN"]}, "give one of them"),
        ({"rows": ["NSS", "CNN"]}, "takes one"),
        ({"data": ["a", "b"]}, "takes one data set"),
    ],
)
def test_typos_and_contradictions_are_one_line(content, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        config_files.merged([("c.yaml", content)], fit.fit)


def test_an_end_to_end_config_has_nothing_for_extract():
    with pytest.raises(ConfigError, match="nothing for `ugcvqa extract`"):
        config_files.merged([("c.yaml", {"head": "end_to_end"})], extract.extract)


def test_configs_of_the_package_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("youtube_ugc_nss", "youtube_ugc_nss.yaml", "configs/youtube_ugc_nss.yaml"):
        assert config_files.find(name).parent == config_files.folder()
    (tmp_path / "youtube_ugc_nss").write_text("row: CNN\n")
    assert str(config_files.find("youtube_ugc_nss")) == "youtube_ugc_nss"  # a file of that name goes first
    with pytest.raises(ConfigError, match=r"did you mean konvid_1k_end_to_end\?"):
        config_files.find("konvid1k_end_to_end")
    with pytest.raises(ConfigError, match=r"by name there are .*youtube_ugc_nss"):
        config_files.find("x/zzz.yaml")


def test_configs_are_installed_and_each_has_a_use_of_its_own():
    repo = config_files.folder().parent
    tool = tomllib.loads((repo / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert tool["package-dir"]["ugcvqa.configs"] == "configs"
    assert tool["package-data"]["ugcvqa.configs"] == ["*.yaml"]
    contents = [yaml.safe_load(path.read_text()) for path in config_files.folder().glob("*.yaml")]
    without_row = [{key: value for key, value in one.items() if key not in ("row", "rows")} for one in contents]
    assert all(without_row.count(one) == 1 for one in without_row)


def test_flags_win_wherever_the_file_stands(capsys):
    for arguments in (["--rows", "CNN", "--config", "own_nss"], ["--config", "own_nss", "--row=CNN"]):
        with pytest.raises(SystemExit):
            fit.main([*arguments, "--print_config"])
        assert yaml.safe_load(capsys.readouterr().out)["row"] == "CNN"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.nmae", "x"], "--data.nmae: there is no such option; did you mean --data.name?"),
        (["--trainer.devcies", "2"], "--trainer.devcies: there is no such argument; did you mean devices?"),
        (["--trainer", "{callbacks: [{class_path: lightning.pytorch.callbacks.Tmer}]}"], "--trainer.callbacks"),
    ],
)
def test_typos_in_flags_are_found_at_the_start(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for verb in (fit, extract):
        assert verb.main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not list(tmp_path.iterdir())


def test_options_are_written_so_that_they_are_read_back_exactly():
    options = {"a": "1e5", "b": [1e-5, 7, True, None], "c": {"d": "x: {y}", "e": "\x1b\U0001f600"}, "f": math.inf}
    assert yaml.safe_load(config_files.as_text(options)) == options
    assert config_files.as_text({"a": "é\n"}).isprintable()
