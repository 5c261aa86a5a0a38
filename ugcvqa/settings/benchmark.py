"""Settings of a benchmark."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ugcvqa.errors import ConfigError
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.heads import GPSettings, SparseGPSettings, SVRSettings
from ugcvqa.settings.training import GRUSettings


@dataclass(frozen=True)
class BenchmarkSettings:
    """A benchmark as requested; its attributes are the options of `ugcvqa benchmark` and are described there.

    Raises:
        ConfigError: if they contradict each other.
    """

    data: list[str] | str = "youtube_ugc"
    labels: str | dict[str, str] | None = None
    rows: list[str] | str = "all"
    features: str | None = None
    tables: dict[str, Any] = field(default_factory=dict)
    store: str | None = None
    mode: Literal["protocol", "single_split", "cross"] = "protocol"
    splits: int | None = None
    split_index: int | None = None
    train: str | None = None
    on_missing: Literal["error", "common"] = "error"
    svr: SVRSettings = field(default_factory=SVRSettings)
    gp: GPSettings = field(default_factory=GPSettings)
    sparse_gp: SparseGPSettings = field(default_factory=SparseGPSettings)
    gru: GRUSettings = field(default_factory=GRUSettings)
    families: FamilySettings = field(default_factory=FamilySettings)
    out: str = "benchmarks"
    name: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("splits", self.splits), ("split_index", self.split_index)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}: the splits are numbered from 1")
        if self.splits is not None and self.split_index is not None:
            raise ConfigError("splits and split_index exclude each other; give one of them")
        if (self.train is not None) != (self.mode == "cross"):
            raise ConfigError("mode cross needs --train DATASET, and no other mode takes it")

    @property
    def data_sets(self) -> list[str]:
        """Names of the data sets."""
        return [self.data] if isinstance(self.data, str) else self.data

    @property
    def folder_name(self) -> str:
        """Name of the benchmark's folder."""
        return self.name or "_".join(self.data_sets) + ("" if self.mode == "protocol" else f"_{self.mode}")

    def indexes(self) -> range:
        """Numbers of the hold-outs to run."""
        if self.split_index is not None:
            return range(self.split_index, self.split_index + 1)
        return range(1, (self.splits or (101 if self.mode == "single_split" else 100)) + 1)
