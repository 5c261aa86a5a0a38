"""Scoring of frames that are in memory: tensors, arrays, lists and iterators of pictures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from itertools import chain
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ugcvqa.errors import VideoError
from ugcvqa.features.extraction import VideoResult, extract_features
from ugcvqa.features.family import Family
from ugcvqa.features.stream import ClipStream, Item, Task
from ugcvqa.leftovers import temporary_folder
from ugcvqa.media.decode import Frame, decoded_frames
from ugcvqa.media.encode import write_video
from ugcvqa.media.facts import Findings
from ugcvqa.media.memory import NAME, Picture, Planes, frames_of, memory_info, shown
from ugcvqa.media.sampling import Piece
from ugcvqa.media.video import Clip, Plan, VideoInfo, clips_of, picture_at
from ugcvqa.scoring.moments import Picture as ReadPicture
from ugcvqa.settings.data import DecodeLimits

Frames: TypeAlias = "Tensor | npt.NDArray[Any] | Iterable[Tensor | npt.NDArray[Any]] | Sequence[Planes | Frame]"
"""A video in memory: (T, H, W, 3) or (T, 3, H, W), or T pictures (H, W, 3) or (3, H, W) one by one; RGB, uint8 or
floating numbers from 0 to 1. What a decoder gave, without a detour by RGB: a list of (Y, U, V) tuples of 4:2:0 planes,
uint8 as coded, or of PyAV's frames of any format."""

_HIGHEST_RATE = 1000
_AT_ONCE = 8  # frames that are computed together
_MARGIN = 1e-3  # beyond 0 and 1, for what resizing leaves


class MemoryVideo:
    """Frames that are all there, converted one at a time when they are needed.

    Args:
        frames: see `Frames`; a tensor, an array, a list or a tuple.

    Attributes:
        size: (height, width).

    Raises:
        VideoError: if there is no frame, or the first is not one.
    """

    def __init__(self, frames: Tensor | npt.NDArray[Any] | Sequence[Any]) -> None:
        if not len(frames):
            raise VideoError(f"{NAME}: there is no frame")
        self._frames = frames
        self.size = _size_of(_as_given(frames[0], 0))

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> "Picture | Planes | Frame":
        """One frame: RGB (H, W, 3) uint8, planes, or as it was decoded.

        Raises:
            VideoError: if it is not a frame, or of another size than the first.
        """
        return _as_given(self._frames[index], index, self.size)


class MemoryStream(ClipStream):
    """The clips of one video in memory.

    Args:
        video: the frames, or the file that they were put in.
        info: what they hold.
        families: feature families to serve.
        by_second: also serves the place of every piece in the timeline.
    """

    def __init__(
        self, video: MemoryVideo | Path, info: VideoInfo, families: Mapping[str, Family], by_second: bool
    ) -> None:
        super().__init__([Task(NAME, NAME)], families, by_second=by_second)
        self._video_in_memory, self._info = video, info

    def measure(self, index: int) -> VideoInfo:
        """States what the frames hold."""
        del index
        return self._info

    def clips(self, index: int, plans: Mapping[str, Plan], info: VideoInfo, findings: Findings) -> Iterator[Clip]:
        """Goes through the frames once."""
        del index
        video = self._video_in_memory
        if isinstance(video, MemoryVideo):
            pictures = (video[place] for place in range(len(video)))
            return clips_of(frames_of(pictures, info.is_rgb_of_full_range), plans, info, findings)
        return clips_of(decoded_frames(video, DecodeLimits(), info.n_frames, findings.damage), plans, info, findings)

    def picture(self, index: int, info: VideoInfo) -> tuple[float, Picture]:
        """One frame with its time in seconds."""
        video = self._video_in_memory
        if isinstance(video, MemoryVideo):
            return float(info.times_s[index]), shown(video[index], info)
        return picture_at(video, index, info)


