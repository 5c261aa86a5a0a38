"""Fits of densities against closed forms and brute force."""

import numpy as np
import pytest
import torch

from tests.support.nss import PRECISIONS
from ugcvqa.nss.compiled_statistics import map_sums as compiled_sums
from ugcvqa.nss.fits import N_SUMS, fit_aggd, fit_ggd, statistics
from ugcvqa.nss.stats import map_sums


def test_moments_of_known_densities_give_their_shape():
    fits = fit_ggd(np.array([np.sqrt(2 / np.pi), 1.0, 0.0]), np.array([1.0, 2.0, 0.0]))
    np.testing.assert_allclose(fits, [[2.0, 1.0], [1.0, np.sqrt(2.0)], [0.1, 0.0]], rtol=1e-12)


def test_table_look_up_equals_the_search_over_the_grid(scipy_nss):
    grid, ratios = scipy_nss.GRID, scipy_nss.GGD_RATIO
    rho = np.concatenate((np.exp(np.linspace(np.log(1.2), np.log(300), 400)), ratios[::997]))
    expected = [grid[np.argmin(np.abs(r - ratios))] for r in rho]
    np.testing.assert_allclose(fit_ggd(np.ones(len(rho)), rho)[:, 0], expected, rtol=1e-12)


def test_products_of_one_sign_leave_the_other_side_undefined():
    # 10 values of +2 among 20 pixels
    alpha, eta, left, right = fit_aggd(np.array([20.0, 40.0, 0.0, 0.0, 10.0]), np.array(20))
    assert (alpha, right) == (0.1, 2.0)
    assert np.isnan([eta, left]).all()


def test_symmetric_products_have_zero_mean(scipy_nss):
    values = np.random.default_rng(0).laplace(size=1000)
    values = np.concatenate((values, -values))
    positive, negative = values[values > 0], values[values < 0]
    sums = [np.abs(values).sum(), (positive**2).sum(), (negative**2).sum(), len(negative), len(values)]
    fit = fit_aggd(np.array(sums), np.array(len(values)))
    np.testing.assert_allclose(fit, scipy_nss.fit_aggd(values), rtol=1e-9, atol=1e-12)
    assert abs(fit[1]) < 1e-12


def test_ratio_of_mean_to_deviation_is_infinite_beyond_1e10():
    values = np.array([1.0, -1.0] * 300)  # of deviation 600 / 599
    for ratio, expected in ((9.9e9, 9.9e9), (1.01e10, np.inf)):
        sums = np.zeros((1, N_SUMS))
        sums[0, :3] = np.sqrt(ratio * values.var(ddof=1)), values.sum(), np.square(values).sum()
        assert statistics(sums, np.array([600]))[0, 3] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_flat_maps_have_the_documented_undefined_values(precision):
    flat, sums = np.zeros((20, 30), np.float64 if precision == "float64" else np.float32), np.empty(N_SUMS)
    if precision == "compiled":
        compiled_sums(flat, sums)
    else:
        sums = map_sums(torch.from_numpy(flat)[None])[0].numpy()
    expected = [0.1, 0, 2.0**-52, np.inf] + [0.1, np.nan, np.nan, np.nan] * 4 + [0.1, 0] * 7
    np.testing.assert_array_equal(statistics(sums[None], np.array([600]))[0], expected)
