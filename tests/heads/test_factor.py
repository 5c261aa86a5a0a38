import numpy as np
import pytest

from ugcvqa.heads import factor
from ugcvqa.heads.factor import BlockFactor

RIDGE = 1e-3


@pytest.fixture
def matrix():
    points = np.random.default_rng(0).uniform(size=(60, 3))
    return np.exp(-2 * ((points[:, None] - points) ** 2).sum(-1))


@pytest.mark.parametrize("worth", [0.0, 0.7, 1e9], ids=["always new", "as it is", "always updated"])
def test_every_set_of_a_walk_is_solved_as_by_numpy(matrix, worth, monkeypatch):
    monkeypatch.setattr(factor, "_WORTH", worth)
    random, one = np.random.default_rng(1), BlockFactor(matrix, RIDGE)
    is_at, updated = random.random(60) < 0.6, 0
    for _ in range(60):
        at = np.flatnonzero(is_at)
        sides = random.normal(size=(2, len(at)))
        block = matrix[np.ix_(at, at)] + RIDGE * np.eye(len(at))
        np.testing.assert_allclose(one.solve(at, sides), np.linalg.solve(block, sides.T).T, rtol=0, atol=1e-7)
        updated += one.is_updated
        is_at[random.choice(60, random.integers(0, 4), replace=False)] ^= True
    assert updated > 20 or worth == 0


def test_a_block_that_is_not_positive_is_given_up(matrix):
    one = BlockFactor(-matrix, RIDGE)
    assert one.solve(np.arange(5), np.ones((1, 5))) is None
