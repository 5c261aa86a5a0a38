"""Versions of clips and what is known of their order: complete, deterministic, and what they are called."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from ugcvqa.benchmarks.distortions import judged, judged_encodings, suite_table
from ugcvqa.demo.known_orders import (
    LINES,
    MARGINS,
    TAKES,
    line_orders,
    orders,
    sights,
    sights_of_take,
    size_of,
    wear_of,
)
from ugcvqa.demo.paint import noise
from ugcvqa.demo.pans import panned
from ugcvqa.demo.versions import versions
from ugcvqa.demo.wear import Encoding, Wear, drawn_wear, worn
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
    assert {video_id.split("/")[1] for video_id in found} == {*TAKES[0], *TAKES[1]}
    assert all(frames.shape[0] == 10 for frames in found.values())
    again = dict(sights_of_take(photo, 0, 1, tmp_path))
    assert all(np.array_equal(frames, found[video_id]) for video_id, frames in again.items())
    known = list(orders([*found]))
    named = {order.worse for order in known} | {order.better for order in known}
    left = {video_id.rpartition("/")[2] for video_id in set(found) - named}
    assert left <= {"overexposed", "sharpened"}  # which may mend what is worn
    assert not list(tmp_path.iterdir())


def test_orders_follow_from_ids():
    dark, soft = (next(n for n in range(99) if getattr(wear_of(n, "worn0"), name)) for name in ("is_dark", "is_soft"))
    ids = [f"c05/fine1/{kind}" for kind in ("clip", "overexposed", "vp9_40", "vp9_52", "captions_1")]
    ids += [f"c{dark:02d}/worn0/{kind}" for kind in ("clip", "overexposed", "noise_12")]
    ids += [f"c{soft:02d}/worn0/sharpened", f"c{soft:02d}/worn0/noise_30", f"c{soft:02d}/worn0/noise_12"]
    assert list(orders(dict.fromkeys(ids))) == [
        ("c05/fine1/clip", "c05/fine1/overexposed", MARGINS["overexposed"], False),
        ("c05/fine1/clip", "c05/fine1/vp9_40", 0.0, False),
        ("c05/fine1/vp9_40", "c05/fine1/vp9_52", 0.05, False),
        ("c05/fine1/clip", "c05/fine1/captions_1", 0.0, True),
        (f"c{dark:02d}/worn0/clip", f"c{dark:02d}/worn0/noise_12", 0.0, False),  # more light undoes the wear
        (f"c{soft:02d}/worn0/clip", f"c{soft:02d}/worn0/noise_30", 0.0, False),  # and so does sharpening
        (f"c{soft:02d}/worn0/clip", f"c{soft:02d}/worn0/noise_12", 0.0, False),
    ]
    assert [order.margin for order in line_orders("c05/fine0/clip")] == [0.03] * (len(LINES) - 1)
    assert {order.margin for order in line_orders("c05/worn0/clip")} == {0.0}
    assert size_of(5, (2000, 3000)) == (1280, 720)
    assert size_of(5, (700, 2000)) == (640, 360)


def test_wear_changes_what_it_is_called_after(clip, tmp_path):
    rng = np.random.default_rng(0)

    def after(**wear):
        return worn(clip, Wear(**wear), Fraction(24), rng, tmp_path).astype(float)

    np.testing.assert_array_equal(after(), clip)
    energy = np.diff(clip.astype(float), axis=2).std()
    assert after(gain=0.5).mean() == pytest.approx(clip.mean() / 2, abs=0.5)
    np.testing.assert_allclose(after(haze=0.25).mean(), 0.75 * clip.mean() + 50, atol=0.5)
    assert np.ptp(after(saturation=0.0), axis=3).max() == 0
    assert (after(noise=9) - clip).std() == pytest.approx(9, rel=0.05)
    for softer in ({"blur": 1.5}, {"shrink": 2.5}, {"encodings": (Encoding("mpeg4", 0.05),)}):
        changed = after(**softer)
        assert changed.shape == clip.shape
        assert np.diff(changed, axis=2).std() < energy
    assert np.diff(after(sharpening=2.0), axis=2).std() > energy
    once, twice = Encoding("h264", 30), Encoding("hevc", 40)
    assert abs(after(encodings=(once, twice)) - clip).mean() > abs(after(encodings=(once,)) - clip).mean()
    assert not list(tmp_path.iterdir())


def test_wear_is_drawn_as_often_as_it_says():
    drawn = [drawn_wear(np.random.default_rng((n, 3))) for n in range(2000)]
    assert drawn[7] == drawn_wear(np.random.default_rng((7, 3)))
    shares = {"gain": 0.45, "haze": 0.15, "saturation": 0.3, "blur": 0.35, "noise": 0.4, "shrink": 0.4}
    for name, share in shares.items():
        assert np.mean([getattr(one, name) != getattr(Wear(), name) for one in drawn]) == pytest.approx(share, abs=0.04)
    assert np.bincount([len(one.encodings) for one in drawn]) / 2000 == pytest.approx([0.1, 0.6, 0.3], abs=0.04)
    factors = [encoding.factor for one in drawn for encoding in one.encodings if encoding.codec == "mpeg4"]
    assert 0.04 <= min(factors) < 0.05 < 0.35 < max(factors) <= 0.4


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


@pytest.mark.parametrize("lines", [96, 720])
def test_suite_compares_every_two_rungs_and_half_the_size_of_large_clips(lines, tmp_path):
    texture = np.clip(120 + 40 * noise(np.random.default_rng(0), lines, lines + 8, 1.0), 0, 255).astype(np.uint8)
    frames = np.stack([texture[:, start : start + lines] for start in range(6)])[..., None].repeat(3, axis=3)
    write_video(tmp_path / "made.mp4", frames, 24)
    found = list(judged_encodings(Counting(), tmp_path / "made.mp4", tmp_path))
    counts = Counter(one.kind for one in found)
    assert counts == {"x264 ladder": 15, "x265 ladder": 15, **({"half size": 1} if lines == 720 else {})}
    assert not any(one.is_wrong for one in found)  # every step saves bytes
    assert all(one.change < 0 for one in found)
    assert [path.name for path in tmp_path.iterdir()] == ["made.mp4"]
