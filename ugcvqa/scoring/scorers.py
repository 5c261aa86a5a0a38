"""Everything that scores video files, behind one door: trained models and UVQ."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from ugcvqa.scoring import released
from ugcvqa.scoring.about import About
from ugcvqa.scoring.model import QualityModel
from ugcvqa.scoring.model_file import load as load_model
from ugcvqa.scoring.result import Score
from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.features import Engine, NSSEngine, UVQSettings

if TYPE_CHECKING:
    from ugcvqa.scoring.uvq_score import UVQModel  # imports torch

AnyModel: TypeAlias = "QualityModel | UVQModel"
"""What `load` gives."""

UVQ_NAMES = ("uvq", "uvq1.5")
"""Names of the scorers that need no training."""


class Scorer(About, Protocol):
    """Scores video files.

    Attributes:
        part_names: names of `Score.parts`, in order.
        facts: what else belongs to a record of its scores.
        modules: what a process needs to import before it scores.
    """

    @property
    def part_names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def facts(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def modules(self) -> tuple[str, ...]: ...  # noqa: D102

    def score_many(
        self,
        paths: Iterable[str | Path],
        batch_size: int = 1,
        workers: int = 0,
        device: str = "cpu",
        limits: DecodeLimits | None = None,
        timeline: bool = False,
        explain: bool = False,
    ) -> Iterator[Score]:
        """Scores videos one after the other, see `video_model.VideoModel.score_many`."""


def load(
    model: str | Path | None = None,
    uvq: UVQSettings = UVQSettings(),
    engine: Engine = "auto",
    nss_engine: NSSEngine = "auto",
) -> AnyModel:
    """Loads a scorer.

    Args:
        model: run folder made by `ugcvqa fit` or a model file in it; unless a file or folder has that name, a released
            model by name, see `released.SHA256`, or `uvq` or `uvq1.5` for UVQ with the user's weights. None is the
            released model `released.DEFAULT`, which needs no network weights.
        uvq: settings of UVQ.
        engine: library that computes networks, see `FamilySettings`.
        nss_engine: how NSS features are computed, see `NSSSettings`; whichever computed those of the training.

    Raises:
        CheckpointError: if there is no such model, or it is damaged or from an incompatible version.
        WeightsError: if UVQ's weights are missing or damaged.
    """
    if model is None:
        return load_model(released.released_file(released.DEFAULT), engine, nss_engine)
    if str(model) in UVQ_NAMES and not Path(model).exists():
        from ugcvqa.scoring.uvq_score import UVQModel

        return UVQModel(cast(Any, str(model)), uvq, engine)
    if str(model) in released.SHA256 and not Path(model).exists():
        return load_model(released.released_file(str(model)), engine, nss_engine)
    return load_model(model, engine, nss_engine)
