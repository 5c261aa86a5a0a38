"""The grid search of the SVR protocol on squared distances: a hundred candidates of C and gamma, and the final fit."""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.evaluation.metrics import fit_logistic, plcc, rmse
from ugcvqa.heads.solver import BOUND, FREE, KernelSolver, Sides
from ugcvqa.settings.heads import SVRSettings

MAX_ITERATIONS = 10_000_000
"""Bound on libsvm's steps of one fit; the hardest published fits take some hundred thousand."""


class Distances(NamedTuple):
    """Squared distances of scaled features.

    Attributes:
        fitted: (n, n) among the videos that are fitted.
        new: (m, n) of the videos that are predicted to those.
    """

    fitted: Array
    new: Array


@dataclass(frozen=True, eq=False)
class GridReport:
    """How the candidates of one grid search fared.

    Attributes:
        c_exponents: of the rows of `rmse`.
        gamma_exponents: of the columns of `rmse`.
        rmse: (n_C, n_gamma) RMSE of each candidate on the inner validation part after the logistic map; NaN where even
            the best monotone map leaves more than the best candidate's logistic, so that none was fitted.
        n_solved: candidates that were solved; the others provably equal one with smaller C.
        n_unconverged: fits, the final one included, that hit the bound on solver steps; used as they are.
        n_unmapped: candidates whose logistic fit failed; their plain predictions were scored.
        n_nonfinite: NaN and infinite feature values that were replaced.
        n_libsvm: candidates that libsvm solved: those near the best, and those that the faster solver left.
    """

    c_exponents: tuple[int, ...]
    gamma_exponents: tuple[int, ...]
    rmse: Array
    n_solved: int
    n_unconverged: int
    n_unmapped: int
    n_nonfinite: int
    n_libsvm: int = 0

    @property
    def best(self) -> tuple[int, int]:
        """Exponents of C and gamma of the smallest RMSE; among equals the smallest C, then the smallest gamma."""
        row, column = np.unravel_index(np.nanargmin(self.rmse), self.rmse.shape)
        return self.c_exponents[row], self.gamma_exponents[column]


class Model(NamedTuple):
    """A fitted SVR on a kernel: predictions are kernel[:, support] @ coef + intercept."""

    support: npt.NDArray[np.intp]
    coef: Array
    intercept: float
    is_converged: bool

    def predict(self, kernel: Array) -> Array:
        """Predicts from (m, n) kernel values of m videos with all n fitted ones."""
        pred: Array = kernel[:, self.support] @ self.coef + self.intercept
        return pred


