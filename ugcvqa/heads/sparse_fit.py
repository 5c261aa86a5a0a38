"""Training of the sparse Gaussian process: kernel, axes, inducing points, and the width of its intervals."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular

from ugcvqa.arrays import Array
from ugcvqa.errors import LabelError
from ugcvqa.evaluation.metrics import fit_logistic
from ugcvqa.heads.gp_fit import GPReport, check_training, fit_gp
from ugcvqa.heads.inducing import by_term, cluster_means, placed, principal_axes
from ugcvqa.heads.kernels import Kernel, squared_distances
from ugcvqa.heads.novelty import RESIDUAL_AXES, residual
from ugcvqa.heads.pairs import Pairs, pairs_of_ladders, read_pairs
from ugcvqa.heads.parts import GPPart
from ugcvqa.heads.scaling import fit_scaling
from ugcvqa.heads.sparse_gp import FittedSparseGP, inverse_factor, scaled_blocks, term
from ugcvqa.settings.heads import GPSettings, SparseGPSettings

# Share of left-out MOS that intervals hold, so that they hold 90 % of new ones: kernel, inducing points and spread have
# seen the video that is left out.
_LEFT_OUT_COVERAGE = 0.93

# Share of held-out videos that are not novel: the others may all be of one data set among several, of which they shall
# be 3 % at most. Mixed-up columns lie three times as far off as this.
_USUAL = 0.99
_FOLDS = 3  # in which videos are held out for that
_RANGE, _MARGIN = 0.005, 1.1  # share of the training videos beyond either end of a fact's range, and a factor to spare
_SPREAD_PENALTY = 12.0  # about the variance of the logarithm of a squared normal number, 4.9, over what it can explain
_SMALLEST_RATIO = 1e-2
_ROUNDS = 4
_EQUAL_WEIGHT = 3.0  # of an equality among the pairs: captions would move scores most otherwise
_AXES_VIDEOS = 2000  # most videos, evenly chosen, that the principal axes are found from


def fit_sparse_gp(
    features: npt.NDArray[Any],
    mos: npt.ArrayLike,
    parts: Sequence[GPPart],
    settings: SparseGPSettings | None = None,
    motion: int = -1,
) -> tuple[FittedSparseGP, GPReport]:
    """Fits the head to all given videos; deterministic, nothing is held out.

    The exact process (`gp_fit.fit_gp`), whose memory grows with the square of the number of videos, learns the kernel
    from some of them, from which the principal axes are found too; all of them place the inducing points (Titsias,
    2009) and determine the scaling, the mean and the intervals. Memory beyond the arguments grows by about 30 kB per
    video.

    What the head learns from ladders and pairs is a penalty on pairs whose worse video is not predicted worse by a
    margin, or whose equals are not predicted equal. The ladders' margin and strength, and the number of dimensions and
    points, were chosen on inner validation parts of the first benchmark splits.

    Args:
        features: (N, D) numbers of the training videos, as `gp_fit.fit_gp` takes them.
        mos: (N,) subjective scores.
        parts: columns and their scaling, see `parts.gp_parts`.
        settings: sizes, and the files of the ladders and pairs.
        motion: column with the number of new frames per second, -1 for none.

    Returns:
        The head and what the exact process learned from its videos.

    Raises:
        LabelError: as `gp_fit.fit_gp`, or if the ladders cannot be read or have other columns.
    """
    settings = settings or SparseGPSettings()
    scores, parts = np.asarray(mos, dtype=np.float64), tuple(parts)
    check_training(features, scores, parts)
    pairs = _pairs(settings, features)
    some, sample = (_spread_rows(len(scores), most) for most in (settings.kernel_videos, _AXES_VIDEOS))
    exact, report = fit_gp(
        features[some], scores[some], parts, GPSettings(settings.max_evaluations, settings.tolerance)
    )
    used = [bool(column.any()) for column in exact.kernel.weights.T]
    groups = tuple(dict.fromkeys(part.group for part, is_used in zip(parts, used, strict=True) if is_used))
    tables = tuple(fit_scaling(features[:, part.start : part.stop], part.scaling, settings.quantiles) for part in parts)
    scales = np.sqrt(exact.kernel.weights.sum(axis=0) / exact.unit_distances)
    thinned = pairs.features[_spread_rows(len(pairs.features), len(sample))]  # or the axes would be theirs alone
    own, rungs = (scaled_blocks(table, parts, tables, scales, groups) for table in (features[sample], thinned))
    mean, deviation = float(scores.mean()), float(scores.std())
    head = FittedSparseGP(
        parts=parts,
        tables=tables,
        scales=scales,
        axes=tuple(principal_axes(np.concatenate(pair), settings.dimensions) for pair in zip(own, rungs, strict=True)),
        groups=groups,
        inducing=np.empty((0, 0), dtype=np.float16),
        kernel=replace(exact.kernel, weights=np.eye(len(groups))),
        noise=exact.noise,
        whitened=np.empty(0),
        factor=np.empty((0, 0), dtype=np.float32),
        mos_mean=mean,
        mos_deviation=deviation,
        means=np.zeros(len(groups)),
        width=1.0,
        novelty=_usual_residuals(features[sample], rungs, parts, scales, groups, settings.quantiles),
        ranges={
            part.name: _range(features[:, part.start], _taught(pairs, part.start))
            for part in parts
            if part.scaling == "log"
        },
        logistic=exact.logistic,
        motion=motion,
    )
    problem = _Problem(
        points=head.points(features),
        scores=(scores - mean) / deviation,
        rungs=head.points(pairs.features),
        pairs=pairs,
        kernel=head.kernel,
        noise=head.noise,
    )
    inducing = _inducing(problem, settings)
    solution = _solve(problem, inducing, settings, deviation)
    head = replace(
        head,
        inducing=inducing,
        whitened=solution.whitened,
        factor=solution.factor.astype(np.float32),
        width=solution.width,
        spread=solution.spread,
        logistic=fit_logistic(solution.left_out * deviation + mean, scores),
    )
    n_nonfinite = int(features.size - np.isfinite(features).sum())
    return _described(head, problem.points), replace(report, n_nonfinite=n_nonfinite)


class _Problem(NamedTuple):
    """Training in standard units."""

    points: list[Array]
    scores: Array
    rungs: list[Array]
    pairs: Pairs
    kernel: Kernel
    noise: float


class _Solution(NamedTuple):
    whitened: Array
    factor: Array
    left_out: Array
    width: float
    spread: Array


def _pairs(settings: SparseGPSettings, features: npt.NDArray[Any]) -> Pairs:
    several = []
    if settings.ladders is not None:
        several.append((settings.ladders, pairs_of_ladders(Path(settings.ladders), settings.margin)))
    if settings.pairs is not None:
        several.append((settings.pairs, read_pairs(Path(settings.pairs))))
    for path, pairs in several:
        if pairs.features.shape[1] != features.shape[1]:
            raise LabelError(
                f"{path}: {pairs.features.shape[1]} columns, the training features have {features.shape[1]}; "
                "make it for the same row with tools/make_ladders.py or tools/make_pairs.py"
            )
    return Pairs.joined([pairs for _, pairs in several], features.shape[1])


def _spread_rows(count: int, most: int) -> npt.NDArray[np.int64]:
    """Rows of at most so many videos at equal distances, all that there are where they are fewer."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def _usual_residuals(
    features: npt.NDArray[Any],
    rungs: Sequence[Array],
    parts: Sequence[GPPart],
    scales: Array,
    groups: Sequence[str],
    quantiles: int,
) -> Array:
    """Residuals (T,) that 99 % of held-out videos stay below; the axes know the pairs, as the head's do."""
    fold = np.random.default_rng(0).permutation(len(features)) % _FOLDS
    found: list[list[Array]] = [[] for _ in groups]
    for number in range(_FOLDS):
        inside, outside = features[fold != number], features[fold == number]
        tables = [fit_scaling(inside[:, part.start : part.stop], part.scaling, quantiles) for part in parts]
        known, new = (scaled_blocks(table, parts, tables, scales, groups) for table in (inside, outside))
        for values, block, others, other in zip(found, known, rungs, new, strict=True):
            axes = principal_axes(np.concatenate((block, others)), RESIDUAL_AXES)
            values.append(residual(other, axes.astype(np.float64)))
    return np.array([np.quantile(np.concatenate(values), _USUAL) for values in found])


