"""Where inducing points start, against k-means of scikit-learn."""

import numpy as np
from sklearn.cluster import KMeans

from ugcvqa.heads.inducing import cluster_means


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
