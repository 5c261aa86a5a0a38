"""Opens, demuxes and decodes local video files with PyAV. The rules of sampling are in `video.py`."""

import stat
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import av.container
import av.logging
import numpy as np
from av.stream import Discard, Disposition

from ugcvqa.errors import VideoError
from ugcvqa.media.boxes import check_boxes
from ugcvqa.settings import DecodeLimits

Frame: TypeAlias = av.VideoFrame
"""A decoded frame, for modules that hand it on."""

av.logging.set_level(None)  # damage is reported once, as an error, not as decoder messages on stderr

# Containers that hold their own frames. Playlists, image patterns and descriptions that would open other files
# or network addresses (hls, dash, concat, sdp, image2 ...) are left out on purpose.
_CONTAINERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,ivf,obu,h264,hevc,m4v,yuv4mpegpipe,nut,rm,mxf,dv,gif"


@dataclass(frozen=True)
class Survey:
    """What a pass over the packets of a video tells.

    Attributes:
        container: name of the container format.
        codec: canonical codec name.
        n_packets: packets that are shown: not empty and not cut away by an edit list.
        ticks: (n_packets,) int64, their presentation times in units of `time_base`, ascending; empty if any is
            unknown.
        time_base: seconds per tick.
        nominal_rate: frames per second by the header, None if it tells none.
        first_frame: the first decoded frame.
        has_audio: the file has an audio track too.
        file_bytes: size of the file.
        container_s: length in seconds that the header states for all tracks, None if it states none.
    """

    container: str
    codec: str
    n_packets: int
    ticks: np.ndarray
    time_base: Fraction
    nominal_rate: Fraction | None
    first_frame: av.VideoFrame
    has_audio: bool
    file_bytes: int
    container_s: float | None


def ffmpeg_versions() -> str:
    """Names the versions of PyAV and of the FFmpeg libraries in it."""
    libraries = (f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in ("libavcodec", "libswscale"))
    return f"PyAV {av.__version__}, {', '.join(libraries)}"


def missing_decoders() -> list[str]:
    """Names the usual codecs that this build of FFmpeg cannot decode."""
    # An AV1 decoder of that very name works with hardware only.
    usual = ("h264", "hevc", "vp9", "vp8", "libdav1d", "mpeg4", "mjpeg", "ffv1")
    return [name for name in usual if name not in av.codecs_available]


def survey_packets(path: str | Path, limits: DecodeLimits) -> Survey:
    """Reads all packets of the best video stream and decodes the first frame only.

    Args:
        path: a local file.
        limits: sizes above which the file is refused.

    Returns:
        What the packets tell.

    Raises:
        VideoError: if the file is not a readable video, ends before its header says, or is over a limit.
    """
    with _opened(path, limits) as (container, stream):
        scan, watch = _Scan(stream.index), _Stopwatch(path, limits.max_decode_s)
        # The header of Matroska tells the end of the longest track, so there all tracks are read.
        is_matroska = container.format.name.startswith("matroska")
        for packet in container.demux() if is_matroska else container.demux(_only(container, stream)):
            scan.add(path, packet)
            check_limit(path, "number of frames", scan.n_shown, limits.max_frames)
            watch.check()
        if scan.first_frame is None:
            raise VideoError(f"{path}: holds no video frames")
        ticks = np.sort(np.array(scan.ticks if len(scan.ticks) == scan.n_shown else (), np.int64))
        time_base = stream.time_base or Fraction(1, 90000)
        nominal_rate = stream.average_rate or stream.guessed_rate
        _check_complete(path, container, stream, scan, _longest_step_s(ticks, time_base, nominal_rate))
        return Survey(
            container=container.format.name,
            codec=stream.codec.canonical_name,
            n_packets=scan.n_shown,
            ticks=ticks,
            time_base=time_base,
            nominal_rate=nominal_rate,
            first_frame=scan.first_frame,
            has_audio=len(container.streams.audio) > 0,
            file_bytes=container.size,
            container_s=None if container.duration is None else container.duration / av.time_base,
        )


def decoded_frames(
    path: str | Path, limits: DecodeLimits, threads: int = 1, n_frames: int | None = None
) -> Iterator[av.VideoFrame]:
    """Decodes the best video stream from start to end.

    Args:
        path: a local file.
        limits: sizes above which the file is refused.
        threads: decoder threads; they do not change any pixel.
        n_frames: the count to expect; None accepts any.

    Yields:
        Frames of one size in presentation order. The file is open only while the iterator lives.

    Raises:
        VideoError: if the file cannot be opened or decoded as a whole, or its frames change in size.
    """
    count, last_s, size = 0, 0.0, (0, 0)
    with _opened(path, limits, threads) as (container, stream):
        # With several threads the time of all counts, else not that of what others do in this process.
        watch = _Stopwatch(path, limits.max_decode_s, time.process_time if threads > 1 else time.thread_time)
        for packet in container.demux(_only(container, stream)):
            frames, fault = _decode(packet)
            watch.check()
            for frame in frames:
                size = size if count else (frame.width, frame.height)
                if (frame.width, frame.height) != size:
                    change = f"{size[0]}x{size[1]} to {frame.width}x{frame.height} at frame {count}"
                    raise VideoError(f"{path}: frame size changes from {change}; split or re-encode the file")
                yield frame
                count, last_s = count + 1, frame.time or last_s
            watch.resume()
            if fault:
                of = "" if n_frames is None else f" of {n_frames}"
                raise VideoError(f"{path}: decoded {count}{of} frames (damaged near {last_s:.1f} s: {fault})")
    if n_frames is not None and count != n_frames:
        raise VideoError(f"{path}: decoded {count} of {n_frames} frames (damaged near {last_s:.1f} s)")


