"""A scorer for job queues and clusters: small as a pickle, and loaded where it is first used."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ugcvqa.settings.data import DecodeLimits
from ugcvqa.settings.features import Engine, NSSEngine

if TYPE_CHECKING:
    from ugcvqa.scoring.scorers import AnyModel


class VideoScorer:
    """Scores a video at each call; runs inside a process pool, Dask, Ray, Spark or a job queue.

    It travels as its arguments (some hundred bytes), and each process loads the model at its first call. A model of
    your own must be found there under the same path; released models come with the package.

    Args:
        model: as for `ugcvqa.load`; None for the released model.
        engine: as for `ugcvqa.load`.
        nss_engine: as for `ugcvqa.load`.
        device: where features are computed: `cpu`, `cuda`, `cuda:1`.
        limits: bounds on what is decoded.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        engine: Engine = "auto",
        nss_engine: NSSEngine = "auto",
        device: str = "cpu",
        limits: DecodeLimits | None = None,
    ) -> None:
        self._arguments = (model, engine, nss_engine, device, limits)
        self._model: AnyModel | None = None

    def __reduce__(self) -> tuple[type["VideoScorer"], tuple[Any, ...]]:
        return type(self), self._arguments

    def __repr__(self) -> str:
        return f"VideoScorer({self._arguments[0]!r}, {'loaded' if self._model else 'not loaded'})"

    def __call__(self, video: str | Path) -> dict[str, Any]:
        """Scores a video.

        Returns:
            The row as plain values, see `Score.as_dict`; a video that fails has null for `mos`, with `error_code` and
            `error`, and raises nothing.

        Raises:
            CheckpointError: if there is no such model.
        """
        from ugcvqa.scoring.scorers import load

        model, engine, nss_engine, device, limits = self._arguments
        if self._model is None:
            self._model = load(model, engine=engine, nss_engine=nss_engine)
        (score,) = self._model.score_many([video], device=device, limits=limits)
        return score.as_dict()
