"""Corrected tests over splits: against scipy where nothing is corrected, by hand where it is, and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from ugcvqa.evaluation.significance import (
    compare_all,
    compare_with,
    corrected_t_test,
    holm,
    mean_interval,
    median_interval,
)


@pytest.fixture
def pair():
    random = np.random.default_rng(0)
    shared = random.normal(0.7, 0.03, 40)
    return shared + random.normal(0.004, 0.01, 40), shared


def test_without_correction_it_is_the_paired_t_test(pair):
    first, second = pair
    expected = stats.ttest_rel(first, second)
    low, high = expected.confidence_interval(0.95)
    found = corrected_t_test(first, second, n_train=800, n_test=0)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-12)
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high), rel=1e-9)


def test_correction_by_hand():
    # Differences 1, 2, 3, 4, 5 hundredths: mean 0.03, variance 2.5e-4; with a quarter as many test as training videos
    # the squared error is 2.5e-4 * (1/5 + 1/4) = 1.125e-4, so t = 0.03 / 0.0106066 = 2.828427 = sqrt(8).
    # With 4 degrees of freedom P(T > t) = 1/2 - s (1 - s^2/3) 3/4 with s = t / sqrt(4 + t^2).
    first = np.array([0.71, 0.72, 0.73, 0.74, 0.75])
    found = corrected_t_test(first, np.full(5, 0.7), n_train=80, n_test=20)
    s = math.sqrt(8 / 12)
    assert found.difference.centre == pytest.approx(0.03)
    assert found.p == pytest.approx(2 * (0.5 - 0.75 * s * (1 - s**2 / 3)), rel=1e-9)
    assert found.difference.high - 0.03 == pytest.approx(2.7764451052 * math.sqrt(1.125e-4), rel=1e-9)


def test_correction_widens_and_order_flips_the_sign(pair):
    first, second = pair
    naive, corrected = corrected_t_test(first, second, 80, 0), corrected_t_test(first, second, 80, 20)
    swapped = corrected_t_test(second, first, 80, 20)
    assert naive.p < 0.05 < corrected.p
    assert swapped.p == corrected.p
    assert swapped.difference.low == -corrected.difference.high


def test_nan_splits_are_dropped_as_pairs_and_counted(pair):
    first, second = pair[0].copy(), pair[1].copy()
    expected = corrected_t_test(first[3:], second[3:], 80, 20)
    first[:2], second[1:3] = math.nan, math.inf
    found = corrected_t_test(first, second, 80, 20)
    assert found.p == expected.p
    assert (found.difference.n_splits, found.difference.n_dropped) == (37, 3)


@pytest.mark.parametrize("n_finite", [0, 1])
def test_fewer_than_two_pairs_have_no_p_value(n_finite):
    values = np.where(np.arange(4) < n_finite, 0.5, math.nan)
    found = corrected_t_test(values, np.zeros(4), 80, 20)
    assert math.isnan(found.p)
    assert math.isnan(found.difference.low)
    assert math.isnan(found.difference.centre) == (n_finite == 0)


def test_rows_without_variance():
    values = np.linspace(0.6, 0.8, 10)
    assert corrected_t_test(values, values, 80, 20).p == 1.0
    constant = corrected_t_test(np.full(10, 0.3), np.full(10, 0.1), 80, 20)
    assert constant.p == 0.0
    assert constant.difference.low == constant.difference.centre == constant.difference.high


def test_level_is_kept_where_the_naive_test_loses_it():
    """Two regressors of equal expected error, 20 splits of 60 samples each: no difference is there to be found."""
    random = np.random.default_rng(1)
    n_sets, n_splits, n_samples, n_test = 400, 20, 60, 12
    rejected = {"naive": 0, "corrected": 0}
    for _ in range(n_sets):
        x = random.normal(size=(n_samples, 2))
        y = x.sum(axis=1) + random.normal(size=n_samples)
        errors = np.empty((n_splits, 2))
        for split in range(n_splits):
            order = random.permutation(n_samples)
            test, train = order[:n_test], order[n_test:]
            slopes = (x[train] * y[train, None]).sum(axis=0) / (x[train] ** 2).sum(axis=0)
            errors[split] = np.square(y[test, None] - x[test] * slopes).mean(axis=0)
        rejected["naive"] += corrected_t_test(*errors.T, n_samples - n_test, 0).p < 0.05
        rejected["corrected"] += corrected_t_test(*errors.T, n_samples - n_test, n_test).p < 0.05
    assert rejected["naive"] > 0.2 * n_sets
    assert rejected["corrected"] < 0.08 * n_sets


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04; the last may not fall below 0.06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]).size == 0


def test_holm_leaves_nan_out_of_the_count():
    assert holm([math.nan, 0.01, 0.02]) == pytest.approx([math.nan, 0.02, 0.02], nan_ok=True)


def test_holm_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match=r"within 0\.\.1"):
        holm([0.2, 1.2])


def test_matrix_is_antisymmetric_and_adjusted_for_all_pairs(pair):
    values = {"A": pair[0], "B": pair[1], "C": pair[1] - 0.2, "broken": np.full(40, math.nan)}
    matrix = compare_all(values, 80, 20)
    differences, adjusted = matrix.differences(), matrix.adjusted()
    finite = np.isfinite(differences)
    assert matrix.n_comparisons == 3
    assert np.array_equal(differences[finite], -differences.T[finite])
    assert differences[0, 2] == pytest.approx(np.mean(pair[0] - pair[1]) + 0.2)
    assert np.isnan(adjusted[3]).all()
    assert adjusted[0, 1] == corrected_t_test(pair[0], pair[1], 80, 20).p
    assert adjusted[0, 2] == pytest.approx(3 * corrected_t_test(pair[0], values["C"], 80, 20).p, abs=1e-12)


def test_comparisons_with_one_row_are_fewer(pair):
    values = {"full": pair[0], "less": pair[1], "least": pair[1] - 0.2}
    matrix = compare_with("full", values, 80, 20)
    assert set(matrix.comparisons) == {("less", "full"), ("least", "full")}
    assert matrix.n_comparisons == 2
    assert matrix.comparisons["least", "full"].difference.centre < 0


def test_intervals_of_mean_and_median(pair):
    values = pair[0]
    low, high = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    found = mean_interval(values, 80, 0)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    mean, median = mean_interval(values, 80, 20), median_interval(values, 80, 20)
    assert median.centre == np.median(values)
    ratio = (median.high - median.low) / (mean.high - mean.low)
    assert ratio == pytest.approx(math.sqrt((math.pi / 80 + 0.25) / (1 / 40 + 0.25)))


def test_wrong_shapes_and_sizes_are_refused():
    with pytest.raises(ValueError, match="one figure per split"):
        corrected_t_test([0.1, 0.2], [0.1], 80, 20)
    with pytest.raises(ValueError, match="must be positive"):
        mean_interval([0.1, 0.2], 0, 20)
