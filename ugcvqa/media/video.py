"""Reads video files: what a file holds (`probe`), and its frames in one pass for all families (`read_clips`).

Every decoded frame counts exactly once, in presentation order, with no frame rate conversion. What `damage.py` calls an
error is a `VideoError`, never a shorter video; what it only notes stands in `VideoInfo.damage`.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ugcvqa.errors import VideoError
from ugcvqa.media.aperture import shown_part
from ugcvqa.media.clips import Clip, Plan, clips_of
from ugcvqa.media.clock import NO_STAMP, Clock, StampError, decoded_only, even_clock, filled, measure_clock, recordings
from ugcvqa.media.convert import Converter
from ugcvqa.media.damage import PACKET_IS_FRAME
from ugcvqa.media.decode import decoded_frames, frame_near
from ugcvqa.media.facts import Findings, VideoInfo
from ugcvqa.media.marks import mark_of
from ugcvqa.media.opening import check_limit
from ugcvqa.media.sampling import FORMS, Piece
from ugcvqa.media.survey import Survey, survey_packets
from ugcvqa.settings.data import DecodeLimits

__all__ = [
    "Clip",
    "DecodeLimits",
    "Plan",
    "VideoInfo",
    "check_video",
    "clips_of",
    "picture_at",
    "probe",
    "read_clips",
    "read_frames",
]

# Elementary streams, which hold no time stamps.
_WITHOUT_STAMPS = frozenset({"h264", "hevc", "m4v", "mpegvideo", "obu", "yuv4mpegpipe"})


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
    orientation, part = mark_of(frame).orientation, shown_part(path, frame.width, frame.height)
    return VideoInfo(
        path=str(path),
        container=survey.container,
        codec=survey.codec,
        **survey.facts,
        n_frames=n_frames,
        rate=clock.rate,
        duration_s=clock.duration_s,
        is_variable_rate=clock.seconds is not None,
        times_s=clock.times_s,
        start_s=clock.start_s,
        has_stamps=bool(stamps),
        seconds=clock.seconds,
        breaks=clock.breaks,
        is_turned_oddly=not orientation.is_exact,
        shown_part=part and orientation.apply_to_part(part, frame.height, frame.width),
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
