"""Makes the files that `fuzz.py` reads: small videos of many kinds, and damage to their bytes."""

import itertools
import os
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np

from ugcvqa.media.encode import kept_scheduling

os.environ.setdefault("SVT_LOG", "1")  # this encoder reports every start on stderr
Size = tuple[int, int]

# name, encoder, pixel format, encoder options, (height, width), frames, rate
_ENCODED: list[tuple[str, str, str, dict[str, str], Size, int, int]] = [
    ("h264.mp4", "libx264", "yuv420p", {}, (48, 64), 40, 10),
    ("h264.mkv", "libx264", "yuv420p", {"bf": "3"}, (48, 64), 40, 10),
    ("h264.flv", "libx264", "yuv420p", {}, (48, 64), 40, 10),
    ("h264.ts", "libx264", "yuv420p", {}, (48, 64), 40, 25),
    ("h264.avi", "libx264", "yuv420p", {"bf": "0"}, (48, 64), 40, 10),
    ("interlaced.mp4", "libx264", "yuv420p", {"x264-params": "interlaced=1"}, (48, 64), 40, 25),
    ("deep444.mkv", "libx264", "yuv444p10le", {}, (48, 64), 30, 10),
    ("hevc.mp4", "libx265", "yuv420p", {"x265-params": "log-level=none:pools=none:frame-threads=1"}, (64, 96), 40, 10),
    ("hevc10.mkv", "libx265", "yuv420p10le", {"x265-params": "log-level=none:pools=none"}, (64, 96), 30, 10),
    ("vp9.webm", "libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}, (48, 64), 40, 10),
    ("vp8.webm", "libvpx", "yuv420p", {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "8"}, (48, 64), 40, 10),
    ("av1.mp4", "libsvtav1", "yuv420p", {"preset": "12", "svtav1-params": "lp=1"}, (64, 64), 30, 10),
    ("mpeg4.avi", "mpeg4", "yuv420p", {"bf": "2"}, (48, 64), 40, 10),
    ("mpeg4.mp4", "mpeg4", "yuv420p", {}, (47, 63), 40, 10),
    ("mjpeg.avi", "mjpeg", "yuvj420p", {}, (48, 64), 30, 10),
    ("mjpeg.mov", "mjpeg", "yuvj422p", {}, (48, 64), 30, 10),
    ("prores.mov", "prores_ks", "yuv422p10le", {}, (48, 64), 20, 10),
    ("mpeg2.mpg", "mpeg2video", "yuv420p", {}, (48, 64), 40, 25),
    ("wmv.asf", "wmv2", "yuv420p", {}, (48, 64), 30, 10),
    ("theora.ogg", "libtheora", "yuv420p", {}, (48, 64), 30, 10),
    ("grey.mkv", "ffv1", "gray", {}, (48, 64), 20, 10),
    ("rgba.mov", "qtrle", "argb", {}, (48, 64), 20, 10),
    ("palette.mov", "png", "pal8", {}, (48, 64), 15, 10),
    ("palette.gif", "gif", "rgb8", {}, (48, 64), 20, 10),
    ("raw.nut", "rawvideo", "yuyv422", {}, (32, 32), 20, 10),
    ("mpeg2.mxf", "mpeg2video", "yuv422p", {}, (96, 128), 25, 25),
    ("raw.y4m", "wrapped_avframe", "yuv420p", {}, (32, 32), 20, 10),
    ("tiny.mp4", "libx264", "yuv420p", {}, (2, 2), 30, 10),
    ("thin.mkv", "ffv1", "yuv420p", {}, (1, 300), 20, 10),
    ("many.mkv", "mpeg4", "yuv420p", {"g": "1000"}, (16, 16), 6000, 1000),
    ("slow.mkv", "mpeg4", "yuv420p", {}, (48, 64), 30, 1),
    ("still.png", "png", "rgb24", {}, (48, 64), 1, 1),
    ("still.jpg", "mjpeg", "yuvj420p", {}, (48, 64), 1, 1),
]


def make_seeds(folder: Path, clips: Sequence[Path]) -> list[Path]:
    """Writes one small video of each kind that the local FFmpeg can encode, and short cuts of real clips."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    for name, *how in _ENCODED:
        _keep(made, folder / name, _encode, *how)
    for clip, ending in itertools.product(clips, (".mp4", ".mkv", ".ts", ".avi", ".flv")):
        _keep(made, folder / f"cut_{clip.stem}{ending}", _cut, clip, 60)
    odd: dict[str, tuple[Any, ...]] = {
        "rotated.mp4": (_encode, "mpeg4", "yuv420p", {}, (48, 64), 20, 10, 90),
        "wide_pixels.mkv": (_encode, "mpeg4", "yuv420p", {}, (48, 64), 20, 10, 0, Fraction(4, 3)),
        "negative.mkv": (_encode, "mpeg4", "yuv420p", {}, (48, 64), 30, 10, 0, None, -7),
        "gap.mkv": (_encode, "mpeg4", "yuv420p", {"bf": "0"}, (48, 64), 30, 10, 0, None, 0, 9_000_000),
        "sound.mp4": (_sound, 0),
        "two.mkv": (_sound, 2),
        "resized.h264": (_join, ((48, 64), (64, 48), (96, 96)), "libx264"),
        "resized.m4v": (_join, ((48, 64), (64, 48)), "mpeg4"),
        "text.mp4": (_write, b"this is no video\n" * 300),
        "zeros.mkv": (_write, bytes(20000)),
        "empty.avi": (_write, b""),
        "noise.ts": (_write, random.Random(5).randbytes(188 * 200)),
        "list.m3u8": (_write, b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nh264.ts\n"),
        "streams.mkv": (_many_streams, 900),
        "streams.mp4": (_many_streams, 900),
    }
    for name, (write, *how) in odd.items():
        _keep(made, folder / name, write, *how)
    return made


def _keep(made: list[Path], path: Path, write: Callable[..., None], *how: Any) -> None:  # noqa: ANN401 (what it takes)
    """Writes a seed; what this build of FFmpeg cannot encode or hold is left out."""
    try:
        write(path, *how)
    except (av.FFmpegError, ValueError, StopIteration):
        path.unlink(missing_ok=True)
        return
    made.append(path)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _frames(size: Size, count: int) -> Iterator[av.VideoFrame]:
    """Moving textures, so that features are numbers."""
    height, width = size
    field = np.random.default_rng(1).integers(0, 256, (height + 64, width + 64, 3), np.uint8)
    for index in range(count):
        at = index % 64
        image = np.ascontiguousarray(field[at : at + height, (2 * index) % 64 :][:, :width])
        yield av.VideoFrame.from_ndarray(image, format="rgb24")


def _encode(
    path: Path,
    codec: str,
    pix_fmt: str,
    options: dict[str, str],
    size: Size,
    count: int,
    rate: int,
    rotation: int = 0,
    aspect: Fraction | None = None,
    first: int = 0,
    gap: int = 0,
) -> None:
    form = {".png": "image2", ".jpg": "image2", ".y4m": "yuv4mpegpipe"}.get(path.suffix)
    options_of_container = {"avoid_negative_ts": "disabled"}
    with kept_scheduling(), av.open(str(path), "w", format=form, container_options=options_of_container) as output:
        stream = cast(av.VideoStream, output.add_stream(codec, rate=rate, options=options))
        stream.height, stream.width, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.thread_count = 1
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for index, frame in enumerate(_frames(size, count)):
            frame.pts, frame.time_base = index + first + (gap if index > count // 2 else 0), Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _cut(path: Path, clip: Path, n_packets: int) -> None:
    """Copies the first packets of a clip, without decoding, into another container."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as output:
        stream = source.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for number, packet in enumerate(source.demux(stream)):
            if packet.size and number < n_packets:
                packet.stream = copy
                output.mux(packet)


def _sound(path: Path, n_videos: int) -> None:
    """Sound alone, or beside video tracks."""
    with av.open(str(path), "w") as output:
        tracks = [output.add_stream("mpeg4", rate=10) for _ in range(n_videos)]
        sound = output.add_stream("aac", rate=8000)
        for side, track in zip((64, 32), tracks, strict=False):
            track.height, track.width, track.pix_fmt = side, side, "yuv420p"
        for side, track in zip((64, 32), tracks, strict=False):
            for index, frame in enumerate(_frames((side, side), 20)):
                frame.pts, frame.time_base = index, Fraction(1, 10)
                output.mux(track.encode(frame))
            output.mux(track.encode(None))
        for start in range(0, 16000, 800):
            chunk = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
            chunk.sample_rate, chunk.pts, chunk.time_base = 8000, start, Fraction(1, 8000)
            output.mux(sound.encode(chunk))
        output.mux(sound.encode(None))


def _join(path: Path, sizes: Sequence[Size], codec: str) -> None:
    """Streams of several sizes, one behind the other."""
    parts = []
    for size in sizes:
        _encode(path, codec, "yuv420p", {}, size, 12, 10)
        parts.append(path.read_bytes())
    path.write_bytes(b"".join(parts))


def _many_streams(path: Path, count: int) -> None:
    with av.open(str(path), "w") as output:
        tracks = [output.add_stream("mpeg4", rate=10) for _ in range(count)]
        for track in tracks:
            track.height, track.width, track.pix_fmt = 16, 16, "yuv420p"
        for track in tracks:
            for frame in _frames((16, 16), 2):
                output.mux(track.encode(frame))
            output.mux(track.encode(None))


_NUMBERS = (0, 1, 2, 3, 5, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_BOXES = b"mvhd tkhd mdhd hdlr stsd avc1 avcC hvc1 mp4v esds stts ctts stsz stsc stco stss elst trex moov mdat".split()
_CHUNKS = b"RIFF avih strh strf idx1 movi LIST JUNK onMetaData GIF8 OggS YUV4MPEG2 IHDR IDAT".split()
# Names of Matroska: time scale, duration, default duration, width, height, codec, cluster time, block, length
_MATROSKA = ("2ad7b1", "4489", "23e383", "b0", "ba", "86", "e7", "a3", "1f43b675", "1549a966", "1654ae6b", "ae", "e0")
_CODECS = b"avc1,hvc1,mp4v,av01,vp09,jpeg,rle ,apcn,raw ,H264,FMP4,MJPG,V_VP9,V_VP8,V_AV1".split(b",")
_MARKS = [*_BOXES, *_CHUNKS, *(bytes.fromhex(name) for name in _MATROSKA)]


def damage(data: bytes, other: bytes, source: random.Random) -> bytes:
    """Applies one to four kinds of damage, drawn at random, to the bytes of a file."""
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 2, 3, 4))):
        source.choice(_DAMAGES)(changed, other, source)
    return bytes(changed)


