"""Writes video files and pictures."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.codec.context
import av.container
import numpy as np

from ugcvqa.errors import VideoError
from ugcvqa.leftovers import temporary_path
from ugcvqa.media.convert import EXACT
from ugcvqa.media.opening import one_line

os.environ.setdefault("SVT_LOG", "1")  # this encoder reports every start on stderr; 1 leaves errors

# Encoders whose own threads are not governed by the thread count, and one line each that pins them.
_ONE_THREAD = {
    "libx265": {"x265-params": "pools=none:frame-threads=1:log-level=none"},
    "libsvtav1": {"svtav1-params": "lp=1"},
}


def has_encoder(codec: str) -> bool:
    """Whether this build of FFmpeg has an encoder of that name."""
    try:
        av.Codec(codec, "w")
    except ValueError:
        return False
    return True


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    rate: Fraction | int,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    bit_rate: int | None = None,
    gop: int | None = None,
) -> None:
    """Encodes RGB frames to a video file; the container follows from the file name.

    Frames are streamed, written to a temporary name in the same folder and renamed when complete, so a file
    of the final name is always whole. One encoder thread and no dates: bytes depend on the input only, except that
    libx264 gives one of a few results unless its option mbtree is 0.
    YUV files are written untagged with the BT.601 limited-range matrix, which is how readers take such files.

    Args:
        path: file to write, replaced if it exists.
        frames: (H, W, 3) uint8 RGB arrays of one size, at least one.
        rate: frames per second, > 0.
        codec: name of the FFmpeg encoder.
        pix_fmt: pixel format of the encoder.
        options: private options of the encoder, such as {"crf": "18", "preset": "fast"}.
        bit_rate: target bits per second; None leaves the encoder's default.
        gop: largest distance of key frames, in frames; None leaves the encoder's default.

    Raises:
        VideoError: if there is no frame, frames are of another shape or type, or the encoder, the container
            or the file system refuses.
    """
    path = Path(path)
    temporary = temporary_path(path.parent, f".part{path.suffix}")
    settings = {**_ONE_THREAD.get(codec, {}), **(options or {})}
    try:
        if av.Codec(codec, "w").type != "video":
            raise VideoError(f"{path}: {codec} is not a video encoder")
        target = f"file:{temporary.absolute()}"
        with kept_scheduling(), av.open(target, "w", container_options={"fflags": "+bitexact"}) as output:
            stream = cast(av.VideoStream, output.add_stream(codec, rate=Fraction(rate), options=settings))
            stream.pix_fmt = pix_fmt
            stream.codec_context.thread_count = 1
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
            if bit_rate is not None:
                stream.bit_rate = bit_rate
            if gop is not None:
                stream.gop_size = gop
            _encode(path, output, stream, frames)
        temporary.replace(path)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{path}: cannot be written with {codec} ({one_line(error)})") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def kept_scheduling() -> Iterator[None]:
    """Restores this thread's scheduling policy: SVT-AV1 makes its caller a real-time thread where root calls it."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameter)


def png_bytes(image: np.ndarray) -> bytes:
    """Encodes a picture (H, W, 3) uint8 RGB as a PNG file without a date."""
    encoder = av.CodecContext.create("png", "w")
    encoder.height, encoder.width = image.shape[:2]
    encoder.pix_fmt, encoder.time_base = "rgb24", Fraction(1)
    encoder.thread_count = 1
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


def _encode(
    path: Path, output: av.container.OutputContainer, stream: av.VideoStream, frames: Iterable[np.ndarray]
) -> None:
    """Feeds all frames to the encoder and its packets to the container."""
    shape: tuple[int, ...] = ()
    index = -1
    for index, image in enumerate(frames):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise VideoError(f"{path}: frame {index} is {image.dtype} {image.shape}, give (H, W, 3) uint8")
        if index == 0:
            shape = image.shape
            stream.height, stream.width = shape[:2]
        if image.shape != shape:
            raise VideoError(f"{path}: frame {index} is {image.shape}, the frames before are {shape}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = frame.reformat(format=stream.pix_fmt, dst_colorspace="ITU601", interpolation=EXACT, threads=1)
        frame.pts = index
        frame.time_base = 1 / stream.codec_context.framerate
        output.mux(stream.encode(frame))
    if index < 0:
        raise VideoError(f"{path}: no frames to write")
    output.mux(stream.encode(None))
