"""What a sparse Gaussian process has learned, and how a model file keeps it; parts that are read are checked."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ugcvqa import untrusted
from ugcvqa.arrays import Array
from ugcvqa.evaluation.metrics import Logistic
from ugcvqa.heads.fitted import FittedHead, Parts
from ugcvqa.heads.kernels import Kernel
from ugcvqa.heads.parts import GPPart, parts_from, stored_tables
from ugcvqa.heads.scaling import check_scaling

_LISTS = ("scales", "means", "novelty")
_NUMBERS = ("noise", "mos_mean", "mos_deviation", "width")
_MOST_GROUPS = 100


@dataclass(frozen=True, eq=False)
class SparseGPState(FittedHead):
    """What a sparse Gaussian process has learned, and how a model file keeps it.

    Attributes:
        parts: columns and their scaling.
        tables: per part, what its scaling learned.
        scales: (P,) factor of each part's scaled columns.
        axes: per term of the kernel, (columns of its parts, d_t) float16, see `inducing.principal_axes`.
        groups: name of each term, the group of its parts.
        inducing: (M, sum of d_t) float16, learned places in the space of projected columns; float32 in older models.
        kernel: covariance in units of `mos_deviation` squared, each term of which uses one distance.
        noise: variance of a label about the process, same unit.
        whitened: (M,) mean of the process, in the basis where the inducing points are independent.
        factor: (M, M) float32, lower Cholesky factor of the inverse posterior covariance in that basis.
        mos_mean: mean of the training MOS.
        mos_deviation: standard deviation of the training MOS.
        means: (T,) mean of what each term says about the training videos, standard units.
        width: half of an interval in standard deviations, from left-out predictions of the training videos.
        novelty: (T,) what is left of a term's scaled columns, as a squared length, outside their first 64 principal
            axes in 99 % of held-out videos. Where `is_of_points`, the share of a term's variance that the inducing
            points leave open in 99.5 % of training videos.
        ranges: part -> smallest and largest usual value in training, of parts in log scaling.
        logistic: map of predictions to MOS, fitted to left-out predictions of the training videos; `predict` does not
            apply it.
        is_of_points: what `novelty` is, as in older models.
        motion: column with the number of new frames per second, see `motion.lost_motion`; -1 for none.
        spread: (M,) logarithm of the variance of a label about its prediction, relative to what the process says, as a
            linear function in the basis of `whitened`; empty where it is the same everywhere.
    """

    parts: tuple[GPPart, ...]
    tables: tuple[npt.NDArray[np.float32], ...]
    scales: Array
    axes: tuple[npt.NDArray[np.float16], ...]
    groups: tuple[str, ...]
    inducing: npt.NDArray[np.float16] | npt.NDArray[np.float32]
    kernel: Kernel
    noise: float
    whitened: Array
    factor: npt.NDArray[np.float32]
    mos_mean: float
    mos_deviation: float
    means: Array
    width: float
    novelty: Array
    ranges: Mapping[str, tuple[float, float]]
    logistic: Logistic
    is_of_points: bool = False
    motion: int = -1
    spread: Array = field(default_factory=lambda: np.zeros(0))

    def _parts(self) -> Parts:
        arrays: dict[str, npt.NDArray[Any]] = {
            "inducing": self.inducing,
            "whitened": self.whitened,
            "factor": self.factor[np.tril_indices(len(self.factor))],
            **({"spread": self.spread} if self.spread.size else {}),
            **{f"table{index}": table for index, table in enumerate(self.tables) if table.size},
            **{f"axes{index}": axes for index, axes in enumerate(self.axes)},
        }
        values: dict[str, Any] = {
            "parts": [asdict(part) for part in self.parts],
            "groups": list(self.groups),
            **{name: getattr(self, name).tolist() for name in _LISTS},
            **{name: getattr(self.kernel, name).tolist() for name in ("amplitudes", "mixtures")},
            "constant": self.kernel.constant,
            **{name: getattr(self, name) for name in _NUMBERS},
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            "is_of_points": self.is_of_points,
            "motion": self.motion,
        }
        return arrays, values

    @classmethod
    def _from_parts(cls, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any], logistic: Logistic) -> Self:
        head = cls(**_arguments(arrays, values), logistic=logistic)
        head._check()
        return head

    def _check(self) -> None:
        """Checks that the parts fit together.

        Raises:
            CheckpointError: if an array has another shape or type, or is not finite.
            ValueError: if a value cannot be used.
        """
        widths = {
            group: sum(part.stop - part.start for part in self.parts if part.group == group) for group in self.groups
        }
        known = {part.group for part in self.parts}  # groups of constant columns have no term
        if not self.groups or not known.issuperset(self.groups) or len(set(self.groups)) < len(self.groups):
            raise ValueError("its groups are not those of its parts")
        for part, table in zip(self.parts, self.tables, strict=True):
            check_scaling(part.scaling, table, part.stop - part.start)
        if any(axes.ndim != 2 for axes in self.axes):
            raise ValueError("its axes are not tables")
        count, terms = len(self.whitened), (len(self.groups),)
        width, precision = sum(axes.shape[1] for axes in self.axes), str(self.inducing.dtype)
        shapes: list[tuple[str, npt.NDArray[Any], tuple[int, ...], str]] = [
            ("inducing", self.inducing, (count, width), precision if precision == "float32" else "float16"),
            ("whitened", self.whitened, (count,), "float64"),
            ("factor", self.factor, (count, count), "float32"),
            *([("spread", self.spread, (count,), "float64")] if self.spread.size else []),
            ("scales", self.scales, (len(self.parts),), "float64"),
            *((name, getattr(self, name), terms, "float64") for name in ("means", "novelty")),
            *((name, getattr(self.kernel, name), terms, "float64") for name in ("amplitudes", "mixtures")),
            *(
                (f"axes of {group}", axes, (widths[group], *axes.shape[1:]), "float16")
                for group, axes in zip(self.groups, self.axes, strict=True)
            ),
        ]
        for name, array, shape, dtype in shapes:
            untrusted.check_array(name, array, shape, dtype)
        positive = [self.noise, self.mos_deviation, self.width, *self.kernel.amplitudes, *self.kernel.mixtures]
        if min(positive) <= 0:
            raise ValueError("a variance, scale or width is not a positive finite number")
        if np.diag(self.factor).min() <= 0:
            raise ValueError("its factor is not one of a covariance")


def _arguments(arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the head that a file holds, all but the logistic; arrays are not checked yet.

    Raises:
        CheckpointError: if a value cannot be one of a head.
        KeyError: if a part is missing.
    """
    parts = parts_from(values["parts"])
    names = untrusted.sequence(values["groups"], "groups", _MOST_GROUPS)
    groups = tuple(untrusted.text(name, "a group") for name in names)
    lengths = {"scales": len(parts), "means": len(groups), "novelty": len(groups)}
    amplitudes, mixtures = (
        untrusted.numbers(values[name], name, len(groups), 0) for name in ("amplitudes", "mixtures")
    )
    constant = untrusted.number(values["constant"], "constant", 0)
    return {
        "parts": parts,
        "tables": stored_tables(arrays, parts),
        "axes": tuple(np.asarray(arrays[f"axes{index}"]) for index in range(len(groups))),
        "groups": groups,
        **{name: np.asarray(arrays[name]) for name in ("inducing", "whitened")},
        "factor": _square(np.asarray(arrays["factor"])),
        "kernel": Kernel(constant, amplitudes, mixtures, np.eye(len(groups))),
        **{name: untrusted.numbers(values[name], name, lengths[name]) for name in _LISTS},
        **{name: untrusted.number(values[name], name) for name in _NUMBERS},
        "ranges": _ranges(untrusted.mapping(values["ranges"], "ranges")),
        "spread": np.asarray(arrays.get("spread", np.zeros(0))),
        "is_of_points": values.get("is_of_points", True) is True,
        "motion": untrusted.whole(values.get("motion", -1), "motion", -1, max(part.stop for part in parts) - 1),
    }


def _square(factor: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The lower triangle (M, M) of a factor that is kept row by row (M (M + 1) / 2,); older models keep it whole."""
    if factor.ndim != 1:
        return factor
    count = math.isqrt(2 * factor.size)
    if count * (count + 1) // 2 != factor.size:
        raise ValueError(f"its factor has {factor.size} numbers, which make no triangle")
    whole = np.zeros((count, count), dtype=factor.dtype)
    whole[np.tril_indices(count)] = factor
    return whole


def _ranges(values: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Part -> ends; infinite for a column without a finite value."""
    ranges = {}
    for name, ends in values.items():
        low, high = untrusted.sequence(ends, f"range of {name[:20]!r}", 2)
        if (low, high) != (-math.inf, math.inf):
            low, high = untrusted.number(low, "start of a range"), untrusted.number(high, "end of a range")
        ranges[untrusted.text(name, "name of a range")] = (float(low), float(high))
    return ranges
