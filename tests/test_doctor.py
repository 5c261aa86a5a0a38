"""The doctor verb: what it finds well, absent or wrong, and its exit code."""

import pytest
import torch

from ugcvqa import doctor
from ugcvqa.errors import UgcvqaError
from ugcvqa.scoring import known_answers
from ugcvqa.scoring.model import Score
from ugcvqa.settings import UVQSettings
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


def test_an_installation_without_weights_is_fine(no_weights, capsys):
    assert doctor.main([]) == 0
    found = findings(capsys)
    for name in ("versions", "devices", "decoders", "decoder, known answer", "NSS, known answer"):
        assert found[name][0] == "ok", found[name]
    assert found["ResNet-50 weights"] == (
        "absent",
        f"resnet50-0676ba61.pth belongs into {no_weights} or {no_weights.parent / 'hub' / 'checkpoints'}; "
        "not needed for NSS",
    )
    assert "google/uvq" in found["UVQ 1.0 weights"][1]


def test_wrong_weights_and_wrong_numbers_are_failures(no_weights, capsys, monkeypatch, tmp_path):
    no_weights.mkdir()
    (no_weights / "vgg16-397923af.pth").write_bytes(b"another file")
    monkeypatch.setattr(known_answers, "_PLANES_SHA256", "0" * 64)
    monkeypatch.setitem(known_answers._NSS, 33, 1.5)
    (tmp_path / "uvq").mkdir()
    assert doctor.main(["--uvq.weights", str(tmp_path / "uvq")]) == 1
    found = findings(capsys)
    failed = {name for name, (state, _) in found.items() if state == "FAILED"}
    assert failed == {
        *("decoder, known answer", "NSS, known answer", "VGG-16 weights"),
        *("UVQ 1.0 weights", "UVQ 1.5 weights"),
    }
    assert "SHA-256 is" in found["VGG-16 weights"][1]
    assert "features of the built-in clip differ" in found["NSS, known answer"][1]


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