def _inducing(problem: _Problem, settings: SparseGPSettings) -> npt.NDArray[np.float16]:
    """Places of the inducing points: moved among the training videos, means of the ladders besides."""
    together = np.concatenate(problem.points, axis=1)
    start = cluster_means(together, min(settings.inducing, len(together)))
    found = [placed(problem.points, problem.scores, problem.kernel, problem.noise, start, settings.steps)]
    if problem.pairs.better.size:
        rungs = np.concatenate(problem.rungs, axis=1)
        found.append(cluster_means(rungs, min(settings.ladder_inducing, len(rungs))))
    return np.concatenate(found).astype(np.float16)


def _solve(problem: _Problem, inducing: npt.NDArray[np.float16], settings: SparseGPSettings, unit: float) -> _Solution:
    """Finds the process at the inducing points, and what it says of each training video without that video."""
    places = by_term(inducing.astype(np.float64), problem.points)

    def whitened(points: Sequence[Array]) -> Array:
        pairs = zip(points, places, strict=True)
        return prior @ problem.kernel([squared_distances(one, other) for one, other in pairs]).T

    prior = inverse_factor(problem.kernel([squared_distances(place, place) for place in places]))
    explained, rungs = whitened(problem.points), whitened(problem.rungs)
    pairs = problem.pairs
    steps = (rungs[:, pairs.better] - rungs[:, pairs.worse]).T
    margin = pairs.margin / unit
    precision = (unit / settings.tolerated) ** 2 * np.where(pairs.is_equal, _EQUAL_WEIGHT, 1.0)
    evidence = np.eye(len(inducing)) + explained @ explained.T / problem.noise
    target = explained @ problem.scores / problem.noise
    mean = np.linalg.solve(evidence, target)
    posterior = evidence
    for _ in range(_ROUNDS if len(steps) else 0):
        broken = (steps @ mean < margin) | pairs.is_equal
        weighted = steps[broken].T * precision[broken]
        posterior = evidence + weighted @ steps[broken]
        mean = np.linalg.solve(posterior, target + weighted @ margin[broken])
    factor: Array = cholesky(posterior, lower=True).astype(np.float64)
    doubt = np.sum(solve_triangular(factor, explained, lower=True) ** 2, axis=0)
    leverage = doubt / problem.noise
    # Rasmussen and Williams (2006), section 5.4.2, for a model that is linear in the inducing points.
    error = (problem.scores - mean @ explained) / (1 - leverage)
    variance = problem.kernel.variance - np.sum(explained**2, axis=0) + doubt / (1 - leverage) + problem.noise
    ratio = error / np.sqrt(variance)
    spread, left_out = _spread_of(explained, ratio)
    ratio = np.sort(np.abs(ratio) * np.exp(-left_out / 2))
    width = float(ratio[min(len(ratio) - 1, int(np.ceil(_LEFT_OUT_COVERAGE * (len(ratio) + 1))) - 1)])
    return _Solution(np.asarray(mean, dtype=np.float64), factor, problem.scores - error, width, spread)


