"""An exact solver of epsilon-SVR for many candidates on one dense kernel matrix, in float64.

Libsvm walks to the solution in steps of two coefficients, hundreds of thousands of them for large C. Here each step
solves the linear system of all free coefficients at once, and the solution of a neighbouring candidate tells which
those are: a handful of systems per candidate, and hardly more where libsvm needs most.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.heads.factor import BlockFactor

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

    From one system to the next few coefficients become free or cease to be, so that the factor of an earlier one still
    serves, see `factor.BlockFactor`.

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
        self._factor = BlockFactor(kernel, self._ridge)
        self._pattern, self._product = np.zeros(len(mos)), np.zeros(len(mos))

    def solve(self, c: float, start: Sides | None = None) -> Solution | None:
        """Finds the optimum for one C.

        Args:
            c: bound on the coefficients, at most `largest_c`.
            start: (n,) sides to start from; by default the solution for a kernel without any similarity.

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
                solution = self._accepted(np.clip(step[0], -c, c), c, sides, n_steps)
                if solution is None and self._factor.is_updated:  # solved once more, by a new factor
                    self._factor.forget()
                    continue
                return solution
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
        rest = self._mos - self._image(coef)
        solved = self._factor.solve(free, np.array([rest[free] - self._epsilon * sides[free], np.ones(free.size)]))
        if solved is None:
            return None
        intercept = (solved[0].sum() + coef.sum()) / solved[1].sum()
        coef[free] = solved[0] - intercept * solved[1]
        return coef, rest - self._product_of(coef, free) - intercept

    def _product_of(self, coef: Array, rows: Indices) -> Array:
        """Kernel times coefficients at some rows; few are taken out, many are not worth the copy."""
        if 3 * rows.size < len(coef):
            few: Array = coef[rows] @ self._kernel.take(rows, axis=0)
            return few
        some = np.zeros(len(coef))
        some[rows] = coef[rows]
        many: Array = self._kernel @ some
        return many

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
