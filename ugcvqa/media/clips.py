"""Frames put together to the pieces that feature families ask for, each as soon as it is complete."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ugcvqa.media.arrays import Memory
from ugcvqa.media.convert import Converter
from ugcvqa.media.decode import Frame
from ugcvqa.media.facts import Findings, VideoInfo
from ugcvqa.media.marks import mark_of
from ugcvqa.media.sampling import CODED, FIXED_SIZES, Piece

Plan = Callable[[VideoInfo], Iterable[Piece]]
"""What one family wants: from a video's measurements to its pieces in time order."""


@dataclass(frozen=True, repr=False)
class Clip:
    """The frames of one piece of one family, with their places in the video.

    Attributes:
        family: the family that asked for the piece.
        piece_index: 0-based place of the piece in the family's plan.
        frames: form -> (T, ...) uint8 with the shapes of `sampling.FORMS`; "rgb" is a (T, 3, H, W) view of
            (T, H, W, 3) memory (what torch calls channels last).
        frame_index: form -> 0-based frame indices in presentation order, in the order of `frames`.
        info: the video that the frames are from.
        facts: what the family's plan adds to the frames, see `sampling.Piece`.

    Raises:
        ValueError: if shapes or types do not agree with each other and with `info`.
    """

    family: str
    piece_index: int
    frames: Mapping[str, np.ndarray]
    frame_index: Mapping[str, tuple[int, ...]]
    info: VideoInfo
    facts: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for form, images in self.frames.items():
            expected = (len(self.frame_index[form]), *_shape(form, self.info))
            if images.dtype != np.uint8 or images.shape != expected:
                seen = f"{images.dtype} {images.shape}"
                raise ValueError(f"{self.family} piece {self.piece_index}: {form} is {seen}, not {expected}")

    @property
    def pts_s(self) -> dict[str, tuple[float, ...]]:
        """Form -> presentation times in seconds, in the order of `frames`."""
        start_s, times_s = self.info.start_s, self.info.times_s
        return {
            form: tuple(start_s + float(times_s[index]) for index in indices)
            for form, indices in self.frame_index.items()
        }

    def __repr__(self) -> str:
        shapes = ", ".join(f"{form} {images.shape}" for form, images in self.frames.items())
        return f"Clip({self.family} piece {self.piece_index} of {self.info.path}: {shapes})"


def clips_of(frames: Iterable[Frame], plans: Mapping[str, Plan], info: VideoInfo, findings: Findings) -> Iterator[Clip]:
    """Hands out the pieces of all plans from frames in presentation order, see `video.read_clips`."""
    memory = Memory()
    queues = [_Queue(name, plan(info), info, memory) for name, plan in plans.items()]
    convert = Converter(info)
    for index, frame in enumerate(frames):
        for queue in queues:
            queue.open_pieces(index)
        if not findings.levels.is_settled:
            findings.levels.add(convert.glance(frame))
        findings.marks.add(mark_of(frame))
        forms = {form for queue in queues for form in queue.wanted(index)}
        if not forms:
            continue
        images = convert(frame, forms)
        unclaimed = {form for form in forms - CODED if images[form].flags.c_contiguous}
        for queue in queues:
            queue.fill(index, images, unclaimed)
        for queue in queues:
            yield from queue.complete(index)


def _shape(form: str, info: VideoInfo) -> tuple[int, ...]:
    """The shape of one frame of a video in a form."""
    if form == "rgb":
        return 3, info.height, info.width
    if form == "shown":
        return 3, *info.shown_size
    if form in FIXED_SIZES:
        return 3, *FIXED_SIZES[form]
    if form == "y":
        return info.height, info.width
    return (info.height + 1) // 2, (info.width + 1) // 2


@dataclass
class _OpenPiece:
    """A piece whose frames are being gathered.

    Attributes:
        buffers: form -> (T, ...) frames.
        filled: forms that this piece fills; others are filled by a piece of another family that wants the same frames.
    """

    piece: Piece
    piece_index: int
    info: VideoInfo
    buffers: dict[str, np.ndarray] = field(init=False, default_factory=dict)
    filled: set[str] = field(init=False, default_factory=set)
    slots: dict[int, list[tuple[str, int]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for form, indices in self.piece.frames.items():
            for slot, index in enumerate(indices):
                self.slots.setdefault(index, []).append((form, slot))

    def put(self, form: str, slot: int, image: np.ndarray, unclaimed: set[str], memory: Memory) -> None:
        """Takes a frame: its own memory where that is all the piece wants and nobody has it, else a copy."""
        indices = self.piece.frames[form]
        if len(indices) == 1 and form in unclaimed:
            unclaimed.remove(form)
            self.buffers[form] = image[None]
            return
        if form not in self.buffers:
            content = (form, indices) if form in CODED else (form, indices, id(self))
            self.buffers[form], is_empty = memory.take((len(indices), *image.shape), content)
            self.filled |= {form} if is_empty else set()
        if form in self.filled:
            self.buffers[form][slot] = image

    def clip(self, family: str) -> Clip:
        """The finished piece."""
        images = {form: self._frames(form) for form in self.piece.frames}
        return Clip(family, self.piece_index, images, self.piece.frames, self.info, self.piece.facts)

    def _frames(self, form: str) -> np.ndarray:
        """The frames of a form, RGB with the channels first."""
        if form not in self.buffers:
            return np.empty((0, *_shape(form, self.info)), np.uint8)
        images = self.buffers[form]
        return images.transpose(0, 3, 1, 2) if images.ndim == 4 else images


class _Queue:
    """One family's pieces: the next one to open, and the open ones."""

    def __init__(self, family: str, pieces: Iterable[Piece], info: VideoInfo, memory: Memory) -> None:
        self._family, self._pieces, self._info, self._memory = family, enumerate(pieces), info, memory
        self._open: deque[_OpenPiece] = deque()
        self._next = self._draw(0)

    def _draw(self, index: int) -> tuple[int, Piece] | None:
        """The next piece of the plan; it must begin at a frame that is not past, and end within the video."""
        drawn = next(self._pieces, None)
        if drawn and not index <= drawn[1].first <= drawn[1].last < self._info.n_frames:
            asked = f"{self._family} piece {drawn[0]} asks for frames {drawn[1].first} to {drawn[1].last}"
            raise ValueError(f"{asked} when {index} to {self._info.n_frames - 1} are left")
        return drawn

    def open_pieces(self, index: int) -> None:
        """Opens all pieces that begin at a frame."""
        while self._next and self._next[1].first == index:
            place, piece = self._next
            self._open.append(_OpenPiece(piece, place, self._info))
            self._next = self._draw(index)

    def wanted(self, index: int) -> Iterator[str]:
        """Yields the forms that open pieces want of a frame."""
        for piece in self._open:
            for form, _ in piece.slots.get(index, ()):
                yield form

    def fill(self, index: int, images: Mapping[str, np.ndarray], unclaimed: set[str]) -> None:
        """Puts a frame in all places that want it; forms whose memory a piece has taken leave `unclaimed`."""
        for piece in self._open:
            for form, slot in piece.slots.get(index, ()):
                piece.put(form, slot, images[form], unclaimed, self._memory)

    def complete(self, index: int) -> Iterator[Clip]:
        """Yields and forgets the pieces that end at a frame."""
        while self._open and self._open[0].piece.last <= index:
            yield self._open.popleft().clip(self._family)