def _spread_of(explained: Array, ratio: Array) -> tuple[Array, Array]:
    """Finds where labels lie further from their predictions than the process says.

    Source: own; ridge regression of the logarithm of squared left-out residuals. Videos of one data set, or of one
    kind, have larger errors than others, and one width for all would hold too many of these and too few of those.

    Args:
        explained: (M, N) training videos in the basis of the inducing points.
        ratio: (N,) left-out residuals in standard deviations.

    Returns:
        Weights (M,), and what they say of each video (N,) when they are found without it.
    """
    targets = np.log(ratio**2 + _SMALLEST_RATIO)
    mean = targets.mean()
    inverse = np.linalg.inv(explained @ explained.T + _SPREAD_PENALTY * np.eye(len(explained)))
    weights = inverse @ (explained @ (targets - mean))
    leverage = np.sum(explained * (inverse @ explained), axis=0)
    fitted = weights @ explained
    return weights, fitted - leverage * (targets - mean - fitted) / (1 - leverage)


def _described(head: FittedSparseGP, points: Sequence[Array]) -> FittedSparseGP:
    """Adds what the finished head says about the training videos."""
    own = head.reference
    terms = range(len(head.groups))
    means = [float(np.mean(term(head.kernel, t, points[t], own.places[t]) @ own.weights)) for t in terms]
    return replace(head, means=np.array(means))


def _taught(pairs: Pairs, column: int) -> npt.NDArray[Any]:
    """Values of a column in those pairs that differ by nothing else, from which the head learns what it means."""
    better, worse = pairs.features[pairs.better], pairs.features[pairs.worse]
    differs = better != worse
    alone = differs[:, column] & (differs.sum(axis=1) == 1)
    return np.stack((better[alone, column], worse[alone, column])).ravel()


def _range(*several: npt.NDArray[Any]) -> tuple[float, float]:
    """Ends of what is usual in one of several sets of values."""
    known = [values[np.isfinite(values)] for values in several]
    ends = np.array([np.quantile(values, (_RANGE, 1 - _RANGE)) for values in known if values.size])
    if not ends.size:
        return -np.inf, np.inf
    return float(ends[:, 0].min() / _MARGIN), float(ends[:, 1].max() * _MARGIN)
