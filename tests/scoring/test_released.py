"""The models that come with the package: whole, small, right on known clips, and sane under compression."""

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import ugcvqa
from tests.support.media import at_other_speed
from ugcvqa import score
from ugcvqa.errors import CheckpointError
from ugcvqa.features.rows import families_of
from ugcvqa.files import arrays_from_file
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import probe, read_frames
from ugcvqa.scoring import known_answers, released
from ugcvqa.scoring.known_answers import write_clip
from ugcvqa.scoring.model_file import load

REPO = Path(__file__).resolve().parents[2]
LARGEST = 2_000_000  # bytes
KNOWN = {"nss_container": (2.9346, 1.8683, 4.0009), "nss_pixels": (2.6595, 1.7889, 3.5302)}
"""Name -> score of the built-in clip, and ends of its interval, before they are clipped."""

TOLERANCE = 0.02  # MOS, between processors, engines, and float32 and float64 features


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path)
    return path


@pytest.fixture(scope="module")
def model():
    return ugcvqa.load()


@pytest.mark.parametrize("name", released.SHA256)
def test_every_file_is_small_whole_and_holds_no_training_video(name):
    path = released.released_file(name)
    assert path.stat().st_size <= LARGEST
    arrays, _ = arrays_from_file(path)  # safetensors: numbers and JSON, no pickle
    trained = load(path)
    counts = {int(count) for count in re.findall(r"\d{3,}", trained.trained_on)}
    assert counts == ({1039} if name == "nss_container" else {1039, 429})
    counts.add(sum(counts))
    assert not any(counts & set(array.shape) for array in arrays.values())
    assert (trained.label, trained.scale) == ("MOS", (1.0, 5.0))


def test_default_is_the_model_that_needs_no_network_weights(model):
    assert released.DEFAULT == "nss_pixels"
    assert families_of(model.row) == ("nss", "pixels")
    assert model.fingerprint == ugcvqa.load(released.DEFAULT).fingerprint
    assert set(model.specs) == {"nss", "pixels"}


def test_model_shows_itself_in_a_line(model):
    trained_on = "youtube_ugc and konvid_1k (1039 and 429 videos)"
    assert repr(model) == f"QualityModel(NSS_PIXELS -> sparse_gp, MOS 1 to 5, trained on {trained_on})"


@pytest.mark.parametrize("name", released.SHA256)
@pytest.mark.parametrize("engine", ["compiled", "torch", "float64"])
def test_known_clip_has_its_known_score_by_every_engine(name, engine, clip):
    model = ugcvqa.load(name, nss_engine="torch" if engine == "float64" else engine)
    if engine == "float64":  # as the features of the training
        nss = dataclasses.replace(model.settings.nss, precision="float64")
        model = dataclasses.replace(model, settings=dataclasses.replace(model.settings, nss=nss), specs={})
    found, pred_low_high = model.score(clip), KNOWN[name]
    assert found.pred == pytest.approx(pred_low_high[0], abs=TOLERANCE)
    clipped = np.clip(pred_low_high, 1, 5)
    np.testing.assert_allclose((found.mos, found.low, found.high), clipped, rtol=0, atol=TOLERANCE)
    assert any("training videos" in sentence for sentence in found.warnings)  # it is 128x96
    assert known_answers._RELEASED[name] == pytest.approx(pred_low_high[0], abs=1e-9)


@pytest.mark.parametrize(
    ("name", "encoder", "light", "heavy"),
    [
        ("vsfa_test", "libx264", 22, 44),
        ("dover_1724_portrait", "libx265", 24, 44),
        ("dover_eWgy8eG3stA", "libx264", 20, 44),  # blurred already: block edges may pass for detail
    ],
)
def test_heavy_compression_of_a_real_clip_scores_less(model, shared, tmp_path, name, encoder, light, heavy):
    source = shared / "data" / "videos" / f"{name}.mp4"
    rate = probe(source).rate
    frames = [picture.transpose(1, 2, 0) for _, _, picture in read_frames(source, range(2 * round(rate)))]
    scores = []
    for crf in (light, heavy):
        path = tmp_path / f"{crf}.mp4"
        write_video(path, frames, rate, encoder, options={"preset": "ultrafast", "crf": str(crf)})
        scores.append(model.score(path).mos)
    assert scores[0] > scores[1] + 0.05


