"""Extraction: skip and resume, `kill -9`, two processes, failures as rows, nothing depends on batching."""

import csv
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from ugcvqa.datasets.catalogue import Dataset, Video
from ugcvqa.errors import ConfigError, StoreError
from ugcvqa.features.extraction import ClipStream, Item, Task, extract_features
from ugcvqa.features.families import build_families
from ugcvqa.features.family import Family
from ugcvqa.features.light_families import nss_plan
from ugcvqa.features.store import FeatureSpec, FeatureStore
from ugcvqa.media.encode import write_video
from ugcvqa.models.extraction import extract_dataset
from ugcvqa.models.extractor import Extractor
from ugcvqa.settings.data import DecodeLimits, LoaderSettings
from ugcvqa.settings.features import FamilySettings, NSSSettings, SaliencySettings

ONE_PROCESS = {"devices": 1, "accelerator": "cpu"}


def texture(seed, count, height, width):
    random = np.random.default_rng(seed)
    field = random.integers(0, 256, (height + count, width + count, 3), dtype=np.uint8)
    field = (field // 3 + np.roll(field, 1, 0) // 3 + np.roll(field, 1, 1) // 3).astype(np.uint8)
    return (field[k : k + height, k : k + width] for k in range(count))


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """Five good files of several sizes and rates, and three that cannot be used."""
    folder = tmp_path_factory.mktemp("videos")
    sizes = [(48, 64), (64, 48), (50, 66), (48, 64), (72, 40)]
    for number, (height, width) in enumerate(sizes):
        rate = (10, 12, Fraction(15000, 1001), 8, 10)[number]
        write_video(folder / f"good{number}.mp4", texture(number, 26, height, width), rate)
    (folder / "bad text.mp4").write_text("no video")
    write_video(folder / "short.mp4", texture(9, 3, 48, 64), 30)
    write_video(folder / "tiny.mp4", texture(9, 26, 8, 8), 10)
    (folder / "labels.csv").write_text(
        "file,mos\n" + "".join(f"{path.name},3\n" for path in sorted(folder.glob("*.mp4"))) + "gone.mp4,2\n"
    )
    return folder


def dataset(folder, pattern="good*.mp4"):
    found = [Video(f"own/{path.stem}", path, 3.0, path.stem) for path in sorted(folder.glob(pattern))]
    return Dataset("own", "MOS", (1.0, 5.0), tuple(found))


def run(data, store, trainer=ONE_PROCESS, batch_size=1, workers=0, settings=FamilySettings()):
    loader = LoaderSettings(batch_size, workers)
    families = build_families(("nss",), settings)
    return extract_dataset(data, families, FeatureStore(store), loader, DecodeLimits(), trainer)


def spec_of(name, settings):
    return build_families((name,), settings)[name].spec


def tree(store):
    """Every finished file of the store that does not tell where the videos lay, with its bytes."""
    files = (path for path in store.rglob("*") if path.is_file() and "identities" not in path.parts)
    files = (path for path in files if path.suffix != ".tmp")  # a killed write leaves one
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


@pytest.fixture(scope="session")
def reference(videos, tmp_path_factory):
    """The store of an undisturbed run in one process."""
    store = tmp_path_factory.mktemp("reference") / "store"
    assert run(dataset(videos), store) == {}
    return tree(store)


def test_store_holds_one_finite_enough_vector_per_video(videos, tmp_path):
    store = FeatureStore(tmp_path / "store")
    assert run(dataset(videos), store.root) == {}
    spec = spec_of("nss", FamilySettings())
    names = dict(store.names(spec))
    assert sorted(names) == [f"own/good{number}" for number in range(5)]
    for content in names.values():
        vector = store.get(spec, content)["video"]
        assert vector.shape == (1836,)
        assert vector.dtype == np.float64
        assert np.isfinite(vector).mean() > 0.95


@pytest.mark.parametrize(("batch_size", "workers"), [(7, 0), (2, 2)])
def test_batch_and_workers_do_not_change_a_byte(videos, reference, tmp_path, batch_size, workers):
    run(dataset(videos), tmp_path / "store", batch_size=batch_size, workers=workers)
    assert tree(tmp_path / "store") == reference


def test_forked_processes_do_not_change_a_byte(videos, reference, tmp_path):
    trainer = {"accelerator": "cpu", "devices": 2, "strategy": "ddp_fork"}
    run(dataset(videos), tmp_path / "store", trainer)
    assert tree(tmp_path / "store") == reference


def test_second_run_computes_nothing(videos, tmp_path, monkeypatch):
    run(dataset(videos), tmp_path / "store")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.safetensors")}
    monkeypatch.setattr("ugcvqa.features.stream.read_clips", lambda *_: pytest.fail("decoded again"))
    assert run(dataset(videos), tmp_path / "store") == {}
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_other_settings_are_computed_anew_beside_the_old(videos, tmp_path):
    store = FeatureStore(tmp_path / "store")
    other = FamilySettings(NSSSettings(colour="rapique"))
    vectors = []
    for settings in (FamilySettings(), other):
        run(dataset(videos, "good0.mp4"), store.root, settings=settings)
        spec = spec_of("nss", settings)
        vectors.append(store.get(spec, store.content(videos / "good0.mp4"))["video"])
    assert not np.array_equal(*vectors)


def test_replaced_video_is_never_served_the_old_feature(videos, tmp_path):
    store = FeatureStore(tmp_path / "store")
    path = tmp_path / "good.mp4"
    spec = spec_of("nss", FamilySettings())
    vectors = []
    for source in ("good0.mp4", "good1.mp4"):
        path.write_bytes((videos / source).read_bytes())
        run(dataset(tmp_path), store.root)
        vectors.append(store.get(spec, store.content(path))["video"])
    assert not np.array_equal(*vectors)


def test_failures_become_rows_and_the_rest_goes_on(videos, tmp_path):
    data = dataset(videos, "*.mp4")
    missing = Video("own/gone", None, 2.0, "gone")
    failures = run(Dataset("own", "MOS", (1, 5), (missing, *data.videos)), tmp_path / "store")
    assert sorted(failures) == ["own/bad text", "own/gone", "own/short", "own/tiny"]
    assert failures["own/gone"] == "no file found"
    assert "too short for NSS features: 3 frames" in failures["own/short"]
    assert "too small for NSS features: frames of 8 x 8 pixels" in failures["own/tiny"]
    with (tmp_path / "store" / "failures-own.csv").open() as file:
        assert {row["video_id"]: row["reason"] for row in csv.DictReader(file)} == failures
    names = dict(FeatureStore(tmp_path / "store").names(spec_of("nss", FamilySettings())))
    assert sorted(names) == [f"own/good{number}" for number in range(5)]


def test_short_video_gives_nan_when_asked_to(videos, tmp_path):
    settings = FamilySettings(NSSSettings(short="nan"))
    assert run(dataset(videos, "short.mp4"), tmp_path / "store", settings=settings) == {}
    store = FeatureStore(tmp_path / "store")
    vector = store.get(spec_of("nss", settings), store.content(videos / "short.mp4"))["video"]
    assert np.isnan(vector).all()


def test_file_that_grows_while_it_is_read_is_a_failure(videos, tmp_path, monkeypatch):
    path = tmp_path / "good.mp4"
    path.write_bytes((videos / "good0.mp4").read_bytes())
    contents = iter(["a" * 64, "b" * 64])
    monkeypatch.setattr(FeatureStore, "content", lambda *_: next(contents))
    failures = run(dataset(tmp_path), tmp_path / "store")
    assert "changed while it was read" in failures["own/good"]
    assert not list((tmp_path / "store").rglob("*.safetensors"))


def test_results_come_in_the_order_of_the_tasks(videos):
    paths = [videos / name for name in ("good3.mp4", "bad text.mp4", "good0.mp4", "good4.mp4")]
    families = build_families(("nss",), FamilySettings())
    stream = ClipStream([Task(path.name, str(path)) for path in paths], families)
    results = list(extract_features(stream, families, batch_size=3, workers=2))
    assert [result.task for result in results] == [0, 1, 2, 3]
    assert [bool(result.reason) for result in results] == [False, True, False, False]


def test_error_in_a_network_costs_one_video_and_no_other(videos, tmp_path, monkeypatch):
    import ugcvqa.features.light_families

    def forward(self, frames):
        if frames["y"].shape[-1] == 66:  # good2
            raise IndexError("a bug")
        return original(self, frames)

    original = ugcvqa.features.light_families.NSSFamily.__call__
    monkeypatch.setattr(ugcvqa.features.light_families.NSSFamily, "__call__", forward)
    failures = run(dataset(videos), tmp_path / "store")
    assert failures == {"own/good2": "nss features cannot be computed: IndexError: a bug"}
    assert len(list((tmp_path / "store").rglob("*.safetensors"))) == 4


def test_frames_without_a_map_are_told(videos, tmp_path, caplog):
    settings = FamilySettings(saliency=SaliencySettings("resnet18", "layer4", "random:0"))
    families = build_families(("saliency",), settings)
    last = families["saliency"].cam.network.layer4[1].bn2
    torch.nn.init.zeros_(last.weight), torch.nn.init.constant_(last.bias, -1e6)
    loader = LoaderSettings(workers=0)
    extract_dataset(dataset(videos), families, FeatureStore(tmp_path), loader, DecodeLimits(), {"accelerator": "cpu"})
    assert "own/good3: 3 frames have no saliency map and count as zeros" in caplog.text


def test_band_too_small_after_shrinking_is_a_failure_row(videos, tmp_path):
    settings = FamilySettings(NSSSettings(min_side=16))
    failures = run(dataset(videos), tmp_path / "store", settings=settings)
    assert sorted(failures) == [f"own/good{number}" for number in range(5)]
    assert "at least 13 x 13" in failures["own/good0"]


def test_freed_memory_goes_back_where_one_family_ends_and_another_begins(monkeypatch):
    given_back = []
    monkeypatch.setattr("ugcvqa.models.extractor.give_back_freed_memory", lambda: given_back.append(True))
    monkeypatch.setattr("ugcvqa.models.extractor.compute", lambda _, items: [item.family for item in items])
    extractor = Extractor(dict.fromkeys("ab", Family(FeatureSpec("a", 1, {}), nss_plan)))
    batches = ("a", "a"), ("", "a", "b"), ("b", "", "a")
    results = [extractor.computed([Item(0, name) for name in batch]) for batch in batches]
    assert results == [list(batch) for batch in batches]
    assert len(given_back) == 3


def test_loader_can_pin_the_frames_of_an_item(monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda planes: pinned.append(planes) or planes)
    frames = {form: torch.zeros(2, 4, 4) for form in ("y", "u")}
    item = Item(3, "nss", frames, places=(0, 1))
    (moved,) = pin_memory([item])
    assert moved == item
    assert [id(planes) for planes in pinned] == [id(planes) for planes in frames.values()]


def test_limited_run_says_what_it_left_out(videos, tmp_path):
    failures = run(dataset(videos), tmp_path / "store", {**ONE_PROCESS, "limit_predict_batches": 1})
    assert len(failures) == 5
    assert "not processed" in failures["own/good4"]


def test_video_that_became_unreadable_is_forgotten_by_name(videos, tmp_path):
    store = FeatureStore(tmp_path / "store")
    path = tmp_path / "good.mp4"
    path.write_bytes((videos / "good0.mp4").read_bytes())
    spec = spec_of("nss", FamilySettings())
    run(dataset(tmp_path), store.root)
    assert "own/good" in dict(store.names(spec))
    path.write_text("broken")
    assert list(run(dataset(tmp_path), store.root)) == ["own/good"]
    assert "own/good" not in dict(store.names(spec))


def test_damaged_feature_file_is_made_again(videos, reference, tmp_path):
    run(dataset(videos), tmp_path / "store")
    for path in (tmp_path / "store").rglob("*.safetensors"):
        path.write_bytes(b"")
    for path in (tmp_path / "store").glob("identities/*/*"):
        path.write_bytes(b"")
    assert run(dataset(videos), tmp_path / "store") == {}
    assert tree(tmp_path / "store") == reference


def test_unwritable_store_is_told_before_any_work(videos, tmp_path, monkeypatch):
    (tmp_path / "store").write_text("a file")
    monkeypatch.setattr("ugcvqa.features.stream.read_clips", lambda *_: pytest.fail("decoded"))
    with pytest.raises(StoreError, match="cannot be written"):
        run(dataset(videos), tmp_path / "store")


def test_unusable_trainer_argument_is_one_error(videos, tmp_path):
    for trainer in ({"nonsense": 1}, {"strategy": "nonsense"}, {"accelerator": "cuda", "devices": 3}):
        with pytest.raises(ConfigError, match="--trainer"):
            run(dataset(videos), tmp_path / "store", trainer)


def command(folder, store, *more):
    where = ["--data.name", "own", "--data.labels", str(folder / "labels.csv"), "--data.root", str(folder)]
    return [sys.executable, "-m", "ugcvqa.extract", *where, "--store", str(store), *more]


@pytest.mark.ddp
def test_two_ddp_processes_do_not_change_a_byte_and_list_all_failures(videos, reference, tmp_path):
    store = tmp_path / "store"
    more = ["--trainer.devices", "2", "--trainer.accelerator", "cpu", "--trainer.strategy", "ddp"]
    result = subprocess.run(command(videos, store, *more), capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "5 of 9 videos of own have nss features" in result.stdout
    with (store / "failures-own.csv").open() as file:
        assert [row["video_id"] for row in csv.DictReader(file)] == [
            "own/bad text",
            "own/gone",
            "own/short",
            "own/tiny",
        ]
    made = {name: data for name, data in tree(store).items() if not name.endswith(".csv")}
    assert made == {name: data for name, data in reference.items() if not name.endswith(".csv")}


@pytest.mark.ddp
def test_killed_job_goes_on_where_it_stopped(videos, reference, tmp_path):
    store = tmp_path / "store"
    process = subprocess.Popen(
        command(videos, store, "--trainer.devices", "1"), stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(store.rglob("*.safetensors")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = len(list(store.rglob("*.safetensors")))
    assert 1 <= done <= 5
    run(dataset(videos), store)
    assert tree(store) == reference
    assert not [path for path in Path(store).rglob("*.tmp") if path.stat().st_size > 10**6]


def test_a_long_video_takes_no_more_memory_than_a_short_one(tmp_path):
    peaks = []
    for count in (30, 30, 300):  # the first run fills what Python keeps
        path = tmp_path / f"{count}.mp4"
        write_video(path, texture(3, count, 64, 96), 10)
        families = build_families(("nss",), FamilySettings())
        families["nss"].forward = lambda frames: torch.zeros(1836, dtype=torch.float64)
        tracemalloc.start()
        (result,) = extract_features(ClipStream([Task("long", str(path))], families), families)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert not result.reason
    assert peaks[2] < peaks[1] + 50_000  # one chunk's frames take 120 kB, all frames 3 MB
