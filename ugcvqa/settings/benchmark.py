"""Settings of a benchmark."""

from dataclasses import dataclass
from typing import Literal

from ugcvqa.errors import ConfigError


@dataclass(frozen=True)
class BenchmarkSettings:
    """What a benchmark does.

    Attributes:
        mode: `protocol` for the paper's Table 1: median over hold-outs; `single_split` for the second program of the
            paper's code, which keeps the hold-out of median test RMSE; `cross` to train on one data set and test on
            others.
        splits: number of hold-outs; 100 if left out, 101 for `single_split`.
        split_index: run this hold-out only.
        train: data set that `cross` trains on.
        on_missing: what to do where features lack videos: an `error`, or `common` to run all rows of a data set on
            the videos that they share.
    """

    mode: Literal["protocol", "single_split", "cross"] = "protocol"
    splits: int | None = None
    split_index: int | None = None
    train: str | None = None
    on_missing: Literal["error", "common"] = "error"

    def __post_init__(self) -> None:
        for name, value in (("splits", self.splits), ("split_index", self.split_index)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}: the splits are numbered from 1")
        if self.splits is not None and self.split_index is not None:
            raise ConfigError("splits and split_index exclude each other; give one of them")
        if (self.train is not None) != (self.mode == "cross"):
            raise ConfigError("mode cross needs --train DATASET, and no other mode takes it")

    def indexes(self) -> range:
        """Numbers of the hold-outs to run."""
        if self.split_index is not None:
            return range(self.split_index, self.split_index + 1)
        return range(1, (self.splits or (101 if self.mode == "single_split" else 100)) + 1)
