"""Settings of the heads on video vectors: the SVR and the Gaussian processes."""

from dataclasses import dataclass

from ugcvqa.errors import ConfigError

_LARGEST_EXPONENT = 100
_FEWEST_KERNEL_VIDEOS = 50


@dataclass(frozen=True)
class SVRSettings:
    """Which candidates the grid search tries, and how exactly each is solved.

    Source: section 4 of the paper and its public code.

    Attributes:
        c_exponents: C = 2^e for each e, rising.
        gamma_exponents: gamma = 2^e for each e, rising; the kernel is exp(-gamma |x - z|^2).
        epsilon: half width of the tube without loss, MOS scale.
        tolerance: the solver's stopping tolerance.
    """

    c_exponents: tuple[int, ...] = tuple(range(1, 11))
    gamma_exponents: tuple[int, ...] = tuple(range(-8, 2))
    epsilon: float = 0.1
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        for name, values in (("c_exponents", self.c_exponents), ("gamma_exponents", self.gamma_exponents)):
            if not values or list(values) != sorted(set(values)):
                raise ConfigError(f"{name} is {list(values)}: give at least one exponent, in rising order")
            if abs(values[0]) > _LARGEST_EXPONENT or abs(values[-1]) > _LARGEST_EXPONENT:
                raise ConfigError(f"{name} is {list(values)}: exponents of 2 lie within +-{_LARGEST_EXPONENT}")
        if not self.epsilon >= 0:
            raise ConfigError(f"epsilon is {self.epsilon}: it must be at least 0")
        if not self.tolerance > 0:
            raise ConfigError(f"tolerance is {self.tolerance}: it must be greater than 0")


@dataclass(frozen=True)
class GPSettings:
    """Bounds of the search for the Gaussian process' parameters.

    Attributes:
        max_evaluations: most evaluations of the likelihood; the search usually ends before that.
        tolerance: relative change of the log likelihood that ends the search.
    """

    max_evaluations: int = 100
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if self.max_evaluations < 1:
            raise ConfigError(f"max_evaluations is {self.max_evaluations}: it must be at least 1")
        if not self.tolerance > 0:
            raise ConfigError(f"tolerance is {self.tolerance}: it must be greater than 0")


@dataclass(frozen=True)
class SparseGPSettings:
    """Sizes of the sparse Gaussian process, and what it learns about compression.

    Attributes:
        ladders: feature table of encoding ladders, made by tools/make_ladders.py for the same row; None for none.
        inducing: learned points that represent the training videos.
        pairs: table of other pairs of known order, made by tools/make_pairs.py for the same row; None for none.
        ladder_inducing: further ones that represent the ladders and pairs.
        dimensions: principal axes kept of each group of columns.
        quantiles: kept per column in rank scaling.
        steps: bound on the search for the inducing points.
        kernel_videos: most videos, evenly chosen, that the kernel is learned from; memory grows with the square of
            their number, time with its cube.
        margin: by how much each rung of a ladder should be worse than the one before, in MOS.
        tolerated: deviation from the margin that is as bad as one standard deviation, in MOS.
        max_evaluations: as for the exact process.
        tolerance: as for the exact process.
    """

    ladders: str | None = None
    inducing: int = 192
    ladder_inducing: int = 160
    dimensions: int = 192
    quantiles: int = 64
    steps: int = 25
    margin: float = 0.05
    tolerated: float = 0.08
    pairs: str | None = None
    kernel_videos: int = 2000
    max_evaluations: int = 100
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("inducing", "ladder_inducing", "dimensions", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if not 2 <= self.quantiles <= 128:
            raise ConfigError(f"quantiles is {self.quantiles}: it must be from 2 to 128")
        if self.kernel_videos < _FEWEST_KERNEL_VIDEOS:
            raise ConfigError(f"kernel_videos is {self.kernel_videos}: give {_FEWEST_KERNEL_VIDEOS} or more")
        if not (self.margin >= 0 and self.tolerated > 0):
            raise ConfigError(f"margin {self.margin}, tolerated {self.tolerated}: they must not be negative, nor 0")
        GPSettings(self.max_evaluations, self.tolerance)  # says what is wrong with them
