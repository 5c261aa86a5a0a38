"""Versions of clips and what is known of their order: complete, deterministic, and what they are called."""

from fractions import Fraction

import numpy as np
import pytest

from ugcvqa.benchmarks.distortions import judged, suite_table
from ugcvqa.demo.known_orders import LINES, MARGINS, line_orders, orders, sights, size_of
from ugcvqa.demo.paint import noise
from ugcvqa.demo.pans import panned
from ugcvqa.demo.versions import versions
from ugcvqa.errors import LabelError, VideoError
from ugcvqa.heads.pairs import Pairs, pairs_of_ladders, read_pairs, write_pairs
from ugcvqa.media.encode import write_video
from ugcvqa.scoring.result import Score


@pytest.fixture(scope="module")
def photo():
    texture = noise(np.random.default_rng(0), 420, 740, 1.2)
    return np.clip(120 + 40 * texture[..., None] + [0, 5, 9], 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def clip(photo):
    return panned(photo, 160, 96, Fraction(24), 24, 0)


def test_camera_pans_in_whole_pixels_and_the_same_way_each_time(photo, clip):
    np.testing.assert_array_equal(panned(photo, 160, 96, Fraction(24), 24, 0), clip)
    assert clip.shape == (24, 96, 160, 3)
    steps = np.abs(np.diff(clip.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert steps.min() > 0.5  # grain at least
    with pytest.raises(VideoError, match="too small for frames of 960 x 540"):
        panned(photo, 960, 540, Fraction(24), 4, 0)


def test_versions_are_what_they_are_called(clip):
    found = {version.kind: version for version in versions(clip, Fraction(24))}
    assert len(found) == 19
    assert [kind for kind, one in found.items() if one.expectation == "same"] == ["letterbox", "captions"]
    assert found[""].frames is clip
    for kind, sigma in (("noise_12", 12), ("noise_30", 30)):
        middle = (clip > 80) & (clip < 170)
        assert (found[kind].frames.astype(int) - clip)[middle].std() == pytest.approx(sigma, rel=0.05)
    assert found["upscaled_2x"].frames.shape == (24, 192, 320, 3)
    assert not found["letterbox"].frames[:, :13].any()
    assert len(np.unique(found["posterised"].frames)) <= 8
    assert (found["duplicated"].rate, len(found["duplicated"].frames)) == (48, 48)
    np.testing.assert_array_equal(found["duplicated"].frames[::2], clip)
    assert [len(np.unique(found[k].frames.reshape(24, -1), axis=0)) for k in ("frozen", "stutter")] == [1, 4]
    assert [found[f"x264_{crf}"].options["crf"] for crf in (30, 38, 46)] == ["30", "38", "46"]
    energy = {kind: np.diff(one.frames.astype(float), axis=2).std() for kind, one in found.items()}
    assert energy["blur_3"] < energy["blur_1.5"] < energy[""] < energy["sharpened"]


@pytest.mark.slow
def test_every_sight_of_a_photograph_is_in_some_order(photo, tmp_path):
    found = dict(sights(photo, 0, tmp_path))
    assert list(found) == list(dict(sights(photo, 0, tmp_path)))
    assert all(frames.shape[0] == 10 for frames in found.values())
    known = list(orders([*found]))
    named = {order.worse for order in known} | {order.better for order in known}
    assert named == set(found)
    of_sharpened = next(order for order in known if order.worse == "c00/worn/sharpened")
    assert of_sharpened.margin == 0  # the source is soft and blocky
    assert not list(tmp_path.iterdir())


def test_orders_follow_from_ids():
    ids = [
        f"c05/{source}/{kind}" for source in ("fine", "worn") for kind in ("clip", "overexposed", "vp9_40", "vp9_52")
    ]
    spoiled = ["c02/spoiled/clip", "c02/spoiled/overexposed", "c02/spoiled/noise_12", "c02/spoiled/captions_low"]
    found = list(orders([*ids, "c05/fine/captions", *spoiled]))
    assert found[-1] == ("c02/spoiled/clip", "c02/spoiled/captions_low", 0.0, True)
    assert found[-2] == ("c02/spoiled/clip", "c02/spoiled/noise_12", MARGINS["noise_12"], False)
    assert not [order for order in found if order.worse == "c02/spoiled/overexposed"]
    assert ("c05/fine/clip", "c05/fine/overexposed", MARGINS["overexposed"], False) in found
    assert not [order for order in found if order.worse == "c05/worn/overexposed"]  # it undoes the wear
    assert ("c05/fine/vp9_40", "c05/fine/vp9_52", 0.05, False) in found
    assert ("c05/worn/clip", "c05/worn/vp9_40", 0.0, False) in found
    assert [order.is_equal for order in found].count(True) == 2
    assert len(list(line_orders("c05/fine/clip"))) == len(LINES) - 1
    assert size_of(4, (1000, 2000)) == (1280, 720)
    assert size_of(4, (700, 2000)) == (640, 360)


def test_pairs_are_written_read_and_joined(tmp_path):
    pairs = Pairs(np.arange(8.0).reshape(4, 2), *(np.array(a) for a in ([0, 1], [2, 3], [0.1, 0.0], [False, True])))
    write_pairs(tmp_path / "pairs.npz", ["a", "b", "c", "d"], pairs)
    both = Pairs.joined([read_pairs(tmp_path / "pairs.npz"), pairs], 2)
    np.testing.assert_array_equal(both.features, np.concatenate((pairs.features, pairs.features)))
    np.testing.assert_array_equal(both.worse, [2, 3, 6, 7])
    np.testing.assert_array_equal(both.is_equal, [False, True, False, True])
    assert Pairs.joined([], 3).features.shape == (0, 3)
    np.savez(tmp_path / "odd.npz", videos=["a"], feats=np.zeros((1, 2)))
    with pytest.raises(LabelError, match="cannot be read as pairs"):
        read_pairs(tmp_path / "odd.npz")
    write_pairs(tmp_path / "far.npz", ["a"], pairs.__class__(np.zeros((1, 2)), *[np.array([3])] * 3, np.array([False])))
    with pytest.raises(LabelError, match="name videos that it does not hold"):
        read_pairs(tmp_path / "far.npz")
    with pytest.raises(LabelError):
        pairs_of_ladders(tmp_path / "none.npz", 0.05)


class Counting:
    """A model that likes large files, and refuses pictures that stand."""

    def score_many(self, paths):
        for path in paths:
            mos = np.nan if path.stem == "frozen" else float(path.stat().st_size)
            yield Score(str(path), mos, mos, "stands still" if path.stem == "frozen" else "")


def test_suite_finds_wrong_orders(clip, tmp_path):
    write_video(tmp_path / "made.mp4", clip, 24)
    found = {one.kind: one for one in judged(Counting(), tmp_path / "made.mp4", tmp_path)}
    assert len(found) == 18
    assert found["noise_30"].is_wrong  # noise needs more bytes
    assert not found["x264_46"].is_wrong
    assert found["letterbox"].is_wrong  # far from the same
    assert np.isnan(found["frozen"].mos)
    assert not found["frozen"].is_wrong  # no score is not too high a score
    table = suite_table([*found.values()])
    n_wrong = sum(one.is_wrong for one in found.values())
    assert table.splitlines()[-1] == f"| all | | | | {n_wrong} of 18 |"
    assert "| frozen | worse | no score |  | 0 of 1 |" in table
    assert [path.name for path in tmp_path.iterdir()] == ["made.mp4"]
