"""Timelines: a second's score is that of the second alone, for every family and head, in one decode pass."""

import dataclasses
import math
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from tests.support.media import encode_frames
from ugcvqa.evaluation.metrics import IDENTITY
from ugcvqa.features.by_second import MAX_ENTRIES, Grid, SecondFeatures, SecondPools, VectorFile
from ugcvqa.features.extraction import VideoResult, extract_features
from ugcvqa.features.families import build_families
from ugcvqa.features.rows import families_of
from ugcvqa.heads.gp_fit import fit_gp
from ugcvqa.heads.gru import MOSLine, VSFAHead
from ugcvqa.heads.network_heads import FittedEndToEnd, FittedGRU, build_end_to_end
from ugcvqa.heads.parts import gp_parts
from ugcvqa.media.encode import write_video
from ugcvqa.media.memory import memory_info
from ugcvqa.scoring.explanation import Timeline
from ugcvqa.scoring.frames_in_memory import MemoryStream, MemoryVideo
from ugcvqa.scoring.model import QualityModel
from ugcvqa.scoring.timeline import vector_timeline
from ugcvqa.settings.features import DeepSettings, FamilySettings, SaliencySettings
from ugcvqa.settings.training import ClipSettings, EndToEndSettings

RATE = 12
SMALL = FamilySettings(
    deep=DeepSettings("resnet18", "random:0"),
    saliency=SaliencySettings("resnet18", "layer4", "random:0", method="top:2"),
)


def texture(seed, count=RATE, size=(40, 48)):
    """Frames of a detailed picture that moves."""
    random = np.random.default_rng(seed)
    field = np.kron(random.integers(0, 255, (60, 60, 3), dtype=np.uint8), np.ones((2, 2, 1), np.uint8))
    field = (field.astype(int) + random.integers(0, 40, field.shape)).clip(0, 255).astype(np.uint8)
    return [field[k % 50 : k % 50 + size[0], k % 40 : k % 40 + size[1]] for k in range(count)]


def blurred(frames, side):
    return [uniform_filter(frame, (side, side, 0)) if side > 1 else frame for frame in frames]


def features_of(frames, row="NSS_CONTAINER", by_second=False):
    families = build_families(families_of(row), SMALL)
    stream = MemoryStream(
        MemoryVideo(frames), memory_info(len(frames), *frames[0].shape[:2], Fraction(RATE)), families, by_second
    )
    (result,) = extract_features(stream, families)
    assert not result.reason, result.reason
    return result


@pytest.fixture(scope="module")
def sharpness():
    """A model that was taught on seconds of more and more blur that a sharp picture is good."""
    rows, mos = [], []
    for seed in range(5):
        for side in (1, 2, 4, 7):
            result = features_of(blurred(texture(seed), side))
            rows.append(np.concatenate([result.features["nss"]["video"], result.features["container"]["video"]]))
            mos.append(5.0 - 0.6 * side)
    table = np.array(rows)
    head, _ = fit_gp(table, mos, gp_parts("NSS_CONTAINER", table.shape[1]))
    return QualityModel(head, "NSS_CONTAINER", SMALL, "sharpness", (0.0, 5.0), "20 seconds")


def test_video_that_never_changes_has_a_flat_timeline_equal_to_its_score(sharpness):
    still = [texture(9)[0]] * (3 * RATE + 2)  # two more, so that the last chunk has all its frames
    score = sharpness.score_frames(still, RATE, timeline=True)
    assert len(score.timeline) == 3
    np.testing.assert_allclose(score.timeline.mos, score.mos, atol=1e-9)


def test_blurred_second_is_the_worst_and_elsewhere_nothing_changes(sharpness, tmp_path):
    frames = texture(11, 5 * RATE)
    spoiled = [*frames[: 2 * RATE], *blurred(frames[2 * RATE : 3 * RATE], 7), *frames[3 * RATE :]]
    whole, other = (sharpness.score_frames(video, RATE, explain=True) for video in (frames, spoiled))
    assert int(np.argmin(other.timeline.mos)) == 2
    assert other.timeline.mos[2] < min(other.timeline.mos[:2] + other.timeline.mos[3:]) - 1
    assert other.timeline.mos[:2] + other.timeline.mos[3:] == whole.timeline.mos[:2] + whole.timeline.mos[3:]
    assert other.explanation.worst.start_s == 2.0
    assert 2.0 < other.explanation.worst.time_s < 3.0
    np.testing.assert_array_equal(other.explanation.worst.frame, spoiled[round(other.explanation.worst.time_s * RATE)])