def fit_libsvm(kernel: Array, mos: Array, c: float, settings: SVRSettings) -> Model:
    """Fits one epsilon-SVR by libsvm on a kernel matrix (n, n)."""
    from sklearn.exceptions import ConvergenceWarning  # here because the import takes seconds
    from sklearn.svm import SVR

    model = SVR(kernel="precomputed", C=c, epsilon=settings.epsilon, tol=settings.tolerance, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted instead
        model.fit(kernel, mos)
    return Model(model.support_, model.dual_coef_[0], float(model.intercept_[0]), not model.fit_status_)


def kernel_of(distances: Array, gamma_exponent: int) -> Array:
    """RBF kernel exp(-gamma d) of squared distances, gamma = 2^exponent."""
    kernel: Array = np.multiply(distances, -(2.0**gamma_exponent))
    return np.exp(kernel, out=kernel)


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keeps the linear algebra on one thread.

    The matrices are small: more threads cost more than they give, and round differently.
    """
    limits: AbstractContextManager[Any] = _threads().limit(limits=1, user_api="blas")
    return limits


@cache
def _threads() -> Any:  # noqa: ANN401 - the library has no types
    """Finds the loaded libraries once; the import makes sure that scipy's is among them."""
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def search_grid(
    distances: Distances,
    mos: Array,
    mos_new: Array,
    settings: SVRSettings,
    n_nonfinite: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> GridReport:
    """Scores all candidates.

    Source: section 4 of the paper and its public code; see `svr_fit.fit_svr` for what is done to save time. The
    candidates within the solver's tolerance of the best are solved again by libsvm, which decides among them: where
    candidates are nearly equal, the choice is the one that the public code makes.

    Args:
        distances: squared distances, (n, n) and (m, n).
        mos: (n,) scores of the fitted videos.
        mos_new: (m,) scores of the held-out videos.
        settings: grid and solver settings.
        n_nonfinite: for the report.
        progress: called with (candidates done, candidates in all).

    Returns:
        The table of candidates.
    """
    grid = _Grid(distances, mos, mos_new, settings)
    for done in grid.solve_all():
        if progress:
            progress(done, grid.rmse.size)
    grid.choose()
    return GridReport(
        c_exponents=settings.c_exponents,
        gamma_exponents=settings.gamma_exponents,
        rmse=grid.rmse,
        n_solved=grid.counts["solved"],
        n_unconverged=grid.counts["unconverged"],
        n_unmapped=int(grid.is_unmapped.sum()),
        n_nonfinite=n_nonfinite,
        n_libsvm=grid.counts["libsvm"],
    )


class _Grid:
    """The table of one search while it fills."""

    def __init__(self, distances: Distances, mos: Array, mos_new: Array, settings: SVRSettings) -> None:
        self._distances, self._mos, self._mos_new, self._settings = distances, mos, mos_new, settings
        self.shape = len(settings.c_exponents), len(settings.gamma_exponents)
        self.rmse = np.full(self.shape, np.nan)
        self._bound, self._hope = np.full(self.shape, np.inf), np.full(self.shape, np.inf)
        self._pred = np.empty((*self.shape, len(mos_new)))
        self._is_copy, self._is_libsvm, self.is_unmapped = (np.zeros(self.shape, dtype=bool) for _ in range(3))
        self.counts: Counter[str] = Counter()

    def solve_all(self) -> Iterator[int]:
        """Predicts with all candidates, from the largest gamma, whose kernel is nearly the identity; yields each."""
        start: Sides | None = None
        n_rows, n_columns = self.shape
        for column in reversed(range(n_columns)):
            kernel, kernel_new = self._kernels(column)
            options = self._settings.epsilon, self._settings.tolerance, self._c(n_rows - 1)
            solver = KernelSolver(kernel, self._mos, *options)
            sides = start
            for row in range(n_rows):
                # Where no coefficient is at its bound, raising the bound cannot change the optimum.
                if row and sides is not None and not np.any(np.abs(sides) == BOUND):
                    self._pred[row, column], self._is_copy[row, column] = self._pred[row - 1, column], True
                else:
                    sides = self._solve(solver, kernel, kernel_new, row, column, sides)
                    self.counts["solved"] += 1
                self._bound[row, column] = monotone_rmse(self._pred[row, column], self._mos_new)
                start = sides if row == 0 else start
                yield (n_columns - 1 - column) * n_rows + row + 1

    def choose(self) -> None:
        """Scores the candidates that can win, and lets libsvm decide among those within its tolerance of the best."""
        while True:
            limit = np.nanmin(self.rmse, initial=np.inf) + self._settings.tolerance
            is_open = np.isnan(self.rmse)
            row, column = np.unravel_index(np.argmin(np.where(is_open, self._bound, np.inf)), self.shape)
            is_near = ~is_open & ~self._is_libsvm & (self._hope <= limit)
            if is_open[row, column] and self._bound[row, column] <= limit:
                self._score(int(row), int(column))
            elif is_near.any() and self.rmse.size > 1:
                self._decide(is_near)
            else:
                return

    def _decide(self, is_near: npt.NDArray[np.bool_]) -> None:
        for column in np.flatnonzero(is_near.any(axis=0)).tolist():
            kernel, kernel_new = self._kernels(column)
            for row in np.flatnonzero(is_near[:, column]).tolist():
                self._pred[row, column] = self._libsvm(kernel, row, column).predict(kernel_new)
                self._score(row, column)

    def _c(self, row: int) -> float:
        return 2.0 ** self._settings.c_exponents[row]

    def _kernels(self, column: int) -> tuple[Array, Array]:
        exponent = self._settings.gamma_exponents[column]
        return kernel_of(self._distances.fitted, exponent), kernel_of(self._distances.new, exponent)

    def _solve(
        self, solver: KernelSolver, kernel: Array, kernel_new: Array, row: int, column: int, start: Sides | None
    ) -> Sides:
        solution = solver.solve(self._c(row), start)
        if solution is not None:
            self._pred[row, column] = kernel_new @ solution.coef + solution.intercept
            return solution.sides
        model = self._libsvm(kernel, row, column)
        self._pred[row, column] = model.predict(kernel_new)
        sides = np.zeros(len(kernel), dtype=np.int8)
        sides[model.support] = np.sign(model.coef) * np.where(np.abs(model.coef) < self._c(row), FREE, BOUND)
        return sides

    def _libsvm(self, kernel: Array, row: int, column: int) -> Model:
        model = fit_libsvm(kernel, self._mos, self._c(row), self._settings)
        self.counts["libsvm"] += 1
        self.counts["unconverged"] += not model.is_converged
        self._is_libsvm[row, column], self._is_copy[row, column] = True, False
        return model

    def _score(self, row: int, column: int) -> None:
        if self._is_copy[row, column] and not self._is_libsvm[row - 1, column]:
            for table in (self.rmse, self._hope, self.is_unmapped):
                table[row, column] = table[row - 1, column]
            return
        pred = self._pred[row, column]
        logistic = fit_logistic(pred, self._mos_new)
        self.rmse[row, column] = rmse(self._mos_new, logistic(pred))
        self.is_unmapped[row, column] = logistic.is_identity
        # A logistic fits no worse than the straight line that it can approach. If this one does, its fit has failed,
        # and may succeed on libsvm's nearly equal prediction.
        correlation = np.nan_to_num(plcc(self._mos_new, pred))
        line = float(np.std(self._mos_new)) * math.sqrt(1 - correlation**2)
        self._hope[row, column] = min(self.rmse[row, column], line)


def monotone_rmse(pred: Array, mos: Array) -> float:
    """Computes the RMSE after the best monotone map, rising or falling: no logistic map leaves less.

    Args:
        pred: (m,) predictions.
        mos: (m,) subjective scores.

    Returns:
        At least 0, MOS scale.
    """
    from scipy.optimize import isotonic_regression  # here because the import takes a noticeable part of a second

    ordered = mos[np.argsort(pred, kind="stable")]
    maps = (isotonic_regression(ordered, increasing=rising).x for rising in (True, False))
    return min(rmse(ordered, mapped) for mapped in maps)
