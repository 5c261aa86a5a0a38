"""Kernel learning: the density that is maximised, against scipy's distributions."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from ugcvqa.heads.kernels import ParameterPosterior, squared_distances


def posterior(count=25):
    random = np.random.default_rng(1)
    blocks = [random.normal(size=(count, 2)), random.normal(size=(count, 3))]
    is_used = np.array([[True, False], [False, True], [True, True]])
    return ParameterPosterior([squared_distances(x, x) for x in blocks], random.normal(size=count), is_used)


def test_density_is_the_likelihood_times_a_weak_prior_of_the_logarithms():
    """The prior is a normal distribution about the start, of variance 2: a factor of 4 either way is one deviation."""
    density = posterior()
    random = np.random.default_rng(2)

    def excess(parameters):
        """The density's logarithm less that of the likelihood."""
        kernel, noise = density.unpacked(parameters)
        covariance = noise * np.eye(25) + kernel.constant
        distances = np.zeros((2, 25, 25))
        for pairs, distance in zip(density._pairs, distances, strict=True):
            distance[density._lower] = pairs
            distance += distance.T
        for amplitude, mixture, weights in zip(kernel.amplitudes, kernel.mixtures, kernel.weights, strict=True):
            covariance += amplitude * (1 + np.tensordot(weights, distances, 1) / (2 * mixture)) ** -mixture
        likelihood = multivariate_normal(np.zeros(25), covariance).logpdf(density.scores)
        return -density.negative_log(parameters)[0] - likelihood

    assert excess(density.start) == pytest.approx(0, abs=1e-8)
    assert np.log(4) == pytest.approx(np.sqrt(2), rel=0.02)
    for _ in range(3):
        parameters = density.start + random.normal(size=density.start.shape)
        prior = norm(density.start, np.sqrt(2)).logpdf(parameters) - norm(0, np.sqrt(2)).logpdf(0)
        assert excess(parameters) == pytest.approx(prior.sum(), abs=1e-7)


def test_search_starts_from_unit_parts():
    """Signal 0.6 shared by the terms, noise 0.3, weights that add up to 1 in each term, mixtures of 1."""
    density = posterior()
    kernel, noise = density.unpacked(density.start)
    assert kernel.amplitudes == pytest.approx([0.2, 0.2, 0.2])
    assert kernel.mixtures == pytest.approx([1, 1, 1])
    assert kernel.weights == pytest.approx(np.array([[1, 0], [0, 1], [0.5, 0.5]]))
    assert (kernel.constant, noise) == (4.0, pytest.approx(0.3))


def test_noise_of_scores_without_noise_ends_at_its_bound():
    x = np.linspace(-2, 2, 60)[:, None]
    density = ParameterPosterior([squared_distances(x, x)], np.sin(x[:, 0]), np.ones((1, 1), dtype=bool))
    assert density.maximise(200, 1e-9).noise == pytest.approx(1e-4, rel=1e-6)


def test_parameters_end_at_their_bound_where_the_scores_are_not_in_standard_units():
    """A factor of e^8 from the start, either way."""
    density = posterior()
    density.scores = 1e4 * density.scores
    found = density.maximise(200, 1e-9)
    assert found.noise == pytest.approx(0.3 * np.exp(8), rel=1e-6)