def test_second_scores_as_a_video_of_that_second(sharpness):
    frames = [*texture(3, RATE), *blurred(texture(4, RATE), 3), *texture(5, RATE)]
    timeline = sharpness.score_frames(frames, RATE, timeline=True).timeline
    alone = [sharpness.score_frames(frames[k : k + RATE], RATE).mos for k in range(0, 3 * RATE, RATE)]
    np.testing.assert_allclose(timeline.mos, alone, atol=1e-12)


def test_timeline_changes_neither_score_nor_deviation(sharpness):
    frames = texture(6, 30)
    plain, asked = (sharpness.score_frames(frames, RATE, timeline=wanted) for wanted in (False, True))
    assert (plain.mos, plain.pred, plain.std) == (asked.mos, asked.pred, asked.std)
    assert plain.timeline is None
    assert asked.explanation is None


@pytest.mark.parametrize("row", ["VSFACNN", "CNN", "SALIENCY", "VSFACNN_SALIENCY"])
def test_every_family_pools_a_second_as_a_video_of_that_second(row):
    frames = [*texture(1, RATE, (24, 24)), *texture(2, RATE, (24, 24))]
    (family,) = families_of(row)
    seconds = features_of(frames, row, by_second=True).seconds[family]
    assert seconds.entries.tolist() == [0, 1]
    for second in range(2):
        alone = features_of(frames[second * RATE : (second + 1) * RATE], row)
        np.testing.assert_allclose(seconds.vectors[second], alone.features[family]["video"], atol=2e-5)


def test_file_is_decoded_once_for_score_and_timeline_and_loaders_change_nothing(sharpness, tmp_path, monkeypatch):
    import ugcvqa.media.video

    path = tmp_path / "a.mkv"
    write_video(path, texture(7, 3 * RATE), RATE, "ffv1", "bgr0")
    opened = []
    decoded = ugcvqa.media.video.decoded_frames
    monkeypatch.setattr(
        ugcvqa.media.video, "decoded_frames", lambda path, *more: opened.append(path) or decoded(path, *more)
    )
    once = sharpness.score(path, timeline=True)
    assert len(opened) == 1
    assert len(once.timeline) == 3
    (again,) = sharpness.score_many([path], batch_size=4, workers=1, timeline=True)
    assert again.as_dict() == once.as_dict()


def test_gru_timeline_averages_to_the_score():
    torch.manual_seed(0)
    head = FittedGRU(VSFAHead(1024, 16, 8).eval(), MOSLine(3.0, 4.0), IDENTITY)
    model = QualityModel(head, "VSFACNN", SMALL, "MOS", (-100.0, 100.0), "nothing")
    frames = texture(1, 2 * RATE + 4, (24, 24))  # the last four frames belong to the second second
    score = model.score_frames(frames, RATE, explain=True)
    assert score.timeline.start_s == (0.0, 1.0)
    assert score.timeline.stop_s == (1.0, pytest.approx(28 / RATE))
    assert np.average(score.timeline.mos, weights=[12, 16]) == pytest.approx(score.pred, abs=1e-5)
    assert score.explanation.contributions == {}
    assert "no parts" in score.explanation.method


def test_end_to_end_timeline_has_an_entry_per_sampled_frame_and_averages_to_the_score():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    settings = EndToEndSettings(
        "resnet18", reduced_dim=8, hidden_dim=4, clip=ClipSettings(frames=4, short_side=32, crop=32)
    )
    network = build_end_to_end(settings, resnet18(weights=None)).eval()
    head = FittedEndToEnd(network, settings, MOSLine(3.0, 4.0), IDENTITY)
    model = QualityModel(head, "END_TO_END", FamilySettings(), "MOS", (-100.0, 100.0), "nothing")
    score = model.score_frames(texture(1, 2 * RATE, (32, 40)), RATE, timeline=True)
    assert score.timeline.start_s == (0.0, 0.5, 1.0, 1.5)
    assert np.mean(score.timeline.mos) == pytest.approx(score.pred, abs=1e-5)


@pytest.mark.parametrize(
    ("n_frames", "rate", "expected"),
    [
        (300, Fraction(30), (30, 10)),
        (300, Fraction(30000, 1001), (30, 10)),
        (310, Fraction(30), (30, 10)),  # ten frames hold no chunk
        (320, Fraction(30), (30, 11)),
        (3, Fraction(30), (30, 1)),
        (2 * MAX_ENTRIES * 25, Fraction(25), (50, MAX_ENTRIES)),
        (2 * MAX_ENTRIES * 25 + 50, Fraction(25), (75, 2401)),
    ],
)
def test_grid_is_that_of_the_chunks_and_bounded(n_frames, rate, expected):
    grid = Grid.of(n_frames, rate)
    assert (grid.starts[1] if grid.n_entries > 1 else expected[0], grid.n_entries) == expected
    assert grid.entry(n_frames - 1) == grid.n_entries - 1
    assert grid.entry(-1) == -1
    starts, stops = grid.times_s(memory_info(n_frames, 4, 4, rate))
    assert len(starts) == len(stops) == grid.n_entries
    assert stops[-1] == pytest.approx(float(n_frames / rate))


