"""An exact solver of epsilon-SVR for many candidates on one dense kernel matrix, in float64.

Libsvm walks to the solution in steps of two coefficients, hundreds of thousands of them for large C. Here each step
solves the linear system of all free coefficients at once, and the solution of a neighbouring candidate tells which
those are: a handful of systems per candidate, and hardly more where libsvm needs most.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Sides = npt.NDArray[np.int8]
Indices = npt.NDArray[np.intp]

FREE, BOUND = 1, 2
"""Sides of a coefficient: 0 inside the tube, +-FREE on its edge, +-BOUND outside, where it is +-C."""

MAX_STEPS = 90
"""Bound on the linear systems of one candidate; ten are usual, fifty happen with nearly equal videos."""

# A coefficient changes side if its violation reaches a share of the largest; steps without progress raise the share.
_SHARES = (0.1, 0.25, 0.5)
_PATIENCE = 5
# Of videos whose kernel value is above this only one becomes free at a time: together they would overshoot.
_ALIKE = 0.97
# Share of free coefficients above which the system is solved for the others.
_MAJORITY = 0.6
# How far a free coefficient may leave its range.
_SLACK = 1e-5


class Solution(NamedTuple):
    """Optimum of one candidate.

    Attributes:
        coef: (n,) dual coefficients, within -C..C.
        intercept: constant term, MOS scale.
        sides: (n,) side of each coefficient, a start for a neighbouring candidate.
        n_steps: linear systems that were solved.
    """

    coef: Array
    intercept: float
    sides: Sides
    n_steps: int


class KernelSolver:
    """Solves epsilon-SVR on one kernel matrix for any C.

    Source: own; a primal-dual active-set method (Hintermueller, Ito and Kunisch, 2003). Given the side of every
    coefficient, the free ones and the constant follow from a linear system; coefficients that then leave their range,
    or whose residual is on the wrong side of the tube's edge, change side, until there are none. Changing all at once
    may go round in circles, so only those change whose violation comes near the largest.

    The system is solved by Cholesky on the free coefficients or, where these are the majority, on the others through
    the inverse of the whole matrix.

    Args:
        kernel: (n, n) symmetric positive semi-definite, ones on the diagonal.
        mos: (n,) subjective scores.
        epsilon: half width of the tube without loss, MOS scale.
        tolerance: largest violation of the optimality conditions, MOS scale, by libsvm's measure.
        largest_c: largest C that will be asked for; it decides the ridge that keeps equal videos apart.
    """

    def __init__(self, kernel: Array, mos: Array, epsilon: float, tolerance: float, largest_c: float) -> None:
        self._kernel, self._mos, self._epsilon, self._tolerance = kernel, mos, epsilon, tolerance
        # Shifts the fitted values by a tenth of the tolerance at most.
        self._ridge = 0.1 * tolerance / largest_c
        self._inverse: _Inverse | None = None
        self._work = 0.0
        self._factor: _Factor | None = None
        self._pattern, self._product = np.zeros(len(mos)), np.zeros(len(mos))

    def solve(self, c: float, start: Sides | None = None) -> Solution | None:
        """Finds the optimum for one C.

        Args:
            c: bound on the coefficients, at most `largest_c`.
            start: (n,) sides to start from; by default those of a kernel without any similarity.

        Returns:
            A solution whose violation of the optimality conditions is within the tolerance; None where the steps do
            not end or the system is singular, for which another solver is needed.
        """
        sides = self._first_guess(c) if start is None else start
        fewest, n_waited, n_stalls = len(sides) + 1, 0, 0
        for n_steps in range(1, MAX_STEPS + 1):
            step = self._step(sides, c)
            if step is None:
                return None
            target, violation = self._changes(sides, c, *step)
            n_violations = int(np.count_nonzero(violation))
            if n_violations == 0:
                return self._accepted(np.clip(step[0], -c, c), c, sides, n_steps)
            if n_violations < fewest:
                fewest, n_waited = n_violations, 0
            else:
                n_waited += 1
            if n_waited == _PATIENCE:
                n_stalls, n_waited = n_stalls + 1, 0
            sides = np.where(self._chosen(sides, violation, n_stalls), target, sides)
        return None

    def _first_guess(self, c: float) -> Sides:
        rest = self._mos - np.median(self._mos)
        size = np.abs(rest) - self._epsilon
        sides: Sides = (np.sign(rest) * np.where(size <= 0, 0, np.where(size < c, FREE, BOUND))).astype(np.int8)
        return sides

    def _accepted(self, coef: Array, c: float, sides: Sides, n_steps: int) -> Solution | None:
        gap, intercept = optimality_gap(self._kernel, self._mos, coef, c, self._epsilon)
        return Solution(coef, intercept, sides, n_steps) if gap <= self._tolerance else None

    def _changes(self, sides: Sides, c: float, coef: Array, residual: Array) -> tuple[Sides, Array]:
        """Where each coefficient would go, and by how much it violates its condition; 0 if it stays."""
        sign, level = np.sign(sides), np.abs(sides)
        signed = sign * coef
        outside = np.maximum(-signed, signed - c)
        beyond = np.where(level == 0, np.abs(residual) - self._epsilon, self._epsilon - sign * residual)
        is_free = level == FREE
        violation = np.where(is_free, outside, beyond)
        violation[violation <= np.where(is_free, _SLACK, 0.45 * self._tolerance)] = 0
        freed = FREE * np.where(level == 0, np.sign(residual), sign)
        target = np.where(is_free, np.where(signed < 0, 0, BOUND * sign), freed)
        return target.astype(np.int8), violation

    def _chosen(self, sides: Sides, violation: Array, n_stalls: int) -> npt.NDArray[np.bool_]:
        """Which of the violating coefficients change side: more choosily after each stall, in the end one by one."""
        share = _SHARES[min(n_stalls, len(_SHARES) - 1)]
        is_free = np.abs(sides) == FREE
        of_free, of_others = np.where(is_free, violation, 0), np.where(is_free, 0, violation)
        chosen: npt.NDArray[np.bool_] = (of_free > 0) & (of_free >= share * of_free.max())
        if n_stalls < len(_SHARES):
            entering = np.flatnonzero((of_others > 0) & (of_others >= share * of_others.max()))
            entering = entering[np.argsort(-of_others[entering], kind="stable")]
            is_alike = np.triu(self._kernel[np.ix_(entering, entering)] > _ALIKE, 1)
            chosen[entering[~is_alike.any(axis=0)]] = True
        elif not chosen.any():
            chosen[np.argmax(of_others)] = True
        return chosen

    def _step(self, sides: Sides, c: float) -> tuple[Array, Array] | None:
        """Coefficients and residuals that the sides imply; None if the system is singular."""
        level = np.abs(sides)
        coef = np.where(level == BOUND, 0.5 * c * sides, 0.0)
        is_free = level == FREE
        free = np.flatnonzero(is_free)
        if not free.size:
            _, intercept = optimality_gap(self._kernel, self._mos, coef, c, self._epsilon)
            return coef, self._mos - self._kernel @ coef - intercept
        edge = self._epsilon * np.where(is_free, sides, 0)
        inverse = self._worthwhile_inverse(free.size)
        if inverse:
            return self._solve_others(inverse, coef, edge, np.flatnonzero(~is_free))
        return self._solve_free(coef, edge, free)

    def _solve_free(self, coef: Array, edge: Array, free: Indices) -> tuple[Array, Array] | None:
        rest = self._mos - self._image(coef)
        rows = self._kernel.take(free, axis=0)
        solved = self._solved(rows, free, self._ridge, (rest - edge)[free], np.ones(free.size))
        if solved is None:
            return None
        intercept = (solved[0].sum() + coef.sum()) / solved[1].sum()
        coef[free] = solved[0] - intercept * solved[1]
        return coef, rest - coef[free] @ rows - intercept

    def _image(self, fixed: Array) -> Array:
        """Kernel times coefficients at the bounds, from the last such product: few change, and C is only a factor."""
        c = np.abs(fixed).max()
        if c == 0:
            return fixed
        pattern = fixed / c
        changed = np.flatnonzero(pattern != self._pattern)
        self._product += (pattern - self._pattern)[changed] @ self._kernel.take(changed, axis=0)
        self._pattern = pattern
        image: Array = c * self._product
        return image

    def _solve_others(
        self, inverse: "_Inverse", fixed: Array, edge: Array, others: Indices
    ) -> tuple[Array, Array] | None:
        """The same through the inverse: finds the residuals of the others that give them their coefficients."""
        matrix, of_mos, of_ones = inverse
        coef, residual = of_mos - matrix @ edge, edge.copy()
        if not others.size:
            intercept = coef.sum() / of_ones.sum()
            return coef - intercept * of_ones, residual
        solved = self._solved(matrix.take(others, axis=0), others, 0.0, fixed[others] - coef[others], of_ones[others])
        if solved is None:
            return None
        rest = np.zeros((len(edge), 2))
        rest[others, 0], rest[others, 1] = solved
        change = matrix @ rest
        coef, per_intercept = coef + change[:, 0], of_ones - change[:, 1]
        intercept = coef.sum() / per_intercept.sum()
        coef -= intercept * per_intercept
        coef[others] = fixed[others]
        residual[others] = -solved[0] - intercept * solved[1]
        return coef, residual

    def _solved(self, rows: Array, at: Indices, ridge: float, *sides: Array) -> tuple[Array, Array] | None:
        """Solves the block of a matrix, given its rows, for two right-hand sides; keeps the factor for the next time.

        The last system for one C is often the first for the next.
        """
        from scipy.linalg import lapack  # here because the import takes a noticeable part of a second

        factor = self._factor
        if factor is None or factor.ridge != ridge or not np.array_equal(factor.at, at):
            block = np.asfortranarray(rows.take(at, axis=1).T)
            block.flat[:: at.size + 1] += ridge
            cholesky, failed = lapack.dpotrf(block, lower=1, overwrite_a=1, clean=0)
            if failed:
                return None
            factor = self._factor = _Factor(ridge, at, cholesky)
        x, _ = lapack.dpotrs(factor.cholesky, np.array(sides).T, lower=1)
        return x[:, 0], x[:, 1]

    def _worthwhile_inverse(self, n_free: int) -> "_Inverse | None":
        """The inverse where it is the cheaper way, once systems on free coefficients have cost as much as making it."""
        n = len(self._mos)
        if n_free <= _MAJORITY * n:
            return None
        if self._inverse is None:
            self._work += n_free**3 / 3
            if self._work > n**3:
                self._inverse = _inverse(self._kernel, self._ridge, self._mos)
                self._work = -np.inf
        return self._inverse


class _Factor(NamedTuple):
    ridge: float  # 0 for the inverse, which has it inside
    at: Indices
    cholesky: Array


class _Inverse(NamedTuple):
    matrix: Array
    of_mos: Array
    of_ones: Array


def optimality_gap(kernel: Array, mos: Array, coef: Array, c: float, epsilon: float) -> tuple[float, float]:
    """Measures how far dual coefficients are from the optimum, as libsvm does.

    Source: Chang and Lin, LIBSVM, section 4.1.2: the largest gain per unit of moving a coefficient up while another
    moves down. Libsvm stops when this is below its tolerance.

    Args:
        kernel: (n, n) matrix.
        mos: (n,) subjective scores.
        coef: (n,) dual coefficients, within -C..C and of sum 0.
        c: their bound.
        epsilon: half width of the tube without loss, MOS scale.

    Returns:
        The gap on the MOS scale, not above 0 at the optimum, and the constant term: the mean over the coefficients
        strictly between the bounds, or the middle of its range where there are none.
    """
    rest = mos - kernel @ coef
    low = (rest - np.where(coef >= 0, epsilon, -epsilon))[coef < c].max(initial=-np.inf)
    high = (rest + np.where(coef <= 0, epsilon, -epsilon))[coef > -c].min(initial=np.inf)
    is_free = (np.abs(coef) < c) & (coef != 0)
    if is_free.any():
        return float(low - high), float((rest - epsilon * np.sign(coef))[is_free].mean())
    return float(low - high), float(0.5 * (low + high))


def _inverse(kernel: Array, ridge: float, mos: Array) -> _Inverse | None:
    from scipy.linalg import lapack  # here because the import takes a noticeable part of a second

    matrix = kernel.copy(order="F")
    matrix.flat[:: len(mos) + 1] += ridge
    cholesky, failed = lapack.dpotrf(matrix, lower=1, overwrite_a=1)
    if failed:
        return None
    half, _ = lapack.dpotri(cholesky, lower=1, overwrite_c=1)
    half = np.tril(half)
    full = half + np.tril(half, -1).T
    return _Inverse(full, full @ mos, full.sum(axis=1))
