"""The precision `auto`: measured where a GPU computes, kept to by the store, float32 elsewhere."""

import json
import logging
from fractions import Fraction

import numpy as np
import pytest
import torch

from tests.support.pretend_cuda import PretendCuda
from ugcvqa.deep.pooling import VSFA
from ugcvqa.demo.scene import Scene
from ugcvqa.demo.scenes import render_scene
from ugcvqa.errors import StoreError
from ugcvqa.features import precisions
from ugcvqa.features.families import build_families
from ugcvqa.features.network_families import NetworkFamily
from ugcvqa.features.precisions import Trial, fastest, open_parts, settled
from ugcvqa.models import extraction
from ugcvqa.settings.features import DeepSettings, FamilySettings, SaliencySettings

ASKED = FamilySettings(
    deep=DeepSettings("resnet18", "random:0"),
    saliency=SaliencySettings(backbone="squeezenet1_1", weights="random:0", method="top:2"),
    engine="torch",
)


@pytest.mark.parametrize(
    ("trials", "chosen"),
    [
        ({"float32": (0, 9), "tf32": (1e-4, 5), "bfloat16": (4e-3, 2)}, "bfloat16"),
        ({"float32": (0, 9), "tf32": (1e-4, 5), "bfloat16": (6e-3, 2)}, "tf32"),
        ({"float32": (0, 9), "tf32": (6e-3, 5), "bfloat16": (float("nan"), 2)}, "float32"),
        ({"float32": (0, 9), "tf32": (1e-4, 5), "bfloat16": (4e-3, 4.8)}, "tf32"),
        ({"float32": (0, 9), "bfloat16": (4e-3, 8.9)}, "float32"),
    ],
)
def test_fastest_within_the_bound_unless_it_saves_little(trials, chosen):
    assert fastest({name: Trial(*trial) for name, trial in trials.items()}) == chosen


def test_only_what_counts_for_the_families_is_open():
    assert open_parts(ASKED, ("nss", "uvq")) == ()
    assert open_parts(ASKED, ("cnn",)) == ("deep",)
    assert open_parts(ASKED, ("vsfacnn_saliency",)) == ("deep", "saliency")
    assert open_parts(ASKED.with_precisions(), ("vsfacnn_saliency",)) == ()


def test_no_key_of_the_store_says_auto():
    for name, family in build_families(("cnn", "vsfacnn_saliency", "saliency", "stages"), ASKED).items():
        formats = [value for key, value in family.spec.settings.items() if key.endswith("precision")]
        assert formats, name
        assert set(formats) == {"float32"}, name
        assert family.spec == build_families((name,), ASKED.with_precisions())[name].spec


@pytest.mark.parametrize("part", ["deep", "saliency"])
def test_what_a_gpu_takes_is_measured_told_and_kept_to(part, monkeypatch, tmp_path, caplog):
    """On a simulated GPU; its clock is set, its errors are those of the arithmetic."""
    seconds = iter([3.0, 2.0, 1.0])
    measure = precisions.timed_vector
    monkeypatch.setattr(precisions, "timed_vector", lambda *given: (measure(*given)[0], next(seconds)))
    monkeypatch.setattr(
        precisions, "_MEASURED", {"deep": ("vsfacnn", "rgb", (64, 96)), "saliency": ("saliency", "rgb224", (224, 224))}
    )
    names = {"deep": ("cnn",), "saliency": ("saliency",)}[part]
    with PretendCuda() as gpu, caplog.at_level(logging.INFO):
        monkeypatch.setattr(NetworkFamily, "on", lambda family, _: gpu.module(family))
        found = settled(ASKED, names, tmp_path, "cuda:0")
    monkeypatch.undo()
    (note,) = (tmp_path / "precision").iterdir()
    record = json.loads(note.read_bytes())
    errors = {name: trial["difference"] for name, trial in record["trials"].items()}
    assert errors["float32"] == 0
    assert record["precision"] == ("bfloat16" if errors["bfloat16"] <= record["bound"] else "tf32")
    assert getattr(found, part).precision == record["precision"]
    assert f"{part} features in {record['precision']}, the fastest within 0.005" in caplog.text
    assert f"--families.{part}.precision float32" in caplog.text
    if part == "deep":
        scenes = (Scene(kind, 0, 96, 64, Fraction(30), 1) for kind in precisions._SCENES)
        frames = torch.from_numpy(np.stack([render_scene(scene)[0] for scene in scenes])).permute(0, 3, 1, 2)
        both = (VSFA("resnet18", "random:0", name, "torch")(frames).mean(0) for name in ("float32", "bfloat16"))
        exact, reduced = both
        assert errors["bfloat16"] == pytest.approx(float((reduced - exact).norm() / exact.norm()), rel=0.3)
    for device in ("cpu", None, "cuda:0"):  # whoever comes later
        assert settled(ASKED, names, tmp_path, device) == found
    explicit = found.with_precisions()
    assert settled(explicit, names, tmp_path, "cpu") == explicit


def test_a_cpu_takes_float32_and_a_gpu_that_comes_later_keeps_to_what_was_stored(tmp_path):
    for device in (None, "cpu"):
        assert settled(ASKED, ("cnn",), tmp_path, device) == ASKED.with_precisions()
    assert not list(tmp_path.iterdir())  # where weights are missing, nothing is left behind
    spec = build_families(("vsfacnn",), ASKED)["vsfacnn"].spec
    (tmp_path / spec.key).mkdir()
    assert settled(ASKED, ("cnn",), tmp_path, "cuda:0").deep.precision == "float32"


def test_the_first_of_several_processes_decides(tmp_path):
    note = tmp_path / "precision" / "deep.json"
    assert precisions._noted(note, "bfloat16", {}) == "bfloat16"
    assert precisions._noted(note, "tf32", {}) == "bfloat16"
    assert [path.name for path in note.parent.iterdir()] == ["deep.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"precision": "float8"}'])
def test_a_damaged_note_is_one_line(tmp_path, text):
    precisions._noted(precisions._note(tmp_path, "deep", ASKED), "tf32", {})
    (note,) = (tmp_path / "precision").iterdir()
    note.write_text(text)
    with pytest.raises(StoreError, match="cannot be read; delete it"):
        settled(ASKED, ("cnn",), tmp_path, "cpu")


@pytest.mark.parametrize(
    ("trainer", "can_use_gpu", "device"),
    [({}, True, "cuda:1"), ({}, False, "cpu"), ({"strategy": "ddp_fork"}, True, "cpu")],
    ids=["a GPU", "Dask", "processes that fork"],
)
def test_precision_is_settled_where_the_trainer_computes(monkeypatch, tmp_path, trainer, can_use_gpu, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(extraction, "root_device", lambda _: torch.device("cuda", 1))
    monkeypatch.setattr(extraction, "settled", lambda *given: given[-1])
    assert extraction.settled_on(ASKED, ("cnn",), tmp_path, trainer, can_use_gpu) == device
    assert extraction.settled_on(ASKED, ("nss",), tmp_path, trainer, can_use_gpu) is ASKED
