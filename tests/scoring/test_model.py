"""Model files of format 1, spelled out: what was written once is read by every later version, or says what to do."""

import copy
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torchvision import models

from ugcvqa import __version__
from ugcvqa.errors import CheckpointError
from ugcvqa.scoring.model_file import load

FRAME = {
    "format": 1,
    "ugcvqa": "0.1.0",
    "row": "MINE",
    "settings": {
        "nss": {"colour": "rapique", "precision": "float32", "min_side": 512, "short": "error"},
        "deep": {
            "backbone": "resnet50",
            "weights": "IMAGENET1K_V1",
            "precision": "float32",
            "keep_frames": False,
        },
        "saliency": {
            "backbone": "vgg16",
            "layer": None,
            "weights": "IMAGENET1K_V1",
            "precision": "float32",
            "method": "exact",
            "memory_mib": None,
            "keep_maps": False,
        },
        "uvq": {
            "weights": "",
            "counting": "real",
            "sampler": "ffmpeg-cfr",
            "fps": 1,
            "keep_frames": False,
        },
    },
    "specs": {},
    "label": "MOS",
    "scale": [1.0, 5.0],
    "trained_on": "own (2 videos)",
}


def svr():
    arrays = {
        "minimum": np.array([0.0, 1.0]),
        "span": np.array([2.0, 0.0]),
        "support_vectors": np.array([[0.0, 1.0], [2.0, 1.0]], np.float32),
        "dual_coef": np.array([-1.5, 0.5]),
    }
    head = {"kind": "svr", "intercept": 3.0, "gamma": 0.25, "C": 2.0, "logistic": [5.0, 1.0, 3.0, 0.5]}
    return arrays, head, np.array([[1.0, 7.0]]), 3.0 - np.exp(-0.25 * 0.25)


def gp():
    arrays = {
        "values": np.array([[0.6, 0.8], [0.0, 1.0]], np.float32),
        "unit_distances": np.array([0.5]),
        "coefficients": np.array([1.0, -2.0]),
        "amplitudes": np.array([2.0]),
        "mixtures": np.array([1.5]),
        "weights": np.array([[0.7]]),
    }
    head = {
        "kind": "gp",
        "parts": [{"name": "cnn", "start": 0, "stop": 2, "scaling": "root"}],
        "constant": 0.5,
        "noise": 0.1,
        "mos_mean": 3.0,
        "mos_deviation": 0.5,
        "logistic": [],
    }
    distances = 0.7 * np.array([(0.6 - 1) ** 2 + 0.8**2, 2.0]) / 0.5  # from (4, 0), which is scaled to (1, 0)
    covariance = 0.5 + 2 * (1 + distances / 3) ** -1.5
    return arrays, head, np.array([[4.0, 0.0]]), 3 + 0.5 * covariance @ [1.0, -2.0]


def gru():
    arrays = {
        "projection.weight": np.eye(2, 3, dtype=np.float32),
        "projection.bias": np.zeros(2, np.float32),
        "gru.weight_ih_l0": np.array([[0, 0], [0, 0], [1, 1]], np.float32),
        "gru.weight_hh_l0": np.zeros((3, 1), np.float32),
        "gru.bias_ih_l0": np.zeros(3, np.float32),
        "gru.bias_hh_l0": np.zeros(3, np.float32),
        "quality.weight": np.array([[2.0]], np.float32),
        "quality.bias": np.array([0.25], np.float32),
    }
    line = {"offset": 1.0, "slope": 2.0}
    head = {"kind": "gru", "tau": 12, "beta": 0.5, "line": line, "logistic": []}
    # Both gates are 1/2, so that the hidden state of a single frame is half the tangent of its first two values' sum.
    return arrays, head, np.array([[[0.2, 0.3, 9.0]]], np.float32), 1 + 2 * (2 * 0.5 * np.tanh(0.5) + 0.25)


