"""Exported end-to-end models give the score of the model they come from."""

import numpy as np
import pytest
import torch

from ugcvqa.deep.backbones import load_backbone
from ugcvqa.errors import ConfigError
from ugcvqa.evaluation.metrics import IDENTITY
from ugcvqa.files import arrays_from_file, arrays_to_bytes
from ugcvqa.heads.exporting import export_model
from ugcvqa.heads.network_heads import EndToEndHead, MOSLine, build_end_to_end
from ugcvqa.training_settings import ClipSettings, EndToEndSettings


@pytest.fixture(scope="module")
def head():
    settings = EndToEndSettings(
        "resnet18", "random:2", reduced_dim=8, hidden_dim=6, tau=2, clip=ClipSettings(4, 1, "crop", 0, 48)
    )
    network = build_end_to_end(settings, load_backbone("resnet18", "random:2")).eval().requires_grad_(False)
    return EndToEndHead(network, settings, MOSLine(0.5, 4.0), IDENTITY)


@pytest.fixture
def clip():
    return np.random.default_rng(0).integers(0, 256, (4, 3, 48, 48), np.uint8)


def test_torch_export_gives_the_same_score(head, clip, tmp_path):
    export_model(head, tmp_path / "model.pt2")
    scorer = torch.export.load(tmp_path / "model.pt2").module()
    assert scorer(torch.from_numpy(clip)).item() == pytest.approx(head.predict([clip])[0], abs=1e-5)


@pytest.mark.slow
def test_onnx_gives_the_same_score(head, clip, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    export_model(head, tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (score,) = session.run(None, {"clip": clip})
    assert score[0] == pytest.approx(head.predict([clip])[0], abs=1e-4)


def test_other_endings_are_refused(head, tmp_path):
    with pytest.raises(ConfigError, match=r"end in \.pt2 or \.onnx"):
        export_model(head, tmp_path / "model.txt")


def test_model_file_round_trip_needs_no_weight_file(head, clip, tmp_path):
    arrays, values = head.to_arrays()
    (tmp_path / "model.safetensors").write_bytes(arrays_to_bytes(arrays, {}))
    arrays, _ = arrays_from_file(tmp_path / "model.safetensors")
    again = EndToEndHead.from_arrays(arrays, values)
    assert again.predict([clip])[0] == head.predict([clip])[0]
    assert again.settings == head.settings
