"""Where inducing points start: principal axes, and k-means of scikit-learn."""

import numpy as np
from scipy.linalg import orth
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from ugcvqa.heads.inducing import cluster_means, principal_axes


def power_axes(points, count, steps, surplus):
    """Algorithm 4.4 of Halko, Martinsson and Tropp in one go: the range of a power of the covariance."""
    start = np.random.default_rng(0).normal(size=(points.shape[1], count + surplus))
    basis = orth(np.linalg.matrix_power(np.cov(points.T), steps) @ start)
    return basis @ PCA(count).fit(points @ basis).components_.T


def test_axes_are_those_after_four_power_steps_of_sixteen_surplus_columns():
    points = np.random.default_rng(3).normal(size=(400, 60))  # hardly one direction more than another: the hardest case

    def error(steps, surplus):
        axes, expected = principal_axes(points, 5).astype(float), power_axes(points, 5, steps, surplus)
        return np.abs(axes @ axes.T - expected @ expected.T).max()

    assert error(4, 16) < 2e-3  # float16
    for steps, surplus in ((3, 16), (5, 16), (4, 15), (4, 17)):
        assert error(steps, surplus) > 1e-2


def test_axes_of_distinct_variances_are_principal_components():
    points = np.random.default_rng(4).normal(size=(300, 40)) * 0.7 ** np.arange(40)
    axes, expected = principal_axes(points, 5), PCA(5).fit(points).components_.T
    np.testing.assert_allclose(np.abs(np.sum(axes * expected, axis=0)), 1, atol=1e-3)
    np.testing.assert_array_equal(principal_axes(points[:, :5], 5), np.eye(5))


def spread_start(points, count):
    """The start of k-means++: each next one drawn in proportion to the squared distance from those before."""
    random = np.random.default_rng(0)
    means = [points[random.integers(len(points))]]
    while len(means) < count:
        nearest = np.min([np.sum((points - mean) ** 2, axis=1) for mean in means], axis=0)
        means.append(points[random.choice(len(points), p=nearest / nearest.sum())])
    return np.array(means)


def test_means_are_those_after_fifteen_steps_of_lloyd():
    points = np.random.default_rng(5).uniform(size=(3000, 2))
    start = spread_start(points, 12)
    after = {
        steps: KMeans(12, init=start, n_init=1, max_iter=steps, tol=0, algorithm="lloyd").fit(points).cluster_centers_
        for steps in (14, 15, 16)
    }
    found = cluster_means(points, 12)
    np.testing.assert_allclose(found, after[15], rtol=0, atol=1e-9)
    assert np.abs(found - after[14]).max() > 1e-4
    assert np.abs(found - after[16]).max() > 1e-4


def test_a_lonely_mean_takes_its_four_nearest_points():
    crowd = np.random.default_rng(0).normal(size=(60, 1)) * 0.01
    lonely = np.array([[100.0], [101.0]])
    found = np.sort(cluster_means(np.concatenate((crowd, lonely)), 2).ravel())
    nearest = np.concatenate((lonely.ravel(), np.sort(crowd.ravel())[-2:]))
    np.testing.assert_allclose(found, [crowd.mean(), nearest.mean()], atol=1e-9)
