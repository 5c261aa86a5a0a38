"""Facts of pixels on made pictures: each is found where it was put, and nowhere else."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from ugcvqa.demo.paint import noise
from ugcvqa.demo.scene import Scene
from ugcvqa.demo.scenes import render_scene
from ugcvqa.demo.versions import doubled, halved, noisy, picture_changes, shrunk_and_back, smoothed
from ugcvqa.features.families import build_families
from ugcvqa.features.light_families import content_planes, nss_plan, pixels_plan
from ugcvqa.media.facts import VideoInfo
from ugcvqa.pixels.bars import Box, content_box
from ugcvqa.pixels.facts import PixelFacts, facts_of, in_words, measured
from ugcvqa.pixels.repeats import chosen_frames, new_frames, shown_rate
from ugcvqa.pixels.spectrum import band_powers, native_share
from ugcvqa.settings.features import FamilySettings, NSSSettings


@pytest.fixture(scope="module")
def scene():
    """(24, 180, 320, 3) RGB of a moving scene."""
    return render_scene(Scene("city", 3, 320, 180, Fraction(24), 24))


@pytest.fixture(scope="module")
def luma(scene):
    return luma_of(scene)


def luma_of(frames):
    """Limited-range luma, as coded."""
    return np.rint(16 + 219 / 255 * (frames @ np.array([0.299, 0.587, 0.114]))).astype(np.uint8)


def facts(frames, rate=24.0):
    return facts_of(measured(frames[[4, 20]], frames[2:], rate))


def share(frames):
    return native_share(np.mean([band_powers(one) for one in luma_of(frames)[:2]], axis=0))


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (20, 0), (0, 36), (24, 30)])
def test_bars_are_found_to_the_line(luma, rows, columns):
    frames = luma[:3].copy()
    rng = np.random.default_rng(0)
    for part in (np.s_[:, :rows], np.s_[:, 180 - rows :], np.s_[:, :, :columns], np.s_[:, :, 320 - columns :]):
        frames[part] = 16 + rng.integers(0, 2, frames[part].shape)  # as coding leaves them
    assert content_box(frames) == Box(rows, 180 - rows, columns, 320 - columns)


def test_captions_on_bars_hide_none(luma):
    frames = luma[:3].copy()
    frames[:, :, :40], frames[:, :, 280:] = 16, 16
    frames[:, 150:164, 30:300] = 235
    assert content_box(frames) == Box(0, 180, 40, 280)


def test_dark_scenery_and_black_frames_are_no_bars(luma):
    ramp = luma[:3].copy()
    ramp[:, :60] = (16 + np.arange(60) // 4).astype(np.uint8)[:, None]  # night sky, brighter line by line
    assert content_box(ramp) == Box(0, 180, 0, 320)
    assert content_box(np.full((3, 180, 320), 16, np.uint8)) == Box(0, 180, 0, 320)


def test_repeats_are_counted_out(luma):
    assert new_frames(luma).all()
    twice = np.repeat(luma, 2, axis=0)
    twice[1::2] ^= 1  # coding of a repeat changes a level here and there
    np.testing.assert_array_equal(new_frames(twice), [True, *[False, True] * 23, False])
    assert shown_rate(new_frames(twice), 48.0) == pytest.approx(24, rel=0.05)
    grain = np.random.default_rng(0).normal(0, 12, twice.shape)
    noisy_twice = np.clip(twice + grain, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(new_frames(noisy_twice), new_frames(twice))
    assert new_frames(noisy_twice[::2]).sum() >= 23
    steady = np.stack([np.roll(luma[0], 2 * step, axis=1) for step in range(24)])
    steady[10:] = 255 - steady[10:]  # a cut, beside which the even motion is no repeat
    assert new_frames(steady).all()
    held = luma[np.arange(24) // 6 * 6]
    assert shown_rate(new_frames(held), 24.0) == pytest.approx(24 * 3 / 23)
    assert new_frames(np.repeat(luma[:1], 24, axis=0)).all()  # stands: nothing can be told
    assert np.isnan(shown_rate(np.ones(1, bool), 24.0))


def test_frames_about_the_middle_are_those_of_the_features_where_none_repeats():
    np.testing.assert_array_equal(chosen_frames(np.ones(24, bool), 12), np.arange(8, 16))
    np.testing.assert_array_equal(chosen_frames(np.ones(24, bool), 2), np.arange(8))
    np.testing.assert_array_equal(chosen_frames(np.ones(15, bool), 12), np.arange(8, 15))
    every_second = np.arange(24) % 2 == 0
    np.testing.assert_array_equal(chosen_frames(every_second, 12), np.arange(4, 20, 2))
    np.testing.assert_array_equal(chosen_frames(np.arange(24) % 6 == 0, 12), np.arange(8, 16))  # too few are new


def test_spectrum_tells_enlarged_pictures():
    texture = noise(np.random.default_rng(0), 360, 640, 1.0)  # a spectrum of 1/f up to the last band
    frames = np.clip(128 + 40 * texture[None, :, :, None], 0, 255).astype(np.uint8).repeat(3, axis=3)
    assert share(frames) > 0.9
    for factor in (2, 3):
        assert share(shrunk_and_back(frames, factor)) == pytest.approx(1 / factor, rel=0.3)
    assert share(doubled(frames)) == pytest.approx(0.45, abs=0.1)
    assert share(halved(frames)) > 0.8
    assert share(smoothed(frames, 3)) < 0.3
    soft = smoothed(frames, 1.8)
    assert share(noisy(12)(soft, np.random.default_rng(0))) < 1.3 * share(soft)  # noise is no detail
    captioned = picture_changes()["captions"](soft, np.random.default_rng(0))
    assert (captioned != soft).any()
    assert share(captioned) == pytest.approx(share(soft), rel=0.05)  # nor is what was laid over a part of it


@pytest.mark.parametrize("shape", [(33, 64), (48, 97), (35, 39)])
def test_facts_are_what_their_definitions_say(shape):
    random = np.random.default_rng(shape[0])
    pictures = random.integers(0, 256, (2, *shape), dtype=np.uint8)
    pictures[:, :20] = random.integers(40, 60, (2, 20, shape[1]), dtype=np.uint8)
    facts = PixelFacts(*measured(pictures, pictures, 25.0)[: len(PixelFacts._fields)])
    x = pictures.astype(int)
    assert facts.dark == (x <= 40).mean()
    assert facts.bright == (x >= 234).mean()
    assert facts.detail == np.percentile(np.abs(x[:, :, :-2] - 2 * x[:, :, 1:-1] + x[:, :, 2:]), 99)
    correlations = [np.corrcoef(one[:, :-1].ravel(), one[:, 1:].ravel())[0, 1] for one in x]
    assert facts.likeness == pytest.approx(np.mean(correlations), rel=1e-12)

    def stands_out(above, levels, below):
        return ((levels - above > 12) & (levels - below > 12) | (above - levels > 12) & (below - levels > 12)).mean()

    lines = stands_out(x[:, :-2], x[:, 1:-1], x[:, 2:])
    assert facts.combs == pytest.approx(lines - stands_out(x[:, :, :-2], x[:, :, 1:-1], x[:, :, 2:]), rel=1e-12)


def test_exposure_noise_and_combs_are_named(luma):
    plain = facts(luma)
    assert (plain.bars, plain.rate, plain.lines) == (0, 24, 180)
    assert plain.combs < 0.005
    words = list(in_words(plain))
    assert not [word for word in words if "noise" in word or "interlaced" in word or "exposed" in word]
    white = np.random.default_rng(0).integers(16, 235, luma.shape).astype(np.uint8)
    assert any("looks like noise" in word for word in in_words(facts(white)))
    assert any("overexposed" in word for word in in_words(facts(np.maximum(luma, 235))))
    assert any("underexposed" in word for word in in_words(facts(np.minimum(luma, 30))))
    woven = luma[:-3].copy()
    woven[:, 1::2] = np.roll(luma[3:], 6, axis=2)[:, 1::2]  # two fields of different moments
    assert any("interlaced" in word for word in in_words(facts(woven)))
    gradient = np.broadcast_to(np.linspace(16, 235, 320).astype(np.uint8), luma.shape)
    assert any("no detail" in word for word in in_words(facts(gradient)))
    assert any("frames repeat, 3" in word for word in in_words(facts(luma[np.arange(24) // 6 * 6])))
    assert any(
        "enlarged or blurred: detail of about 100 lines in a picture of 720" in word
        for word in in_words(plain._replace(native_lines=100, lines=720))
    )


def test_features_of_the_content_are_the_published_ones_where_nothing_is_left_out(luma, scene):
    info = VideoInfo("x", "mp4", "h264", "yuv420p", 180, 320, 0, 24, Fraction(24), 1.0, 8, "tv", False, False, False, 1)
    chroma = np.full((24, 90, 160), 128, np.uint8)
    vectors = []
    for picture in ("coded", "content"):
        (family,) = build_families(("nss",), FamilySettings(NSSSettings(picture=picture))).values()
        (piece,) = nss_plan("error", picture, info)
        planes = {"y": luma, "u": chroma, "v": chroma}
        frames = {name: torch.from_numpy(planes[name][list(places)]) for name, places in piece.frames.items()}
        vectors.append(family({**frames, **piece.facts}))
    np.testing.assert_array_equal(*vectors)
    (piece,) = pixels_plan(info)
    assert piece.facts == {"rate": 24.0}


def test_planes_lose_their_bars_with_their_chroma(luma):
    y = luma[[4, 20, *range(1, 22)]].copy()
    y[:, :26], y[:, -26:] = 16, 16
    u = np.zeros((2, 90, 160), np.uint8)
    found, chroma, _ = content_planes(y, u, u, 11)
    assert found.shape == (10, 128, 320)
    assert chroma.shape == (2, 64, 160)


def test_pool_takes_the_mean_over_stretches(luma):
    (family,) = build_families(("pixels",), FamilySettings()).values()
    pool = family.pool()
    for _ in range(2):
        pool.add(family({"y": luma, "rate": np.array(24.0)}))
    found = PixelFacts(*pool.result()["video"].tolist())
    assert found == pytest.approx(facts_of(measured(luma[:2], luma[2:], 24.0)))
