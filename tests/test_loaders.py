"""Loaders say where shared memory is too small, before and while it is; what they take can be sent anywhere."""

import os
import pickle
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.test_extract import dataset, texture, videos  # noqa: F401 (a fixture)
from ugcvqa.datamodules.base import QualityDataModule
from ugcvqa.datamodules.sources import frame_times
from ugcvqa.datamodules.streams import PictureStream
from ugcvqa.errors import ConfigError, UgcvqaError
from ugcvqa.features.families import build_families
from ugcvqa.features.loading import ClipDataset
from ugcvqa.features.store import FeatureStore
from ugcvqa.features.stream import ClipStream, Task
from ugcvqa.loaders import check_shared_memory, loader
from ugcvqa.media.encode import write_video
from ugcvqa.models.extraction import FeatureWriter
from ugcvqa.models.extractor import Extractor
from ugcvqa.models.outcome import Outcome
from ugcvqa.models.regressors import EndToEndRegressor, GRURegressor
from ugcvqa.processes import loader_errors
from ugcvqa.samples.clips import FAMILY, ClipFamily, ClipSource
from ugcvqa.samples.sequences import SequenceSource, pack
from ugcvqa.settings.features import DeepSettings, FamilySettings, SaliencySettings, UVQSettings
from ugcvqa.settings.training import ClipSettings

MIB = 2**20
NAMES = ("nss", "container", "pixels", "cnn", "vsfacnn", "saliency", "vsfacnn_saliency", "vsfacnn_224", "stages")
NAMES += ("uvq", "uvq15")


@pytest.fixture(scope="module")
def families():
    network = {"backbone": "squeezenet1_1", "weights": "random:0"}
    cam = SaliencySettings(**network, layer="features.12", method="top:1")
    return build_families(
        NAMES, FamilySettings(deep=DeepSettings(**network), saliency=cam, uvq=UVQSettings("random:0"))
    )


@pytest.mark.parametrize(
    ("free", "workers", "words"),
    [
        (64, 7, r"/dev/shm has 64 MiB free, 7 loading processes need about 126 MiB.*--loader\.workers 3"),
        (125, 7, "--shm-size"),
        (126, 7, ""),
        (17, 1, r"--loader\.workers 0"),
    ],
)
def test_too_little_shared_memory_is_said_before(monkeypatch, free, workers, words):
    status = SimpleNamespace(f_bavail=free * 256, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: status)
    if not words:
        return check_shared_memory(6 * MIB, workers)
    with pytest.raises(ConfigError, match=words):
        check_shared_memory(6 * MIB, workers)


def test_size_of_a_piece_is_known_before_it_is_decoded(tmp_path, families):
    """NSS takes two frames and the luma of a stretch, VSFACNN as many whole frames as fill two million pixels."""
    write_video(tmp_path / "a.mp4", texture(0, 40, 96, 128), 30)
    for name in ("nss", "vsfacnn", "cnn", "saliency"):
        stream = ClipStream([Task("a", str(tmp_path / "a.mp4"))], {name: families[name]})
        first = next(iter(stream))
        assert stream.piece_bytes() == sum(planes.nbytes for form, planes in first.frames.items() if planes.ndim > 1)
    assert ClipStream([Task("b", str(tmp_path / "none.mp4"))], families).piece_bytes() == 0


def test_a_loader_without_room_is_refused_before_it_starts(videos, monkeypatch):  # noqa: F811
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=1, f_frsize=4096))
    data = QualityDataModule(dataset(videos), num_workers=2, sampling="clips")
    with pytest.raises(ConfigError, match=r"--loader\.workers 0"):
        data.predict_dataloader()


class Full(torch.utils.data.IterableDataset):
    """Of batches that find no room, as torch says it."""

    def __iter__(self):
        def share(_):
            raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left (28)")

        torch.Tensor.share_memory_ = share
        yield torch.zeros(1)


def test_full_shared_memory_is_one_line():
    with pytest.raises(UgcvqaError, match=r"^/dev/shm is full; .*--shm-size 8g") as caught, loader_errors():
        list(loader(Full(), list, 1, False, batch_size=1))
    assert "\n" not in str(caught.value)


SMALL = """
import torch
from ugcvqa.loaders import loader
from ugcvqa.processes import loader_errors
class Large(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield torch.zeros(8 << 20, dtype=torch.uint8)
with loader_errors():
    list(loader(Large(), list, 1, False, batch_size=1))
"""


def test_full_shared_memory_of_the_system_does_not_hang():
    """Without our part torch waits for ever: its thread that sends batches loses the error."""
    small = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=4m tmpfs /dev/shm && exec "$@"', "sh"]
    if not sys.platform.startswith("linux") or subprocess.run([*small, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody have a small /dev/shm of his own")
    result = subprocess.run([*small, sys.executable, "-c", SMALL], capture_output=True, text=True, timeout=120)
    assert "ugcvqa.errors.UgcvqaError: /dev/shm is full" in result.stderr.splitlines()[-1]


def sent(value):
    """What another process would get."""
    return pickle.loads(bytes(ForkingPickler.dumps(value)))


@pytest.mark.parametrize("name", NAMES)
def test_streams_and_families_can_be_sent_to_another_process(videos, families, name):  # noqa: F811
    one = {name: families[name]}
    stream = ClipDataset(ClipStream([Task("a", str(videos / "good0.mp4"))], one))
    assert [item.family for item in sent(stream)] == [item.family for item in stream]
    extractor = sent(Extractor(one))
    assert extractor.families[name].spec == families[name].spec
    outcome = Outcome(dataset(videos, "good0.mp4"), one, FeatureStore(videos / "none"))
    assert sent(FeatureWriter([], outcome)).outcome.warning_file == outcome.warning_file


def test_modules_and_sources_can_be_sent_to_another_process(videos, tmp_path, families):  # noqa: F811
    table = pack(["a", "b"], [np.ones((3, 4), np.float32)] * 2, torch.float32)
    data = dataset(videos, "good[01].mp4")
    timed = sent(SequenceSource(table, np.ones(2), frame_times(data, families["vsfacnn_224"])))
    assert timed.collate([0, 1]).times_s is not None
    stream = ClipStream([Task("a", str(videos / "good0.mp4"))], {FAMILY: ClipFamily(ClipSettings())})
    values = [
        *(PictureStream(stream, ClipSettings()), QualityDataModule(data, store=tmp_path)),
        ClipSource([tmp_path / "a"], np.ones(1), ClipSettings(), 0),
        GRURegressor(input_dim=4, reduced_dim=2, hidden_dim=2),
        EndToEndRegressor(backbone="squeezenet1_1", weights="random:0"),
    ]
    for value in values:
        assert type(sent(value)) is type(value)


def test_a_loader_that_starts_as_in_python_3_14_serves_the_same(videos, families):  # noqa: F811
    """Its processes come from a server, so what they take is pickled."""
    some = {name: families[name] for name in ("container", "nss", "vsfacnn_224")}
    stream = ClipStream([Task("a", str(videos / "good0.mp4"))], some)
    options = {"batch_size": 1, "multiprocessing_context": "forkserver"}
    served = [batch[0] for batch in loader(ClipDataset(stream), list, 1, False, **options)]
    expected = list(ClipDataset(stream))
    assert [item.family for item in served] == [item.family for item in expected]
    for one, other in zip(served, expected, strict=True):
        assert all(torch.equal(planes, other.frames[form]) for form, planes in one.frames.items())
