"""Families without networks: NSS, and what the file says of itself; torch is imported only where it computes NSS."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.errors import VideoError
from ugcvqa.features.family import VERSIONS, Family, Pool, as_array, too_short
from ugcvqa.features.store import FeatureSpec
from ugcvqa.media import sampling
from ugcvqa.media.sampling import Piece
from ugcvqa.media.video import TimedPlan, VideoInfo
from ugcvqa.nss.chunks import SMALLEST_SIDE_PX, ChunkMean
from ugcvqa.nss.engines import check_settings, compiled_kernels, usable_engine
from ugcvqa.settings import FamilySettings


class NSSFamily(Family):
    """RAPIQUE's 1,836 natural scene statistics, averaged over one-second chunks."""

    is_light = True

    def __init__(self, settings: FamilySettings) -> None:
        nss = replace(settings.nss, engine=usable_engine(settings.nss.engine))
        check_settings(nss.colour, nss.precision, nss.min_side, nss.engine)
        values = {name: value for name, value in asdict(nss).items() if (name, value) != ("engine", "torch")}
        super().__init__(FeatureSpec("nss", VERSIONS["nss"], values), TimedPlan(partial(nss_plan, nss.short)))
        self._settings, self.takes_tensors = nss, nss.engine == "torch"

    def __call__(self, frames: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """Computes one chunk: planes "y", "u", "v" as `sampling.nss_pieces` orders them -> (1836,) float64."""
        planes, nss = [frames[form] for form in ("y", "u", "v")], self._settings
        try:
            if self.takes_tensors or getattr(planes[0], "is_cuda", False):
                return self._by_torch(planes)
            return np.asarray(compiled_kernels().chunk(*map(np.asarray, planes), nss.colour, nss.min_side))
        except ValueError as error:  # what is left after shrinking may be too small for the filters
            raise VideoError(str(error)) from error

    def _by_torch(self, planes: Iterable[Any]) -> npt.NDArray[np.float64]:
        import torch

        with torch.inference_mode(), _one_thread():
            return as_array(self._network(*planes))

    @cached_property
    def _network(self) -> Any:  # noqa: ANN401 (its module imports torch)
        from ugcvqa.nss.features import NSS

        return NSS(self._settings.colour, self._settings.precision, self._settings.min_side)

    def pool(self) -> Pool:
        """Starts the mean over chunks (NaN ignored per dimension)."""
        return _ChunkPool()


class _ChunkPool:
    """The mean over chunks."""

    def __init__(self) -> None:
        self._mean = ChunkMean()

    def add(self, features: npt.NDArray[np.float64]) -> None:
        self._mean.add(features)

    def result(self) -> dict[str, npt.NDArray[np.float64]]:
        return {"video": self._mean.result()}


class ContainerFamily(Family):
    """Size and frame rate of the file: nothing is decoded and nothing computed."""

    is_light = True
    needs_frames = False

    def __init__(self) -> None:
        super().__init__(FeatureSpec("container", VERSIONS["container"], {}), lambda *_: ())

    def __call__(self, frames: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """Hands on the facts (3,) float64."""
        return as_array(frames["container"])

    def pool(self) -> Pool:
        """Starts to wait for the facts."""
        return _VectorPool()


class _VectorPool:
    """The one vector of a video."""

    def __init__(self) -> None:
        self._vector = np.empty(0)

    def add(self, features: npt.NDArray[np.float64]) -> None:
        self._vector = features

    def result(self) -> dict[str, npt.NDArray[np.float64]]:
        return {"video": self._vector}


def nss_plan(short: str, info: VideoInfo) -> Iterator[Piece]:
    """Yields the pieces of the NSS family: one per one-second chunk.

    Args:
        short: `error` or `nan`, see `settings.NSSSettings`.
        info: the video.

    Raises:
        VideoError: if a side is too small for the filters, or the video holds no chunk and `short` is `error`.
    """
    if min(info.height, info.width) < SMALLEST_SIDE_PX:
        raise VideoError(
            f"too small for NSS features: frames of {info.width} x {info.height} pixels, at least {SMALLEST_SIDE_PX} "
            "on each side are needed; leave the video out"
        )
    if next(sampling.chunk_centres(info.n_frames, info.rate, info.seconds), None) is None and short == "error":
        raise too_short("NSS", info, "or set short=nan")
    yield from sampling.nss_pieces(info.n_frames, info.rate, info.seconds)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps torch to one CPU thread: on small maps several only wait for each other, the more on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
