"""What a feature family is: which frames it needs, what it computes from them, how that is pooled over a video."""

from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from ugcvqa.errors import VideoError
from ugcvqa.features.store import FeatureSpec
from ugcvqa.media.sampling import chunk_centres, rounded_rate
from ugcvqa.media.video import Plan, VideoInfo


class Pool(Protocol):
    """Streams the features of a video's pieces into its arrays."""

    def add(self, features: Any) -> None:  # noqa: ANN401 (what the family computes)
        """Takes the features of the next piece, in time order."""

    def result(self) -> Mapping[str, Any]:
        """Returns `video` (D,) float64, and what else the settings ask to keep; arrays, or tensors."""


def as_array(values: Any) -> npt.NDArray[Any]:  # noqa: ANN401 (an array, or a tensor on any device)
    """Features as an array."""
    array: npt.NDArray[Any] = values if isinstance(values, np.ndarray) else values.cpu().numpy()
    return array


class Family:
    """Computes one kind of feature; states its place in the store and the frames that it needs.

    Attributes:
        version: code version; raise it whenever the numbers change, so that no stored feature is reused.
        spec: under which the features are stored.
        plan: which frames are needed.
        is_per_frame: each frame of a piece gives one row of features that depends on no other frame, so that frames
            equal to the one before need not be computed.
        is_light: it uses one core and little memory, so that a process per core is best; networks take all cores.
        forms: of a family that looks at frames one by one, which it takes of each frame, see `sampling.FORMS`.
        needs_frames: whether frames are decoded for it; if not, it gets `container_vector` as "container".
        takes_tensors: it works on torch's tensors, not on arrays.
    """

    version = 1
    is_per_frame = False
    forms: tuple[str, ...] = ()
    is_light = False
    needs_frames = True
    takes_tensors = False

    def __init__(self, spec: FeatureSpec, plan: Plan) -> None:
        self.spec, self.plan = spec, plan

    def __call__(self, frames: Mapping[str, Any]) -> Any:  # noqa: ANN401 (what its pool takes)
        """Computes the features of one piece, whose frames are arrays or tensors (T, ...) by form."""
        raise NotImplementedError

    def rows(self, features: Any) -> Any:  # noqa: ANN401 (an array, or a tensor)
        """The features of one piece, as `__call__` gives them, as rows (rows, D) of an array or tensor."""
        return features if features.ndim > 1 else features[None]

    def on(self, device: str) -> Self:
        """The same family with its network, if it has one, on a device."""
        del device
        return self

    def pool(self) -> Pool:
        """Starts the pooling of one video."""
        raise NotImplementedError


def check_chunks(name: str, info: VideoInfo) -> None:
    """Refuses a video without a single one-second chunk.

    Raises:
        VideoError: if it has none.
    """
    if next(chunk_centres(info.n_frames, info.rate, info.seconds), None) is None:
        needed = rounded_rate(info.rate) // 2 + 2
        raise VideoError(
            f"too short for {name} features: {info.n_frames} frames at {float(info.rate):.4g} per second, at least "
            f"{needed} are needed; leave the video out"
        )
