"""Which frames a feature family needs: pure functions of frame count, rate and size.

A family never sees the decoder. It states `Piece`s, small groups of frames in named forms, and the reader in
`video.py` serves all families from one pass over the file, converting each frame only to the forms asked for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

FORMS = ("y", "u", "v", "rgb")
"""Forms a frame can be asked for: 8-bit planes of YUV 4:2:0 ("y" (H, W); "u", "v" (ceil(H/2), ceil(W/2));
levels as coded, no range or matrix conversion) and "rgb" (3, H, W) 8-bit by the file's own colour tags."""


@dataclass(frozen=True)
class Piece:
    """The frames that one step of a feature family works on, by form.

    Attributes:
        frames: form -> 0-based frame indices in presentation order, in the order the family wants them; an
            index may occur more than once.
    """

    frames: Mapping[str, tuple[int, ...]]

    @property
    def first(self) -> int:
        """Smallest frame index of the piece."""
        return min(min(indices) for indices in self.frames.values() if indices)

    @property
    def last(self) -> int:
        """Largest frame index of the piece; the piece is complete once this frame is decoded."""
        return max(max(indices) for indices in self.frames.values() if indices)


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
