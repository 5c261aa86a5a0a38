"""Errors advise what works where they occur."""

import re

import pytest

import ugcvqa
from ugcvqa import fit
from ugcvqa.datamodules import KoNViD1kDataModule, VideoDataModule
from ugcvqa.errors import CheckpointError, ConfigError


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UGCVQA_DATA", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.name", "konvid1k"], "did you mean konvid_1k?"),
        (["--data.name", "konvid_1K", "--data.root", "."], "did you mean konvid_1k?"),
        (["--data.name", "youtube_ugc"], "nothing to read; give --data.root FOLDER"),
        (["--data.name", "youtube_ugc", "--data.root", "."], "nor do the folders in it; give --data.labels FILE"),
    ],
)
def test_data_sets_are_suggested_and_the_place_of_labels_is_said(here, capsys, arguments, message):
    assert fit.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert "konvid" in " ".join(arguments) or "did you mean" not in line


def test_a_checkpoint_of_a_training_is_no_model(here):
    (here / "best.ckpt").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"load_from_checkpoint and the like; give the run folder"):
        ugcvqa.load("best.ckpt")


def test_bytes_and_open_files_are_refused_without_being_shown(here):
    model = ugcvqa.load(nss_engine="compiled")
    (here / "clip.mp4").write_bytes(b"secret")
    with (here / "clip.mp4").open("rb") as file:
        for video in (b"secret" * 100, file):
            with pytest.raises(ValueError, match="named by its path, not given as") as refused:
                model.score(video)
            assert "secret" not in str(refused.value)
    with pytest.raises(ValueError, match="several paths"):
        model.score_many("clip.mp4")


@pytest.mark.parametrize("module", [VideoDataModule, KoNViD1kDataModule])
def test_an_argument_that_a_data_module_does_not_have_is_named(module):
    with pytest.raises(
        ConfigError, match=re.escape(f"{module.__name__} has no argument batchsize; did you mean batch_size?")
    ):
        module("videos", batchsize=2)
