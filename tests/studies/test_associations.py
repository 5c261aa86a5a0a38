"""Similarity measures: the published cosines, closed forms, and nulls that keep their level."""

import math
from itertools import permutations

import numpy as np
import pytest
from PIL import Image
from scipy.stats import pearsonr
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA

from ugcvqa.studies.associations import (
    RidgePath,
    cca_association,
    cka_association,
    cosine_association,
    group_folds,
    repaired_rows,
    ridge_association,
)
from ugcvqa.studies.cosine import permuted_cosine, shrink_maps, window_cosine

TESTS = (cka_association, cca_association, ridge_association)


@pytest.fixture(scope="module")
def published(shared):
    with np.load(shared / "data" / "features" / "frames16_deep_saliency.npz") as arrays:
        return arrays["deep"], arrays["saliency"], arrays["cosine"]


def linked(n_videos, link, seed, n_columns=(120, 20), n_frames=(1, 5)):
    """Two sides of frames of videos that share a part `link` of three hidden causes of each video."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_videos), random.integers(*n_frames, n_videos))
    own, other = random.normal(size=(2, n_videos, 3))
    causes = (own, link * own + math.sqrt(1 - link**2) * other)
    sides = [
        cause[groups] @ random.normal(size=(3, width)) + 0.5 * random.normal(size=(len(groups), width))
        for cause, width in zip(causes, n_columns, strict=True)
    ]
    return *sides, groups


def test_cosines_are_those_published(published):
    deep, maps, cosine = published
    np.testing.assert_allclose(window_cosine(deep, maps), cosine, rtol=0, atol=1e-6)


def test_shuffled_channels_give_the_published_cosines_again(published):
    deep, maps, cosine = published
    shuffled = permuted_cosine(deep, maps, seed=0)
    assert shuffled.mean() == pytest.approx(0.381, abs=0.003)
    assert np.corrcoef(shuffled, cosine)[0, 1] > 0.99
    np.testing.assert_array_equal(shuffled, permuted_cosine(deep, maps, seed=0))


@pytest.mark.parametrize(("height", "width", "side"), [(224, 224, 45), (30, 50, 7), (5, 9, 12)])
def test_maps_shrink_as_with_pillow(height, width, side):
    image = np.random.default_rng(0).random((height, width), dtype=np.float32)
    expected = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(shrink_maps(image, side), np.asarray(expected), rtol=0, atol=1e-6)


def test_cosine_of_a_map_with_itself_is_one():
    image = np.random.default_rng(1).random((1, 6, 6))
    assert window_cosine(image.reshape(1, 36), image) == pytest.approx(1)


def test_window_cosine_is_the_mean_over_all_stretches():
    random = np.random.default_rng(2)
    vector, image = random.random(30), random.random((5, 5))
    expected = [
        vector[k : k + 25] @ image.ravel() / np.linalg.norm(vector[k : k + 25]) / np.linalg.norm(image)
        for k in range(6)
    ]
    assert window_cosine(vector[None], image[None])[0] == pytest.approx(np.mean(expected), abs=1e-12)


def test_a_frame_without_map_or_vector_has_no_cosine():
    random = np.random.default_rng(3)
    deep, maps = random.random((3, 30)), random.random((3, 8, 8))
    maps[0], deep[1] = 0, 0
    assert np.isnan(window_cosine(deep, maps)).tolist() == [True, True, False]


def test_window_cosine_refuses_other_shapes():
    with pytest.raises(ValueError, match="deep vectors"):
        window_cosine(np.ones((2, 30)), np.ones((3, 8, 8)))


def cka(x, y):
    return cka_association(x, y, np.arange(len(x)), 0, 0).value


def test_cka_of_rotated_and_scaled_data_is_one():
    random = np.random.default_rng(4)
    x = random.normal(size=(40, 6))
    rotation = np.linalg.qr(random.normal(size=(6, 6)))[0]
    assert cka(x, 3 * x @ rotation + 1) == pytest.approx(1, abs=1e-12)


def test_cka_is_the_mean_over_quadruples():
    # the U-statistic behind the estimator, written out (Song et al., 2012, section 4)
    x, y = np.random.default_rng(6).normal(size=(2, 7, 3))
    pairs = (x @ x.T, y @ y.T)

    def hsic(a, b):
        total, count = 0.0, 0
        for i, j, q, r in permutations(range(7), 4):
            total += a[i, j] * (b[i, j] + b[q, r] - 2 * b[i, q])
            count += 1
        return total / count

    k, m = pairs
    assert cka(x, y) == pytest.approx(hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m)), rel=1e-9)


def test_cka_of_unrelated_data_is_zero_on_average():
    random = np.random.default_rng(7)
    assert abs(np.mean([cka(*random.normal(size=(2, 12, 200))) for _ in range(100)])) < 0.02


def test_cka_of_constant_data_is_not_a_number():
    assert math.isnan(cka(np.ones((9, 2)), np.random.default_rng(0).random((9, 3))))


def test_ridge_path_is_the_closed_form_at_its_best_penalty():
    random = np.random.default_rng(10)
    train, test, targets = random.normal(size=(30, 8)), random.normal(size=(5, 8)), random.normal(size=(30, 2))
    path = RidgePath(train, test)
    scaled, centred = (train - train.mean(0)) / train.std(0), targets - targets.mean(0)
    found = []
    for penalty in path._penalties:
        hat = scaled @ np.linalg.solve(scaled.T @ scaled + penalty * np.eye(8), scaled.T)
        error = ((centred - hat @ centred) ** 2).sum() / (30 - 1 - np.trace(hat)) ** 2
        weights = np.linalg.solve(scaled.T @ scaled + penalty * np.eye(8), scaled.T @ centred)
        found.append((error, (test - train.mean(0)) / train.std(0) @ weights + targets.mean(0)))
    expected = min(found, key=lambda pair: pair[0])[1]
    np.testing.assert_allclose(path.predict(targets), expected, atol=1e-9)


@pytest.mark.parametrize("n_columns", [(120, 20), (12, 9), (3, 200)])
def test_canonical_correlation_is_that_of_scikit_learn(n_columns):
    """On the leading components, a tenth of the training rows but ten at most, of the videos in four of five folds."""
    for n_videos in (60, 20):
        x, y, groups = linked(n_videos, 0.9, seed=3, n_columns=n_columns)
        found = []
        for part in np.array_split(np.random.default_rng(0).permutation(n_videos), 5):
            is_test = np.isin(groups, part)
            sides = []
            for side in (x, y):
                kept = min(10, np.count_nonzero(~is_test) // 10, side.shape[1])
                components = PCA(kept, svd_solver="full").fit(side[~is_test])
                sides.append((components.transform(side[~is_test]), components.transform(side[is_test])))
            (x_train, x_test), (y_train, y_test) = sides
            canonical = CCA(1, max_iter=10_000, tol=1e-12).fit(x_train, y_train)
            found.append(pearsonr(*(each[:, 0] for each in canonical.transform(x_test, y_test))).statistic)
        assert cca_association(x, y, groups, 0, 0).value == pytest.approx(np.mean(found), abs=1e-5)


@pytest.mark.parametrize("test", TESTS)
def test_shared_causes_are_found(test):
    x, y, groups = linked(30, 0.9, seed=3)
    found = test(x, y, groups, 99, 0)
    assert found.p_value == 0.01
    assert found.value > 0.5
    assert found.value > found.null.max()


@pytest.mark.parametrize("test", TESTS)
def test_nulls_keep_their_level_on_unrelated_data(test):
    p_values = np.array([test(*linked(10, 0.0, seed, (40, 12)), 19, seed).p_value for seed in range(30)])
    # of 30 at a level of 0.05, six or more have a probability of 0.003
    assert np.count_nonzero(p_values <= 0.05) <= 5
    assert 0.25 < np.mean(p_values <= 0.5) < 0.75


def test_cosine_does_not_respond_to_the_pairing_of_unrelated_frames():
    random = np.random.default_rng(11)
    groups = np.repeat(np.arange(10), 2)
    deep, maps = random.random((20, 40)), random.random((20, 6, 6))
    found = cosine_association(deep, maps, groups, 49, 0)
    assert found.value == pytest.approx(window_cosine(deep, maps).mean())
    assert found.p_value > 0.05


def test_same_seed_gives_the_same_null():
    x, y, groups = linked(10, 0.3, seed=1)
    np.testing.assert_array_equal(
        ridge_association(x, y, groups, 5, 7).null, ridge_association(x, y, groups, 5, 7).null
    )


def test_repaired_rows_stay_within_the_partner_video_at_the_same_relative_time():
    groups = np.repeat(np.arange(4), [1, 2, 4, 8])
    for seed in range(20):
        rows = repaired_rows(groups, np.random.default_rng(seed))
        for video in range(4):
            partners = rows[groups == video]
            assert len(set(groups[partners].tolist())) == 1
            assert partners.tolist() == sorted(partners.tolist())


def test_all_rows_of_a_video_are_on_one_side_of_a_fold():
    groups = np.repeat(np.arange(7), [3, 1, 2, 5, 1, 1, 4])
    tested = []
    for train, test in group_folds(groups, 5, seed=0):
        assert not set(groups[train]) & set(groups[test])
        tested += test.tolist()
    assert sorted(tested) == list(range(len(groups)))


def test_a_side_that_does_not_vary_gives_no_value():
    x, _, groups = linked(10, 0.5, seed=2)
    found = ridge_association(x, np.ones((len(groups), 3)), groups, 5, 0)
    assert math.isnan(found.value)
    assert math.isnan(found.p_value)
    assert found.note == "not defined: one side does not vary"


@pytest.mark.parametrize("test", TESTS)
def test_sides_that_do_not_vary_are_not_tested(test):
    found = test(np.ones((8, 5)), np.ones((8, 3)), np.arange(8), 9, 0)
    assert np.isnan(found.value)
    assert len(found.null) == 0
    assert "does not vary" in found.note
