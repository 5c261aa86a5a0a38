"""The doctor verb: what it finds well, absent or wrong, and its exit code."""

import numpy as np
import pytest
import torch

from ugcvqa import doctor
from ugcvqa.errors import CheckpointError, UgcvqaError, WeightsError
from ugcvqa.media.video import read_frames
from ugcvqa.scoring import known_answers, known_models
from ugcvqa.scoring.result import Score
from ugcvqa.settings.features import UVQSettings
from ugcvqa.uvq.state import SCORE_NAMES


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    monkeypatch.delenv("UGCVQA_UVQ_WEIGHTS", raising=False)
    monkeypatch.setenv("UGCVQA_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "weights"


def findings(capsys):
    lines = capsys.readouterr().out.splitlines()
    return {line[8:36].strip(): (line[:7].strip(), line[37:]) for line in lines}


def test_an_installation_without_weights_is_fine(no_weights, capsys, monkeypatch):
    monkeypatch.setattr(known_answers, "check_released", lambda name, clip: "fine")
    assert doctor.main(["--quick"]) == 0
    found = findings(capsys)
    heads = ("SVR head, known answer", "GP head, known answer", "GRU head, known answer")
    for name in ("versions", "devices", "decoders", "decoder, known answer", "NSS, known answer", *heads):
        assert found[name][0] == "ok", found[name]
    for name in known_answers.CODECS:
        state, text = found[f"{name} decoder"]
        assert (state, text[:8]) == ("ok", "8 frames") or state == "absent", text
    assert found["ResNet-50 weights"] == (
        "absent",
        f"resnet50-0676ba61.pth belongs in {no_weights} or {no_weights.parent / 'hub' / 'checkpoints'}; "
        "not needed for NSS",
    )
    assert "google/uvq" in found["UVQ 1.0 weights"][1]


def test_wrong_weights_and_wrong_numbers_are_failures(no_weights, capsys, monkeypatch, tmp_path):
    no_weights.mkdir()
    (no_weights / "vgg16-397923af.pth").write_bytes(b"another file")
    monkeypatch.setattr(known_answers, "_PLANES_SHA256", "0" * 64)
    monkeypatch.setitem(known_answers._NSS, 33, 1.5)
    monkeypatch.setattr(known_models, "_SVR", (1.0, 2.0, 3.0))
    monkeypatch.setattr(known_answers, "check_released", lambda name, clip: "fine")
    monkeypatch.setitem(known_answers.CODECS, "FFV1", known_answers.CodecTrial("ffv1", ".nothing", {}, True))
    (tmp_path / "uvq").mkdir()
    assert doctor.main(["--quick", "--uvq.weights", str(tmp_path / "uvq")]) == 1
    found = findings(capsys)
    failed = {name for name, (state, _) in found.items() if state == "FAILED"}
    assert failed == {
        *("decoder, known answer", "NSS, known answer", "VGG-16 weights"),
        *("SVR head, known answer", "FFV1 decoder"),
        *("UVQ 1.0 weights", "UVQ 1.5 weights"),
    }
    assert "SHA-256 is" in found["VGG-16 weights"][1]
    assert "features of the built-in clip differ" in found["NSS, known answer"][1]


def test_a_decoder_that_gives_other_pixels_is_a_failure(monkeypatch, tmp_path):
    def darker(path, form):
        return ((index, time_s, image - np.uint8(9)) for index, time_s, image in read_frames(path, form=form))

    monkeypatch.setattr(known_answers, "read_frames", darker)
    for name in ("FFV1", "MPEG-4"):
        with pytest.raises(UgcvqaError, match="decode to other pixels"):
            known_answers.check_codec(name, tmp_path)
    monkeypatch.setattr(known_answers, "has_encoder", lambda codec: False)
    assert known_answers.check_codec("FFV1", tmp_path) is None


@pytest.mark.parametrize(
    ("error", "state"), [(None, "ok"), (WeightsError("w"), "absent"), (CheckpointError("c"), "FAILED")], ids=str
)
def test_released_models_score_the_built_in_clip(monkeypatch, tmp_path, error, state):
    class Model:
        def score(self, path):
            if error is not None:
                raise error
            return Score(str(path), 3.0, 3.0)

    monkeypatch.setattr(known_answers, "released_file", lambda name: tmp_path / name)
    monkeypatch.setattr(known_answers, "load", lambda path: Model())
    monkeypatch.setitem(known_answers._RELEASED, "ours", 3.0)
    assert doctor._released("ours", tmp_path).state == state
    if state == "ok":
        monkeypatch.setitem(known_answers._RELEASED, "ours", 3.2)
        assert doctor._released("ours", tmp_path).text.startswith(
            "model ours gives the built-in clip 3.0000, not 3.2000"
        )


def test_large_networks_are_checked_unless_asked_to_be_quick(no_weights, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(known_answers, "check_released", lambda name, clip: "fine")
    for name in ("check_resnet", "check_saliency"):
        monkeypatch.setattr(known_models, name, lambda *device, name=name: asked.append(name) or "fine")
    monkeypatch.setattr(known_models, "check_uvq_networks", lambda version, *device: asked.append(version) or "fine")
    assert doctor.main(["--quick"]) == 0
    assert not asked
    assert doctor.main([]) == 0
    assert asked == ["check_resnet", "check_saliency", "uvq", "uvq1.5"]


def published(version):
    if version == "uvq":
        return {"parts": dict(known_answers._UVQ10), "details": {"seconds": [4.06] * 20}}
    return {"details": {"seconds": list(known_answers._UVQ15_SECONDS)}}


@pytest.mark.parametrize("version", ["uvq", "uvq1.5"])
def test_published_scores_are_met_or_the_worst_is_named(monkeypatch, version):
    values, made = published(version), []

    class Model:
        def __init__(self, version, settings):
            made.append(settings)

        def score(self, path, device):
            return Score(path, 3.8803, 3.8803, **values)

    monkeypatch.setattr(known_answers, "UVQModel", Model)
    assert "published scores met" in known_answers.check_uvq(version, UVQSettings("folder"), "clip", "cpu")
    assert made == [UVQSettings("folder", "reference")]
    if version == "uvq":
        values["parts"]["content"] = float("nan")  # its aggregation weights are not there
        assert "6 published scores" in known_answers.check_uvq(version, UVQSettings(), "clip", "cpu")
        values["parts"][SCORE_NAMES[-1]] += 0.01
    else:
        values["details"]["seconds"][3] += 0.01
    with pytest.raises(UgcvqaError, match=f"{SCORE_NAMES[-1]} is 4.07" if version == "uvq" else "second 3 is 4.15"):
        known_answers.check_uvq(version, UVQSettings(), "clip", "cpu")


def test_a_video_of_another_length_is_named(monkeypatch):
    class Model:
        def __init__(self, version, settings):
            pass

        def score(self, path, device):
            return Score(path, 3.8803, 3.8803, details={"seconds": [4.0]})

    monkeypatch.setattr(known_answers, "UVQModel", Model)
    with pytest.raises(UgcvqaError, match="published is"):
        known_answers.check_uvq("uvq1.5", UVQSettings(), "clip", "cpu")