def _place(data: bytearray, source: random.Random) -> int:
    """Somewhere in a file, as often near its ends, where headers are, as anywhere."""
    size = max(1, len(data))
    near = source.randrange(min(size, 2048))
    return source.choice((near, size - 1 - near, source.randrange(size), source.randrange(size)))


def _flip_bits(data: bytearray, other: bytes, source: random.Random) -> None:
    for _ in range(source.choice((1, 1, 2, 8, 64)) if data else 0):
        data[_place(data, source)] ^= 1 << source.randrange(8)


def _set_bytes(data: bytearray, other: bytes, source: random.Random) -> None:
    at, count = _place(data, source), source.choice((1, 2, 4, 16, 200, 4000))
    filling = source.choice((bytes(count), b"\xff" * count, source.randbytes(count)))
    data[at : at + count] = filling[: max(0, len(data) - at)]


def _set_number(data: bytearray, other: bytes, source: random.Random) -> None:
    form = source.choice((">B", ">H", "<H", ">I", "<I", ">Q", "<Q"))
    _put(data, _place(data, source), form, source)


def _edit_header(data: bytearray, other: bytes, source: random.Random) -> None:
    """Puts a telling number a few bytes behind the name of a header field."""
    mark = source.choice([mark for mark in _MARKS if mark in data] or [b""])
    start = data.find(mark, source.randrange(max(1, len(data) // 2)))
    at = max(0, start) + len(mark) + source.choice((0, 4, 8, 12, 16, 20, 24, source.randrange(64)))
    _put(data, at, source.choice((">B", ">H", ">I", ">I", "<I", ">Q")), source)


def _put(data: bytearray, at: int, form: str, source: random.Random) -> None:
    size = struct.calcsize(form)
    if at + size <= len(data):
        number = source.choice((*_NUMBERS, 2**63, 2**64 - 1, source.randrange(2**32)))
        data[at : at + size] = struct.pack(form, number % 2 ** (8 * size))


def _cut_short(data: bytearray, other: bytes, source: random.Random) -> None:
    del data[source.randrange(len(data) + 1) :]


def _drop_part(data: bytearray, other: bytes, source: random.Random) -> None:
    at = _place(data, source)
    del data[at : at + source.choice((1, 4, 188, 1000, 5000))]


def _repeat_part(data: bytearray, other: bytes, source: random.Random) -> None:
    at, count = _place(data, source), source.choice((4, 188, 1000, 5000))
    data[at:at] = data[at : at + count] * source.choice((1, 2, 20))


def _move_part(data: bytearray, other: bytes, source: random.Random) -> None:
    at, to, count = _place(data, source), _place(data, source), source.choice((16, 188, 1000))
    part = data[at : at + count]
    data[to : to + len(part)] = part


def _splice(data: bytearray, other: bytes, source: random.Random) -> None:
    at, there = _place(data, source), source.randrange(len(other) + 1)
    if source.random() < 0.5:
        data[at:] = other[there:]
    else:
        data[at:at] = other[there : there + source.choice((100, 3000))]


def _swap_codec(data: bytearray, other: bytes, source: random.Random) -> None:
    names = [
        b"avc1",
        b"hvc1",
        b"mp4v",
        b"av01",
        b"vp09",
        b"jpeg",
        b"png ",
        b"rle ",
        b"apcn",
        b"raw ",
        b"H264",
        b"FMP4",
        b"MJPG",
    ]
    names += [b"V_VP9", b"V_VP8", b"V_AV1"]
    present = [name for name in names if name in data]
    if present:
        old = source.choice(present)
        new = source.choice([name for name in names if len(name) == len(old)])
        at = data.find(old)
        data[at : at + len(old)] = new


_DAMAGES = (
    *(_flip_bits, _set_bytes, _set_number, _edit_header, _edit_header, _cut_short),
    *(_drop_part, _repeat_part, _move_part, _splice, _swap_codec),
)
