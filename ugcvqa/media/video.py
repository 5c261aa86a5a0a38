"""Reads video files: what a file holds (`probe`), and its frames in one pass for all families (`read_clips`).

Every decoded frame counts exactly once, in presentation order, with no frame rate conversion. What `damage.py` calls an
error is a `VideoError`, never a shorter video; what it only notes stands in `VideoInfo.damage`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ugcvqa.errors import VideoError
from ugcvqa.media.aperture import shown_part
from ugcvqa.media.arrays import Memory
from ugcvqa.media.clock import NO_STAMP, Clock, StampError, decoded_only, even_clock, filled, measure_clock, recordings
from ugcvqa.media.convert import Converter
from ugcvqa.media.damage import PACKET_IS_FRAME
from ugcvqa.media.decode import Frame, Survey, decoded_frames, frame_near, survey_packets
from ugcvqa.media.facts import Findings, VideoInfo
from ugcvqa.media.marks import DOLBY_TAGS, DOLBY_VISION, mark_of, state_range, transfer_name
from ugcvqa.media.opening import check_limit
from ugcvqa.media.sampling import CODED, FIXED_SIZES, FORMS, Piece
from ugcvqa.settings.data import DecodeLimits

__all__ = [
    "Clip",
    "DecodeLimits",
    "VideoInfo",
    "check_video",
    "clips_of",
    "picture_at",
    "probe",
    "read_clips",
    "read_frames",
]

Plan = Callable[["VideoInfo"], Iterable[Piece]]
"""What one family wants: from a video's measurements to its pieces in time order."""

# Elementary streams, which hold no time stamps.
_WITHOUT_STAMPS = frozenset({"h264", "hevc", "m4v", "mpegvideo", "obu", "yuv4mpegpipe"})


@dataclass(frozen=True, repr=False)
class Clip:
    """The frames of one piece of one family, with their places and times.

    Attributes:
        family: the family that asked for the piece.
        piece_index: 0-based place of the piece in the family's plan.
        frames: form -> (T, ...) uint8 with the shapes of `sampling.FORMS`; "rgb" is a (T, 3, H, W) view of
            (T, H, W, 3) memory (what torch calls channels last).
        frame_index: form -> 0-based frame indices in presentation order, in the order of `frames`.
        pts_s: form -> presentation times in seconds, in the order of `frames`.
        info: the video that the frames are from.
        facts: what the family's plan adds to the frames, see `sampling.Piece`.

    Raises:
        ValueError: if shapes or types do not agree with each other and with `info`.
    """

    family: str
    piece_index: int
    frames: Mapping[str, np.ndarray]
    frame_index: Mapping[str, tuple[int, ...]]
    pts_s: Mapping[str, tuple[float, ...]]
    info: VideoInfo
    facts: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for form, images in self.frames.items():
            expected = (len(self.frame_index[form]), *_shape(form, self.info))
            if images.dtype != np.uint8 or images.shape != expected or len(self.pts_s[form]) != expected[0]:
                seen = f"{images.dtype} {images.shape} with {len(self.pts_s[form])} times"
                raise ValueError(f"{self.family} piece {self.piece_index}: {form} is {seen}, not {expected}")

    def __repr__(self) -> str:
        shapes = ", ".join(f"{form} {images.shape}" for form, images in self.frames.items())
        return f"Clip({self.family} piece {self.piece_index} of {self.info.path}: {shapes})"


