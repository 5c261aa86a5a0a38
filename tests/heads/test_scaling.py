import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import norm, rankdata

from ugcvqa.errors import LabelError
from ugcvqa.heads.scaling import apply_scaling, check_scaling, fit_scaling


@pytest.mark.parametrize("rows", [1, 5, 60])
@pytest.mark.parametrize("count", [2, 64])
def test_rank_scaling_is_interpolation_in_each_column_however_many_rows_there_are(rows, count):
    rng = np.random.default_rng(rows + count)
    table = np.sort(np.round(rng.normal(0, 2, (count, 40)), 1), axis=0).astype(np.float32)
    table[:, 0] = 0.5
    x = np.round(rng.normal(0, 2, (rows, 40)), 1).astype(np.float32).astype(float)
    x[0, 0], x[0, 1], x[0, 2], x[0, 3] = 0.5, np.nan, 1e30, -1e30
    x[0, 4], x[0, 5], x[0, 6] = table[0, 4], table[-1, 5], table[count // 2, 6]
    found, places = apply_scaling(x, "rank", table), np.arange(count, dtype=float)
    for column, ordered in enumerate(table.T.astype(float)):
        last = np.interp(x[:, column], ordered, places)
        first = count - 1 - np.interp(-x[:, column], -ordered[::-1], places)
        place = np.where(np.isnan(x[:, column]), (count - 1) / 2, (first + last) / 2)
        np.testing.assert_allclose(found[:, column], ndtri((place + 0.5) / count), rtol=1e-6, atol=1e-7)


def test_rank_scaling_gives_normal_scores_with_ties():
    column = np.array([3.0, 1.0, 1.0, 7.0, np.inf, -2.0, 1.0])[:, None]
    scaled = apply_scaling(column, "rank", fit_scaling(column, "rank"))[:, 0]
    np.testing.assert_allclose(scaled, norm.ppf((rankdata(column[:, 0]) - 0.5) / 7), atol=1e-6)
    new = np.array([[np.nan], [-100.0], [1e300], [2.0]])
    beyond = apply_scaling(new, "rank", fit_scaling(column, "rank"))[:, 0]
    np.testing.assert_allclose(beyond[:3], [0, scaled.min(), scaled.max()], atol=1e-6)
    assert scaled[1] < beyond[3] < scaled[0]


def test_rank_scaling_keeps_128_quantiles():
    column = np.random.default_rng(0).normal(size=1000)[:, None]
    table = fit_scaling(column, "rank")
    expected = np.quantile(column, np.linspace(0, 1, 128), method="nearest")[:, None]
    np.testing.assert_array_equal(table, expected.astype(np.float32))
    check_scaling("rank", table, 1)
    assert apply_scaling(column, "rank", table).max() == pytest.approx(norm.isf(0.5 / 128), abs=1e-6)
    with pytest.raises(LabelError, match=r"has shape \(129, 1\)"):
        check_scaling("rank", np.zeros((129, 1), np.float32), 1)


def test_other_scalings_are_what_they_say():
    x = np.array([[1.0, 4.0], [0.0, 0.0], [-9.0, 16.0]])
    np.testing.assert_allclose(
        apply_scaling(x, "root", fit_scaling(x, "root")), [[1 / 5**0.5, 2 / 5**0.5], [0, 0], [-3 / 5, 4 / 5]], atol=1e-6
    )
    rates = np.array([[25.0], [50.0], [0.0], [np.nan]])
    np.testing.assert_allclose(apply_scaling(rates, "log", fit_scaling(rates, "log"))[:, 0], [-1, 1, 0, 0], atol=1e-6)
    table = fit_scaling(x, "standard")
    np.testing.assert_allclose(apply_scaling(x, "standard", table), (x - x.mean(0)) / x.std(0), atol=1e-6)
