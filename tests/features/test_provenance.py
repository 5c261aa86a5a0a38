"""Who made features: recognised, stated, kept in the model, and never mixed up."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from ugcvqa import fit, score
from ugcvqa.benchmarks.feature_blocks import merged_makers
from ugcvqa.benchmarks.feature_sources import FeatureSources
from ugcvqa.datasets.tables import FeatureTable, read_table, write_table
from ugcvqa.errors import CheckpointError, LabelError
from ugcvqa.evaluation.metrics import IDENTITY
from ugcvqa.features import fingerprints
from ugcvqa.features.families import build_families
from ugcvqa.features.fingerprints import recognised
from ugcvqa.features.imported import read_features
from ugcvqa.features.provenance import described, is_computed_here, read_maker, why_not_from_video
from ugcvqa.features.rows import DIMENSIONS, ROWS, families_of, parts_of_row
from ugcvqa.features.store import FeatureSpec, FeatureStore
from ugcvqa.files import arrays_from_file, arrays_to_bytes
from ugcvqa.heads.svr import FittedSVR
from ugcvqa.scoring.from_tables import score_tables
from ugcvqa.scoring.model import FILE_NAME, QualityModel
from ugcvqa.scoring.model_file import load
from ugcvqa.scoring.released import released_file
from ugcvqa.settings.features import DeepSettings, FamilySettings, NSSSettings, SaliencySettings

PUBLISHED = {
    "youtube_ugc_nss": ("nss", "rapique-matlab", True),
    "youtube_ugc_nss_run2": ("nss", "rapique-matlab", True),
    "konvid_1k_nss_partial": ("nss", "rapique-matlab", True),
    "youtube_ugc_cnn": ("cnn", "matlab-resnet50", False),
    "konvid_1k_cnn_partial": ("cnn", "matlab-resnet50", False),
    "youtube_ugc_vsfacnn_partial": ("vsfacnn", "torchvision-resnet50-IMAGENET1K_V1", True),
    "youtube_ugc_vsfacnn_saliency_partial": ("vsfacnn_saliency", "torchvision-resnet50-IMAGENET1K_V1", True),
    "youtube_ugc_saliency": ("saliency", "score-cam-vgg16-IMAGENET1K_V1", True),
    "konvid_1k_saliency": ("saliency", "score-cam-vgg16-IMAGENET1K_V1", True),
    "youtube_ugc_videval": ("videval", "videval-matlab", False),
    "konvid_1k_brisque": ("brisque", "brisque-matlab", False),
}
N = 20
IDS = tuple(f"clip{number:02}" for number in range(N))


@pytest.fixture
def known(monkeypatch):
    """Recognises made-up tables: values of a seed under the clips' ids are published ones of a family."""
    made = []

    def publish(family, values):
        columns = np.array([1, 2, 3])
        keys = np.array([fingerprints.video_key(video_id) for video_id in IDS], dtype=np.uint32)
        order, unit = np.argsort(keys), np.full(3, 0.005)
        steps = np.round(values[order][:, columns] / unit).astype(np.int16)
        made.append(fingerprints.Fingerprint(family, values.shape[1], keys[order], columns, unit, steps))

    monkeypatch.setattr(fingerprints, "_fingerprints", lambda: tuple(made))
    return publish


def columns_of(family, seed=0):
    return np.random.RandomState(seed).random_sample((N, DIMENSIONS[family])).astype(np.float32)


def table(path, values, made_by=""):
    write_table(path, FeatureTable(IDS, values, made_by))
    return str(path)


@pytest.fixture
def labels(tmp_path):
    rows = "".join(f"{video_id},{1 + 4 * number / N},64,{96 + number},30\n" for number, video_id in enumerate(IDS))
    (tmp_path / "labels.csv").write_text("video,mos,height,width,fps\n" + rows)
    return str(tmp_path / "labels.csv")