def frame_near(path: str | Path, time_s: float, tolerance_s: float, limits: DecodeLimits) -> av.VideoFrame | None:
    """Decodes one frame by seeking to the key frame before it.

    Args:
        path: a local file.
        time_s: its time in seconds from the first frame.
        tolerance_s: how much earlier it may be.
        limits: sizes above which the file is refused.

    Returns:
        The first frame at or after that time; None where the file cannot be entered in the middle.

    Raises:
        VideoError: if the file cannot be opened.
    """
    with _opened(path, limits) as (container, stream):
        start, tick = stream.start_time or 0, stream.time_base
        if tick is None:
            return None
        wanted = start + int((time_s - tolerance_s) / tick)
        try:
            container.seek(wanted, stream=stream)
        except av.FFmpegError:
            return None
        watch = _Stopwatch(path, limits.max_decode_s, time.thread_time)
        for packet in container.demux(_only(container, stream)):
            frames, _ = _decode(packet)  # what precedes the first key frame may miss its references
            watch.check()
            for frame in frames:
                if frame.pts is not None and frame.pts >= wanted:
                    return frame
    return None


def check_file(path: str | Path, limits: DecodeLimits) -> None:
    """Refuses what is not a readable regular file with content, without reading it.

    Raises:
        VideoError: if it is a folder, pipe or device, empty, missing, not readable, or over the limit of its size.
    """
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise VideoError(f"{path}: is {kind}; give a video file")
        with Path(path).open("rb"):
            pass
    except FileNotFoundError as error:
        raise VideoError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise VideoError(f"{str(path)!r}: cannot be opened ({one_line(error)})") from error
    if status.st_size == 0:
        raise VideoError(f"{path}: is an empty file; fetch it again")
    check_limit(path, "file size in bytes", status.st_size, limits.max_file_bytes)


def check_limit(path: str | Path, name: str, value: float, limit: float | None) -> None:
    """Refuses a file over a limit.

    Args:
        path: the file, for the message.
        name: what is limited, with its unit.
        value: what the file has.
        limit: what is allowed; None means anything.

    Raises:
        VideoError: if the value is larger than the limit.
    """
    if limit is not None and value > limit:
        raise VideoError(f"{path}: {name} is {value:g}, over the limit of {limit:g}; raise the limit to read it")


def one_line(error: Exception) -> str:
    """Gives the reason of a library error, without the file name that the caller's own message holds.

    Args:
        error: an error of FFmpeg or of the operating system.

    Returns:
        One line.
    """
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


class _Stopwatch:
    """The time that a pass over a file has taken, without what the user of its frames takes."""

    def __init__(self, path: str | Path, limit_s: float | None, clock: Callable[[], float] = time.thread_time) -> None:
        self._path, self._limit_s, self._clock = path, limit_s, clock
        self._used_s, self._since = 0.0, clock()

    def resume(self) -> None:
        """Goes on; the time since the last check was others'."""
        self._since = self._clock()

    def check(self) -> None:
        """Refuses the file if its time is over."""
        now = self._clock()
        self._used_s, self._since = self._used_s + now - self._since, now
        if self._limit_s is not None and self._used_s > self._limit_s:
            raise VideoError(_too_slow(self._path, self._limit_s))


def _too_slow(path: str | Path, limit_s: float | None) -> str:
    return f"{path}: takes longer to read than the limit of {limit_s:g} s; raise limits.max_decode_s to wait"