def probe(path: str | Path, limits: DecodeLimits = DecodeLimits()) -> VideoInfo:
    """Measures what a video file holds, by a pass over its packets without decoding them.

    The first frame is decoded. All frames are decoded only where packets cannot be trusted to be frames: codecs
    that pack or hide frames, interlaced files (a packet may be one field), and files whose first packets yield
    no frame (cut in the middle of a group of pictures).

    Args:
        path: a local video file; never taken as an address or a pattern.
        limits: sizes above which the file is refused.

    Returns:
        The measurements; picklable.

    Raises:
        VideoError: if the file is missing, unreadable, not a video, incomplete, damaged, or over a limit.
    """
    survey = survey_packets(path, limits)
    frame, n_frames, stamps = survey.first_frame, survey.n_packets, survey.recordings
    starts_whole = frame.pts is None or not stamps or frame.pts == stamps[0][0]
    is_counted = survey.is_doubtful or frame.interlaced_frame or not starts_whole
    if is_counted or survey.codec not in PACKET_IS_FRAME:
        decoded = np.array([NO_STAMP if each.pts is None else each.pts for each in decoded_frames(path, limits)])
        n_frames, stamps = len(decoded), _decoded_stamps(decoded, stamps)
    clock = _clock(path, survey, stamps, n_frames)
    check_limit(path, "duration in seconds", round(clock.duration_s, 1), limits.max_duration_s)
    orientation = mark_of(frame).orientation
    is_upright = orientation.quarter_turns % 2 == 0
    height, width = (frame.height, frame.width) if is_upright else (frame.width, frame.height)
    part = shown_part(path, frame.width, frame.height)
    return VideoInfo(
        path=str(path),
        container=survey.container,
        codec=survey.codec,
        pix_fmt=frame.format.name,
        height=height,
        width=width,
        rotation=90 * orientation.quarter_turns,
        n_frames=n_frames,
        rate=clock.rate,
        duration_s=clock.duration_s,
        bit_depth=max(component.bits for component in frame.format.components),
        colour_range=state_range(frame),
        is_interlaced=frame.interlaced_frame,
        is_variable_rate=clock.seconds is not None,
        has_audio=survey.has_audio,
        file_bytes=survey.file_bytes,
        container_s=survey.container_s,
        times_s=clock.times_s,
        start_s=clock.start_s,
        has_stamps=bool(stamps),
        seconds=clock.seconds,
        breaks=clock.breaks,
        pixel_aspect=survey.pixel_aspect if is_upright else 1 / survey.pixel_aspect,
        is_mirrored=orientation.is_mirrored,
        is_turned_oddly=not orientation.is_exact,
        shown_part=part and orientation.apply_to_part(part, frame.height, frame.width),
        transfer=next(filter(None, map(transfer_name, sorted(survey.transfers, reverse=True))), ""),
        other_videos=survey.other_videos,
        marks=(DOLBY_VISION,) if survey.tag in DOLBY_TAGS else (),
        damage=survey.damage.lines(clock.times_s),
    )


def _decoded_stamps(decoded: np.ndarray, packets: list[np.ndarray]) -> list[np.ndarray]:
    """The stamps of decoded frames by recording; none if they are unknown."""
    stamps = filled(decoded)
    if stamps is None:
        return []
    return decoded_only(packets, stamps) or recordings(stamps)


def _clock(path: str | Path, survey: Survey, stamps: list[np.ndarray], n_frames: int) -> Clock:
    """The times of the frames; evenly spaced in files that cannot hold any."""
    if not stamps:
        if survey.container not in _WITHOUT_STAMPS and n_frames > 1:
            raise VideoError(f"{path}: most of its frames have no time stamp; rewrite it with a constant frame rate")
        return even_clock(n_frames, survey.headers[0])
    try:
        return measure_clock(stamps, survey.time_base, survey.headers, survey.last_s)
    except StampError as error:
        raise VideoError(f"{path}: {error}") from error


def check_video(path: str | Path, limits: DecodeLimits = DecodeLimits()) -> VideoInfo:
    """Measures a video and decodes all of it, as scoring does, without using a picture.

    Args:
        path: a local video file.
        limits: sizes above which the file is refused.

    Returns:
        The measurements, with what decoding found.

    Raises:
        VideoError: if the video could not be scored, see `read_clips`.
    """
    info, findings = probe(path, limits), Findings()
    for _ in read_clips(path, {}, limits, info, findings):
        pass
    return info.with_findings(findings)


def read_clips(
    path: str | Path,
    plans: Mapping[str, Plan],
    limits: DecodeLimits = DecodeLimits(),
    info: VideoInfo | None = None,
    findings: Findings | None = None,
) -> Iterator[Clip]:
    """Decodes a video once, from start to end, and hands out each family's pieces as soon as they are complete.

    A frame is converted only to the forms that some open piece wants of it, each form once. Frames live as long as a
    piece that holds them, so memory does not grow with the length of the video, and the memory of pieces that nobody
    holds any more is reused. A clip that is kept stays as it is. Planes as coded are shared by families that want the
    same of them, so nobody writes into these.

    A caller may trust the clips once the iterator has ended without an error: damage shows when the decoder
    reaches it, and the number of frames is compared with the plan's at the end.

    Args:
        path: a local video file.
        plans: family -> function of the video's measurements giving its pieces, whose `first` and `last` must not
            decrease. Pieces are drawn as decoding reaches them.
        limits: sizes above which the file is refused.
        info: result of an earlier `probe` of the same file, to save that pass.
        findings: gathers what is known after decoding only, complete once the iterator has ended.

    Yields:
        Clips, in order of completion; the pieces of one family in their own order.

    Raises:
        VideoError: as `probe`, or if decoding fails or yields another number of frames than counted.
        ValueError: if a plan asks for a frame that does not exist or that is already past.
    """
    info = info or probe(path, limits)
    findings = findings or Findings()
    yield from clips_of(decoded_frames(path, limits, info.n_frames, findings.damage), plans, info, findings)


