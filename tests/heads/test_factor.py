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


def updates(n_rows, pairs):
    """Whether each set was solved by an update: a base of the first 60 rows, then it with pairs of rows swapped."""
    matrix, found = np.eye(n_rows), []
    one = BlockFactor(matrix, RIDGE)
    for pair in [(), *pairs]:
        is_at = np.arange(n_rows) < 60
        is_at[[*pair]] ^= True
        at = np.flatnonzero(is_at)
        one.solve(at, np.ones((1, len(at))))
        found.append(one.is_updated)
    return found


def test_an_update_costs_at_most_a_share_of_a_new_factor():
    """m of n rows change: 2nm(n + m) + m^3 multiplications, against n^3/3 of a factor, times 0.7."""
    assert updates(70, [(0, 1, 2, 60, 61, 62)]) == [False, True]
    assert updates(70, [(0, 1, 2, 3, 60, 61, 62, 63)]) == [False, False]


def test_columns_are_kept_for_half_the_rows_of_the_base():
    assert updates(120, [(k, 60 + k) for k in range(16)]) == [False, *[True] * 15, False]