@dataclass
class _Scan:
    """The running sums of a pass over packets; `end_s` is the latest end of any packet, in seconds."""

    video_index: int
    first_frame: av.VideoFrame | None = None
    ticks: "array[int]" = field(default_factory=lambda: array("q"))
    n_packets: int = 0
    n_shown: int = 0
    end_s: float = 0.0

    def add(self, path: str | Path, packet: "av.Packet[Any]") -> None:
        """Takes in one packet of any stream."""
        stamp = _stamp(packet)
        if stamp is not None:
            self.end_s = max(self.end_s, float((stamp + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index != self.video_index:
            return
        if self.first_frame is None:
            frames, fault = _decode(packet)
            if fault:
                raise VideoError(f"{path}: the first frame cannot be decoded ({fault})")
            self.first_frame = frames[0] if frames else None
        if packet.is_corrupt:
            raise VideoError(f"{path}: damaged or cut short near {self.end_s:.1f} s; fetch the file again")
        self.n_packets += packet.size > 0 or stamp is not None
        if packet.size > 0 and not packet.is_discard:
            self.n_shown += 1
            if stamp is not None:
                self.ticks.append(stamp)


def _stamp(packet: "av.Packet[Any]") -> int | None:
    """A packet's presentation time, or its decoding time where the container holds no other."""
    return packet.dts if packet.pts is None else packet.pts


def _decode(packet: "av.Packet[Any]") -> tuple[list[av.VideoFrame], str]:
    """The frames that one packet completes, and why it is damaged if it is."""
    if packet.size == 0 and _stamp(packet) is not None:
        return [], ""  # a repeated frame; the decoder would take it for the end
    if packet.is_corrupt:
        return [], "incomplete packet"
    try:
        frames = packet.decode()
    except av.FFmpegError as error:
        return [], one_line(error)
    whole = [frame for frame in frames if not frame.is_corrupt]
    return whole, "" if len(whole) == len(frames) else "corrupt frame"


def _longest_step_s(ticks: np.ndarray, time_base: Fraction, rate: Fraction | None) -> float:
    """The longest time between two frames, in seconds."""
    if len(ticks) > 1:
        return float(np.diff(ticks).max() * time_base)
    return float(1 / rate) if rate else 0.0


def _check_complete(
    path: str | Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    scan: _Scan,
    longest_step_s: float,
) -> None:
    """Compares what was found with what the header promises, where the format has a promise to trust."""
    name = container.format.name
    if name.startswith("mov") and scan.n_packets < len(stream.index_entries):
        promised = f"{scan.n_packets} of {len(stream.index_entries)} frames"
        raise VideoError(f"{path}: cut short, holds {promised}; fetch the file again")
    n_bytes = Path(path).stat().st_size
    if name == "mpegts" and all(n_bytes % packet for packet in (188, 192, 204)):
        raise VideoError(f"{path}: cut short, ends within a transport packet; fetch the file again")
    promised_s = 0.0
    if name.startswith("matroska"):
        promised_s = (container.duration or 0) / 1e6
    elif name == "avi":
        promised_s = float(stream.frames * (stream.time_base or 0))
    # The last frame's own length may be untold, and headers round.
    if promised_s - scan.end_s > max(2 * longest_step_s, 0.01 * promised_s):
        raise VideoError(f"{path}: cut short, holds {scan.end_s:.1f} of {promised_s:.1f} s; fetch the file again")


@contextmanager
def _opened(
    path: str | Path, limits: DecodeLimits, threads: int = 1
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Opens a local file and its best video stream, with every library error turned into one `VideoError`."""
    check_file(path, limits)
    try:
        check_boxes(path)
        with _container(path, limits) as container:
            stream = _best_video(path, container)
            check_limit(path, "number of pixels per frame", stream.width * stream.height, limits.max_pixels)
            context = stream.codec_context
            context.options = {"err_detect": "explode"}  # damage must be an error, not a guessed picture
            context.options |= _pixel_option(limits)  # the stream itself may state another size than the header
            context.thread_count = threads
            context.thread_type = "AUTO" if threads > 1 else "NONE"
            yield container, stream
    except av.ExitError as error:  # FFmpeg gave up by its clock
        raise VideoError(_too_slow(path, limits.max_decode_s)) from error
    # PyAV adds IndexError for a stream that begins in mid-file, and ValueError for text it cannot read.
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:
        raise VideoError(f"{path}: cannot be read as a video ({one_line(error)})") from error


def _pixel_option(limits: DecodeLimits) -> dict[str, str]:
    """The limit that decoders keep before they reserve memory for a frame."""
    return {} if limits.max_pixels is None else {"max_pixels": str(limits.max_pixels)}


def _container(path: str | Path, limits: DecodeLimits) -> av.container.InputContainer:
    """Opens a container of the accepted kinds."""
    options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS, **_pixel_option(limits)}
    try:
        # An absolute path behind `file:` cannot be read as another protocol, whatever the file is called.
        url = f"file:{Path(path).absolute()}"
        return av.open(url, "r", options=options, timeout=limits.max_decode_s, metadata_errors="replace")
    except av.ArgumentError as error:  # FFmpeg's answer to a container outside the list
        raise VideoError(f"{path}: is not in a video container that is read here (mp4, mkv, avi ...)") from error


def _best_video(path: str | Path, container: av.container.InputContainer) -> av.VideoStream:
    """The main video stream: the default one, else the largest, else the first; never a cover picture."""
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if not streams:
        raise VideoError(f"{path}: holds no video stream")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise VideoError(f"{path}: holds video of a codec that this build of FFmpeg does not know")
    return max(known, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height))


def _only(container: av.container.InputContainer, stream: av.VideoStream) -> av.VideoStream:
    """The stream, with all others skipped by the demuxer."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    return stream
