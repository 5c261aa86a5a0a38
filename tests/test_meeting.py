"""Ranks that finish further apart than a collective waits meet all the same; one that has died is not waited for."""

import os
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed

from ugcvqa.datasets.catalogue import Dataset, Video
from ugcvqa.errors import ConfigError, UgcvqaError
from ugcvqa.features.light_families import ContainerFamily
from ugcvqa.features.store import FeatureStore
from ugcvqa.media.encode import write_video
from ugcvqa.meeting import Meeting
from ugcvqa.models.extraction import extract_dataset
from ugcvqa.settings.data import DecodeLimits, LoaderSettings

pytestmark = [
    pytest.mark.ddp,
    pytest.mark.skipif("fork" not in torch.multiprocessing.get_all_start_methods(), reason="needs fork"),
]
TIMEOUT_S = 8.0  # torch's least useful one on a busy machine; by default half an hour


def two_processes(work, folder, timeout_s=60.0):
    torch.multiprocessing.start_processes(_grouped, (work, str(folder), timeout_s), nprocs=2, start_method="fork")


def _grouped(rank, work, folder, timeout_s):
    where = {"init_method": f"file://{folder}/group", "rank": rank, "world_size": 2}
    distributed.init_process_group("gloo", timeout=timedelta(seconds=timeout_s), **where)
    strategy = SimpleNamespace(barrier=lambda _: distributed.barrier())
    work(rank, SimpleNamespace(global_rank=rank, world_size=2, strategy=strategy), folder)


def meets_twice(rank, trainer, folder):
    meeting = Meeting(trainer, Path(folder))
    for number in range(2):
        time.sleep(rank * 0.3)
        told = meeting.exchange(f"{rank} {number}".encode())
        assert told == [f"0 {number}".encode(), f"1 {number}".encode()]


def dies(rank, trainer, folder):
    meeting = Meeting(trainer, Path(folder))
    if rank == 1:
        os._exit(0)
    with pytest.raises(UgcvqaError, match="process 1 of 2 ended early"):
        meeting.exchange()


def has_another_folder(rank, trainer, folder):
    """As where each machine has a folder of its own by that name."""
    if rank == 0:
        trainer.strategy.barrier = lambda _: (remove_all(folder), distributed.barrier())
    with pytest.raises(ConfigError, match="not the same folder on all machines"):
        Meeting(trainer, Path(folder))


def remove_all(folder):
    for path in Path(folder).glob(".ugcvqa-*"):
        path.unlink()


@pytest.mark.parametrize("work", [meets_twice, dies, has_another_folder])
def test_processes_meet(work, tmp_path, monkeypatch):
    monkeypatch.setattr("ugcvqa.meeting._SEEN_WITHIN_S", 0.5)
    two_processes(work, tmp_path)
    assert not list(tmp_path.glob(".ugcvqa-*"))


class SlowOnOneRank(ContainerFamily):
    """Takes longer for the videos of one rank than a collective of the others would wait."""

    def __call__(self, frames):
        time.sleep(distributed.get_rank() * (TIMEOUT_S + 3))
        return super().__call__(frames)


@pytest.mark.ddp
def test_extraction_outlives_the_time_limit_of_its_process_group(tmp_path):
    for name in "abcd":  # the ranks take ac and bd
        write_video(tmp_path / f"{name}.mp4", iter([np.zeros((32, 32, 3), np.uint8)] * 12), 10)
    for name in "bc":
        (tmp_path / f"{name}.mp4").write_text("no video")
    found = tuple(Video(name, tmp_path / f"{name}.mp4", 3.0, name) for name in "abcd")
    strategy = DDPStrategy(start_method="fork", timeout=timedelta(seconds=TIMEOUT_S))
    trainer = {"accelerator": "cpu", "devices": 2, "strategy": strategy}
    store = FeatureStore(tmp_path / "store")
    place = (store, LoaderSettings(), DecodeLimits(), trainer)
    failures = extract_dataset(Dataset("own", "MOS", (1.0, 5.0), found), {"container": SlowOnOneRank()}, *place)
    assert sorted(failures) == ["b", "c"]
    assert len(list(store.root.rglob("*.safetensors"))) == 1  # of equal content
    assert not list(store.root.glob(".ugcvqa-*"))
