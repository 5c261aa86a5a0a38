"""Facts of the file as features: from videos without decoding, from label files, and in a scored model."""

import csv

import numpy as np
import pytest

from ugcvqa import fit, score
from ugcvqa.datasets.tables import FeatureTable, write_table
from ugcvqa.errors import LabelError
from ugcvqa.features.container import container_table, container_vector
from ugcvqa.features.extraction import ClipStream, Task, extract_features
from ugcvqa.features.families import build_families
from ugcvqa.features.rows import dimension
from ugcvqa.features.store import FeatureStore
from ugcvqa.heads.gp_fit import fit_gp
from ugcvqa.heads.parts import gp_parts
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import probe
from ugcvqa.scoring.model import FILE_NAME, QualityModel
from ugcvqa.scoring.model_file import load
from ugcvqa.settings.features import FamilySettings


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A landscape, a portrait and a damaged file."""
    folder = tmp_path_factory.mktemp("clips")
    random = np.random.default_rng(0)
    for name, height, width, rate in (("wide", 48, 64, 10), ("tall", 96, 64, 12)):
        field = random.integers(0, 255, (140, 100, 3), dtype=np.uint8)
        write_video(folder / f"{name}.mp4", (field[k : k + height, k : k + width] for k in range(20)), rate)
    (folder / "bad.mp4").write_text("no video")
    return folder


def results(clips, names, families, store=None):
    tasks = [Task(name, str(clips / f"{name}.mp4")) for name in names]
    return list(extract_features(ClipStream(tasks, families, store), families))


def test_vector_is_height_width_and_rate(clips):
    np.testing.assert_array_equal(container_vector(probe(clips / "wide.mp4")), [48, 64, 10])
    np.testing.assert_array_equal(container_vector(probe(clips / "tall.mp4")), [96, 64, 12])


def test_facts_alone_decode_nothing(clips, monkeypatch):
    def decode(*_):
        raise AssertionError("frames were decoded")

    monkeypatch.setattr("ugcvqa.media.video.decoded_frames", decode)
    wide, bad, tall = results(clips, ("wide", "bad", "tall"), build_families(("container",), FamilySettings()))
    np.testing.assert_array_equal(wide.features["container"]["video"], [48, 64, 10])
    np.testing.assert_array_equal(tall.features["container"]["video"], [96, 64, 12])
    assert wide.info.width == 64
    assert "bad.mp4" in bad.reason


def test_facts_come_with_other_families_and_from_the_store(clips, tmp_path):
    families = build_families(("nss", "container"), FamilySettings())
    (result,) = results(clips, ("wide",), families)
    assert {name: arrays["video"].shape for name, arrays in result.features.items()} == {
        "nss": (1836,),
        "container": (3,),
    }
    store = FeatureStore(tmp_path)
    store.prepare()
    content = store.content(clips / "wide.mp4")
    store.put(families["container"].spec, content, dict(result.features["container"]), {})
    (again,) = results(clips, ("wide",), families, store)
    assert again.stored == ("container",)
    assert set(again.features) == {"nss"}


def write(path, text):
    path.write_text(text)
    return path


def test_label_file_gives_the_same_vector_as_the_video(tmp_path, clips):
    path = write(tmp_path / "labels.csv", "vid;Height;Width;mos;FPS\nwide.mp4;48;64;3;10\nb;1920;1080;4;29.97\n")
    table = container_table(path)
    assert table.ids == ("wide", "b")
    np.testing.assert_array_equal(table.values[0], container_vector(probe(clips / "wide.mp4")))
    np.testing.assert_array_equal(table.values[1], [1920, 1080, 29.97])


def test_published_labels_have_facts(shared):
    table = container_table(shared / "data/labels/youtube_ugc.csv")
    assert table.values.shape == (1380, 3)
    assert dict(zip(table.ids, table.values.tolist(), strict=True))["Animation_1080P-05f8"] == [1080, 1920, 25]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,mos\na,3\n", "line 1: no column height"),
        ("video,width,height\na,3,4\n", "no column fps or framerate"),
        ("title,width,height,fps\na,3,4,5\n", "no column video"),
        ("video,width,height,fps\n", "no rows"),
        ("video,width,height,fps\na,640,480,\n", "line 2: '' is not a width, height or frame rate"),
        ("video,width,height,fps\na,640,480,30\nb,640,0,30\n", "line 3: '0' is not a width"),
        ("video,width,height,fps\na,640,480,30\n./a.mp4,640,480,25\n", "lines 2 and 3: .* one video"),
    ],
)
def test_label_file_without_facts_is_one_line(tmp_path, text, message):
    with pytest.raises(LabelError, match=message) as caught:
        container_table(write(tmp_path / "labels.csv", text))
    assert "\n" not in str(caught.value)


def test_model_with_facts_scores_a_video_and_knows_its_uncertainty(clips, tmp_path, capsys):
    random = np.random.default_rng(0)
    row = "NSS_CONTAINER"
    features = np.abs(random.normal(size=(30, dimension(row)))) + 1
    head, _ = fit_gp(features, np.linspace(1, 5, 30), gp_parts(row, dimension(row)))
    QualityModel(head, row, FamilySettings(), "MOS", (1.0, 5.0), "noise").save(tmp_path / FILE_NAME)
    result = load(tmp_path).score(clips / "wide.mp4")
    assert 0 < result.std < 5
    assert score.main([str(clips / "wide.mp4"), str(clips / "bad.mp4"), "--checkpoint", str(tmp_path)]) == 1
    assert "wide.mp4" in capsys.readouterr().out


def test_fit_trains_a_gaussian_process_on_nss_and_facts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    ids = [f"v{k:02d}" for k in range(40)]
    values = np.abs(random.normal(size=(40, 1839))) + 0.1
    write_table(tmp_path / "features.npz", FeatureTable(tuple(ids), values.astype(np.float32)))
    mos = np.clip(3 + np.log2(values[:, 1836]), 1, 5)
    write(tmp_path / "labels.csv", "file,mos\n" + "".join(f"{a}.mp4,{b}\n" for a, b in zip(ids, mos, strict=True)))
    arguments = ["--data.name", "own", "--data.labels", "labels.csv", "--data.features", "[features.npz]"]
    assert fit.main([*arguments, "--row", "NSS_CONTAINER", "--head", "gp", "--gp.max_evaluations", "40"]) == 0
    assert "NSS_CONTAINER + GP" in capsys.readouterr().out
    folder = tmp_path / "runs" / "own_nss_container_gp"
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    model = load(folder)
    order = [ids.index(row["video_id"].removeprefix("own/")) for row in rows]
    mean, std = model.predict_with_std(values[order].astype(np.float32))
    np.testing.assert_allclose([float(row["pred"]) for row in rows], mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose([float(row["std"]) for row in rows], std, rtol=0, atol=1e-9)
    assert fit.main(["--config", str(folder / "config.yaml")]) == 0
    again = folder.with_name("own_nss_container_gp-2")
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