def test_model_of_pixels_knows_nothing_of_what_a_file_states():
    robust = load(released.released_file("nss_pixels"))
    assert families_of(robust.row) == ("nss", "pixels")
    assert robust.settings.nss.picture == "content"
    features = np.random.default_rng(0).normal(size=(40, 1838))
    features[:, 1836], features[:, 1837] = 30, 540
    assert all(robust.head.warnings(features))  # nothing like a video
    slow = features.copy()
    slow[:, 1836] = 5
    np.testing.assert_allclose(robust.head.predict(features) - robust.head.predict(slow), 0.583, atol=0.01)


@pytest.mark.parametrize(("speed", "most"), [(2, 0.1), (0.5, 0.35)])
def test_other_time_stamps_hardly_move_the_model_of_pixels(speed, most, shared, tmp_path):
    robust = load(released.released_file("nss_pixels"))
    for name in ("vsfa_test", "dover_1724_portrait"):
        source = shared / "data" / "videos" / f"{name}.mp4"
        copy = at_other_speed(source, tmp_path / f"{name}.mp4", speed)
        assert probe(copy).rate == pytest.approx(speed * probe(source).rate, rel=0.01)
        assert abs(robust.score(copy).mos - robust.score(source).mos) < most


@pytest.mark.parametrize("kind", ["black", "still"])
def test_model_of_pixels_gives_no_plain_score_for_what_shows_nothing(kind, tmp_path):
    shown = np.random.default_rng(0).integers(60, 200, (96, 128, 3), dtype=np.uint8) * np.uint8(kind == "still")
    write_video(tmp_path / f"{kind}.mp4", [shown] * 40, 20)
    (found,) = load(released.released_file("nss_pixels")).score_many([tmp_path / f"{kind}.mp4"])
    assert np.isnan(found.mos)
    assert kind in found.reason
    assert found.warnings


def test_verb_needs_no_model_and_writes_interval_and_warnings(clip, capsys):
    assert score.main([str(clip), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert 1 <= record["low"] < record["mos"] < record["high"] <= 5
    assert record["std"] > 0
    assert record["warnings"]
    assert record["trained_on"] == "youtube_ugc and konvid_1k (1039 and 429 videos)"
    assert score.main([str(clip), "--model", "nss_contaner"]) == 2
    assert "--model nss_contaner is unknown; choose nss_container," in capsys.readouterr().err


def test_damaged_or_missing_file_is_said(tmp_path, monkeypatch):
    whole = released.released_file(released.DEFAULT).read_bytes()
    monkeypatch.setattr(released, "folder", lambda: tmp_path)
    with pytest.raises(CheckpointError, match="is missing; install the package again"):
        ugcvqa.load()
    (tmp_path / f"{released.DEFAULT}.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="the file is damaged"):
        ugcvqa.load()


def test_wheel_holds_every_room_and_the_released_models():
    tool = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]
    rooms = {str(path.parent.relative_to(REPO)).replace("/", ".") for path in REPO.glob("ugcvqa/**/__init__.py")}
    assert set(tool["packages"]) == {*rooms, "ugcvqa.checkpoints", "ugcvqa.configs"}
    assert tool["package-dir"]["ugcvqa.checkpoints"] == "checkpoints"
    assert "*.safetensors" in tool["package-data"]["ugcvqa.checkpoints"]
    assert {path.stem for path in released.folder().glob("*.safetensors")} == set(released.SHA256)
