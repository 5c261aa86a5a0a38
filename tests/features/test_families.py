"""All feature families from one pass over a video: what each sees, sharing, pooling, other backbones."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from ugcvqa.errors import ConfigError
from ugcvqa.features.extraction import ClipStream, Task, extract_features
from ugcvqa.features.families import build_families
from ugcvqa.features.rows import families_of_rows
from ugcvqa.media.encode import write_video
from ugcvqa.media.video import read_frames
from ugcvqa.settings.features import DeepSettings, FamilySettings, SaliencySettings

# A small network in place of both, and two channels scored per map: the mechanics at a hundredth of the cost.
SMALL = FamilySettings(
    deep=DeepSettings("resnet18", "random:0"),
    saliency=SaliencySettings("resnet18", "layer4", "random:0", method="top:2"),
)
ALL = (*families_of_rows(["all"]), "vsfacnn_224")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    random = np.random.default_rng(3)
    for name, height, width, rate, count in (("a", 48, 64, 8, 21), ("b", 70, 40, Fraction(15000, 1001), 33)):
        field = np.kron(random.integers(0, 255, (20, 20, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
        write_video(folder / f"{name}.mp4", (field[k : k + height, k : k + width] for k in range(count)), rate)
    write_video(folder / "short.mp4", (field[k : k + 48, k : k + 64] for k in range(5)), 30)
    return folder


@pytest.fixture(scope="module")
def families():
    return build_families(ALL, SMALL)


def vectors(paths, families, **options):
    stream = ClipStream([Task(str(path), str(path)) for path in paths], families)
    return list(extract_features(stream, families, **options))


@pytest.fixture(scope="module")
def results(clips, families):
    return vectors([clips / "a.mp4", clips / "b.mp4"], families)


def test_every_family_comes_from_one_pass(results, clips, families, monkeypatch):
    import ugcvqa.media.video

    opened = []
    decoded = ugcvqa.media.video.decoded_frames
    monkeypatch.setattr(
        ugcvqa.media.video, "decoded_frames", lambda path, *more: opened.append(path) or decoded(path, *more)
    )
    again = vectors([clips / "a.mp4"], families)
    assert len(opened) == 1
    widths = {name: arrays["video"].shape for name, arrays in again[0].features.items()}
    assert widths == {
        "saliency": (224,),
        "nss": (1836,),
        "cnn": (512,),
        "vsfacnn": (1024,),
        "vsfacnn_saliency": (1024,),
        "vsfacnn_224": (1024,),
    }
    assert all(arrays["video"].dtype == np.float64 for arrays in again[0].features.values())


@pytest.mark.parametrize("options", [{"batch_size": 5}, {"batch_size": 2, "workers": 2}])
def test_batching_does_not_change_a_vector(results, clips, families, options):
    others = vectors([clips / "a.mp4", clips / "b.mp4"], families, **options)
    for result, other in zip(results, others, strict=True):
        for name, arrays in result.features.items():
            # Networks round by where their input lies in memory; NSS does not.
            tolerance = 0 if name == "nss" else 1e-6
            np.testing.assert_allclose(
                arrays["video"], other.features[name]["video"], rtol=tolerance, atol=tolerance, err_msg=name
            )


def test_vsfacnn_is_the_mean_over_all_frames(results, clips, families):
    frames = [torch.from_numpy(image.copy()) for _, _, image in read_frames(clips / "a.mp4")]
    features = torch.cat([families["vsfacnn"].network(frame[None]) for frame in frames])
    assert len(features) == 21
    np.testing.assert_allclose(results[0].features["vsfacnn"]["video"], features.double().mean(0), atol=2e-5)


def test_control_row_is_the_fused_row_without_its_map(results, clips, families):
    frames = [image for _, _, image in read_frames(clips / "a.mp4", (0, 8), "rgb224")]
    features = families["vsfacnn_224"].network(torch.from_numpy(np.stack(frames)))
    expected = features.double().mean(0).numpy()
    np.testing.assert_allclose(results[0].features["vsfacnn_224"]["video"], expected, atol=2e-5)
    assert not np.allclose(results[0].features["vsfacnn_saliency"]["video"], expected, atol=1e-3)


def test_saliency_lies_in_the_unit_range(results):
    for result in results:
        assert (result.features["saliency"]["video"] >= 0).all()
        assert (result.features["saliency"]["video"] <= 1).all()
        assert result.features["saliency"]["n_empty"] == 0


def test_short_video_fails_where_a_chunk_is_needed_and_nowhere_else(clips, families):
    (result,) = vectors([clips / "short.mp4"], families)
    assert "too short for" in result.reason
    some = {name: families[name] for name in ("vsfacnn", "saliency", "vsfacnn_224")}
    (result,) = vectors([clips / "short.mp4"], some)
    assert not result.reason
    assert set(result.features) == set(some)


def test_sequences_and_maps_are_kept_on_request(clips):
    settings = FamilySettings(
        deep=DeepSettings("resnet18", "random:0", keep_frames=True),
        saliency=SaliencySettings("resnet18", "layer4", "random:0", method="top:1", keep_maps=True),
    )
    (result,) = vectors([clips / "a.mp4"], build_families(("vsfacnn", "saliency"), settings))
    frames = result.features["vsfacnn"]["frames"]
    assert frames.shape == (21, 1024)
    np.testing.assert_allclose(frames.astype(np.float64).mean(0), result.features["vsfacnn"]["video"], atol=1e-6)
    maps = result.features["saliency"]["maps"]
    assert maps.shape == (2, 224, 224)
    np.testing.assert_allclose(maps.mean((0, 1)), result.features["saliency"]["video"], atol=1e-5)


def test_backbone_weights_and_settings_are_in_the_name_of_a_stored_feature(families):
    specs = {name: family.spec for name, family in families.items()}
    assert specs["cnn"].family == "cnn_resnet18"
    other = build_families(("cnn",), FamilySettings(deep=DeepSettings("resnet18", "random:1")))["cnn"].spec
    assert other.key != specs["cnn"].key
    assert other.weights != specs["cnn"].weights
    assert len({spec.key for spec in specs.values()}) == len(ALL)
    memory = SaliencySettings("resnet18", "layer4", "random:0", method="top:2", memory_mib=64)
    same = build_families(("saliency",), FamilySettings(saliency=memory))["saliency"].spec
    assert same.key == specs["saliency"].key


def test_all_black_video_has_empty_maps_and_no_failure(tmp_path):
    write_video(tmp_path / "black.mp4", (np.zeros((48, 64, 3), np.uint8) for _ in range(20)), 8)
    (result,) = vectors([tmp_path / "black.mp4"], build_families(("saliency", "vsfacnn_saliency"), SMALL))
    assert not result.reason
    assert np.isfinite(result.features["saliency"]["video"]).all()
    assert np.isfinite(result.features["vsfacnn_saliency"]["video"]).all()


def test_unknown_layer_and_backbone_are_one_error():
    with pytest.raises(ConfigError):
        build_families(("saliency",), FamilySettings(saliency=SaliencySettings("resnet18", "nonsense", "random:0")))
    with pytest.raises(ConfigError):
        build_families(("cnn",), FamilySettings(deep=DeepSettings("nonsense", "random:0")))


def test_frame_too_small_for_a_network_is_a_failure_row(tmp_path):
    write_video(tmp_path / "tiny.mp4", (np.zeros((2, 2, 3), np.uint8) for _ in range(9)), 8)
    settings = FamilySettings(deep=DeepSettings("alexnet", "random:0"))
    (result,) = vectors([tmp_path / "tiny.mp4"], build_families(("vsfacnn",), settings))
    assert "frames of 2 x 2 pixels are too small for alexnet" in result.reason


class Still:
    """A clip of which some frames repeat: as many frames per picture as given."""

    def __init__(self, folder, counts, name="still.mkv"):
        random = np.random.default_rng(5)
        pictures = [
            np.kron(random.integers(0, 256, (6, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)) for _ in counts
        ]
        self.path = folder / name
        frames = (picture for picture, count in zip(pictures, counts, strict=True) for _ in range(count))
        write_video(self.path, frames, 8, codec="ffv1")


def forwards(families, monkeypatch):
    """Counts the frames that each family's network is given."""
    seen = dict.fromkeys(families, 0)
    for name, family in families.items():
        forward = family.forward

        def counted(frames, name=name, forward=forward):
            seen[name] += len(next(iter(frames.values())))
            return forward(frames)

        monkeypatch.setattr(family, "forward", counted)
    return seen


