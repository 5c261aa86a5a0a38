"""Families without networks: NSS, facts of pixels and of the file; torch is imported only where it computes NSS."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ugcvqa.errors import VideoError
from ugcvqa.features.family import Family, Pool, as_array, check_chunks
from ugcvqa.features.store import FeatureSpec
from ugcvqa.media import sampling
from ugcvqa.media.sampling import Piece
from ugcvqa.media.video import VideoInfo
from ugcvqa.nss.chunks import SMALLEST_SIDE_PX, ChunkMean
from ugcvqa.nss.engines import check_settings, compiled_kernels, usable_engine
from ugcvqa.pixels.bars import content_box
from ugcvqa.pixels.facts import N_MEASURES, facts_of, measured
from ugcvqa.pixels.repeats import chosen_frames, new_frames
from ugcvqa.settings.features import FamilySettings

_CONTENT_VERSION = 1  # of what `picture content` looks at, added to that of the statistics
_AS_EVER = (("engine", "torch"), ("picture", "coded"))  # settings that older features do not name


class NSSFamily(Family):
    """RAPIQUE's 1,836 natural scene statistics, averaged over one-second chunks."""

    is_light = True

    def __init__(self, settings: FamilySettings) -> None:
        nss = replace(settings.nss, engine=usable_engine(settings.nss.engine, settings.nss.precision))
        check_settings(nss.colour, nss.precision, nss.min_side, nss.engine)
        values = {name: value for name, value in asdict(nss).items() if (name, value) not in _AS_EVER}
        plan = partial(nss_plan, nss.short, nss.picture)
        version = self.version + _CONTENT_VERSION * (nss.picture == "content")
        super().__init__(FeatureSpec("nss", version, values), plan)
        self._settings, self.takes_tensors = nss, nss.engine == "torch"

    def __call__(self, frames: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """Computes one chunk: planes "y", "u", "v" as its plan orders them -> (1836,) float64."""
        nss, planes = self._settings, [frames[form] for form in ("y", "u", "v")]
        if not self.takes_tensors:
            planes = [as_array(plane) for plane in planes]
        side = min(planes[0].shape[-2:])
        if nss.picture == "content":
            y, u, v = planes
            planes = content_planes(y, u, v, int(frames["middle"]))
        try:
            if self.takes_tensors:
                return self._by_torch(planes, side)
            arrays = [np.ascontiguousarray(plane) for plane in planes]
            return np.asarray(compiled_kernels().chunk(*arrays, nss.colour, nss.min_side, side))
        except ValueError as error:  # what is left after shrinking may be too small for the filters
            raise VideoError(str(error)) from error

    def _by_torch(self, planes: Iterable[Any], side: int) -> npt.NDArray[np.float64]:
        import torch

        with torch.inference_mode(), _one_thread():
            return as_array(self._network(*planes, side))

    @cached_property
    def _network(self) -> Any:  # noqa: ANN401 (its module imports torch)
        from ugcvqa.nss.features import NSS

        return NSS(self._settings.colour, self._settings.precision, self._settings.min_side)

    def pool(self) -> Pool:
        """Starts the mean over chunks (NaN ignored per dimension)."""
        return ChunkMean()


class ContainerFamily(Family):
    """Size and frame rate of the file: nothing is decoded and nothing computed."""

    is_light = True
    needs_frames = False

    def __init__(self) -> None:
        super().__init__(FeatureSpec("container", self.version, {}), no_pieces)

    def __call__(self, frames: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """Hands on the facts (3,) float64."""
        return as_array(frames["container"])

    def pool(self) -> Pool:
        """Starts the pool, which keeps the one vector of facts."""
        return _VectorPool()


class _VectorPool:
    """The one vector of a video."""

    def __init__(self) -> None:
        self._vector = np.empty(0)

    def add(self, features: npt.NDArray[np.float64]) -> None:
        self._vector = features

    def result(self) -> dict[str, npt.NDArray[np.float64]]:
        return {"video": self._vector}


class PixelsFamily(Family):
    """Facts measured from the pixels alone, see `pixels.facts`."""

    version = 2
    is_light = True

    def __init__(self) -> None:
        super().__init__(FeatureSpec("pixels", self.version, {}), pixels_plan)

    def __call__(self, frames: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """Measures one stretch: "y" (2 + T, H, W), of which the first two are its spatial frames, and "rate".

        Returns:
            (N_MEASURES,) float64.
        """
        luma = as_array(frames["y"])
        return measured(luma[:2], luma[2:], float(frames["rate"]))

    def pool(self) -> Pool:
        """Starts the mean over stretches."""
        return _PixelPool()


class _PixelPool:
    """The facts of the mean over stretches."""

    def __init__(self) -> None:
        self._sums, self._counts = np.zeros(N_MEASURES), np.zeros(N_MEASURES)

    def add(self, features: npt.NDArray[np.float64]) -> None:
        self._sums += np.nan_to_num(features)
        self._counts += np.isfinite(features)

    def result(self) -> dict[str, npt.NDArray[np.float64]]:
        means = np.divide(self._sums, self._counts, out=np.full(N_MEASURES, np.nan), where=self._counts > 0)
        return {"video": np.array([*facts_of(means)])}


BUILDERS: dict[str, Callable[[FamilySettings], Family]] = {
    "nss": NSSFamily,
    "container": lambda _: ContainerFamily(),
    "pixels": lambda _: PixelsFamily(),
}
"""Family -> what builds it by the settings."""


def content_planes(y: Any, u: Any, v: Any, middle: int) -> list[Any]:  # noqa: ANN401 (arrays, or tensors)
    """Cuts bars off the planes of a chunk and leaves repeated frames out.

    Args:
        y: (2 + T, H, W) uint8: the spatial frames, then the stretch about the chunk's centre.
        u: (2, ceil(H/2), ceil(W/2)) uint8, chroma of the spatial frames.
        v: (2, ceil(H/2), ceil(W/2)) uint8.
        middle: place of the centre in the stretch.

    Returns:
        Planes as the NSS take them, with eight frames of the stretch at most.
    """
    luma = as_array(y)
    box = content_box([*luma[:2], *luma[2 :: max(1, len(luma) - 3)]])
    chosen = chosen_frames(new_frames(luma[2:]), middle) if len(luma) > 2 else np.empty(0, np.int64)
    places = [0, 1, *(chosen + 2).tolist()]
    rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
    half = slice(box.top // 2, (box.bottom + 1) // 2), slice(box.left // 2, (box.right + 1) // 2)
    return [y[places][:, rows, columns], u[:, *half], v[:, *half]]


def nss_plan(short: str, picture: str, info: VideoInfo) -> Iterator[Piece]:
    """Yields the pieces of the NSS family: one per one-second chunk.

    Args:
        short: `error` or `nan`, see `settings.NSSSettings`.
        picture: `coded` or `content`, likewise.
        info: the video.

    Raises:
        VideoError: if a side is too small for the filters, or the video holds no chunk and `short` is `error`.
    """
    if min(info.height, info.width) < SMALLEST_SIDE_PX:
        raise VideoError(
            f"too small for NSS features: frames of {info.width} x {info.height} pixels, at least {SMALLEST_SIDE_PX} "
            "on each side are needed; leave the video out"
        )
    if short == "error":
        check_chunks("NSS", info)
    pieces = sampling.nss_pieces if picture == "coded" else sampling.stretch_pieces
    yield from pieces(info.n_frames, info.rate, info.seconds)


def no_pieces(info: VideoInfo) -> tuple[Piece, ...]:
    """No frame is needed."""
    del info
    return ()


def pixels_plan(info: VideoInfo) -> Iterator[Piece]:
    """Yields the stretches about the chunk centres without chroma, as the NSS family takes them."""
    for piece in sampling.stretch_pieces(info.n_frames, info.rate, info.seconds):
        yield Piece({"y": piece.frames["y"]}, {"rate": np.array(float(info.rate))})


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
