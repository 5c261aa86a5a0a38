"""Solves linear systems on blocks of one symmetric matrix, updating a Cholesky factor where few rows change."""

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array

Indices = npt.NDArray[np.intp]

_WORTH = 0.7  # share of the work of a new factor that an update may take
_MOST_KEPT = 0.5  # columns kept for updates, as a share of the rows of the factor


class BlockFactor:
    """Solves (M + ridge I)[at, at] x = b for one matrix M and many sets `at` that differ little from one to the next.

    Keeps the Cholesky factor of one set, the base. Rows that join or leave it border its system (Schur complement of a
    bordered matrix, Golub and Van Loan, section 3.2.6, and Gill, Murray, Saunders and Wright, 1984): one that joins by
    its row of M, one that leaves by a unit vector, which forces its unknown to zero. A new base is made where that is
    the cheaper way.

    Args:
        matrix: (n, n) symmetric.
        ridge: added to its diagonal.
    """

    def __init__(self, matrix: Array, ridge: float) -> None:
        self._matrix, self._ridge = matrix, ridge
        self._is_base, self._place = np.zeros(len(matrix), dtype=bool), np.zeros(len(matrix), dtype=np.intp)
        self.forget()

    def forget(self) -> None:
        """Makes a new base of the next set."""
        self._base: Indices = np.empty(0, dtype=np.intp)
        self._cholesky: Array | None = None
        self._column: dict[int, int] = {}  # row of M that once joined or left -> its place in what follows
        self._borders = self._responses = self._products = np.empty((0, 0))
        self.is_updated = False

    def solve(self, at: Indices, sides: Array) -> Array | None:
        """Solves one system.

        Args:
            at: (g,) the rows, ascending.
            sides: (k, g) right-hand sides.

        Returns:
            (k, g) solutions; None if the block is not positive definite.
        """
        is_at = np.zeros(len(self._matrix), dtype=bool)
        is_at[at] = True
        if self._cholesky is not None:
            changed = np.flatnonzero(is_at != self._is_base)
            if self._is_worthwhile(changed, at.size):
                self.is_updated = bool(changed.size)
                found = self._updated(changed, at, sides)
                if found is not None:
                    return found
        return self._solved(sides.T) if self._rebase(at, is_at) else None

    def _is_worthwhile(self, changed: Indices, size: int) -> bool:
        n_base, n_kept = len(self._base), len(self._column)
        n_new = sum(row not in self._column for row in changed.tolist())
        if n_kept + n_new > len(self._products):
            return False
        return 2 * n_base * n_new * (n_base + n_kept + n_new) + changed.size**3 < _WORTH * size**3 / 3

    def _rebase(self, at: Indices, is_at: npt.NDArray[np.bool_]) -> bool:
        from scipy.linalg import lapack  # here because the import takes a noticeable part of a second

        self.forget()
        block = np.asfortranarray(self._matrix.take(at, axis=0).take(at, axis=1).T)
        block.flat[:: at.size + 1] += self._ridge
        cholesky, failed = lapack.dpotrf(block, lower=1, overwrite_a=1, clean=0)
        if failed:
            return False
        self._base, self._cholesky, self._is_base = at, cholesky, is_at
        self._place[at] = np.arange(at.size)
        most = int(_MOST_KEPT * at.size)
        self._borders, self._responses = np.empty((most, at.size)), np.empty((most, at.size))
        self._products = np.empty((most, most))
        return True

    def _solved(self, columns: Array) -> Array:
        """Solutions (k, g) of the base's system for columns (g, k)."""
        from scipy.linalg import lapack

        found, _ = lapack.dpotrs(self._cholesky, columns, lower=1)
        solved: Array = found.T
        return solved

    def _updated(self, changed: Indices, at: Indices, sides: Array) -> Array | None:
        stays, places = self._is_base[at], self._place[at]
        columns = np.zeros((len(self._base), len(sides)))
        columns[places[stays]] = sides[:, stays].T
        plain = self._solved(columns)
        found = np.empty_like(sides)
        if changed.size:
            joins = ~self._is_base[changed]
            joining = changed[joins]
            self._keep(changed)
            kept = np.array([self._column[row] for row in (*joining.tolist(), *changed[~joins].tolist())])
            n, count = joining.size, len(self._column)
            complement = -self._products[np.ix_(kept, kept)]
            complement[:n, :n] += self._matrix[np.ix_(joining, joining)]
            complement[range(n), range(n)] += self._ridge
            wanted = -(self._borders[:count] @ plain.T)[kept]
            wanted[:n] += sides[:, ~stays].T
            try:
                border = np.linalg.solve(complement, wanted)
            except np.linalg.LinAlgError:  # the base's inverse is too large
                return None
            of_all = np.zeros((len(sides), count))
            of_all[:, kept] = border.T
            plain -= of_all @ self._responses[:count]
            found[:, ~stays] = border[:n].T
        found[:, stays] = plain[:, places[stays]]
        return found

    def _keep(self, changed: Indices) -> None:
        """Makes what is missing of the borders (m, g), the base's solutions for them, and the products of both."""
        new = np.array([row for row in changed.tolist() if row not in self._column], dtype=np.intp)
        if not new.size:
            return
        start, stop = len(self._column), len(self._column) + new.size
        self._column.update(zip(new.tolist(), range(start, stop), strict=True))
        borders = self._matrix.take(new, axis=0).take(self._base, axis=1)
        leaves = np.flatnonzero(self._is_base[new])
        borders[leaves] = 0
        borders[leaves, self._place[new[leaves]]] = 1
        self._borders[start:stop] = borders
        self._responses[start:stop] = self._solved(borders.T)
        products = borders @ self._responses[:stop].T
        self._products[start:stop, :stop], self._products[:stop, start:stop] = products, products.T
