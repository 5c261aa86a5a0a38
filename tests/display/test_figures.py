"""Pictures: same input, same bytes; curves, ranges and labels are what the numbers say."""

import math
import struct

import numpy as np
import pytest

from ugcvqa.display import figures
from ugcvqa.display.figure_labels import Box, label_boxes
from ugcvqa.errors import ConfigError
from ugcvqa.evaluation.metrics import evaluate, fit_logistic
from ugcvqa.evaluation.published import TABLE2, published_figure
from ugcvqa.evaluation.significance import compare_all

STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.fixture
def scores():
    random = np.random.default_rng(0)
    mos = random.uniform(1, 5, 60)
    return mos + random.normal(0, 0.3, 60), mos


@pytest.fixture
def splits():
    random = np.random.default_rng(0)
    rows = {f"ROW_{k}": random.normal(0.7 + 0.02 * k, 0.03, 12) for k in range(3)}
    rows["ROW_0"][3] = math.nan
    return rows


def svg_texts(picture):
    """Matplotlib writes each text of an SVG picture into a comment above its outlines."""
    return [line.strip()[5:-4] for line in picture.decode().splitlines() if line.strip().startswith("<!-- ")]


def drawings(scores, splits):
    pred, mos = scores
    yield lambda suffix: figures.scatter(pred, mos, evaluate(mos, pred), "title", "MOS", (1, 5), suffix)
    yield lambda suffix: figures.overlay({"A": scores, "B": scores}, "title", "MOS", (1, 5), suffix)
    yield lambda suffix: figures.accuracy_cost({"A": 1.0, "B": 2.0}, {"A": 0.5, "B": 0.6}, "s", "title", suffix)
    yield lambda suffix: figures.significance_map(compare_all(splits, 80, 20), "srcc", "title", suffix)
    yield lambda suffix: figures.split_boxes(splits, "srcc", "title", suffix)


@pytest.mark.parametrize("number", range(5))
def test_pictures_repeat_to_the_byte(scores, splits, number):
    draw = list(drawings(scores, splits))[number]
    assert draw(".svg") == draw(".svg")


@pytest.mark.parametrize("suffix", STARTS)
def test_pictures_come_in_each_kind(scores, splits, suffix):
    draw = next(drawings(scores, splits))
    assert draw(suffix).startswith(STARTS[suffix])
    assert draw(suffix) == draw(suffix)


def test_other_kinds_of_pictures_are_refused(splits):
    with pytest.raises(ConfigError, match=r"\.png, \.svg, \.pdf files, not '\.gif'"):
        figures.split_boxes(splits, "srcc", "title", ".gif")


def test_curve_is_the_logistic_at_as_many_points_as_videos(scores):
    x, y = figures.scatter_curve(*scores)
    assert np.array_equal(x, np.linspace(scores[0].min(), scores[0].max(), 60))
    assert np.array_equal(y, fit_logistic(*scores)(x))


def test_constant_predictions_have_no_curve():
    assert figures.scatter_curve(np.ones(9), np.arange(9.0))[0].size == 0
    metrics = evaluate(np.arange(9.0), np.ones(9))
    texts = svg_texts(figures.scatter(np.ones(9), np.arange(9.0), metrics, "title", "MOS", (0, 9), ".svg"))
    assert "9 videos" in texts
    assert "fitted logistic" not in texts


def test_axes_widen_for_points_outside_the_scale(scores):
    texts = svg_texts(figures.overlay({"A": (scores[0] + 3, scores[1])}, "title", "MOS", (1, 5), ".svg"))
    assert "7" in texts
    assert "A, 60 videos" in texts


def test_more_models_than_can_be_told_apart_are_refused(scores):
    with pytest.raises(ValueError, match="4 models"):
        figures.overlay(dict.fromkeys("ABCD", scores), "title", "MOS", (1, 5))


def test_rows_without_cost_or_figure_are_left_out():
    seconds = {"A": 1.0, "B": math.nan, "C": 3.0}
    texts = svg_texts(figures.accuracy_cost(seconds, {"A": 0.5, "B": 0.5}, "seconds", "title", ".svg"))
    assert "A" in texts
    assert not {"B", "C"} & set(texts)
    assert figures.accuracy_cost({}, {}, "seconds", "title").startswith(STARTS[".png"])


def test_significance_map_shows_difference_and_p(splits):
    matrix = compare_all(splits, 80, 20)
    texts = svg_texts(figures.significance_map(matrix, "srcc", "title", ".svg"))
    p = matrix.adjusted()[0, 2]
    assert f"{matrix.differences()[0, 2]:+.3f}" in texts
    assert f"{p:.3f}" in texts
    assert any("3 comparisons" in text for text in texts)


def test_boxes_count_nan_splits(splits):
    assert "ROW_0 (1 NaN)" in svg_texts(figures.split_boxes(splits, "srcc", "title", ".svg"))
    nothing = {"EMPTY": np.full(3, math.nan)}
    assert figures.split_boxes(nothing, "srcc", "title").startswith(STARTS[".png"])


def test_png_is_large_enough_to_read(splits):
    width, height = struct.unpack(">II", figures.split_boxes(splits, "srcc", "title")[16:24])
    assert min(width, height) > 300


def test_labels_of_the_papers_figure_4_cover_nothing():
    costs = np.array([cost.extract_s for cost in TABLE2.values()])
    accuracy = np.array([published_figure("youtube_ugc", row, "srcc").median for row in TABLE2])
    points = list(zip(30 + 500 * costs / costs.max(), 30 + 400 * accuracy, strict=True))
    sizes = [(6.0 * len(row), 10.0) for row in TABLE2]
    frame = Box(20, 20, 650, 400)
    boxes = label_boxes(points, sizes, frame)
    for i, box in enumerate(boxes):
        assert frame.left <= box.left < box.right <= frame.right
        assert frame.bottom <= box.bottom < box.top <= frame.top
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert not any(box.left < x < box.right and box.bottom < y < box.top for x, y in points)


def test_labels_without_room_are_still_placed():
    assert len(label_boxes([(5, 5)] * 3, [(50, 10)] * 3, Box(0, 0, 10, 10))) == 3
