"""A training as requested: the one object that the parts of `ugcvqa fit` pass on."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ugcvqa.errors import ConfigError
from ugcvqa.records import plain_settings
from ugcvqa.settings.data import DataSettings, DecodeLimits, LoaderSettings, SplitSettings
from ugcvqa.settings.features import FamilySettings
from ugcvqa.settings.heads import GPSettings, SparseGPSettings, SVRSettings
from ugcvqa.settings.training import EndToEndSettings, GRUSettings, WandbSettings

HeadName = Literal["svr", "gp", "sparse_gp", "gru", "end_to_end"]

END_TO_END_ROW = "CLIP"
"""Name of the feature row of end-to-end models, which see no features."""


@dataclass(frozen=True)
class Experiment:
    """A training as requested; its attributes are the options of `ugcvqa fit` and are described there.

    Raises:
        ConfigError: if a row is named for an end-to-end model.
    """

    data: DataSettings = field(default_factory=DataSettings)
    row: str | None = None
    head: HeadName = "svr"
    svr: SVRSettings = field(default_factory=SVRSettings)
    gp: GPSettings = field(default_factory=GPSettings)
    sparse_gp: SparseGPSettings = field(default_factory=SparseGPSettings)
    gru: GRUSettings = field(default_factory=GRUSettings)
    end_to_end: EndToEndSettings = field(default_factory=EndToEndSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    families: FamilySettings = field(default_factory=FamilySettings)
    out: str = "runs"
    name: str | None = None
    store: str = "store"
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    trainer: dict[str, Any] = field(default_factory=dict)
    logger: Literal["csv", "wandb", "none"] = "csv"
    wandb: WandbSettings = field(default_factory=WandbSettings)
    figures: list[Literal["pdf", "svg"]] = field(default_factory=list)
    font: Literal["sans", "serif"] = "sans"

    def __post_init__(self) -> None:
        if self.head == "end_to_end" and self.row not in (None, END_TO_END_ROW):
            raise ConfigError(f"--row {self.row}: an end-to-end model sees frames, not features; leave it out")

    @property
    def is_network(self) -> bool:
        """Whether the head is trained by gradient descent."""
        return self.head in ("gru", "end_to_end")

    @property
    def feature_row(self) -> str:
        """The row that was named, or the usual one of the head."""
        return {"gru": "VSFACNN", "end_to_end": END_TO_END_ROW}.get(self.head, "NSS") if self.row is None else self.row

    @property
    def files(self) -> tuple[str, ...]:
        """Feature files in place of videos; empty for none."""
        return (self.data.features,) if isinstance(self.data.features, str) else tuple(self.data.features)

    @property
    def run_name(self) -> str:
        """Name of the run folder, to which a number may be added."""
        return self.name or f"{self.data.name}_{self.feature_row.lower()}_{self.head}"

    @property
    def record(self) -> dict[str, Any]:
        """All settings as plain values, for `config.yaml`; `--config` reads them again."""
        return plain_settings({**vars(self), "row": self.feature_row})

    @property
    def deciding(self) -> dict[str, Any]:
        """The settings that decide the numbers of a network's training, as plain values."""
        return {key: self.record[key] for key in ("data", "row", "head", self.head, "split", "families")}

    @property
    def head_settings(self) -> dict[str, Any]:
        """Settings of the head that is trained, as plain values."""
        return asdict(getattr(self, self.head))