@contextmanager
def memory_result(
    frames: Frames,
    fps: float | Fraction,
    families: Mapping[str, Family],
    device: str,
    by_second: bool,
    full_range: bool = False,
) -> Iterator[tuple[VideoResult, ReadPicture]]:
    """Computes the features of frames in memory, by the same steps as those of a file that holds them without loss.

    Tensors, arrays, lists and tuples are read in place, one frame at a time. An iterator, whose length nobody knows, is
    put in a temporary file first, losslessly compressed, so that memory does not grow with its length; the disk must
    hold that file (about half the size of the raw frames).

    Args:
        frames: see `Frames`.
        fps: frames per second, above 0, at most 1000.
        families: the frozen networks.
        device: where they run.
        by_second: also pools the features of each second.
        full_range: RGB or planes come from full-range video.

    Yields:
        The result, and what reads a single frame for as long as the context lasts.

    Raises:
        VideoError: if these are not frames; what is found in later frames is the result's reason.
    """
    rate = _rate(fps)
    with temporary_folder() as folder:
        video, info = _opened(frames, rate, folder / "frames.mkv", full_range)
        stream = MemoryStream(video, info, families, by_second)
        (result,) = extract_features(stream, families, device=device)
        yield result, stream.picture


def memory_items(frames: Tensor, fps: float, families: Mapping[str, Family]) -> Iterator[Item]:
    """The pieces that families take of frames in memory, as tensors; those that look at single frames get all of them.

    Args:
        frames: see `Frames`.
        fps: frames per second.
        families: feature families.

    Raises:
        VideoError: if these are not frames, or a family cannot use them.
    """
    video, info = _opened(frames, _rate(fps), Path(), False)
    stream = MemoryStream(video, info, families, by_second=False)
    stream.plans |= {name: partial(_every_frame, family.forms) for name, family in families.items() if family.forms}
    stream.per_frame = set()
    for item in stream:
        if item.reason:
            raise VideoError(item.reason)
        if item.family:
            yield item.tensors()


def _every_frame(forms: Sequence[str], info: VideoInfo) -> Iterator[Piece]:
    for start in range(0, info.n_frames, _AT_ONCE):
        yield Piece(dict.fromkeys(forms, tuple(range(start, min(info.n_frames, start + _AT_ONCE)))))


def _as_given(frame: Any, index: int, size: tuple[int, int] | None = None) -> "Picture | Planes | Frame":  # noqa: ANN401
    """Checks one frame: planes and decoded frames stay as they are, all else becomes RGB."""
    if isinstance(frame, tuple):
        arrays = [plane.detach().cpu().numpy() if isinstance(plane, Tensor) else plane for plane in frame]
        is_plane = [isinstance(one, np.ndarray) and one.dtype == np.uint8 and one.ndim == 2 for one in arrays]
        if is_plane != [True] * 3 or not arrays[0].size:
            raise VideoError(f"{NAME}: frame {index} is a tuple; give its planes (Y, U, V) of 4:2:0 as 2-D uint8")
        given: Planes | Frame = (arrays[0], arrays[1], arrays[2])
    elif isinstance(frame, Frame):
        given = frame
    else:
        return picture_of(frame, index, size)
    if size is not None and _size_of(given) != size:
        raise VideoError(f"{NAME}: frame {index} has another size than the first; give frames of one size")
    return given


def _size_of(given: "Picture | Planes | Frame") -> tuple[int, int]:
    if isinstance(given, Frame):
        return given.height, given.width
    height, width = (given[0] if isinstance(given, tuple) else given).shape[:2]
    return height, width


def picture_of(frame: Any, index: int, size: tuple[int, int] | None = None) -> Picture:  # noqa: ANN401 (checked here)
    """Brings one frame to (H, W, 3) uint8; floating numbers are rounded to the nearest of 256 levels.

    Args:
        frame: tensor or array (H, W, 3) or (3, H, W), uint8 or floating numbers from 0 to 1.
        index: its place, for messages.
        size: (height, width) that it must have; None accepts any.

    Raises:
        VideoError: if it is something else.
    """
    if isinstance(frame, Tensor):
        frame = frame.detach().cpu()
        frame = (frame.float() if frame.is_floating_point() else frame).numpy()
    if not isinstance(frame, np.ndarray):
        raise VideoError(f"{NAME}: frame {index} is a {type(frame).__name__}; give tensors or arrays")
    if frame.ndim != 3 or 3 not in (frame.shape[2], frame.shape[0]) or 0 in frame.shape:
        raise VideoError(f"{NAME}: frame {index} has shape {frame.shape}; give (H, W, 3) or (3, H, W), in RGB")
    picture = frame if frame.shape[2] == 3 else frame.transpose(1, 2, 0)
    if size is not None and picture.shape[:2] != size:
        sizes = f"{picture.shape[1]}x{picture.shape[0]}, the frames before are {size[1]}x{size[0]}"
        raise VideoError(f"{NAME}: frame {index} is {sizes}; give frames of one size")
    return _levels(picture, index)


