"""Outputs of several jobs: every share has its rows, and merging gives the file of a single run."""

import json

import pytest

from tests.support.outputs import FORMATS, NAMES, run, table
from tests.support.stub_scorer import main
from ugcvqa.bulk.shards import parse_shard
from ugcvqa.errors import ConfigError

pytestmark = pytest.mark.usefixtures("alone")


@pytest.mark.parametrize("ending", FORMATS)
def test_shards_merge_to_the_file_of_a_single_run(tmp_path, ending, capsys):
    output = tmp_path / f"out.{ending}"
    assert run(tmp_path, output="single." + ending) == 1
    for number in (3, 1, 2):
        assert run(tmp_path, "--shard", f"{number}/3", output=output.name, workers=number - 1) in {0, 1}
    assert (tmp_path / f"out.0002-of-0003.{ending}").is_file()
    capsys.readouterr()
    assert main(["--merge", str(output)]) == 1
    told = capsys.readouterr().out
    assert told == f"28 of 29 videos have a score, 1 failed (column error says why): {output}\n"
    if ending == "parquet":
        assert table(output) == table(tmp_path / "single.parquet")
    else:
        assert output.read_bytes() == (tmp_path / f"single.{ending}").read_bytes()
    assert run(tmp_path, output=output.name) == 1  # the merged file counts as a complete run
    assert main(["--merge", str(output)]) == 1


def test_more_shards_than_videos_are_fine(tmp_path):
    for number in range(1, 6):
        assert run(tmp_path, "--shard", f"{number}/5", names=["a.mp4", "b.mp4"]) in {0, 2}
    assert main(["--merge", str(tmp_path / "out.csv")]) == 0
    assert [row["video"] for row in table(tmp_path / "out.csv")] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("other", ["a.mp4", "--json", "--shard=1/2", "--checkpoint=run", "--model=uvq", "--explain"])
def test_merging_refuses_what_it_would_ignore(tmp_path, capsys, other):
    assert main(["--merge", str(tmp_path / "out.csv"), other]) == 2
    assert "--merge takes no videos, model or other output" in capsys.readouterr().err


def test_shards_that_do_not_belong_together_are_not_merged(tmp_path, capsys):
    def refused(message):
        assert main(["--merge", str(tmp_path / "out.csv")]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "out.csv").exists()

    refused("no shards to merge, such as out.0001-of-0008.csv")
    run(tmp_path, "--shard", "1/3")
    run(tmp_path, "--shard", "3/3")
    refused("out.0002-of-0003.csv missing of 3 shards")
    second = tmp_path / "out.0002-of-0003.csv"
    run(tmp_path, "--shard", "2/3", names=NAMES[:-1])
    refused("another list of videos than")
    second.unlink()
    run(tmp_path, "--shard", "2/3", fingerprint="1" * 64)
    refused("rows of another run (model model_sha256")
    second.unlink()
    run(tmp_path, "--shard", "2/3")
    whole = second.read_bytes()
    second.write_bytes(whole[:-10])
    refused("run it again")
    second.write_bytes(whole)
    record = second.with_name(second.name + ".run.json")
    finished = record.read_text()
    record.write_text(json.dumps({key: value for key, value in json.loads(finished).items() if key != "complete"}))
    refused("is not finished")
    record.write_text(finished)
    run(tmp_path, "--shard", "1/2")
    refused("shards of 2 and of 3 are here")
    (tmp_path / "out.0001-of-0002.csv").unlink()
    assert main(["--merge", str(tmp_path / "out.csv")]) == 1


def test_a_job_under_slurm_writes_its_share(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    run(tmp_path)  # a batch script without srun
    assert len(table(tmp_path / "out.csv")) == len(NAMES)
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    run(tmp_path)
    assert [row["video"] for row in table(tmp_path / "out.0002-of-0004.csv")] == NAMES[1::4]
    run(tmp_path, "--shard", "1/1")
    assert len(table(tmp_path / "out.csv")) == len(NAMES)


def test_a_report_is_refused_where_a_shard_would_write_its_share_only(tmp_path, capsys):
    assert run(tmp_path, "--shard", "2/4", "--report", str(tmp_path / "page.html")) == 2
    assert "give it with --merge" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["list.txt"]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3"])
def test_unusable_shares_are_refused(text):
    with pytest.raises(ConfigError, match="numbers run from 1"):
        parse_shard(text)
