"""Fits the Gaussian-process head: the parameters of its kernel, its noise and its coefficients."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.arrays import Array
from ugcvqa.errors import LabelError
from ugcvqa.evaluation.metrics import fit_logistic
from ugcvqa.heads.gp import FittedGP, factor_of, scaled
from ugcvqa.heads.kernels import Mask, ParameterPosterior, solved, squared_distances
from ugcvqa.heads.labelled import check_mos, check_shapes
from ugcvqa.heads.parts import GPPart
from ugcvqa.heads.scaling import fit_scaling
from ugcvqa.settings.heads import GPSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GPReport:
    """What was learned about the parts of a row.

    Attributes:
        log_marginal_likelihood: of the standardised training MOS, at the learned parameters.
        signal: group -> prior standard deviation of what it contributes, MOS scale.
        weights: group -> part -> share of the group's mean squared distance, 0..1; they add up to 1.
        noise: standard deviation of a label about the process, MOS scale.
        n_evaluations: of the posterior density and its gradient.
        is_converged: whether the search ended by itself and not by the bound on evaluations.
        n_nonfinite: NaN and infinite feature values.
    """

    log_marginal_likelihood: float
    signal: dict[str, float]
    weights: dict[str, dict[str, float]]
    noise: float
    n_evaluations: int
    is_converged: bool
    n_nonfinite: int


def fit_gp(
    features: npt.NDArray[Any],
    mos: npt.ArrayLike,
    parts: Sequence[GPPart],
    settings: GPSettings | None = None,
) -> tuple[FittedGP, GPReport]:
    """Fits the head to all given videos; parameters by marginal likelihood and a weak prior, nothing is held out.

    Source: own; Gaussian-process regression after Rasmussen and Williams (2006), sections 2.2, 5.4.1 and 5.4.2. Each
    group of parts (statistics, network, file facts) has one term of the kernel, over the weighted sum of its parts'
    distances, so that the prediction is a sum of what the groups say. All variances, mixtures and weights are found
    from one fixed start: the result is deterministic. This form, the weak prior and the scalings were chosen on
    YouTube-UGC by the density that heads fitted to the inner training parts of the first ten benchmark splits give the
    inner validation parts. A term over all parts instead of, or besides, one per group was no better.

    Args:
        features: (N, D) numbers of the training videos, taken in single precision; NaN and infinite values as
            `scaling.apply_scaling` says.
        mos: (N,) subjective scores.
        parts: columns and their scaling, see `parts.gp_parts`.
        settings: bounds of the search.

    Returns:
        The head and what was learned.

    Raises:
        LabelError: if there are fewer than ten videos, the tables do not match, a MOS is not finite, all MOS are
            equal, or the features are all non-finite or all constant.
    """
    settings = settings or GPSettings()
    scores = np.asarray(mos, dtype=np.float64)
    check_training(features, scores, parts)
    tables = tuple(fit_scaling(features[:, part.start : part.stop], part.scaling) for part in parts)
    values = scaled(features, parts, tables)
    distances, units = _unit_distances(values)
    if not any(distance.any() for distance in distances):
        raise LabelError(f"all {features.shape[1]} feature columns are constant: there is nothing to learn from")
    mean, deviation = float(scores.mean()), float(scores.std())
    standardised = (scores - mean) / deviation
    terms = _terms(parts, distances)
    posterior = ParameterPosterior(distances, standardised, np.array([*terms.values()]))
    learned = posterior.maximise(settings.max_evaluations, settings.tolerance)
    kernel, noise = learned.kernel, learned.noise
    coefficients, inverse = solved(factor_of(kernel(distances), noise), standardised)
    # Rasmussen and Williams (2006), equation 5.12.
    left_out = standardised - coefficients / np.diag(inverse)
    head = FittedGP(
        parts=tuple(parts),
        tables=tables,
        values=np.concatenate(values, axis=1).astype(np.float32),
        unit_distances=units,
        kernel=kernel,
        noise=noise,
        coefficients=coefficients,
        mos_mean=mean,
        mos_deviation=deviation,
        logistic=fit_logistic(left_out * deviation + mean, scores),
    )
    if not learned.is_converged:
        logger.warning("the GP's search stopped after %d evaluations without converging", learned.n_evaluations)
    return head, GPReport(
        log_marginal_likelihood=learned.log_likelihood,
        signal={name: float(np.sqrt(value)) * deviation for name, value in zip(terms, kernel.amplitudes, strict=True)},
        weights={
            name: {part.name: float(share) for part, share in zip(parts, row / row.sum(), strict=True) if share}
            for name, row in zip(terms, kernel.weights, strict=True)
        },
        noise=float(np.sqrt(noise)) * deviation,
        n_evaluations=learned.n_evaluations,
        is_converged=learned.is_converged,
        n_nonfinite=int(features.size - np.isfinite(features).sum()),
    )


def _groups(parts: Sequence[GPPart]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.group for part in parts))


def _terms(parts: Sequence[GPPart], distances: Sequence[Array]) -> dict[str, Mask]:
    """Group -> which parts its term uses (P,); groups of constant columns are left out."""
    is_useful = np.array([distance.any() for distance in distances])
    groups = {group: is_useful & np.array([part.group == group for part in parts]) for group in _groups(parts)}
    return {group: mask for group, mask in groups.items() if mask.any()}


def _unit_distances(values: Sequence[Array]) -> tuple[list[Array], Array]:
    """Squared distances (N, N) of each part with a mean of 2, and what they were divided by."""
    distances = [squared_distances(x, x) for x in values]
    units = np.array([distance.mean() / 2 for distance in distances])
    # Constant columns leave nothing but rounding.
    units[[np.ptp(x, axis=0).max() == 0 for x in values]] = 0
    for distance, unit in zip(distances, units, strict=True):
        if unit:
            distance /= unit
        else:
            distance[:] = 0
    return distances, np.where(units > 0, units, 1.0)


def check_training(features: npt.NDArray[Any], mos: Array, parts: Sequence[GPPart]) -> None:
    """Checks the data that a process is to be fitted to.

    Raises:
        LabelError: as `fit_gp` says.
    """
    check_shapes(features, mos)
    if not parts or max(part.stop for part in parts) != features.shape[1]:
        raise LabelError(f"features of shape {features.shape} do not match parts up to column {[*parts][-1:]}")
    check_mos(mos, "a Gaussian process")
    if not np.isfinite(features).any():
        raise LabelError(f"the features of shape {features.shape} hold no finite value")
