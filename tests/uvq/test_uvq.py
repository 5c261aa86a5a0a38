"""UVQ from files to scores: weights, missing frames, means over seconds, the scoring verb. Networks are stand-ins."""

import csv
import json
import math

import numpy as np
import pytest
import torch

import ugcvqa
from tests.support.golden import golden_arrays
from ugcvqa import score
from ugcvqa.datasets.tables import read_table
from ugcvqa.errors import CheckpointError, ConfigError, WeightsError
from ugcvqa.features import network_families
from ugcvqa.features.extraction import ClipStream, Task, extract_features
from ugcvqa.features.families import build_families
from ugcvqa.features.rows import DIMENSIONS, families_of
from ugcvqa.heads.fitted import FittedHead
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import probe
from ugcvqa.scoring.model import QualityModel
from ugcvqa.scoring.uvq_score import UVQModel
from ugcvqa.settings.features import FamilySettings, UVQSettings
from ugcvqa.uvq import weights
from ugcvqa.uvq.networks import Outputs
from ugcvqa.uvq.pool import Seconds, SecondsMean
from ugcvqa.uvq.state import SCORE_NAMES, network_shapes
from ugcvqa.uvq.weights import UVQWeights, load_weights, weight_files

BLACK = 1.0


class StandIn(torch.nn.Module):
    """In place of a network: the score is 1 + mean brightness of all frames of a group, 0..4."""

    def __init__(self, weights, engine="auto"):
        super().__init__()

    def forward(self, frames, small=None):
        levels = frames[..., ::8, ::8].double().flatten(1).mean(1) / 255 * 4
        features = torch.stack([levels, levels**2], 1).float()
        if small is None:
            none = features[:, :0]
            return Outputs(1 + levels[:, None], features, none, none, none)
        assert frames.shape[1:] == (5, 3, 720, 1280)
        assert small.shape[1:] == (3, 496, 496)
        topics, distortions = torch.zeros(len(frames), 3862), torch.zeros(len(frames), 26)
        topics[:, 7], distortions[:, 3] = 0.75, 0.5
        scores = torch.full((len(frames), 7), math.nan, dtype=torch.float64)
        scores[:, 6] = 1 + levels
        return Outputs(scores, features, topics, distortions, features[:, :1])


class Brightness10(StandIn):
    pass


class Brightness15(StandIn):
    pass


