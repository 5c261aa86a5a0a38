"""Training of the sparse Gaussian process: kernel, axes, inducing points, and the width of its intervals."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular

from ugcvqa.errors import LabelError
from ugcvqa.evaluation.metrics import fit_logistic
from ugcvqa.heads.gp import GPPart, GPReport, check_training, fit_gp
from ugcvqa.heads.inducing import by_term, cluster_means, placed, principal_axes
from ugcvqa.heads.kernels import Kernel, squared_distances
from ugcvqa.heads.ladders import Ladders, read_ladders
from ugcvqa.heads.scaling import fit_scaling
from ugcvqa.heads.sparse_gp import SparseGPHead, factor_of, scaled_blocks, term
from ugcvqa.settings import GPSettings, SparseGPSettings

Array = npt.NDArray[np.float64]

COVERAGE = 0.9
"""Share of newly measured MOS that intervals are made to hold."""

_USUAL = 0.995  # share of the training videos that are not novel; of held-out ones it is about 98 %
_ROUNDS = 4


def fit_sparse_gp(
    features: npt.NDArray[Any],
    mos: npt.ArrayLike,
    parts: Sequence[GPPart],
    settings: SparseGPSettings | None = None,
) -> tuple[SparseGPHead, GPReport]:
    """Fits the head to all given videos; deterministic, nothing is held out.

    The exact process (`gp.fit_gp`), whose memory grows with the square of the number of videos, learns the kernel from
    a sample of them; all of them place the inducing points (Titsias, 2009) and determine the scaling, the mean and the
    intervals. Memory beyond the arguments grows by about 30 kB per video.

    What the head learns from ladders is a penalty on pairs whose heavier video is not predicted worse by a margin; the
    penalty's margin and strength, and the number of dimensions and points, were chosen on inner validation parts of the
    first benchmark splits.

    Args:
        features: (N, D) numbers of the training videos, as `gp.fit_gp` takes them.
        mos: (N,) subjective scores.
        parts: columns and their scaling, see `gp.gp_parts`.
        settings: sizes, and the file of the ladders.

    Returns:
        The head and what the exact process learned from the sample.

    Raises:
        LabelError: as `gp.fit_gp`, or if the ladders cannot be read or have other columns.
    """
    settings = settings or SparseGPSettings()
    scores, parts = np.asarray(mos, dtype=np.float64), tuple(parts)
    check_training(features, scores, parts)
    ladders = _ladders(settings, features)
    rows = _sample(len(scores), settings.sample)
    sample = features[rows]
    exact, report = fit_gp(sample, scores[rows], parts, GPSettings(settings.max_evaluations, settings.tolerance))
    used = [bool(column.any()) for column in exact.kernel.weights.T]
    groups = tuple(dict.fromkeys(part.group for part, is_used in zip(parts, used, strict=True) if is_used))
    tables = tuple(fit_scaling(features[:, part.start : part.stop], part.scaling, settings.quantiles) for part in parts)
    scales = np.sqrt(exact.kernel.weights.sum(axis=0) / exact.unit_distances)
    own, rungs = (scaled_blocks(table, parts, tables, scales, groups) for table in (sample, ladders.features))
    mean, deviation = float(scores.mean()), float(scores.std())
    head = SparseGPHead(
        parts=parts,
        tables=tables,
        scales=scales,
        axes=tuple(principal_axes(np.concatenate(pair), settings.dimensions) for pair in zip(own, rungs, strict=True)),
        groups=groups,
        inducing=np.empty((0, 0), dtype=np.float32),
        kernel=replace(exact.kernel, weights=np.eye(len(groups))),
        noise=exact.noise,
        whitened=np.empty(0),
        factor=np.empty((0, 0), dtype=np.float32),
        mos_mean=mean,
        mos_deviation=deviation,
        means=np.zeros(len(groups)),
        width=1.0,
        novelty=np.ones(len(groups)),
        ranges={part.name: _range(features[:, part.start]) for part in parts if part.scaling == "log"},
        logistic=exact.logistic,
    )
    problem = _Problem(
        points=head.points(features),
        scores=(scores - mean) / deviation,
        rungs=head.points(ladders.features),
        ladders=ladders,
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
        logistic=fit_logistic(solution.left_out * deviation + mean, scores),
    )
    n_nonfinite = int(features.size - np.isfinite(features).sum())
    return _described(head, problem.points), replace(report, n_nonfinite=n_nonfinite)


def _sample(count: int, most: int) -> npt.NDArray[np.int64] | slice:
    """Rows of at most so many videos, drawn from a fixed start, in order."""
    if count <= most:
        return slice(None)
    return np.sort(np.random.default_rng(0).permutation(count)[:most])


class _Problem(NamedTuple):
    """Training in standard units."""

    points: list[Array]
    scores: Array
    rungs: list[Array]
    ladders: Ladders
    kernel: Kernel
    noise: float


class _Solution(NamedTuple):
    whitened: Array
    factor: Array
    left_out: Array
    width: float


def _ladders(settings: SparseGPSettings, features: npt.NDArray[Any]) -> Ladders:
    if settings.ladders is None:
        none = np.empty(0, dtype=np.int64)
        return Ladders(np.empty((0, features.shape[1])), none, none, none)
    ladders = read_ladders(Path(settings.ladders))
    if ladders.features.shape[1] != features.shape[1]:
        raise LabelError(
            f"{settings.ladders}: {ladders.features.shape[1]} columns, the training features have {features.shape[1]}; "
            "make it for the same row with tools/make_ladders.py"
        )
    return ladders


def _inducing(problem: _Problem, settings: SparseGPSettings) -> npt.NDArray[np.float32]:
    """Places of the inducing points: moved among the training videos, means of the ladders besides."""
    together = np.concatenate(problem.points, axis=1)
    start = cluster_means(together, min(settings.inducing, len(together)))
    found = [placed(problem.points, problem.scores, problem.kernel, problem.noise, start, settings.steps)]
    if problem.ladders.light.size:
        rungs = np.concatenate(problem.rungs, axis=1)
        found.append(cluster_means(rungs, min(settings.ladder_inducing, len(rungs))))
    return np.concatenate(found).astype(np.float32)


def _solve(problem: _Problem, inducing: npt.NDArray[np.float32], settings: SparseGPSettings, unit: float) -> _Solution:
    """Finds the process at the inducing points, and what it says of each training video without that video."""
    places = by_term(inducing.astype(np.float64), problem.points)

    def whitened(points: Sequence[Array]) -> Array:
        pairs = zip(points, places, strict=True)
        covariance = problem.kernel([squared_distances(one, other) for one, other in pairs])
        explained: Array = solve_triangular(prior, covariance.T, lower=True, check_finite=False)
        return explained

    prior = factor_of(problem.kernel([squared_distances(place, place) for place in places]))
    explained, rungs = whitened(problem.points), whitened(problem.rungs)
    steps = (rungs[:, problem.ladders.light] - rungs[:, problem.ladders.heavy]).T
    margin, precision = settings.margin / unit * problem.ladders.steps, (unit / settings.tolerated) ** 2
    evidence = np.eye(len(inducing)) + explained @ explained.T / problem.noise
    target = explained @ problem.scores / problem.noise
    mean = np.linalg.solve(evidence, target)
    posterior = evidence
    for _ in range(_ROUNDS if len(steps) else 0):
        broken = steps @ mean < margin
        posterior = evidence + precision * steps[broken].T @ steps[broken]
        mean = np.linalg.solve(posterior, target + precision * steps[broken].T @ margin[broken])
    factor: Array = cholesky(posterior, lower=True).astype(np.float64)
    doubt = np.sum(solve_triangular(factor, explained, lower=True) ** 2, axis=0)
    leverage = doubt / problem.noise
    # Rasmussen and Williams (2006), section 5.4.2, for a model that is linear in the inducing points.
    residual = (problem.scores - mean @ explained) / (1 - leverage)
    variance = problem.kernel.variance - np.sum(explained**2, axis=0) + doubt / (1 - leverage) + problem.noise
    ratio = np.sort(np.abs(residual) / np.sqrt(variance))
    width = float(ratio[min(len(ratio) - 1, int(np.ceil(COVERAGE * (len(ratio) + 1))) - 1)])
    return _Solution(np.asarray(mean, dtype=np.float64), factor, problem.scores - residual, width)


def _described(head: SparseGPHead, points: Sequence[Array]) -> SparseGPHead:
    """Adds what the finished head says about the training videos."""
    own = head.reference
    terms = range(len(head.groups))
    means = [float(np.mean(term(head.kernel, t, points[t], own.places[t]) @ own.weights)) for t in terms]
    novelty = [float(np.quantile(head.openness(points, t), _USUAL)) for t in terms]
    return replace(head, means=np.array(means), novelty=np.array(novelty))


def _range(column: npt.NDArray[Any]) -> tuple[float, float]:
    known = column[np.isfinite(column)]
    return (float(known.min()), float(known.max())) if known.size else (-np.inf, np.inf)