def test_times_are_those_of_the_frames():
    info = dataclasses.replace(memory_info(40, 4, 4, Fraction(10)), times_s=np.arange(40) ** 2 / 100)
    starts, stops = Grid.of(40, Fraction(10)).times_s(info)
    assert starts == (0.0, 1.0, 4.0, 9.0)
    assert stops == (1.0, 4.0, 9.0, pytest.approx(15.31))


def test_second_without_a_frame_of_a_family_takes_the_one_before():
    some = SecondFeatures(np.array([1, 3]), np.array([1, 1]), np.array([[10.0], [30.0]]))
    assert some.spread(5).ravel().tolist() == [10, 10, 10, 30, 30]


def test_timeline_refuses_lists_of_other_lengths_and_says_none_for_nan():
    with pytest.raises(ValueError, match="1, 1 and 2"):
        Timeline((0.0,), (1.0,), (1.0, 2.0))
    assert Timeline((0.0,), (1.0,), (math.nan,)).as_dict()["mos"] == [None]


def test_seconds_of_a_varying_rate_are_seconds_of_time(sharpness, tmp_path):
    pts = [*range(2 * RATE), *range(2 * RATE, 8 * RATE, RATE)]  # 12 frames a second for 2 s, then one a second for 6 s
    path = encode_frames(
        tmp_path / "a.mkv",
        [av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24") for frame in texture(7, len(pts))],
        "ffv1",
        "bgr0",
        rate=RATE,
        pts=pts,
    )
    score = sharpness.score(path, explain=True)
    assert score.timeline.start_s == pytest.approx(range(8), abs=2e-3)
    assert score.timeline.stop_s == pytest.approx(range(1, 9), abs=2e-3)
    assert np.isfinite(score.timeline.mos).all()
    assert any("rate varies" in warning for warning in score.warnings)
    # Two seconds with 12 frames each and six that are one frame each: the mean is no longer that of the first two.
    steady = sharpness.score_frames(texture(7, 2 * RATE), RATE, timeline=True)
    assert score.timeline.mos[0] == pytest.approx(steady.timeline.mos[0], abs=1e-6)


def test_paused_recording_scores_as_without_the_pause(sharpness, tmp_path):
    scores = []
    for name, pause in (("whole.mkv", 0), ("paused.mkv", 60 * RATE)):
        pts = [k + pause * (k >= RATE) for k in range(3 * RATE)]
        frames = [av.VideoFrame.from_ndarray(np.ascontiguousarray(f), format="rgb24") for f in texture(8, 3 * RATE)]
        path = encode_frames(tmp_path / name, frames, "ffv1", "bgr0", rate=RATE, pts=pts)
        scores.append(sharpness.score(path, timeline=True))
    assert scores[0].pred == scores[1].pred
    assert scores[0].timeline.mos == scores[1].timeline.mos
    assert scores[0].timeline.start_s == pytest.approx(scores[1].timeline.start_s, abs=2e-3)
    assert any("60.0 s without frames" in warning for warning in scores[1].warnings)


def test_vectors_of_seconds_lie_on_the_disk_and_come_back_bit_for_bit():
    vectors = np.random.default_rng(0).normal(size=(400, 1000))
    kept = VectorFile()
    tracemalloc.start()
    for vector in vectors:
        kept.append(vector)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < vectors.nbytes  # one megabyte, and its copy when it moves to the disk
    np.testing.assert_array_equal(kept[np.array([399, 0, 7, 7])], vectors[[399, 0, 7, 7]])
    np.testing.assert_array_equal(kept[250], vectors[250])


def test_a_long_video_takes_no_more_memory_for_its_timeline_than_a_short_one(tmp_path):
    width, peaks = 1836, []
    for seconds in (100, 100, 1200):  # the first run fills what Python keeps
        pools = SecondPools(build_families(("nss",), FamilySettings())["nss"])
        info = memory_info(2 * seconds, 48, 64, Fraction(2))
        tracemalloc.start()
        for second in range(seconds):
            pools.add(np.full(width, float(second)), (second,))
        result = VideoResult(0, {"nss": {"video": np.zeros(width)}}, "", (), info, "", {"nss": pools.result()})
        line = vector_timeline(lambda table: table[:, 0] / 1000, "NSS", (0.0, 5.0), result, info)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(line) > seconds - 10
    assert peaks[2] < peaks[1] + 2**20  # all vectors of the long one take 17 MB
