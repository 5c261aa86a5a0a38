"""Which frames a feature family needs: pure functions of frame count, rate and size.

A second is a run of as many frames as the rounded frame rate, as in the published code, unless the rate varies: then
the functions are given the `Seconds` of time that `clock.py` found, and the same rules hold with the frames of each.

A family never sees the decoder. It states `Piece`s, small groups of frames in named forms, and `clips.py` serves all
families from one pass over the file, converting each frame only to the forms asked for.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

FIXED_SIZES = {"rgb224": (224, 224), "fit720": (720, 1280), "fit496": (496, 496), "stretch1080": (1080, 1920)}
"""Forms of a fixed size -> (height, width)."""

CODED = frozenset({"y", "u", "v"})
"""Forms with the levels of the file, often the decoder's own memory."""

FORMS = ("y", "u", "v", "rgb", "shown", *FIXED_SIZES)
"""Forms a frame can be asked for: 8-bit planes of YUV 4:2:0 ("y" (H, W); "u", "v" (ceil(H/2), ceil(W/2));
levels as coded, no range or matrix conversion), "rgb" (3, H, W) 8-bit by the file's own colour tags, "shown" the same
cut to the part that the file asks to show and enlarged to square pixels where its own are not, and "rgb224"
(3, 224, 224) 8-bit: the planes squashed to 224 x 224 with a Lanczos filter, then BT.601 limited-range RGB. UVQ's forms
are RGB by the file's own tags too: "fit720" (3, 720, 1280) keeps the aspect ratio by black borders, "fit496" (3, 496,
496) squashes that, "stretch1080" (3, 1080, 1920) is stretched to fill."""