@pytest.fixture
def trained(tmp_path, labels, capsys):
    """Trains a small SVR on tables and gives the model, metrics.json and what was printed."""

    def train(row, files, *flags):
        quick = ["--svr.c_exponents", "[1]", "--svr.gamma_exponents", "[-8]"]
        data = ["--data.name", "mine", "--data.labels", labels, "--data.features", f"[{','.join(files)}]"]
        code = fit.main([*data, "--row", row, *quick, "--out", str(tmp_path / "runs"), "--name", "run", *flags])
        said = capsys.readouterr()
        if code:
            return code, said.err
        folder = tmp_path / "runs" / "run"
        return folder, load(folder), json.loads((folder / "metrics.json").read_text()), said.out

    return train


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables_are_recognised_by_their_numbers(shared, tmp_path, name):
    published = read_table(shared / "data" / "features" / f"{name}.npz")
    few = np.random.RandomState(0).permutation(len(published.ids))[:60]
    ids = [f"set/{published.ids[row]}" for row in few]
    values = published.values[few]
    assert recognised(ids, values) == PUBLISHED[name]
    rounded = np.array([[float(f"{value:.4g}") for value in row] for row in values])
    assert recognised(ids, rounded) == PUBLISHED[name]
    write_table(tmp_path / "other.csv", FeatureTable(tuple(ids), values))
    again = read_table(tmp_path / "other.csv")
    assert recognised(again.ids, again.values) == PUBLISHED[name]
    assert recognised(ids[1:] + ids[:1], values) is None  # other videos' numbers
    assert recognised(ids, values[:, ::-1]) is None
    assert recognised(ids, np.random.RandomState(1).permutation(values.ravel()).reshape(values.shape)) is None


def test_parts_of_a_published_row_are_recognised_by_themselves(shared):
    path = str(shared / "data" / "features" / "youtube_ugc_nss_cnn_partial.npz")
    found = read_features([path], "NSS_CNN", FamilySettings())
    assert found.provenance.made_by == {"nss": "rapique-matlab", "cnn": "matlab-resnet50"}
    reason = why_not_from_video("NSS_CNN", found.provenance.made_by, FamilySettings())
    assert reason.startswith("this model was trained on cnn features of matlab-resnet50, which cannot be computed from")


def test_frame_features_are_recognised_by_their_means(shared):
    from torch import float16

    from ugcvqa.samples.sequences import read_sequences, sequence_provenance

    sequences = read_sequences(shared / "data" / "features" / "youtube_ugc_frame_features.npz", float16)
    found = sequence_provenance("VSFACNN", sequences, None, "file")
    assert found.made_by == {"vsfacnn": "torchvision-resnet50-IMAGENET1K_V1"}


def test_a_few_foreign_columns_among_others_are_enough_but_not_for_ours(known):
    values = columns_of("cnn")
    known("cnn", values)
    known("saliency", columns_of("saliency"))
    mixed = np.where(np.arange(N)[:, None] < N // 2, values, columns_of("cnn", 9))
    assert recognised(IDS, mixed).made_by == "matlab-resnet50"
    mixed = np.where(np.arange(N)[:, None] < N // 2, columns_of("saliency"), columns_of("saliency", 9))
    assert recognised(IDS, mixed) is None


def test_columns_of_a_row_are_found_again():
    for row in ROWS:
        places = [place for columns in parts_of_row(row).values() for place in columns]
        assert sorted(places) == list(range(len(places)))
    assert parts_of_row("NSS_CNN")["nss"][1359:1361] == [1359, 3408]
    assert parts_of_row("NSS_CNN")["cnn"] == list(range(1360, 3408))


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".mat"])
def test_every_format_carries_the_maker(tmp_path, suffix):
    values = np.arange(40.0).reshape(20, 2)
    table(tmp_path / f"a{suffix}", values, "my-network")
    again = read_table(tmp_path / f"a{suffix}")
    assert (again.ids, again.made_by) == (IDS, "my-network")
    np.testing.assert_array_equal(again.values, values)


def test_a_table_of_two_makers_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("video,made_by,f0\na,x,1\nb,y,2\n")
    with pytest.raises(LabelError, match=r"a\.csv: made_by differs between rows"):
        read_table(tmp_path / "a.csv")


