"""Frames in memory: every form of them scores as the file that holds them without loss; what is no video is said."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from ugcvqa.errors import VideoError
from ugcvqa.evaluation.metrics import IDENTITY
from ugcvqa.heads.svr import FittedSVR
from ugcvqa.media.encode import write_video
from ugcvqa.scoring.frames_in_memory import picture_of
from ugcvqa.scoring.model import QualityModel
from ugcvqa.settings.features import FamilySettings

RATE = 8


@pytest.fixture(scope="module")
def model():
    """A model of random support vectors: its scores are numbers and no more."""
    random = np.random.default_rng(0)
    vectors = 100 * np.abs(random.normal(size=(20, 1839)))
    head = FittedSVR(np.zeros(1839), np.full(1839, 100.0), vectors, random.normal(size=20), 3.0, 1e-3, 1.0, IDENTITY)
    return QualityModel(head, "NSS_CONTAINER", FamilySettings(), "MOS", (1.0, 5.0), "noise")


@pytest.fixture(scope="module")
def frames():
    """(T, H, W, 3) uint8, with an odd width."""
    field = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return np.stack([field[k : k + 36, k : k + 45] for k in range(20)])


@pytest.fixture(scope="module")
def expected(model, frames, tmp_path_factory):
    path = tmp_path_factory.mktemp("lossless") / "a.mkv"
    write_video(path, frames, RATE, "ffv1", "bgr0")
    return model.score(path, explain=True)


FORMS = {
    "array": lambda frames: frames,
    "channels first": lambda frames: frames.transpose(0, 3, 1, 2),
    "tensor": torch.from_numpy,
    "tensor channels first": lambda frames: torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous(),
    "float tensor": lambda frames: torch.from_numpy(frames).permute(0, 3, 1, 2) / 255,
    "tensor with gradient": lambda frames: (torch.from_numpy(frames) / 255).requires_grad_(),
    "double array": lambda frames: frames / 255,
    "list of arrays": list,
    "tuple of tensors": lambda frames: tuple(torch.from_numpy(frames)),
    "generator": lambda frames: (frame for frame in frames),
    "generator of float tensors": lambda frames: (torch.from_numpy(frame).permute(2, 0, 1) / 255 for frame in frames),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_scores_as_the_lossless_file_to_the_last_bit(model, frames, expected, form):
    score = model.score_frames(FORMS[form](frames), RATE)
    assert (score.mos, score.pred) == (expected.mos, expected.pred)


@pytest.mark.parametrize("form", ["array", "generator"])
def test_explanation_is_that_of_the_file(model, frames, expected, form):
    score = model.score_frames(FORMS[form](frames), RATE, explain=True)
    assert score.timeline == expected.timeline
    assert score.explanation == expected.explanation
    np.testing.assert_array_equal(score.explanation.worst.frame, expected.explanation.worst.frame)


def test_frames_of_an_iterator_are_taken_one_at_a_time(model, frames):
    alive = most = 0

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= self.base is None

    def one_by_one():
        nonlocal alive, most
        for frame in frames:
            alive += 1
            most = max(most, alive)
            counted = Counted(frame.shape, np.uint8)
            counted[:] = frame
            yield counted

    model.score_frames(one_by_one(), RATE)
    assert most <= 4


def test_rate_is_a_fact_of_the_container(model, frames):
    assert model.score_frames(frames, 8).pred == model.score_frames(frames, Fraction(8)).pred
    assert model.score_frames(frames, 8).pred != model.score_frames(frames, 7.9).pred


def test_levels_are_rounded_to_the_nearest():
    picture = np.linspace(0, 1, 27).reshape(3, 3, 3)
    np.testing.assert_array_equal(picture_of(picture, 0), np.round(picture * 255).astype(np.uint8))
    np.testing.assert_array_equal(picture_of(torch.tensor(picture).half(), 0), np.round(picture * 255).astype(np.uint8))


def spoiled(frames, index, value):
    values = frames / 255
    values[index, 0, 0, 0] = value
    return values


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda frames: frames[:0], "there is no frame"),
        (lambda frames: iter(()), "there is no frame"),
        (lambda frames: iter((None, *frames)), "frame 0 is a NoneType"),
        (lambda frames: frames[0], r"shape \(36, 45, 3\); give \(T, H, W, 3\)"),
        (lambda frames: frames[None], r"shape \(1, 20, 36, 45, 3\)"),
        (lambda frames: frames[..., :1], r"frame 0 has shape \(36, 45, 1\)"),
        (lambda frames: list(frames[..., 0]), r"frame 0 has shape \(36, 45\)"),
        (lambda frames: frames.astype(int), "frame 0 is int64; give uint8"),
        (lambda frames: frames.astype(np.float32), "holds values from 0 to 255; give 0 to 1; divide"),
        (lambda frames: frames / 255 - 0.5, "holds values from -0.5 to 0.5; give 0 to 1"),
        (lambda frames: spoiled(frames, 5, np.nan), "frame 5 holds NaN"),
        (lambda frames: iter(spoiled(frames, 5, np.inf)), "frame 5 holds NaN or infinite"),
        (lambda frames: [*frames[:9], frames[9, :, :30]], "frame 9 is 30x36, the frames before are 45x36"),
        (lambda frames: ["a.png", "b.png"], "frame 0 is a str"),
        (lambda frames: "clip.mp4", "name of a file"),
        (lambda frames: 7, "a int is no video"),
        (lambda frames: frames[:, :8, :8], "too small for NSS features"),
        (lambda frames: frames[:3], "too short for NSS features"),
    ],
)
def test_what_is_no_video_is_one_clear_line(model, frames, make, message):
    with pytest.raises(VideoError, match=message) as caught:
        model.score_frames(make(frames), RATE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fps", [np.float32(25), np.int64(25), Fraction(25)])
def test_rate_may_be_a_number_of_any_kind(model, frames, fps):
    assert model.score_frames(frames, fps).pred == model.score_frames(frames, 25).pred


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 5000, True, "25", None])
def test_rate_must_be_a_number_of_frames_per_second(model, frames, fps):
    with pytest.raises(VideoError, match="frames per second"):
        model.score_frames(frames, fps)