def frames_bytes(frames: Mapping[str, Sequence[int]], size: tuple[int, int]) -> int:
    """Bytes of frames (form -> indices) of a video whose frames have this height and width."""

    def of(form: str) -> int:
        height, width = FIXED_SIZES.get(form, size)
        if form in ("u", "v"):
            return -(-height // 2) * -(-width // 2)
        return height * width * (1 if form == "y" else 3)

    return sum(of(form) * len(indices) for form, indices in frames.items())


@dataclass(frozen=True)
class Piece:
    """The frames that one step of a feature family works on, by form.

    Attributes:
        frames: form -> 0-based frame indices in presentation order, in the order the family wants them; an
            index may occur more than once.
        facts: name -> array that goes to the family's network beside the frames, such as weights of the frames.
    """

    frames: Mapping[str, tuple[int, ...]]
    facts: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """Smallest frame index of the piece."""
        return min(min(indices) for indices in self.frames.values() if indices)

    @property
    def last(self) -> int:
        """Largest frame index of the piece; the piece is complete once this frame is decoded."""
        return max(max(indices) for indices in self.frames.values() if indices)


STRETCH_REACH = 12
"""Frames of a stretch before its middle."""

SMALL_SIDE_PX = FIXED_SIZES["rgb224"][0]
"""Side of the square frames of the form "rgb224"."""


def rounded_rate(rate: Fraction) -> int:
    """Frames per second rounded half up, at least 1 (29.97 -> 30, 1.998 -> 2).

    Source: RAPIQUE (Tu et al., 2021), public code: its "F".
    """
    return max(1, int(rate + Fraction(1, 2)))


@dataclass(frozen=True)
class Seconds:
    """The seconds of time of a video whose frame rate varies.

    Attributes:
        starts: index of the first frame of each second, ascending from 0; seconds without a frame are left out.
        n_frames: frames of the video.
        n_chunks: how many of them, from the first on, are chunks: all but a last one of half a second or less.
        n_whole: how many of them, from the first on, are as long as a second.
    """

    starts: tuple[int, ...]
    n_frames: int
    n_chunks: int
    n_whole: int

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yields the first frame of each second and the one after its last."""
        yield from itertools.pairwise((*self.starts, self.n_frames))


def chunks(n_frames: int, rate: Fraction, seconds: Seconds | None = None) -> Iterator[tuple[int, int]]:
    """Yields the centre frame of each one-second chunk, and the frames of that second.

    Source: RAPIQUE (Tu et al., 2021), public code: floor(F/2), +F, ... <= N-2; F is `rounded_rate(rate)`.

    Args:
        n_frames: decoded frames N of the video.
        rate: frames per second.
        seconds: the seconds of time, None for a constant rate. F is then the number of frames in the second.
    """
    if seconds is None:
        step = rounded_rate(rate)
        yield from ((centre, step) for centre in range(step // 2, n_frames - 1, step))
        return
    for start, stop in itertools.islice(seconds.runs(), seconds.n_chunks):
        yield min(start + (stop - start) // 2, n_frames - 2), stop - start


def chunk_centres(n_frames: int, rate: Fraction, seconds: Seconds | None = None) -> Iterator[int]:
    """Yields the centre frame of each one-second chunk, see `chunks`."""
    yield from (centre for centre, _ in chunks(n_frames, rate, seconds))


def nss_pieces(n_frames: int, rate: Fraction, seconds: Seconds | None = None) -> Iterator[Piece]:
    """Yields one piece per one-second chunk of the NSS features.

    Form "y" holds the two spatial frames p and n, then the temporal frames s..e (at most eight; fewer at the
    end of a video, none if e < s); "u" and "v" hold p and n only.

    Source: RAPIQUE public code: p = max(1, t - floor(F/3)), n = min(N-2, t + floor(F/3)), s = max(1, t-4),
    e = min(N-3, s+7) around each chunk centre t.

    Args:
        n_frames: decoded frames N of the video.
        rate: frames per second.
        seconds: see `chunks`.

    Yields:
        Pieces in time order; none when the video is too short to hold a chunk.
    """
    for centre, step in chunks(n_frames, rate, seconds):
        reach = step // 3
        spatial = (max(1, centre - reach), min(n_frames - 2, centre + reach))
        start = max(1, centre - 4)
        temporal = tuple(range(start, min(n_frames - 3, start + 7) + 1))
        yield Piece({"y": spatial + temporal, "u": spatial, "v": spatial})


def stretch_pieces(n_frames: int, rate: Fraction, seconds: Seconds | None = None) -> Iterator[Piece]:
    """Yields pieces as `nss_pieces` does, with a longer stretch of temporal frames about each chunk centre.

    Form "y" holds p and n, then up to `STRETCH_REACH` frames before the centre t, and from t on as many. The fact
    "middle" is the place of t among them.
    """
    for centre, step in chunks(n_frames, rate, seconds):
        reach = step // 3
        spatial = (max(1, centre - reach), min(n_frames - 2, centre + reach))
        start = max(1, centre - STRETCH_REACH)
        stretch = tuple(range(start, min(n_frames - 3, centre + STRETCH_REACH - 1) + 1))
        planes = {"y": spatial + stretch, "u": spatial, "v": spatial}
        yield Piece(planes, {"middle": np.array(centre - start)})


def cnn_pieces(n_frames: int, rate: Fraction, seconds: Seconds | None = None) -> Iterator[Piece]:
    """Yields one piece per chunk centre, with the planes of that frame (row CNN).

    Source: RAPIQUE public code: its CNN branch sees the centre frame of each one-second chunk.
    """
    for centre in chunk_centres(n_frames, rate, seconds):
        yield Piece({"y": (centre,), "u": (centre,), "v": (centre,)})


def centre_pieces(n_frames: int, rate: Fraction, seconds: Seconds | None = None) -> Iterator[Piece]:
    """Yields one piece per chunk centre, in full size as RGB; the middle frame of a video without a chunk."""
    for centre in tuple(chunk_centres(n_frames, rate, seconds)) or (n_frames // 2,):
        yield Piece({"rgb": (centre,)})


def every_frame_pieces(n_frames: int, frames_per_piece: int) -> Iterator[Piece]:
    """Yields all frames in full size as RGB, in pieces of at most `frames_per_piece` (row VSFACNN).

    Source: VSFA (Li et al., 2019), public code.
    """
    for start in range(0, n_frames, frames_per_piece):
        yield Piece({"rgb": tuple(range(start, min(n_frames, start + frames_per_piece)))})


def saliency_frames(n_frames: int, rate: Fraction, seconds: Seconds | None = None) -> tuple[int, ...]:
    """Indices of the last frame of each second: F-1, 2F-1, ... (row SALIENCY); the middle frame of a shorter video.

    Source: RVS-resize public code, which counts frames from 1 and takes those divisible by the rounded rate F.
    """
    if seconds is not None:
        return tuple(stop - 1 for _, stop in itertools.islice(seconds.runs(), seconds.n_whole)) or (n_frames // 2,)
    step = rounded_rate(rate)
    return tuple(range(step - 1, n_frames, step)) or (n_frames // 2,)


def fused_frames(n_frames: int, rate: Fraction, seconds: Seconds | None = None) -> tuple[int, ...]:
    """Indices of the first frame of each whole second: 0, F', 2F', ... (row VSFACNN_SALIENCY).

    Source: RVS-resize public code: F' is the rate truncated, floor(N / F') frames. A video shorter than F' frames
    gives its middle frame.
    """
    if seconds is not None:
        return seconds.starts[: seconds.n_whole] or (n_frames // 2,)
    step = max(1, int(rate))
    return tuple(step * second for second in range(n_frames // step)) or (n_frames // 2,)


def small_pieces(indices: Iterable[int], frames_per_piece: int) -> Iterator[Piece]:
    """Yields given frames in the form "rgb224", in pieces of at most `frames_per_piece`."""
    remaining = iter(indices)
    while group := tuple(itertools.islice(remaining, frames_per_piece)):
        yield Piece({"rgb224": group})