def test_a_foreign_network_scores_no_video_and_predicts_from_its_own_tables(tmp_path, known, trained, labels, capsys):
    values = columns_of("cnn")
    known("cnn", values)
    cnn = table(tmp_path / "renamed.csv", values)
    folder, model, metrics, printed = trained("CNN_CONTAINER", [cnn, labels])
    assert model.made_by == {"cnn": "matlab-resnet50", "container": "label file"} == metrics["made_by"]
    assert "features: cnn by matlab-resnet50 (not computed here), container by label file\n" in printed
    assert "score a video" not in printed
    assert f"--features '[{cnn},{labels}]' --checkpoint {folder}" in printed
    assert score.main(["clip.mp4", "--checkpoint", str(folder)]) == 2
    err = capsys.readouterr().err
    assert "trained on cnn features of matlab-resnet50, which cannot be computed from a video here" in err
    assert err.count("\n") == 1

    assert score.main(["--features", f"[{cnn},{labels}]", "--checkpoint", str(folder), "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == N + 1
    expected = model.predict(read_features([cnn, labels], "CNN_CONTAINER", model.settings).values)
    assert [float(line.split(",")[2]) for line in lines[1:]] == pytest.approx(expected.tolist())

    other = table(tmp_path / "other.npz", columns_of("cnn", 5), "torchvision-resnet50-IMAGENET1K_V1")
    assert score.main(["--features", f"[{other},{labels}]", "--checkpoint", str(folder)]) == 2
    err = capsys.readouterr().err
    assert "cnn features of torchvision-resnet50-IMAGENET1K_V1, but the model was trained on those of matlab" in err
    assert err.count("\n") == 1
    untold = table(tmp_path / "untold.npz", columns_of("cnn", 5))
    assert score.main(["--features", f"[{untold},{labels}]", "--checkpoint", str(folder)]) == 2
    assert "say it with --made_by" in capsys.readouterr().err
    said = ["--made_by", "{cnn: matlab-resnet50}"]
    assert score.main(["--features", f"[{untold},{labels}]", "--checkpoint", str(folder), *said]) == 0


@pytest.mark.parametrize("row", ["NSS", "CNN", "SALIENCY"])
def test_a_table_of_nobody_knows_whom_scores_no_video_until_it_is_said(tmp_path, trained, row):
    (family,) = families_of(row)
    path = table(tmp_path / "a.npz", columns_of(family))
    _, model, _, printed = trained(row, [path])
    assert model.made_by == {family: "unknown"}
    assert f"{family} by unknown (not computed here)" in printed
    with pytest.raises(CheckpointError, match=r"nobody says who made them, .* say it with --data\.made_by"):
        model.score("clip.mp4")
    (scored, *_) = score_tables(model, [path])
    assert scored.warnings == ("nobody says who made the features, so they may differ from those of the training",)
    shutil.rmtree(tmp_path / "runs")
    _, model, _, printed = trained(row, [path], "--data.made_by", "ugcvqa")
    assert not model.why_no_videos
    assert "score a video" in printed


def test_what_contradicts_the_numbers_is_refused(tmp_path, known, trained):
    values = columns_of("cnn")
    known("cnn", values)
    code, err = trained("CNN", [table(tmp_path / "a.npz", values)], "--data.made_by", "ugcvqa")
    assert code == 2
    assert "is said to be made by ugcvqa, but its numbers are published ones of matlab-resnet50" in err
    code, err = trained("CNN", [table(tmp_path / "b.npz", values, "ugcvqa")])
    assert code == 2
    assert "is said to be made by ugcvqa" in err
    code, err = trained("CNN", [table(tmp_path / "c.npz", columns_of("cnn", 1), "a")], "--data.made_by", "b")
    assert code == 2
    assert "says that a made it, but --data.made_by says b" in err
    code, err = trained("CNN", [table(tmp_path / "d.npz", columns_of("cnn", 1))], "--data.made_by", "{vgg: b}")
    assert code == 2
    assert "row CNN has no part 'vgg'" in err


def test_columns_of_another_family_of_the_same_width_are_refused(tmp_path, known, trained):
    values = columns_of("vsfacnn_saliency")
    known("vsfacnn_saliency", values)
    code, err = trained("VSFACNN", [table(tmp_path / "a.npz", values)])
    assert code == 2
    assert "holds published vsfacnn_saliency columns" in err


def test_a_table_from_our_store_keeps_its_spec(tmp_path, trained):
    spec = FeatureSpec("nss", 1, asdict(NSSSettings()))
    store = FeatureStore(tmp_path / "store")
    for number, (video_id, vector) in enumerate(zip(IDS, columns_of("nss"), strict=True)):
        store.put(spec, f"{number:064x}", {"video": vector.astype(np.float64)}, {})
        store.put_name(spec, video_id, f"{number:064x}")
    exported = table(tmp_path / "exported.csv", *astuple(store.table(spec)))
    for files in ([exported], [str(tmp_path / "store" / spec.key)]):
        folder, model, _, _ = trained("NSS", files)
        assert model.made_by == {"nss": "ugcvqa"}
        assert json.loads(model.specs["nss"]) == json.loads(spec.to_json())
        assert not model.why_no_videos
        shutil.rmtree(folder)
    coarse = replace(spec, settings={**spec.settings, "min_side": 256})
    with pytest.raises(CheckpointError, match=r"with settings .*512.*, the table has .*256"):
        list(score_tables(model, [table(tmp_path / "b.npz", columns_of("nss"), coarse.to_json())]))


def astuple(found):
    assert found.ids == IDS
    return found.values, found.made_by


@pytest.mark.parametrize(
    ("family", "maker", "settings", "expected"),
    [
        ("nss", "rapique-matlab", FamilySettings(), True),
        ("nss", "rapique-matlab", FamilySettings(nss=NSSSettings(colour="rapique")), False),
        ("nss", "rapique-matlab", FamilySettings(nss=NSSSettings(min_side=256)), False),
        ("cnn", "matlab-resnet50", FamilySettings(), False),
        ("cnn", "Torchvision-ResNet50-IMAGENET1K_V1", FamilySettings(), True),
        ("vsfacnn", "torchvision-resnet50-IMAGENET1K_V1", FamilySettings(deep=DeepSettings("resnet18")), False),
        ("vsfacnn", "torchvision-resnet50-IMAGENET1K_V1", FamilySettings(deep=DeepSettings(weights="mine.pth")), 0),
        ("vsfacnn_saliency", "torchvision-resnet50-IMAGENET1K_V1", FamilySettings(), True),
        (
            *("vsfacnn_saliency", "torchvision-resnet50-IMAGENET1K_V1"),
            *(FamilySettings(saliency=SaliencySettings("resnet18")), False),
        ),
        ("saliency", "score-cam-vgg16-IMAGENET1K_V1", FamilySettings(), True),
        ("saliency", "score-cam-vgg16-IMAGENET1K_V1", FamilySettings(saliency=SaliencySettings(method="half")), False),
        ("uvq", "somebody", FamilySettings(), False),
        ("uvq", "ugcvqa", FamilySettings(), True),
        ("container", "label file", FamilySettings(), True),
    ],
)
def test_what_is_computed_here(family, maker, settings, expected):
    assert is_computed_here(family, maker, settings) == expected


def svr(n_columns):
    return FittedSVR(
        *(np.zeros(n_columns), np.ones(n_columns), np.ones((1, n_columns)), np.ones(1), 3.0, 1.0, 1.0, IDENTITY)
    )


@pytest.mark.parametrize(("specs", "maker"), [(True, "ugcvqa"), (False, "unknown")])
def test_older_files_are_judged_by_their_specs(tmp_path, specs, maker):
    spec = {"nss": build_families(("nss",), FamilySettings())["nss"].spec.to_json()} if specs else {}
    path = tmp_path / FILE_NAME
    QualityModel(svr(1836), "NSS", FamilySettings(), "MOS", (1.0, 5.0), "20 videos", spec).save(path)
    assert load(path).made_by == {"nss": "ugcvqa"}
    arrays, metadata = arrays_from_file(path)
    del metadata["made_by"]
    path.write_bytes(arrays_to_bytes(arrays, metadata))
    assert load(path).made_by == {"nss": maker}
    assert bool(load(path).why_no_videos) == (not specs)


def test_released_model_says_whose_features_it_knows(shared):
    assert load(released_file("nss_pixels")).made_by == {"nss": "rapique-matlab", "pixels": "label file"}
    model = load(released_file("nss_container"))
    assert model.made_by == {"nss": "rapique-matlab", "container": "label file"}
    assert not model.why_no_videos
    folder = shared / "data"
    files = [str(folder / "features" / "youtube_ugc_nss.npz"), str(folder / "labels" / "youtube_ugc.csv")]
    found = list(score_tables(model, files))
    assert len(found) == 1039
    assert not any(scored.reason for scored in found)


def test_benchmark_says_who_made_what(tmp_path, known):
    values = columns_of("cnn")
    known("cnn", values)
    table(tmp_path / "mine_cnn.npz", values)
    table(tmp_path / "mine_saliency.npz", columns_of("saliency"), "somebody")
    row = FeatureSources(tmp_path).row("CNN_SALIENCY", [f"mine/{video_id}" for video_id in IDS])
    made_by = merged_makers(block.made_by for block in row.blocks.values())
    assert made_by == {"cnn": "matlab-resnet50", "saliency": "somebody"}
    assert described(made_by, FamilySettings()) == (
        "cnn by matlab-resnet50 (not computed here), saliency by somebody (not computed here)"
    )
    assert merged_makers([{"cnn": "a"}, {"cnn": "b"}, {"cnn": "a"}]) == {"cnn": "a and b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("mine", "mine"),
        ('{"cnn": "mine"}', "mine"),
        ('{"nss": "mine"}', ""),
        ('{"family": "cnn", "source": "0f", "settings": {"made_by": "mine"}}', "mine"),
        ('{"family": "cnn", "source": "0f", "settings": {}}', ""),
        ('{"cnn": {"family": "cnn", "source": "videos"}}', "ugcvqa"),
    ],
)
def test_what_a_table_says(text, expected):
    assert read_maker(text, "cnn", "file")[0] == expected


@pytest.mark.parametrize("text", ["{", "x" * 101, "a\nb", '{"cnn": ' * 100_000, '{"cnn": {"cnn": "a\\u0000"}}'])
def test_a_text_that_names_nobody_is_refused_in_one_line(text):
    with pytest.raises(LabelError, match="made_by"):
        read_maker(text, "cnn", "file")
