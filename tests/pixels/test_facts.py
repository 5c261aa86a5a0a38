"""Facts of pixels on made pictures: each is found where it was put, and nowhere else."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from ugcvqa.features.families import build_families
from ugcvqa.features.light_families import content_planes, nss_plan, pixels_plan
from ugcvqa.media.facts import VideoInfo
from ugcvqa.pixels.facts import PixelFacts, facts_of, in_words, measured
from ugcvqa.settings.features import FamilySettings, NSSSettings


def facts(frames, rate=24.0):
    return facts_of(measured(frames[[4, 20]], frames[2:], rate))


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


@pytest.mark.parametrize(
    ("name", "threshold", "sign", "words"),
    [
        ("likeness", 0.35, -1, "looks like noise"),
        ("detail", 1.5, -1, "no detail"),
        ("bright", 0.4, 1, "overexposed"),
        ("dark", 0.9, 1, "underexposed"),
        ("combs", 0.02, 1, "interlaced"),
        ("shown_rate", 0.6 * 50, -1, "judder"),
        ("native_lines", 0.5 * 720, -1, "enlarged"),
    ],
)
def test_a_fact_is_named_from_its_threshold_on(luma, name, threshold, sign, words):
    usual = facts(luma)._replace(rate=50, shown_rate=50, lines=720, native_lines=720)
    assert list(in_words(usual)) == []
    for factor, is_named in ((1 + 0.01 * sign, True), (1 - 0.01 * sign, False)):
        found = list(in_words(usual._replace(**{name: factor * threshold})))
        assert [words in word for word in found] == [True] * is_named


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