def test_equal_frames_are_computed_once_also_across_pieces(tmp_path, monkeypatch):
    still = Still(tmp_path, [20, 12, 9, 7])
    names = ("cnn", "vsfacnn", "saliency", "vsfacnn_saliency", "vsfacnn_224")
    families = build_families(names, SMALL)
    monkeypatch.setattr("ugcvqa.features.network_families._PIECE_PIXELS", 5 * 48 * 64)
    monkeypatch.setattr("ugcvqa.features.network_families._SMALL_FRAMES", 2)
    seen = forwards(families, monkeypatch)
    (result,) = vectors([still.path], families)
    assert seen["vsfacnn"] == 4  # of 48 frames in ten pieces
    # 0, 8, .. of 48; 4, 12, ..; 7, 15, ..: of frames up to 20, 32 and 41
    assert (seen["cnn"], seen["saliency"], seen["vsfacnn_saliency"], seen["vsfacnn_224"]) == (4, 4, 3, 3)
    monkeypatch.setattr("ugcvqa.features.stream._is_same", lambda *_: False)
    seen = forwards(families, monkeypatch)
    (plain,) = vectors([still.path], families)
    assert seen["vsfacnn"] == 48
    for name in names:
        np.testing.assert_allclose(
            result.features[name]["video"], plain.features[name]["video"], rtol=1e-5, atol=1e-5, err_msg=name
        )


