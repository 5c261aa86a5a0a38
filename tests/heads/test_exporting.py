"""Exported end-to-end models give the score of the model they come from."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ugcvqa.deep.backbones import load_backbone
from ugcvqa.errors import ConfigError
from ugcvqa.evaluation.metrics import IDENTITY
from ugcvqa.files import arrays_from_file, arrays_to_bytes
from ugcvqa.heads.exporting import export_model
from ugcvqa.heads.gru import MOSLine
from ugcvqa.heads.network_heads import FittedEndToEnd, build_end_to_end
from ugcvqa.settings.training import ClipSettings, EndToEndSettings

LITE = ("efficientnet_lite0", "IMAGENET1K_V1")


def untrained(name, weights, clip, stages=0):
    """A model whose head is as it was drawn."""
    settings = EndToEndSettings(name, weights, stages=stages, reduced_dim=8, hidden_dim=6, tau=2, clip=clip)
    network = build_end_to_end(settings, load_backbone(name, weights)).eval().requires_grad_(False)
    return FittedEndToEnd(network, settings, MOSLine(0.5, 4.0), IDENTITY)


@pytest.fixture(scope="module")
def head():
    return untrained("resnet18", "random:2", ClipSettings(4, 1, "crop", 0, 48))


@pytest.fixture
def clip():
    return np.random.default_rng(0).integers(0, 256, (4, 3, 48, 48), np.uint8)


def test_torch_export_gives_the_same_score(head, clip, tmp_path):
    export_model(head, tmp_path / "model.pt2")
    scorer = torch.export.load(tmp_path / "model.pt2").module()
    assert scorer(torch.from_numpy(clip)).item() == pytest.approx(head.predict([clip])[0], abs=1e-5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_has_exported_scores_as_before_and_its_forks_can_train(tmp_path):
    program = (
        "import os, sys, torch; from pathlib import Path\n"
        "from tests.heads.test_exporting import ClipSettings, export_model, untrained\n"
        "head = untrained('resnet18', 'random:2', ClipSettings(2, 1, 'crop', 0, 48))\n"
        "export_model(head, Path(sys.argv[1]))\n"
        "clip = torch.arange(2 * 3 * 48 * 48).mul(7).to(torch.uint8).view(2, 3, 48, 48)\n"
        "exported = torch.export.load(sys.argv[1]).module()(clip).item()\n"
        "assert abs(head.predict([clip.numpy()])[0] - exported) < 1e-5, 'the export has changed the model'\n"
        "torch.ones(1, requires_grad=True).sum().backward()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    torch.ones(1, requires_grad=True).sum().backward()\n"
        "    os._exit(7)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "model.pt2")]
    assert subprocess.run(command, cwd=Path(__file__).resolve().parents[2], check=False).returncode == 7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "stages", "side"),
    [(("resnet18", "random:2"), 0, 48), (LITE, 0, 75), (LITE, 6, 80), (LITE, 6, 97)],
    ids=["resnet18", "lite", "lite-6-stages", "lite-odd"],
)
def test_onnx_gives_the_same_score(network, stages, side, tmp_path, capfd):
    """Odd sides too, at which the padding of EfficientNet-Lite0 is another."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    head = untrained(*network, ClipSettings(2, 1, "crop", 0, side), stages=stages)
    export_model(head, tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for seed in range(2):
        clip = np.random.default_rng(seed).integers(0, 256, (2, 3, side, side), np.uint8)
        (score,) = session.run(None, {"clip": clip})
        assert score[0] == pytest.approx(head.predict([clip])[0], abs=1e-4)


def test_other_endings_are_refused(head, tmp_path):
    with pytest.raises(ConfigError, match=r"end in \.pt2 or \.onnx"):
        export_model(head, tmp_path / "model.txt")


def test_model_file_round_trip_needs_no_weight_file(head, clip, tmp_path):
    arrays, values = head.to_arrays()
    (tmp_path / "model.safetensors").write_bytes(arrays_to_bytes(arrays, {}))
    arrays, _ = arrays_from_file(tmp_path / "model.safetensors")
    again = FittedEndToEnd.from_arrays(arrays, values)
    assert again.predict([clip])[0] == head.predict([clip])[0]
    assert again.settings == head.settings
