"""Which candidates the grid search solves, scores and leaves to libsvm."""

import math

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVR

from tests.support.svr import assert_report_agrees, fit, made_up, straightforward
from ugcvqa.evaluation.metrics import IDENTITY, fit_logistic, rmse
from ugcvqa.heads.solver import KernelSolver
from ugcvqa.heads.svr_grid import monotone_rmse
from ugcvqa.settings.heads import SVRSettings


def test_ties_go_to_the_smallest_c_then_the_smallest_gamma():
    """Labels within the tube are fitted by a constant whatever the candidate."""
    features, mos = made_up()
    mos = 3 + 0.05 * (mos - mos.min()) / np.ptp(mos)
    head, report = fit(features, mos)
    assert np.ptp(report.rmse) == 0
    assert (head.C, head.gamma) == (2.0, 2.0**-6)
    assert head.predict(features) == pytest.approx(np.full(len(mos), head.intercept), abs=0)
    assert head.logistic is IDENTITY
    assert report.n_unmapped == report.rmse.size


def test_candidates_that_cannot_differ_are_not_solved():
    features, mos = made_up()
    settings = SVRSettings(c_exponents=tuple(range(1, 11)), gamma_exponents=(1,))
    _, report = fit(features, mos, settings)
    table, _, _ = straightforward(features, mos, range(12, 60), range(12), settings)
    assert report.n_solved < 10
    assert_report_agrees(report, table)


def plain_path(features, mos, settings):
    """What the search must do, from scikit-learn's solutions of all candidates: (RMSE, monotone RMSE, solved)."""
    train, val = range(len(mos) // 5, len(mos)), range(len(mos) // 5)
    table, _, _ = straightforward(features, mos, train, val, settings)
    scaler = MinMaxScaler().fit(features[train])
    x, x_val, y_val = scaler.transform(features[train]), scaler.transform(features[val]), mos[val]
    monotone, is_solved = np.empty_like(table), np.ones(table.shape, dtype=bool)
    for column, gamma in enumerate(settings.gamma_exponents):
        is_at_bound = True
        for row, c in enumerate(settings.c_exponents):
            model = SVR(C=2.0**c, gamma=2.0**gamma).fit(x, mos[train])
            # Where no coefficient is at its bound, a larger bound changes nothing.
            is_solved[row, column] = is_at_bound
            is_at_bound &= bool(np.any(np.abs(model.dual_coef_) >= 2.0**c * (1 - 1e-12)))
            pred = model.predict(x_val)
            maps = (IsotonicRegression(increasing=rising).fit_transform(pred, y_val) for rising in (True, False))
            monotone[row, column] = min(np.sqrt(np.mean((mapped - y_val) ** 2)) for mapped in maps)
    return table, monotone, is_solved


@pytest.mark.parametrize("most_steps", [None, 0], ids=["own solver", "libsvm alone"])
@pytest.mark.parametrize("seed", [2, 4, 6])
def test_search_takes_the_path_that_scikit_learn_shows_to_be_enough(monkeypatch, seed, most_steps):
    if most_steps is not None:
        monkeypatch.setattr("ugcvqa.heads.solver.MAX_STEPS", most_steps)
    features, mos = made_up(seed=seed)
    settings = SVRSettings(c_exponents=tuple(range(-2, 9)), gamma_exponents=tuple(range(-6, 3)))
    _, report = fit(features, mos, settings)
    table, monotone, is_solved = plain_path(features, mos, settings)
    assert report.n_solved == is_solved.sum() < is_solved.size
    # Candidates within the solver's tolerance of the best are libsvm's own, not merely near them.
    is_near = table <= table.min() + settings.tolerance / 2
    assert report.rmse[is_near] == pytest.approx(table[is_near], abs=1e-9)
    assert report.n_libsvm >= is_near.sum()
    # In the order of the best monotone map, until that leaves more than the best logistic so far.
    order, limit, is_scored = np.argsort(monotone, axis=None, kind="stable"), math.inf, np.zeros(table.size, dtype=bool)
    for place in order.tolist():
        if monotone.flat[place] > limit:
            break
        is_scored[place] = True
        limit = min(limit, table.flat[place] + settings.tolerance)
    is_plain = np.abs(monotone.ravel() - limit) > 2e-3  # beyond what solvers differ by
    assert is_plain.sum() > 0.8 * table.size
    np.testing.assert_array_equal(np.isfinite(report.rmse).ravel()[is_plain], is_scored[is_plain])


def test_every_candidate_but_the_first_starts_from_a_neighbour(monkeypatch):
    starts, ends = [], []
    solve = KernelSolver.solve

    def spy(self, c, start=None):
        solution = solve(self, c, start)
        starts.append(start)
        ends.append(solution.sides)
        return solution

    monkeypatch.setattr(KernelSolver, "solve", spy)
    _, report = fit(*made_up())
    assert (len(starts), starts[0]) == (report.n_solved, None)
    assert all(any(start is end for end in ends[:place]) for place, start in enumerate(starts) if place)


def test_a_single_candidate_needs_no_decision():
    _, report = fit(*made_up(), SVRSettings(c_exponents=(3,), gamma_exponents=(-2,)))
    assert (report.n_solved, report.n_libsvm) == (1, 0)
    assert np.isfinite(report.rmse).all()


def test_candidates_that_the_fast_solver_gives_up_are_solved_by_libsvm(monkeypatch):
    head, report = fit(*made_up())
    monkeypatch.setattr("ugcvqa.heads.solver.MAX_STEPS", 0)
    other, slow = fit(*made_up())
    assert slow.n_libsvm >= slow.n_solved > report.n_libsvm
    assert (other.C, other.gamma) == (head.C, head.gamma)
    assert np.array_equal(other.dual_coef, head.dual_coef)


def test_no_logistic_leaves_less_than_the_best_monotone_map():
    rng = np.random.default_rng(0)
    for sign in (1, -1):
        for noise in (0.1, 1.0, 10.0):
            mos = rng.normal(3, 1, 60)
            pred = sign * mos + rng.normal(0, noise, 60)
            bound = monotone_rmse(pred, mos)
            assert bound <= rmse(mos, fit_logistic(pred, mos)(pred)) + 1e-12
    assert monotone_rmse(np.exp(mos), mos) == pytest.approx(0, abs=1e-12)
    assert monotone_rmse(-(mos**3), mos) == pytest.approx(0, abs=1e-12)
    assert monotone_rmse(np.ones(60), mos) <= mos.std()