def test_frames_that_both_saliency_rows_see_are_scored_once(tmp_path):
    still = Still(tmp_path, [20, 12, 16])
    families = build_families(("saliency", "vsfacnn_saliency"), SMALL)
    scored = []
    hook = families["saliency"].cam.register_forward_hook(
        lambda _module, inputs, _output: scored.append(len(inputs[0]))
    )
    (result,) = vectors([still.path], families)
    assert scored == [1, 1, 1]  # seconds 0 to 5 begin and end with three different pictures
    hook.remove()
    for name in families:  # either row alone has the same bits
        (alone,) = vectors([still.path], build_families((name,), SMALL))
        assert np.array_equal(alone.features[name]["video"], result.features[name]["video"]), name


def test_repeats_of_one_video_are_not_taken_for_those_of_another(tmp_path, monkeypatch):
    first, second = Still(tmp_path, [6, 6], "first.mkv"), Still(tmp_path, [6, 6], "second.mkv")
    families = build_families(("vsfacnn",), SMALL)
    seen = forwards(families, monkeypatch)
    results = vectors([first.path, second.path], families, batch_size=3)
    assert seen["vsfacnn"] == 4
    assert np.array_equal(*(result.features["vsfacnn"]["video"] for result in results))


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("one frame", [np.full((48, 64, 3), 90, np.uint8)]),
        ("all black", [np.zeros((48, 64, 3), np.uint8)] * 20),
        ("one colour", [np.full((48, 64, 3), (10, 200, 30), np.uint8)] * 20),
        ("smaller than the stride", [np.full((6, 10, 3), 9 * k, np.uint8) for k in range(20)]),
    ],
)
def test_odd_clips_give_finite_features(tmp_path, name, frames):
    write_video(tmp_path / "odd.mkv", iter(frames), 8, codec="ffv1")
    families = build_families(("vsfacnn", "saliency", "vsfacnn_saliency", "vsfacnn_224"), SMALL)
    (result,) = vectors([tmp_path / "odd.mkv"], families)
    assert not result.reason, name
    for family, arrays in result.features.items():
        assert np.isfinite(arrays["video"]).all(), family
    if name == "smaller than the stride":
        assert not result.features["vsfacnn"]["video"][512:].any()  # one position has no deviation


def test_channels_that_are_all_constant_give_an_empty_map_and_say_so(tmp_path):
    still = Still(tmp_path, [24])
    families = build_families(("saliency",), SMALL)
    last = families["saliency"].cam.network.layer4[1].bn2
    torch.nn.init.zeros_(last.weight), torch.nn.init.constant_(last.bias, -1e6)
    (result,) = vectors([still.path], families)
    assert not result.reason
    assert result.features["saliency"]["n_empty"] == 3
    assert not result.features["saliency"]["video"].any()


def test_layer_without_maps_is_told_before_any_video():
    for layer, seen in (("fc", r"puts out \(1, 1000\)"), ("bn1.nothing", "no layer")):
        settings = FamilySettings(saliency=SaliencySettings("resnet18", layer, "random:0"))
        with pytest.raises(ConfigError, match=seen):
            build_families(("saliency",), settings)


def test_asking_for_frames_renames_only_what_keeps_them(families):
    kept = FamilySettings(deep=DeepSettings("resnet18", "random:0", keep_frames=True))
    others = build_families(("cnn", "vsfacnn"), kept)
    assert others["cnn"].spec == families["cnn"].spec
    assert others["vsfacnn"].spec.key != families["vsfacnn"].spec.key


@pytest.mark.parametrize("memory_mib", [0, -5])
def test_memory_that_holds_nothing_is_refused(memory_mib):
    with pytest.raises(ConfigError, match="memory_mib"):
        SaliencySettings(memory_mib=memory_mib)
