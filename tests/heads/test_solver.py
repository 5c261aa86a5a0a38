import numpy as np
import pytest
from sklearn.svm import SVR

from ugcvqa.heads import factor, solver
from ugcvqa.heads.solver import KernelSolver, optimality_gap

EPSILON = 0.1


def made_up(n=80, n_columns=5, gamma=0.5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(n, n_columns))
    mos = 3 + np.sin(4 * x[:, 0]) + rng.normal(0, 0.4, n)
    return rbf(x, gamma), mos


def rbf(x, gamma):
    return np.exp(-gamma * ((x[:, None] - x) ** 2).sum(-1))


def objective(kernel, mos, coef):
    return 0.5 * coef @ kernel @ coef - mos @ coef + EPSILON * np.abs(coef).sum()


def exact(kernel, mos, c, start=None, tolerance=1e-3):
    return KernelSolver(kernel, mos, EPSILON, tolerance, c).solve(c, start)


@pytest.mark.parametrize("gamma", [0.01, 0.5, 8.0])
@pytest.mark.parametrize("c", [0.5, 2.0, 32.0])
def test_solution_equals_libsvm_at_a_tight_tolerance(gamma, c):
    kernel, mos = made_up(gamma=gamma)
    solution = exact(kernel, mos, c, tolerance=1e-6)
    model = SVR(kernel="precomputed", C=c, epsilon=EPSILON, tol=1e-8).fit(kernel, mos)
    fitted = kernel @ solution.coef + solution.intercept
    assert fitted == pytest.approx(model.predict(kernel), abs=2e-5)
    coef = np.zeros(len(mos))
    coef[model.support_] = model.dual_coef_[0]
    assert objective(kernel, mos, solution.coef) == pytest.approx(objective(kernel, mos, coef), abs=1e-5 * c)


@pytest.mark.parametrize("gamma", [0.01, 0.5, 8.0])
def test_solution_for_large_c_equals_libsvm_within_both_tolerances(gamma):
    """Libsvm keeps the kernel in single precision, which limits it here."""
    kernel, mos = made_up(gamma=gamma)
    one, sides = KernelSolver(kernel, mos, EPSILON, 1e-3, 1024.0), None
    for c in 2.0 ** np.arange(1, 11):
        solution = one.solve(c, sides)
        sides = solution.sides
    model = SVR(kernel="precomputed", C=1024, epsilon=EPSILON, tol=1e-4).fit(kernel, mos)
    assert kernel @ solution.coef + solution.intercept == pytest.approx(model.predict(kernel), abs=2e-3)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("c", [1.0, 16.0, 256.0])
def test_solution_satisfies_the_optimality_conditions(seed, c):
    kernel, mos = made_up(seed=seed, gamma=0.1)
    solution = exact(kernel, mos, c)
    residual = mos - kernel @ solution.coef - solution.intercept
    coef, tolerance = solution.coef, 1e-3
    assert np.abs(coef).max() <= c
    assert coef.sum() == pytest.approx(0, abs=1e-3)
    is_free = (np.abs(coef) > 0) & (np.abs(coef) < c)
    assert np.abs(residual[coef == 0]).max(initial=0) <= EPSILON + tolerance
    assert residual[is_free] == pytest.approx(EPSILON * np.sign(coef[is_free]), abs=tolerance)
    is_bound = np.abs(coef) == c
    assert (np.sign(coef) * residual)[is_bound].min(initial=np.inf) >= EPSILON - tolerance


def test_warm_start_gives_the_cold_start_solution():
    kernel, mos = made_up(gamma=0.2)
    one = KernelSolver(kernel, mos, EPSILON, 1e-6, 1024.0)
    sides = None
    for c in 2.0 ** np.arange(1, 11):
        warm = one.solve(c, sides)
        sides = warm.sides
        cold = exact(kernel, mos, c, tolerance=1e-6)
        assert kernel @ warm.coef + warm.intercept == pytest.approx(kernel @ cold.coef + cold.intercept, abs=1e-5)


def test_a_warm_start_is_left_as_it_was():
    kernel, mos = made_up()
    start = exact(kernel, mos, 2.0).sides
    kept = start.copy()
    exact(kernel, mos, 64.0, start)
    assert np.array_equal(start, kept)


@pytest.mark.parametrize("gamma", [0.05, 2.0])
def test_updated_factors_give_what_new_ones_give(monkeypatch, gamma):
    kernel, mos = made_up(gamma=gamma)
    found = []
    for worth in (0.0, 1e9):
        monkeypatch.setattr(factor, "_WORTH", worth)
        one = KernelSolver(kernel, mos, EPSILON, 1e-6, 1024.0)
        found.append([one.solve(c) for c in 2.0 ** np.arange(1, 11)])
    for new, updated in zip(*found, strict=True):
        assert updated.coef == pytest.approx(new.coef, abs=1e-3)
        assert np.array_equal(updated.sides, new.sides)


def test_equal_videos_with_different_scores_are_solved():
    rng = np.random.default_rng(0)
    x = np.repeat(rng.uniform(size=(20, 3)), 3, axis=0)
    mos = 3 + rng.normal(0, 1, 60)
    kernel = rbf(x, 0.5)
    for c in (2.0, 64.0, 1024.0):
        solution = exact(kernel, mos, c)
        model = SVR(kernel="precomputed", C=c, epsilon=EPSILON, tol=1e-5).fit(kernel, mos)
        assert kernel @ solution.coef + solution.intercept == pytest.approx(model.predict(kernel), abs=2e-3)


def test_scores_within_the_tube_need_no_coefficient():
    kernel, mos = made_up()
    mos = 3 + 0.01 * mos
    solution = exact(kernel, mos, 4.0)
    assert not solution.coef.any()
    assert solution.intercept == pytest.approx((mos.min() + mos.max()) / 2, abs=1e-12)


def test_unfinished_work_is_bounded_and_owned_up_to(monkeypatch):
    monkeypatch.setattr(solver, "MAX_STEPS", 2)
    kernel, mos = made_up(gamma=0.01)
    assert exact(kernel, mos, 64.0) is None


def test_a_matrix_that_is_no_kernel_is_given_up():
    _, mos = made_up()
    assert exact(np.full((len(mos), len(mos)), -1.0), mos, 4.0) is None


def test_the_result_is_the_same_every_time():
    kernel, mos = made_up(gamma=0.05)
    assert np.array_equal(exact(kernel, mos, 32.0).coef, exact(kernel, mos, 32.0).coef)


def test_gap_is_libsvms_stopping_rule():
    """Libsvm stops below its tolerance, one step after having been above."""
    kernel, mos = made_up()
    for tolerance in (1e-1, 1e-2, 1e-3):
        model = SVR(kernel="precomputed", C=8, epsilon=EPSILON, tol=tolerance, shrinking=False).fit(kernel, mos)
        coef = np.zeros(len(mos))
        coef[model.support_] = model.dual_coef_[0]
        gap, intercept = optimality_gap(kernel, mos, coef, 8.0, EPSILON)
        assert 0 < gap < tolerance * 1.001
        assert intercept == pytest.approx(model.intercept_[0], abs=1e-6)