def _levels(picture: npt.NDArray[Any], index: int) -> Picture:
    if picture.dtype == np.uint8:
        return picture
    if not np.issubdtype(picture.dtype, np.floating):
        raise VideoError(f"{NAME}: frame {index} is {picture.dtype}; give uint8, or floating numbers from 0 to 1")
    low, high = float(picture.min()), float(picture.max())  # NaN if there is one
    if not (np.isfinite(low) and np.isfinite(high)):
        raise VideoError(f"{NAME}: frame {index} holds NaN or infinite values; give numbers from 0 to 1")
    if low < -_MARGIN or high > 1 + _MARGIN:
        hint = "; divide levels of 0 to 255 by 255, or give uint8" if low >= 0 else ""
        raise VideoError(f"{NAME}: frame {index} holds values from {low:g} to {high:g}; give 0 to 1{hint}")
    levels: Picture = np.rint(picture.clip(0, 1) * 255).astype(np.uint8)
    return levels


def _rate(fps: float | Fraction) -> Fraction:
    """The rate as a fraction, such as 30000/1001 for 29.97003."""
    if isinstance(fps, bool) or not isinstance(fps, Real) or not 0.01 <= fps <= _HIGHEST_RATE:  # NumPy's are real too
        raise VideoError(f"{NAME}: {fps!r} frames per second; give a number from 0.01 to {_HIGHEST_RATE}")
    return (fps if isinstance(fps, Fraction) else Fraction(float(fps))).limit_denominator(1001)


def _opened(frames: Frames, rate: Fraction, spool: Path, full_range: bool) -> tuple[MemoryVideo | Path, VideoInfo]:
    """Takes frames as they are, or those of an iterator from a file."""
    if isinstance(frames, str | bytes | Path):
        raise VideoError(f"{NAME}: {frames!r} is the name of a file; score that by `score`")
    if isinstance(frames, Tensor | np.ndarray) and frames.ndim != 4:
        raise VideoError(f"{NAME}: shape {tuple(frames.shape)}; give (T, H, W, 3) or (T, 3, H, W)")
    if isinstance(frames, Tensor | np.ndarray | Sequence):
        video = MemoryVideo(frames)
        (first,) = frames_of([video[0]], full_range)
        is_rgb = isinstance(video[0], np.ndarray)
        return video, memory_info(len(video), *video.size, rate, None if is_rgb else first, full_range)
    if not isinstance(frames, Iterable):
        raise VideoError(f"{NAME}: a {type(frames).__name__} is no video; give a tensor, an array or a list of frames")
    return spool, _spooled(frames, rate, spool, full_range)


def _spooled(frames: Iterable[Any], rate: Fraction, spool: Path, full_range: bool) -> VideoInfo:
    """Puts the frames of an iterator in a file, one by one, and states what it holds."""
    remaining = iter(frames)
    try:
        first = next(remaining)
    except StopIteration:
        raise VideoError(f"{NAME}: there is no frame") from None
    if isinstance(first, tuple | Frame):
        raise VideoError(
            f"{NAME}: planes and decoded frames come as a list, not one by one; score the file itself if it is long"
        )
    height, width, _ = picture_of(first, 0).shape
    n_frames = 0

    def pictures() -> Iterator[Picture]:
        nonlocal n_frames
        for index, frame in enumerate(chain([first], remaining)):
            yield picture_of(frame, index, (height, width))
            n_frames = index + 1

    write_video(spool, pictures(), rate, "ffv1", "bgr0")
    return memory_info(n_frames, height, width, rate, full_range=full_range)
