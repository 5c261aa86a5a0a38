"""How much deep features and saliency maps share: measures, each with its null across videos.

Rows are frames, grouped by video. The independent unit is the video, so every null re-pairs whole videos and every
prediction is tested on videos that were not seen in fitting.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.studies.cosine import mean_windows, unit_rows

Indices = npt.NDArray[np.intp]

MIN_VIDEOS = 8
"""With fewer videos there are too few ways to re-pair them, and too few to learn from, for a test to mean much."""

_RIDGE_EXPONENTS = range(-4, 9)  # penalty = 10^e times the mean of the training rows' squared length
_MAX_COMPONENTS = 10
_ROWS_PER_COMPONENT = 10
_FOLDS = 5  # parts into which the videos are divided


@dataclass(frozen=True)
class Association:
    """A measure, and what it gives when videos are re-paired.

    Attributes:
        measure: what was measured.
        value: on the true pairing; NaN if it could not be measured.
        null: (P,) the same after re-pairing videos.
        n_rows: frames.
        n_videos: videos, or groups of videos that show the same content.
        seed: of the re-pairings and the folds.
        note: why there is no value, or empty.
        unit: what is counted by `n_videos`, in the singular.
    """

    measure: str
    value: float
    null: Array
    n_rows: int
    n_videos: int
    seed: int
    note: str = ""
    unit: str = "video"

    @property
    def p_value(self) -> float:
        """Share of pairings, the true one included, that do not give less than the value; NaN without a value."""
        if not len(self.null) or math.isnan(self.value):
            return math.nan
        return float((1 + np.count_nonzero(~(self.null < self.value))) / (1 + len(self.null)))


def repaired_rows(groups: Indices, random: np.random.Generator) -> Indices:
    """Draws a re-pairing of videos: for each row, the row of another video at the same relative time.

    Args:
        groups: (N,) number of each row's video, 0..V-1, rising.
        random: source of the draw.

    Returns:
        (N,) row numbers.
    """
    counts = np.bincount(groups)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    partner = random.permutation(len(counts))[groups]
    place = np.arange(len(groups)) - starts[groups]
    return np.asarray(starts[partner] + place * counts[partner] // counts[groups])


def cosine_association(deep: Array, maps: Array, groups: Indices, permutations: int, seed: int) -> Association:
    """Tests whether the mean cosine of Algorithm 3 depends on which frame's map is compared with which vector.

    Args:
        deep: (N, D) float64.
        maps: (N, side, side) float64, already shrunk with `shrink_maps`.
        groups: (N,) number of each row's video, 0..V-1, rising.
        permutations: re-pairings.
        seed: of the re-pairings.
    """
    images = unit_rows(maps)
    windows = mean_windows(deep, images.shape[1])

    def measure(order: Indices) -> float:
        cosines = np.einsum("tl,tl->t", windows, images[order])
        defined = cosines[~np.isnan(cosines)]
        return float(defined.mean()) if len(defined) else math.nan

    return _tested("cosine", measure, groups, permutations, seed)


def cka_association(x: Array, y: Array, groups: Indices, permutations: int, seed: int) -> Association:
    """Tests linear CKA from unbiased estimates between the columns of two sides, row by row.

    Source: Kornblith et al., ICML 2019, with the estimator of Song et al., JMLR 2012, as in Nguyen et al., ICLR 2021:
    0 on average for unrelated data, where the plain one goes to 1 when columns outnumber rows.

    Args:
        x: (N, D) float64, N >= 4.
        y: (N, E) float64.
        groups: (N,) number of each row's video, 0..V-1, rising.
        permutations: re-pairings of videos.
        seed: of the re-pairings.

    Returns:
        The test; 1 means equal up to rotation and scale, a negative value no alignment.
    """
    first, source = _without_diagonal(_gram(x)), _gram(y)
    norm = _hsic(first, first)

    def measure(order: Indices) -> float:
        # the diagonal is cleared last, since a short video paired with a long one repeats its rows
        second = _without_diagonal(source[np.ix_(order, order)])
        other = _hsic(second, second)
        return _hsic(first, second) / math.sqrt(norm * other) if norm > 0 and other > 0 else math.nan

    return _tested("CKA", measure, groups, permutations, seed)


def cca_association(x: Array, y: Array, groups: Indices, permutations: int, seed: int) -> Association:
    """Tests the first canonical correlation on held-out videos.

    Each side is reduced to its leading principal components of the training rows (a tenth of their number, ten at
    most), which regularises; the first pair of canonical directions is then applied to the test rows. scikit-learn's
    `CCA`, to which a test compares, would leave this reduction to be written, and iterates, which took 35 times as long
    over the re-pairings and agreed to 1e-6 only.

    Args:
        x: (N, D) float64.
        y: (N, E) float64.
        groups: (N,) number of each row's video, 0..V-1, rising.
        permutations: re-pairings of videos.
        seed: of folds and re-pairings.

    Returns:
        The test; the value is the mean over folds of Pearson's correlation on the test rows, -1..1.
    """
    parts = []
    for train, test in group_folds(groups, _FOLDS, seed):
        n_components = max(1, min(_MAX_COMPONENTS, len(train) // _ROWS_PER_COMPONENT))
        parts.append((train, test, n_components, *_whitened(x[train], x[test], n_components)))

    def measure(order: Indices) -> float:
        values = y[order]
        found = []
        for train, test, n_components, x_train, x_test in parts:
            y_train, y_test = _whitened(values[train], values[test], n_components)
            if not (x_train.size and y_train.size):  # a side does not vary over these training rows
                return math.nan
            left, _, right = np.linalg.svd(x_train.T @ y_train)
            found.append(_pearson(x_test @ left[:, 0], y_test @ right[0]))
        return float(np.mean(found))

    return _tested("CCA", measure, groups, permutations, seed)


def ridge_association(x: Array, y: Array, groups: Indices, permutations: int, seed: int) -> Association:
    """Tests how well ridge regression predicts `y` from `x` on held-out videos.

    Columns of `x` are standardised by the training rows; the penalty is chosen there by generalised cross-validation.

    Source: Hoerl and Kennard, 1970; Golub, Heath and Wahba, 1979.

    Args:
        x: (N, D) float64.
        y: (N, E) float64.
        groups: (N,) number of each row's video, 0..V-1, rising.
        permutations: re-pairings of videos.
        seed: of folds and re-pairings.

    Returns:
        The test; the value is R squared over all test rows and columns, relative to the mean of the training rows:
        1 is perfect, 0 no better than that mean, below 0 worse.
    """
    parts = [(train, test, RidgePath(x[train], x[test])) for train, test in group_folds(groups, _FOLDS, seed)]

    def measure(order: Indices) -> float:
        values = y[order]
        error = total = 0.0
        for train, test, path in parts:
            error += float(((values[test] - path.predict(values[train])) ** 2).sum())
            total += float(((values[test] - values[train].mean(0)) ** 2).sum())
        return 1 - error / total if total else math.nan

    return _tested("ridge", measure, groups, permutations, seed)


class RidgePath:
    """Ridge regression on fixed inputs, prepared so that new targets cost one product.

    Args:
        train: (N, D) float64.
        test: (M, D) float64.
    """

    def __init__(self, train: Array, test: Array) -> None:
        scaled, mean, deviation = _standardised(train)
        self._values, self._vectors = np.linalg.eigh(scaled @ scaled.T)
        self._values = np.clip(self._values, 0, None)
        self._cross = ((test - mean) / deviation) @ scaled.T @ self._vectors
        unit = max(float(self._values.mean()), 1e-12)
        self._penalties = [unit * 10.0**exponent for exponent in _RIDGE_EXPONENTS]

    def predict(self, targets: Array) -> Array:
        """Predicts the targets of the test rows (M, E) from the targets of the training rows (N, E)."""
        mean = targets.mean(0)
        rotated = self._vectors.T @ (targets - mean)
        power = (rotated**2).sum(1)
        penalty = min(self._penalties, key=lambda value: self._gcv(power, value))
        return np.asarray(self._cross @ (rotated / (self._values + penalty)[:, None]) + mean)

    def _gcv(self, power: Array, penalty: float) -> float:
        left = penalty / (self._values + penalty)
        # the centred rows have one degree of freedom less, which shows as an eigenvalue 0
        return float((left**2 * power).sum() / max(float(left.sum()) - 1, 1e-12) ** 2)


def group_folds(groups: Indices, folds: int, seed: int) -> Iterator[tuple[Indices, Indices]]:
    """Yields divisions of the rows, training and test, such that all rows of a video are on one side.

    Args:
        groups: (N,) number of each row's video, 0..V-1.
        folds: parts; no more than videos are made.
        seed: of the order of the videos.
    """
    n_videos = int(groups.max()) + 1
    order = np.random.default_rng(seed).permutation(n_videos)
    for part in np.array_split(order, min(folds, n_videos)):
        is_test = np.isin(groups, part)
        yield np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _tested(
    name: str, measure: Callable[[Indices], float], groups: Indices, permutations: int, seed: int
) -> Association:
    random = np.random.default_rng(seed)
    value = measure(np.arange(len(groups)))
    is_defined = not math.isnan(value)
    null = [measure(repaired_rows(groups, random)) for _ in range(permutations if is_defined else 0)]
    note = "" if is_defined else "not defined: one side does not vary"
    return Association(name, value, np.array(null), len(groups), int(groups.max()) + 1, seed, note)


def _gram(x: Array) -> Array:
    centred = x - x.mean(0)
    return np.asarray(centred @ centred.T)


def _without_diagonal(gram: Array) -> Array:
    hollow = gram.copy()
    np.fill_diagonal(hollow, 0)
    return hollow


def _hsic(first: Array, second: Array) -> float:
    """Unbiased estimate of the Hilbert-Schmidt independence criterion from Gram matrices with a zero diagonal."""
    n, sums, others = len(first), first.sum(0), second.sum(0)
    both = float(sums.sum() * others.sum()) / ((n - 1) * (n - 2))
    return (float(np.vdot(first, second)) + both - 2 * float(sums @ others) / (n - 2)) / (n * (n - 3))


def _standardised(x: Array) -> tuple[Array, Array, Array]:
    """Columns with mean 0 and deviation 1, and what was subtracted and divided by; constant columns become 0."""
    mean, deviation = x.mean(0), x.std(0)
    deviation = np.where(deviation > 1e-12 * np.abs(mean) + 1e-300, deviation, np.inf)
    return (x - mean) / deviation, mean, deviation


def _whitened(train: Array, test: Array, n_components: int) -> tuple[Array, Array]:
    """Leading principal components of the training rows, scaled to unit length over them, of both parts."""
    mean = train.mean(0)
    centred = train - mean
    is_wide = centred.shape[1] > len(centred)
    powers, vectors = np.linalg.eigh(centred @ centred.T if is_wide else centred.T @ centred)
    powers, vectors = powers[::-1][:n_components], vectors[:, ::-1][:, :n_components]
    kept = powers > 1e-12 * max(float(powers[0]), 1e-300)
    directions = (centred.T @ vectors / np.sqrt(np.where(kept, powers, 1)) if is_wide else vectors)[:, kept]
    basis = directions / np.sqrt(powers[kept])
    return centred @ basis, (test - mean) @ basis


def _pearson(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size > 0 else 0.0