def clips_of(frames: Iterable[Frame], plans: Mapping[str, Plan], info: VideoInfo, findings: Findings) -> Iterator[Clip]:
    """Hands out the pieces of all plans from frames in presentation order, see `read_clips`."""
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
        time_s = info.start_s + float(info.times_s[index])
        for queue in queues:
            queue.fill(index, time_s, images, unclaimed)
        for queue in queues:
            yield from queue.complete(index)


def picture_at(
    path: str | Path, index: int, info: VideoInfo, limits: DecodeLimits = DecodeLimits()
) -> tuple[float, np.ndarray]:
    """Decodes one frame, by seeking where the file allows it, else from the start.

    Args:
        path: a local video file.
        index: 0-based frame index.
        info: result of `probe` of the same file.
        limits: sizes above which the file is refused.

    Returns:
        Its time in seconds from the first frame, and (H, W, 3) uint8 RGB as displayed: turned, cut, with square
        pixels. In files with odd time stamps a neighbouring frame may be returned.

    Raises:
        VideoError: as `read_clips`.
    """
    time_s = float(info.times_s[index])
    # Stamps that start again name several places.
    is_sought = index and not info.breaks
    frame = frame_near(path, time_s, 0.5 * float(1 / info.rate), limits) if is_sought else None
    if frame is not None:
        return time_s, Converter(info)(frame, {"shown"})["shown"].copy()
    ((_, _, image),) = read_frames(path, [index], "shown", limits)
    return time_s, image.transpose(1, 2, 0)


def read_frames(
    path: str | Path,
    indices: Iterable[int] | None = None,
    form: str = "rgb",
    limits: DecodeLimits = DecodeLimits(),
) -> Iterator[tuple[int, float, np.ndarray]]:
    """Decodes single frames of a video in presentation order.

    Args:
        path: a local video file.
        indices: 0-based frame indices, in any order, each handed out once; None means all frames. Decoding stops
            after the last one, so damage behind it is not noticed.
        form: one of `sampling.FORMS`.
        limits: sizes above which the file is refused.

    Yields:
        Frame index, presentation time in seconds and the image, shaped as `sampling.FORMS` says.

    Raises:
        VideoError: as `read_clips`.
        ValueError: if an index lies outside the video or the form is unknown.
    """
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}, choose one of {', '.join(FORMS)}")
    chosen = None if indices is None else sorted(set(indices))

    def plan(info: VideoInfo) -> Iterator[Piece]:
        for index in range(info.n_frames) if chosen is None else chosen:
            yield Piece({form: (index,)})

    if chosen == []:
        return
    for clip in read_clips(path, {"frames": plan}, limits):
        (index,) = clip.frame_index[form]
        yield index, clip.pts_s[form][0], clip.frames[form][0]
        if chosen is not None and index == chosen[-1]:
            return


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
    times: dict[str, list[float]] = field(init=False)
    slots: dict[int, list[tuple[str, int]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        wanted = self.piece.frames.items()
        self.times = {form: [0.0] * len(indices) for form, indices in wanted}
        for form, indices in wanted:
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
        times = {form: tuple(times) for form, times in self.times.items()}
        return Clip(
            family,
            self.piece_index,
            MappingProxyType(images),
            MappingProxyType(dict(self.piece.frames)),
            MappingProxyType(times),
            self.info,
            self.piece.facts,
        )

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

    def fill(self, index: int, time_s: float, images: Mapping[str, np.ndarray], unclaimed: set[str]) -> None:
        """Puts a frame in all places that want it; forms whose memory a piece has taken leave `unclaimed`."""
        for piece in self._open:
            for form, slot in piece.slots.get(index, ()):
                piece.put(form, slot, images[form], unclaimed, self._memory)
                piece.times[form][slot] = time_s

    def complete(self, index: int) -> Iterator[Clip]:
        """Yields and forgets the pieces that end at a frame."""
        while self._open and self._open[0].piece.last <= index:
            yield self._open.popleft().clip(self._family)
