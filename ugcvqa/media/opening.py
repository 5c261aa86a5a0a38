"""Opens local video files with PyAV: which containers are read, which stream is the video, limits, and time spent."""

import logging
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import av
import av.container
import av.logging
from av.stream import Discard, Disposition

from ugcvqa.errors import VideoError
from ugcvqa.media.boxes import check_boxes
from ugcvqa.settings.data import DecodeLimits

_T = TypeVar("_T")

logging.getLogger("libav").setLevel(logging.CRITICAL + 1)  # lines that nobody collects must not reach stderr

# Containers that hold their own frames. Playlists, image patterns and descriptions that would open other files
# or network addresses (hls, dash, concat, sdp, image2 ...) are left out on purpose.
_CONTAINERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,ivf,obu,h264,hevc,m4v,yuv4mpegpipe,nut,rm,mxf,dv,gif"


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
    """Gives the reason for a library error, without the file name, which the caller's own message has.

    Args:
        error: an error of FFmpeg or of the operating system.

    Returns:
        One line.
    """
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


class Stopwatch:
    """The time that a pass over a file has taken, without what the user of its frames takes."""

    def __init__(self, path: str | Path, limit_s: float | None) -> None:
        self._path, self._limit_s = path, limit_s
        self._used_s, self._since = 0.0, time.thread_time()

    def resume(self) -> None:
        """Resumes; the time since the last check was spent elsewhere."""
        self._since = time.thread_time()

    def check(self) -> None:
        """Refuses the file if its time has run out."""
        now = time.thread_time()
        self._used_s, self._since = self._used_s + now - self._since, now
        if self._limit_s is not None and self._used_s > self._limit_s:
            raise VideoError(_too_slow(self._path, self._limit_s))


def heard(call: Callable[[], _T], only: Callable[[_T], str] | None = None) -> tuple[_T, str]:
    """Calls FFmpeg and collects what it logs at its error level in this thread.

    Args:
        call: what is called.
        only: names, by the result, the one part of FFmpeg whose lines are heard; all are if left out.

    Returns:
        What the call returns, and the lines as one text, empty if there are none.
    """
    level = av.logging.get_level()
    if level is None or level < av.logging.ERROR:
        av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # else a line would be missing after the same one of another file
    with av.logging.Capture() as said:
        result = call()
    lines = [(name, text.strip()) for level, name, text in said if level <= av.logging.ERROR]
    return result, " ".join(text for name, text in lines if only is None or name == only(result))


def _too_slow(path: str | Path, limit_s: float | None) -> str:
    return f"{path}: takes longer to read than the limit of {limit_s:g} s; raise limits.max_decode_s to wait"


@contextmanager
def opened(
    path: str | Path, limits: DecodeLimits, hear: Callable[[str], None] | None = None
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Opens a local file and its best video stream, with every library error turned into one `VideoError`.

    Args:
        path: the file.
        limits: sizes above which it is refused.
        hear: takes what the demuxer says of damage as it opens the file; what decoders try then comes again later.
    """
    check_file(path, limits)
    try:
        check_boxes(path)
        # The first packets are read here already.
        found, said = heard(partial(_container, path, limits), lambda container: container.format.name)
        with found as container:
            if said and hear is not None:
                hear(said)
            stream = _best_video(path, container)
            check_limit(path, "number of pixels per frame", stream.width * stream.height, limits.max_pixels)
            context = stream.codec_context
            context.options = {"err_detect": "explode"}  # damage must be an error, not a guessed picture
            context.options |= _pixel_option(limits)  # the stream itself may state another size than the header
            # One thread: what a decoder says of a picture is heard in the thread that asked for it.
            context.thread_count = 1
            context.thread_type = "NONE"
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
    streams = _videos(container)
    if not streams:
        raise VideoError(f"{path}: holds no video stream")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise VideoError(f"{path}: holds video of a codec that this build of FFmpeg does not know")
    return max(known, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height))


def _videos(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams that are not attached pictures."""
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    return [stream for stream in container.streams.video if not stream.disposition & pictures]


def other_videos(container: av.container.InputContainer, used: av.VideoStream) -> tuple[str, ...]:
    """Size and codec of the video streams of a file other than the one that is read, such as "640x360 h264"."""
    others = [stream.codec_context for stream in _videos(container) if stream.index != used.index]
    known = (f"{one.width}x{one.height} {one.codec.canonical_name}" if one else "an unknown codec" for one in others)
    return tuple(known)


def only_stream(container: av.container.InputContainer, stream: av.VideoStream) -> av.VideoStream:
    """The stream, with all others skipped by the demuxer."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    return stream
