"""Which frames a feature family needs: pure functions of frame count, rate and size.

A family never sees the decoder. It states `Piece`s, small groups of frames in named forms, and the reader in
`video.py` serves all families from one pass over the file, converting each frame only to the forms asked for.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

FIXED_SIZES = {"rgb224": (224, 224), "fit720": (720, 1280), "fit496": (496, 496), "stretch1080": (1080, 1920)}
"""Forms of a fixed size -> (height, width)."""

FORMS = ("y", "u", "v", "rgb", *FIXED_SIZES)
"""Forms a frame can be asked for: 8-bit planes of YUV 4:2:0 ("y" (H, W); "u", "v" (ceil(H/2), ceil(W/2));
levels as coded, no range or matrix conversion), "rgb" (3, H, W) 8-bit by the file's own colour tags, and "rgb224"
(3, 224, 224) 8-bit: the planes squashed to 224 x 224 with a Lanczos filter, then BT.601 limited-range RGB. UVQ's forms
are RGB by the file's own tags too: "fit720" (3, 720, 1280) keeps the aspect ratio by black borders, "fit496" (3, 496,
496) squashes that, "stretch1080" (3, 1080, 1920) is stretched to fill."""


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


SMALL_SIDE_PX = FIXED_SIZES["rgb224"][0]
"""Side of the square frames of the form "rgb224"."""


def rounded_rate(rate: Fraction) -> int:
    """Frames per second rounded half up, at least 1 (29.97 -> 30, 1.998 -> 2).

    Source: RAPIQUE (Tu et al., 2021), public code: its "F".
    """
    return max(1, int(rate + Fraction(1, 2)))


def chunk_centres(n_frames: int, rate: Fraction) -> Iterator[int]:
    """Yields the centre frame of each one-second chunk: floor(F/2), +F, ... <= N-2.

    Source: RAPIQUE (Tu et al., 2021), public code; `F` is `rounded_rate(rate)`.
    """
    step = rounded_rate(rate)
    yield from range(step // 2, n_frames - 1, step)


def nss_pieces(n_frames: int, rate: Fraction) -> Iterator[Piece]:
    """Yields one piece per one-second chunk of the NSS features.

    Form "y" holds the two spatial frames p and n, then the temporal frames s..e (at most eight; fewer at the
    end of a video, none if e < s); "u" and "v" hold p and n only.

    Source: RAPIQUE public code: p = max(1, t - floor(F/3)), n = min(N-2, t + floor(F/3)), s = max(1, t-4),
    e = min(N-3, s+7) around each chunk centre t.

    Args:
        n_frames: decoded frames N of the video.
        rate: frames per second.

    Yields:
        Pieces in time order; none when the video is too short to hold a chunk.
    """
    reach = rounded_rate(rate) // 3
    for centre in chunk_centres(n_frames, rate):
        spatial = (max(1, centre - reach), min(n_frames - 2, centre + reach))
        start = max(1, centre - 4)
        temporal = tuple(range(start, min(n_frames - 3, start + 7) + 1))
        yield Piece({"y": spatial + temporal, "u": spatial, "v": spatial})


def cnn_pieces(n_frames: int, rate: Fraction) -> Iterator[Piece]:
    """Yields one piece per chunk centre, with the planes of that frame (row CNN).

    Source: RAPIQUE public code: its CNN branch sees the centre frame of each one-second chunk.
    """
    for centre in chunk_centres(n_frames, rate):
        yield Piece({"y": (centre,), "u": (centre,), "v": (centre,)})


def every_frame_pieces(n_frames: int, frames_per_piece: int) -> Iterator[Piece]:
    """Yields all frames in full size as RGB, in pieces of at most `frames_per_piece` (row VSFACNN).

    Source: VSFA (Li et al., 2019), public code.
    """
    for start in range(0, n_frames, frames_per_piece):
        yield Piece({"rgb": tuple(range(start, min(n_frames, start + frames_per_piece)))})


def saliency_frames(n_frames: int, rate: Fraction) -> tuple[int, ...]:
    """Indices of the last frame of each second: F-1, 2F-1, ... (row SALIENCY); the middle frame of a shorter video.

    Source: RVS-resize public code, which counts frames from 1 and takes those divisible by the rounded rate F.
    """
    step = rounded_rate(rate)
    return tuple(range(step - 1, n_frames, step)) or (n_frames // 2,)


def fused_frames(n_frames: int, rate: Fraction) -> tuple[int, ...]:
    """Indices of the first frame of each whole second: 0, F', 2F', ... (row VSFACNN_SALIENCY).

    Source: RVS-resize public code: F' is the rate truncated, floor(N / F') frames. A video shorter than F' frames
    gives its middle frame.
    """
    step = max(1, int(rate))
    return tuple(step * second for second in range(n_frames // step)) or (n_frames // 2,)


def small_pieces(indices: Iterable[int], frames_per_piece: int) -> Iterator[Piece]:
    """Yields given frames in the form "rgb224", in pieces of at most `frames_per_piece`."""
    remaining = iter(indices)
    while group := tuple(itertools.islice(remaining, frames_per_piece)):
        yield Piece({"rgb224": group})
