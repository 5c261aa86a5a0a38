"""Decodes local video files with PyAV, from the start or near a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import av

from ugcvqa.errors import VideoError
from ugcvqa.media.damage import DamageLog, Decoder, packets
from ugcvqa.media.opening import Stopwatch, only_stream, opened
from ugcvqa.settings.data import DecodeLimits

Frame: TypeAlias = av.VideoFrame
"""A decoded frame, for modules that hand it on."""


def ffmpeg_versions() -> str:
    """Names the versions of PyAV and of the FFmpeg libraries in it."""
    libraries = (f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in ("libavcodec", "libswscale"))
    return f"PyAV {av.__version__}, {', '.join(libraries)}"


def missing_decoders() -> list[str]:
    """Names the usual codecs that this build of FFmpeg cannot decode."""
    # An AV1 decoder of that very name works with hardware only.
    usual = ("h264", "hevc", "vp9", "vp8", "libdav1d", "mpeg4", "mjpeg", "ffv1")
    return [name for name in usual if name not in av.codecs_available]


def decoded_frames(
    path: str | Path, limits: DecodeLimits, n_frames: int | None = None, damage: DamageLog | None = None
) -> Iterator[av.VideoFrame]:
    """Decodes the best video stream from start to end.

    Args:
        path: a local file.
        limits: sizes above which the file is refused.
        n_frames: the count to expect; None accepts any.
        damage: gathers what the decoder notices but can mend.

    Yields:
        Frames of one size in presentation order. The file is open only while the iterator lives.

    Raises:
        VideoError: if the file cannot be opened or decoded as a whole, or its frames change in size.
    """
    count, first_s, last_s, size = 0, 0.0, 0.0, (0, 0)
    with opened(path, limits) as (container, stream):
        decode = Decoder(container.format.name, DamageLog() if damage is None else damage)
        watch = Stopwatch(path, limits.max_decode_s)
        for packet, _ in packets(container, only_stream(container, stream)):
            frames, fault = decode(packet)
            watch.check()
            for frame in frames:
                if count == 0:
                    size, first_s = (frame.width, frame.height), frame.time or 0.0
                if (frame.width, frame.height) != size:
                    change = f"{size[0]}x{size[1]} to {frame.width}x{frame.height} at frame {count}"
                    raise VideoError(f"{path}: frame size changes from {change}; split or re-encode the file")
                yield frame
                count, last_s = count + 1, (frame.time or first_s) - first_s
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
    with opened(path, limits) as (container, stream):
        start, tick = stream.start_time or 0, stream.time_base
        if tick is None:
            return None
        wanted = start + int((time_s - tolerance_s) / tick)
        try:
            container.seek(wanted, stream=stream)
        except av.FFmpegError:
            return None
        decode, watch = Decoder(container.format.name, DamageLog()), Stopwatch(path, limits.max_decode_s)
        for packet, _ in packets(container, only_stream(container, stream)):
            frames, _ = decode(packet)  # what precedes the first key frame may miss its references
            watch.check()
            for frame in frames:
                if frame.pts is not None and frame.pts >= wanted:
                    return frame
    return None