@pytest.fixture
def stand_ins(monkeypatch):
    monkeypatch.setattr(network_families, "UVQ10", Brightness10)
    monkeypatch.setattr(network_families, "UVQ15", Brightness15)
    topics = tuple(f"name {number}" for number in range(20))
    monkeypatch.setattr(network_families, "load_weights", lambda *_: UVQWeights({}, {"a.pt": "1f"}, "2e", topics))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A clip of 2.4 s that is white after one second, single frames, and a file that is no video."""
    folder = tmp_path_factory.mktemp("clips")
    grey = [np.full((36, 64, 3), level, np.uint8) for level in (0, 255)]
    options = {"codec": "ffv1", "pix_fmt": "yuv444p"}
    write_video(folder / "a.mkv", (grey[index >= 5] for index in range(12)), 5, **options)
    write_video(folder / "one.mkv", grey[1:], 25, **options)
    write_video(folder / "long.mkv", (grey[index % 2] for index in range(33)), 5, **options)
    (folder / "bad.mkv").write_text("no video")
    return folder


def features(names, path, settings=UVQSettings(), **options):
    built = build_families(names, FamilySettings(uvq=settings))
    (result,) = extract_features(ClipStream([Task("a", str(path))], built), built, **options)
    assert not result.reason
    return result.features


def test_default_counts_real_frames_and_reference_counts_black_ones(stand_ins, clips):
    real = features(("uvq",), clips / "a.mkv")["uvq"]
    assert real["seconds"][:, -1].tolist() == pytest.approx([1, 5, 1 + 4 * 5 / 5], abs=0.05)
    assert real["scores"][-1] == pytest.approx((1 + 5 + 0.4 * 5) / 2.4, abs=0.05)
    reference = features(("uvq",), clips / "a.mkv", UVQSettings(counting="reference"))["uvq"]
    assert reference["seconds"][:, -1].tolist() == pytest.approx([1, 5, 1 + 4 * 2 / 5], abs=0.05)
    assert reference["scores"][-1] == pytest.approx((1 + 5 + 2.6) / 3, abs=0.05)


def test_seconds_without_any_frame_are_black_in_reference_mode(stand_ins, clips, monkeypatch):
    def longer(*arguments):
        info = probe(*arguments)
        object.__setattr__(info, "container_s", 5.5)
        return info

    monkeypatch.setattr("ugcvqa.features.stream.probe", longer)
    for name in ("uvq", "uvq15"):
        found = features((name,), clips / "a.mkv", UVQSettings(counting="reference", keep_frames=True))[name]
        assert len(found["seconds"]) == len(found["frames"]) == 6
        assert found["seconds"][-2:, -1].tolist() == [BLACK] * 2
        assert found["scores"][-1] == pytest.approx(found["seconds"][:, -1].mean())
        assert len(features((name,), clips / "a.mkv")[name]["seconds"]) == 3


@pytest.mark.parametrize("version", ["uvq", "uvq1.5"])
def test_what_makes_a_score_doubtful_stands_in_the_row(stand_ins, clips, version):
    model = UVQModel(version)
    sentence = "the video has only 1 frames in 0.04 s, so the score rests on very little"
    assert sentence in model.score(clips / "one.mkv").warnings
    (bad,) = model.score_many([clips / "bad.mkv"])
    assert bad.reason
    assert not bad.warnings
    black = np.zeros((50, 36, 64, 3), np.uint8)
    assert model.score_frames(black, 25).warnings == ("all frames are black, so there is nothing to judge",)


def test_a_single_frame_has_a_score(stand_ins, clips):
    found = features(("uvq", "uvq15"), clips / "one.mkv")
    assert found["uvq"]["scores"][-1] == pytest.approx(5, abs=0.05)
    assert found["uvq15"]["scores"][-1] == pytest.approx(5, abs=0.05)


@pytest.mark.parametrize("options", [{"batch_size": 3}, {"batch_size": 2, "workers": 1}])
def test_batching_never_changes_a_number(stand_ins, clips, options):
    once, again = (features(("uvq", "uvq15"), clips / "long.mkv", **more) for more in ({}, options))
    for name in once:
        for key, values in once[name].items():
            np.testing.assert_array_equal(values, again[name][key], err_msg=key)


def test_one_decode_pass_serves_uvq_and_other_families(stand_ins, clips, monkeypatch):
    import ugcvqa.media.video

    opened = []
    decoded = ugcvqa.media.video.decoded_frames
    monkeypatch.setattr(
        ugcvqa.media.video, "decoded_frames", lambda path, *more: opened.append(path) or decoded(path, *more)
    )
    found = features((*families_of("NSS_UVQ"), "uvq15"), clips / "long.mkv")
    assert set(found) == {"nss", "uvq", "uvq15"}
    assert len(opened) == 1


def test_settings_that_change_numbers_are_in_the_spec_and_the_folder_is_not(stand_ins):
    def spec(name, **values):
        return build_families((name,), FamilySettings(uvq=UVQSettings(**values)))[name].spec

    assert spec("uvq", weights="a") == spec("uvq", weights="b") == spec("uvq", fps=2)
    changes = ({}, {"fps": 2}, {"counting": "reference"}, {"sampler": "uniform"})
    different = [spec("uvq15", **values).key for values in changes]
    assert len(set(different)) == 4
    assert spec("uvq").weights == "2e"


def test_mean_weighs_and_repeats_groups():
    rows = torch.tensor([[1.0], [2.0], [4.0]])
    none = rows[:, :0]
    mean = SecondsMean(keep=True)
    mean.add(
        Seconds(Outputs(rows.double(), rows, none, none, none), torch.tensor([1.0, 0.5, 1.0]), torch.tensor([1, 1, 3]))
    )
    result = mean.result()
    assert float(result["scores"]) == pytest.approx((1 + 1 + 12) / 4.5)
    assert result["seconds"][:, 0].tolist() == result["frames"][:, 0].tolist() == [1, 2, 4, 4, 4]
    with pytest.raises(ValueError, match="no frames"):
        SecondsMean().result()


def test_verb_prints_score_parts_and_failures_also_as_predictions_table(stand_ins, clips, capsys, tmp_path):
    videos = [str(clips / name) for name in ("a.mkv", "bad.mkv", "one.mkv")]
    assert score.main([*videos, "--workers", "0", "--model", "uvq"]) == 1
    lines = capsys.readouterr().out.splitlines()
    warned = [line for line in lines if line.startswith("    warning: ")]
    assert "all frames show a plain colour" in warned[0]
    lines = [line for line in lines if line not in warned]
    assert lines[0] == ("# MOS 1..5, higher is better; UVQ 1.0 (real frames, ffmpeg-cfr) of YouTube-UGC")
    assert "compression_content_distortion 3.33" in lines[1]
    assert "name 7 0.75" in lines[1]
    assert "distortion type 3 0.50" in lines[1]
    assert lines[2].startswith("failed\t")

    assert score.main([*videos, "--workers", "0", "--model", "uvq", "--csv", "--uvq.counting", "reference"]) == 1
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [bool(row["pred"]) for row in rows] == [True, False, True]
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert rows[0]["compression"] == ""
    assert float(rows[0]["compression_content_distortion"]) == float(rows[0]["pred"])

    assert score.main([*videos, "--workers", "0", "--model", "uvq", "--csv"]) == 1
    (tmp_path / "uvq.csv").write_text(capsys.readouterr().out)
    table = read_table(tmp_path / "uvq.csv")
    assert table.ids == ("a", "bad", "one")
    np.testing.assert_allclose(table.values[:, 0], [3.33, math.nan, 5], atol=0.05)

    assert score.main([*videos, "--workers", "0", "--model", "uvq1.5", "--json"]) == 1
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records[0]["counting"] == "real"
    assert records[0]["sampler"] == "ffmpeg-cfr"
    assert records[0]["weights"] == {"a.pt": "1f"}
    assert len(records[0]["seconds"]) == 3
    assert records[1]["mos"] is None


def test_predictions_join_copies_of_public_sets_and_folders(tmp_path):
    def ids(*paths):
        (tmp_path / "p.csv").write_text("video,mos,pred,error\n" + "".join(f"{path},3,3.5,\n" for path in paths))
        return read_table(tmp_path / "p.csv").ids

    assert ids("x/3339962845_centercrop_960x540_8s.mp4", "x/12.mp4", "7_b.mp4") == ("3339962845", "12", "7_b")
    assert ids("Gaming_1080P-0ce6_orig.mp4", "Sports_360P-11ab.mkv") == ("Gaming_1080P-0ce6", "Sports_360P-11ab")
    assert ids("a/x.mp4", "b/x.mp4") == ("a/x", "b/x")


def test_library_scores_like_a_trained_model(stand_ins, clips):
    model = ugcvqa.load("uvq1.5")
    assert model.score(clips / "one.mkv").mos == pytest.approx(5, abs=0.05)
    with pytest.raises(CheckpointError):
        ugcvqa.load("uvq2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "uvq2"], "--model uvq2 is unknown; choose nss_container"),
        (["--model", "uvq", "--checkpoint", "runs/x"], "exclude each other"),
        (["--model", "uvq1.5", "--uvq.fps", "0"], "uvq.fps is 0"),
    ],
)
def test_unusable_choices_are_one_line(arguments, message, capsys):
    assert score.main(["clip.mp4", *arguments]) == 2
    assert message in (error := capsys.readouterr().err)
    assert error.count("\n") == 1


@pytest.mark.parametrize(("version", "file"), [("uvq", "contentnet_pytorch.pt"), ("uvq1.5", "content_net.pth")])
def test_missing_weights_are_one_line_that_says_where_to_get_them(version, file, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("UGCVQA_UVQ_WEIGHTS", raising=False)
    for options in ([], ["--uvq.weights", str(tmp_path)]):
        assert score.main(["clip.mp4", "--model", version, *options]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        for text in (file, "google/uvq", "Apache-2.0", "checkpoint", "UGCVQA_UVQ_WEIGHTS"):
            assert text in error
    assert score.main(["clip.mp4", "--model", version, "--uvq.weights", str(tmp_path / "gone")]) == 2
    assert "no such folder" in capsys.readouterr().err


@pytest.fixture
def tiny_files(monkeypatch, tmp_path):
    """Two-number files in place of all networks of UVQ 1.0, in nested folders."""
    shapes = {"a.weight": (2,), "a.steps": ()}
    monkeypatch.setattr(weights, "network_shapes", lambda _: shapes)
    for name in weight_files("uvq10").values():
        path = tmp_path / "deep" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"a.weight": torch.ones(2), "a.steps": torch.tensor(3)}, path)
    (tmp_path / "contentnet_labels.csv").write_text('Index,Name\n0,"Game, video"\n1,Vehicle\n')
    return tmp_path


def test_released_files_are_found_at_any_depth_and_named_by_checksum(tiny_files, monkeypatch):
    weights = load_weights("uvq10", str(tiny_files))
    assert len(weights.states) == len(weights.checksums) == 38
    assert weights.topics == ("Game, video", "Vehicle")
    monkeypatch.setenv("UGCVQA_UVQ_WEIGHTS", str(tiny_files))
    assert load_weights("uvq10", "").checksum == weights.checksum
    changed = tiny_files / "deep" / "contentnet_pytorch.pt"
    torch.save({"a.weight": torch.zeros(2), "a.steps": torch.tensor(3)}, changed)
    assert load_weights("uvq10", "").checksum != weights.checksum


def test_optional_scores_may_be_left_out_as_a_whole(tiny_files, caplog):
    for path in (tiny_files / "deep").rglob("*_avgpool_content.pt"):
        path.unlink()
    assert "aggregation.content.0" not in load_weights("uvq10", str(tiny_files)).states
    assert "content are absent" in caplog.text
    for score_name in (SCORE_NAMES[-1], "distortion"):
        next((tiny_files / "deep").rglob(f"*_3_avgpool_{score_name}.pt")).unlink()
        with pytest.raises(WeightsError, match=f"ytugc20s_3_avgpool_{score_name}"):
            load_weights("uvq10", str(tiny_files))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a.weight": torch.ones(2)}, "1 tensors missing, first a.steps"),
        ({"a.weight": torch.ones(2), "a.steps": torch.tensor(0), "b": torch.ones(1)}, "1 tensors unexpected, first b"),
        ({"a.weight": torch.ones(3), "a.steps": torch.tensor(0)}, r"a.weight is \(3,\), not \(2,\)"),
        ({"a.weight": torch.tensor([1, math.nan]), "a.steps": torch.tensor(0)}, "a.weight holds NaN"),
        (torch.ones(2), "no plain state dict"),
        (None, "cannot be read as weights"),
    ],
)
def test_damaged_weights_are_one_line(tiny_files, state, message):
    path = tiny_files / "deep" / "compressionnet_pytorch_statedict.pt"
    if state is None:
        path.write_bytes(path.read_bytes()[:200])
    else:
        torch.save(state, path)
    with pytest.raises(WeightsError, match=message) as error:
        load_weights("uvq10", str(tiny_files))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_topic_names_are_an_error(tiny_files):
    (tiny_files / "contentnet_labels.csv").write_text("nothing")
    (tiny_files / "contentnet_labels.csv").write_text("Index,Title\n0,x\n")
    with pytest.raises(WeightsError, match="topic names"):
        load_weights("uvq10", str(tiny_files))


def test_random_weights_are_loud_and_need_a_seed(caplog):
    assert load_weights("uvq15", "random:1").checksum == "random:1"
    assert "RANDOM" in caplog.text
    with pytest.raises(ConfigError, match="a seed is needed"):
        load_weights("uvq15", "random:x")


def test_pooled_features_have_the_width_of_their_rows():
    assert DIMENSIONS["uvq"] == 2 * 3 * network_shapes("uvq10.content")["features.18.conv.weight"][0]
    assert DIMENSIONS["uvq15"] == 2 * 2 * network_shapes("uvq15.content")["features.17.conv.weight"][0]


@pytest.fixture(scope="module")
def golden():
    return golden_arrays("uvq_public")


def seeded_folder(golden, folder):
    """A folder of seeded networks and the real aggregation networks, under the released names."""
    from ugcvqa.uvq.state import seeded_state

    for version in ("uvq10", "uvq15"):
        for network, name in weight_files(version).items():
            stem = name.split("/")[-1].removesuffix(".pt")
            prefix = "w15|" if version == "uvq15" else f"w10|{stem}|"
            state = {
                key.removeprefix(prefix): torch.from_numpy(golden[key]) for key in golden if key.startswith(prefix)
            }
            if not network.startswith("aggregation"):
                state = seeded_state(f"{version}.{network}")
            if state:
                torch.save(state, folder / name.split("/")[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uvq", "uvq15"])
def test_whole_clip_has_the_reference_score(golden, tmp_path, name, device):
    (tmp_path / "1724.mp4").write_bytes(golden["file|1724.mp4"].tobytes())
    seeded_folder(golden, tmp_path)
    found = features((name,), tmp_path / "1724.mp4", UVQSettings(str(tmp_path), "reference"), device=device)[name]
    key = "e2e15_score" if name == "uvq15" else f"e2e10_score_{SCORE_NAMES[-1]}"
    assert abs(found["scores"][-1] - golden[key]) < 2e-5
    if name == "uvq15":
        np.testing.assert_allclose(found["seconds"][:, 0], golden["e2e15_frame_scores"], atol=2e-5)


def test_timeline_of_uvq_is_its_own_scores(stand_ins, clips):
    for version in ("uvq", "uvq1.5"):
        score = ugcvqa.load(version).score(clips / "a.mkv", explain=True)
        assert score.timeline.start_s == (0.0, 1.0, 2.0)
        assert score.timeline.stop_s == (1.0, 2.0, pytest.approx(2.4))
        assert score.timeline.mos == tuple(score.details["seconds"])
        assert score.explanation.worst.start_s == 0.0
        assert score.explanation.worst.frame.max() == 0
        assert score.explanation.contributions == {}
        if version == "uvq":  # ffmpeg's three frames for 1.5 are all of the black second
            assert score.explanation.best.frame.min() > 250


def test_timeline_of_uvq_averages_frames_of_a_second_and_leaves_filler_out(stand_ins, clips):
    every = ugcvqa.load("uvq1.5", UVQSettings(fps=-1)).score(clips / "a.mkv", timeline=True)
    assert len(every.details["seconds"]) == 12
    assert every.timeline.mos == (1.0, pytest.approx(5, abs=0.05), pytest.approx(5, abs=0.05))
    filled = ugcvqa.load("uvq", UVQSettings(counting="reference")).score(clips / "one.mkv", timeline=True)
    assert len(filled.timeline) == 1


def test_uvq_scores_frames_in_memory_as_their_file(stand_ins, clips):
    frames = [np.full((36, 64, 3), 255 * (index >= 5), np.uint8) for index in range(12)]
    for version in ("uvq", "uvq1.5"):
        model = ugcvqa.load(version)
        assert model.score_frames(frames, 5).pred == pytest.approx(model.score(clips / "a.mkv").pred, abs=0.02)


def test_heads_on_features_of_uvq_have_a_timeline(stand_ins, clips):
    class Brightness(FittedHead):
        kind = title = "brightness"
        _parts = _from_parts = None

        def predict(self, table):
            return 1 + table[:, 0]

    model = QualityModel(Brightness(), "UVQ_FEATURES", FamilySettings(), "MOS", (1.0, 5.0), "nothing")
    timeline = model.score(clips / "a.mkv", timeline=True).timeline
    own = ugcvqa.load("uvq").score(clips / "a.mkv").details["seconds"]
    # What is left of 0.4 s is too short for a second of its own; its group repeats white frames.
    np.testing.assert_allclose(timeline.mos, own[:2], atol=0.02)