def end_to_end():
    head = {
        "kind": "end_to_end",
        "settings": {
            "backbone": "squeezenet1_1",
            "weights": "IMAGENET1K_V1",
            "frozen_stages": 1,
            "checkpointing": False,
            "reduced_dim": 2,
            "hidden_dim": 1,
            "tau": 3,
            "beta": 0.5,
            "head_epochs": 30,
            "clip": {"frames": 2, "phases": 2, "view": "crop", "short_side": 0, "crop": 40},
            "recipe": {"epochs": 30, "lr": 1e-4},
        },
        "line": {"offset": 0.0, "slope": 5.0},
        "logistic": [],
    }
    network = models.squeezenet1_1(weights=None).features
    arrays = {
        f"backbone.stages.{name}": np.zeros(value.shape, np.float32) for name, value in network.state_dict().items()
    }
    arrays |= {f"head.{name}": value for name, value in gru()[0].items()}
    arrays["head.projection.weight"] = np.zeros((2, 1024), np.float32)
    arrays["head.projection.bias"] = np.array([0.2, 0.3], np.float32)
    # Weights of 0 give features of 0, so that two frames are worth the two biases each; the state grows from 0.
    h = np.array([0.5 * np.tanh(0.5), 0.75 * np.tanh(0.5)])
    q = 2 * h + 0.25
    present = np.array([(q * np.exp(-q)).sum() / np.exp(-q).sum(), q[1]])
    pooled = 0.5 * present + 0.5 * q[0]  # the memory is the smaller one, the first
    return arrays, head, np.zeros((1, 2, 3, 40, 40), np.uint8), 5 * pooled.mean()


MAKERS = {"svr": svr, "gp": gp, "gru": gru, "end_to_end": end_to_end}


def write(path, arrays, metadata):
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(contiguous, path, metadata={"ugcvqa": json.dumps(metadata)})
    return path


@pytest.mark.parametrize("kind", MAKERS)
def test_file_of_format_1_gives_the_score_of_its_numbers(tmp_path, kind):
    arrays, head, features, expected = MAKERS[kind]()
    model = load(write(tmp_path / "model.safetensors", arrays, {**FRAME, "head": head}))
    assert model.predict(features) == pytest.approx([expected], rel=1e-5)
    assert model.settings.nss.colour == "rapique"
    assert (model.label, model.scale, model.trained_on) == ("MOS", (1.0, 5.0), "own (2 videos)")
    model.save(tmp_path / "again.safetensors")
    assert load(tmp_path / "again.safetensors").predict(features) == pytest.approx([expected], rel=1e-5)


def test_what_an_older_version_did_not_know_has_its_default(tmp_path):
    arrays, head, features, expected = end_to_end()
    metadata = copy.deepcopy({**FRAME, "head": head})
    del metadata["settings"]["uvq"], metadata["settings"]["saliency"], metadata["settings"]["nss"]["short"]
    del metadata["head"]["settings"]["checkpointing"], metadata["head"]["settings"]["clip"]["phases"]
    model = load(write(tmp_path / "model.safetensors", arrays, metadata))
    assert model.predict(features) == pytest.approx([expected], rel=1e-5)
    assert model.settings.nss.short == "error"
    assert model.settings.saliency.backbone == "vgg16"
    assert model.head.settings.stages == 0
    assert model.head.settings.clip.phases == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2, "ugcvqa": "3.0.0"}, r"model format 2 of ugcvqa 3\.0\.0; .* up to 1: install a newer version"),
        (
            {"ugcvqa": "0.9.9", "settings": {"nss": {"new": 1}}},
            r"'new'.*; ugcvqa 0\.9\.9 wrote it, .*: install that one",
        ),
        ({"ugcvqa": "0.9.9", "head": {"kind": "transformer"}}, r"head 'transformer' is unknown here"),
        ({"ugcvqa": __version__, "head": {"kind": "gru"}}, r"model\.safetensors: the GRU head lacks its part"),
    ],
)
def test_file_of_a_newer_version_says_in_one_line_what_to_do(tmp_path, change, message):
    arrays, head, _, _ = svr()
    path = write(tmp_path / "model.safetensors", arrays, {**FRAME, "head": head, **change})
    with pytest.raises(CheckpointError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_loading_draws_no_random_numbers(tmp_path):
    arrays, head, _, _ = end_to_end()
    path = write(tmp_path / "model.safetensors", arrays, {**FRAME, "head": head})
    before = torch.random.get_rng_state()
    load(path)
    assert torch.equal(torch.random.get_rng_state(), before)
